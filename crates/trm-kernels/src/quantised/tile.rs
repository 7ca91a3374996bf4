//! A tile of a product of whole numbers, and the portable kernel.

use super::QuantisedPanels;
use crate::bf16::{PANEL, Start, TILE};
#[cfg(target_arch = "x86_64")]
use crate::level::{Level, level};
use crate::vectorize;

/// Rows that are multiplied at once: 24 registers of sums, 4 of the panel, 1 of the left operand.
pub(crate) const BLOCK: usize = 6;
/// Columns that the portable kernel works on at once: a strip.
const LANES: usize = TILE;

/// What computes a tile of so many rows at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub run: fn(Tile),
    /// The same in two halves, where that can be: sums, in bits that are no numbers yet, and what makes numbers of them, for as
    /// few rows as you like.
    pub halves: Option<[fn(Tile); 2]>,
    pub most_rows: usize,
    /// It reads the left operand in strips, and knows a bias.
    pub reads_strips: bool,
    /// It takes halves of bytes apart itself, as fast as it multiplies bytes.
    pub takes_halves: bool,
}

impl Kernel {
    pub const PORTABLE: Self = Self {
        run: |tile| tile.run_portable(),
        halves: None,
        most_rows: BLOCK,
        reads_strips: false,
        takes_halves: false,
    };

    /// The kernel of the level in use. Tiles of AMX pay where there are rows for them; a few wait for the weights, which four
    /// bits then keep small.
    #[cfg(target_arch = "x86_64")]
    pub fn of(rows: usize, b: &QuantisedPanels) -> Self {
        use crate::x86_64::{amx, avx2_bytes, avx512_vnni};
        let whole_tiles = (b.group_words * b.bits.in_word()).is_multiple_of(4 * amx::GROUP_WORDS);
        match level() {
            Level::Amx if rows > BLOCK && whole_tiles => {
                let halves = (b.groups == 1).then_some([amx::whole_sums as fn(Tile), amx::scale_sums]);
                let (run, most_rows) = (amx::run_quantised as fn(Tile), usize::MAX);
                Self { run, halves, most_rows, reads_strips: true, ..Self::PORTABLE }
            }
            level if level >= Level::Avx512Vnni => Self { run: avx512_vnni::run, ..Self::PORTABLE },
            level if level >= Level::Avx2 => {
                Self { run: avx2_bytes::run, takes_halves: true, ..Self::PORTABLE }
            }
            _ => Self::PORTABLE,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn of(_rows: usize, _b: &QuantisedPanels) -> Self {
        Self::PORTABLE
    }
}

/// Some rows of a product, by up to 64 columns.
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Numbers of a column in a word: 4 or 8.
    pub in_word: usize,
    /// What is added to weights where they are stored.
    pub zero: i32,
    pub groups: usize,
    pub group_words: usize,
    /// p, `[rows, groups * group_words * in_word]`, unless the kernel reads strips
    pub left: &'a [i8],
    /// The same in strips of 16 rows, up to a whole block of 32, if it does
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX reads them"))]
    pub left_strips: &'a [u32],
    /// `[rows, groups]`
    pub left_sums: &'a [i32],
    /// `[rows]`
    pub steps: &'a [f32],
    /// From its four strips on: `[4, groups * group_words, 16]`
    pub panel: &'a [u32],
    /// `[groups, 64]`
    pub scales: &'a [f32],
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub start: Start<'a>,
}

impl Tile<'_> {
    /// What kernels that read `left` row by row rely on.
    ///
    /// # Panics
    /// If a slice is too short for the sizes, or a size is not one that they know.
    #[cfg(target_arch = "x86_64")]
    pub fn check(&self) {
        let Self { rows, cols, groups, group_words, .. } = *self;
        assert!(matches!(self.in_word, 4 | 8) && (1..=BLOCK).contains(&rows) && (1..=PANEL).contains(&cols));
        assert!(self.panel.len() >= groups * group_words * PANEL && self.scales.len() >= groups * PANEL);
        assert!(self.left.len() >= rows * groups * group_words * self.in_word);
        assert!(self.left_sums.len() >= rows * groups && self.steps.len() >= rows);
        assert!(self.dst.len() >= (rows - 1) * self.dst_stride + cols);
    }

    /// The same sums in plain Rust.
    pub fn run_portable(self) {
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
        let strips = self.panel.chunks_exact(self.groups * self.group_words * LANES);
        for (strip, first) in strips.zip((0..self.cols).step_by(LANES)) {
            let mut totals = [[0.0f32; LANES]; ROWS];
            for g in 0..self.groups {
                let mut sums: [[i32; LANES]; ROWS] = std::array::from_fn(|r| {
                    [-self.zero * self.left_sums[r.min(self.rows - 1) * self.groups + g]; LANES]
                });
                for p in g * self.group_words..(g + 1) * self.group_words {
                    let words = &strip[p * LANES..][..LANES];
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
    pub fn store(&mut self, first: usize, totals: &[[f32; LANES]]) {
        let cols = LANES.min(self.cols - first);
        for (r, totals) in totals.iter().take(self.rows).enumerate() {
            let dst = &mut self.dst[r * self.dst_stride + first..][..cols];
            for (dst, total) in dst.iter_mut().zip(totals) {
                let before = if self.start == Start::Zeros { 0.0 } else { *dst };
                *dst = before + self.steps[r] * total;
            }
        }
    }
}
