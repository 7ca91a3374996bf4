//! CPU kernels for Tiny Recursive Models: safe functions on slices, chosen at run time for the CPU at hand.
//!
//! - [`vectorize`]: compiles a loop once per instruction set and runs the best one ([`level`] says which, [`at_level`] runs
//!   a lower one); [`vectorize_fused`] for one that fuses what it multiplies and adds.
//! - [`matmul`], [`matmul_panels`]: f32 matrix products, by the `gemm` crate.
//! - [`matmul_bf16`]: products of bfloat16 numbers with f32 sums.
//! - [`matmul_whole`]: products of numbers rounded to 12 or 7 bits, with 32-bit sums.
//! - [`matmul_quantised`]: products of 8-bit or 4-bit weights and 8-bit inputs with 32-bit sums.
//! - [`unit_attention_forward`], [`unit_attention_backward`]: attention within the rows, columns and boxes of a Sudoku.
//! - [`math`]: branch-free exp and Gaussian integrals that such loops can use.
//! - [`peak`]: what one core can do at most, which measurements are divided by.
//! - [`mod@reference`]: the same products in plain loops, which every level is tested against.

mod bf16;
#[cfg(test)]
mod every_level;
mod f32_panels;
mod gemm_kernels;
mod level;
mod lines;
pub mod math;
mod matmul;
pub mod peak;
mod quantised;
pub mod reference;
mod unit_attention;
mod whole;
mod widened;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use bf16::{
    PANEL, PackedRows, Panels, Part, Start, matmul_bf16, matmul_in_parts, matmul_packed, row_matmul_bf16,
    weight_gradient_bf16,
};
pub use f32_panels::{F32Panels, matmul_panels};
pub use level::{Level, LevelError, at_level, choose_level, level, vectorize, vectorize_fused};
pub use lines::AlignedMemory;
pub use matmul::{Overwrite, matmul, matmul_lhs_transposed};
pub use quantised::{
    GROUP_MULTIPLE, LONGEST_GROUP, QuantisedPanels, QuantisedRows, WeightBits, matmul_quantised,
    matmul_quantised_in_parts, matmul_quantised_packed, row_matmul_quantised,
};
pub use unit_attention::{Members, UnitHeads, unit_attention_backward, unit_attention_forward};
pub use whole::{Whole, WholePanels, WholeRows, matmul_whole, matmul_whole_rows, weight_gradient_whole};
