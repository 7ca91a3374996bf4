//! Tiles of bfloat16 pairs packed in AVX-512 registers: a row of a tile is one register.

use crate::bf16::{Inner, Side, TILE, TILE_WORDS, TilePacker};
use std::arch::x86_64::*;

/// What packs a tile. Call it at level AVX-512 BF16 and above only.
pub(crate) fn packer(inner: Inner, side: Side) -> TilePacker {
    match (inner, side) {
        (Inner::Along, Side::Left) => pack::<true, false>,
        (Inner::Along, Side::Right) => pack::<true, true>,
        (Inner::Down, Side::Right) => pack::<false, false>,
        (Inner::Down, Side::Left) => pack::<false, true>,
    }
}

fn pack<const ALONG: bool, const TRANSPOSE: bool>(
    matrix: &[f32],
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut [u32; TILE_WORDS],
) {
    let (most_rows, most_cols) = if ALONG { (TILE, 2 * TILE) } else { (2 * TILE, TILE) };
    let (rows, cols) = (rows.min(most_rows), cols.min(most_cols));
    assert!(rows == 0 || matrix.len() >= (rows - 1) * stride + cols);
    // SAFETY: the level says that the CPU has AVX-512 F, BW and BF16; by the assertion `cols` numbers lie in each of `rows`
    // rows.
    unsafe { pack_tile::<ALONG, TRANSPOSE>(matrix.as_ptr(), stride, [rows, cols], target) }
}

/// # Safety
/// The CPU has AVX-512 F, BW and BF16. At `matrix` and every `stride` from there, `rows` times, `cols` numbers can be read:
/// at most 16 times 32 of them, or 32 times 16 if not ALONG.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pack_tile<const ALONG: bool, const TRANSPOSE: bool>(
    matrix: *const f32,
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut [u32; TILE_WORDS],
) {
    // The numbers `16 i ..` of row r, zeros where it has none.
    let load = |r: usize, i: usize| {
        let columns = if r < rows { cols.saturating_sub(i * TILE).min(TILE) } else { 0 };
        let mask = ((1u32 << columns) - 1) as u16;
        // SAFETY: the mask leaves out what may not be read.
        unsafe { _mm512_maskz_loadu_ps(mask, matrix.wrapping_add(r * stride + i * TILE)) }
    };
    // Words that take one number from each half of a register.
    let halves: [u16; 2 * TILE] = std::array::from_fn(|i| (i / 2 + i % 2 * TILE) as u16);
    // SAFETY: 64 bytes of plain data.
    let halves = unsafe { _mm512_loadu_si512(halves.as_ptr().cast()) };
    let tile: [__m512i; TILE] = std::array::from_fn(|i| {
        let [low, high] = if ALONG { [load(i, 0), load(i, 1)] } else { [load(2 * i, 0), load(2 * i + 1, 0)] };
        // SAFETY: both are 512 bits of plain data.
        let rounded = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        if ALONG { rounded } else { _mm512_permutexvar_epi16(halves, rounded) }
    });
    let tile = if TRANSPOSE { transpose(tile) } else { tile };
    for (words, row) in target.as_chunks_mut::<TILE>().0.iter_mut().zip(tile) {
        // SAFETY: sixteen words are written to where sixteen words are.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), row) };
    }
}

/// Word r of register c for word c of register r. Four rounds: neighbouring words, neighbouring twos of words, and twice
/// neighbouring quarters of a register change places between rows.
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; TILE]) -> [__m512i; TILE] {
    let words: [__m512i; TILE] = std::array::from_fn(|i| {
        let (a, b) = (rows[i & !1], rows[i | 1]);
        if i & 1 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    // Now element i of group g (four rows) holds column i of each of the four quarters.
    let twos: [__m512i; TILE] = std::array::from_fn(|i| {
        let (group, column) = (i & !3, i & 3);
        let (a, b) = (words[group + column / 2], words[group + column / 2 + 2]);
        if column & 1 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    let quarters: [[__m512i; 4]; 4] = std::array::from_fn(|column| {
        let [a, b, c, d] = [0, 4, 8, 12].map(|group| twos[group + column]);
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        [
            _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
            _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
        ]
    });
    std::array::from_fn(|i| quarters[i % 4][i / 4])
}
