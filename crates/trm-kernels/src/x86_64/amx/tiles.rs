//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16 and adds the product to
//! 16 by 16 f32 sums.
//!
//! Four tiles of sums make a block of 32 by 32, fed by two tiles of the left operand and two of the right: one load for
//! each multiplication. Tiles are named in inline assembly, since Rust has no stable intrinsics for them.

use crate::Overwrite;
use crate::bf16::{PANEL, Panels};
use std::arch::asm;
use std::ops::Range;

/// Rows of a tile, and the pairs of numbers in each of its rows.
pub(crate) const TILE: usize = 16;
/// Rows and columns of a block of sums.
const BLOCK: usize = 2 * TILE;
/// Pairs of the inner dimension in one pass over the sums: 32 columns of them are 32 kB, so that what all blocks of
/// rows are multiplied by stays in the first-level cache, and sums are loaded once for 16 multiplications.
const PASS: usize = 256;

/// The left operand: pairs of bfloat16 numbers, row after row, `row_stride` words apart; rows are whole blocks and
/// pairs whole tiles, and pairs that the operand does not have are zeros.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub words: &'a [u32],
    pub row_stride: usize,
}

/// Words that a left operand of so many rows takes, and those of one row.
pub(crate) fn rows_shape(rows: usize, pairs: usize) -> [usize; 2] {
    let row_stride = pairs.next_multiple_of(TILE);
    [rows.next_multiple_of(BLOCK) * row_stride, row_stride]
}

/// Whether CPU and operating system let this process use the tiles, and they multiply as they should.
///
/// # Source
/// Intel SDM volume 1, chapter 18; Linux, Documentation/arch/x86/xstate.rst.
pub(crate) fn available() -> bool {
    cpu_has_tiles() && permitted() && multiplies_right()
}

fn cpu_has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    let has = __cpuid(0).eax >= 7
        && __cpuid(1).ecx & OSXSAVE != 0
        && __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE;
    // SAFETY: OSXSAVE says that the system has enabled XGETBV.
    has && unsafe { enabled_state() } & TILE_STATE == TILE_STATE
}

/// XCR0: the registers that the system saves.
///
/// # Safety
/// The CPU has XSAVE and the system has enabled it.
#[target_feature(enable = "xsave")]
unsafe fn enabled_state() -> u64 {
    // SAFETY: the caller's promise; register 0 exists where XGETBV does.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

/// Asks Linux for the tiles: it saves 8 kB more for a thread that uses them, and so wants to be asked.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this request reads no memory of ours and changes only what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// A block of whole numbers, which every order of summation gives exactly. It is packed by hand: the level, which packing
/// asks for, is being decided.
fn multiplies_right() -> bool {
    const STEPS: usize = 2;
    const PAIRS: usize = STEPS * TILE;
    let number = |i: usize, modulus: usize| (i % modulus) as f32 - 3.0;
    let (a, b) = (|r: usize, k: usize| number(5 * r + k, 7), |k: usize, c: usize| number(3 * k + c, 11));
    let word = |pair: [f32; 2]| pair[0].to_bits() >> 16 | pair[1].to_bits() & 0xffff_0000;
    let (mut left, mut right) = ([0; BLOCK * PAIRS], [0; PAIRS * PANEL]);
    for (i, left) in left.iter_mut().enumerate() {
        *left = word([0, 1].map(|half| a(i / PAIRS, 2 * (i % PAIRS) + half)));
    }
    for (i, right) in right.iter_mut().enumerate() {
        *right = word([0, 1].map(|half| b(2 * (i / PANEL) + half, i % PANEL)));
    }
    let mut dst = [0.0; BLOCK * BLOCK];
    let sums = Sums { dst: &mut dst, stride: BLOCK };
    Tiles::configure().whole_block(STEPS, (&left, PAIRS), &right, sums, Overwrite::Yes);
    let want = |r, c| (0..2 * PAIRS).map(|k| a(r, k) * b(k, c)).sum::<f32>();
    dst.iter().enumerate().all(|(i, dst)| *dst == want(i / BLOCK, i % BLOCK))
}

/// Some columns of `left b`, from a whole panel on, or added to `dst`. Call it at level AMX only, or where the tiles are emulated.
///
/// # Shapes
/// `left` has `rows` rows, `dst` is `[rows, columns]`.
pub(crate) fn multiply(
    rows: usize,
    left: Rows,
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    let (cols, pairs, first_panel) = (columns.len(), b.panel_pairs(), columns.start / PANEL);
    assert_eq!(dst.len(), rows * cols, "dst is [rows, columns]");
    assert!(left.row_stride == pairs && left.words.len() >= rows.next_multiple_of(BLOCK) * pairs);
    if pairs == 0 && overwrite == Overwrite::Yes {
        dst.fill(0.0);
    }
    let tiles = Tiles::configure();
    for first_pair in (0..pairs).step_by(PASS) {
        let overwrite = if first_pair == 0 { overwrite } else { Overwrite::No };
        let steps = PASS.min(pairs - first_pair) / TILE;
        for first_col in (0..cols).step_by(BLOCK) {
            let (panel, offset) = (first_panel + first_col / PANEL, first_col % PANEL);
            let right = &b.panel(panel)[first_pair * PANEL + offset..];
            for first_row in (0..rows).step_by(BLOCK) {
                let left = &left.words[first_row * pairs + first_pair..];
                let sums = Sums { dst: &mut dst[first_row * cols + first_col..], stride: cols };
                let size = [BLOCK.min(rows - first_row), BLOCK.min(cols - first_col)];
                tiles.block(steps, (left, pairs), right, sums, size, overwrite);
            }
        }
    }
}

/// Where the sums of a block go: rows `stride` numbers apart.
struct Sums<'a> {
    dst: &'a mut [f32],
    stride: usize,
}

/// The tiles of this thread, all of 16 rows of 64 bytes; given back when it goes.
struct Tiles(());

impl Tiles {
    fn configure() -> Self {
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

    /// `steps` tiles of the inner dimension for `size` of 32 by 32 sums.
    fn block(
        &self,
        steps: usize,
        (left, left_stride): (&[u32], usize),
        right: &[u32],
        sums: Sums,
        [rows, cols]: [usize; 2],
        overwrite: Overwrite,
    ) {
        if [rows, cols] == [BLOCK; 2] {
            return self.whole_block(steps, (left, left_stride), right, sums, overwrite);
        }
        let mut whole = [0.0; BLOCK * BLOCK];
        if overwrite == Overwrite::No {
            for (whole, row) in whole.chunks_exact_mut(BLOCK).zip(sums.dst.chunks(sums.stride)).take(rows) {
                whole[..cols].copy_from_slice(&row[..cols]);
            }
        }
        let all = Sums { dst: &mut whole, stride: BLOCK };
        self.whole_block(steps, (left, left_stride), right, all, Overwrite::No);
        for (whole, row) in whole.chunks_exact(BLOCK).zip(sums.dst.chunks_mut(sums.stride)).take(rows) {
            row[..cols].copy_from_slice(&whole[..cols]);
        }
    }

    fn whole_block(
        &self,
        steps: usize,
        (left, left_stride): (&[u32], usize),
        right: &[u32],
        sums: Sums,
        overwrite: Overwrite,
    ) {
        const WORD: usize = 4;
        assert!(steps > 0 && left.len() >= (BLOCK - 1) * left_stride + steps * TILE);
        assert!(right.len() >= (steps * TILE - 1) * PANEL + BLOCK);
        assert!(sums.dst.len() >= (BLOCK - 1) * sums.stride + BLOCK);
        let dst = sums.dst.as_mut_ptr();
        let lower = dst.wrapping_add(TILE * sums.stride);
        // SAFETY: the tiles are configured, 16 rows of 64 bytes each. By the assertions the left operand has 32 rows of
        // `16 steps` words at its stride, the right one `16 steps` rows of 32 words, 64 apart, and the sums have 32 rows of
        // 32 numbers at theirs: nothing else is read or written.
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
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {right_stride} + 64]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
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
                lower = in(reg) lower,
                stride = in(reg) sums.stride * WORD,
                left = inout(reg) left.as_ptr() => _,
                left_lower = inout(reg) left.as_ptr().wrapping_add(TILE * left_stride) => _,
                left_stride = in(reg) left_stride * WORD,
                right = inout(reg) right.as_ptr() => _,
                right_stride = in(reg) PANEL * WORD,
                steps = inout(reg) steps => _,
                options(nostack),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            );
        }
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
