//! Products and softmax of matrices with nine rows, in registers of any width.

use super::NINE;
use crate::math::{WHOLE, exp};
use pulp::Simd;
use std::any::TypeId;
use std::hint::black_box;
use std::ops::Range;

/// Numbers side by side: as many as the widest registers hold.
pub(super) const LANES: usize = 16;

/// A row of numbers side by side.
pub(super) type Row = [f32; LANES];

/// Rows on lines of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Rows<const R: usize>(pub(super) [Row; R]);

/// The cells of a unit, each with 16 channels or, where cells are seen, with its weights for those that look.
pub(super) type Nine = Rows<NINE>;

impl<const R: usize> Rows<R> {
    pub(super) const ZEROS: Self = Self([[0.0; LANES]; R]);

    #[inline(always)]
    pub(super) fn rows(&self) -> [&Row; R] {
        self.0.each_ref()
    }
}

/// Keeps compilers from holding a matrix in registers whose numbers are factors of others: one that lies in memory is
/// repeated over a register when it is loaded.
#[inline(always)]
pub(super) fn in_memory(rows: &Nine) -> &Nine {
    black_box(rows)
}

/// The rows as the first nine columns of what has zeros in the others.
#[inline(always)]
pub(super) fn transpose(rows: [&Row; NINE], columns: &mut Rows<LANES>) {
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
pub(super) enum Start {
    Zeros,
    Sums,
}

impl Start {
    /// Sums over channels go on from part to part.
    #[inline(always)]
    pub(super) fn of(part: &Range<usize>) -> Self {
        if part.start == 0 { Self::Zeros } else { Self::Sums }
    }
}

/// `sums = left right`, or added to them.
#[inline(always)]
pub(super) fn product<S: Simd, const K: usize>(
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
pub(super) fn turned_product<S: Simd>(simd: S, left: [&Row; NINE], right: [&Row; NINE], sums: &mut Nine) {
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
pub(super) fn softmax<S: Simd>(simd: S, scores: &mut Nine, scale: f32) {
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

/// Turns the gradient of the weights `p` into the gradient of the scores.
#[inline(always)]
pub(super) fn softmax_backward<S: Simd>(simd: S, p: &Nine, d: &mut Nine, scale: f32) {
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

/// [`math::exp_nonpositive`](crate::math::exp_nonpositive) of every number of a register.
#[inline(always)]
fn exp_nonpositive<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.max_f32s(x, simd.splat_f32s(-87.0));
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let [round, high, low] =
        [simd.splat_f32s(WHOLE), simd.splat_f32s(-exp::LN2_HIGH), simd.splat_f32s(-exp::LN2_LOW)];
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
