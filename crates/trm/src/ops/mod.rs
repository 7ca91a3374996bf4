//! The differentiable operations, one file each, forward and backward side by side.
//!
//! What backward needs is what forward leaves in the buffers it was given; the caller owns them all. Gradients of
//! inputs and parameters are added to (`+=`) unless the name says otherwise.

mod attention;
mod binary_cross_entropy;
mod cell_attention;
mod constraint_loss;
mod cross_entropy;
mod dropout;
mod embedding;
#[cfg(test)]
mod every_level;
mod gate;
mod gelu;
#[cfg(test)]
mod gradient_check;
mod layer_norm;
mod linear;
mod one_hot;
mod positions;
mod quantised;
mod rms_norm;
mod rows;
mod rows_linear;
mod softmax;
mod stablemax;
mod swiglu;
mod units;

pub use attention::{Heads, Rotary, attention_backward, attention_forward};
pub use binary_cross_entropy::{binary_cross_entropy, binary_cross_entropy_backward};
pub use cell_attention::CellAttention;
pub use constraint_loss::{constraint_loss, constraint_loss_backward};
pub use cross_entropy::{cross_entropy, cross_entropy_backward};
pub use dropout::Dropout;
pub use embedding::{embedding_backward, embedding_forward};
pub use gate::{gate_backward, gate_forward, gate_forward_part};
pub use gelu::{gelu, gelu_backward, gelu_forward};
pub use layer_norm::{LAYER_NORM_EPS, layer_norm_backward, layer_norm_forward};
pub use linear::{
    PackedWeight, linear_backward_bias, linear_backward_input, linear_backward_weight, linear_forward,
    product, transpose,
};
pub use one_hot::{one_hot_linear_backward_weight, one_hot_linear_forward};
pub use positions::{add_positions, positions_backward};
pub use quantised::{Levels, QuantisedWeight, WeightBits};
pub use rms_norm::{RMS_NORM_EPS, rms_norm_backward, rms_norm_forward};
pub use rows::{InParts, Rows, Slot};
pub use rows_linear::{
    RowPairs, rows_backward_input, rows_backward_input_in_parts, rows_backward_weight, rows_forward,
    rows_forward_in_parts, rows_forward_into,
};
pub use softmax::{softmax, softmax_backward, softmax_rows};
pub use stablemax::{log_stable, stablemax_cross_entropy, stablemax_cross_entropy_backward};
pub use swiglu::{swiglu_backward, swiglu_forward};
pub use trm_kernels::{Fixed, Format, Part};
pub use units::{add_to_members, sum_units, unit_rows};

use crate::timing::{Phase, phase};
use trm_kernels::{math, vectorize};

/// `target += factor * values`.
pub fn add_scaled(target: &mut [f32], factor: f32, values: &[f32]) {
    let _timed = phase(Phase::States);
    vectorize(
        #[inline(always)]
        || {
            for (t, v) in target.iter_mut().zip(values) {
                *t += factor * v;
            }
        },
    );
}

/// `target = first + second + ...`, in this order.
///
/// # Shapes
/// All slices have one length.
pub fn sum_of<const N: usize>(terms: [&[f32]; N], target: &mut [f32]) {
    let _timed = phase(Phase::States);
    vectorize(
        #[inline(always)]
        || {
            let terms = terms.map(|term| &term[..target.len()]);
            for (i, target) in target.iter_mut().enumerate() {
                *target = terms[1..].iter().fold(terms[0][i], |sum, term| sum + term[i]);
            }
        },
    );
}

/// Sum of products of pairs.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let _timed = phase(Phase::States);
    vectorize(
        #[inline(always)]
        || math::dot(a, b),
    )
}
