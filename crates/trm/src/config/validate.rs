//! Which values the settings may have.

use super::{
    ConfigError, DataConfig, INPUT_DIM, Mixing, NetworkConfig, OUTPUT_DIM, Positions, RunConfig, State,
    TrainingConfig, TrmConfig, Update,
};
use std::fmt::Display;

/// What is expected of a [`fraction`].
const BELOW_ONE: &str = "from 0 up to, not including, 1";

fn range(
    ok: bool,
    key: &'static str,
    value: &dyn Display,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::Range { key, value: value.to_string(), expected }) }
}

fn fraction(v: f64) -> bool {
    (0.0..1.0).contains(&v)
}

fn positive(v: f64) -> bool {
    v.is_finite() && v > 0.0
}

fn not_negative(v: f64) -> bool {
    v.is_finite() && v >= 0.0
}

fn size(v: usize, most: usize) -> bool {
    (1..=most).contains(&v)
}

impl TrmConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// The first setting out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.network.validate()?;
        self.training.validate()?;
        self.data.validate()?;
        self.run.validate()
    }
}

impl NetworkConfig {
    /// Checks every setting of the network against its range.
    ///
    /// # Errors
    /// The first setting out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_sizes()?;
        self.validate_cells()
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        range(self.input_dim == INPUT_DIM, "input_dim", &self.input_dim, "81 cells x 10 channels = 810")?;
        range(self.output_dim == OUTPUT_DIM, "output_dim", &self.output_dim, "81 cells x 9 digits = 729")?;
        range(size(self.hidden_dim, 65_536), "hidden_dim", &self.hidden_dim, "1 to 65536")?;
        range(size(self.expansion, 256), "expansion", &self.expansion, "1 to 256")?;
        range(self.mlp_dim <= 1 << 24, "mlp_dim", &self.mlp_dim, "0 (expansion * hidden_dim) to 16777216")?;
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
        range(size(self.segments, 1 << 16), "segments", &self.segments, "1 to 65536")?;
        let probability = "a probability from 0 up to, not including, 1";
        range(fraction(self.dropout), "dropout", &self.dropout, probability)?;
        range(not_negative(self.init_noise), "init_noise", &self.init_noise, "0 or more")?;
        range(self.gate_init.is_finite(), "gate_init", &self.gate_init, "a finite number")?;
        let undone = self.state_norm || self.output_norm;
        range(
            if undone { self.init_scale == 1.0 } else { positive(self.init_scale) },
            "init_scale",
            &self.init_scale,
            if undone { "1 with state_norm or output_norm, which undo it" } else { "a number above 0" },
        )
    }

    /// What only some kinds of states can have.
    fn validate_cells(&self) -> Result<(), ConfigError> {
        let refuse = |key, value: &dyn Display, expected| range(false, key, value, expected);
        match (self.mixing, self.state) {
            (Mixing::None, _)
            | (_, State::Cell)
            | (Mixing::UnitMean, State::Candidate | State::OpenCandidate) => {}
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
        if self.hypotheses && self.state != State::OpenCandidate {
            return refuse("hypotheses", &true, "false unless state = \"open_candidate\"");
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

impl TrainingConfig {
    /// Checks every setting of training against its range.
    ///
    /// # Errors
    /// The first setting out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range(
            not_negative(self.constraint_weight),
            "constraint_weight",
            &self.constraint_weight,
            "0 or more",
        )?;
        let known = self.constraint_names().filter(|name| matches!(*name, "row" | "column" | "box")).count();
        let kinds = "some of row, column and box, separated by commas, each once";
        let ok = (1..=3).contains(&known)
            && self.constraint_names().count() == self.constrains().iter().filter(|c| **c).count();
        range(ok, "constraint_kinds", &self.constraint_kinds, kinds)?;
        range(positive(self.lr), "lr", &self.lr, "a number above 0")?;
        range(not_negative(self.weight_decay), "weight_decay", &self.weight_decay, "0 or more")?;
        range(fraction(self.beta1), "beta1", &self.beta1, BELOW_ONE)?;
        range(fraction(self.beta2), "beta2", &self.beta2, BELOW_ONE)?;
        range(size(self.batch_size, 1 << 24), "batch_size", &self.batch_size, "1 to 16777216")?;
        range(positive(self.clip_norm), "clip_norm", &self.clip_norm, "a number above 0")?;
        range(fraction(self.ema), "ema", &self.ema, "0 (off) up to, not including, 1")?;
        range(
            self.prune.has(self.sparsity),
            "sparsity",
            &self.sparsity,
            "from 0 to 0.99; with prune = \"2:4\", two of four, 0.5",
        )
    }
}

impl DataConfig {
    /// Checks every setting of the puzzles against its range.
    ///
    /// # Errors
    /// The first setting out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range(size(self.augment_copies, 1 << 24), "augment_copies", &self.augment_copies, "1 to 16777216")?;
        range((0.0..=1.0).contains(&self.reveal), "reveal", &self.reveal, "from 0 to 1")?;
        range((0.0..=1.0).contains(&self.fresh), "fresh", &self.fresh, "from 0 to 1")?;
        range(size(self.curriculum_stages, 1000), "curriculum_stages", &self.curriculum_stages, "1 to 1000")?;
        let until = self.curriculum_until;
        range(positive(until) && until <= 1.0, "curriculum_until", &until, "above 0 up to 1")?;
        let threshold = self.curriculum_threshold;
        range((0.0..=1.0).contains(&threshold), "curriculum_threshold", &threshold, "from 0 to 1")?;
        range(self.max_samples > 0, "max_samples", &self.max_samples, "1 or more")?;
        range(fraction(self.val_fraction), "val_fraction", &self.val_fraction, BELOW_ONE)?;
        let (fewest, most) = (self.generate_givens_min, self.generate_givens_max);
        range((20..=81).contains(&fewest), "generate_givens_min", &fewest, "20 to 81")?;
        range((fewest..=81).contains(&most), "generate_givens_max", &most, "generate_givens_min to 81")
    }
}

impl RunConfig {
    /// Checks every setting of the run against its range.
    ///
    /// # Errors
    /// The first setting out of range, with what would be accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range(size(self.epochs, 1 << 24), "epochs", &self.epochs, "1 to 16777216")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigLayers;

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
            ("gates=matrix", "scalar"),
            ("constraint_weight=-1", "0 or more"),
            ("constraint_kinds=row,diagonal", "row, column and box"),
            ("constraint_kinds=row,row", "each once"),
            ("curriculum=hardest", "easy_to_hard"),
            ("curriculum_stages=0", "1 to 1000"),
            ("curriculum_until=0", "above 0"),
            ("curriculum_threshold=70", "from 0 to 1"),
            ("constraint_kinds=", "row, column and box"),
            ("mixing=attention", "one vector only"),
            ("feedback=true", "state = \"cell\""),
            ("positions=units", "state = \"cell\""),
            ("hypotheses=true", "state = \"open_candidate\""),
        ] {
            let text = error(set);
            assert!(text.contains(word), "{set}: {text}");
        }
    }
}
