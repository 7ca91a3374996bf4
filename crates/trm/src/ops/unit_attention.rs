//! Multi-head softmax attention in which a head sees only the nine cells of one unit: of the row, column or box that the
//! cell which looks lies in.
//!
//! For one head and unit everything is a product of small matrices with nine rows, one for each cell: of 16 channels at a
//! time, or of the weights of the cells that look, side by side. Nine registers hold such a matrix.

use super::attention::Heads;
use std::ops::Range;
use trm_kernels::{
    math::{MulAdd, exp_nonpositive},
    vectorize_fused,
};

/// Cells of a unit.
const NINE: usize = 9;

/// Numbers side by side: as many as the widest registers hold.
const LANES: usize = 16;

/// The cells of a unit, each with 16 channels or, where cells are seen, with its weights for those that look.
type Rows = [[f32; LANES]; NINE];

/// The cells of each unit of one kind.
pub type Members = Vec<[usize; NINE]>;

/// `output_h[i] = sum over j of P_h[i, j] V_h[j]`, P the softmax over j of `Q_h[i] K_h[j] / sqrt(head_dim)`, j being the cells of
/// the unit that cell i lies in, for each head h.
///
/// # Shapes
/// `qkv` is `[81, 3, heads, head_dim]`, `output` is `[81, heads, head_dim]`; `weights` (kept for backward) is
/// `[heads, units, 9, 9]`, the cells that look last. Head h sees units of `kinds[h % kinds.len()]`.
pub fn unit_attention_forward(
    heads: Heads,
    kinds: &[Members],
    qkv: &[f32],
    weights: &mut [f32],
    output: &mut [f32],
) {
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            let mut weights = weights.as_chunks_mut::<{ NINE * NINE }>().0.iter_mut();
            for h in 0..heads.count {
                let [query, key, value, out] = places(heads, h);
                for (cells, weights) in kinds[h % kinds.len()].iter().zip(&mut weights) {
                    let (mut p, mut loaded) = (ZEROS, ZEROS);
                    for part in parts(heads) {
                        let mut queries = [[0.0; LANES]; LANES];
                        load(&mut loaded, qkv, query, cells, &part);
                        transpose(&loaded, &mut queries);
                        load(&mut loaded, qkv, key, cells, &part);
                        add_product(&mut p, |j, c| loaded[j][c], &queries, mul_add);
                    }
                    softmax(&mut p, heads.scale(), mul_add);
                    for part in parts(heads) {
                        let mut sums = ZEROS;
                        load(&mut loaded, qkv, value, cells, &part);
                        add_product(&mut sums, |i, j| p[j][i], &loaded, mul_add);
                        store(&sums, output, out, cells, &part);
                    }
                    for (weights, p) in weights.chunks_exact_mut(NINE).zip(&p) {
                        weights.copy_from_slice(&p[..NINE]);
                    }
                }
            }
        },
    );
}

/// Turns queries, keys and values into their gradients.
///
/// With P the weights, `d_V = P^T d_output`, `d_P = d_output V^T`, `d_S = P (d_P - row sums of P d_P)`, `d_Q = d_S K`,
/// `d_K = d_S^T Q`, both times the scale.
///
/// # Shapes
/// As for [`unit_attention_forward`].
pub fn unit_attention_backward(
    heads: Heads,
    kinds: &[Members],
    qkv: &mut [f32],
    weights: &[f32],
    d_output: &[f32],
) {
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            let mut weights = weights.as_chunks::<{ NINE * NINE }>().0.iter();
            for h in 0..heads.count {
                let [query, key, value, out] = places(heads, h);
                for (cells, weights) in kinds[h % kinds.len()].iter().zip(&mut weights) {
                    let (mut p, mut d_s, mut loaded, mut d_out) = (ZEROS, ZEROS, ZEROS, ZEROS);
                    for (p, weights) in p.iter_mut().zip(weights.chunks_exact(NINE)) {
                        p[..NINE].copy_from_slice(weights);
                    }
                    for part in parts(heads) {
                        let mut d_columns = [[0.0; LANES]; LANES];
                        load(&mut d_out, d_output, out, cells, &part);
                        transpose(&d_out, &mut d_columns);
                        load(&mut loaded, qkv, value, cells, &part);
                        add_product(&mut d_s, |j, c| loaded[j][c], &d_columns, mul_add);
                    }
                    softmax_backward(&p, &mut d_s, heads.scale());
                    for part in parts(heads) {
                        let [mut d_query, mut d_key, mut d_value] = [ZEROS; 3];
                        load(&mut d_out, d_output, out, cells, &part);
                        add_product(&mut d_value, |j, i| p[j][i], &d_out, mul_add);
                        store(&d_value, qkv, value, cells, &part);
                        load(&mut loaded, qkv, query, cells, &part);
                        add_product(&mut d_key, |j, i| d_s[j][i], &loaded, mul_add);
                        load(&mut loaded, qkv, key, cells, &part);
                        add_product(&mut d_query, |i, j| d_s[j][i], &loaded, mul_add);
                        store(&d_key, qkv, key, cells, &part);
                        store(&d_query, qkv, query, cells, &part);
                    }
                }
            }
        },
    );
}

const ZEROS: Rows = [[0.0; LANES]; NINE];

/// Where a vector of one cell lies: its first value at `first + cell * step`.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    step: usize,
}

/// Places of the queries, keys and values of head h in `[81, 3, heads, head_dim]`, and of its output in
/// `[81, heads, head_dim]`.
#[inline(always)]
fn places(Heads { count, dim, .. }: Heads, h: usize) -> [Place; 4] {
    let d = count * dim;
    let of = |first, step| Place { first, step };
    [of(h * dim, 3 * d), of(d + h * dim, 3 * d), of(2 * d + h * dim, 3 * d), of(h * dim, d)]
}

/// At most 16 channels at a time of a head.
#[inline(always)]
fn parts(heads: Heads) -> impl Iterator<Item = Range<usize>> {
    (0..heads.dim).step_by(LANES).map(move |first| first..(first + LANES).min(heads.dim))
}

/// A part of the vectors of these cells; where it ends early, zeros.
#[inline(always)]
fn load(rows: &mut Rows, values: &[f32], place: Place, cells: &[usize; NINE], part: &Range<usize>) {
    for (row, cell) in rows.iter_mut().zip(cells) {
        let values = &values[place.first + cell * place.step..][part.clone()];
        match values.try_into() {
            Ok(values) => *row = values,
            Err(_) => {
                *row = [0.0; LANES];
                row[..values.len()].copy_from_slice(values);
            }
        }
    }
}

/// The other way round.
#[inline(always)]
fn store(rows: &Rows, values: &mut [f32], place: Place, cells: &[usize; NINE], part: &Range<usize>) {
    for (row, cell) in rows.iter().zip(cells) {
        let values = &mut values[place.first + cell * place.step..][part.clone()];
        match <&mut [f32; LANES]>::try_from(&mut *values) {
            Ok(values) => *values = *row,
            Err(_) => values.copy_from_slice(&row[..values.len()]),
        }
    }
}

/// The rows as columns, the first nine.
#[inline(always)]
fn transpose(rows: &Rows, columns: &mut [[f32; LANES]; LANES]) {
    for (i, row) in rows.iter().enumerate() {
        for (column, value) in columns.iter_mut().zip(row) {
            column[i] = *value;
        }
    }
}

/// `sums[r] += sum over k of left(r, k) right[k]`
#[inline(always)]
fn add_product<const K: usize>(
    sums: &mut Rows,
    left: impl Fn(usize, usize) -> f32,
    right: &[[f32; LANES]; K],
    mul_add: MulAdd,
) {
    for (k, right) in right.iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            let factor = left(r, k);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = mul_add.of(factor, *right, *sum);
            }
        }
    }
}

/// The softmax of `scale` times the scores that a cell has for the nine it sees, one below the other.
#[inline(always)]
fn softmax(scores: &mut Rows, scale: f32, mul_add: MulAdd) {
    let mut largest = [f32::NEG_INFINITY; LANES];
    for row in &*scores {
        largest.iter_mut().zip(row).for_each(|(most, s)| *most = most.max(*s));
    }
    let mut total = [0.0; LANES];
    for row in scores.iter_mut() {
        for ((s, largest), total) in row.iter_mut().zip(&largest).zip(&mut total) {
            *s = exp_nonpositive(scale * (*s - largest), mul_add);
            *total += *s;
        }
    }
    for row in scores.iter_mut() {
        row.iter_mut().zip(&total).for_each(|(s, total)| *s /= total);
    }
}

/// Turns the gradient of the weights `p` into that of the scores.
#[inline(always)]
fn softmax_backward(p: &Rows, d: &mut Rows, scale: f32) {
    let mut total = [0.0; LANES];
    for (p, d) in p.iter().zip(&*d) {
        for ((p, d), total) in p.iter().zip(d).zip(&mut total) {
            *total += p * d;
        }
    }
    for (p, d) in p.iter().zip(d) {
        for ((p, d), total) in p.iter().zip(d).zip(&total) {
            *d = scale * p * (*d - total);
        }
    }
}
