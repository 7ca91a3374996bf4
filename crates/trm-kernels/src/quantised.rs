//! Matrix products of integers: weights of 8 or 4 bits, inputs of 8 bits, sums of 32.
//!
//! ```text
//! b[k, c] = scale[c, k / group] q[k, c]        weights, q from -127 to 127 or from -7 to 7
//! a[r, k] = step[r] p[r, k]                    inputs, p from -127 to 127, rounded here
//! (a b)[r, c] = step[r] sum over groups g of scale[c, g] (sum over k in g of p[r, k] q[k, c])
//! ```
//!
//! CPUs multiply unsigned by signed bytes, so weights are stored as `q + zero`, never negative, and an integer sum starts at
//! `-zero (sum of p)`, which takes the offset out again. Everything is exact but the rounding of inputs and the few f32
//! operations on each group, whose order is fixed: results have the same bits at every level and in every company.

use crate::level::{Level, level};
use crate::{Overwrite, vectorize};
use std::cell::RefCell;

/// Columns of a panel: four registers of sixteen sums.
pub(crate) const PANEL: usize = 64;
/// Columns that the portable kernel works on at once.
const LANES: usize = 16;
/// Rows that are multiplied at once: 24 registers of sums, 4 of the panel, 1 of the left operand.
const BLOCK: usize = 6;
/// Largest magnitude of a rounded input.
const LARGEST_INPUT: f32 = 127.0;
/// Groups are whole words of either width.
pub const GROUP_MULTIPLE: usize = 8;
/// Longest group whose sum fits 32 bits: `2^17 127^2 < 2^31`.
pub const LONGEST_GROUP: usize = 1 << 17;

/// Width of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightBits {
    /// From -127 to 127.
    Eight,
    /// From -7 to 7.
    Four,
}

impl WeightBits {
    /// Largest magnitude.
    pub fn largest(self) -> i8 {
        match self {
            Self::Eight => 127,
            Self::Four => 7,
        }
    }

    /// What is added to a weight where it is stored.
    pub(crate) fn zero(self) -> i32 {
        i32::from(self.largest()) + 1
    }

    /// Weights of one column in a word.
    pub(crate) fn in_word(self) -> usize {
        match self {
            Self::Eight => 4,
            Self::Four => 8,
        }
    }
}

/// An integer matrix `[inner, cols]` with its scales, laid out for products from the left.
///
/// Panel j holds columns `64 j ..`; in it, word `64 p + c` holds four rows `4p ..` of column c a byte each, or eight rows
/// `8p ..`: the low halves of its bytes the first four, the high halves the others. Missing rows and columns are zeros.
#[derive(Clone, Debug)]
pub struct QuantisedPanels {
    bits: WeightBits,
    inner: usize,
    cols: usize,
    groups: usize,
    /// Words of one column in a group.
    group_words: usize,
    words: Vec<u32>,
    /// `[panels, groups, 64]`
    scales: Vec<f32>,
}

impl QuantisedPanels {
    /// Packs the transpose of a row-major `[cols, inner]` matrix; the scales are `[cols, groups]`, one for each `group`
    /// numbers of a row.
    ///
    /// # Panics
    /// If a slice has another length, or there are several groups of no multiple of 8 numbers.
    pub fn pack_transposed(
        bits: WeightBits,
        [inner, cols]: [usize; 2],
        group: usize,
        transpose: &[i8],
        scales: &[f32],
    ) -> Self {
        let groups = inner.div_ceil(group.max(1));
        assert_eq!(transpose.len(), inner * cols, "transpose is [cols, inner]");
        assert_eq!(scales.len(), groups * cols, "scales are [cols, groups]");
        assert!(groups <= 1 || group.is_multiple_of(GROUP_MULTIPLE), "groups are whole words");
        assert!(group.min(inner) <= LONGEST_GROUP, "the sum of a group fits");
        let group_words = group.min(inner).div_ceil(bits.in_word());
        let column_words = groups * group_words;
        let panels = cols.div_ceil(PANEL);
        let zero = bits.zero() as u32;
        let fill: u32 = (0..32).step_by(32 / bits.in_word()).map(|shift| zero << shift).sum();
        let mut words = vec![fill; panels * column_words * PANEL];
        let mut panel_scales = vec![0.0; panels * groups * PANEL];
        for (c, column) in transpose.chunks_exact(inner.max(1)).enumerate() {
            let (panel, lane) = (c / PANEL, c % PANEL);
            for (p, numbers) in column.chunks(bits.in_word()).enumerate() {
                let mut word = fill;
                for (i, q) in numbers.iter().enumerate() {
                    let shift = match bits {
                        WeightBits::Eight => 8 * i,
                        WeightBits::Four => 8 * (i % 4) + 4 * (i / 4),
                    };
                    // Adding q to the zero that stands there never carries: the sum is positive and fits.
                    word = word.wrapping_add_signed(i32::from(*q) << shift);
                }
                words[(panel * column_words + p) * PANEL + lane] = word;
            }
            for (g, scale) in scales[c * groups..(c + 1) * groups].iter().enumerate() {
                panel_scales[(panel * groups + g) * PANEL + lane] = *scale;
            }
        }
        Self { bits, inner, cols, groups, group_words, words, scales: panel_scales }
    }

    /// Bytes of all words and scales.
    pub fn bytes(&self) -> usize {
        4 * (self.words.len() + self.scales.len())
    }

    /// Rounded inputs of a row, with zeros up to whole groups.
    fn row_len(&self) -> usize {
        self.groups * self.group_words * self.bits.in_word()
    }
}

/// The left operand of the product in progress.
#[derive(Default)]
struct Rounded {
    /// p, `[rows, row_len]`
    values: Vec<i8>,
    /// Sum of p over each group, `[rows, groups]`.
    sums: Vec<i32>,
    /// `[rows]`
    steps: Vec<f32>,
}

thread_local! {
    static ROUNDED: RefCell<Rounded> = RefCell::default();
}

/// `dst = a b` or `dst += a b`, with a rounded to multiples of `step`, or of a 127th of the largest magnitude of each row.
///
/// A row that holds a number that is not finite gives numbers that are not finite, unless there is a `step`.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul_quantised(
    rows: usize,
    a: &[f32],
    step: Option<f32>,
    b: &QuantisedPanels,
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(a.len(), rows * b.inner, "a is [rows, inner]");
    assert_eq!(dst.len(), rows * b.cols, "dst is [rows, cols]");
    if b.inner == 0 {
        if overwrite == Overwrite::Yes {
            dst.fill(0.0);
        }
        return;
    }
    ROUNDED.with_borrow_mut(|rounded| {
        rounded.round_rows(a, step, b);
        multiply(rows, rounded, b, dst, overwrite, |tile| tile.run());
    });
}

impl Rounded {
    fn round_rows(&mut self, a: &[f32], step: Option<f32>, b: &QuantisedPanels) {
        let Self { values, sums, steps } = self;
        let (row_len, group_len) = (b.row_len(), b.group_words * b.bits.in_word());
        values.clear();
        values.resize(a.len() / b.inner * row_len, 0);
        sums.clear();
        steps.clear();
        vectorize(
            #[inline(always)]
            || {
                for (row, values) in a.chunks_exact(b.inner).zip(values.chunks_exact_mut(row_len)) {
                    let step = step.unwrap_or_else(
                        #[inline(always)]
                        || largest_magnitude(row) / LARGEST_INPUT,
                    );
                    round_row(row, step, &mut values[..b.inner]);
                    let group_sum = |group: &[i8]| group.iter().map(|p| i32::from(*p)).sum::<i32>();
                    sums.extend(values.chunks_exact(group_len).map(group_sum));
                    steps.push(step);
                }
            },
        );
    }
}

/// By the bits, whose order is that of magnitudes: infinity and NaN come last, so that neither goes unnoticed.
#[inline(always)]
fn largest_magnitude(row: &[f32]) -> f32 {
    f32::from_bits(row.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7fff_ffff)))
}

/// `p = a / step` rounded to the nearest whole number, ties to even, at most 127 in magnitude.
#[inline(always)]
fn round_row(row: &[f32], step: f32, values: &mut [i8]) {
    /// 1.5 * 2^23: numbers of this size are whole, so adding it rounds, and the low bits of the sum are the number.
    const WHOLE: f32 = 12_582_912.0;
    let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
    for (p, v) in values.iter_mut().zip(row) {
        let v = (v * per_step).clamp(-LARGEST_INPUT, LARGEST_INPUT);
        *p = (v + WHOLE).to_bits() as i8;
    }
}

fn multiply(
    rows: usize,
    a: &Rounded,
    b: &QuantisedPanels,
    dst: &mut [f32],
    overwrite: Overwrite,
    run: fn(Tile),
) {
    // Halves of bytes are taken apart once for all rows, where there are several blocks of them.
    let takes_apart = b.bits == WeightBits::Four && rows > BLOCK;
    let mut bytes = vec![0; if takes_apart { 2 * b.groups * b.group_words * PANEL } else { 0 }];
    let (in_word, group_words) =
        if takes_apart { (4, 2 * b.group_words) } else { (b.bits.in_word(), b.group_words) };
    let panels = b.words.chunks_exact(b.groups * b.group_words * PANEL);
    for (j, (panel, scales)) in panels.zip(b.scales.chunks_exact(b.groups * PANEL)).enumerate() {
        if takes_apart {
            take_apart(panel, &mut bytes);
        }
        for first in (0..rows).step_by(BLOCK) {
            run(Tile {
                rows: BLOCK.min(rows - first),
                cols: PANEL.min(b.cols - j * PANEL),
                in_word,
                zero: b.bits.zero(),
                groups: b.groups,
                group_words,
                left: &a.values[first * b.row_len()..],
                left_sums: &a.sums[first * b.groups..],
                steps: &a.steps[first..],
                panel: if takes_apart { &bytes } else { panel },
                scales,
                dst: &mut dst[first * b.cols + j * PANEL..],
                dst_stride: b.cols,
                overwrite,
            });
        }
    }
}

/// Words of eight 4-bit numbers of a column as words of four bytes, two for each.
fn take_apart(words: &[u32], bytes: &mut [u32]) {
    const HALVES: u32 = 0x0f0f_0f0f;
    vectorize(
        #[inline(always)]
        || {
            let pairs = bytes.as_chunks_mut::<{ 2 * PANEL }>().0;
            for (words, bytes) in words.as_chunks::<PANEL>().0.iter().zip(pairs) {
                let (low, high) = bytes.split_at_mut(PANEL);
                low.iter_mut().zip(words).for_each(|(low, word)| *low = word & HALVES);
                high.iter_mut().zip(words).for_each(|(high, word)| *high = word >> 4 & HALVES);
            }
        },
    );
}

/// Up to 6 by 64 elements of a product.
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Numbers of a column in a word: 4 or 8.
    pub in_word: usize,
    /// What is added to weights where they are stored.
    pub zero: i32,
    pub groups: usize,
    pub group_words: usize,
    /// p, `[rows, groups * group_words * in_word]`
    pub left: &'a [i8],
    /// `[rows, groups]`
    pub left_sums: &'a [i32],
    /// `[rows]`
    pub steps: &'a [f32],
    /// `[groups * group_words, 64]`
    pub panel: &'a [u32],
    /// `[groups, 64]`
    pub scales: &'a [f32],
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub overwrite: Overwrite,
}

impl Tile<'_> {
    fn run(self) {
        #[cfg(target_arch = "x86_64")]
        if level() >= Level::Avx512Vnni {
            return crate::x86_64::avx512_vnni::run(self);
        }
        let _ = (level, Level::Portable);
        self.run_portable();
    }

    /// The same sums in plain Rust.
    fn run_portable(self) {
        vectorize(
            #[inline(always)]
            || match (self.in_word, self.rows) {
                (4, 1) => self.sum::<1, 4>(&[0, 8, 16, 24], 0xff),
                (4, _) => self.sum::<BLOCK, 4>(&[0, 8, 16, 24], 0xff),
                (_, 1) => self.sum::<1, 8>(&[0, 8, 16, 24, 4, 12, 20, 28], 0xf),
                _ => self.sum::<BLOCK, 8>(&[0, 8, 16, 24, 4, 12, 20, 28], 0xf),
            },
        );
    }

    /// `shifts` and `mask` tell where a word holds its numbers. Works on ROWS rows, of which some may be one row again.
    #[inline(always)]
    fn sum<const ROWS: usize, const IN_WORD: usize>(mut self, shifts: &[u32; IN_WORD], mask: u32) {
        let row_len = self.groups * self.group_words * IN_WORD;
        let rows: [&[[i8; IN_WORD]]; ROWS] = std::array::from_fn(|r| {
            self.left[r.min(self.rows - 1) * row_len..][..row_len].as_chunks::<IN_WORD>().0
        });
        for first in (0..self.cols).step_by(LANES) {
            let mut totals = [[0.0f32; LANES]; ROWS];
            for g in 0..self.groups {
                let mut sums: [[i32; LANES]; ROWS] = std::array::from_fn(|r| {
                    [-self.zero * self.left_sums[r.min(self.rows - 1) * self.groups + g]; LANES]
                });
                for p in g * self.group_words..(g + 1) * self.group_words {
                    let words: &[u32] = &self.panel[p * PANEL + first..][..LANES];
                    for (i, shift) in shifts.iter().enumerate() {
                        let mut numbers = [0; LANES];
                        for (q, word) in numbers.iter_mut().zip(words) {
                            *q = (word >> shift & mask).cast_signed();
                        }
                        for (sums, row) in sums.iter_mut().zip(&rows) {
                            let left = i32::from(row[p][i]);
                            sums.iter_mut().zip(&numbers).for_each(|(sum, q)| *sum += left * q);
                        }
                    }
                }
                let scales = &self.scales[g * PANEL + first..][..LANES];
                for (totals, sums) in totals.iter_mut().zip(&sums) {
                    for ((total, sum), scale) in totals.iter_mut().zip(sums).zip(scales) {
                        *total += *sum as f32 * scale;
                    }
                }
            }
            self.store(first, &totals);
        }
    }

    /// Writes the totals of sixteen columns, or of those that there are.
    #[inline(always)]
    fn store(&mut self, first: usize, totals: &[[f32; LANES]]) {
        let cols = LANES.min(self.cols - first);
        for (r, totals) in totals.iter().take(self.rows).enumerate() {
            let dst = &mut self.dst[r * self.dst_stride + first..][..cols];
            for (dst, total) in dst.iter_mut().zip(totals) {
                let before = if self.overwrite == Overwrite::Yes { 0.0 } else { *dst };
                *dst = before + self.steps[r] * total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::numbers;

    const SIZES: [usize; 10] = [0, 1, 2, 6, 7, 13, 63, 64, 65, 131];

    fn integers(len: usize, seed: u32, largest: i8) -> Vec<i8> {
        let bound = f32::from(largest) + 0.49;
        numbers(len, seed).iter().map(|v| (v * bound).round() as i8).collect()
    }

    /// `p q` of each group by itself, `[rows, cols, groups]`, in 64 bits.
    fn group_sums(
        [rows, inner, cols, group]: [usize; 4],
        p: impl Fn(usize, usize) -> i64,
        q: &[i8],
    ) -> Vec<i64> {
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
            (WeightBits::Four, usize::MAX),
            (WeightBits::Four, 32),
            (WeightBits::Four, 64),
        ] {
            for rows in SIZES {
                for inner in SIZES {
                    for cols in SIZES {
                        ragged_size_is_exact(bits, group, [rows, inner, cols]);
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
        let panels = QuantisedPanels::pack_transposed(bits, [inner, cols], group, &q, &scales);
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
            let mut dst = before.clone();
            matmul_quantised(rows, &a, Some(step), &panels, &mut dst, overwrite);
            assert_eq!(dst, want, "{what}");
            if inner > 0 {
                let mut rounded = Rounded::default();
                rounded.round_rows(&a, Some(step), &panels);
                let mut dst = before.clone();
                multiply(rows, &rounded, &panels, &mut dst, overwrite, |tile| tile.run_portable());
                assert_eq!(dst, want, "{what}, portable");
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        for (inner, bits) in [(LONGEST_GROUP, WeightBits::Eight), (10_000, WeightBits::Four)] {
            for sign in [-1, 1] {
                let q = vec![sign * bits.largest(); inner];
                let panels = QuantisedPanels::pack_transposed(bits, [inner, 1], inner, &q, &[1.0]);
                let mut dst = [0.0];
                matmul_quantised(1, &vec![127.0; inner], Some(1.0), &panels, &mut dst, Overwrite::Yes);
                let want = inner as i64 * 127 * i64::from(q[0]);
                assert_eq!(dst[0], want as f32);
            }
        }
    }

    #[test]
    fn inputs_are_rounded_to_the_nearest_even_and_clipped() {
        let mut values = [0; 9];
        round_row(&[0.5, 1.5, -2.5, 0.49, 126.6, 500.0, -1e30, f32::INFINITY, -0.2], 1.0, &mut values);
        assert_eq!(values, [0, 2, -2, 0, 127, 127, -127, 127, 0]);
        round_row(&[1.0, f32::NAN], 0.0, &mut values[..2]);
        assert_eq!(values[0], 0);
        assert_eq!(largest_magnitude(&[1.0, -7.5, 0.0]), 7.5);
        assert!(largest_magnitude(&[1.0, -f32::NAN, f32::INFINITY]).is_nan());
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let panels = QuantisedPanels::pack_transposed(WeightBits::Eight, [3, 1], 8, &[1, 2, 3], &[1.0]);
        for value in [f32::NAN, f32::INFINITY] {
            let mut dst = [0.0];
            matmul_quantised(1, &[1.0, value, 2.0], None, &panels, &mut dst, Overwrite::Yes);
            assert!(!dst[0].is_finite(), "{value} gave {}", dst[0]);
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_company() {
        let (inner, cols) = (77, 130);
        let a = numbers(20 * inner, 1);
        let q = integers(inner * cols, 2, 7);
        let scales = numbers(10 * cols, 3);
        let panels = QuantisedPanels::pack_transposed(WeightBits::Four, [inner, cols], 8, &q, &scales);
        let mut all = vec![0.0; 20 * cols];
        matmul_quantised(20, &a, None, &panels, &mut all, Overwrite::Yes);
        for r in 0..20 {
            let mut one = vec![0.0; cols];
            let row = &a[r * inner..(r + 1) * inner];
            matmul_quantised(1, row, None, &panels, &mut one, Overwrite::Yes);
            assert_eq!(one, all[r * cols..(r + 1) * cols], "row {r}");
        }
    }
}
