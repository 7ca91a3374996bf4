//! Models of the paper: state dicts as its official program saves them, and the same tensors as `.safetensors` with the
//! settings beside them.

use super::compact::Stored;
use super::foreign::without_prefix;
use super::safetensors::Metadata;
use super::{CheckpointError, FORMAT_VERSION, ReadError, is_safetensors, problems, safetensors, torch};
use crate::config::Precision;
use crate::model::paper::{Config, Model, Params, VOCABULARY};
use crate::parallel::Threads;
use crate::tensor::{StateDict, Tensor};
use serde_json::{Map, Value};
use std::path::Path;

/// The settings in the metadata of a `.safetensors` file.
const CONFIG_TOML: &str = "trm.paper_config_toml";
/// The trainer's record in the metadata.
const TRAINING_JSON: &str = "trm.paper_training_json";
/// What the names of the moments and of the averaged weights begin with.
const SETS: [&str; 3] = ["optimizer.exp_avg.", "optimizer.exp_avg_sq.", "ema."];
/// The states of the puzzles in the batch.
const CARRY: [&str; 2] = ["carry.z_H", "carry.z_L"];
/// A tensor that every model of the paper has and no other.
const TELLING_NAME: &str = "inner.H_init";
/// What the official program's names begin with: it saves a compiled module that holds the model beside its loss.
const OFFICIAL_PREFIX: &str = "_orig_mod.model.";

/// Tensors and settings of a model of the paper.
#[derive(Clone, Debug, PartialEq)]
pub struct PaperCheckpoint {
    /// Tensors by name without the prefixes of modules around the model, as [`Config::layout`] has them.
    pub model: StateDict,
    /// Read off the tensors where they show them, from the metadata or by default elsewhere.
    pub config: Config,
    /// What resuming needs beyond the weights; in `.safetensors` only.
    pub training: Option<PaperTraining>,
}

/// State of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct PaperTraining {
    /// The trainer's own record.
    pub state_json: String,
    /// AdamW's first and second moments, and the averaged weights, each as [`Config::layout`] has them.
    pub sets: [StateDict; 3],
    /// The states z_H and z_L of the puzzles in the batch, `[puzzles, tokens, d]`.
    pub carry: [Tensor; 2],
}

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

impl PaperCheckpoint {
    /// Reads a file if it holds a model of the paper; `settings` are what the file does not tell, as `key=value`.
    ///
    /// # Errors
    /// An unreadable, broken or hostile file; tensors that are missing, extra, misshapen or not finite; wrong settings.
    pub fn read(path: &Path, settings: &[String]) -> Result<Option<Self>, CheckpointError> {
        Ok(Self::read_noting(path, settings)?.map(|(checkpoint, _)| checkpoint))
    }

    /// Reads a file as [`Self::read`] does; with each setting, as `key=value`, that neither the file, nor an all_config.yaml
    /// beside it, nor `settings` tell, and that is taken to be the published one.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_noting(
        path: &Path,
        settings: &[String],
    ) -> Result<Option<(Self, Vec<String>)>, CheckpointError> {
        let read = || -> Result<_, ReadError> {
            let Some((state, metadata)) = Self::read_unchecked(path)? else { return Ok(None) };
            let own = metadata.contains_key(CONFIG_TOML);
            let state = if own { state } else { without_prefix(state, TELLING_NAME)? };
            let mut told = if own { Vec::new() } else { settings_beside(path) };
            told.extend_from_slice(settings);
            let checkpoint = Self::new(state, &metadata, &told)?;
            let is_told =
                |key: &str| told.iter().any(|s| s.split_once('=').is_some_and(|(k, _)| k.trim() == key));
            let table = toml::Table::try_from(&checkpoint.config).unwrap_or_default();
            let matters =
                |(key, mlp): &&(&str, bool)| !own && (*mlp || !checkpoint.config.mlp_t) && !is_told(key);
            let assumed = UNSEEN
                .iter()
                .filter(matters)
                .filter_map(|(key, _)| Some(format!("{key}={}", table.get(*key)?)));
            let assumed = assumed.collect();
            Ok(Some((checkpoint, assumed)))
        };
        read().map_err(|e| e.at(path))
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

    /// A checkpoint in the order of the layout, if the tensors fit the settings.
    fn new(state: StateDict, metadata: &Metadata, settings: &[String]) -> Result<Self, ReadError> {
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
        let training = metadata.get(TRAINING_JSON).map(|json| take_training(&mut model, json)).transpose()?;
        let config = match metadata.get(CONFIG_TOML) {
            Some(toml) => Config::from_toml(toml),
            None => Ok(Config::of_tensors(&model)),
        };
        let config =
            config.and_then(|config| config.with(settings)).map_err(|e| format!("its settings: {e}"))?;
        let layout = config.layout();
        let sets = training.iter().flat_map(|training| SETS.iter().zip(&training.sets));
        let all = std::iter::once((&"", &model)).chain(sets);
        let problems: Vec<String> = all.flat_map(|(set, state)| problems(set, state, &layout)).collect();
        if !problems.is_empty() {
            return Err(ReadError::Tensors(problems));
        }
        let mut checkpoint = Self { model, config, training };
        let sets = checkpoint.training.iter_mut().flat_map(|training| &mut training.sets);
        for state in std::iter::once(&mut checkpoint.model).chain(sets) {
            state.sort_by_key(|(name, _)| layout.iter().position(|(n, _)| n == name));
        }
        Ok(checkpoint)
    }

    /// The parameters.
    pub fn params(&self) -> Params {
        Params::from_state_dict(&self.config, &self.model)
    }

    /// The model, ready to solve.
    pub fn into_model(self, threads: &Threads) -> Model {
        let (params, mut config) = (self.params(), self.config);
        config.precision = config.precision.of_inference();
        Model::new(config, params, threads)
    }

    /// Writes a file; `.safetensors` by its ending, anything else as the official program's state dict.
    ///
    /// # Errors
    /// What the system says; a `.pt` file of a model with settings that weights do not show and that are not the defaults.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let written =
            if is_safetensors(path) { self.write_safetensors(path) } else { self.write_torch(path) };
        written.map_err(|e| e.at(path))
    }

    fn write_safetensors(&self, path: &Path) -> Result<(), ReadError> {
        let mut metadata = vec![
            ("format", "pt".to_string()),
            ("trm.format_version", FORMAT_VERSION.to_string()),
            (CONFIG_TOML, self.config.to_toml()),
        ];
        let mut tensors: Vec<_> = self.model.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        if let Some(training) = &self.training {
            metadata.push((TRAINING_JSON, training.state_json.clone()));
            for (prefix, set) in SETS.iter().zip(&training.sets) {
                tensors.extend(set.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
            }
            tensors.extend(CARRY.iter().zip(&training.carry).map(|(name, t)| ((*name).to_string(), t)));
        }
        let metadata = metadata.into_iter().map(|(key, text)| (key.to_string(), Value::String(text)));
        let entries = tensors.into_iter().map(|(name, tensor)| (name, Stored::F32(tensor))).collect();
        Ok(safetensors::write_entries(path, Map::from_iter(metadata), &entries)?)
    }

    fn write_torch(&self, path: &Path) -> Result<(), ReadError> {
        let shown = Config::of_tensors(&self.model);
        let precision = Precision::Auto;
        let is_shown = (Config { precision, ..self.config.clone() }) == (Config { precision, ..shown });
        if !is_shown || self.training.is_some() {
            return Err(ReadError::Format(
                "a state dict of the official program has no place for settings that are not the defaults, nor for the \
                 state of a training run; write a .safetensors file, or leave the latter out by --production"
                    .into(),
            ));
        }
        let named = |(name, tensor): &(String, _)| (format!("{OFFICIAL_PREFIX}{name}"), Clone::clone(tensor));
        Ok(torch::write_state_dict(&self.model.iter().map(named).collect(), path)?)
    }
}

/// Takes the state of a training run out of a file's tensors.
fn take_training(state: &mut StateDict, json: &str) -> Result<PaperTraining, ReadError> {
    let mut take = |wanted: &str| -> StateDict {
        let (found, rest) = std::mem::take(state).into_iter().partition(|(name, _)| name.starts_with(wanted));
        *state = rest;
        found
    };
    let unprefixed = |prefix: &str, set: StateDict| {
        set.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor)).collect()
    };
    let sets = SETS.map(|prefix| unprefixed(prefix, take(prefix)));
    let carry = CARRY.map(|name| take(name).pop().map(|(_, tensor)| tensor));
    let [Some(z_h), Some(z_l)] = carry else {
        return Err(ReadError::Format("it has the record of a training run, but not its states".into()));
    };
    Ok(PaperTraining { state_json: json.to_string(), sets, carry: [z_h, z_l] })
}
