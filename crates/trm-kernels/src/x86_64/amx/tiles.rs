//! Tiles of 16 rows of 64 bytes, and what is done with them: a block of 32 by 32 sums.
//!
//! Four tiles of sums make a block, fed by two tiles of the left operand and two of the right: one load for each
//! multiplication. Tiles are named in inline assembly, since Rust has no stable intrinsics for them.

use crate::Overwrite;
use crate::bf16::PANEL;
use std::arch::asm;
use std::marker::PhantomData;

/// Rows of a tile, and the words in each of its rows.
pub(super) const TILE: usize = 16;
/// Rows and columns of a block of sums.
pub(super) const BLOCK: usize = 2 * TILE;
/// Bytes of a word, and of a sum.
const WORD: usize = 4;

/// The left operand: rows of words, some words apart, each two bfloat16 numbers or four bytes. Where the operand has no
/// numbers, up to whole tiles of a row, there are zeros; rows up to a whole block can be read.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    at: *const u8,
    words: usize,
    stride: usize,
    operand: PhantomData<&'a u32>,
}

impl<'a> Left<'a> {
    pub fn new(words: &'a [u32], stride: usize) -> Self {
        Self { at: words.as_ptr().cast(), words: words.len(), stride, operand: PhantomData }
    }

    /// Of bytes, four to a word; the stride is in words too.
    pub fn of_bytes(bytes: &'a [i8], stride: usize) -> Self {
        Self { at: bytes.as_ptr().cast(), words: bytes.len() / WORD, stride, operand: PhantomData }
    }

    /// From a row and a word of it on.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn from(self, row: usize, word: usize) -> Self {
        let first = row * self.stride + word;
        assert!(first <= self.words, "the word is one of the operand's");
        Self { at: self.at.wrapping_add(first * WORD), words: self.words - first, ..self }
    }
}

/// Where the sums of a block go: rows `stride` numbers apart.
pub(super) struct Sums<'a, T> {
    pub dst: &'a mut [T],
    pub stride: usize,
}

/// A sum, and with it what is multiplied: f32 of bfloat16 numbers, i32 of signed by unsigned bytes.
pub(super) trait Sum: Copy + Default {
    /// Adds the products of `steps` tiles of the inner dimension to a block of sums, or overwrites them.
    ///
    /// # Safety
    /// Tiles are configured, 16 rows of 64 bytes each. 32 rows of `16 steps` words can be read at `left`, `left_stride` bytes
    /// apart, and `16 steps` rows of 32 words at `right`, 64 words apart; 32 rows of 32 sums can be read and written at `dst`,
    /// `stride` bytes apart.
    unsafe fn add_block(
        steps: usize,
        left: (*const u8, usize),
        right: *const u32,
        dst: (*mut Self, usize),
        overwrite: Overwrite,
    );
}

macro_rules! sum_by {
    ($multiply:literal, $sum:ty) => {
        impl Sum for $sum {
            unsafe fn add_block(
                steps: usize,
                (left, left_stride): (*const u8, usize),
                right: *const u32,
                (dst, stride): (*mut Self, usize),
                overwrite: Overwrite,
            ) {
                // SAFETY: by the caller's promise nothing is read or written but what may be.
                unsafe {
                    asm!(
                        "test {overwrite:e}, {overwrite:e}",
                        "jnz 2f",
                        "tileloadd tmm0, [{upper} + {stride}]",
                        "tileloadd tmm1, [{upper} + {stride} + 64]",
                        "tileloadd tmm2, [{lower} + {stride}]",
                        "tileloadd tmm3, [{lower} + {stride} + 64]",
                        "jmp 3f",
                        "2:",
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "3:",
                        "tileloadd tmm4, [{left} + {left_stride}]",
                        "tileloadd tmm6, [{right} + {right_stride}]",
                        "tileloadd tmm5, [{left_lower} + {left_stride}]",
                        concat!($multiply, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm7, [{right} + {right_stride} + 64]",
                        concat!($multiply, " tmm2, tmm5, tmm6"),
                        concat!($multiply, " tmm1, tmm4, tmm7"),
                        concat!($multiply, " tmm3, tmm5, tmm7"),
                        "add {left}, 64",
                        "add {left_lower}, 64",
                        "add {right}, 4096",
                        "dec {steps}",
                        "jnz 3b",
                        "tilestored [{upper} + {stride}], tmm0",
                        "tilestored [{upper} + {stride} + 64], tmm1",
                        "tilestored [{lower} + {stride}], tmm2",
                        "tilestored [{lower} + {stride} + 64], tmm3",
                        overwrite = in(reg) u32::from(overwrite == Overwrite::Yes),
                        upper = in(reg) dst,
                        lower = in(reg) dst.cast::<u8>().wrapping_add(TILE * stride),
                        stride = in(reg) stride,
                        left = inout(reg) left => _,
                        left_lower = inout(reg) left.wrapping_add(TILE * left_stride) => _,
                        left_stride = in(reg) left_stride,
                        right = inout(reg) right => _,
                        right_stride = in(reg) PANEL * WORD,
                        steps = inout(reg) steps => _,
                        options(nostack),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    );
                }
            }
        }
    };
}

sum_by!("tdpbf16ps", f32);
sum_by!("tdpbsud", i32);

/// The tiles of this thread, all of 16 rows of 64 bytes; given back when it goes.
pub(super) struct Tiles(());

impl Tiles {
    pub fn configure() -> Self {
        /// As LDTILECFG reads it: palette 1, bytes of a row at 16, rows at 48.
        #[repr(C, align(64))]
        struct Shape {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        let all = |n: u8| std::array::from_fn(|i| if i < 8 { n } else { 0 });
        let shape = Shape {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: all(64).map(u16::from),
            rows: all(TILE as u8),
        };
        // SAFETY: the CPU has tiles; it reads the 64 bytes of `shape`.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const shape, options(nostack, readonly, preserves_flags),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
        Self(())
    }

    /// Adds the products of `steps` tiles of the inner dimension to `[rows, cols]` of 32 by 32 sums, or overwrites them.
    ///
    /// # Shapes
    /// `left` is `[32, 16 steps]` words, `right` is `[16 steps, 32]` words in rows of 64, `sums` is `[rows, cols]`.
    ///
    /// # Panics
    /// If an operand is too short.
    pub fn block<T: Sum>(
        &self,
        steps: usize,
        left: Left,
        right: &[u32],
        sums: Sums<T>,
        [rows, cols]: [usize; 2],
        overwrite: Overwrite,
    ) {
        if [rows, cols] == [BLOCK; 2] {
            return self.whole_block(steps, left, right, sums, overwrite);
        }
        let mut whole = [T::default(); BLOCK * BLOCK];
        if overwrite == Overwrite::No {
            for (whole, row) in whole.chunks_exact_mut(BLOCK).zip(sums.dst.chunks(sums.stride)).take(rows) {
                whole[..cols].copy_from_slice(&row[..cols]);
            }
        }
        let all = Sums { dst: &mut whole, stride: BLOCK };
        self.whole_block(steps, left, right, all, Overwrite::No);
        for (whole, row) in whole.chunks_exact(BLOCK).zip(sums.dst.chunks_mut(sums.stride)).take(rows) {
            row[..cols].copy_from_slice(&whole[..cols]);
        }
    }

    fn whole_block<T: Sum>(
        &self,
        steps: usize,
        left: Left,
        right: &[u32],
        sums: Sums<T>,
        overwrite: Overwrite,
    ) {
        assert!(steps > 0 && left.words >= (BLOCK - 1) * left.stride + steps * TILE);
        assert!(right.len() >= (steps * TILE - 1) * PANEL + BLOCK);
        assert!(sums.dst.len() >= (BLOCK - 1) * sums.stride + BLOCK);
        let dst = (sums.dst.as_mut_ptr(), sums.stride * WORD);
        // SAFETY: the tiles are configured; the assertions are what it asks for.
        unsafe { T::add_block(steps, (left.at, left.stride * WORD), right.as_ptr(), dst, overwrite) }
    }
}

/// Multiplies tiles in registers for some rounds; returns the floating-point operations made. Call it at level AMX only.
pub(crate) fn spin(rounds: u64) -> u64 {
    let tiles = Tiles::configure();
    for _ in 0..rounds {
        // SAFETY: the tiles are configured; no memory is used.
        unsafe {
            asm!(
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                options(nomem, nostack, preserves_flags),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            );
        }
    }
    drop(tiles);
    rounds * 4 * (2 * TILE * TILE * 2 * TILE) as u64
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the CPU has tiles; nothing is in them any more.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}
