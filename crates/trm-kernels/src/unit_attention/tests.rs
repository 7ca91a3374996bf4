use super::*;
use crate::reference::{assert_close, numbers};
use crate::{Level, at_level};

/// Cells: two kinds of units, of which the second mixes those of the first.
const CELLS: usize = 27;

fn kinds() -> [Members; 2] {
    let units =
        |cell: fn(usize, usize) -> usize| (0..3).map(|unit| std::array::from_fn(|i| cell(unit, i))).collect();
    [units(|unit, i| 9 * unit + i), units(|unit, i| 3 * i + unit)]
}

/// Weights, output and the gradients of queries, keys and values, by their definitions and in f64.
fn by_definition(heads: UnitHeads, qkv: &[f32], d_output: &[f32]) -> [Vec<f64>; 3] {
    let UnitHeads { count, dim, kinds } = heads;
    let (d, scale) = (count * dim, 1.0 / (dim as f64).sqrt());
    let (mut weights, mut output, mut d_qkv) = (vec![], vec![0.0; CELLS * d], vec![0.0; qkv.len()]);
    for (h, members) in (0..count).flat_map(|h| kinds[h % kinds.len()].iter().map(move |m| (h, m))) {
        let at = |what: usize, cell: usize, c: usize| cell * 3 * d + what * d + h * dim + c;
        let out = |cell: usize, c: usize| cell * d + h * dim + c;
        let value = |what: usize, cell: usize, c: usize| f64::from(qkv[at(what, cell, c)]);
        let channels = |of: &dyn Fn(usize) -> f64| (0..dim).map(of).sum::<f64>();
        let mut p = [[0.0; NINE]; NINE];
        for (i, looks) in members.iter().enumerate() {
            let scores = members.map(|seen| scale * channels(&|c| value(0, *looks, c) * value(1, seen, c)));
            let total: f64 = scores.iter().map(|score| score.exp()).sum();
            p[i] = scores.map(|score| score.exp() / total);
            let d_p =
                members.map(|seen| channels(&|c| f64::from(d_output[out(*looks, c)]) * value(2, seen, c)));
            let mean: f64 = p[i].iter().zip(d_p).map(|(p, d_p)| p * d_p).sum();
            for (j, seen) in members.iter().enumerate() {
                let d_score = scale * p[i][j] * (d_p[j] - mean);
                for c in 0..dim {
                    output[out(*looks, c)] += p[i][j] * value(2, *seen, c);
                    d_qkv[at(0, *looks, c)] += d_score * value(1, *seen, c);
                    d_qkv[at(1, *seen, c)] += d_score * value(0, *looks, c);
                    d_qkv[at(2, *seen, c)] += p[i][j] * f64::from(d_output[out(*looks, c)]);
                }
            }
        }
        weights.extend((0..NINE).flat_map(|j| p.map(|p| p[j])));
    }
    [weights, output, d_qkv]
}

#[test]
fn it_is_what_its_definition_says_at_every_level() {
    let kinds = kinds();
    for (count, dim) in [(2, 16), (3, 4), (2, 20), (1, 33)] {
        let heads = UnitHeads { count, dim, kinds: &kinds };
        let d = count * dim;
        let qkv: Vec<f32> = numbers(CELLS * 3 * d, 1).iter().map(|v| 2.0 * v).collect();
        let d_output = numbers(CELLS * d, 2);
        let expected = by_definition(heads, &qkv, &d_output);
        let run = |level: Level| {
            let mut weights = vec![f32::NAN; count * 3 * NINE * NINE];
            let (mut output, mut d_qkv) = (vec![f32::NAN; CELLS * d], qkv.clone());
            at_level(level, || {
                unit_attention_forward(heads, &qkv, &mut weights, &mut output);
                unit_attention_backward(heads, &mut d_qkv, &weights, &d_output);
            });
            [weights, output, d_qkv]
        };
        let mut fused = None;
        for level in Level::available() {
            let results = run(level);
            for (what, (result, expected)) in
                ["weights", "output", "gradients"].iter().zip(results.iter().zip(&expected))
            {
                assert_eq!(result.len(), expected.len());
                assert_close(result, expected, &format!("{what} of {count} by {dim} at {}", level.name()));
            }
            if level > Level::Portable {
                assert!(*fused.get_or_insert(results.clone()) == results, "bits at {}", level.name());
            }
        }
    }
}
