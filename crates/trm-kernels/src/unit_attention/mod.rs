//! Multi-head softmax attention in which a head sees only the nine cells of one unit: of the row, column or box that the
//! cell which looks lies in.
//!
//! For one head and unit everything is a product of small matrices with nine rows, one for each cell: of 16 channels at a
//! time, or of the weights of the cells that look, side by side. Nine of the widest registers hold such a matrix.

mod nine;

use crate::level::with_simd;
use nine::{
    LANES, Nine, Row, Rows, Start, in_memory, product, softmax, softmax_backward, transpose, turned_product,
};
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::ops::Range;

/// Cells of a unit.
const NINE: usize = 9;

/// The cells of each unit of one kind.
pub type Members = Vec<[usize; NINE]>;

/// Attention heads that see units: head h sees the units of `kinds[h % kinds.len()]`.
#[derive(Clone, Copy, Debug)]
pub struct UnitHeads<'a> {
    /// Number of heads.
    pub count: usize,
    /// Channels of a head.
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
/// `qkv` is `[cells, 3, heads, dim]`, `d_output` is `[cells, heads, dim]`; `weights` is what
/// [`unit_attention_forward`] kept, `[heads, units, 9, 9]`.
///
/// # Panics
/// If a cell of a unit is not among the cells.
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

/// Stores a part of the vectors of these cells where they are.
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

#[cfg(test)]
mod tests;
