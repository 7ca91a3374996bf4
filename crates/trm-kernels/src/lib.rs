//! CPU kernels for Tiny Recursive Models: safe functions on slices, chosen at run time for the CPU at hand.
//!
//! - [`vectorize`]: compiles a loop once per instruction set and runs the best one ([`level`] says which).
//! - [`matmul`]: f32 matrix products, by the `gemm` crate.
//! - [`matmul_bf16`]: products of bfloat16 numbers with f32 sums.
//! - [`matmul_quantised`]: products of 8-bit or 4-bit weights and 8-bit inputs with 32-bit sums.
//! - [`math`]: branch-free exp and Gaussian integrals that such loops can use.
//! - [`mod@reference`]: the same products in plain loops, which every level is tested against.

mod bf16;
mod level;
pub mod math;
mod matmul;
mod quantised;
pub mod reference;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use bf16::{Panels, matmul_bf16, matmul_bf16_lhs_transposed};
pub use level::{Level, level, vectorize};
pub use matmul::{Overwrite, matmul, matmul_lhs_transposed};
pub use quantised::{GROUP_MULTIPLE, LONGEST_GROUP, QuantisedPanels, WeightBits, matmul_quantised};
