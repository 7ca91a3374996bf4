//! Models whose matrices are whole numbers, as `.safetensors`: they run, and cannot be trained.

use super::compact::{self, Entries, Numbers, Stored};
use super::safetensors::{self, Metadata};
use super::{CheckpointError, FORMAT_VERSION, ReadError, is_safetensors, problems};
use crate::config::TrmConfig;
use crate::model::{Model, Network};
use crate::network::{Entry, Layout, Weights};
use crate::ops::{QuantisedWeight, WeightBits};
use crate::parallel::Threads;
use crate::tensor::{StateDict, Tensor};
use ::safetensors::SafeTensors;
use half::bf16;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use trm_kernels::{GROUP_MULTIPLE, LONGEST_GROUP};

/// The key of the metadata for what the tensors do not tell.
pub const QUANTISED_JSON: &str = "trm.quantised_json";
const SCALE: &str = ".scale";
const STEP: &str = ".step";

/// A quantised model.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedCheckpoint {
    /// The configuration that the model was trained with.
    pub config: TrmConfig,
    /// Gates, norms, biases, and every other tensor that stays f32.
    pub tensors: StateDict,
    /// The matrices that are whole numbers, by name.
    pub weights: Vec<(String, QuantisedWeight)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Inputs that share a scale, where weights have four bits.
    group: usize,
}

impl QuantisedCheckpoint {
    /// Writes a `.safetensors` file.
    ///
    /// # Errors
    /// What the system says; another ending.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        if !is_safetensors(path) {
            return Err(ReadError::Format(
                "PyTorch's format has no place for quantised weights: write a .safetensors file".into(),
            )
            .at(path));
        }
        self.write_safetensors(path).map_err(|e| ReadError::Io(e).at(path))
    }

    fn write_safetensors(&self, path: &Path) -> std::io::Result<()> {
        let fours = self.weights.iter().filter(|(_, weight)| weight.bits == WeightBits::Four);
        let record = Record { group: fours.map(|(_, weight)| weight.group).next().unwrap_or(0) };
        let metadata = [
            ("format", "pt".to_string()),
            ("trm.format_version", FORMAT_VERSION.to_string()),
            ("trm.config_toml", self.config.to_toml()),
            (QUANTISED_JSON, serde_json::to_string(&record)?),
        ];
        let metadata = metadata.into_iter().map(|(key, text)| (key.to_string(), Value::String(text)));
        let mut entries = Entries::new();
        for (name, tensor) in &self.tensors {
            compact::store_f32(name.clone(), tensor, &mut entries);
        }
        for (name, weight) in &self.weights {
            store(name, weight, &mut entries);
        }
        safetensors::write_entries(path, Map::from_iter(metadata), &entries)
    }

    /// Reads the content of a file whose metadata have [`QUANTISED_JSON`].
    pub(super) fn of_file(file: &SafeTensors, metadata: &Metadata) -> Result<Self, ReadError> {
        let config = safetensors::config(metadata)?;
        let text = metadata.get(QUANTISED_JSON).map_or("", String::as_str);
        let record: Record = serde_json::from_str(text).map_err(|e| format!("{QUANTISED_JSON}: {e}"))?;
        let layout = Network::layout(&config.network);
        let (mut tensors, mut weights) = (StateDict::new(), Vec::new());
        let mut known = Vec::new();
        for Entry { name, shape, role, .. } in layout.entries() {
            known.extend(["", ".mask", SCALE, STEP].map(|ending| format!("{name}{ending}")));
            if file.tensor(name).is_err() {
                continue;
            }
            let (bits, values) = match compact::numbers(file, name, shape)? {
                Numbers::Float(data) => {
                    tensors.push((name.clone(), Tensor { shape: shape.clone(), data }));
                    continue;
                }
                Numbers::Eight(values) => (WeightBits::Eight, values),
                Numbers::Four(values) => (WeightBits::Four, values),
            };
            if !role.is_multiplied() {
                return Err(format!("tensor {name} cannot be quantised").into());
            }
            weights.push((name.clone(), weight(file, name, (bits, values), shape, &record)?));
        }
        if let Some(name) = file.names().into_iter().find(|name| !known.iter().any(|k| k == name)) {
            return Err(format!("tensor {name} is not part of the model").into());
        }
        let checkpoint = Self { config, tensors, weights };
        checkpoint.check(&layout).map(|()| checkpoint)
    }

    /// Whether every tensor is there, and finite, in one form or the other.
    fn check(&self, layout: &Layout) -> Result<(), ReadError> {
        let is_whole = |entry: &&Entry| self.weights.iter().any(|(name, _)| *name == entry.name);
        let floats = layout.entries().iter().filter(|entry| !is_whole(entry)).cloned().collect();
        let problems = problems("", &self.tensors, &floats);
        if problems.is_empty() { Ok(()) } else { Err(ReadError::Tensors(problems)) }
    }

    /// The model, ready to run.
    pub fn into_model(self, threads: &Threads) -> Model {
        let Self { mut config, mut tensors, weights } = self;
        config.network.precision = config.network.precision.of_inference();
        let empty = |shape: [usize; 2]| Tensor { shape: shape.to_vec(), data: Vec::new() };
        tensors.extend(weights.iter().map(|(name, weight)| (name.clone(), empty(weight.shape))));
        let plain = Weights::from_state_dict(&Network::layout(&config.network), tensors);
        Model::quantised(config.network, plain, &weights, threads)
    }

    /// Every tensor as f32: what the whole numbers stand for.
    pub fn dequantised(&self) -> StateDict {
        let find = |name: &String| {
            let quantised = self.weights.iter().find(|(n, _)| n == name);
            let float = || self.tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor.clone());
            quantised.map(|(_, weight)| weight.dequantised()).or_else(float)
        };
        let layout = Network::layout(&self.config.network);
        let named = |entry: &Entry| find(&entry.name).map(|tensor| (entry.name.clone(), tensor));
        layout.entries().iter().filter_map(named).collect()
    }
}

fn store<'a>(name: &str, weight: &QuantisedWeight, entries: &mut Entries<'a>) {
    let groups = weight.groups();
    let (dtype, shape, bytes): (_, _, Vec<u8>) = match weight.bits {
        WeightBits::Eight => {
            compact::store_eight(name.to_string(), weight.shape, &weight.values, entries);
            ("F32", vec![weight.scales.len()], weight.scales.iter().flat_map(|s| s.to_le_bytes()).collect())
        }
        WeightBits::Four => {
            compact::store_four(name.to_string(), &weight.values, entries);
            let bytes = weight.scales.iter().flat_map(|s| bf16::from_f32(*s).to_le_bytes());
            ("BF16", vec![weight.shape[0], groups], bytes.collect())
        }
    };
    entries.push((format!("{name}{SCALE}"), Stored::Bytes { dtype, shape, bytes }));
    if let Some(step) = weight.step {
        let bytes = step.to_le_bytes().to_vec();
        entries.push((format!("{name}{STEP}"), Stored::Bytes { dtype: "F32", shape: vec![1], bytes }));
    }
}

/// A matrix with its scales, checked.
fn weight(
    file: &SafeTensors,
    name: &str,
    (bits, values): (WeightBits, Vec<i8>),
    shape: &[usize],
    record: &Record,
) -> Result<QuantisedWeight, ReadError> {
    let [out, inputs] = *shape else { return Err(format!("tensor {name} is no matrix").into()) };
    let group = match bits {
        WeightBits::Eight => inputs.min(LONGEST_GROUP),
        WeightBits::Four => record.group,
    };
    let whole = bits == WeightBits::Eight || group.is_multiple_of(GROUP_MULTIPLE);
    if !(1..=LONGEST_GROUP).contains(&group) || !whole {
        return Err(format!("tensor {name}: groups of {group} inputs are not supported").into());
    }
    let beside = |ending: &str| -> Result<Option<Vec<f32>>, ReadError> {
        let name = format!("{name}{ending}");
        let Ok(view) = file.tensor(&name) else { return Ok(None) };
        let fail = |what: String| ReadError::Format(format!("tensor {name}: {what}"));
        let values = compact::floats(view.dtype(), view.data()).map_err(fail)?;
        if values.iter().all(|v| v.is_finite() && *v >= 0.0) {
            return Ok(Some(values));
        }
        Err(fail("it holds a number that is no scale".into()))
    };
    let scales = beside(SCALE)?.unwrap_or_default();
    if Some(scales.len()) != out.checked_mul(inputs.div_ceil(group)) {
        return Err(format!("tensor {name}: {} scales do not fit its shape {shape:?}", scales.len()).into());
    }
    let step = match beside(STEP)?.as_deref() {
        None => None,
        Some([step]) if *step > 0.0 => Some(*step),
        Some(_) => return Err(format!("tensor {name}{STEP} is not one number above zero").into()),
    };
    Ok(QuantisedWeight { bits, shape: [out, inputs], group, values, scales, step })
}
