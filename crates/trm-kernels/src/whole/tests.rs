//! Against plain loops at ragged sizes, and the same bits at every level.

use super::*;
use crate::reference::{cut, matmul as exact_matmul, numbers, transpose};
use crate::{Level, at_level};

const BOTH: [Whole; 2] = [Whole::Int16, Whole::Int8];

/// None, one, and around blocks of 6 rows, strips of 16 columns, and words; more than one sum of 512.
const SIZES: [usize; 9] = [0, 1, 2, 6, 7, 15, 16, 33, 70];
const LONG: [[usize; 3]; 3] = [[7, 512, 16], [13, 513, 33], [6, 1100, 17]];

fn shapes() -> impl Iterator<Item = [usize; 3]> {
    let all =
        SIZES.iter().flat_map(|rows| SIZES.iter().flat_map(move |inner| SIZES.map(|c| [*rows, *inner, c])));
    all.chain(LONG)
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
fn half_steps(whole: Whole, matrix: &[f32], width: usize) -> Vec<f64> {
    let half = |row| f64::from(largest_magnitude(row) / whole.largest()) * 0.5001;
    matrix.chunks(width.max(1)).map(half).collect()
}

fn packed(whole: Whole, shape: [usize; 2], matrix: &[f32]) -> WholePanels {
    let mut panels = WholePanels::new(whole);
    panels.pack(shape, matrix);
    panels
}

fn rounded(whole: Whole, shape: [usize; 2], matrix: &[f32]) -> WholeRows {
    let mut rows = WholeRows::new(whole);
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
    for (whole, shape @ [rows, inner, cols]) in BOTH.iter().flat_map(|whole| shapes().map(|s| (*whole, s))) {
        let (a, b) = (numbers(rows * inner, 1), numbers(inner * cols, 2));
        let (bias, before) = (numbers(cols, 3), numbers(rows * cols, 4));
        let b_t = transpose(inner, cols, &b);
        let (panels, mut transposed) = (packed(whole, [inner, cols], &b), WholePanels::new(whole));
        transposed.pack_transposed([inner, cols], &b_t);
        let what = format!("{whole:?}, {shape:?}");
        assert!(panels == transposed, "{what}, packed both ways");
        let run = |start: Start| {
            at_every_level(&what, || {
                let mut dst = before.clone();
                matmul_whole(rows, &a, (&panels, 0..cols), &mut dst, start);
                dst
            })
        };
        let halves = [&half_steps(whole, &a, inner)[..], &half_steps(whole, &b_t, inner)[..]];
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
    for whole in BOTH {
        let panels = packed(whole, [inner, cols], &b);
        let mut all = vec![0.0; rows * cols];
        matmul_whole(rows, &a, (&panels, 0..cols), &mut all, Start::Zeros);
        let mut kept = WholeRows::zeros(whole, rows, inner);
        kept.store(0..11, &a[..11 * inner]);
        kept.store(11..rows, &a[11 * inner..]);
        for some_rows in [0..1, 5..18, 28..29] {
            for columns in [0..50, 16..50, 32..40] {
                let mut part = vec![f32::NAN; some_rows.len() * columns.len()];
                matmul_whole_rows(
                    &kept,
                    some_rows.clone(),
                    (&panels, columns.clone()),
                    &mut part,
                    Start::Zeros,
                );
                let want = some_rows.clone().flat_map(|r| all[r * cols..][columns.clone()].to_vec());
                assert!(part.into_iter().eq(want), "{whole:?}, {some_rows:?}, {columns:?}");
            }
        }
    }
}

#[test]
fn stored_numbers_are_read_back_to_half_a_step() {
    for (whole, [rows, inner]) in BOTH.iter().flat_map(|whole| [(*whole, [1, 1]), (*whole, [7, 45])]) {
        let matrix = numbers(rows * inner, 5);
        let read = at_every_level("load", || {
            let kept = rounded(whole, [rows, inner], &matrix);
            let mut read = vec![0.0; matrix.len()];
            kept.load(0..rows, &mut read);
            read
        });
        let halves = half_steps(whole, &matrix, inner);
        for (i, (value, read)) in matrix.iter().zip(&read).enumerate() {
            assert!(f64::from((value - read).abs()) <= halves[i / inner], "{value} and {read}");
        }
    }
}

#[test]
fn the_largest_sums_are_exact() {
    for (whole, inner) in [(Whole::Int16, 512), (Whole::Int8, 512), (Whole::Int8, 1 << 18)] {
        for signs in [[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]] {
            let [a, b] = signs.map(|sign| sign * whole.largest());
            let panels = packed(whole, [inner, 16], &vec![b; inner * 16]);
            let a = vec![a; 6 * inner];
            let sums = at_every_level("largest", || {
                let mut dst = vec![0.0; 6 * 16];
                matmul_whole(6, &a, (&panels, 0..16), &mut dst, Start::Zeros);
                dst
            });
            let want = signs[0] * signs[1] * (inner as f32 * whole.largest() * whole.largest());
            assert!(sums.iter().all(|sum| *sum == want), "{whole:?}, {inner}: {} and {want}", sums[0]);
        }
    }
}

#[test]
fn weight_gradients_are_as_exact_as_their_operands() {
    // Outputs from the second strip on.
    const FIRST: usize = 16;
    for (whole, shards) in BOTH.iter().flat_map(|w| [&[1, 40][..], &[64], &[300, 33, 1100]].map(|s| (*w, s)))
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
            let what = format!("{whole:?}, {shards:?}, [{outputs}, {inputs}]");
            let gradient = at_every_level(&what, || {
                let pack = |values: &[f32], width: usize| -> Vec<WholeRows> {
                    cut(values, width, shards).map(|(rows, v)| rounded(whole, [rows, width], v)).collect()
                };
                let (d, x) = (pack(&d, FIRST + outputs), pack(&x, inputs));
                let pairs: Vec<_> = d.iter().zip(&x).collect();
                let outputs = FIRST..FIRST + outputs;
                let mut dst = [before.clone(), before.clone()];
                weight_gradient_whole(&pairs, outputs.clone(), &mut dst[0]);
                pairs.iter().for_each(|pair| weight_gradient_whole(&[*pair], outputs.clone(), &mut dst[1]));
                assert!(dst[0] == dst[1], "one call and many, {what}");
                dst[0].clone()
            });
            let d_t: Vec<f32> = transpose(rows, FIRST + outputs, &d)[FIRST * rows..].to_vec();
            // Rounded to a step of its row, and d again to the largest.
            let step = |values: &[f32]| f64::from(largest_magnitude(values) / whole.largest()) * 1.01;
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
    for (whole, odd, is_expected) in BOTH.iter().flat_map(|whole| {
        [
            (*whole, f32::NAN, (|v: f32| !v.is_finite()) as fn(f32) -> bool),
            (*whole, f32::INFINITY, |v| !v.is_finite()),
            (*whole, 1e-41, |v| v.abs() < 1e-30),
        ]
    }) {
        let panels = packed(whole, [inner, 16], &numbers(inner * 16, 2));
        let mut a = numbers(2 * inner, 1);
        if odd.is_finite() {
            a[..inner].fill(odd)
        } else {
            a[3] = odd
        }
        let product = at_every_level("odd", || {
            let mut dst = vec![0.0; 2 * 16];
            matmul_whole(2, &a, (&panels, 0..16), &mut dst, Start::Zeros);
            dst.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = f32::NAN);
            dst
        });
        assert!(product[..16].iter().all(|v| is_expected(*v)), "{whole:?}, {odd}: {product:?}");
        assert!(product[16..].iter().all(|v| v.is_finite() && v.abs() > 1e-6), "{odd}: its own row only");
        let rows = rounded(whole, [2, inner], &a);
        let mut gradient = vec![0.0; inner * inner];
        weight_gradient_whole(&[(&rows, &rows)], 0..inner, &mut gradient);
        assert!(gradient.iter().all(|v| v.is_finite() == odd.is_finite()), "{whole:?}, {odd} in a gradient");
    }
}
