//! A tile of a product of 8-bit numbers, and the portable kernel.

use super::QuantisedPanels;
#[cfg(target_arch = "x86_64")]
use crate::layout::holds;
use crate::layout::{BLOCK, PANEL, Start, TILE};
#[cfg(target_arch = "x86_64")]
use crate::level::{Amx, Avx2, Avx512Vnni};
use crate::vectorize;
#[cfg(target_arch = "x86_64")]
use crate::x86_64::{amx, avx2_bytes, avx512_vnni};

/// Columns that the portable kernel works on at once: a strip.
const LANES: usize = TILE;

/// What computes a tile, with the proof that the CPU has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    /// Weights of one group are multiplied in two halves: sums first, and numbers are made of these when they are in the cache.
    #[cfg(target_arch = "x86_64")]
    Amx {
        cpu: Amx,
        in_halves: bool,
    },
}

impl Kernel {
    /// The kernel of the level in use. Tiles of AMX pay where there are rows for them; a few wait for the weights, which four
    /// bits then keep small.
    #[cfg(target_arch = "x86_64")]
    pub fn of(rows: usize, b: &QuantisedPanels) -> Self {
        let has_whole_tiles = (b.group_words * b.bits.in_word()).is_multiple_of(4 * amx::GROUP_WORDS);
        match Amx::in_use() {
            Some(cpu) if rows > BLOCK && has_whole_tiles => {
                return Self::Amx { cpu, in_halves: b.groups == 1 };
            }
            _ => {}
        }
        if let Some(cpu) = Avx512Vnni::in_use() {
            Self::Avx512Vnni(cpu)
        } else if let Some(cpu) = Avx2::in_use() {
            Self::Avx2(cpu)
        } else {
            Self::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn of(_rows: usize, _b: &QuantisedPanels) -> Self {
        Self::Portable
    }

    /// Computes a tile.
    pub fn run(self, tile: Tile) {
        match self {
            Self::Portable => tile.run_portable(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) => avx2_bytes::run(cpu, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(cpu) => avx512_vnni::run(cpu, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Amx { cpu, .. } => amx::run_quantised(cpu, tile),
        }
    }

    /// The first half of [`Self::run`], for kernels that work in halves: writes the bits of 32-bit integer sums to
    /// `dst`. [`Self::scale_sums`] turns them into f32 numbers.
    pub fn whole_sums(self, tile: Tile) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx { cpu, in_halves: true } => amx::whole_sums(cpu, tile),
            _ => unreachable!("this kernel has no halves for {} rows", tile.rows),
        }
    }

    /// The second half of [`Self::run`], for any number of rows: turns the integer sums in `dst` into f32 numbers.
    pub fn scale_sums(self, tile: Tile) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx { in_halves: true, .. } => amx::scale_sums(tile),
            _ => unreachable!("this kernel has no halves for {} rows", tile.rows),
        }
    }

    /// Whether the kernel works in two halves, integer sums and scaling.
    pub fn in_halves(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx { in_halves, .. } => in_halves,
            _ => false,
        }
    }

    /// Most rows of a tile.
    pub fn most_rows(self) -> usize {
        if self.reads_strips() { usize::MAX } else { BLOCK }
    }

    /// Whether the kernel reads the left operand in strips and can start from a bias.
    pub fn reads_strips(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx { .. } => true,
            _ => false,
        }
    }

    /// Whether the kernel splits bytes into 4-bit weights itself, as fast as it multiplies bytes.
    pub fn takes_halves(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => true,
            _ => false,
        }
    }
}

/// Some rows of a product, by up to 64 columns.
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Numbers of a column in a word: 4 or 8.
    pub in_word: usize,
    /// The number that is added to weights where they are stored.
    pub zero: i32,
    pub groups: usize,
    pub group_words: usize,
    /// p, `[rows, groups * group_words * in_word]`, unless the kernel reads strips
    pub left: &'a [i8],
    /// p in strips of 16 rows, up to a whole block of 32, if the kernel reads strips
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
    /// Checks the bounds and sizes that kernels rely on when they read `left` row by row.
    ///
    /// # Panics
    /// If a slice is too short for the sizes, or a size is not one that they know.
    #[cfg(target_arch = "x86_64")]
    pub fn check(&self) {
        let Self { rows, cols, groups, group_words, .. } = *self;
        assert!(matches!(self.in_word, 4 | 8) && (1..=BLOCK).contains(&rows) && (1..=PANEL).contains(&cols));
        assert!(holds(self.panel.len() / PANEL, groups, group_words, group_words));
        assert!(self.scales.len() / PANEL >= groups && self.left_sums.len() / rows >= groups);
        let row_len = groups * group_words * self.in_word;
        assert!(self.left.len() / rows >= row_len && self.steps.len() >= rows);
        assert!(holds(self.dst.len(), rows, self.dst_stride, cols));
    }

    /// Computes the tile in plain Rust.
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

    /// Writes the totals of sixteen columns, or of as many as there are.
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
