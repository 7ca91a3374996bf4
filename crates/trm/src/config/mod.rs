//! Everything a run can be told: the specification's `TRMConfig`, read from TOML and `key=value` overrides.

mod choices;
mod layers;
mod validate;

pub use choices::{
    CheckpointActivations, ConstraintSchedule, Curriculum, CurriculumBy, Gates, Mixing, PositionTable,
    Positions, Precision, State, Supervision, Update,
};
pub use layers::{ConfigError, ConfigLayers};

use crate::compress::Pruning;
use crate::sudoku::Units;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Cells of a Sudoku times the channels of one cell (blank and the digits 1 to 9).
pub const INPUT_DIM: usize = 81 * 10;
/// Cells of a Sudoku times the digits 1 to 9.
pub const OUTPUT_DIM: usize = 81 * 9;

/// Configuration of model, training and data: the table of SPEC.md and what this program adds to it.
///
/// In files the documented spellings are used (`L_layers`, not `l_layers`); both are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrmConfig {
    /// Length of the one-hot input, 81 cells x 10 channels; always 810.
    pub input_dim: usize,
    /// Width d of the vectors of the states y and z.
    pub hidden_dim: usize,
    /// What one vector of the states stands for.
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
    /// Whether the recursion assumes digits where it is certain of nothing more, one more after every segment, and takes back those
    /// that its answer speaks against ([`crate::model::revise`]).
    pub hypotheses: bool,
    /// Width of the blocks' inner layer, in multiples of d.
    pub expansion: usize,
    /// Width of the blocks' inner layer where it is no multiple of d: what structured pruning left of it. 0 for
    /// `expansion * hidden_dim`.
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
    /// Where the gates act.
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
    /// ([`crate::model::Params::init`]).
    pub init_scale: f64,

    /// Which answers the loss is taken of.
    pub supervision: Supervision,
    /// Weight of the penalties for digits whose expected count in a unit is not one; 0 switches them off (SPEC.md).
    pub constraint_weight: f64,
    /// The kinds of units that are penalised: some of row, column and box, separated by commas.
    pub constraint_kinds: String,
    /// How the weight goes through the run.
    pub constraint_schedule: ConstraintSchedule,
    /// Supervision segments: optimiser steps for which a puzzle stays in the batch, each starting from the states that the
    /// last one ended in, until its board is right. 1 starts every step with new puzzles (SPEC.md).
    pub segments: usize,
    /// Whether a puzzle leaves the batch once its board is right, before its segments are over.
    pub halting: bool,
    /// Highest learning rate.
    pub lr: f64,
    /// Decoupled weight decay of AdamW, on weight matrices only.
    pub weight_decay: f64,
    /// Decay rate of AdamW's first moment.
    pub beta1: f64,
    /// Decay rate of AdamW's second moment.
    pub beta2: f64,
    /// Puzzles in one optimiser step.
    pub batch_size: usize,
    /// Passes over the training puzzles.
    pub epochs: usize,
    /// Steps over which the learning rate rises from zero before the cosine starts.
    pub warmup_steps: usize,
    /// Largest L2 norm of the whole gradient; longer ones are scaled down to it.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights that is validated and saved; 0 switches it off.
    pub ema: f64,
    /// Epochs without a better validation accuracy before training stops; 0 never stops early.
    pub patience: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Which weights of the blocks become zero, more and more over the first three quarters of the run.
    pub prune: Pruning,
    /// Share of them in the end, if any do.
    pub sparsity: f64,
    /// Number format of matrix products; states, sums, weights and optimiser are f32.
    pub precision: Precision,
    /// Memory for time: what the forward pass keeps.
    pub checkpoint_activations: CheckpointActivations,

    /// CSV files of puzzles and solutions, separated by commas; generated puzzles come before their rows.
    pub data: String,
    /// Most rows of the file that are used.
    pub max_samples: usize,
    /// Rows at the end of the file kept out of training and validation, evaluated once at the end.
    pub holdout_rows: usize,
    /// Share of the rows that is set aside for validation.
    pub val_fraction: f64,
    /// Replace each training puzzle by a random symmetric one every time it is seen.
    pub augment: bool,
    /// Times that an epoch passes over each training puzzle, every time under another symmetry if `augment` is set.
    pub augment_copies: usize,
    /// Share of the training puzzles in which some blanks, from none to all of them, are filled in from the solution:
    /// every difficulty between the puzzle's own and none, and the boards that a solver meets on its way.
    pub reveal: f64,
    /// Share of the training puzzles that are generated when they are drawn, each a new one: an endless stream beside those
    /// of files. Their givens are those of generated puzzles.
    pub fresh: f64,
    /// In which order puzzles of different difficulty are met (SPEC.md).
    pub curriculum: Curriculum,
    /// What makes a puzzle difficult.
    pub curriculum_by: CurriculumBy,
    /// Stages of the curriculum: the last draws from all training puzzles, the first from one part in so many.
    pub curriculum_stages: usize,
    /// Share of the run that is divided evenly among the stages, unless competence decides; the last goes on to the end.
    pub curriculum_until: f64,
    /// Share of the cells right, of validation puzzles as hard as the newest stage's, at which competence opens the next;
    /// of the epoch's training cells where there are no such puzzles.
    pub curriculum_threshold: f64,
    /// Puzzles to generate.
    pub generate_samples: usize,
    /// Fewest givens of a generated puzzle.
    pub generate_givens_min: usize,
    /// Most givens of a generated puzzle.
    pub generate_givens_max: usize,
}

impl Default for TrmConfig {
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
            constraint_weight: 0.0,
            constraint_kinds: "row,column,box".into(),
            constraint_schedule: ConstraintSchedule::Constant,
            segments: 1,
            halting: true,
            lr: 1e-4,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            batch_size: 64,
            epochs: 50,
            warmup_steps: 0,
            clip_norm: 1.0,
            ema: 0.0,
            patience: 5,
            seed: 42,
            prune: Pruning::None,
            sparsity: 0.5,
            precision: Precision::Auto,
            checkpoint_activations: CheckpointActivations::None,
            data: String::new(),
            max_samples: 100_000,
            holdout_rows: 0,
            val_fraction: 0.05,
            augment: false,
            augment_copies: 1,
            reveal: 0.0,
            fresh: 0.0,
            curriculum: Curriculum::None,
            curriculum_by: CurriculumBy::Guesses,
            curriculum_stages: 5,
            curriculum_until: 0.5,
            curriculum_threshold: 0.7,
            generate_samples: 0,
            generate_givens_min: 30,
            generate_givens_max: 40,
        }
    }
}

impl TrmConfig {
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

    /// The names in `constraint_kinds`.
    fn constraint_names(&self) -> impl Iterator<Item = &str> {
        self.constraint_kinds.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// Whether rows, columns and boxes are penalised.
    pub fn constrains(&self) -> [bool; 3] {
        ["row", "column", "box"].map(|kind| self.constraint_names().any(|name| name == kind))
    }

    /// The learned vectors that are added to the embedding of a cell.
    pub fn position_tables(&self) -> Vec<PositionTable> {
        const CELLS: [usize; 81] = {
            let mut cells = [0; 81];
            let mut cell = 0;
            while cell < 81 {
                cells[cell] = cell;
                cell += 1;
            }
            cells
        };
        match self.positions {
            Positions::None | Positions::Rotary => Vec::new(),
            Positions::Learned => vec![PositionTable { name: "cell", places: 81, place_of: &CELLS }],
            Positions::Units => Units::of_cells()
                .iter()
                .map(|kind| PositionTable { name: kind.name, places: 9, place_of: &kind.unit_of })
                .collect(),
        }
    }

    /// The settings as TOML, one line each, as [`ConfigLayers::toml`] reads them back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a flat struct of numbers and strings is always TOML")
    }
}
