//! Everything a run can be told: the specification's `TRMConfig`, read from TOML and `key=value` overrides.

mod choices;
mod data;
mod flat;
mod layers;
mod network;
mod presets;
mod recursion;
mod run;
mod training;
mod validate;

pub use choices::{
    CheckpointActivations, ConstraintSchedule, Curriculum, CurriculumBy, Gates, Mixing, PositionTable,
    Positions, Precision, Pruning, State, Supervision, UnknownPruning, Update,
};
pub use data::DataConfig;
pub use layers::{ConfigError, ConfigLayers};
pub use network::NetworkConfig;
pub use presets::{ModelKind, PRESETS, Preset};
pub use recursion::Recursion;
pub use run::RunConfig;
pub use training::TrainingConfig;

use crate::sudoku::{CELLS, DIGITS};

/// Cells of a Sudoku times the channels of one cell (blank and the digits 1 to 9).
pub const INPUT_DIM: usize = CELLS * (1 + DIGITS);
/// Cells of a Sudoku times the digits 1 to 9.
pub const OUTPUT_DIM: usize = CELLS * DIGITS;

/// Configuration of network, training, data and run: the table of SPEC.md and what this program adds to it.
///
/// In files and on the command line the settings have no groups: they are one flat table with the documented spellings
/// (`L_layers`, not `l_layers`; both are read). There one more key can be given, [`recursion`](Recursion), which stands for
/// several of them and is never written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrmConfig {
    /// Settings of the network: all that inference needs.
    pub network: NetworkConfig,
    /// Settings of an optimiser step.
    pub training: TrainingConfig,
    /// The puzzles.
    pub data: DataConfig,
    /// Settings of the length of the run and of what it trades for memory.
    pub run: RunConfig,
}

impl TrmConfig {
    /// The settings as TOML, one line each, as [`ConfigLayers::toml`] reads them back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a flat table of numbers and strings is always TOML")
    }
}
