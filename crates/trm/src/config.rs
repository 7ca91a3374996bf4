//! Everything a run can be told: the specification's `TRMConfig`, read from TOML and `key=value` overrides.
//!
//! Layers are merged as tables (defaults, then preset, then file, then overrides) and read once, so that the
//! last one wins and an unknown key is refused whichever layer it came from.

use crate::compress::Pruning;
use crate::ops::Format;
use crate::sudoku::Units;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Cells of a Sudoku times the channels of one cell (blank and the digits 1 to 9).
pub const INPUT_DIM: usize = 81 * 10;
/// Cells of a Sudoku times the digits 1 to 9.
pub const OUTPUT_DIM: usize = 81 * 9;

/// How a state takes in what the block stack computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// `z <- z + alpha * R(x_emb + y + z)`: the gate is applied once, outside the stack (SPEC.md).
    Documented,
    /// `c = x_emb + y + z; c <- c + alpha * f(c)` for each block; `z <- c`: the Python original.
    Original,
    /// One state, from which the answer is read off: `c = x_emb + z; c <- c + f(c)` for each block; `z <- c; y <- z`.
    Single,
}

/// Number format of matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 where the CPU multiplies it natively, else f32.
    Auto,
    /// f32
    F32,
    /// bfloat16 operands, f32 sums; slow where the CPU does not multiply bfloat16.
    Bf16,
}

impl Precision {
    /// The format on this machine.
    pub fn format(self) -> Format {
        match self {
            Self::Auto => Format::fastest(),
            Self::F32 => Format::F32,
            Self::Bf16 => Format::Bf16,
        }
    }
}

/// What one vector of the states y and z stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The whole board: one vector (SPEC.md).
    Board,
    /// A cell: 81 vectors with the same weights for all.
    Cell,
    /// A digit in a cell: 729 vectors with the same weights for all, so that the model knows no digit from another.
    Candidate,
}

impl State {
    /// Vectors of one puzzle.
    pub fn tokens(self) -> usize {
        match self {
            Self::Board => 1,
            Self::Cell => 81,
            Self::Candidate => 729,
        }
    }

    /// The kinds of units that its vectors form.
    pub fn units(self) -> &'static [Units] {
        match self {
            Self::Board => &[],
            Self::Cell => Units::of_cells(),
            Self::Candidate => Units::of_candidates(),
        }
    }

    /// Length of each group of the one-hot input.
    pub fn channels(self) -> usize {
        match self {
            Self::Board | Self::Cell => 10,
            Self::Candidate => 3,
        }
    }

    /// What one vector is embedded from and what is read off it: (length of the one-hot input, logits).
    pub fn widths(self) -> [usize; 2] {
        match self {
            Self::Board => [INPUT_DIM, OUTPUT_DIM],
            Self::Cell => [10, 9],
            Self::Candidate => [3, 1],
        }
    }
}

/// How the vectors of a puzzle learn of each other inside the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixing {
    /// Not at all.
    None,
    /// Each sees the mean of its row, column and box (and, among candidates, of its cell), each kind through a matrix
    /// of its own.
    UnitMean,
    /// Attention of every cell to all cells.
    Attention,
    /// Attention whose heads see only the row, the column or the box of a cell, a third of them each.
    UnitAttention,
    /// An MLP across the 81 cells, the same for every value of their vectors.
    TokenMlp,
}

impl Mixing {
    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::UnitMean => "unit_mean",
            Self::Attention => "attention",
            Self::UnitAttention => "unit_attention",
            Self::TokenMlp => "token_mlp",
        }
    }

    /// Whether cells attend to each other.
    pub fn attends(self) -> bool {
        matches!(self, Self::Attention | Self::UnitAttention)
    }
}

/// How the model knows where a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// Not at all, but for what mixing tells it.
    None,
    /// A learned vector for each of the 81 cells.
    Learned,
    /// Learned vectors for its row, its column and its box.
    Units,
    /// Attention turns queries and keys with the row and the column.
    Rotary,
}

/// Learned vectors for the places that a cell can have.
#[derive(Clone, Copy, Debug)]
pub struct PositionTable {
    /// `cell`, `row`, `column` or `box`.
    pub name: &'static str,
    /// Number of vectors.
    pub places: usize,
    /// Which of them each of the 81 cells has.
    pub place_of: &'static [usize],
}

/// Which answers the loss is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Supervision {
    /// The answer after the last outer cycle (SPEC.md).
    Last,
    /// The answer after every outer cycle: the mean of their losses.
    Every,
}

/// What is kept of the forward pass for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointActivations {
    /// Every activation of every cycle: fastest.
    None,
    /// The states at each outer cycle; the rest is computed again: least memory, the same gradients.
    Cycle,
}

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
    /// First value of both gates.
    pub gate_init: f64,

    /// Which answers the loss is taken of.
    pub supervision: Supervision,
    /// Supervision segments: optimiser steps for which a puzzle stays in the batch, each starting from the states that the
    /// last one ended in, until its board is right. 1 starts every step with new puzzles (SPEC.md).
    pub segments: usize,
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
            gate_init: 0.1,
            supervision: Supervision::Last,
            segments: 1,
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
            generate_samples: 0,
            generate_givens_min: 30,
            generate_givens_max: 40,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// File or option the text came from.
        origin: String,
        /// The parser's explanation with line and column.
        message: String,
    },
    /// A key that is no field of [`TrmConfig`].
    #[error("{origin}: unknown setting `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        /// File or option the key came from.
        origin: String,
        /// The key as written.
        key: String,
        /// The known key with the most similar spelling.
        nearest: String,
    },
    /// A value of the wrong type.
    #[error("settings: {0}")]
    Type(String),
    /// An override that is not `key=value`.
    #[error("--set {0}: expected key=value, as in --set hidden_dim=256")]
    Override(String),
    /// A value outside its range.
    #[error("setting {key} = {value}: {expected}")]
    Range {
        /// Name of the field.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
}

/// Merges layers of settings; later layers win.
#[derive(Clone, Debug, Default)]
pub struct ConfigLayers {
    table: Table,
}

impl ConfigLayers {
    /// Adds the settings of a TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// TOML that does not parse, or a key that does not exist.
    pub fn toml(mut self, text: &str, origin: &str) -> Result<Self, ConfigError> {
        let layer: Table = text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax {
            origin: origin.into(),
            message: e.to_string(),
        })?;
        for (key, value) in layer {
            self.insert(&key, value, origin)?;
        }
        Ok(self)
    }

    /// Adds one `key=value`; the value is TOML, or a bare string.
    ///
    /// # Errors
    /// No `=`, or a key that does not exist.
    pub fn set(mut self, assignment: &str) -> Result<Self, ConfigError> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| ConfigError::Override(assignment.to_string()))?;
        let value = value.trim();
        let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_string()));
        self.insert(key.trim(), value, "--set")?;
        Ok(self)
    }

    /// Reads the merged layers.
    ///
    /// # Errors
    /// A value of the wrong type or out of range.
    pub fn build(self) -> Result<TrmConfig, ConfigError> {
        let config: TrmConfig = self
            .table
            .try_into()
            .map_err(|e: toml::de::Error| ConfigError::Type(e.to_string().trim().replace('\n', " ")))?;
        config.validate()?;
        Ok(config)
    }

    fn insert(&mut self, key: &str, value: Value, origin: &str) -> Result<(), ConfigError> {
        let known = known_keys();
        let Some(name) = known.iter().find(|name| same_key(name, key)) else {
            let nearest = known
                .iter()
                .max_by(|a, b| {
                    let score = |name: &str| strsim::jaro_winkler(&fold(name), &fold(key));
                    score(a).total_cmp(&score(b))
                })
                .cloned()
                .unwrap_or_default();
            return Err(ConfigError::UnknownKey { origin: origin.into(), key: key.into(), nearest });
        };
        // A whole number is a fine value for a setting that takes fractions.
        let value = match (value, known_value(name)) {
            (Value::Integer(i), Some(Value::Float(_))) => Value::Float(i as f64),
            (value, _) => value,
        };
        self.table.insert(name.clone(), value);
        Ok(())
    }
}

impl TrmConfig {
    /// Width of the blocks' inner layer.
    pub fn mlp_width(&self) -> usize {
        if self.mlp_dim > 0 { self.mlp_dim } else { self.expansion * self.hidden_dim }
    }

    /// The kinds of units whose means are mixed in.
    pub fn units(&self) -> &'static [Units] {
        match self.mixing {
            Mixing::UnitMean => self.state.units(),
            _ => &[],
        }
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

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let range = |ok: bool, key, value: &dyn std::fmt::Display, expected| {
            if ok { Ok(()) } else { Err(ConfigError::Range { key, value: value.to_string(), expected }) }
        };
        let fraction = |v: f64| (0.0..1.0).contains(&v);
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let size = |v: usize, most: usize| (1..=most).contains(&v);
        range(self.input_dim == INPUT_DIM, "input_dim", &self.input_dim, "81 cells x 10 channels = 810")?;
        range(self.output_dim == OUTPUT_DIM, "output_dim", &self.output_dim, "81 cells x 9 digits = 729")?;
        range(size(self.hidden_dim, 65_536), "hidden_dim", &self.hidden_dim, "1 to 65536")?;
        range(size(self.expansion, 256), "expansion", &self.expansion, "1 to 256")?;
        range(self.mlp_dim <= 1 << 24, "mlp_dim", &self.mlp_dim, "0 (expansion * hidden_dim) to 16777216")?;
        self.validate_cells()?;
        range(size(self.l_layers, 1024), "L_layers", &self.l_layers, "1 to 1024")?;
        let single = self.update == Update::Single;
        range(
            if single { self.output_layers == 0 } else { size(self.output_layers, 1024) },
            "output_layers",
            &self.output_layers,
            if single { "0 with update = \"single\": the answer is read off z" } else { "1 to 1024" },
        )?;
        range(size(self.l_cycles, 65_536), "L_cycles", &self.l_cycles, "1 to 65536")?;
        range(size(self.h_cycles, 65_536), "H_cycles", &self.h_cycles, "1 to 65536")?;
        range(
            fraction(self.dropout),
            "dropout",
            &self.dropout,
            "a probability from 0 up to, not including, 1",
        )?;
        range(
            self.init_noise.is_finite() && self.init_noise >= 0.0,
            "init_noise",
            &self.init_noise,
            "0 or more",
        )?;
        range(size(self.segments, 1 << 16), "segments", &self.segments, "1 to 65536")?;
        range(self.gate_init.is_finite(), "gate_init", &self.gate_init, "a finite number")?;
        range(positive(self.lr), "lr", &self.lr, "a number above 0")?;
        range(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            "weight_decay",
            &self.weight_decay,
            "0 or more",
        )?;
        range(fraction(self.beta1), "beta1", &self.beta1, "from 0 up to, not including, 1")?;
        range(fraction(self.beta2), "beta2", &self.beta2, "from 0 up to, not including, 1")?;
        range(size(self.batch_size, 1 << 24), "batch_size", &self.batch_size, "1 to 16777216")?;
        range(size(self.epochs, 1 << 24), "epochs", &self.epochs, "1 to 16777216")?;
        range(positive(self.clip_norm), "clip_norm", &self.clip_norm, "a number above 0")?;
        range(fraction(self.ema), "ema", &self.ema, "0 (off) up to, not including, 1")?;
        range(size(self.augment_copies, 1 << 24), "augment_copies", &self.augment_copies, "1 to 16777216")?;
        range((0.0..=1.0).contains(&self.reveal), "reveal", &self.reveal, "from 0 to 1")?;
        range(
            self.prune.has(self.sparsity),
            "sparsity",
            &self.sparsity,
            "from 0 to 0.99; with prune = \"2:4\", two of four, 0.5",
        )?;
        range(self.max_samples > 0, "max_samples", &self.max_samples, "1 or more")?;
        range(
            fraction(self.val_fraction),
            "val_fraction",
            &self.val_fraction,
            "from 0 up to, not including, 1",
        )?;
        let (fewest, most) = (self.generate_givens_min, self.generate_givens_max);
        range((20..=81).contains(&fewest), "generate_givens_min", &fewest, "20 to 81")?;
        range((fewest..=81).contains(&most), "generate_givens_max", &most, "generate_givens_min to 81")
    }

    /// What only some kinds of states can have.
    fn validate_cells(&self) -> Result<(), ConfigError> {
        let refuse = |key, value: &dyn std::fmt::Display, expected| {
            Err(ConfigError::Range { key, value: value.to_string(), expected })
        };
        match (self.mixing, self.state) {
            (Mixing::None, _) | (_, State::Cell) | (Mixing::UnitMean, State::Candidate) => {}
            (mixing, State::Board) => {
                return refuse(
                    "mixing",
                    &mixing.name(),
                    "none with state = \"board\": there is one vector only",
                );
            }
            (mixing, _) => return refuse("mixing", &mixing.name(), "needs state = \"cell\""),
        }
        if self.mixing.attends() {
            let heads = self.heads;
            if heads == 0 || !self.hidden_dim.is_multiple_of(heads) {
                return refuse("heads", &heads, "a divisor of hidden_dim");
            }
            if self.mixing == Mixing::UnitAttention && !heads.is_multiple_of(3) {
                return refuse("heads", &heads, "a multiple of 3 with mixing = \"unit_attention\"");
            }
        }
        if self.positions != Positions::None && self.state != State::Cell {
            return refuse("positions", &"not none", "none unless state = \"cell\"");
        }
        if self.feedback && self.state != State::Cell {
            return refuse("feedback", &true, "false unless state = \"cell\"");
        }
        if self.positions == Positions::Rotary {
            if !self.mixing.attends() {
                return refuse("positions", &"rotary", "needs mixing = \"attention\" or \"unit_attention\"");
            }
            if !self.hidden_dim.is_multiple_of(4 * self.heads) {
                return refuse("hidden_dim", &self.hidden_dim, "a multiple of 4 heads with rotary positions");
            }
        }
        Ok(())
    }
}

fn defaults() -> Table {
    Table::try_from(TrmConfig::default()).expect("the defaults are a table")
}

fn known_keys() -> Vec<String> {
    defaults().keys().cloned().collect()
}

fn known_value(key: &str) -> Option<Value> {
    defaults().get(key).cloned()
}

/// `L_cycles`, `l_cycles`, `LCycles` and `L-cycles` are one name, and so are `hidden_dim` and `hiddenDim`.
fn fold(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn same_key(known: &str, key: &str) -> bool {
    let key = fold(key);
    fold(known) == if key == "learningrate" { "lr" } else { key.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_written_is_toml_read() {
        let config = TrmConfig { l_cycles: 5, data: "a \"b\".csv".into(), ..TrmConfig::default() };
        let back = ConfigLayers::default().toml(&config.to_toml(), "t").unwrap().build().unwrap();
        assert_eq!(back, config);
    }

    #[test]
    fn documented_spellings_are_accepted_and_the_last_layer_wins() {
        let config = ConfigLayers::default()
            .toml("hiddenDim = 64\nL_cycles = 2\nl_layers = 1", "preset")
            .and_then(|layers| layers.set("H_cycles=3"))
            .and_then(|layers| layers.set("learning_rate = 1"))
            .and_then(|layers| layers.set("update=original"))
            .and_then(|layers| layers.set("hidden_dim=32"))
            .and_then(ConfigLayers::build)
            .unwrap();
        assert_eq!((config.hidden_dim, config.l_cycles, config.l_layers, config.h_cycles), (32, 2, 1, 3));
        assert_eq!((config.lr, config.update), (1.0, Update::Original));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = ConfigLayers::default().set("hiden_dim=3").unwrap_err().to_string();
        assert!(error.contains("`hiden_dim`") && error.contains("`hidden_dim`"), "{error}");
        let error = ConfigLayers::default().toml("L_cycle = 3", "my.toml").unwrap_err().to_string();
        assert!(error.starts_with("my.toml") && error.contains("`L_cycles`"), "{error}");
    }

    #[test]
    fn heads_and_positions_have_to_fit_the_cells() {
        let build = |settings: &str| {
            let text = format!("state = \"cell\"\n{}", settings.replace(' ', "\n"));
            ConfigLayers::default().toml(&text, "t").and_then(ConfigLayers::build).map_err(|e| e.to_string())
        };
        for settings in [
            "mixing='attention' positions='rotary'",
            "mixing='unit_attention' heads=6 hidden_dim=96 positions='units'",
            "mixing='token_mlp' positions='learned'",
        ] {
            assert!(build(settings).is_ok(), "{settings}: {:?}", build(settings));
        }
        for (settings, word) in [
            ("mixing='attention' heads=0", "divisor"),
            ("mixing='attention' heads=5", "divisor"),
            ("mixing='unit_attention' heads=4", "multiple of 3"),
            ("mixing='unit_mean' positions='rotary'", "attention"),
            ("mixing='attention' heads=2 hidden_dim=12 positions='rotary'", "multiple of 4 heads"),
        ] {
            let text = build(settings).unwrap_err();
            assert!(text.contains(word), "{settings}: {text}");
        }
        let candidates = "mixing = \"attention\"\nstate = \"candidate\"";
        assert!(ConfigLayers::default().toml(candidates, "t").and_then(ConfigLayers::build).is_err());
    }

    #[test]
    fn wrong_types_and_ranges_are_refused_by_name() {
        let error = |set: &str| {
            ConfigLayers::default().set(set).and_then(ConfigLayers::build).unwrap_err().to_string()
        };
        for (set, word) in [
            ("hidden_dim=big", "hidden_dim"),
            ("dropout=1", "dropout"),
            ("lr=nan", "lr"),
            ("batch_size=0", "batch_size"),
            ("input_dim=811", "810"),
            ("update=other", "documented"),
            ("mixing=attention", "one vector only"),
            ("feedback=true", "state = \"cell\""),
            ("positions=units", "state = \"cell\""),
        ] {
            let text = error(set);
            assert!(text.contains(word), "{set}: {text}");
        }
    }
}
