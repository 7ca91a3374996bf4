//! Against plain loops at ragged sizes, and the same bits at every level.

use super::*;
use crate::operands::Panels;
use crate::reference::{cut, is_tried, matmul as exact_matmul, numbers, transpose};
use crate::{Left, Level, Right, at_level, multiply as multiply_any};

const BOTH: [Fixed; 2] = [Fixed::Twelve, Fixed::Seven];

/// None, one, and around blocks of 6 rows, strips of 16 columns, and words; more than one sum of 512.
const SIZES: [usize; 9] = [0, 1, 2, 6, 7, 15, 16, 33, 70];
const LONG: [[usize; 3]; 3] = [[7, 512, 16], [13, 513, 33], [6, 1100, 17]];

fn shapes() -> impl Iterator<Item = [usize; 3]> {
    let all =
        SIZES.iter().flat_map(|rows| SIZES.iter().flat_map(move |inner| SIZES.map(|c| [*rows, *inner, c])));
    all.chain(LONG).filter(is_tried)
}

/// Runs `product` at every level, and gives what all of them give.
fn at_every_level(what: &str, product: impl Fn() -> Vec<f32>) -> Vec<f32> {
    let portable = at_level(Level::Portable, &product);
    for level in Level::available() {
        let at_this = at_level(level, &product);
        assert!(
            portable.iter().map(|v| v.to_bits()).eq(at_this.iter().map(|v| v.to_bits())),
            "{what} at {}",
            level.name()
        );
    }
    portable
}

/// Half a step of each row: how far rounding moves a number at most, but for the last bit.
fn half_steps(fixed: Fixed, matrix: &[f32], width: usize) -> Vec<f64> {
    let half = |row| f64::from(largest_magnitude(row) / fixed.largest()) * 0.5001;
    matrix.chunks(width.max(1)).map(half).collect()
}

fn packed(fixed: Fixed, shape: [usize; 2], matrix: &[f32]) -> FixedPanels {
    let mut panels = FixedPanels::new(fixed);
    panels.pack(shape, matrix);
    panels
}

/// Rounds the left operand as well.
fn round_and_multiply(
    rows: usize,
    a: &[f32],
    (b, columns): (&FixedPanels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    let right = Right(Panels::Fixed(b.clone()));
    multiply_any(Left::Plain { rows, values: a }, (&right, columns), dst, start);
}

fn rounded(fixed: Fixed, shape: [usize; 2], matrix: &[f32]) -> FixedRows {
    let mut rows = FixedRows::new(fixed);
    rows.pack(shape, matrix);
    rows
}

/// Asserts that `got` is `start + a b` within what rounding `[rows, inner]` and `[inner, cols]` by half steps can do.
fn assert_within(
    got: &[f32],
    [rows, inner, cols]: [usize; 3],
    a: &[f32],
    b: &[f32],
    halves: [&[f64]; 2],
    start: impl Fn(usize) -> f64,
    what: &str,
) {
    let want = exact_matmul(rows, inner, cols, a, b);
    let mut largest = 0.0f64;
    for r in 0..rows {
        for c in 0..cols {
            let bound: f64 = (0..inner)
                .map(|k| {
                    let [a, b] = [a[r * inner + k], b[k * cols + c]].map(|v| f64::from(v.abs()));
                    a * halves[1][c] + b * halves[0][r] + halves[0][r] * halves[1][c]
                })
                .sum();
            let i = r * cols + c;
            let error = (f64::from(got[i]) - want[i] - start(i)).abs();
            assert!(error <= bound + 1e-5, "{what}: {error} at {r}, {c}, where {bound} is allowed");
            largest = largest.max(bound);
        }
    }
    assert!(rows * inner * cols == 0 || largest > 0.0, "{what}: rounding does something");
}

#[test]
fn products_are_as_exact_as_their_operands() {
    for (fixed, shape @ [rows, inner, cols]) in BOTH.iter().flat_map(|fixed| shapes().map(|s| (*fixed, s))) {
        let (a, b) = (numbers(rows * inner, 1), numbers(inner * cols, 2));
        let (bias, before) = (numbers(cols, 3), numbers(rows * cols, 4));
        let b_t = transpose(inner, cols, &b);
        let (panels, mut transposed) = (packed(fixed, [inner, cols], &b), FixedPanels::new(fixed));
        transposed.pack_transposed([inner, cols], &b_t);
        let what = format!("{fixed:?}, {shape:?}");
        assert!(panels == transposed, "{what}, packed both ways");
        let run = |start: Start| {
            at_every_level(&what, || {
                let mut dst = before.clone();
                round_and_multiply(rows, &a, (&panels, 0..cols), &mut dst, start);
                dst
            })
        };
        let halves = [&half_steps(fixed, &a, inner)[..], &half_steps(fixed, &b_t, inner)[..]];
        let zeros = run(Start::Zeros);
        if inner > 0 {
            assert_within(&zeros, shape, &a, &b, halves, |_| 0.0, &what);
            let biased = run(Start::Bias(&bias));
            assert_within(&biased, shape, &a, &b, halves, |i| f64::from(bias[i % cols]), &what);
            assert_within(&run(Start::Sums), shape, &a, &b, halves, |i| f64::from(before[i]), &what);
        } else {
            assert!(zeros.iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn rows_and_columns_have_the_bits_of_the_whole() {
    let [rows, inner, cols] = [29, 70, 50];
    let (a, b) = (numbers(rows * inner, 1), numbers(inner * cols, 2));
    for fixed in BOTH {
        let panels = packed(fixed, [inner, cols], &b);
        let mut all = vec![0.0; rows * cols];
        round_and_multiply(rows, &a, (&panels, 0..cols), &mut all, Start::Zeros);
        let mut kept = FixedRows::zeros(fixed, rows, inner);
        kept.store(0..11, &a[..11 * inner]);
        kept.store(11..rows, &a[11 * inner..]);
        for some_rows in [0..1, 5..18, 28..29] {
            for columns in [0..50, 16..50, 32..40] {
                let mut part = vec![f32::NAN; some_rows.len() * columns.len()];
                multiply(&kept, some_rows.clone(), (&panels, columns.clone()), &mut part, Start::Zeros);
                let want = some_rows.clone().flat_map(|r| all[r * cols..][columns.clone()].to_vec());
                assert!(part.into_iter().eq(want), "{fixed:?}, {some_rows:?}, {columns:?}");
            }
        }
    }
}

#[test]
fn stored_numbers_are_read_back_to_half_a_step() {
    for (fixed, [rows, inner]) in BOTH.iter().flat_map(|fixed| [(*fixed, [1, 1]), (*fixed, [7, 45])]) {
        let matrix = numbers(rows * inner, 5);
        let read = at_every_level("load", || {
            let kept = rounded(fixed, [rows, inner], &matrix);
            let mut read = vec![0.0; matrix.len()];
            kept.load(0..rows, &mut read);
            read
        });
        let halves = half_steps(fixed, &matrix, inner);
        for (i, (value, read)) in matrix.iter().zip(&read).enumerate() {
            assert!(f64::from((value - read).abs()) <= halves[i / inner], "{value} and {read}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes hours")]
fn the_largest_sums_are_exact() {
    for (fixed, inner) in [(Fixed::Twelve, 512), (Fixed::Seven, 512), (Fixed::Seven, 1 << 18)] {
        for signs in [[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]] {
            let [a, b] = signs.map(|sign| sign * fixed.largest());
            let panels = packed(fixed, [inner, 16], &vec![b; inner * 16]);
            let a = vec![a; 6 * inner];
            let sums = at_every_level("largest", || {
                let mut dst = vec![0.0; 6 * 16];
                round_and_multiply(6, &a, (&panels, 0..16), &mut dst, Start::Zeros);
                dst
            });
            let want = signs[0] * signs[1] * (inner as f32 * fixed.largest() * fixed.largest());
            assert!(sums.iter().all(|sum| *sum == want), "{fixed:?}, {inner}: {} and {want}", sums[0]);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes hours")]
fn weight_gradients_are_as_exact_as_their_operands() {
    // Outputs from the second strip on.
    const FIRST: usize = 16;
    for (fixed, shards) in BOTH.iter().flat_map(|w| [&[1, 40][..], &[64], &[300, 33, 1100]].map(|s| (*w, s)))
    {
        for [outputs, inputs] in [[1, 1], [33, 70], [16, 16], [70, 17]] {
            let rows: usize = shards.iter().sum();
            // Rows of different sizes, so that they are rounded again.
            let sized = |width: usize, seed| -> Vec<f32> {
                let values = numbers(rows * width, seed);
                values.iter().enumerate().map(|(i, v)| v / (1 + i / width % 7) as f32).collect()
            };
            let (d, x) = (sized(FIRST + outputs, 1), sized(inputs, 2));
            let before = numbers(outputs * inputs, 3);
            let what = format!("{fixed:?}, {shards:?}, [{outputs}, {inputs}]");
            let gradient = at_every_level(&what, || {
                let pack = |values: &[f32], width: usize| -> Vec<FixedRows> {
                    cut(values, width, shards).map(|(rows, v)| rounded(fixed, [rows, width], v)).collect()
                };
                let (d, x) = (pack(&d, FIRST + outputs), pack(&x, inputs));
                let pairs: Vec<_> = d.iter().zip(&x).collect();
                let outputs = FIRST..FIRST + outputs;
                let mut dst = [before.clone(), before.clone()];
                weight_gradient(&pairs, outputs.clone(), &mut dst[0]);
                pairs.iter().for_each(|pair| weight_gradient(&[*pair], outputs.clone(), &mut dst[1]));
                assert!(dst[0] == dst[1], "one call and many, {what}");
                dst[0].clone()
            });
            let d_t: Vec<f32> = transpose(rows, FIRST + outputs, &d)[FIRST * rows..].to_vec();
            // Rounded to a step of its row, and d again to the largest.
            let step = |values: &[f32]| f64::from(largest_magnitude(values) / fixed.largest()) * 1.01;
            let halves = [&vec![step(&d); outputs][..], &vec![step(&x); inputs][..]];
            assert_within(
                &gradient,
                [outputs, rows, inputs],
                &d_t,
                &x,
                halves,
                |i| f64::from(before[i]),
                &what,
            );
        }
    }
}

#[test]
fn what_is_not_finite_does_not_go_unnoticed_and_what_is_tiny_counts_as_nothing() {
    let inner = 40;
    for (fixed, odd, is_expected) in BOTH.iter().flat_map(|fixed| {
        [
            (*fixed, f32::NAN, (|v: f32| !v.is_finite()) as fn(f32) -> bool),
            (*fixed, f32::INFINITY, |v| !v.is_finite()),
            (*fixed, 1e-41, |v| v.abs() < 1e-30),
        ]
    }) {
        let panels = packed(fixed, [inner, 16], &numbers(inner * 16, 2));
        let mut a = numbers(2 * inner, 1);
        if odd.is_finite() {
            a[..inner].fill(odd)
        } else {
            a[3] = odd
        }
        let product = at_every_level("odd", || {
            let mut dst = vec![0.0; 2 * 16];
            round_and_multiply(2, &a, (&panels, 0..16), &mut dst, Start::Zeros);
            dst.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = f32::NAN);
            dst
        });
        assert!(product[..16].iter().all(|v| is_expected(*v)), "{fixed:?}, {odd}: {product:?}");
        assert!(product[16..].iter().all(|v| v.is_finite() && v.abs() > 1e-6), "{odd}: its own row only");
        let rows = rounded(fixed, [2, inner], &a);
        let mut gradient = vec![0.0; inner * inner];
        weight_gradient(&[(&rows, &rows)], 0..inner, &mut gradient);
        assert!(gradient.iter().all(|v| v.is_finite() == odd.is_finite()), "{fixed:?}, {odd} in a gradient");
    }
}
