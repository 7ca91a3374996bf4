//! Smaller and faster models: weights of few bits, and fewer weights.

mod prune;
mod sweep;

pub use prune::{prune, pruned_matrices, remove_units};
pub use sweep::{SweepPoint, sweep};

use crate::checkpoint::{Checkpoint, QuantisedCheckpoint};
use crate::config::Pruning;
use crate::model::{InputStatistics, Params};
use crate::ops::{Format, Levels, QuantisedWeight};
use crate::tensor::Tensor;

/// The model without the share `sparsity` of its weights or units, without optimiser and history.
pub fn pruned(checkpoint: &Checkpoint, kind: Pruning, sparsity: f64) -> Checkpoint {
    let mut params = Params::from_state_dict(&checkpoint.config.network, checkpoint.model.clone());
    let mut config = checkpoint.config.clone();
    if kind == Pruning::Structured {
        (config.network, params) = remove_units(&config.network, &params, sparsity);
    } else {
        prune(&mut params, kind, sparsity);
    }
    Checkpoint {
        model: params.state_dict(&config.network),
        config,
        optimizer: None,
        history: None,
        training: None,
    }
}

/// What quantising knows of the inputs of the matrices.
#[derive(Clone, Copy, Debug)]
pub struct Calibration<'a> {
    /// One for each of [`Params::matrices`]: the error of a weight counts by the mean square of its input.
    pub inputs: &'a [InputStatistics],
    /// Whether inputs are rounded to fixed steps, a 127th of their largest magnitude, instead of steps that follow each row.
    pub fixed_steps: bool,
}

/// Rounds the matrices of a model to `levels`. Those with nine inputs or a few outputs stay f32; with 4 bits the read-out keeps 8.
pub fn quantise(
    checkpoint: &Checkpoint,
    levels: Levels,
    calibration: Option<Calibration>,
) -> QuantisedCheckpoint {
    let config = checkpoint.config.clone();
    let matrices = Params::matrix_names(&config.network);
    let (mut tensors, mut weights) = (Vec::new(), Vec::new());
    for (name, tensor) in &checkpoint.model {
        let number = matrices.iter().position(|n| n == name).filter(|_| is_quantised(name, tensor));
        let Some(number) = number else {
            tensors.push((name.clone(), tensor.clone()));
            continue;
        };
        let levels = if name == "output_proj.weight" { Levels::Int8 } else { levels };
        let inputs = calibration.map(|c| (&c.inputs[number], c.fixed_steps));
        let mean_squares = inputs.map(|(inputs, _)| inputs.mean_squares());
        let mut weight = QuantisedWeight::new(tensor, levels, mean_squares.as_deref());
        let fixed = inputs.filter(|(inputs, fixed)| *fixed && inputs.largest > 0.0);
        weight.step = fixed.map(|(inputs, _)| inputs.largest / 127.0);
        weights.push((name.clone(), weight));
    }
    QuantisedCheckpoint { config, tensors, weights }
}

fn is_quantised(name: &str, tensor: &Tensor) -> bool {
    name != "feedback.weight" && Format::Bf16.for_outputs(tensor.shape[0]) == Format::Bf16
}
