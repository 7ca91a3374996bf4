//! What operands and products of all formats share: how numbers lie in memory, and how a product is cut into parts.

use aligned_vec::{AVec, ConstAlign};
use std::ops::{Deref, DerefMut, Range};

/// Columns of a panel of a right operand: four registers of sixteen sums. Products of some columns start with a whole panel.
pub const PANEL: usize = 64;
/// Columns of a strip, a register of sums; and rows of a tile of AMX, and words in each of them.
pub(crate) const TILE: usize = 16;
/// Words of a tile.
pub(crate) const TILE_WORDS: usize = TILE * TILE;
/// Most rows that kernels without tiles multiply at once: 24 registers of sums, 4 of the panel, 1 of the left operand.
pub(crate) const BLOCK: usize = 6;

/// Words of 32 bits that start on a line of the cache, as rows of tiles have to: tiles that cross lines are loaded at a sixth of
/// the speed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words(AVec<u32, ConstAlign<64>>);

impl Default for Words {
    fn default() -> Self {
        Self(AVec::new(64))
    }
}

impl Deref for Words {
    type Target = AVec<u32, ConstAlign<64>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Some strips of an operand, from one tile on. A strip is sixteen rows of a left operand, or sixteen columns of a right one, over
/// the whole inner dimension: one tile behind the other.
#[derive(Clone, Copy)]
pub(crate) struct Strips<'a> {
    pub words: &'a [u32],
    /// Words of a strip.
    pub stride: usize,
}

impl<'a> Strips<'a> {
    /// The strips that follow, of each the tiles that follow.
    #[inline(always)]
    pub fn skip(self, strips: usize, tiles: usize) -> Self {
        Self { words: &self.words[strips * self.stride + tiles * TILE_WORDS..], ..self }
    }

    /// The first tiles of a strip.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn strip(self, strip: usize, tiles: usize) -> &'a [u32] {
        &self.words[strip * self.stride..][..tiles * TILE_WORDS]
    }
}

/// Whether a product replaces the values in its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// The product replaces the values.
    Yes,
    /// The product is added to the values.
    No,
}

/// The numbers that the sums of a product start from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start<'a, T = f32> {
    /// Zeros. The destination is overwritten.
    Zeros,
    /// A bias, one number for each column. The destination is overwritten.
    Bias(&'a [T]),
    /// The values in the destination.
    Sums,
}

impl<T> Start<'_, T> {
    /// What the columns from one on start from.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn at_column(self, column: usize) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(&bias[column..]),
            start => start,
        }
    }

    /// The start of the sums of `columns` alone.
    ///
    /// # Panics
    /// If there is a bias without these columns.
    pub fn of(self, columns: &Range<usize>) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(&bias[columns.clone()]),
            start => start,
        }
    }
}

impl From<Overwrite> for Start<'_> {
    fn from(overwrite: Overwrite) -> Self {
        if overwrite == Overwrite::Yes { Self::Zeros } else { Self::Sums }
    }
}

impl Start<'_> {
    /// Writes a bias to the rows of `dst`, which are `stride` numbers apart: kernels that know no bias add to it then.
    pub(crate) fn without_bias(self, dst: &mut [f32], stride: usize) -> Overwrite {
        match self {
            Self::Zeros => Overwrite::Yes,
            Self::Bias(bias) => {
                dst.chunks_mut(stride.max(1)).for_each(|row| row[..bias.len()].copy_from_slice(bias));
                Overwrite::No
            }
            Self::Sums => Overwrite::No,
        }
    }
}

/// Some rows and columns of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
}

/// Rows that are made at once: whole tiles of rounded ones, whole blocks of gemm's, and of a wide matrix no more than a
/// second-level cache holds.
const SOME_ROWS: usize = 48;

/// Most rows of a part that [`Part::by_rows`] makes.
pub(crate) const MOST_ROWS: usize = SOME_ROWS + 1;

impl Part {
    /// A matrix `[rows, width]` in parts of 48 whole rows. A single row left over goes with those before it, since products of one
    /// row are made in another way. A matrix without rows is one part without rows.
    pub fn by_rows(rows: usize, width: usize) -> impl Iterator<Item = Self> {
        let firsts = (0..rows.max(1)).step_by(SOME_ROWS).filter(move |first| *first == 0 || first + 1 < rows);
        firsts.map(move |first| {
            let end = first + SOME_ROWS;
            Self { rows: first..if end + 1 < rows { end } else { rows }, columns: 0..width }
        })
    }
}

/// Numbers of `rows` rows that are made at once where parts are some columns: 32 kB, or a panel.
pub(crate) fn some_panels(rows: usize) -> usize {
    const SOME: usize = 1 << 13;
    rows * PANEL * (SOME / (rows * PANEL).max(1)).max(1)
}

/// All columns of `[rows, cols]`, as many whole panels at a time as [`some_panels`] says and `buffer` has room for: `make` fills
/// them, `take` gets some rows at a time, which come to the first-level cache once for all that it does.
///
/// # Panics
/// If `buffer` has no room for a panel.
pub(crate) fn by_columns(
    [rows, cols]: [usize; 2],
    buffer: &mut [f32],
    mut make: impl FnMut(Range<usize>, &mut [f32]),
    mut take: impl FnMut(Part, &mut [f32]),
) {
    /// Rows that are taken at a time.
    const HEIGHT: usize = 4 * TILE;
    let panels = buffer.len().min(some_panels(rows)) / (rows * PANEL).max(1);
    assert!(panels > 0 || rows == 0, "the buffer has room for a panel, [rows, 64]");
    for first in (0..cols).step_by(panels.max(1) * PANEL) {
        let columns = first..(first + panels.max(1) * PANEL).min(cols);
        let part = &mut buffer[..rows * columns.len()];
        make(columns.clone(), part);
        for (i, values) in part.chunks_mut(HEIGHT * columns.len()).enumerate() {
            let first = i * HEIGHT;
            let rows = first..first + values.len() / columns.len();
            take(Part { rows, columns: columns.clone() }, values);
        }
    }
}

/// Whether a slice of `len` elements holds `rows` rows of `width`, `stride` apart. Kernels that read and write by pointers ask
/// this first: a sum that overflows is no.
#[inline(always)]
pub(crate) fn holds(len: usize, rows: usize, stride: usize, width: usize) -> bool {
    let end = rows.saturating_sub(1).checked_mul(stride).and_then(|first| first.checked_add(width));
    rows == 0 || end.is_some_and(|end| end <= len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_by_rows_hold_each_row_once_and_leave_no_single_row() {
        for rows in 0..200 {
            let parts: Vec<Part> = Part::by_rows(rows, 5).collect();
            assert!(parts.iter().flat_map(|part| part.rows.clone()).eq(0..rows), "{rows} rows");
            assert!(parts.iter().all(|part| part.rows.len() <= MOST_ROWS && part.columns == (0..5)));
            assert!(parts.len() == 1 || parts.iter().all(|part| part.rows.len() > 1), "{rows} rows");
        }
    }

    #[test]
    fn a_slice_holds_what_ends_inside_it_even_where_sums_overflow() {
        assert!(holds(7, 2, 4, 3) && holds(0, 0, 9, 9) && holds(3, 1, usize::MAX, 3));
        assert!(!holds(6, 2, 4, 3) && !holds(100, 3, usize::MAX / 2 + 1, 1));
        assert!(!holds(100, 2, usize::MAX, 1));
    }
}
