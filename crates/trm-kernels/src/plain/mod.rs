//! f32 matrix products on row-major slices, by the `gemm` crate on the calling thread.
//!
//! Both forms are laid out so that `gemm` reads the operand with the long rows in place instead of packing it. What is
//! multiplied by more than once is better packed in a [`Right`](crate::Right).

mod gemm;
mod panels;

use crate::layout::{Overwrite, holds};
use gemm::{Strided, gemm};
pub(crate) use panels::{F32Panels, multiply};

/// `dst = a b` or `dst += a b`.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul([rows, inner, cols]: [usize; 3], a: &[f32], b: &[f32], dst: &mut [f32], overwrite: Overwrite) {
    assert_eq!(a.len(), rows * inner, "a is [rows, inner]");
    by_strides([rows, inner, cols], a, [inner, 1], b, dst, overwrite);
}

/// `dst = a^T b` or `dst += a^T b`: the gradient of a weight matrix, a sum over all rows.
///
/// # Shapes
/// `a` is `[inner, a_cols]`, of which columns `first .. first + rows` are used; `b` is `[inner, cols]`, `dst` is
/// `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul_lhs_transposed(
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    [a_cols, first]: [usize; 2],
    b: &[f32],
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert!(first + rows <= a_cols, "the columns lie inside a");
    assert_eq!(a.len(), inner * a_cols, "a is [inner, a_cols]");
    let a = if inner == 0 { a } else { &a[first..] };
    by_strides([rows, inner, cols], a, [1, a_cols], b, dst, overwrite);
}

fn by_strides(
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(b.len(), inner * cols, "b is [inner, cols]");
    assert_eq!(dst.len(), rows * cols, "dst is [rows, cols]");
    strided([rows, inner, cols], (a, a_strides), Rhs { values: b, stride: cols }, (dst, cols), overwrite);
}

/// A right operand, whose rows lie `stride` numbers apart.
struct Rhs<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

/// The product of an `a` with strides between its rows and between its columns.
///
/// # Panics
/// If an operand ends before the last of its numbers.
fn strided(
    [rows, inner, cols]: [usize; 3],
    (a, [a_row_stride, a_inner_stride]): (&[f32], [usize; 2]),
    b: Rhs,
    (dst, dst_stride): (&mut [f32], usize),
    overwrite: Overwrite,
) {
    if rows == 0 || cols == 0 {
        return;
    }
    if inner == 0 {
        if overwrite == Overwrite::Yes {
            dst.chunks_mut(dst_stride).take(rows).for_each(|row| row[..cols].fill(0.0));
        }
        return;
    }
    let last = (inner - 1).checked_mul(a_inner_stride).expect("an index inside a");
    assert!(last < a.len() && holds(a.len() - last, rows, a_row_stride, 1));
    assert!(holds(b.values.len(), inner, b.stride, cols));
    assert!(dst_stride >= cols && holds(dst.len(), rows, dst_stride, cols));
    // gemm wants the destination by columns: dst^T [cols, rows] = b^T [cols, inner] a^T [inner, rows].
    let dst = Strided { first: dst.as_mut_ptr(), col_stride: dst_stride, row_stride: 1 };
    let lhs = Strided { first: b.values.as_ptr(), col_stride: b.stride, row_stride: 1 };
    let rhs = Strided { first: a.as_ptr(), col_stride: a_row_stride, row_stride: a_inner_stride };
    // SAFETY: the assertions prove that every index that gemm forms from these sizes and strides lies inside its slice, and
    // `dst` is borrowed exclusively.
    unsafe { gemm([cols, rows, inner], dst, overwrite == Overwrite::No, lhs, rhs) }
}
