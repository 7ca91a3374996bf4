//! Sizes and settings of a model of the paper: those its weights show, and those they do not.

use super::Network;
use super::board::Board;
use crate::config::Precision;
use crate::model::Budget;
use crate::network::Room;
use crate::sudoku::CELLS;
use crate::tensor::StateDict;
use serde::{Deserialize, Serialize};

/// The settings of a model of the paper, under the names of the official program where it has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Channels of a token, d.
    pub hidden_size: usize,
    /// Layers of the one network.
    #[serde(rename = "L_layers")]
    pub l_layers: usize,
    /// Refinements of z_L in an outer cycle.
    #[serde(rename = "L_cycles")]
    pub l_cycles: usize,
    /// Outer cycles of a segment.
    #[serde(rename = "H_cycles")]
    pub h_cycles: usize,
    /// Whether tokens are mixed by a SwiGLU over tokens instead of attention.
    pub mlp_t: bool,
    /// Width inside the SwiGLU over channels.
    pub mlp_width: usize,
    /// Width inside the SwiGLU over tokens, where there is one.
    pub mlp_t_width: usize,
    /// Attention heads, where there is attention.
    pub num_heads: usize,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Tokens before the 81 cells.
    pub puzzle_emb_len: usize,
    /// Values of a puzzle embedding. It fills the first of the `puzzle_emb_len` tokens; zeros fill the rest.
    pub puzzle_emb_ndim: usize,
    /// Puzzle embeddings in the file; Sudoku uses the first.
    pub num_puzzle_identifiers: usize,
    /// Most segments of one answer.
    pub halt_max_steps: usize,
    /// Number format of matrix products.
    pub precision: Precision,
}

/// Why settings do not make a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML, or has a setting that is unknown or of another type.
    #[error("{0}")]
    Syntax(String),
    /// A setting is out of range.
    #[error("{name} = {value}: it must be {range}")]
    Range {
        /// Name of the setting.
        name: &'static str,
        /// Value of the setting.
        value: String,
        /// The values that are allowed.
        range: &'static str,
    },
}

impl Default for Config {
    /// The published Sudoku model with attention.
    fn default() -> Self {
        Self {
            hidden_size: 512,
            l_layers: 2,
            l_cycles: 6,
            h_cycles: 3,
            mlp_t: false,
            mlp_width: 1536,
            mlp_t_width: 512,
            num_heads: 8,
            rope_theta: 10_000.0,
            puzzle_emb_len: 16,
            puzzle_emb_ndim: 512,
            num_puzzle_identifiers: 1,
            halt_max_steps: 16,
            precision: Precision::Auto,
        }
    }
}

impl Config {
    /// Tokens of a puzzle: the prefix and the cells.
    pub fn tokens(&self) -> usize {
        self.puzzle_emb_len + CELLS
    }

    /// Values of one state of a puzzle.
    pub fn state_len(&self) -> usize {
        self.tokens() * self.hidden_size
    }

    /// The settings that a state dict shows, the rest as by default: cycles, heads, halting, the base of the angles and,
    /// without `mlp_t`, the length of the prefix. Shapes that make no sense are left for the check of the tensors.
    pub fn of_tensors(state: &StateDict) -> Self {
        let shape = |name: &str| {
            let tensor = state.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
            tensor.and_then(|tensor| <[usize; 2]>::try_from(tensor.shape.as_slice()).ok())
        };
        let first_layer = |part: &str| shape(&format!("inner.L_level.layers.0.{part}.weight"));
        let mut config = Self::default();
        if let Some([_, d]) = shape("inner.embed_tokens.embedding_weight") {
            config.hidden_size = d;
        }
        if let Some([identifiers, values]) = shape("inner.puzzle_emb.weights") {
            (config.num_puzzle_identifiers, config.puzzle_emb_ndim) = (identifiers, values);
        }
        if let Some([_, width]) = first_layer("mlp.down_proj") {
            config.mlp_width = width;
        }
        if let Some([tokens, width]) = first_layer("mlp_t.down_proj") {
            config.mlp_t = true;
            (config.mlp_t_width, config.puzzle_emb_len) = (width, tokens.saturating_sub(CELLS));
        }
        let is_layer = |i: usize| {
            let start = format!("inner.L_level.layers.{i}.");
            state.iter().any(|(name, _)| name.starts_with(&start))
        };
        config.l_layers = (0..).take_while(|i| is_layer(*i)).count();
        config
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }

    /// Settings from TOML. Settings that the text does not have get their defaults.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown name, a value of another type or out of range.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// A copy of these settings with some of them changed, each given as `key=value`.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown name, a value of another type or out of range.
    pub fn with(&self, assignments: &[impl AsRef<str>]) -> Result<Self, ConfigError> {
        let config = with_assignments(self, assignments)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Far above any real model, and low enough that no product of a few sizes overflows.
        const MOST: usize = 1 << 15;
        let range = |right: bool, name, value: &dyn ToString, range| {
            let error = || ConfigError::Range { name, value: value.to_string(), range };
            if right { Ok(()) } else { Err(error()) }
        };
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("L_layers", self.l_layers),
            ("L_cycles", self.l_cycles),
            ("H_cycles", self.h_cycles),
            ("mlp_width", self.mlp_width),
            ("mlp_t_width", self.mlp_t_width),
            ("num_heads", self.num_heads),
            ("puzzle_emb_ndim", self.puzzle_emb_ndim),
            ("num_puzzle_identifiers", self.num_puzzle_identifiers),
            ("halt_max_steps", self.halt_max_steps),
        ];
        for (name, size) in sizes {
            range((1..=MOST).contains(&size), name, &size, "1 to 32768")?;
        }
        // Attention takes memory in the square of the tokens, and with it no tensor shows their number.
        let prefix = self.puzzle_emb_len;
        range((1..=1024).contains(&prefix), "puzzle_emb_len", &prefix, "1 to 1024")?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        range(positive(self.rope_theta), "rope_theta", &self.rope_theta, "a number above 0")?;
        let room = self.puzzle_emb_len * self.hidden_size;
        let ndim = self.puzzle_emb_ndim;
        range(ndim <= room, "puzzle_emb_ndim", &ndim, "at most puzzle_emb_len times hidden_size")?;
        let even = self.mlp_t || self.hidden_size.is_multiple_of(2 * self.num_heads);
        range(even, "num_heads", &self.num_heads, "a divisor of half the hidden_size")
    }

    /// Bytes that a puzzle in flight takes in training.
    pub fn activation_bytes(&self) -> u64 {
        let mut room = Room::plan();
        Board::new(&Network::new(self).0, self, true, &mut room);
        room.bytes()
    }

    /// The budget that the official program spends on an answer: `halt_max_steps` segments of `H_cycles` outer cycles.
    pub fn budget(&self) -> Budget {
        Budget { steps: self.halt_max_steps * self.h_cycles, restarts: 0, guesses: 0, seed: 0 }
    }

    /// Number of values of all tensors.
    pub fn parameter_count(&self) -> u64 {
        Network::layout(self).count()
    }
}

/// Some settings with a few changed, each given as `key=value`.
///
/// # Errors
/// A text of another form, an unknown name, a value of another type.
pub fn with_assignments<T: Serialize + for<'a> Deserialize<'a>>(
    settings: &T,
    assignments: &[impl AsRef<str>],
) -> Result<T, ConfigError> {
    let mut table = toml::Table::try_from(settings).expect("settings are plain values");
    for assignment in assignments.iter().map(AsRef::as_ref) {
        let wrong = |what: &str| ConfigError::Syntax(format!("{assignment}: {what}"));
        let (key, text) =
            assignment.split_once('=').ok_or_else(|| wrong("it is not of the form key=value"))?;
        let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
        // Texts need no quotation marks.
        let value = parsed.ok().and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| toml::Value::String(text.trim().to_string()));
        table.insert(key.trim().into(), value);
    }
    // Its whole text names the setting, on a line of its own.
    table
        .try_into()
        .map_err(|e: toml::de::Error| ConfigError::Syntax(e.to_string().trim().replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Weights;

    #[test]
    fn toml_written_is_toml_read_and_one_setting_can_be_changed() {
        let config = Config { mlp_t: true, puzzle_emb_len: 5, ..Config::default() };
        assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
        assert_eq!(config.with(&["num_heads = 4"]).unwrap(), Config { num_heads: 4, ..config.clone() });
        assert_eq!(config.with(&["precision = \"f32\""]).unwrap().precision, Precision::F32);
        assert_eq!(config.with(&["precision=f32"]).unwrap().precision, Precision::F32);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let config = Config::default();
        for (set, word) in [
            ("num_heads=7", "num_heads"),
            ("heads=4", "heads"),
            ("L_cycles=0", "L_cycles"),
            ("hidden_size=99999999999", "hidden_size"),
            ("puzzle_emb_ndim=32768", "puzzle_emb_len"),
            ("rope_theta=nan", "rope_theta"),
            ("mlp_t=3", "mlp_t"),
            ("num_heads", "key=value"),
            ("num_heads=", "num_heads"),
        ] {
            let error = config.with(&[set]).unwrap_err().to_string();
            assert!(error.contains(word), "{set}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_off_the_tensors() {
        for mlp_t in [false, true] {
            let config = Config { hidden_size: 6, l_layers: 3, mlp_t, mlp_width: 5, ..Config::default() };
            let config = Config { puzzle_emb_ndim: 4, num_puzzle_identifiers: 2, ..config };
            let layout = Network::layout(&config);
            let state = Weights::zeros(&layout).state_dict();
            assert_eq!(Config::of_tensors(&state), config);
        }
    }
}
