//! f32 matrix products on row-major slices, by the `gemm` crate on the calling thread.
//!
//! Both forms are laid out so that `gemm` reads the operand with the long rows in place instead of packing it:
//! on few rows, packing a weight matrix costs more than multiplying by it. Callers keep a transposed copy of the
//! weights where they need the other form.

use gemm::Parallelism;

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

fn product(
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    [a_row_stride, a_inner_stride]: [usize; 2],
    b: &[f32],
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(b.len(), inner * cols, "b is [inner, cols]");
    assert_eq!(dst.len(), rows * cols, "dst is [rows, cols]");
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
    let (m, n, k) = (cols, rows, inner);
    let stride = |s: usize| s as isize;
    // SAFETY: the assertions here and in the callers prove that every index that gemm forms from these sizes and
    // strides lies inside its slice, and `dst` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            stride(cols),
            1,
            overwrite == Overwrite::No,
            b.as_ptr(),
            stride(cols),
            1,
            a.as_ptr(),
            stride(a_row_stride),
            stride(a_inner_stride),
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, assert_close, numbers};

    const SIZES: [usize; 9] = [0, 1, 2, 7, 15, 16, 17, 61, 131];

    #[test]
    fn products_of_all_ragged_sizes_agree_with_the_reference() {
        for rows in SIZES {
            for inner in SIZES {
                for cols in SIZES {
                    let a = numbers(rows * inner, 1);
                    let b = numbers(inner * cols, 2);
                    let before = numbers(rows * cols, 3);
                    let want = reference::matmul(rows, inner, cols, &a, &b);
                    let sum: Vec<f64> = want.iter().zip(&before).map(|(w, d)| w + f64::from(*d)).collect();
                    let shape = [rows, inner, cols];
                    let what = format!("{shape:?}");

                    let mut dst = before.clone();
                    matmul(shape, &a, &b, &mut dst, Overwrite::Yes);
                    assert_close(&dst, &want, &what);
                    let mut dst = before.clone();
                    matmul(shape, &a, &b, &mut dst, Overwrite::No);
                    assert_close(&dst, &sum, &what);

                    let a_t = reference::transpose(rows, inner, &a);
                    let mut dst = before.clone();
                    matmul_lhs_transposed(shape, &a_t, [rows, 0], &b, &mut dst, Overwrite::No);
                    assert_close(&dst, &sum, &what);
                }
            }
        }
    }

    #[test]
    fn a_block_of_columns_gives_that_block_of_the_product() {
        let (a_cols, inner, cols) = (37, 19, 23);
        let a = numbers(inner * a_cols, 4);
        let b = numbers(inner * cols, 5);
        let want = reference::matmul(a_cols, inner, cols, &reference::transpose(inner, a_cols, &a), &b);
        let (first, rows) = (11, 17);
        let mut dst = vec![0.0; rows * cols];
        matmul_lhs_transposed([rows, inner, cols], &a, [a_cols, first], &b, &mut dst, Overwrite::Yes);
        assert_close(&dst, &want[first * cols..(first + rows) * cols], "columns 11 to 27");
    }
}
