//! Multi-head softmax attention in which a head sees only the nine cells of one unit: of the row, column or box that the
//! cell which looks lies in.
//!
//! For one head and unit everything is a product of small matrices with nine rows, one for each cell: of 16 channels at a
//! time, or of the weights of the cells that look, side by side. Nine of the widest registers hold such a matrix.

use crate::level::with_simd;
use crate::math::exp;
use pulp::{Simd, WithSimd};
use std::any::TypeId;
use std::hint::black_box;
use std::ops::Range;

/// Cells of a unit.
const NINE: usize = 9;

/// Numbers side by side: as many as the widest registers hold.
const LANES: usize = 16;

/// A row of numbers side by side.
type Row = [f32; LANES];

/// Rows on lines of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Rows<const R: usize>([Row; R]);

/// The cells of a unit, each with 16 channels or, where cells are seen, with its weights for those that look.
type Nine = Rows<NINE>;

impl<const R: usize> Rows<R> {
    const ZEROS: Self = Self([[0.0; LANES]; R]);

    #[inline(always)]
    fn rows(&self) -> [&Row; R] {
        self.0.each_ref()
    }
}

/// The cells of each unit of one kind.
pub type Members = Vec<[usize; NINE]>;

/// Heads that see units: head h sees those of `kinds[h % kinds.len()]`.
#[derive(Clone, Copy, Debug)]
pub struct UnitHeads<'a> {
    /// Number of heads.
    pub count: usize,
    /// Channels of each.
    pub dim: usize,
    /// The units of each kind.
    pub kinds: &'a [Members],
}

/// `output_h[i] = sum over j of P_h[i, j] V_h[j]`, P the softmax over j of `Q_h[i] K_h[j] / sqrt(dim)`, j being the cells of
/// the unit that cell i lies in, for each head h.
///
/// # Shapes
/// `qkv` is `[cells, 3, heads, dim]`, `output` is `[cells, heads, dim]`; `weights` (kept for backward) is
/// `[heads, units, 9, 9]`, the cells that look last.
///
/// # Panics
/// If a cell of a unit is not among the cells.
pub fn unit_attention_forward(heads: UnitHeads, qkv: &[f32], weights: &mut [f32], output: &mut [f32]) {
    with_simd(Forward { heads, qkv, weights, output });
}

/// Turns queries, keys and values into their gradients.
///
/// With P the weights, `d_V = P^T d_output`, `d_P = d_output V^T`, `d_S = P (d_P - row sums of P d_P)`, `d_Q = d_S K`,
/// `d_K = d_S^T Q`, both times `1 / sqrt(dim)`.
///
/// # Shapes
/// As for [`unit_attention_forward`].
///
/// # Panics
/// As [`unit_attention_forward`].
pub fn unit_attention_backward(heads: UnitHeads, qkv: &mut [f32], weights: &[f32], d_output: &[f32]) {
    with_simd(Backward { heads, qkv, weights, d_output });
}

struct Forward<'a> {
    heads: UnitHeads<'a>,
    qkv: &'a [f32],
    weights: &'a mut [f32],
    output: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { heads, qkv, weights, output } = self;
        fetch(qkv);
        let mut weights = weights.as_chunks_mut::<{ NINE * NINE }>().0.iter_mut();
        let (mut room, mut columns) = (Nine::ZEROS, Rows::ZEROS);
        let (mut p, mut sums) = (Nine::ZEROS, Nine::ZEROS);
        for h in 0..heads.count {
            let [query, key, value, out] = heads.places(h);
            for (cells, weights) in heads.units(h).zip(&mut weights) {
                for part in heads.parts() {
                    transpose(load(qkv, query, cells, &part, &mut room), &mut columns);
                    let keys = load(qkv, key, cells, &part, &mut room);
                    product(simd, Start::of(&part), keys, columns.rows(), &mut p);
                }
                softmax(simd, &mut p, heads.scale());
                let p = in_memory(&p);
                for part in heads.parts() {
                    let values = load(qkv, value, cells, &part, &mut room);
                    turned_product(simd, p.rows(), values, &mut sums);
                    store(&sums, output, out, cells, &part);
                }
                for (weights, p) in weights.as_chunks_mut::<NINE>().0.iter_mut().zip(&p.0) {
                    weights.copy_from_slice(&p[..NINE]);
                }
            }
        }
    }
}

struct Backward<'a> {
    heads: UnitHeads<'a>,
    qkv: &'a mut [f32],
    weights: &'a [f32],
    d_output: &'a [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { heads, qkv, weights, d_output } = self;
        fetch(qkv);
        fetch(d_output);
        let mut weights = weights.as_chunks::<{ NINE * NINE }>().0.iter();
        let (mut room, mut columns) = (Nine::ZEROS, Rows::ZEROS);
        let (mut p, mut d_s) = (Nine::ZEROS, Nine::ZEROS);
        let [mut d_query, mut d_key, mut d_value] = [Nine::ZEROS; 3];
        for h in 0..heads.count {
            let [query, key, value, out] = heads.places(h);
            for (cells, weights) in heads.units(h).zip(&mut weights) {
                for (p, weights) in p.0.iter_mut().zip(weights.as_chunks::<NINE>().0) {
                    p[..NINE].copy_from_slice(weights);
                }
                for part in heads.parts() {
                    transpose(load(d_output, out, cells, &part, &mut room), &mut columns);
                    let values = load(qkv, value, cells, &part, &mut room);
                    product(simd, Start::of(&part), values, columns.rows(), &mut d_s);
                }
                softmax_backward(simd, &p, &mut d_s, heads.scale());
                let [p, d_s] = [in_memory(&p), in_memory(&d_s)];
                for part in heads.parts() {
                    let d_out = load(d_output, out, cells, &part, &mut room);
                    product(simd, Start::Zeros, p.rows(), d_out, &mut d_value);
                    let queries = load(qkv, query, cells, &part, &mut room);
                    product(simd, Start::Zeros, d_s.rows(), queries, &mut d_key);
                    let keys = load(qkv, key, cells, &part, &mut room);
                    turned_product(simd, d_s.rows(), keys, &mut d_query);
                    for (made, place) in [(&d_query, query), (&d_key, key), (&d_value, value)] {
                        store(made, qkv, place, cells, &part);
                    }
                }
            }
        }
    }
}

/// Where a vector of one cell lies: its first value at `first + cell * step`.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    step: usize,
}

impl UnitHeads<'_> {
    /// What products of queries and keys are multiplied by.
    fn scale(self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// What head h sees.
    #[inline(always)]
    fn units(&self, h: usize) -> std::slice::Iter<'_, [usize; NINE]> {
        self.kinds[h % self.kinds.len()].iter()
    }

    /// Places of the queries, keys and values of head h in `[cells, 3, heads, dim]`, and of its output in
    /// `[cells, heads, dim]`.
    #[inline(always)]
    fn places(self, h: usize) -> [Place; 4] {
        let Self { count, dim, .. } = self;
        let d = count * dim;
        let of = |first, step| Place { first, step };
        [of(h * dim, 3 * d), of(d + h * dim, 3 * d), of(2 * d + h * dim, 3 * d), of(h * dim, d)]
    }

    /// At most 16 channels at a time of a head.
    #[inline(always)]
    fn parts(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.dim).step_by(LANES).map(move |first| first..(first + LANES).min(self.dim))
    }
}

/// Brings values nearer, line by line of the cache in the order in which they lie: afterwards each line is read once only, far
/// from the one before.
#[inline(always)]
fn fetch(values: &[f32]) {
    let mut sum = 0;
    for value in values.iter().step_by(LANES) {
        sum ^= value.to_bits();
    }
    black_box(sum);
}

/// A part of the vectors of these cells, where they are; one that ends early in `room`, with zeros behind it.
#[inline(always)]
fn load<'a>(
    values: &'a [f32],
    place: Place,
    cells: &[usize; NINE],
    part: &Range<usize>,
    room: &'a mut Nine,
) -> [&'a Row; NINE] {
    const ZEROS: &Row = &[0.0; LANES];
    let mut rows = [ZEROS; NINE];
    for ((row, room), cell) in rows.iter_mut().zip(&mut room.0).zip(cells) {
        let values = &values[place.first + cell * place.step + part.start..];
        *row = if part.len() == LANES {
            values.first_chunk().expect("sixteen channels")
        } else {
            *room = [0.0; LANES];
            room[..part.len()].copy_from_slice(&values[..part.len()]);
            room
        };
    }
    rows
}

/// The other way round.
#[inline(always)]
fn store(rows: &Nine, values: &mut [f32], place: Place, cells: &[usize; NINE], part: &Range<usize>) {
    for (row, cell) in rows.0.iter().zip(cells) {
        let values = &mut values[place.first + cell * place.step + part.start..];
        if part.len() == LANES {
            *values.first_chunk_mut().expect("sixteen channels") = *row;
        } else {
            values[..part.len()].copy_from_slice(&row[..part.len()]);
        }
    }
}

/// Keeps compilers from holding a matrix in registers whose numbers are factors of others: one that lies in memory is
/// repeated over a register when it is loaded.
#[inline(always)]
fn in_memory(rows: &Nine) -> &Nine {
    black_box(rows)
}

/// The rows as the first nine columns of what has zeros in the others.
#[inline(always)]
fn transpose(rows: [&Row; NINE], columns: &mut Rows<LANES>) {
    for (i, row) in rows.iter().enumerate() {
        for (column, value) in columns.0.iter_mut().zip(*row) {
            column[i] = *value;
        }
    }
}

/// `a * b + c`, rounded once where the instruction set can.
#[inline(always)]
fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<pulp::Scalar128b>() && cfg!(not(target_arch = "aarch64")) {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// What the sums of a product start from.
#[derive(Clone, Copy)]
enum Start {
    Zeros,
    Sums,
}

impl Start {
    /// Sums over channels go on from part to part.
    #[inline(always)]
    fn of(part: &Range<usize>) -> Self {
        if part.start == 0 { Self::Zeros } else { Self::Sums }
    }
}

/// `sums = left right`, or added to them.
#[inline(always)]
fn product<S: Simd, const K: usize>(
    simd: S,
    start: Start,
    left: [&Row; NINE],
    right: [&Row; K],
    sums: &mut Nine,
) {
    product_of::<S, K, false>(simd, start, left, right, sums);
}

/// `sums = left^T right`
#[inline(always)]
fn turned_product<S: Simd>(simd: S, left: [&Row; NINE], right: [&Row; NINE], sums: &mut Nine) {
    product_of::<S, NINE, true>(simd, Start::Zeros, left, right, sums);
}

#[inline(always)]
fn product_of<S: Simd, const K: usize, const TURNED: bool>(
    simd: S,
    start: Start,
    left: [&Row; NINE],
    right: [&Row; K],
    sums: &mut Nine,
) {
    match S::F32_LANES {
        LANES => some_rows::<S, K, TURNED, NINE, 1>(simd, start, left, right, (0, sums)),
        8 => {
            some_rows::<S, K, TURNED, 5, 2>(simd, start, left, right, (0, sums));
            some_rows::<S, K, TURNED, 4, 2>(simd, start, left, right, (5, sums));
        }
        4 => {
            for i in 0..3 {
                some_rows::<S, K, TURNED, 3, 4>(simd, start, left, right, (3 * i, sums));
            }
        }
        _ => unreachable!("registers of 4, 8 or 16 numbers"),
    }
}

/// R rows of W registers, which all stay in registers.
#[inline(always)]
fn some_rows<S: Simd, const K: usize, const TURNED: bool, const R: usize, const W: usize>(
    simd: S,
    start: Start,
    left: [&Row; NINE],
    right: [&Row; K],
    (first, sums): (usize, &mut Nine),
) {
    let mut rows = [[simd.splat_f32s(0.0); W]; R];
    if let Start::Sums = start {
        for (row, sums) in rows.iter_mut().zip(&sums.0[first..]) {
            for (sum, start) in row.iter_mut().zip(S::as_simd_f32s(sums).0) {
                *sum = *start;
            }
        }
    }
    for (k, right) in right.into_iter().enumerate() {
        let right = S::as_simd_f32s(right).0;
        for (r, sums) in rows.iter_mut().enumerate() {
            let factor = simd.splat_f32s(if TURNED { left[k][first + r] } else { left[first + r][k] });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = mul_add(simd, factor, *right, *sum);
            }
        }
    }
    for (row, sums) in rows.iter().zip(&mut sums.0[first..]) {
        for (made, sum) in S::as_mut_simd_f32s(sums).0.iter_mut().zip(row) {
            *made = *sum;
        }
    }
}

/// Register i of each row.
#[inline(always)]
fn registers<S: Simd>(simd: S, rows: &Nine, i: usize) -> [S::f32s; NINE] {
    let mut registers = [simd.splat_f32s(0.0); NINE];
    for (register, row) in registers.iter_mut().zip(&rows.0) {
        *register = S::as_simd_f32s(row).0[i];
    }
    registers
}

/// The softmax of `scale` times the scores that a cell has for the nine it sees, one below the other.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut Nine, scale: f32) {
    let scale = simd.splat_f32s(scale);
    for i in 0..LANES / S::F32_LANES {
        let mut weights = registers(simd, scores, i);
        let mut largest = weights[0];
        for score in weights {
            largest = simd.max_f32s(largest, score);
        }
        let mut total = simd.splat_f32s(0.0);
        for weight in &mut weights {
            *weight = exp_nonpositive(simd, simd.mul_f32s(scale, simd.sub_f32s(*weight, largest)));
            total = simd.add_f32s(total, *weight);
        }
        let inverse = simd.div_f32s(simd.splat_f32s(1.0), total);
        for (row, weight) in scores.0.iter_mut().zip(weights) {
            S::as_mut_simd_f32s(row).0[i] = simd.mul_f32s(weight, inverse);
        }
    }
}

/// Turns the gradient of the weights `p` into that of the scores.
#[inline(always)]
fn softmax_backward<S: Simd>(simd: S, p: &Nine, d: &mut Nine, scale: f32) {
    let scale = simd.splat_f32s(scale);
    for i in 0..LANES / S::F32_LANES {
        let (p, d_p) = (registers(simd, p, i), registers(simd, d, i));
        let mut total = simd.splat_f32s(0.0);
        for (p, d_p) in p.into_iter().zip(d_p) {
            total = mul_add(simd, p, d_p, total);
        }
        for ((row, p), d_p) in d.0.iter_mut().zip(p).zip(d_p) {
            let d_score = simd.mul_f32s(simd.mul_f32s(scale, p), simd.sub_f32s(d_p, total));
            S::as_mut_simd_f32s(row).0[i] = d_score;
        }
    }
}

/// As [`math::exp_nonpositive`](crate::math::exp_nonpositive).
#[inline(always)]
fn exp_nonpositive<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.max_f32s(x, simd.splat_f32s(-87.0));
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let [round, high, low] =
        [simd.splat_f32s(exp::ROUND), simd.splat_f32s(-exp::LN2_HIGH), simd.splat_f32s(-exp::LN2_LOW)];
    let rounded = mul_add(simd, x, log2_e, round);
    let n = simd.sub_f32s(rounded, round);
    let r = mul_add(simd, n, low, mul_add(simd, n, high, x));
    let mut e = simd.splat_f32s(exp::FIRST);
    for coefficient in exp::COEFFICIENTS {
        e = mul_add(simd, e, r, simd.splat_f32s(coefficient));
    }
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(e), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{assert_close, numbers};
    use crate::{Level, at_level};

    /// Cells: two kinds of units, of which the second mixes those of the first.
    const CELLS: usize = 27;

    fn kinds() -> [Members; 2] {
        let units = |cell: fn(usize, usize) -> usize| {
            (0..3).map(|unit| std::array::from_fn(|i| cell(unit, i))).collect()
        };
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
                let scores =
                    members.map(|seen| scale * channels(&|c| value(0, *looks, c) * value(1, seen, c)));
                let total: f64 = scores.iter().map(|score| score.exp()).sum();
                p[i] = scores.map(|score| score.exp() / total);
                let d_p = members
                    .map(|seen| channels(&|c| f64::from(d_output[out(*looks, c)]) * value(2, seen, c)));
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
                    assert_close(
                        result,
                        expected,
                        &format!("{what} of {count} by {dim} at {}", level.name()),
                    );
                }
                if level > Level::Portable {
                    assert!(*fused.get_or_insert(results.clone()) == results, "bits at {}", level.name());
                }
            }
        }
    }
}
