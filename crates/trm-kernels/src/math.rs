//! Branch-free elementary functions that the compiler can widen inside [`crate::vectorize`] and [`crate::vectorize_fused`].

/// Computes `a * b + c`, in one instruction that rounds once where the instruction set has it, else in two. Every
/// level but the portable one has the instruction; for the portable level it depends on the CPU that the program was
/// compiled for.
#[derive(Clone, Copy, Debug)]
pub struct MulAdd {
    pub(crate) is_fused: bool,
}

impl MulAdd {
    /// `a * b + c`
    #[inline(always)]
    pub fn of(self, a: f32, b: f32, c: f32) -> f32 {
        if self.is_fused { a.mul_add(b, c) } else { a * b + c }
    }
}

/// 1.5 * 2^23: numbers of this size are whole, so adding it rounds, and the low bits of the sum are the number.
pub(crate) const WHOLE: f32 = 12_582_912.0;

/// What [`exp_nonpositive`] is made of.
pub(crate) mod exp {
    /// The high part of ln 2. It has so few bits that n times it is exact.
    pub const LN2_HIGH: f32 = 0.693_359_4;
    /// The low part of ln 2: the rest.
    pub const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Coefficient of the highest power of the polynomial.
    pub const FIRST: f32 = 0.008_312_399;
    /// Coefficients of the polynomial after [`FIRST`], by falling powers.
    pub const COEFFICIENTS: [f32; 5] = [0.041_891_284, 0.166_671_2, 0.499_992_25, 1.0, 1.0];
}

/// `e^x` for `x <= 0`, relative error below 2e-7; 0 is never reached: arguments below -87 count as -87.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` by the polynomial `1 + r + ...` of degree 5 with the least relative error,
/// 1.1e-7; `2^n` by adding n to the exponent. Adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low
/// mantissa bits.
#[inline(always)]
pub fn exp_nonpositive(x: f32, mul_add: MulAdd) -> f32 {
    use exp::{COEFFICIENTS, FIRST, LN2_HIGH, LN2_LOW};
    let x = x.max(-87.0);
    let rounded = mul_add.of(x, std::f32::consts::LOG2_E, WHOLE);
    let n = rounded - WHOLE;
    let r = mul_add.of(n, -LN2_LOW, mul_add.of(n, -LN2_HIGH, x));
    let mut e = FIRST;
    for coefficient in COEFFICIENTS {
        e = mul_add.of(e, r, coefficient);
    }
    f32::from_bits(e.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// The standard normal distribution at `x`: (its integral up to x, its density at x), absolute error below 2e-7.
///
/// The integral up to `-|x|` is `e^(-x^2 / 2) m(|x|)`; m, Mills' ratio over `sqrt(2 pi)`, is the polynomial `1/2 - ...` of
/// degree 10 with the least error of the product for `|x| <= 6.2`, 7e-8. Beyond, the product is smaller than that.
#[inline(always)]
pub fn normal(x: f32, mul_add: MulAdd) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    // Where the exponential ends, and before powers overflow.
    let distance = x.abs().min(13.19);
    let gaussian = exp_nonpositive(-0.5 * distance * distance, mul_add);
    let mut polynomial = 1.678_249_4e-6;
    for coefficient in [
        -3.604_039_7e-5,
        3.459_869e-4,
        -2.000_308_4e-3,
        8.002_670_5e-3,
        -0.024_410_136,
        0.061_244_383,
        -0.132_562_6,
        0.249_931_02,
        -0.398_938_36,
        0.5,
    ] {
        polynomial = mul_add.of(polynomial, distance, coefficient);
    }
    let lower = polynomial * gaussian;
    let integral = if x < 0.0 { lower } else { 1.0 - lower };
    (integral, INV_SQRT_2PI * gaussian)
}

/// The integral of the standard normal distribution up to `x`, in half the time of [`normal`], for results that are
/// rounded to bfloat16 next. Times x it has an absolute error below 4e-6 for `|x| <= 8`, and below `1e-6 |x|` beyond.
#[inline(always)]
pub fn normal_integral_for_bf16(x: f32, mul_add: MulAdd) -> f32 {
    const POLYNOMIAL: [f32; 11] = [
        0.001_280_269_3,
        -0.003_771_046_1,
        0.005_015_963,
        -0.007_168_798_4,
        0.013_405_635,
        -0.021_649_57,
        0.030_402_853,
        -0.040_568_225,
        0.053_235_26,
        -0.073_667_55,
        0.148_748_3,
    ];
    odd_integral(x, 4.75, POLYNOMIAL, mul_add)
}

/// The integral of the standard normal distribution up to `x`, for results that are rounded to a hundred steps next.
/// Times x it has an absolute error below 2e-4 for `|x| <= 8`, and below `4e-5 |x|` beyond.
#[inline(always)]
pub fn normal_integral_for_int8(x: f32, mul_add: MulAdd) -> f32 {
    const POLYNOMIAL: [f32; 7] = [
        0.005_972_03,
        -0.016_550_897,
        0.024_091_056,
        -0.035_462_342,
        0.055_410_19,
        -0.084_426_62,
        0.175_970_22,
    ];
    odd_integral(x, 4.0, POLYNOMIAL, mul_add)
}

/// `1/2 + x P(x^2)`, the product of x with it by the polynomial P with the least error for `|x| <= end`; beyond, its value there. P
/// is written in `2 (x / end)^2 - 1`, from -1 to 1, where its terms are small and do not cancel.
#[inline(always)]
fn odd_integral<const N: usize>(x: f32, end: f32, polynomial: [f32; N], mul_add: MulAdd) -> f32 {
    let x = x.max(-end).min(end);
    let t = mul_add.of(x * x, 2.0 / (end * end), -1.0);
    let mut p = polynomial[0];
    for coefficient in &polynomial[1..] {
        p = mul_add.of(p, t, *coefficient);
    }
    mul_add.of(x, p, 0.5)
}

/// By the bits, whose order is that of magnitudes: infinity and NaN come last, so that neither goes unnoticed.
#[inline(always)]
pub(crate) fn largest_magnitude(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7fff_ffff)))
}

/// Numbers that are summed side by side: two of the widest registers, so that one sum need not wait for the other.
const LANES: usize = 32;

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
    let (a_chunks, b_chunks) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_chunks.0.iter().zip(b_chunks.0) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    let (a_half, b_half) = (a_chunks.1.as_chunks::<{ LANES / 2 }>(), b_chunks.1.as_chunks::<{ LANES / 2 }>());
    for (a, b) in a_half.0.iter().zip(b_half.0) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(*a, *b);
        }
    }
    let tail: f32 = a_half.1.iter().zip(b_half.1).map(|(a, b)| term(*a, *b)).sum();
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

    const BOTH: [MulAdd; 2] = [MulAdd { is_fused: false }, MulAdd { is_fused: true }];

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in 0..=870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            for mul_add in BOTH {
                let error = (f64::from(exp_nonpositive(x, mul_add)) - exact).abs() / exact;
                assert!(error < 2e-7, "exp({x}): relative error {error}");
            }
        }
        for mul_add in BOTH {
            assert!(exp_nonpositive(f32::NEG_INFINITY, mul_add) < 2e-38);
            assert_eq!(exp_nonpositive(0.0, mul_add), 1.0);
        }
    }

    #[test]
    fn rough_normal_integrals_are_wrong_by_less_than_rounding_is() {
        type Integral = fn(f32, MulAdd) -> f32;
        let both: [(Integral, f32, f32); 2] =
            [(normal_integral_for_bf16, 4e-6, 1e-6), (normal_integral_for_int8, 2e-4, 4e-5)];
        for (integral, within, beyond) in both {
            for mul_add in BOTH {
                for x in (-20_000..=20_000).map(|i| i as f32 * 1e-3) {
                    let error = (x * (integral(x, mul_add) - normal(x, mul_add).0)).abs();
                    assert!(error < if x.abs() <= 8.0 { within } else { beyond * x.abs() }, "{x}: {error}");
                }
                assert_eq!(f32::INFINITY * integral(f32::INFINITY, mul_add), f32::INFINITY);
            }
        }
    }

    #[test]
    fn the_normal_integral_agrees_with_its_series() {
        // Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), Abramowitz and Stegun 26.2.11.
        for i in -1000..=1000 {
            let x = f64::from(i) * 0.006;
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let (mut term, mut sum, mut n) = (x, x, 1.0);
            while term.abs() > 1e-17 {
                n += 2.0;
                term *= x * x / n;
                sum += term;
            }
            for mul_add in BOTH {
                let (integral, phi) = normal(x as f32, mul_add);
                assert!((f64::from(integral) - (0.5 + density * sum)).abs() < 2e-7, "Phi({x}) = {integral}");
                assert!((f64::from(phi) - density).abs() < 2e-7, "phi({x}) = {phi}");
            }
        }
        for (x, mul_add) in [6.5, 9.0, 13.0, 40.0, f32::INFINITY].iter().flat_map(|x| BOTH.map(|m| (*x, m))) {
            let [(upper, density), (lower, _)] = [normal(x, mul_add), normal(-x, mul_add)];
            assert!((upper - 1.0).abs() < 1e-7 && lower.abs() < 1e-7 && density < 1e-7, "at {x}");
        }
    }
}
