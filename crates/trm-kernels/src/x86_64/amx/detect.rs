//! Whether there are tiles that may be used.

use super::tiles::{BLOCK, Sums, Tiles};
use crate::layout::{Start, Strips, TILE, TILE_WORDS};
use crate::level::Amx;

/// Whether CPU and operating system let this process use the tiles, and they multiply as they should.
///
/// # Source
/// Intel SDM volume 1, chapter 18; Linux, Documentation/arch/x86/xstate.rst.
pub(crate) fn available() -> bool {
    // SAFETY: the CPU has tiles of both kinds, and the system lets this process use them.
    cpu_has_tiles() && permitted() && multiplies_right(unsafe { Amx::assume() })
}

fn cpu_has_tiles() -> bool {
    // Miri knows no CPUID.
    if cfg!(miri) {
        return false;
    }
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// BF16, TILE, INT8.
    const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;
    let has = __cpuid(0).eax >= 7 && __cpuid(1).ecx & OSXSAVE != 0 && __cpuid_count(7, 0).edx & AMX == AMX;
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
fn multiplies_right(cpu: Amx) -> bool {
    const STEPS: usize = 2;
    const PAIRS: usize = STEPS * TILE;
    let number = |i: usize, modulus: usize| (i % modulus) as f32 - 3.0;
    let (a, b) = (|r: usize, k: usize| number(5 * r + k, 7), |k: usize, c: usize| number(3 * k + c, 11));
    let word = |pair: [f32; 2]| pair[0].to_bits() >> 16 | pair[1].to_bits() & 0xffff_0000;
    let (mut left, mut right) = ([0; BLOCK * PAIRS], [0; BLOCK * PAIRS]);
    for i in 0..BLOCK * PAIRS {
        let (strip, tile) = (i / TILE_WORDS / STEPS, i / TILE_WORDS % STEPS);
        let (row, column) = (i % TILE_WORDS / TILE, i % TILE);
        left[i] = word([0, 1].map(|half| a(strip * TILE + row, 2 * (tile * TILE + column) + half)));
        right[i] = word([0, 1].map(|half| b(2 * (tile * TILE + row) + half, strip * TILE + column)));
    }
    let mut dst = [0.0; BLOCK * BLOCK];
    let (operands, sums) = (
        [&left[..], &right].map(|words| Strips { words, stride: PAIRS * TILE }),
        Sums { dst: &mut dst, stride: BLOCK },
    );
    Tiles::of_blocks(cpu).block(STEPS, operands, None, sums, [BLOCK; 2], Start::Zeros);
    let want = |r, c| (0..2 * PAIRS).map(|k| a(r, k) * b(k, c)).sum::<f32>();
    dst.iter().enumerate().all(|(i, dst)| *dst == want(i / BLOCK, i % BLOCK))
}
