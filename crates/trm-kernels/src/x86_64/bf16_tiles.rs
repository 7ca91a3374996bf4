//! Tiles of bfloat16 pairs packed in AVX-512 registers: a row of a tile is one register.

use crate::bf16::{Packing, TILE_NUMBERS, TileWords};
use crate::layout::{TILE, holds};
use crate::level::{Avx512, Avx512Bf16};
use std::arch::x86_64::*;

/// Packs the tile that starts with the first number of a matrix, whose rows are `stride` numbers apart and which has so many rows
/// and columns from there on.
///
/// # Panics
/// If the matrix has fewer numbers.
pub(crate) fn pack(
    cpu: Avx512Bf16,
    packing: Packing,
    matrix: &[f32],
    stride: usize,
    size: [usize; 2],
    target: &mut TileWords,
) {
    match packing {
        Packing::Left => pack_as::<false, false>(cpu, matrix, stride, size, target),
        Packing::Right => pack_as::<true, false>(cpu, matrix, stride, size, target),
        Packing::RightOfTranspose => pack_as::<false, true>(cpu, matrix, stride, size, target),
    }
}

fn pack_as<const DOWN: bool, const TRANSPOSE: bool>(
    _cpu: Avx512Bf16,
    matrix: &[f32],
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut TileWords,
) {
    let (most_rows, most_cols) = if DOWN { (TILE_NUMBERS, TILE) } else { (TILE, TILE_NUMBERS) };
    let (rows, cols) = (rows.min(most_rows), cols.min(most_cols));
    assert!(holds(matrix.len(), rows, stride, cols), "the matrix has these rows and columns");
    // SAFETY: `_cpu` proves AVX-512 F, BW and BF16; by the assertion `cols` numbers lie in each of `rows` rows.
    unsafe { pack_tile::<DOWN, TRANSPOSE>(matrix.as_ptr(), stride, [rows, cols], target) }
}

/// # Safety
/// The CPU has AVX-512 F, BW and BF16. At `matrix` and every `stride` from there, `rows` times, `cols` numbers can be read:
/// at most 16 times 32 of them, or 32 times 16 if DOWN.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pack_tile<const DOWN: bool, const TRANSPOSE: bool>(
    matrix: *const f32,
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut TileWords,
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
        let [low, high] = if DOWN { [load(2 * i, 0), load(2 * i + 1, 0)] } else { [load(i, 0), load(i, 1)] };
        // SAFETY: both are 512 bits of plain data.
        let rounded = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        if DOWN { _mm512_permutexvar_epi16(halves, rounded) } else { rounded }
    });
    store(if TRANSPOSE { transpose(tile) } else { tile }, target);
}

#[target_feature(enable = "avx512f")]
fn store(tile: [__m512i; TILE], target: &mut TileWords) {
    for (words, row) in target.as_chunks_mut::<TILE>().0.iter_mut().zip(tile) {
        // SAFETY: sixteen words are written to where sixteen words are.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), row) };
    }
}

/// Makes two tiles for products over rows out of two tiles of rows, one below the other: the first has the first 16 numbers of
/// each row, the second the others, and pairs are neighbouring rows. They are tiles of a right operand, or, if `LEFT`, of the
/// transpose as a left operand.
pub(crate) fn turn<const LEFT: bool>(_cpu: Avx512, rows: [&TileWords; 2], targets: [&mut TileWords; 2]) {
    // SAFETY: `_cpu` proves AVX-512 F and BW.
    unsafe { turn_tiles::<LEFT>(rows, targets) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn turn_tiles<const LEFT: bool>(rows: [&TileWords; 2], targets: [&mut TileWords; 2]) {
    let row = |r: usize| {
        let words: &[u32; TILE] = &rows[r / TILE].as_chunks().0[r % TILE];
        // SAFETY: sixteen words are read where sixteen words are.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    };
    for (half, target) in targets.into_iter().enumerate() {
        // Alternately a number of the first register and the same of the second.
        let alternate: [u16; TILE_NUMBERS] =
            std::array::from_fn(|i| (half * TILE + i / 2 + i % 2 * TILE_NUMBERS) as u16);
        // SAFETY: 64 bytes of plain data.
        let alternate = unsafe { _mm512_loadu_si512(alternate.as_ptr().cast()) };
        let tile: [__m512i; TILE] =
            std::array::from_fn(|p| _mm512_permutex2var_epi16(row(2 * p), alternate, row(2 * p + 1)));
        store(if LEFT { transpose(tile) } else { tile }, target);
    }
}

/// Writes the numbers of a tile of rows, as far as the target has rows, `stride` numbers apart, and columns.
///
/// # Panics
/// If the target has fewer numbers.
pub(crate) fn unpack(
    _cpu: Avx512,
    tile: &TileWords,
    target: &mut [f32],
    stride: usize,
    [rows, cols]: [usize; 2],
) {
    let (rows, cols) = (rows.min(TILE), cols.min(TILE_NUMBERS));
    assert!(holds(target.len(), rows, stride, cols), "the target has these rows and columns");
    // SAFETY: `_cpu` proves AVX-512 F; by the assertion `cols` numbers lie in each of `rows` rows.
    unsafe { unpack_tile(tile, target.as_mut_ptr(), stride, [rows, cols]) }
}

/// # Safety
/// The CPU has AVX-512 F. At `target` and every `stride` from there, `rows` times, `cols` numbers can be written: at most 16
/// times 32.
#[target_feature(enable = "avx512f")]
unsafe fn unpack_tile(tile: &TileWords, target: *mut f32, stride: usize, [rows, cols]: [usize; 2]) {
    for (r, words) in tile.as_chunks::<TILE>().0.iter().take(rows).enumerate() {
        for half in 0..2 {
            let columns = cols.saturating_sub(half * TILE).min(TILE);
            let mask = ((1u32 << columns) - 1) as u16;
            // SAFETY: eight of sixteen words are read; the mask leaves out what may not be written.
            unsafe {
                let numbers = _mm256_loadu_si256(words.as_ptr().add(half * TILE / 2).cast());
                let numbers = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(numbers));
                let at = target.wrapping_add(r * stride + half * TILE);
                _mm512_mask_storeu_ps(at, mask, _mm512_castsi512_ps(numbers));
            }
        }
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
        let [a, b, c, d] = [twos[column], twos[4 + column], twos[8 + column], twos[12 + column]];
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
