//! The settings as files have them: one flat table, whatever groups the program keeps them in.

use super::{DataConfig, NetworkConfig, RunConfig, TrainingConfig, TrmConfig};
use serde::de::{DeserializeOwned, Error};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Table;

/// Every key, in the order in which settings are written.
pub const KEYS: [&str; 60] = [
    "input_dim",
    "hidden_dim",
    "state",
    "mixing",
    "heads",
    "positions",
    "feedback",
    "hypotheses",
    "expansion",
    "mlp_dim",
    "output_dim",
    "L_layers",
    "L_cycles",
    "H_cycles",
    "output_layers",
    "dropout",
    "update",
    "state_norm",
    "init_noise",
    "output_norm",
    "gates",
    "gate_init",
    "init_scale",
    "supervision",
    "constraint_weight",
    "constraint_kinds",
    "constraint_schedule",
    "segments",
    "halting",
    "lr",
    "weight_decay",
    "beta1",
    "beta2",
    "batch_size",
    "epochs",
    "warmup_steps",
    "clip_norm",
    "ema",
    "patience",
    "seed",
    "prune",
    "sparsity",
    "precision",
    "checkpoint_activations",
    "data",
    "max_samples",
    "holdout_rows",
    "val_fraction",
    "augment",
    "augment_copies",
    "reveal",
    "fresh",
    "curriculum",
    "curriculum_by",
    "curriculum_stages",
    "curriculum_until",
    "curriculum_threshold",
    "generate_samples",
    "generate_givens_min",
    "generate_givens_max",
];

impl TrmConfig {
    /// Key and value of every setting.
    pub(super) fn table(&self) -> Table {
        let Self { network, training, data, run } = self;
        [group(network), group(training), group(data), group(run)].into_iter().flatten().collect()
    }
}

/// The settings of one group by key.
fn group(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("a flat struct of numbers and strings is always a table")
}

/// Takes the settings of one group out of a table; defaults stand in for those that it lacks.
fn take<T: Default + Serialize + DeserializeOwned>(table: &mut Table) -> Result<T, toml::de::Error> {
    let own = group(&T::default()).into_iter().filter_map(|(key, _)| table.remove_entry(&key));
    own.collect::<Table>().try_into()
}

impl Serialize for TrmConfig {
    /// Writes every setting under its key, in the order of the documented table.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = self.table();
        let mut map = serializer.serialize_map(Some(KEYS.len()))?;
        for key in KEYS {
            map.serialize_entry(key, &table[key])?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TrmConfig {
    /// Reads a flat table; a key that is no setting is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let config = Self::take_from(&mut table).map_err(D::Error::custom)?;
        match table.keys().next() {
            Some(key) => Err(D::Error::custom(format!("unknown setting `{key}`"))),
            None => Ok(config),
        }
    }
}

impl TrmConfig {
    fn take_from(table: &mut Table) -> Result<Self, toml::de::Error> {
        let network: NetworkConfig = take(table)?;
        let training: TrainingConfig = take(table)?;
        let data: DataConfig = take(table)?;
        let run: RunConfig = take(table)?;
        Ok(Self { network, training, data, run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_every_group_is_written_once() {
        let mut written = KEYS.map(String::from).to_vec();
        written.sort();
        let known = |t: Table| t.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let TrmConfig { network, training, data, run } = TrmConfig::default();
        let groups = [group(&network), group(&training), group(&data), group(&run)];
        let mut groups: Vec<String> = groups.into_iter().flat_map(known).collect();
        groups.sort();
        assert_eq!(written, groups);
    }

    #[test]
    fn json_is_flat_too() {
        let mut config = TrmConfig::default();
        (config.network.l_cycles, config.training.lr) = (3, 0.25);
        (config.data.reveal, config.run.epochs) = (0.5, 7);
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!((&json["L_cycles"], &json["lr"]), (&3.into(), &0.25.into()));
        assert_eq!((&json["reveal"], &json["epochs"]), (&0.5.into(), &7.into()));
        assert_eq!(serde_json::from_value::<TrmConfig>(json).unwrap(), config);
        let error = serde_json::from_str::<TrmConfig>(r#"{"network": 1}"#).unwrap_err();
        assert!(error.to_string().contains("network"), "{error}");
    }
}
