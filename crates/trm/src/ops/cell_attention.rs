//! Attention among the 81 cells of a puzzle: every cell sees all cells, or each head sees one kind of unit only.

use super::attention::{Heads, Rotary, attention_backward, attention_forward};
use super::transpose;
use crate::sudoku::{CELLS, Units};
use crate::timing::{Phase, phase};
use trm_kernels::{Members, UnitHeads, unit_attention_backward, unit_attention_forward};

/// Base of the rotary angles: over nine positions the slowest pair of a head of 16 channels turns by a quarter.
const THETA: f64 = 10.0;

/// How the heads look at the cells.
#[derive(Clone, Debug)]
pub struct CellAttention {
    heads: Heads,
    /// The units of each kind that heads see; none where a head sees all cells.
    kinds: Vec<Members>,
    rotary: Rotary,
}

impl CellAttention {
    /// Attention with `heads` heads. A head sees all cells or, if there are kinds of units, the units of one kind, the
    /// kinds in turn. With `rotary` the first half of a head's queries and keys turns with the row of the cell, the
    /// second with its column.
    pub fn new(d: usize, heads: usize, units: &[Units], rotary: bool) -> Self {
        let heads = Heads { count: heads, dim: d / heads, tokens: CELLS };
        let nine = |unit: &[usize]| unit.try_into().expect("a unit has nine cells");
        let kinds = units.iter().map(|kind| kind.members().map(nine).collect()).collect();
        let positions = [|cell| cell / 9, |cell| cell % 9].map(|of| (0..CELLS).map(of).collect());
        let rotary = match rotary {
            true => Rotary::of_positions(heads.dim, &positions, THETA),
            false => Rotary::none(),
        };
        Self { heads, kinds, rotary }
    }

    /// Width of the state.
    fn d(&self) -> usize {
        self.heads.count * self.heads.dim
    }

    /// Whether a head sees units only.
    fn by_unit(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// As the kernel of attention within units takes them.
    fn unit_heads(&self) -> UnitHeads<'_> {
        UnitHeads { count: self.heads.count, dim: self.heads.dim, kinds: &self.kinds }
    }

    /// Cells that a head of a cell sees.
    fn seen(&self) -> usize {
        if self.by_unit() { 9 } else { CELLS }
    }

    /// Values that [`Self::forward`] keeps in `weights` for each cell.
    pub fn weights_per_cell(&self) -> usize {
        self.heads.count * self.seen()
    }

    /// Values that [`Self::forward`] and [`Self::backward`] work in.
    pub fn scratch(&self) -> usize {
        if self.by_unit() { 0 } else { 4 * self.d() * CELLS + 2 * CELLS * CELLS }
    }

    /// Floating-point operations of a forward pass over one puzzle.
    pub fn flops(&self) -> usize {
        4 * CELLS * self.seen() * self.d()
    }

    /// Attention over each puzzle.
    ///
    /// # Shapes
    /// `qkv` is `[puzzles, 81, 3 d]`: queries, keys and values, each by head; it becomes what backward needs, and so do the
    /// `weights`; `output` is `[puzzles, 81, d]`, `scratch` holds [`Self::scratch`] values.
    pub fn forward(&self, qkv: &mut [f32], weights: &mut [f32], output: &mut [f32], scratch: &mut [f32]) {
        let _timed = phase(Phase::Attention);
        let d = self.d();
        let puzzles = qkv.chunks_exact_mut(3 * d * CELLS).zip(output.chunks_exact_mut(d * CELLS));
        let kept = weights.chunks_exact_mut(self.weights_per_cell() * CELLS);
        for ((qkv, output), weights) in puzzles.zip(kept) {
            if self.by_unit() {
                self.turn(qkv, 1.0);
                unit_attention_forward(self.unit_heads(), qkv, weights, output);
            } else {
                let (columns, rest) = scratch.split_at_mut(3 * d * CELLS);
                let attended = &mut rest[..d * CELLS];
                transpose([CELLS, 3 * d], qkv, columns);
                attention_forward(self.heads, &self.rotary, columns, weights, attended);
                transpose([d, CELLS], attended, output);
                qkv.copy_from_slice(columns);
            }
        }
    }

    /// Replaces what [`Self::forward`] left in `qkv` by the gradient of queries, keys and values; overwrites the
    /// weights.
    ///
    /// # Shapes
    /// `qkv` is `[puzzles, 81, 3 d]`, `weights` is what [`Self::forward`] kept, `d_output` is `[puzzles, 81, d]`,
    /// `scratch` holds [`Self::scratch`] values.
    pub fn backward(&self, qkv: &mut [f32], weights: &mut [f32], d_output: &[f32], scratch: &mut [f32]) {
        let _timed = phase(Phase::Attention);
        let d = self.d();
        let puzzles = qkv.chunks_exact_mut(3 * d * CELLS).zip(d_output.chunks_exact(d * CELLS));
        let kept = weights.chunks_exact_mut(self.weights_per_cell() * CELLS);
        for ((qkv, d_output), weights) in puzzles.zip(kept) {
            if self.by_unit() {
                unit_attention_backward(self.unit_heads(), qkv, weights, d_output);
                self.turn(qkv, -1.0);
            } else {
                let (d_columns, rest) = scratch.split_at_mut(3 * d * CELLS);
                let (d_attended, rest) = rest.split_at_mut(d * CELLS);
                let scratch = &mut rest[..2 * CELLS * CELLS];
                let rotary = &self.rotary;
                transpose([CELLS, d], d_output, d_attended);
                attention_backward(self.heads, rotary, qkv, weights, d_attended, d_columns, scratch);
                transpose([3 * d, CELLS], d_columns, qkv);
            }
        }
    }

    /// Turns queries and keys of every cell, `[81, 3 d]`.
    fn turn(&self, qkv: &mut [f32], direction: f32) {
        if !self.rotary.turns() {
            return;
        }
        let d = self.d();
        for (cell, qkv) in qkv.chunks_exact_mut(3 * d).enumerate() {
            for head in qkv[..2 * d].chunks_exact_mut(self.heads.dim) {
                self.rotary.turn_token(head, cell, direction);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    fn kinds() -> [CellAttention; 5] {
        let units = Units::of_cells();
        [
            CellAttention::new(12, 2, &[], false),
            CellAttention::new(12, 3, &[], true),
            CellAttention::new(12, 6, units, false),
            CellAttention::new(12, 3, units, true),
            // More channels of a head than are worked on at a time.
            CellAttention::new(60, 3, units, true),
        ]
    }

    struct Run {
        qkv: Vec<f32>,
        weights: Vec<f32>,
        output: Vec<f32>,
    }

    fn run(attention: &CellAttention, qkv: &[f32]) -> Run {
        let cells = qkv.len() / (3 * attention.d());
        let mut run = Run {
            qkv: qkv.to_vec(),
            weights: vec![0.0; cells * attention.weights_per_cell()],
            output: vec![0.0; cells * attention.d()],
        };
        let mut scratch = vec![0.0; attention.scratch()];
        attention.forward(&mut run.qkv, &mut run.weights, &mut run.output, &mut scratch);
        run
    }

    fn input(attention: &CellAttention, puzzles: usize) -> Vec<f32> {
        numbers(puzzles * CELLS * 3 * attention.d(), 1).iter().map(|v| 2.0 * v).collect()
    }

    /// What the op computes, written as its definition.
    fn by_definition(attention: &CellAttention, units: &[Units], qkv: &[f32]) -> Vec<f32> {
        let (Heads { count, dim, .. }, d) = (attention.heads, attention.d());
        let mut output = vec![0.0; CELLS * d];
        for head in 0..count {
            let part = |kind: usize, cell: usize| &qkv[cell * 3 * d + kind * d + head * dim..][..dim];
            for cell in 0..CELLS {
                let sees = |other: &usize| {
                    units.is_empty() || units[head % 3].unit_of[cell] == units[head % 3].unit_of[*other]
                };
                let seen: Vec<usize> = (0..CELLS).filter(sees).collect();
                let score = |other: &usize| {
                    let product: f32 = part(0, cell).iter().zip(part(1, *other)).map(|(q, k)| q * k).sum();
                    (product / (dim as f32).sqrt()).exp()
                };
                let total: f32 = seen.iter().map(score).sum();
                for other in &seen {
                    let weight = score(other) / total;
                    for (c, value) in part(2, *other).iter().enumerate() {
                        output[cell * d + head * dim + c] += weight * value;
                    }
                }
            }
        }
        output
    }

    #[test]
    fn it_is_what_its_definition_says() {
        let [all, _, by_unit, ..] = kinds();
        let units = Units::of_cells();
        let wider = [16, 20].map(|dim| (CellAttention::new(3 * dim, 3, units, false), &units[..]));
        for (attention, units) in [(all, &[][..]), (by_unit, units)].into_iter().chain(wider) {
            let qkv = input(&attention, 1);
            let expected = by_definition(&attention, units, &qkv);
            for (ours, theirs) in run(&attention, &qkv).output.iter().zip(expected) {
                assert!((ours - theirs).abs() < 1e-5, "{ours} and {theirs}");
            }
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for attention in kinds() {
            let qkv = input(&attention, 1);
            let mut at = run(&attention, &qkv);
            let d_output = weighted_sum(&at.output).1;
            let mut scratch = vec![0.0; attention.scratch()];
            attention.backward(&mut at.qkv, &mut at.weights, &d_output, &mut scratch);
            // Every 37th value: all heads, kinds of values and cells come by.
            let some: Vec<usize> = (0..qkv.len()).step_by(37).collect();
            let pick = |values: &[f32]| some.iter().map(|i| values[*i]).collect::<Vec<f32>>();
            assert_gradient(&pick(&qkv), &pick(&at.qkv), |moved| {
                let mut qkv = qkv.clone();
                some.iter().zip(moved).for_each(|(i, value)| qkv[*i] = *value);
                weighted_sum(&run(&attention, &qkv).output).0
            });
        }
    }

    #[test]
    fn puzzles_do_not_see_each_other() {
        for attention in kinds() {
            let qkv = input(&attention, 2);
            let alone = run(&attention, &qkv[qkv.len() / 2..]).output;
            assert_eq!(run(&attention, &qkv).output[CELLS * attention.d()..], alone);
        }
    }

    #[test]
    fn turned_heads_see_distances_alone() {
        // With one query and one key for all cells, products differ by rows and columns between them and nothing else.
        let rotary = CellAttention::new(4, 1, &[], true).rotary;
        let everywhere = |values: [f32; 4]| {
            let mut head: Vec<f32> = values.iter().flat_map(|v| [*v; CELLS]).collect();
            rotary.turn(&mut head, 1.0);
            head
        };
        let (q, k) = (everywhere([0.3, -1.0, 0.5, 2.0]), everywhere([1.0, 0.7, -0.2, 0.4]));
        let product = |a: usize, b: usize| (0..4).map(|c| q[c * CELLS + a] * k[c * CELLS + b]).sum::<f32>();
        let cell = |row: usize, column: usize| 9 * row + column;
        let near = product(cell(0, 0), cell(2, 1));
        assert!((near - product(cell(5, 3), cell(7, 4))).abs() < 1e-5);
        assert!((near - product(cell(0, 0), cell(1, 2))).abs() > 1e-2);
    }
}
