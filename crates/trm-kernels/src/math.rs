//! Branch-free elementary functions that the compiler can widen inside [`crate::vectorize`].

/// `e^x` for `x <= 0`, relative error below 2e-7; 0 is never reached: arguments below -87 count as -87.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by its Taylor polynomial of degree 7, `2^n` by adding n to the
/// exponent. Adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low mantissa bits.
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few enough bits that n * LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut e = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        e = e * r + coefficient;
    }
    f32::from_bits(e.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// The standard normal distribution at `x`: (its integral up to x, its density at x), absolute error below 3e-7.
///
/// With `s = |x| / sqrt 2`, `erfc(s) = (a1 t + ... + a5 t^5) e^(-s^2)`, `t = 1 / (1 + p s)`.
///
/// # Source
/// Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    let s = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * s);
    let gaussian = exp_nonpositive(-0.5 * x * x);
    let mut polynomial = 1.061_405_4;
    for a in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        polynomial = polynomial * t + a;
    }
    let upper = 0.5 * polynomial * t * gaussian;
    let integral = if x < 0.0 { upper } else { 1.0 - upper };
    (integral, INV_SQRT_2PI * gaussian)
}

/// Numbers that are summed side by side: as many as the widest register holds.
const LANES: usize = 16;

/// Sum of all values, in an order that depends on their number alone.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    reduce(values, values, |v, _| v)
}

/// Sum of products of pairs, in an order that depends on their number alone.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    reduce(a, b, |a, b| a * b)
}

#[inline(always)]
fn reduce(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (a, b) in a_chunks.clone().zip(b_chunks.clone()) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    let tail: f32 = tail.map(|(a, b)| term(*a, *b)).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_nonpositive(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "exp({x}): relative error {error}");
        }
        assert!(exp_nonpositive(f32::NEG_INFINITY) < 2e-38);
        assert_eq!(exp_nonpositive(0.0), 1.0);
    }

    #[test]
    fn the_normal_integral_agrees_with_its_series() {
        // Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), Abramowitz and Stegun 26.2.11.
        for i in -600..=600 {
            let x = f64::from(i) * 0.01;
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let (mut term, mut sum, mut n) = (x, x, 1.0);
            while term.abs() > 1e-17 {
                n += 2.0;
                term *= x * x / n;
                sum += term;
            }
            let (integral, phi) = normal(x as f32);
            assert!((f64::from(integral) - (0.5 + density * sum)).abs() < 3e-7, "Phi({x}) = {integral}");
            assert!((f64::from(phi) - density).abs() < 3e-7, "phi({x}) = {phi}");
        }
    }
}
