//! CPU kernels for Tiny Recursive Models: safe functions on slices, chosen at run time for the CPU at hand.
//!
//! - [`vectorize`]: compiles a loop once per instruction set and runs the best one ([`level`] says which).
//! - [`matmul`]: f32 matrix products, by the `gemm` crate.
//! - [`math`]: branch-free exp and Gaussian integrals that such loops can use.
//! - [`reference`]: the same products in plain loops, which every level is tested against.

mod level;
pub mod math;
mod matmul;
pub mod reference;

pub use level::{Level, level, vectorize};
pub use matmul::{Overwrite, matmul, matmul_lhs_transposed};
