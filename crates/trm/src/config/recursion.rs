//! A name for the settings that together make the recursion what it is.

use super::{NetworkConfig, Supervision, Update};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The two ways to recur: a shorthand, the key `recursion` of files and overrides.
///
/// The key stands for six settings. A run's `config.toml` and its checkpoints hold these six under their own keys; `recursion`
/// itself is never written. The layer of settings that names `recursion` gives all six their new values. A value that the same
/// layer or a later one gives explicitly wins.
///
/// | key | `documented` | `one_state` |
/// |---|---|---|
/// | `update` | `documented` | `single` |
/// | `output_layers` | 2 | 0 |
/// | `supervision` | `last` | `every` |
/// | `state_norm` | false | true |
/// | `output_norm` | false | true |
/// | `dropout` | 0.1 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recursion {
    /// Two states, the hypothesis z and the answer y, which a stack of blocks of its own refines once in an outer cycle; the
    /// answer after the last cycle is what counts (SPEC.md).
    Documented,
    /// One state, normalised after every update; the answer is read off it, normalised, and learnt from after every outer
    /// cycle.
    OneState,
}

impl Recursion {
    /// The name in files; `None` if `value` is none of them.
    pub(super) fn named(value: &Value) -> Option<Self> {
        value.clone().try_into().ok()
    }

    /// The settings that it stands for, by key.
    pub(super) fn settings(self) -> Table {
        let defaults = NetworkConfig::default();
        let network = match self {
            Self::Documented => defaults,
            Self::OneState => NetworkConfig {
                update: Update::Single,
                output_layers: 0,
                supervision: Supervision::Every,
                state_norm: true,
                output_norm: true,
                dropout: 0.0,
                ..defaults
            },
        };
        const KEYS: [&str; 6] =
            ["update", "output_layers", "supervision", "state_norm", "output_norm", "dropout"];
        let all = Table::try_from(network).expect("a flat struct of numbers and strings is always a table");
        all.into_iter().filter(|(key, _)| KEYS.contains(&key.as_str())).collect()
    }
}
