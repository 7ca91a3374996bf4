//! Models of the paper: state dicts as its official program saves them, and the same tensors as `.safetensors` with the
//! settings beside them.

use super::compact::Stored as StoredTensor;
use super::foreign::without_prefix;
use super::safetensors::{Metadata, OptimizerSettings};
use super::{
    Checkpoint, CheckpointError, FORMAT_VERSION, OptimizerState, ReadError, Stored, Training, is_safetensors,
    safetensors, torch,
};
use crate::config::Precision;
use crate::model::paper::{Config, Model, Network, Settings, VOCABULARY};
use crate::network::Layout;
use crate::parallel::Threads;
use crate::tensor::StateDict;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// The settings of the model in the metadata of a `.safetensors` file.
const CONFIG_TOML: &str = "trm.paper_config_toml";
/// The settings of a run, the model's included.
const SETTINGS_TOML: &str = "trm.paper_settings_toml";
/// The trainer's record.
const TRAINING_JSON: &str = "trm.training_json";
/// The trainer's record as versions up to 0.1.0 wrote it, settings included.
const OLD_TRAINING_JSON: &str = "trm.paper_training_json";
/// AdamW's step and settings.
const OPTIMIZER_JSON: &str = "trm.optimizer_json";
/// Losses and accuracies of a run.
const HISTORY_JSON: &str = "trm.history_json";
/// What the names of the moments and of the averaged weights begin with.
const SETS: [&str; 3] = ["optimizer.exp_avg.", "optimizer.exp_avg_sq.", "ema."];
/// What the names of the states of the puzzles in the batch begin with.
const CARRY: &str = "carry.";
/// A tensor that every model of the paper has and no other.
const TELLING_NAME: &str = "inner.H_init";
/// What the official program's names begin with: it saves a compiled module that holds the model beside its loss.
const OFFICIAL_PREFIX: &str = "_orig_mod.model.";

/// Tensors and settings of a model of the paper. Tensors have their names without the prefixes of modules around the model. The
/// model's settings are read off the tensors where they show them, from the metadata or by default elsewhere; those of a run stand in
/// checkpoints of runs alone.
pub type PaperCheckpoint = Checkpoint<Settings>;

/// Settings that no tensor shows, and whether they matter with a SwiGLU over the tokens too.
const UNSEEN: [(&str, bool); 6] = [
    ("H_cycles", true),
    ("L_cycles", true),
    ("halt_max_steps", true),
    ("num_heads", false),
    ("rope_theta", false),
    ("puzzle_emb_len", false),
];

/// The settings in the file that the official program writes beside its checkpoints, as `key=value`.
fn settings_beside(path: &Path) -> Vec<String> {
    let beside = path.with_file_name("all_config.yaml");
    let text = std::fs::read_to_string(beside).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        let (key, value) = (key.trim(), value.split('#').next().unwrap_or("").trim());
        let known = UNSEEN.iter().any(|(unseen, _)| *unseen == key);
        (known && !value.is_empty()).then(|| format!("{key}={value}"))
    });
    lines.collect()
}

/// The settings that nothing tells and that matter, as `key=value` with the published values that are assumed.
fn assumed(config: &Config, told: &[String]) -> Vec<String> {
    let is_told = |key: &str| told.iter().any(|s| s.split_once('=').is_some_and(|(k, _)| k.trim() == key));
    let table = toml::Table::try_from(config).unwrap_or_default();
    let matters = |(key, mlp): &&(&str, bool)| (*mlp || !config.mlp_t) && !is_told(key);
    let assumed = UNSEEN.iter().filter(matters);
    assumed.filter_map(|(key, _)| Some(format!("{key}={}", table.get(*key)?))).collect()
}

impl PaperCheckpoint {
    /// Reads a file if it holds a model of the paper; `settings` are what the file does not tell, as `key=value`. With the checkpoint
    /// comes each setting, as `key=value`, that neither the file, nor an all_config.yaml beside it, nor `settings` tell, and that is
    /// taken to be the published one.
    ///
    /// # Errors
    /// An unreadable, broken or hostile file; tensors that are missing, extra, misshapen or not finite; wrong settings.
    pub fn of_file(path: &Path, settings: &[String]) -> Result<Option<(Self, Vec<String>)>, CheckpointError> {
        let read = || -> Result<_, ReadError> {
            let Some((state, metadata)) = read_unchecked(path)? else { return Ok(None) };
            let own = metadata.contains_key(CONFIG_TOML);
            let state = if own { state } else { without_prefix(state, TELLING_NAME)? };
            let mut told = if own { Vec::new() } else { settings_beside(path) };
            told.extend_from_slice(settings);
            let checkpoint = Self::of_tensors(state, &metadata, &told)?;
            let assumed = if own { Vec::new() } else { assumed(&checkpoint.config.model, &told) };
            Ok(Some((checkpoint, assumed)))
        };
        read().map_err(|e| e.at(path))
    }

    /// A checkpoint in the order of the layout, if the tensors fit the settings.
    fn of_tensors(state: StateDict, metadata: &Metadata, settings: &[String]) -> Result<Self, ReadError> {
        if state.iter().any(|(name, _)| name.starts_with("inner.H_level.")) {
            return Err("it is a model of HRM, which has two networks; trm knows TRM, which has one".into());
        }
        if let Some((_, tokens)) =
            state.iter().find(|(name, _)| name == "inner.embed_tokens.embedding_weight")
            && tokens.shape.first() != Some(&VOCABULARY)
        {
            return Err(ReadError::Format(format!(
                "it was trained on another task than Sudoku: it knows {} tokens, Sudoku has {VOCABULARY}",
                tokens.shape.first().unwrap_or(&0)
            )));
        }
        let mut model = state;
        let mut config = settings_of(metadata, &model)?;
        config.model = config.model.with(settings).map_err(|e| format!("its settings: {e}"))?;
        let (optimizer, training) = take_training(&mut model, metadata, &config)?.unzip();
        let history = metadata.get(HISTORY_JSON).map(|text| serde_json::from_str(text)).transpose();
        let history = history.map_err(|e| format!("its history: {e}"))?;
        let mut checkpoint = Self { model, config, optimizer, history, training };
        checkpoint.check().map_err(ReadError::Tensors)?;
        let layout = checkpoint.config.layout();
        let optimizer = checkpoint.optimizer.iter_mut();
        let sets = optimizer.flat_map(|optimizer| [&mut optimizer.exp_avg, &mut optimizer.exp_avg_sq]);
        let average = checkpoint.training.iter_mut().flat_map(|training| &mut training.ema);
        for state in sets.chain(average).chain([&mut checkpoint.model]) {
            state.sort_by_key(|(name, _)| layout.find(name));
        }
        Ok(checkpoint)
    }

    /// The model, ready to solve.
    pub fn into_model(self, threads: &Threads) -> Model {
        let (weights, mut config) = (self.weights(), self.config.model);
        config.precision = config.precision.of_inference();
        Model::new(config, weights, threads)
    }
}

impl Stored for Settings {
    fn layout(&self) -> Arc<Layout> {
        Network::layout(&self.model)
    }

    fn to_toml(&self) -> String {
        Self::to_toml(self)
    }

    fn read(path: &Path) -> Result<PaperCheckpoint, CheckpointError> {
        let reason = || "it is no model of the paper".into();
        let other = || CheckpointError::Format { path: path.to_path_buf(), reason: reason() };
        PaperCheckpoint::of_file(path, &[])?.map(|(checkpoint, _)| checkpoint).ok_or_else(other)
    }

    fn write(checkpoint: &PaperCheckpoint, path: &Path) -> Result<(), CheckpointError> {
        let write = if is_safetensors(path) { write_safetensors } else { write_torch };
        write(checkpoint, path).map_err(|e| e.at(path))
    }
}

/// All tensors, and what stands beside them.
fn read_unchecked(path: &Path) -> Result<Option<(StateDict, Metadata)>, ReadError> {
    if !is_safetensors(path) {
        let state = torch::read_state_dict(path, |name| name.ends_with(TELLING_NAME))?;
        return Ok(state.map(|state| (state, Metadata::new())));
    }
    let found = safetensors::read_tensors(path, |name| name.ends_with(TELLING_NAME))?;
    Ok(found.map(|(metadata, state)| (state, metadata)))
}

/// The settings that the metadata tell, or else the tensors.
fn settings_of(metadata: &Metadata, model: &StateDict) -> Result<Settings, ReadError> {
    let wrong = |e: &dyn std::fmt::Display| ReadError::Format(format!("its settings: {e}"));
    if let Some(toml) = metadata.get(SETTINGS_TOML) {
        return Settings::from_toml(toml, &[]).map_err(|e| wrong(&e));
    }
    if let Some(json) = metadata.get(OLD_TRAINING_JSON) {
        let record: Value = serde_json::from_str(json).map_err(|e| wrong(&e))?;
        let settings = serde_json::from_value(record.get("settings").cloned().unwrap_or_default());
        return settings.map_err(|e| wrong(&e));
    }
    let model = match metadata.get(CONFIG_TOML) {
        Some(toml) => Config::from_toml(toml).map_err(|e| wrong(&e))?,
        None => Config::of_tensors(model),
    };
    Ok(Settings { model, ..Settings::default() })
}

/// Takes the state of a training run out of a file's tensors, if the metadata have the record of one.
fn take_training(
    state: &mut StateDict,
    metadata: &Metadata,
    settings: &Settings,
) -> Result<Option<(OptimizerState, Training)>, ReadError> {
    let Some(json) = metadata.get(TRAINING_JSON).or(metadata.get(OLD_TRAINING_JSON)) else {
        return Ok(None);
    };
    let mut take = |prefix: &str| -> StateDict {
        let (found, rest) = std::mem::take(state).into_iter().partition(|(name, _)| name.starts_with(prefix));
        *state = rest;
        let found: StateDict = found;
        found.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor)).collect()
    };
    let ([exp_avg, exp_avg_sq, ema], carry) = (SETS.map(&mut take), take(CARRY));
    if carry.len() != 2 {
        return Err(ReadError::Format("it has the record of a training run, but not its states".into()));
    }
    let rules = &settings.training;
    let optimizer = match metadata.get(OPTIMIZER_JSON) {
        Some(text) => serde_json::from_str(text),
        // Versions up to 0.1.0 had the step in the trainer's record.
        None => serde_json::from_str::<Value>(json).map(|record| OptimizerSettings {
            step: record.get("step").and_then(Value::as_u64).unwrap_or(0),
            lr: rules.lr,
            betas: (rules.beta1, rules.beta2),
            eps: super::ADAM_EPS,
            weight_decay: rules.weight_decay,
        }),
    };
    let optimizer = optimizer.map_err(|e| format!("its optimizer: {e}"))?;
    let training = Training { state_json: json.clone(), ema: Some(ema), carry: Some(carry) };
    Ok(Some((optimizer.with_moments(exp_avg, exp_avg_sq), training)))
}

fn write_safetensors(checkpoint: &PaperCheckpoint, path: &Path) -> Result<(), ReadError> {
    let Checkpoint { model, config, optimizer, history, training } = checkpoint;
    let mut metadata = vec![
        ("format", "pt".to_string()),
        ("trm.format_version", FORMAT_VERSION.to_string()),
        (CONFIG_TOML, config.model.to_toml()),
    ];
    let mut sets = vec![("", model)];
    if let Some(history) = history {
        metadata.push((HISTORY_JSON, serde_json::to_string(history).map_err(|e| e.to_string())?));
    }
    if let (Some(optimizer), Some(training)) = (optimizer, training) {
        let settings = OptimizerSettings::of(optimizer);
        metadata.push((SETTINGS_TOML, config.to_toml()));
        metadata.push((OPTIMIZER_JSON, serde_json::to_string(&settings).map_err(|e| e.to_string())?));
        metadata.push((TRAINING_JSON, training.state_json.clone()));
        sets.extend([(SETS[0], &optimizer.exp_avg), (SETS[1], &optimizer.exp_avg_sq)]);
        sets.extend(training.ema.iter().map(|ema| (SETS[2], ema)));
        sets.extend(training.carry.iter().map(|carry| (CARRY, carry)));
    }
    let metadata = metadata.into_iter().map(|(key, text)| (key.to_string(), Value::String(text)));
    let named = sets.into_iter().flat_map(|(prefix, set)| {
        set.iter().map(move |(name, tensor)| (format!("{prefix}{name}"), StoredTensor::F32(tensor)))
    });
    Ok(safetensors::write_entries(path, Map::from_iter(metadata), &named.collect())?)
}

fn write_torch(checkpoint: &PaperCheckpoint, path: &Path) -> Result<(), ReadError> {
    let shown = Config::of_tensors(&checkpoint.model);
    let precision = Precision::Auto;
    let told = Config { precision, ..checkpoint.config.model.clone() };
    if told != (Config { precision, ..shown }) || checkpoint.training.is_some() {
        return Err(ReadError::Format(
            "a state dict of the official program has no place for settings that are not the defaults, nor for the state of a \
             training run; write a .safetensors file, or leave the latter out by --production"
                .into(),
        ));
    }
    let named = |(name, tensor): &(String, _)| (format!("{OFFICIAL_PREFIX}{name}"), Clone::clone(tensor));
    Ok(torch::write_state_dict(&checkpoint.model.iter().map(named).collect(), path)?)
}
