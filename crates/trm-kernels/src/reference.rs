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

/// The numbers of a row-major matrix, `width` in a row, cut into so many rows each.
#[cfg(test)]
pub fn cut<'a>(
    values: &'a [f32],
    width: usize,
    shards: &[usize],
) -> impl Iterator<Item = (usize, &'a [f32])> {
    let mut rest = values;
    shards.iter().map(move |rows| {
        let (shard, behind) = rest.split_at(rows * width);
        rest = behind;
        (*rows, shard)
    })
}

/// Whether a shape is small enough for this run of the tests: Miri takes a thousand times as long.
#[cfg(test)]
pub fn is_tried(shape: &[usize; 3]) -> bool {
    !cfg!(miri) || shape.iter().all(|size| *size <= 17)
}

/// Rounding of an f32 sum of at most a few hundred products of numbers below 1.
#[cfg(test)]
const TOLERANCE: f64 = 1e-4;

/// Fixed numbers in (-1, 1) without pattern.
#[cfg(test)]
pub fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Compares a product with the plain-loop reference, element by element.
#[cfg(test)]
pub fn assert_close(got: &[f32], want: &[f64], what: &str) {
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() < TOLERANCE, "{what}: element {i} is {g}, not {w}");
    }
}
