//! Finite differences: the independent check of every hand-written gradient.

/// Largest difference allowed, relative to the largest gradient. Central differences of f32 functions summed in
/// f64 are good to about a thousandth at this step.
const TOLERANCE: f64 = 4e-3;
const STEP: f32 = 1.0 / 128.0;

/// Fixed numbers in (-1, 1) without pattern.
pub fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A scalar function of an output, to be differentiated: its sum with fixed weights, and those weights, which are
/// the gradient of that sum.
pub fn weighted_sum(output: &[f32]) -> (f64, Vec<f32>) {
    let weights = numbers(output.len(), 77);
    let sum = output.iter().zip(&weights).map(|(o, w)| f64::from(*o) * f64::from(*w)).sum();
    (sum, weights)
}

/// Compares a gradient with central differences of `function` at `at`.
pub fn assert_gradient(at: &[f32], gradient: &[f32], function: impl Fn(&[f32]) -> f64) {
    assert_eq!(at.len(), gradient.len());
    let largest = gradient.iter().fold(1e-3, |m: f64, g| m.max(f64::from(g.abs())));
    let mut moved = at.to_vec();
    for i in 0..at.len() {
        moved[i] = at[i] + STEP;
        let above = function(&moved);
        moved[i] = at[i] - STEP;
        let below = function(&moved);
        moved[i] = at[i];
        let difference = (above - below) / (2.0 * f64::from(STEP));
        let error = (difference - f64::from(gradient[i])).abs() / largest;
        assert!(error < TOLERANCE, "element {i}: gradient {} but differences give {difference}", gradient[i]);
    }
}
