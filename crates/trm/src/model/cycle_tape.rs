//! What the forward pass of one outer cycle leaves for its backward pass.

use super::block_tape::BlockTape;
use crate::config::{CheckpointActivations, NetworkConfig, RunConfig};
use crate::ops::RowsFormat;

/// What the forward pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Nothing beyond the states: no backward pass will follow.
    Nothing,
    /// What backward needs of one outer cycle; other cycles are computed again from their first states.
    Cycle,
    /// What backward needs of every outer cycle.
    Everything,
}

impl Recording {
    /// What training keeps in a `run`.
    pub fn for_training(run: &RunConfig) -> Self {
        match run.checkpoint_activations {
            CheckpointActivations::None => Self::Everything,
            CheckpointActivations::Cycle => Self::Cycle,
        }
    }

    /// Number of (outer cycles, inner refinements of a cycle) that there is room for.
    pub fn room(self, config: &NetworkConfig) -> (usize, usize) {
        match self {
            Self::Nothing => (1, 1),
            Self::Cycle => (1, config.l_cycles),
            Self::Everything => (config.h_cycles, config.l_cycles),
        }
    }

    /// Tapes for the blocks of R and of O: one for each, or one that all of them work in if nothing is kept.
    fn tapes(self, config: &NetworkConfig) -> [usize; 2] {
        let blocks = [config.l_layers, config.output_layers];
        if self == Self::Nothing { blocks.map(|blocks| blocks.min(1)) } else { blocks }
    }
}

/// What one outer cycle leaves for the backward pass.
#[derive(Clone, Debug)]
pub struct CycleTape {
    /// One for each block of R, `l_cycles` applications each; a single one for all of them if nothing is kept.
    pub latent: Vec<BlockTape>,
    /// One for each block of O, one application each; a single one for all of them if nothing is kept.
    pub output: Vec<BlockTape>,
    /// R(x_emb + y + z), `[l_cycles, rows, d]`.
    pub latent_result: Vec<f32>,
    /// O(y + z), `[rows, d]`.
    pub output_result: Vec<f32>,
    /// Of each new z, if states are normalised.
    pub latent_norm: NormTape,
    /// Of the new y, if states are normalised.
    pub output_norm: NormTape,
}

impl CycleTape {
    /// Room for some rows.
    pub fn new(config: &NetworkConfig, format: RowsFormat, rows: usize, recording: Recording) -> Self {
        let training = recording != Recording::Nothing;
        let (_, applications) = recording.room(config);
        let [latent, output] = recording.tapes(config);
        let result =
            |applications| vec![0.0; if training { applications * rows * config.hidden_dim } else { 0 }];
        Self {
            latent: vec![BlockTape::new(config, format, applications, rows, training); latent],
            output: vec![BlockTape::new(config, format, 1, rows, training); output],
            latent_result: result(applications),
            output_result: result(1),
            latent_norm: NormTape::new(config, applications * rows),
            output_norm: NormTape::new(config, rows),
        }
    }

    /// f32 values that [`Self::new`] allocates for each row.
    pub fn values_per_row(config: &NetworkConfig, format: RowsFormat, recording: Recording) -> usize {
        let training = recording != Recording::Nothing;
        let (_, applications) = recording.room(config);
        let [latent, output] = recording.tapes(config);
        let blocks = (latent * applications + output) * BlockTape::values_per_row(config, format, training);
        let results = if training { (applications + 1) * config.hidden_dim } else { 0 };
        let norms = (applications + 1) * NormTape::values_per_row(config);
        blocks + results + norms
    }
}

/// What normalising a state leaves for the backward pass.
#[derive(Clone, Debug, Default)]
pub struct NormTape {
    /// The normalised state, `[applications, rows, d]`.
    normalised: Vec<f32>,
    /// `1 / rms`, `[applications, rows]`.
    inv_rms: Vec<f32>,
}

impl NormTape {
    fn new(config: &NetworkConfig, rows: usize) -> Self {
        let rows = if config.state_norm { rows } else { 0 };
        Self { normalised: vec![0.0; rows * config.hidden_dim], inv_rms: vec![0.0; rows] }
    }

    /// f32 values that one row takes.
    fn values_per_row(config: &NetworkConfig) -> usize {
        if config.state_norm { config.hidden_dim + 1 } else { 0 }
    }

    /// The part of one application, where a state holds `values`, d in a row.
    pub fn slot(&mut self, slot: usize, values: usize, d: usize) -> (&mut [f32], &mut [f32]) {
        let place = |len: usize| slot * len..(slot + 1) * len;
        (&mut self.normalised[place(values)], &mut self.inv_rms[place(values / d)])
    }
}
