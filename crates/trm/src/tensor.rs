//! A named block of numbers: what parameters, gradients and checkpoints are made of.

/// Row-major f32 values with their shape. A scalar gate has shape `[1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Length of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values, last dimension fastest.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::filled(shape, 0.0)
    }

    /// A tensor with every value the same.
    pub fn filled(shape: &[usize], value: f32) -> Self {
        let len = shape.iter().product();
        Self { shape: shape.to_vec(), data: vec![value; len] }
    }
}

/// Tensors by name, in the order of the model's definition: PyTorch's `state_dict`.
pub type StateDict = Vec<(String, Tensor)>;
