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

mod rounded;
mod tile;

use crate::bf16::{PANEL, TILE, Words};
use crate::{Overwrite, vectorize};
use rounded::Rounded;
use std::cell::RefCell;
use std::ops::Range;
pub(crate) use tile::Tile;
use tile::{BLOCK, Kernel};

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
/// It is made of strips of 16 columns, four to a panel: word `16 p + c` of a strip holds four rows `4p ..` of column c a byte
/// each, or eight rows `8p ..`: the low halves of its bytes the first four, the high halves the others. Missing rows and
/// columns are zeros.
#[derive(Clone, Debug)]
pub struct QuantisedPanels {
    bits: WeightBits,
    inner: usize,
    cols: usize,
    groups: usize,
    /// Words of one column in a group.
    group_words: usize,
    words: Words,
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
        let mut words = Words::default();
        words.resize(panels * column_words * PANEL, fill);
        let mut panel_scales = vec![0.0; panels * groups * PANEL];
        for (c, column) in transpose.chunks_exact(inner.max(1)).enumerate() {
            let (panel, lane) = (c / PANEL, c % PANEL);
            let strip = &mut words[c / TILE * column_words * TILE..];
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
                strip[p * TILE + c % TILE] = word;
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
    product(rows, a, step, (b, 0..b.cols), dst, overwrite);
}

/// Columns `first .. first + dst.len()` of the product of a single row, or added to `dst`: what threads share of it. Every
/// element has the bits that [`matmul_quantised`] gives it.
///
/// # Shapes
/// `a` is `[1, inner]`, `b` is `[inner, cols]`.
///
/// # Panics
/// If `a` has another length, `first` is no multiple of [`PANEL`](crate::PANEL), or the columns do not lie inside b.
pub fn row_matmul_quantised(
    a: &[f32],
    step: Option<f32>,
    (b, first): (&QuantisedPanels, usize),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(a.len(), b.inner, "a is [1, inner]");
    assert!(first.is_multiple_of(PANEL) && first + dst.len() <= b.cols, "whole panels inside b");
    product(1, a, step, (b, first..first + dst.len()), dst, overwrite);
}

/// Some columns of the product, from a whole panel on.
fn product(
    rows: usize,
    a: &[f32],
    step: Option<f32>,
    (b, columns): (&QuantisedPanels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    if b.inner == 0 {
        if overwrite == Overwrite::Yes {
            dst.fill(0.0);
        }
        return;
    }
    ROUNDED.with_borrow_mut(|rounded| {
        let kernel = Kernel::of(rows, b);
        rounded.round_rows(a, step, b, kernel.reads_strips);
        multiply(rows, rounded, (b, columns), dst, overwrite, kernel);
    });
}

fn multiply(
    rows: usize,
    a: &Rounded,
    (b, columns): (&QuantisedPanels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
    kernel: Kernel,
) {
    // Halves of bytes are taken apart once for all rows, where there are several blocks of them.
    let takes_apart = b.bits == WeightBits::Four && rows > BLOCK;
    let mut bytes = Words::default();
    bytes.resize(if takes_apart { 2 * b.groups * b.group_words * PANEL } else { 0 }, 0);
    let (in_word, group_words) =
        if takes_apart { (4, 2 * b.group_words) } else { (b.bits.in_word(), b.group_words) };
    let panels = b.words.chunks_exact(b.groups * b.group_words * PANEL);
    let panels = panels.zip(b.scales.chunks_exact(b.groups * PANEL)).skip(columns.start / PANEL);
    for ((panel, scales), first_col) in panels.zip((0..columns.len()).step_by(PANEL)) {
        if takes_apart {
            take_apart(panel, &mut bytes);
        }
        for first in (0..rows).step_by(kernel.most_rows) {
            (kernel.run)(Tile {
                rows: kernel.most_rows.min(rows - first),
                cols: PANEL.min(columns.len() - first_col),
                in_word,
                zero: b.bits.zero(),
                groups: b.groups,
                group_words,
                left: a.values.get(first * b.row_len()..).unwrap_or_default(),
                left_strips: &a.strips,
                left_sums: &a.sums[first * b.groups..],
                steps: &a.steps[first..],
                panel: if takes_apart { &bytes } else { panel },
                scales,
                dst: &mut dst[first * columns.len() + first_col..],
                dst_stride: columns.len(),
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
            let pairs = bytes.as_chunks_mut::<{ 2 * TILE }>().0;
            for (words, bytes) in words.as_chunks::<TILE>().0.iter().zip(pairs) {
                let (low, high) = bytes.split_at_mut(TILE);
                low.iter_mut().zip(words).for_each(|(low, word)| *low = word & HALVES);
                high.iter_mut().zip(words).for_each(|(high, word)| *high = word >> 4 & HALVES);
            }
        },
    );
}

#[cfg(test)]
mod tests;
