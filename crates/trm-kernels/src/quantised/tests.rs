//! Exact sums, at ragged sizes and at every level.

use super::rounded::{per_step, round_64};
use super::{LONGEST_GROUP, WeightBits};
use crate::layout::{PANEL, Part, Start};
use crate::math::largest_magnitude;
use crate::reference::{is_tried, numbers};
use crate::{Format, Left, Level, Overwrite, Right, Rounded, at_level, multiply, multiply_in_parts};

const SIZES: [usize; 10] = [0, 1, 2, 6, 7, 33, 63, 64, 65, 131];

fn integers(len: usize, seed: u32, largest: i8) -> Vec<i8> {
    let bound = f32::from(largest) + 0.49;
    numbers(len, seed).iter().map(|v| (v * bound).round() as i8).collect()
}

/// Plain rows times integers.
fn product(rows: usize, a: &[f32], b: &Right, dst: &mut [f32], overwrite: Overwrite) {
    multiply(Left::Plain { rows, values: a }, (b, 0..b.shape()[1]), dst, overwrite.into());
}

/// `p q` of each group by itself, `[rows, cols, groups]`, in 64 bits.
fn group_sums([rows, inner, cols, group]: [usize; 4], p: impl Fn(usize, usize) -> i64, q: &[i8]) -> Vec<i64> {
    let groups = inner.div_ceil(group);
    let mut sums = vec![0; rows * cols * groups];
    for r in 0..rows {
        for c in 0..cols {
            for k in 0..inner {
                sums[(r * cols + c) * groups + k / group] += p(r, k) * i64::from(q[c * inner + k]);
            }
        }
    }
    sums
}

#[test]
fn sums_of_all_ragged_sizes_are_exact_at_every_level() {
    for (bits, group) in [
        (WeightBits::Eight, usize::MAX),
        (WeightBits::Eight, 64),
        (WeightBits::Eight, 128),
        (WeightBits::Four, usize::MAX),
        (WeightBits::Four, 32),
        (WeightBits::Four, 64),
    ] {
        for rows in SIZES {
            for inner in SIZES {
                for cols in SIZES {
                    let shape = [rows, inner, cols];
                    if is_tried(&shape) {
                        ragged_size_is_exact(bits, group, shape);
                    }
                }
            }
        }
    }
}

fn ragged_size_is_exact(bits: WeightBits, group: usize, [rows, inner, cols]: [usize; 3]) {
    let group = group.min(inner.next_multiple_of(8).max(8));
    let groups = inner.div_ceil(group);
    let (p, q) = (integers(rows * inner, 1, 127), integers(inner * cols, 2, bits.largest()));
    let scales = numbers(groups * cols, 3);
    let before = numbers(rows * cols, 4);
    // A step that is a power of two makes the inputs exact.
    let step = 0.125;
    let a: Vec<f32> = p.iter().map(|p| step * f32::from(*p)).collect();
    let right = Right::quantised(bits, [inner, cols], group, &q, &scales, Some(step));
    let exact = group_sums([rows, inner, cols, group], |r, k| i64::from(p[r * inner + k]), &q);
    for overwrite in [Overwrite::Yes, Overwrite::No] {
        let want: Vec<f32> = (0..rows * cols)
            .map(|i| {
                let mut total = 0.0;
                for g in 0..groups {
                    total += exact[i * groups + g] as f32 * scales[i % cols * groups + g];
                }
                (if overwrite == Overwrite::Yes { 0.0 } else { before[i] }) + step * total
            })
            .collect();
        let what = format!("{bits:?} [{rows}, {inner}, {cols}] by {group}");
        for level in Level::available() {
            let mut dst = before.clone();
            at_level(level, || product(rows, &a, &right, &mut dst, overwrite));
            assert_eq!(dst, want, "{what} at {}", level.name());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes hours")]
fn the_largest_numbers_do_not_overflow() {
    for (inner, bits) in [(LONGEST_GROUP, WeightBits::Eight), (10_000, WeightBits::Four)] {
        for sign in [-1, 1] {
            let q = vec![sign * bits.largest(); inner];
            let right = Right::quantised(bits, [inner, 1], inner, &q, &[1.0], Some(1.0));
            let mut dst = [0.0];
            product(1, &vec![127.0; inner], &right, &mut dst, Overwrite::Yes);
            let want = inner as i64 * 127 * i64::from(q[0]);
            assert_eq!(dst[0], want as f32);
        }
    }
}

#[test]
fn inputs_are_rounded_to_the_nearest_even_and_clipped() {
    let rounded = |numbers: &[f32], step: f32| {
        let (mut run, mut values) = ([0.0; 64], [0; 64]);
        run[..numbers.len()].copy_from_slice(numbers);
        let mut lanes = [0; 16];
        round_64(&run, per_step(step), &mut values, &mut lanes);
        assert_eq!(lanes.iter().sum::<i32>(), values.iter().map(|p| i32::from(*p)).sum::<i32>());
        values[..numbers.len()].to_vec()
    };
    let values = rounded(&[0.5, 1.5, -2.5, 0.49, 126.6, 500.0, -1e30, f32::INFINITY, -0.2], 1.0);
    assert_eq!(values, [0, 2, -2, 0, 127, 127, -127, 127, 0]);
    assert_eq!(rounded(&[1.0, f32::NAN], 0.0)[0], 0);
    assert_eq!(largest_magnitude(&[1.0, -7.5, 0.0]), 7.5);
    assert!(largest_magnitude(&[1.0, -f32::NAN, f32::INFINITY]).is_nan());
}

#[test]
fn what_is_not_finite_stays_so() {
    let right = Right::quantised(WeightBits::Eight, [3, 1], 8, &[1, 2, 3], &[1.0], None);
    for value in [f32::NAN, f32::INFINITY] {
        let mut dst = [0.0];
        product(1, &[1.0, value, 2.0], &right, &mut dst, Overwrite::Yes);
        assert!(!dst[0].is_finite(), "{value} gave {}", dst[0]);
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_company() {
    let (inner, cols) = (77, 130);
    let a = numbers(20 * inner, 1);
    let q = integers(inner * cols, 2, 7);
    let scales = numbers(10 * cols, 3);
    let right = Right::quantised(WeightBits::Four, [inner, cols], 8, &q, &scales, None);
    let mut all = vec![0.0; 20 * cols];
    product(20, &a, &right, &mut all, Overwrite::Yes);
    for r in 0..20 {
        let mut one = vec![0.0; cols];
        let row = &a[r * inner..(r + 1) * inner];
        product(1, row, &right, &mut one, Overwrite::Yes);
        assert_eq!(one, all[r * cols..(r + 1) * cols], "row {r}");
        let mut parts = vec![0.0; cols];
        for (i, part) in parts.chunks_mut(PANEL).enumerate() {
            let columns = i * PANEL..i * PANEL + part.len();
            multiply(Left::Plain { rows: 1, values: row }, (&right, columns), part, Start::Zeros);
        }
        assert_eq!(parts, one, "row {r} in parts");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes hours")]
fn parts_have_the_bits_of_the_whole_at_every_level() {
    let (inner, cols) = (200, 131);
    let bias = numbers(cols, 5);
    for (bits, group) in [(WeightBits::Eight, 256), (WeightBits::Eight, 64), (WeightBits::Four, 40)] {
        let q = integers(inner * cols, 2, bits.largest());
        let scales = numbers(inner.div_ceil(group) * cols, 3);
        let right = Right::quantised(bits, [inner, cols], group, &q, &scales, Some(1.0 / 120.0));
        for (rows, level) in [1, 7, 40, 130].into_iter().flat_map(|r| Level::available().map(move |l| (r, l)))
        {
            let a = numbers(rows * inner, 1);
            let mut whole: Vec<f32> = bias.repeat(rows);
            let mut parts = vec![f32::NAN; rows * cols];
            at_level(level, || {
                product(rows, &a, &right, &mut whole, Overwrite::No);
                let mut left = Rounded::new(Format::Quantised);
                left.resize_for(rows, &right);
                for (row, column) in
                    (0..inner).step_by(64).flat_map(|c| (0..rows).step_by(48).map(move |r| (r, c)))
                {
                    let part =
                        Part { rows: row..rows.min(row + 48), columns: column..inner.min(column + 64) };
                    let of_row = |r: usize| &a[r * inner..][part.columns.clone()];
                    let values: Vec<f32> = part.rows.clone().flat_map(of_row).copied().collect();
                    left.store(&part, &values);
                }
                let mut buffer = vec![f32::NAN; rows * PANEL];
                let left = Left::Rounded(&left);
                multiply_in_parts(left, &right, Start::Bias(&bias), &mut buffer, |part, values| {
                    for (r, values) in part.rows.clone().zip(values.chunks(part.columns.len())) {
                        parts[r * cols..][part.columns.clone()].copy_from_slice(values);
                    }
                });
            });
            assert_eq!(parts, whole, "{bits:?} by {group}, {rows} rows at {}", level.name());
        }
    }
}
