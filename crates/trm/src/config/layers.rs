//! Layers of settings: defaults, then preset, then file, then overrides, merged as tables and read once, so that the last
//! one wins and an unknown key is refused whichever layer it came from.

use super::{Recursion, TrmConfig};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// The key that stands for several settings.
const RECURSION: &str = "recursion";

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
    /// A setting has a value outside its range.
    #[error("setting {key} = {value}: {expected}")]
    Range {
        /// Name of the field.
        key: &'static str,
        /// The value of the setting.
        value: String,
        /// The values that would be accepted.
        expected: &'static str,
    },
}

/// Merges layers of settings; later layers win. A TOML text is a layer, and so are the single overrides after it
/// together.
///
/// The key `recursion` stands for several settings: see [`Recursion`].
#[derive(Clone, Debug, Default)]
pub struct ConfigLayers {
    table: Table,
    /// Keys that single overrides gave since the last text.
    overridden: BTreeSet<String>,
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
        let layer: Vec<(String, Value)> = layer
            .into_iter()
            .map(|(key, value)| known_setting(&key, value, origin))
            .collect::<Result<_, _>>()?;
        let (shorthand, own): (Vec<_>, Vec<_>) = layer.into_iter().partition(|(key, _)| key == RECURSION);
        for (_, value) in shorthand {
            self.table.extend(recursion(&value)?);
        }
        self.table.extend(own);
        self.overridden.clear();
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
        let (key, value) = known_setting(key.trim(), value, "--set")?;
        if key == RECURSION {
            let implied = recursion(&value)?.into_iter().filter(|(key, _)| !self.overridden.contains(key));
            self.table.extend(implied);
        } else {
            self.overridden.insert(key.clone());
            self.table.insert(key, value);
        }
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
}

/// A setting under the key that files have; `origin` names the text it came from in errors.
fn known_setting(key: &str, value: Value, origin: &str) -> Result<(String, Value), ConfigError> {
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
    Ok((name.clone(), value))
}

/// The settings that a value of the key `recursion` stands for.
fn recursion(value: &Value) -> Result<Table, ConfigError> {
    let named = Recursion::named(value).ok_or_else(|| ConfigError::Range {
        key: RECURSION,
        value: value.to_string(),
        expected: "\"documented\" or \"one_state\"",
    })?;
    Ok(named.settings())
}

fn defaults() -> Table {
    TrmConfig::default().table()
}

fn known_keys() -> Vec<String> {
    defaults().keys().cloned().chain([RECURSION.to_string()]).collect()
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
    use super::super::{DataConfig, NetworkConfig, Precision, Supervision, Update};
    use super::*;

    #[test]
    fn toml_written_is_toml_read() {
        let config = TrmConfig {
            network: NetworkConfig { l_cycles: 5, ..NetworkConfig::default() },
            data: DataConfig { data: "a \"b\".csv".into(), ..DataConfig::default() },
            ..TrmConfig::default()
        };
        let back = ConfigLayers::default().toml(&config.to_toml(), "t").unwrap().build().unwrap();
        assert_eq!(back, config);
    }

    #[test]
    fn the_shorthand_gives_what_its_own_layer_does_not() {
        let layers = |text: &str| ConfigLayers::default().toml(text, "t").unwrap();
        let with = |layers: ConfigLayers, sets: &[&str]| {
            let layers = sets.iter().try_fold(layers, |layers, set| layers.set(set)).unwrap();
            layers.build().unwrap().network
        };
        let one_state = with(layers("recursion = \"one_state\"\nhidden_dim = 8"), &[]);
        assert_eq!((one_state.update, one_state.output_layers, one_state.hidden_dim), (Update::Single, 0, 8));
        assert_eq!((one_state.supervision, one_state.dropout), (Supervision::Every, 0.0));
        assert!(one_state.state_norm && one_state.output_norm);
        // What the same layer gives wins, before or behind it; what an earlier one gave does not.
        for text in ["dropout = 0.3\nrecursion = \"one_state\"", "recursion = \"one_state\"\ndropout = 0.3"] {
            assert_eq!(with(layers(text), &[]).dropout, 0.3);
            assert_eq!(with(layers(text), &["dropout=0.2"]).dropout, 0.2);
            let again = with(layers(text), &["recursion=one_state"]);
            assert_eq!((again.dropout, again.update), (0.0, Update::Single));
        }
        for sets in [["dropout=0.4", "recursion=one_state"], ["recursion=one_state", "dropout=0.4"]] {
            let network = with(layers("dropout = 0.3"), &sets);
            assert_eq!((network.dropout, network.update), (0.4, Update::Single));
        }
        // Back to the documented one, and what it says of the same keys.
        let back = with(layers("recursion = \"one_state\""), &["recursion=documented"]);
        assert_eq!(back, NetworkConfig::default());
    }

    #[test]
    fn a_wrong_shorthand_is_refused_with_those_there_are() {
        for set in ["recursion=two", "recursion=2"] {
            let error = ConfigLayers::default().set(set).unwrap_err().to_string();
            assert!(error.contains("one_state") && error.contains("documented"), "{error}");
        }
        let error = ConfigLayers::default().set("recurson=one_state").unwrap_err().to_string();
        assert!(error.contains("did you mean `recursion`?"), "{error}");
    }

    #[test]
    fn precisions_of_earlier_versions_are_read_and_written_as_they_are_called_now() {
        for (old, new) in [("int16", Precision::Fixed12), ("int8", Precision::Fixed7)] {
            let in_toml =
                ConfigLayers::default().toml(&format!("precision = \"{old}\""), "old").unwrap().build();
            let set = ConfigLayers::default().set(&format!("precision={old}")).and_then(ConfigLayers::build);
            let json = format!(r#"{{"precision": "{old}"}}"#);
            for config in [in_toml.unwrap(), set.unwrap(), serde_json::from_str(&json).unwrap()] {
                assert_eq!(config.network.precision, new, "{old}");
                let name = new.format().name();
                assert!(
                    config.to_toml().contains(&format!("precision = \"{name}\"")),
                    "{}",
                    config.to_toml()
                );
                let json = serde_json::to_value(&config).unwrap();
                assert_eq!(json["precision"], name);
            }
        }
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
        assert_eq!(
            (
                config.network.hidden_dim,
                config.network.l_cycles,
                config.network.l_layers,
                config.network.h_cycles
            ),
            (32, 2, 1, 3)
        );
        assert_eq!((config.training.lr, config.network.update), (1.0, Update::Original));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = ConfigLayers::default().set("hiden_dim=3").unwrap_err().to_string();
        assert!(error.contains("`hiden_dim`") && error.contains("`hidden_dim`"), "{error}");
        let error = ConfigLayers::default().toml("L_cycle = 3", "my.toml").unwrap_err().to_string();
        assert!(error.starts_with("my.toml") && error.contains("`L_cycles`"), "{error}");
    }
}
