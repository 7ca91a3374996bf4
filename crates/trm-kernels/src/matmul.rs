//! f32 matrix products on row-major slices, by the `gemm` crate on the calling thread.
//!
//! Both forms are laid out so that `gemm` reads the operand with the long rows in place instead of packing it:
//! on few rows, packing a weight matrix costs more than multiplying by it. Callers keep a transposed copy of the
//! weights where they need the other form.

use crate::gemm_kernels::{Strided, gemm};

/// What happens to the values already in the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// They are replaced.
    Yes,
    /// The product is added to them.
    No,
}

/// `dst = a b` or `dst += a b`.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul([rows, inner, cols]: [usize; 3], a: &[f32], b: &[f32], dst: &mut [f32], overwrite: Overwrite) {
    assert_eq!(a.len(), rows * inner, "a is [rows, inner]");
    product([rows, inner, cols], a, [inner, 1], b, dst, overwrite);
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
    product([rows, inner, cols], a, [1, a_cols], b, dst, overwrite);
}

/// Columns `first .. first + dst.len()` of `a b` for a single row a, or added to `dst`: what threads share of a product
/// that has no rows to be shared.
///
/// # Shapes
/// `a` is `[1, inner]`; `b` is `[inner, cols]`, given with `cols`.
///
/// # Panics
/// If a slice has another length, or the columns do not lie inside b.
pub fn row_matmul(
    a: &[f32],
    (b, cols): (&[f32], usize),
    first: usize,
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(b.len(), a.len() * cols, "b is [inner, cols]");
    assert!(first + dst.len() <= cols, "the columns lie inside b");
    let b = if b.is_empty() { b } else { &b[first..] };
    strided([1, a.len(), dst.len()], a, [a.len(), 1], (b, cols), dst, overwrite);
}

fn product(
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    a_strides: [usize; 2],
    b: &[f32],
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(b.len(), inner * cols, "b is [inner, cols]");
    assert_eq!(dst.len(), rows * cols, "dst is [rows, cols]");
    strided([rows, inner, cols], a, a_strides, (b, cols), dst, overwrite);
}

/// The product of an `a` with any strides and a `b` whose rows lie `b_stride` apart; the callers have checked lengths.
fn strided(
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    [a_row_stride, a_inner_stride]: [usize; 2],
    (b, b_stride): (&[f32], usize),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    if rows == 0 || cols == 0 {
        return;
    }
    if inner == 0 {
        if overwrite == Overwrite::Yes {
            dst.fill(0.0);
        }
        return;
    }
    // gemm wants the destination by columns: dst^T [cols, rows] = b^T [cols, inner] a^T [inner, rows].
    let dst = Strided { first: dst.as_mut_ptr(), col_stride: cols, row_stride: 1 };
    let lhs = Strided { first: b.as_ptr(), col_stride: b_stride, row_stride: 1 };
    let rhs = Strided { first: a.as_ptr(), col_stride: a_row_stride, row_stride: a_inner_stride };
    // SAFETY: the assertions in the callers prove that every index that gemm forms from these sizes and strides lies
    // inside its slice, and `dst` is borrowed exclusively.
    unsafe { gemm([cols, rows, inner], dst, overwrite == Overwrite::No, lhs, rhs) }
}
