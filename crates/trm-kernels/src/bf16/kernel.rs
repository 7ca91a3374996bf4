//! What multiplies bfloat16 numbers at the level in use.

use super::widened;
use crate::Overwrite;
use crate::layout::{BLOCK, PANEL, Start, Strips, TILE, TILE_WORDS};
#[cfg(target_arch = "x86_64")]
use crate::level::{Amx, Avx2, Avx512Bf16};

/// The operands of a product `left right`, and the numbers that its sums start from.
pub(crate) struct Product<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Pairs of numbers along the inner dimension. Zeros fill the last tile.
    pub pairs: usize,
    /// Strips of all rows, up to a whole block of 32 or to the last of 16.
    pub left: Strips<'a>,
    /// Strips of all columns, up to whole panels.
    pub right: Strips<'a>,
    pub start: Start<'a>,
}

/// What multiplies, with the proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Portable,
    /// Fused f32 multiplication and addition.
    #[cfg(target_arch = "x86_64")]
    Fma,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
    #[cfg(target_arch = "x86_64")]
    Amx(Amx),
}

impl Kernel {
    /// The kernel of the level in use.
    #[cfg(target_arch = "x86_64")]
    pub fn of_level() -> Self {
        if let Some(cpu) = Amx::in_use() {
            Self::Amx(cpu)
        } else if let Some(cpu) = Avx512Bf16::in_use() {
            Self::Avx512Bf16(cpu)
        } else if Avx2::in_use().is_some() {
            Self::Fma
        } else {
            Self::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn of_level() -> Self {
        Self::Portable
    }

    /// A product to `dst`, `[rows, cols]`, whose rows are `stride` numbers apart.
    pub fn multiply(self, product: Product, dst: &mut [f32], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        if let (Self::Amx(cpu), true) = (self, product.pairs > 0) {
            return crate::x86_64::amx::multiply(cpu, product, dst, stride);
        }
        let Product { rows, cols, pairs, left, right, start } = product;
        let overwrite = start.without_bias(dst, stride);
        if pairs == 0 {
            if overwrite == Overwrite::Yes {
                dst.chunks_mut(stride.max(1)).take(rows).for_each(|row| row[..cols].fill(0.0));
            }
            return;
        }
        for first_col in (0..cols).step_by(PANEL) {
            let panel = right.skip(first_col / TILE, 0);
            let width = PANEL.min(cols - first_col);
            for (strip, first_row) in (0..rows).step_by(TILE).enumerate() {
                let size = [TILE.min(rows - first_row), width];
                let dst = &mut dst[first_row * stride + first_col..];
                self.strip_by_panel(size, pairs, [left.skip(strip, 0), panel], (dst, stride), overwrite);
            }
        }
    }

    /// Up to 16 rows by up to 64 columns. There are pairs.
    fn strip_by_panel(
        self,
        [rows, cols]: [usize; 2],
        pairs: usize,
        [left, panel]: [Strips; 2],
        (dst, dst_stride): (&mut [f32], usize),
        overwrite: Overwrite,
    ) {
        for first in (0..rows).step_by(BLOCK) {
            self.run(Tile {
                rows: BLOCK.min(rows - first),
                cols,
                pairs,
                left: &left.words[first * TILE..],
                panel,
                dst: &mut dst[first * dst_stride..],
                dst_stride,
                overwrite,
            });
        }
    }

    fn run(self, tile: Tile) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(cpu) => crate::x86_64::avx512_bf16::run(cpu, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Fma => crate::x86_64::fma::run(tile),
            // AMX has whole products, no tiles of six rows.
            _ => widened::run(tile),
        }
    }
}

/// Up to 6 by 64 elements of a product.
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub cols: usize,
    pub pairs: usize,
    /// From the first row on; see [`left_word`].
    pub left: &'a [u32],
    /// The strips of the columns.
    pub panel: Strips<'a>,
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub overwrite: Overwrite,
}

/// Where in a strip row r has pair p.
#[inline(always)]
pub(crate) fn left_word(r: usize, p: usize) -> usize {
    p / TILE * TILE_WORDS + r * TILE + p % TILE
}
