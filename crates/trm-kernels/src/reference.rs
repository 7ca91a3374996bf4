//! Plain-Rust twins: slow, obvious, and what every kernel is tested against.

/// `dst[r, c] = sum_k a[r, k] b[k, c]`, summed in f64.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`; the result is `[rows, cols]`.
pub fn matmul(rows: usize, inner: usize, cols: usize, a: &[f32], b: &[f32]) -> Vec<f64> {
    let mut dst = vec![0.0; rows * cols];
    for r in 0..rows {
        for k in 0..inner {
            for c in 0..cols {
                dst[r * cols + c] += f64::from(a[r * inner + k]) * f64::from(b[k * cols + c]);
            }
        }
    }
    dst
}

/// The transpose of a row-major `[rows, cols]` matrix.
pub fn transpose(rows: usize, cols: usize, a: &[f32]) -> Vec<f32> {
    let mut t = vec![0.0; a.len()];
    for r in 0..rows {
        for c in 0..cols {
            t[c * rows + r] = a[r * cols + c];
        }
    }
    t
}
