//! Smaller and faster models: weights of few bits, and fewer weights.

mod prune;
mod sweep;

pub use prune::{prune, prune_paper, remove_units};
pub use sweep::{SweepPoint, sweep};

use crate::checkpoint::{Checkpoint, QuantisedCheckpoint};
use crate::config::Pruning;
use crate::model::{InputStatistics, Network};
use crate::network::{Entry, Role, Weights};
use crate::ops::{Format, Levels, QuantisedWeight};

/// The model without the share `sparsity` of its weights or units, without optimiser and history.
pub fn pruned(checkpoint: &Checkpoint, kind: Pruning, sparsity: f64) -> Checkpoint {
    let (network, layout) = Network::new(&checkpoint.config.network);
    let mut weights = Weights::from_state_dict(&layout, checkpoint.model.clone());
    let mut config = checkpoint.config.clone();
    if kind == Pruning::Structured {
        (config.network, weights) = remove_units(&config.network, &weights, sparsity);
    } else {
        prune(&network, &mut weights, kind, sparsity);
    }
    Checkpoint { model: weights.state_dict(), config, optimizer: None, history: None, training: None }
}

/// Knowledge about the inputs of the matrices that quantising makes use of.
#[derive(Clone, Copy, Debug)]
pub struct Calibration<'a> {
    /// Statistics of the inputs, one entry for each tensor of the layout. The error of a weight counts by the mean
    /// square of its input.
    pub inputs: &'a [InputStatistics],
    /// Whether inputs are rounded to multiples of a fixed step, a 127th of their largest magnitude. Otherwise the step
    /// follows the largest magnitude of each row.
    pub fixed_steps: bool,
}

/// Rounds the matrices of a model to `levels`. Matrices with nine inputs or with few outputs stay f32. With 4 bits the
/// read-out keeps 8.
pub fn quantise(
    checkpoint: &Checkpoint,
    levels: Levels,
    calibration: Option<Calibration>,
) -> QuantisedCheckpoint {
    let config = checkpoint.config.clone();
    let layout = Network::layout(&config.network);
    let (mut tensors, mut weights) = (Vec::new(), Vec::new());
    for (name, tensor) in &checkpoint.model {
        let Some(id) = layout.find(name).filter(|id| is_quantised(&layout[*id])) else {
            tensors.push((name.clone(), tensor.clone()));
            continue;
        };
        let levels = if layout[id].role == Role::ReadOut { Levels::Int8 } else { levels };
        let inputs = calibration.map(|c| (&c.inputs[id.index()], c.fixed_steps));
        let mean_squares = inputs.map(|(inputs, _)| inputs.mean_squares());
        let mut weight = QuantisedWeight::new(tensor, levels, mean_squares.as_deref());
        let fixed = inputs.filter(|(inputs, fixed)| *fixed && inputs.largest > 0.0);
        weight.step = fixed.map(|(inputs, _)| inputs.largest / 127.0);
        weights.push((name.clone(), weight));
    }
    QuantisedCheckpoint { config, tensors, weights }
}

fn is_quantised(entry: &Entry) -> bool {
    let is_matrix = entry.role.is_multiplied() && entry.role != Role::Feedback;
    is_matrix && Format::Bf16.for_outputs(entry.shape[0]) == Format::Bf16
}
