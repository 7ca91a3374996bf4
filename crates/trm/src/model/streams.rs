//! Which random numbers a puzzle is thought about with: a function of its givens, whatever list or batch it stands in.

/// Number of the random stream of a puzzle's trajectory, under the seed of the budget.
///
/// It is the 64-bit FNV-1a hash of 89 bytes: the 81 digits of the puzzle, 0 where blank, row by row, then the number of the
/// restart as eight bytes, the lowest first. This will not change: a verdict can be repeated with any later version.
///
/// # Shapes
/// `givens` is `[81]`.
///
/// # Source
/// G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash Algorithm", RFC 9923.
pub fn stream(givens: &[u8], restart: u64) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = givens.iter().copied().chain(restart.to_le_bytes());
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_and_stays_what_it_is() {
        // By the published algorithm, computed apart from this program.
        let ascending: Vec<u8> = (0..81).map(|cell| cell % 10).collect();
        assert_eq!(stream(&[0; 81], 0), BLANK);
        assert_eq!(stream(&ascending, 0), ASCENDING);
        assert_eq!(stream(&ascending, 1), ASCENDING_AGAIN);
    }

    const BLANK: u64 = 0x6948_a02c_2ca4_407f;
    const ASCENDING: u64 = 0xa403_eeef_936f_f09f;
    const ASCENDING_AGAIN: u64 = 0x8509_27e6_8880_a67e;
}
