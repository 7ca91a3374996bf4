//! What one core can do at most: multiplications and additions in registers alone, and reading memory. Benches divide by it.

use crate::fixed::Fixed;
#[cfg(target_arch = "x86_64")]
use crate::level::{Amx, Avx2, Avx512Bf16};
use crate::level::{Level, level};
use crate::vectorize;
use std::hint::black_box;

/// Sums that are formed side by side: more than the latency of an addition times the units there are (4 cycles and 2 units on
/// today's x86-64), and few enough for 16 registers.
pub(crate) const CHAINS: usize = 12;

/// Multiplies and adds f32 numbers for some rounds at the level in use; returns the floating-point operations made.
pub fn spin_f32(rounds: u64) -> u64 {
    let lanes = match level() {
        Level::Portable => spin_portable(rounds),
        #[cfg(target_arch = "x86_64")]
        _ => crate::x86_64::fma::spin(rounds),
        #[cfg(not(target_arch = "x86_64"))]
        _ => spin_portable(rounds),
    };
    2 * rounds * (lanes * CHAINS) as u64
}

/// Four numbers side by side, which compilers put into a register.
fn spin_portable(rounds: u64) -> usize {
    const LANES: usize = 4;
    let (factor, addend) = (black_box(0.5f32), black_box(0.25));
    let mut sums = [[1.0f32; LANES]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * factor + addend;
        }
    }
    black_box(sums);
    LANES
}

/// Multiplies and adds bfloat16 numbers for some rounds; returns the floating-point operations made, or nothing where the level
/// in use has no instruction for them.
#[cfg(target_arch = "x86_64")]
pub fn spin_bf16(rounds: u64) -> Option<u64> {
    let tiles = Amx::in_use().map(|cpu| crate::x86_64::amx::spin(cpu, rounds));
    tiles.or_else(|| Some(crate::x86_64::avx512_bf16::spin(Avx512Bf16::in_use()?, rounds)))
}

/// Multiplies and adds fixed-point numbers for some rounds; returns the operations made, or nothing where there is no kernel with
/// instructions for them.
#[cfg(target_arch = "x86_64")]
pub fn spin_fixed(fixed: Fixed, rounds: u64) -> Option<u64> {
    Some(crate::x86_64::avx2_fixed::spin(Avx2::in_use()?, fixed, rounds))
}

/// Multiplies and adds bfloat16 numbers for some rounds, where there is an instruction for them: not here.
#[cfg(not(target_arch = "x86_64"))]
pub fn spin_bf16(_rounds: u64) -> Option<u64> {
    None
}

/// Multiplies and adds fixed-point numbers for some rounds, where there are instructions for them: not here.
#[cfg(not(target_arch = "x86_64"))]
pub fn spin_fixed(_fixed: Fixed, _rounds: u64) -> Option<u64> {
    None
}

/// Reads memory from one end to the other, and nothing else: the sum of all values, modulo 2^32.
pub fn read(values: &[u32]) -> u32 {
    vectorize(
        #[inline(always)]
        || values.iter().fold(0, |sum: u32, value| sum.wrapping_add(*value)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at_level;

    #[test]
    fn the_operations_are_counted_at_every_level() {
        for level in Level::available() {
            let lanes = match level {
                Level::Portable => 4,
                Level::Avx2 => 8,
                _ => 16,
            };
            at_level(level, || {
                assert_eq!(spin_f32(10), 10 * 2 * 12 * lanes);
                let products = match level {
                    Level::Amx => Some(4 * 16 * 16 * 32),
                    Level::Avx512Bf16 => Some(12 * 32),
                    _ => None,
                };
                assert_eq!(spin_bf16(10), products.map(|products| 10 * 2 * products));
                for (fixed, products) in [(Fixed::Twelve, 12 * 16), (Fixed::Seven, 8 * 64)] {
                    let operations = (level > Level::Portable).then_some(10 * 2 * products);
                    assert_eq!(spin_fixed(fixed, 10), operations);
                }
                assert_eq!(read(&[u32::MAX, 3, 5]), 7);
            });
        }
    }
}
