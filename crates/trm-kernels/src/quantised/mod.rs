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

mod kernel;
mod rounded;

use crate::Overwrite;
use crate::layout::{BLOCK, PANEL, Part, Start, TILE, Words, by_columns};
pub(crate) use kernel::Tile;
pub(crate) use rounded::QuantisedRows;
#[cfg(target_arch = "x86_64")]
pub(crate) use rounded::{LARGEST_INPUT, RUN};
use std::ops::Range;

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
pub(crate) struct QuantisedPanels {
    bits: WeightBits,
    inner: usize,
    cols: usize,
    groups: usize,
    /// Words of one column in a group.
    group_words: usize,
    words: Words,
    /// `[panels, groups, 64]`
    scales: Vec<f32>,
    /// What inputs are rounded to multiples of; without it a 127th of the largest magnitude of each row.
    step: Option<f32>,
}

impl QuantisedPanels {
    /// Packs the transpose of a row-major `[cols, inner]` matrix; the scales are `[cols, groups]`, one for each `group`
    /// numbers of a row. Inputs will be rounded to multiples of `step`, or of a 127th of the largest magnitude of each row.
    ///
    /// # Panics
    /// If a slice has another length, or there are several groups of no multiple of 8 numbers.
    pub fn pack_transposed(
        bits: WeightBits,
        [inner, cols]: [usize; 2],
        group: usize,
        transpose: &[i8],
        scales: &[f32],
        step: Option<f32>,
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
        Self { bits, inner, cols, groups, group_words, words, scales: panel_scales, step }
    }

    /// Rows.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The step that inputs are rounded to multiples of, if it is fixed.
    pub fn step(&self) -> Option<f32> {
        self.step
    }

    /// Rounded inputs of a row, with zeros up to whole groups.
    fn row_len(&self) -> usize {
        self.groups * self.group_words * self.bits.in_word()
    }
}

/// Some columns of `a b`, from a whole panel on, and what they start from.
///
/// # Shapes
/// `a` is `[rows, inner]`, rounded for b, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, or the columns do not lie inside b.
pub(crate) fn multiply(
    a: &QuantisedRows,
    (b, columns): (&QuantisedPanels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    let (rows, kernel) = (a.rows(), a.kernel);
    assert_eq!(dst.len(), rows * columns.len(), "dst is [rows, columns]");
    // One kernel knows a bias, the others find it in the rows.
    let start = match start {
        Start::Bias(_) if !kernel.reads_strips() => start.without_bias(dst, columns.len()).into(),
        start => start,
    };
    if b.inner == 0 {
        if start.without_bias(dst, columns.len()) == Overwrite::Yes {
            dst.fill(0.0);
        }
    } else if kernel.in_halves() && start != Start::Sums {
        by_panels(a, (b, columns.clone()), dst, start, 0..rows, |tile| kernel.whole_sums(tile));
        by_panels(a, (b, columns), dst, start, 0..rows, |tile| kernel.scale_sums(tile));
    } else {
        by_panels(a, (b, columns), dst, start, 0..rows, |tile| kernel.run(tile));
    }
}

/// All of `a b` in parts of some columns, each given to `take` while it is in the cache. Every element has the bits that
/// [`multiply`] gives it.
///
/// # Shapes
/// `a` is `[rows, inner]`, rounded for b, `b` is `[inner, cols]`, a bias is `[cols]`; `buffer` has room for a panel, `[rows, 64]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply_in_parts(
    a: &QuantisedRows,
    b: &QuantisedPanels,
    start: Start,
    buffer: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let (size, kernel) = ([a.rows(), b.cols], a.kernel);
    if !kernel.in_halves() {
        let make = |columns: Range<usize>, part: &mut [f32]| {
            multiply(a, (b, columns.clone()), part, start.of(&columns));
        };
        return by_columns(size, buffer, make, take);
    }
    let make = |columns: Range<usize>, sums: &mut [f32]| {
        let start = start.of(&columns);
        by_panels(a, (b, columns), sums, start, 0..a.rows(), |tile| kernel.whole_sums(tile));
    };
    by_columns(size, buffer, make, |part, values| {
        let (columns, start) = (part.columns.clone(), start.of(&part.columns));
        by_panels(a, (b, columns), values, start, part.rows.clone(), |tile| kernel.scale_sums(tile));
        take(part, values);
    });
}

/// Lets `run` work on tiles of so many rows as the kernel of `a` takes, panel by panel; `dst` has these rows only.
fn by_panels(
    a: &QuantisedRows,
    (b, columns): (&QuantisedPanels, Range<usize>),
    dst: &mut [f32],
    start: Start,
    rows: Range<usize>,
    run: impl Fn(Tile),
) {
    assert!(a.is_for(b), "a is [rows, inner], rounded for b, which is [inner, cols]");
    // Halves of bytes are taken apart once for all rows, where there are several blocks of them.
    let takes_apart = b.bits == WeightBits::Four && a.rows() > BLOCK && !a.kernel.takes_halves();
    let panel_words = b.groups * b.group_words * PANEL;
    let mut bytes = Words::default();
    bytes.resize(if takes_apart { 2 * panel_words } else { 0 }, 0);
    let (in_word, group_words) =
        if takes_apart { (4, 2 * b.group_words) } else { (b.bits.in_word(), b.group_words) };
    for first_col in (0..columns.len()).step_by(PANEL) {
        let panel = (columns.start + first_col) / PANEL;
        let words = &b.words[panel * panel_words..];
        let cols = PANEL.min(columns.len() - first_col);
        if takes_apart {
            take_apart(&words[..panel_words], &mut bytes);
        }
        for first in rows.clone().step_by(a.kernel.most_rows()) {
            run(Tile {
                rows: a.kernel.most_rows().min(rows.end - first),
                cols,
                in_word,
                zero: b.bits.zero(),
                groups: b.groups,
                group_words,
                left: a.values.get(first * b.row_len()..).unwrap_or_default(),
                left_strips: &a.strips,
                left_sums: &a.sums[first * b.groups..],
                steps: &a.steps[first..],
                panel: if takes_apart { &bytes } else { words },
                scales: &b.scales[panel * b.groups * PANEL..][..b.groups * PANEL],
                dst: &mut dst[(first - rows.start) * columns.len() + first_col..],
                dst_stride: columns.len(),
                start: start.of(&(first_col..first_col + cols)),
            });
        }
    }
}

/// Words of eight 4-bit numbers of a column as words of four bytes, two for each. Compiled for any CPU: with registers of 16
/// words, compilers take sixteen tiles at once, and gather and scatter their words.
fn take_apart(words: &[u32], bytes: &mut [u32]) {
    const HALVES: u32 = 0x0f0f_0f0f;
    for (words, bytes) in words.as_chunks::<TILE>().0.iter().zip(bytes.as_chunks_mut::<{ 2 * TILE }>().0) {
        let (low, high) = bytes.split_at_mut(TILE);
        low.iter_mut().zip(words).for_each(|(low, word)| *low = word & HALVES);
        high.iter_mut().zip(words).for_each(|(high, word)| *high = word >> 4 & HALVES);
    }
}

#[cfg(test)]
mod tests;
