//! Settings of a training run of the paper's model.

use super::{Config, ConfigError, Engine, with_assignments};
use crate::config::{DataConfig, Pruning};
use serde::{Deserialize, Serialize};

/// The model and how it is trained; in TOML the tables `model` and `training`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The model.
    pub model: Config,
    /// Settings of training.
    pub training: Training,
}

/// How the paper's model is trained; by default as its Sudoku models were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// CSV file of puzzles; without one, `generate_samples` are made.
    pub data: String,
    /// Number of puzzles to make.
    pub generate_samples: usize,
    /// Fewest givens of a puzzle that is made.
    pub generate_givens_min: usize,
    /// Most givens of a puzzle that is made.
    pub generate_givens_max: usize,
    /// Most rows of the file that are used for training and validation.
    pub max_samples: usize,
    /// Share of the puzzles that are set aside for validation.
    pub val_fraction: f64,
    /// Rows at the end of the file that are kept for the final evaluation.
    pub holdout_rows: usize,
    /// Puzzles are seen through random symmetries.
    pub augment: bool,
    /// Puzzles of a step.
    pub batch_size: usize,
    /// Optimiser steps of the run.
    pub steps: u64,
    /// Steps from one validation to the next.
    pub eval_every: u64,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Steps of the linear warm-up.
    pub warmup_steps: u64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay of every tensor.
    pub weight_decay: f64,
    /// Learning rate of the puzzle embedding, which moves by the sign of its gradient.
    pub puzzle_emb_lr: f64,
    /// Decoupled weight decay of the puzzle embedding.
    pub puzzle_emb_weight_decay: f64,
    /// Decay rate of the averaged weights, which are validated and kept.
    pub ema: f64,
    /// Share of the decisions to halt that wait for a number of segments drawn from 2 to `halt_max_steps`.
    pub halt_exploration_prob: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Validations without a better one after which the run stops; 0 for never.
    #[serde(skip_serializing_if = "is_default")]
    pub patience: usize,
    /// Which weights are cleared on the way.
    #[serde(skip_serializing_if = "is_not_pruned")]
    pub prune: Pruning,
    /// Share of the weights that pruning clears.
    #[serde(default = "half", skip_serializing_if = "is_half")]
    pub sparsity: f64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            data: String::new(),
            generate_samples: 0,
            generate_givens_min: 30,
            generate_givens_max: 40,
            max_samples: 100_000,
            val_fraction: 0.05,
            holdout_rows: 0,
            augment: true,
            batch_size: 768,
            steps: 65_000,
            eval_every: 1000,
            lr: 1e-4,
            warmup_steps: 2000,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 1.0,
            puzzle_emb_lr: 1e-4,
            puzzle_emb_weight_decay: 1.0,
            ema: 0.999,
            halt_exploration_prob: 0.1,
            seed: 42,
            patience: 0,
            prune: Pruning::None,
            sparsity: half(),
        }
    }
}

impl Settings {
    /// Settings from a TOML text with some changed, each given as `key=value` with a key of either table.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown name, a value of another type or out of range.
    pub fn from_toml(text: &str, assignments: &[String]) -> Result<Self, ConfigError> {
        let settings = toml::from_str::<Self>(text);
        let settings = settings.map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let model_keys = toml::Table::try_from(&settings.model).expect("settings are plain values");
        let key = |assignment: &String| assignment.split('=').next().unwrap_or_default().trim().to_string();
        let (of_model, of_training): (Vec<_>, Vec<_>) =
            assignments.iter().cloned().partition(|assignment| model_keys.contains_key(&key(assignment)));
        let settings = Self {
            model: settings.model.with(&of_model)?,
            training: with_assignments(&settings.training, &of_training)?,
        };
        settings.validate()?;
        Ok(settings)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.model.validate()?;
        self.training.validate()
    }

    /// Memory of a run in bytes: weights, their packed copy, moments and average; gradients and activations of every
    /// lane; the states of the batch.
    pub fn memory_bytes(&self) -> u64 {
        const F32: u64 = 4;
        let lanes = Engine::most_lanes(self.training.batch_size) as u64;
        let sets = (6 + lanes) * self.model.parameter_count();
        let states = 2 * self.training.batch_size as u64 * self.model.state_len() as u64;
        F32 * (sets + states) + lanes * self.model.activation_bytes()
    }

    /// The settings as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings are plain values")
    }
}

impl Training {
    fn validate(&self) -> Result<(), ConfigError> {
        let range = |right: bool, name, value: f64, range| {
            let error = || ConfigError::Range { name, value: value.to_string(), range };
            if right { Ok(()) } else { Err(error()) }
        };
        let sizes =
            [("batch_size", self.batch_size as u64), ("steps", self.steps), ("eval_every", self.eval_every)];
        for (name, size) in sizes {
            range((1..=1 << 24).contains(&size), name, size as f64, "1 to 16777216")?;
        }
        let numbers = [
            ("lr", self.lr),
            ("weight_decay", self.weight_decay),
            ("puzzle_emb_lr", self.puzzle_emb_lr),
            ("puzzle_emb_weight_decay", self.puzzle_emb_weight_decay),
        ];
        for (name, value) in numbers {
            range(value.is_finite() && value >= 0.0, name, value, "0 or more")?;
        }
        let fractions = [("beta1", self.beta1), ("beta2", self.beta2), ("ema", self.ema)];
        for (name, value) in fractions.into_iter().chain([("val_fraction", self.val_fraction)]) {
            range((0.0..1.0).contains(&value), name, value, "from 0 up to, not including, 1")?;
        }
        let chance = self.halt_exploration_prob;
        range((0.0..=1.0).contains(&chance), "halt_exploration_prob", chance, "0 to 1")?;
        let expected = "from 0 to 0.99; with prune = \"2:4\", two of four, 0.5";
        range(self.prune.has(self.sparsity), "sparsity", self.sparsity, expected)?;
        let (fewest, most) = (self.generate_givens_min, self.generate_givens_max);
        range((20..=81).contains(&fewest), "generate_givens_min", fewest as f64, "20 to 81")?;
        range((fewest..=81).contains(&most), "generate_givens_max", most as f64, "generate_givens_min to 81")
    }

    /// The settings of the puzzles: where they come from and how they are changed.
    pub fn data_config(&self) -> DataConfig {
        DataConfig {
            data: self.data.clone(),
            generate_samples: self.generate_samples,
            generate_givens_min: self.generate_givens_min,
            generate_givens_max: self.generate_givens_max,
            max_samples: self.max_samples,
            val_fraction: self.val_fraction,
            holdout_rows: self.holdout_rows,
            augment: self.augment,
            ..DataConfig::default()
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_not_pruned(kind: &Pruning) -> bool {
    *kind == Pruning::None
}

fn half() -> f64 {
    0.5
}

fn is_half(value: &f64) -> bool {
    *value == half()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelKind, PRESETS};

    #[test]
    fn keys_of_both_tables_can_be_set_and_wrong_ones_are_named() {
        let set = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|s| (*s).to_string()).collect();
            Settings::from_toml("[model]\nmlp_t = true\n[training]\nsteps = 5", &sets)
        };
        let settings = set(&["lr=1e-3", "L_cycles = 2"]).unwrap();
        assert_eq!((settings.training.lr, settings.model.l_cycles), (1e-3, 2));
        assert_eq!((settings.training.steps, settings.model.mlp_t), (5, true));
        assert_eq!(Settings::from_toml(&settings.to_toml(), &[]).unwrap(), settings);
        for (wrong, word) in
            [("lrr=3", "lrr"), ("lr=-1", "lr"), ("batch_size=0", "batch_size"), ("ema=1", "ema")]
        {
            let error = set(&[wrong]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn presets_of_the_paper_can_be_read() {
        for preset in PRESETS.iter().filter(|preset| preset.kind == ModelKind::Paper) {
            let settings = Settings::from_toml(preset.toml, &[]).unwrap();
            assert_eq!(settings.model.mlp_t, preset.name == "paper-mlp");
        }
    }
}
