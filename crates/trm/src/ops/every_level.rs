//! Row operations at every instruction set that the CPU has: the same bits as in plain Rust, at ragged sizes, or the same but
//! for rounding where products and sums are fused. That those are right is what the finite differences beside each operation
//! say.

use super::gradient_check::numbers;
use super::*;
use trm_kernels::{Level, Part, at_level};

/// Rows and widths around the sixteen numbers that are summed side by side, and primes.
const ROWS: [usize; 4] = [1, 2, 7, 17];
const WIDTHS: [usize; 8] = [1, 2, 15, 16, 17, 61, 64, 131];

/// Runs `op` on some buffers of `[rows, width]` and returns them all, at every level.
fn check(what: &str, op: impl Fn([usize; 2], &mut [Vec<f32>; 4])) {
    check_to(0.0, what, op);
}

/// Runs `op` at every level. Its results may differ by `tolerance` from the portable ones; above that level they have
/// the same bits.
fn check_to(tolerance: f32, what: &str, op: impl Fn([usize; 2], &mut [Vec<f32>; 4])) {
    for (rows, width) in ROWS.iter().flat_map(|rows| WIDTHS.map(|width| (*rows, width))) {
        let run = |level: Level| {
            let mut buffers = [1, 2, 3, 4].map(|seed| numbers(rows * width, seed));
            at_level(level, || op([rows, width], &mut buffers));
            buffers
        };
        let portable = run(Level::Portable);
        assert!(portable.iter().flatten().all(|value| value.is_finite()), "{what} [{rows}, {width}]");
        let mut first = None;
        for level in Level::available().filter(|level| *level > Level::Portable) {
            let results = run(level);
            let pairs = results.iter().flatten().zip(portable.iter().flatten());
            let is_near = pairs.into_iter().all(|(result, p)| (result - p).abs() <= tolerance);
            assert!(is_near, "{what} [{rows}, {width}] at {}", level.name());
            assert!(*first.get_or_insert(results.clone()) == results, "{what} at {}", level.name());
        }
    }
}

#[test]
fn norms_have_the_same_bits() {
    check("layer norm", |[rows, width], [x, normalised, output, d_input]| {
        let (gain, bias, mut inv_std) = (numbers(width, 5), numbers(width, 6), vec![0.0; rows]);
        layer_norm_forward(x, &gain, &bias, normalised, &mut inv_std, output);
        let (mut d_gain, mut d_bias) = (vec![0.0; width], vec![0.0; width]);
        layer_norm_backward(output, normalised, &inv_std, &gain, d_input, [&mut d_gain, &mut d_bias]);
        x.extend(d_gain.into_iter().chain(d_bias));
    });
    check("RMS norm", |[rows, width], [x, d_output, ..]| {
        let mut inv_rms = vec![0.0; rows];
        rms_norm_forward(width, x, &mut inv_rms);
        rms_norm_backward(width, d_output, x, &inv_rms);
    });
}

#[test]
fn activations_have_the_same_bits() {
    check_to(1e-6, "GELU", |_, [x, output, d_output, y]| {
        gelu(y, Format::F32);
        gelu_forward(x, output);
        gelu_backward(d_output, x);
    });
    check_to(1e-6, "GELU before rounding", |_, [x, y, ..]| {
        gelu(x, Format::Bf16);
        gelu(y, Format::Quantised);
    });
    check("dropout", |[rows, width], [x, y, ..]| {
        let all = Part { rows: 0..rows, columns: 0..width };
        Dropout::new(0.3, 1, 2).apply([x, y], [1, width], &all, 3, 4);
    });
}

#[test]
fn sums_and_transposes_have_the_same_bits() {
    check("biases", |[_, width], [x, sums, ..]| linear_backward_bias(x, &mut sums[..width]));
    check("scaled sum", |_, [x, y, ..]| add_scaled(x, 0.3, y));
    check("dot", |_, [x, y, ..]| x.push(dot(y, y)));
    check("transpose", |[rows, width], [x, transposed, ..]| transpose([rows, width], x, transposed));
}
