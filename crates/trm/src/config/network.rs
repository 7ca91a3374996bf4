//! Settings of the network: what its weights are, how it recurs, and how it is read.

use super::{
    Gates, INPUT_DIM, Mixing, OUTPUT_DIM, PositionTable, Positions, Precision, State, Supervision, Update,
};
use crate::sudoku::{CELLS, Units};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of the network: everything that [`crate::model::Model`] reads, in training and afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Length of the one-hot input, 81 cells x 10 channels; always 810.
    pub input_dim: usize,
    /// Width d of the vectors of the states y and z.
    pub hidden_dim: usize,
    /// The thing that one vector of the states stands for: the whole board, a cell or a candidate.
    pub state: State,
    /// How vectors learn of each other.
    pub mixing: Mixing,
    /// Heads of attention.
    pub heads: usize,
    /// How cells know where they are.
    pub positions: Positions,
    /// Whether the softmax of the answer goes back into the state, through a learned matrix added to x_emb, at the start of
    /// every outer cycle but the first.
    pub feedback: bool,
    /// Whether the recursion makes hypotheses: after every segment it assumes one more digit where it is certain of
    /// nothing more, and it takes back digits that its answer speaks against.
    pub hypotheses: bool,
    /// Width of the blocks' inner layer, in multiples of d.
    pub expansion: usize,
    /// Width of the inner layer of the blocks where it is no multiple of `hidden_dim`, as after structured pruning. 0
    /// stands for `expansion * hidden_dim`.
    pub mlp_dim: usize,
    /// Number of logits, 81 cells x 9 digits; always 729.
    pub output_dim: usize,
    /// Residual blocks of the latent stack R.
    #[serde(rename = "L_layers")]
    pub l_layers: usize,
    /// Inner latent refinements in one outer cycle.
    #[serde(rename = "L_cycles")]
    pub l_cycles: usize,
    /// Outer cycles.
    #[serde(rename = "H_cycles")]
    pub h_cycles: usize,
    /// Residual blocks of the output stack O.
    pub output_layers: usize,
    /// Probability that dropout clears a value inside the blocks, in `[0, 1)`.
    pub dropout: f64,
    /// The place in the recursion where the gates act.
    pub update: Update,
    /// Whether a state is divided by its root mean square after every update, so that it stays in range however many
    /// cycles follow.
    pub state_norm: bool,
    /// Standard deviation of the random numbers that z starts from; 0 starts from zero (SPEC.md).
    pub init_noise: f64,
    /// Whether the answer is read off LayerNorm(y) instead of y.
    pub output_norm: bool,
    /// Whether a gate is one number or has one for each channel.
    pub gates: Gates,
    /// First value of both gates, everywhere.
    pub gate_init: f64,
    /// Size of the first states, and of the weights that make them: the smaller, the more a step of one learning rate changes
    /// ([`crate::model::Network::first_weights`]).
    pub init_scale: f64,
    /// Which answers the loss is taken of.
    pub supervision: Supervision,
    /// Supervision segments: optimiser steps for which a puzzle stays in the batch, each starting from the states that the
    /// last one ended in, until its board is right. 1 starts every step with new puzzles (SPEC.md).
    pub segments: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Number format of matrix products; states, sums, weights and optimiser are f32.
    pub precision: Precision,
}

impl Default for NetworkConfig {
    /// The documented settings.
    fn default() -> Self {
        Self {
            input_dim: INPUT_DIM,
            hidden_dim: 512,
            state: State::Board,
            mixing: Mixing::None,
            heads: 4,
            positions: Positions::None,
            feedback: false,
            hypotheses: false,
            expansion: 4,
            mlp_dim: 0,
            output_dim: OUTPUT_DIM,
            l_layers: 3,
            l_cycles: 8,
            h_cycles: 4,
            output_layers: 2,
            dropout: 0.1,
            update: Update::Documented,
            state_norm: false,
            init_noise: 0.0,
            output_norm: false,
            gates: Gates::Scalar,
            gate_init: 0.1,
            init_scale: 1.0,
            supervision: Supervision::Last,
            segments: 1,
            seed: 42,
            precision: Precision::Auto,
        }
    }
}

impl NetworkConfig {
    /// Width of the blocks' inner layer.
    pub fn mlp_width(&self) -> usize {
        if self.mlp_dim > 0 { self.mlp_dim } else { self.expansion * self.hidden_dim }
    }

    /// The kinds of units whose means are mixed in.
    pub fn units(&self) -> Arc<[Units]> {
        match self.mixing {
            Mixing::UnitMean => self.state.units(),
            _ => Arc::new([]),
        }
    }

    /// The learned vectors that are added to the embedding of a cell.
    pub fn position_tables(&self) -> Vec<PositionTable> {
        const EVERY_CELL: [usize; CELLS] = {
            let mut cells = [0; CELLS];
            let mut cell = 0;
            while cell < CELLS {
                cells[cell] = cell;
                cell += 1;
            }
            cells
        };
        match self.positions {
            Positions::None | Positions::Rotary => Vec::new(),
            Positions::Learned => vec![PositionTable { name: "cell", places: CELLS, place_of: &EVERY_CELL }],
            Positions::Units => Units::of_cells()
                .iter()
                .map(|kind| PositionTable { name: kind.name, places: 9, place_of: &kind.unit_of })
                .collect(),
        }
    }
}
