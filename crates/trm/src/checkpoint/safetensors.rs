//! Checkpoints as `.safetensors`: the same content, tensors under prefixed names, all else as text in the metadata.
//!
//! # Source
//! <https://huggingface.co/docs/safetensors>

use super::compact::{self, Entries, Numbers, Stored};
use super::foreign::{self, Told};
use super::quantised::{QUANTISED_JSON, QuantisedCheckpoint};
use super::torch_zip::write_f32;
use super::{Checkpoint, FORMAT_VERSION, Losses, OptimizerState, ReadError, SETTINGS_STAND_IN_IT, Training};
use crate::atomic_file::write_atomically;
use crate::config::{ConfigLayers, TrmConfig};
use crate::model::Network;
use crate::network::Entry;
use crate::tensor::{StateDict, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// The configuration.
const CONFIG_TOML: &str = "trm.config_toml";
const EXP_AVG: &str = "optimizer.exp_avg.";
const EXP_AVG_SQ: &str = "optimizer.exp_avg_sq.";
const EMA: &str = "ema.";
const CARRIED: &str = "carried.";
/// Checksum of the other metadata and of all tensors: the format itself has none.
const CRC32: &str = "trm.crc32";

#[derive(Default)]
struct Crc(crc32fast::Hasher);

impl Crc {
    fn text(&mut self, key: &str, value: &str) {
        [key, "=", value, "\n"].iter().for_each(|part| self.0.update(part.as_bytes()));
    }
}

impl Write for Crc {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Step and settings of AdamW, as the metadata of a file hold them.
#[derive(Serialize, Deserialize)]
pub struct OptimizerSettings {
    pub step: u64,
    pub lr: f64,
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
}

impl OptimizerSettings {
    /// Step and settings of the optimiser `o`.
    pub fn of(o: &OptimizerState) -> Self {
        Self { step: o.step, lr: o.lr, betas: o.betas, eps: o.eps, weight_decay: o.weight_decay }
    }

    /// An optimiser with these moments.
    pub fn with_moments(self, exp_avg: StateDict, exp_avg_sq: StateDict) -> OptimizerState {
        let Self { step, lr, betas, eps, weight_decay } = self;
        OptimizerState { step, exp_avg, exp_avg_sq, lr, betas, eps, weight_decay }
    }
}

/// Writes header and tensors.
pub fn write(checkpoint: &Checkpoint, path: &Path) -> io::Result<()> {
    let mut metadata = Map::new();
    let mut put = |key: &str, value: String| metadata.insert(key.into(), Value::String(value));
    put("format", "pt".into());
    put("trm.format_version", FORMAT_VERSION.to_string());
    put(CONFIG_TOML, checkpoint.config.to_toml());
    let mut sets = Vec::new();
    if let Some(o) = &checkpoint.optimizer {
        put("trm.optimizer_json", serde_json::to_string(&OptimizerSettings::of(o))?);
        sets.extend([(EXP_AVG, &o.exp_avg), (EXP_AVG_SQ, &o.exp_avg_sq)]);
    }
    if let Some(history) = &checkpoint.history {
        put("trm.history_json", serde_json::to_string(history)?);
    }
    if let Some(training) = &checkpoint.training {
        put("trm.training_json", training.state_json.clone());
        sets.extend(training.ema.as_ref().map(|ema| (EMA, ema)));
        sets.extend(training.carry.as_ref().map(|carry| (CARRIED, carry)));
    }
    let mut entries = Entries::new();
    for (name, tensor) in &checkpoint.model {
        compact::store_f32(name.clone(), tensor, &mut entries);
    }
    for (prefix, state) in sets {
        entries.extend(state.iter().map(|(name, t)| (format!("{prefix}{name}"), Stored::F32(t))));
    }
    write_entries(path, metadata, &entries)
}

/// Writes metadata, a checksum, and tensors by name.
pub fn write_entries(path: &Path, mut metadata: Map<String, Value>, entries: &Entries) -> io::Result<()> {
    let mut crc = Crc::default();
    metadata.iter().for_each(|(key, value)| crc.text(key, value.as_str().unwrap_or("")));
    entries.iter().try_for_each(|(_, stored)| write_stored(&mut crc, stored))?;
    metadata.insert(CRC32.into(), Value::String(crc.0.finalize().to_string()));
    let mut header = Map::from_iter([("__metadata__".to_string(), Value::Object(metadata))]);
    let mut offset = 0;
    for (name, stored) in entries {
        let (dtype, shape, len) = match stored {
            Stored::F32(tensor) => ("F32", &tensor.shape, 4 * tensor.data.len()),
            Stored::Bytes { dtype, shape, bytes } => (*dtype, shape, bytes.len()),
        };
        let end = offset + len;
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        entries.iter().try_for_each(|(_, stored)| write_stored(file, stored))
    })
}

fn write_stored(file: &mut impl Write, stored: &Stored) -> io::Result<()> {
    match stored {
        Stored::F32(tensor) => write_f32(file, &tensor.data),
        Stored::Bytes { bytes, .. } => file.write_all(bytes),
    }
}

/// Reads a file's metadata, and its tensors in the order of their names, if one of the names is `wanted`.
pub fn read_tensors(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<(Metadata, StateDict)>, ReadError> {
    let bytes = std::fs::read(path)?;
    let (file, metadata) = open(&bytes)?;
    let mut names = file.names();
    if !names.iter().any(|name| wanted(name)) {
        return Ok(None);
    }
    names.sort_unstable();
    let tensors = names.into_iter().map(|name| Ok((name.to_string(), tensor(&file, name)?)));
    Ok(Some((metadata, tensors.collect::<Result<_, ReadError>>()?)))
}

/// Reads a file's content if its weights are quantised.
pub fn read_quantised(path: &Path) -> Result<Option<QuantisedCheckpoint>, ReadError> {
    let bytes = std::fs::read(path)?;
    let (file, metadata) = open(&bytes)?;
    let is_quantised = metadata.contains_key(QUANTISED_JSON);
    is_quantised.then(|| QuantisedCheckpoint::of_file(&file, &metadata)).transpose()
}

/// The configuration in a file's metadata.
pub fn config(metadata: &Metadata) -> Result<TrmConfig, ReadError> {
    let toml = metadata.get(CONFIG_TOML).ok_or_else(|| {
        "it has no configuration in its metadata (trm.config_toml): it was not written by this program, or saved again \
         without its metadata: in Python, save_file(tensors, NAME, metadata=safe_open(OLD, 'pt').metadata() without \
         'trm.crc32')"
            .to_string()
    })?;
    let config = ConfigLayers::default().toml(toml, "its configuration").and_then(ConfigLayers::build);
    config.map_err(|e| ReadError::Format(e.to_string()))
}

/// The texts that stand beside the tensors.
pub type Metadata = BTreeMap<String, String>;

/// Checks a file's structure, and its checksum if it has one.
fn open(bytes: &[u8]) -> Result<(SafeTensors<'_>, Metadata), ReadError> {
    let broken = |e: safetensors::SafeTensorError| format!("it is no safetensors file, or a broken one: {e}");
    let (header_bytes, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let metadata: Metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    if let Some(expected) = metadata.get(CRC32) {
        let mut crc = Crc::default();
        let others = metadata.iter().filter(|(key, _)| *key != CRC32);
        others.for_each(|(key, value)| crc.text(key, value));
        crc.0.update(&bytes[8 + header_bytes..]);
        if crc.0.finalize().to_string() != *expected {
            return Err(ReadError::Format(
                "its checksum does not fit its content: the file is damaged, or another program changed it and kept the \
                 checksum; if so, leave trm.crc32 out of its metadata"
                    .into(),
            ));
        }
    }
    Ok((file, metadata))
}

/// Reads a file that [`write()`] wrote, in any floating-point type.
pub fn read(path: &Path, settings: &[String]) -> Result<Checkpoint, ReadError> {
    read_bytes(&std::fs::read(path)?, settings)
}

/// Reads what such a file holds.
pub fn read_bytes(bytes: &[u8], settings: &[String]) -> Result<Checkpoint, ReadError> {
    let (file, metadata) = open(bytes)?;
    let text = |key: &str| metadata.get(key).cloned();
    if !metadata.contains_key(CONFIG_TOML)
        && file.names().iter().any(|name| name.ends_with(foreign::TELLING_NAME))
    {
        return read_foreign(&file, &metadata, settings);
    }
    let config = config(&metadata)?;
    if !settings.is_empty() {
        return Err(SETTINGS_STAND_IN_IT.into());
    }
    if metadata.contains_key(QUANTISED_JSON) {
        return Err(ReadError::Format(
            "its weights are quantised: it can solve and be evaluated, not be trained or taken apart; use the file that it \
             was made from"
                .into(),
        ));
    }
    let layout = Network::layout(&config.network);
    let state = |prefix: &str| -> Result<StateDict, ReadError> {
        let stored =
            layout.entries().iter().filter(|entry| file.tensor(&format!("{prefix}{}", entry.name)).is_ok());
        let known: Vec<&Entry> = stored.collect();
        let is_known = |name: &str| known.iter().any(|entry| entry.name == name);
        let unknown = file.names().into_iter().filter_map(|name| name.strip_prefix(prefix)).filter(|name| {
            let other_set = [EXP_AVG, EXP_AVG_SQ, EMA, CARRIED].iter().any(|set| name.starts_with(set));
            !other_set && !is_known(name) && !compact::masked_name(name).is_some_and(is_known)
        });
        let read = |name: &str, shape: Option<&[usize]>| -> Result<(String, Tensor), ReadError> {
            let stored = format!("{prefix}{name}");
            Ok((name.to_string(), matrix(&file, &stored, shape)?))
        };
        let known = known.iter().map(|entry| read(&entry.name, Some(&entry.shape)));
        known.chain(unknown.map(|name| read(name, None))).collect()
    };
    fn parse<T: for<'a> Deserialize<'a>>(text: Option<String>, what: &str) -> Result<Option<T>, ReadError> {
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|e| ReadError::Format(format!("its {what}: {e}")))
    }
    let optimizer = match parse::<OptimizerSettings>(text("trm.optimizer_json"), "optimizer")? {
        Some(o) => Some(o.with_moments(state(EXP_AVG)?, state(EXP_AVG_SQ)?)),
        None => None,
    };
    let training = match text("trm.training_json") {
        Some(state_json) => {
            let set = |prefix: &str| {
                let stored = file.names().iter().any(|name| name.starts_with(prefix));
                stored.then(|| state(prefix)).transpose()
            };
            Some(Training { state_json, ema: set(EMA)?, carry: set(CARRIED)? })
        }
        None => None,
    };
    let history = parse::<Losses>(text("trm.history_json"), "history")?;
    let model = state("")?;
    Ok(Checkpoint { model, config, optimizer, history, training })
}

/// A file of another program, or one that it saved again without the texts beside the tensors.
fn read_foreign(
    file: &SafeTensors,
    metadata: &Metadata,
    settings: &[String],
) -> Result<Checkpoint, ReadError> {
    let mut names = file.names();
    names.sort_unstable();
    let state = names.into_iter().map(|name| Ok((name.to_string(), tensor(file, name)?)));
    let state = foreign::without_prefix(state.collect::<Result<_, ReadError>>()?, foreign::TELLING_NAME)?;
    let json = ["config", "hyper_parameters", "args"].iter().find_map(|key| metadata.get(*key));
    let json: Option<Map<String, Value>> = json.and_then(|text| serde_json::from_str(text).ok());
    let told = json.as_ref().map(|fields| {
        let told = |value: &Value| match value {
            Value::Number(n) => Told::Number(n.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Told::Text(text.clone()),
            other => Told::Other(other.to_string().chars().take(40).collect()),
        };
        fields.iter().map(|(key, value)| (key.clone(), told(value))).collect::<Vec<_>>()
    });
    let config = foreign::config(told.as_deref().unwrap_or(&[]), &state, settings, told.is_none())?;
    // Tensors stand in the order of their names; everything else expects them in that of the layout.
    let layout = Network::layout(&config.network);
    let mut model = state;
    model.sort_by_key(|(name, _)| layout.find(name));
    Ok(Checkpoint { model, config, optimizer: None, history: None, training: None })
}

/// A tensor as it is, or spread out to `shape` if it has a mask.
fn matrix(file: &SafeTensors, name: &str, shape: Option<&[usize]>) -> Result<Tensor, ReadError> {
    let shape = shape.filter(|_| file.names().iter().any(|n| compact::masked_name(n) == Some(name)));
    let Some(shape) = shape else { return tensor(file, name) };
    match compact::numbers(file, name, shape)? {
        Numbers::Float(data) => Ok(Tensor { shape: shape.to_vec(), data }),
        _ => Err(ReadError::Format(format!("tensor {name}: whole numbers without scales"))),
    }
}

fn tensor(file: &SafeTensors, name: &str) -> Result<Tensor, ReadError> {
    let view = file.tensor(name).map_err(|e| format!("tensor {name}: {e}"))?;
    let data = compact::floats(view.dtype(), view.data()).map_err(|e| format!("tensor {name}: {e}"))?;
    Ok(Tensor { shape: view.shape().to_vec(), data })
}
