//! CPU kernels for Tiny Recursive Models: safe functions on slices, chosen at run time for the CPU at hand.
//!
//! - [`vectorize`]: compiles a loop once per instruction set and runs the best one ([`level`] says which, [`at_level`] runs
//!   a lower one); [`vectorize_fused`] for one that fuses what it multiplies and adds.
//! - [`multiply`], [`multiply_in_parts`]: a [`Left`] operand times a [`Right`] one, in any [`Format`]: f32, bfloat16, fixed-point
//!   numbers of 12 or 7 bits, or 8-bit inputs times 8-bit or 4-bit weights.
//! - [`weight_gradient`]: the gradient of a weight, a sum over rows, in any format but the last.
//! - [`matmul`], [`matmul_lhs_transposed`]: products of f32 matrices that are multiplied once.
//! - [`unit_attention_forward`], [`unit_attention_backward`]: attention within the rows, columns and boxes of a Sudoku.
//! - [`math`]: branch-free exp and Gaussian integrals that such loops can use.
//! - [`peak`]: what one core can do at most, which measurements are divided by.
//! - [`mod@reference`]: matrix products in plain loops, which every level is tested against.

mod bf16;
#[cfg(test)]
mod every_level;
#[cfg(test)]
mod every_pair;
mod fixed;
mod format;
mod layout;
mod level;
mod lines;
pub mod math;
mod operands;
pub mod peak;
mod plain;
mod product;
mod quantised;
pub mod reference;
mod unit_attention;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use fixed::Fixed;
pub use format::Format;
pub use layout::{Overwrite, PANEL, Part, Start};
pub use level::{Level, LevelError, at_level, choose_level, level, vectorize, vectorize_fused};
pub use lines::AlignedMemory;
pub use operands::{Left, Right, Rounded};
pub use plain::{matmul, matmul_lhs_transposed};
pub use product::{multiply, multiply_in_parts, weight_gradient};
pub use quantised::{GROUP_MULTIPLE, LONGEST_GROUP, WeightBits};
pub use unit_attention::{Members, UnitHeads, unit_attention_backward, unit_attention_forward};
