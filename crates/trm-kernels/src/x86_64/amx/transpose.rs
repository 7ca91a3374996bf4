//! Transposes of 16 by 16 words in AVX-512 registers.

use std::arch::x86_64::*;

/// Words on a side.
const SIDE: usize = 16;

/// `target[c, r] = source[r, c]` for 16 rows and columns. Call it where the CPU has AVX-512 F.
///
/// # Shapes
/// Rows of `source` and `target` start the given numbers of words apart.
pub(crate) fn transpose_16(source: &[u32], source_stride: usize, target: &mut [u32], target_stride: usize) {
    assert!(source.len() >= (SIDE - 1) * source_stride + SIDE);
    assert!(target.len() >= (SIDE - 1) * target_stride + SIDE);
    // SAFETY: the caller says that the CPU has AVX-512 F; by the assertions 16 words at each of 16 strides lie in the slices.
    unsafe { transpose(source.as_ptr(), source_stride, target.as_mut_ptr(), target_stride) }
}

/// Four rounds: neighbouring words, neighbouring twos of words, and twice neighbouring quarters of a register change
/// places between rows.
///
/// # Safety
/// The CPU has AVX-512 F; 16 words can be read, or written, at each of 16 strides.
#[target_feature(enable = "avx512f")]
unsafe fn transpose(source: *const u32, source_stride: usize, target: *mut u32, target_stride: usize) {
    let rows: [__m512i; SIDE] = std::array::from_fn(|r| {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(source.add(r * source_stride).cast()) }
    });
    let words: [__m512i; SIDE] = std::array::from_fn(|i| {
        let (a, b) = (rows[i & !1], rows[i | 1]);
        if i & 1 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
    });
    // Now element i of group g (four rows) holds column i of each of the four quarters.
    let twos: [__m512i; SIDE] = std::array::from_fn(|i| {
        let (group, column) = (i & !3, i & 3);
        let (a, b) = (words[group + column / 2], words[group + column / 2 + 2]);
        if column & 1 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
    });
    for column in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|group| twos[group + column]);
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        let columns = [
            _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
            _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
        ];
        for (quarter, values) in columns.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm512_storeu_si512(target.add((4 * quarter + column) * target_stride).cast(), values) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_finds_its_place() {
        if !std::arch::is_x86_feature_detected!("avx512f") {
            return;
        }
        let source: Vec<u32> = (0..16 * 20).collect();
        let mut target = vec![u32::MAX; 16 * 19];
        transpose_16(&source, 20, &mut target, 19);
        for (r, c) in (0..16).flat_map(|r| (0..16).map(move |c| (r, c))) {
            assert_eq!(target[c * 19 + r], source[r * 20 + c], "row {r}, column {c}");
        }
    }
}
