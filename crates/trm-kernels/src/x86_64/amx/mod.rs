//! AMX: products in tiles of 16 by 16 sums, of bfloat16 numbers and of bytes.

mod bf16;
mod blocks;
mod detect;
#[cfg(all(test, target_os = "linux"))]
mod emulator;
mod quantised;
mod tiles;

pub(crate) use bf16::multiply;
pub(crate) use quantised::{GROUP_WORDS, run as run_quantised, scale_sums, whole_sums};
pub(crate) use tiles::spin;

/// Whether this process may use the tiles; in tests it always may, in emulation where there are none.
pub(crate) fn available() -> bool {
    let available = detect::available();
    #[cfg(all(test, target_os = "linux"))]
    return available || emulator::install();
    #[cfg(not(all(test, target_os = "linux")))]
    available
}
