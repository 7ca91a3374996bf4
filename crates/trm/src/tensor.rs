//! A named block of numbers: what parameters, gradients and checkpoints are made of.

use std::fmt;

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

    /// A tensor of this shape whose values all equal `value`.
    pub fn filled(shape: &[usize], value: f32) -> Self {
        let len = shape.iter().product();
        Self { shape: shape.to_vec(), data: vec![value; len] }
    }
}

/// Summary of some values: their mean and, if there are several, the least and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Mean of the values.
    pub mean: f64,
    /// The least and the largest value, if there are several.
    pub range: Option<[f64; 2]>,
}

impl Spread {
    /// Mean and range of `values`.
    pub fn of(values: &[f32]) -> Self {
        let values = || values.iter().map(|v| f64::from(*v));
        let range = [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)];
        let count = values().count();
        Self { mean: values().sum::<f64>() / count as f64, range: (count > 1).then_some(range) }
    }
}

impl fmt::Display for Spread {
    /// `0.12`, or `0.12 (-0.03 to 0.40)`; all of them to the precision that is asked for.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(&self.mean, f)?;
        let Some([least, largest]) = self.range else { return Ok(()) };
        f.write_str(" (")?;
        fmt::Display::fmt(&least, f)?;
        f.write_str(" to ")?;
        fmt::Display::fmt(&largest, f)?;
        f.write_str(")")
    }
}

/// Tensors by name, in the order of the model's definition: PyTorch's `state_dict`.
pub type StateDict = Vec<(String, Tensor)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_told_alone_and_several_with_their_ends() {
        assert_eq!(format!("{:.2}", Spread::of(&[0.125])), "0.12");
        assert_eq!(format!("{:.1}", Spread::of(&[0.5, -0.25, 2.0])), "0.8 (-0.2 to 2.0)");
    }
}
