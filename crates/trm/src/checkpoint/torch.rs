//! Checkpoints as dicts of torch.save: what stands under which key.

use super::foreign::{self, Told};
use super::pickle::{Id, Node, Pickle};
use super::pickle_writer::{self, Object, dict};
use super::torch_legacy::{self, TorchLegacy};
use super::torch_zip::{self, TorchZip};
use super::{Checkpoint, FORMAT_VERSION, Losses, OptimizerState, ReadError, SETTINGS_STAND_IN_IT, Training};
use crate::atomic_file::write_atomically;
use crate::config::{ConfigLayers, NetworkConfig};
use crate::model::Network;
use crate::network::{Layout, Role};
use crate::tensor::{StateDict, Tensor};
use half::{bf16, f16};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Key of all that the Python original does not know.
const OWN_KEY: &str = "trm";

/// Longest name of a tensor or storage: a pickle can repeat a long text for nothing, a copy of it costs memory.
const MOST_NAME_BYTES: usize = 256;

/// Writes the documented keys, and our own.
pub fn write(checkpoint: &Checkpoint, path: &Path) -> std::io::Result<()> {
    let config_toml = checkpoint.config.to_toml();
    let written = pickle_writer::write(&document(checkpoint, &config_toml));
    write_atomically(path, |file| torch_zip::write(file, &archive_name(path), &written))
}

fn document<'a>(checkpoint: &'a Checkpoint, config_toml: &'a str) -> Object<'a> {
    let mut items = vec![("model_state_dict", state_dict(&checkpoint.model))];
    if let Some(optimizer) = &checkpoint.optimizer {
        let layout = Network::layout(&checkpoint.config.network);
        items.push(("optimizer_state_dict", optimizer_dict(optimizer, &layout)));
    }
    items.push(("config", documented_config(&checkpoint.config.network)));
    if let Some(history) = &checkpoint.history {
        let list = |values: &[f64]| Object::List(values.iter().map(|v| Object::Float(*v)).collect());
        items.push(("train_losses", list(&history.train_losses)));
        items.push(("val_losses", list(&history.val_losses)));
        items.push(("val_accuracies", list(&history.val_accuracies)));
    }
    let mut own =
        vec![("format_version", Object::Int(FORMAT_VERSION)), ("config_toml", Object::Str(config_toml))];
    if let Some(training) = &checkpoint.training {
        own.push(("training_json", Object::Str(&training.state_json)));
        if let Some(ema) = &training.ema {
            own.push(("ema_state_dict", state_dict(ema)));
        }
        if let Some(carry) = &training.carry {
            own.push(("carried_states", state_dict(carry)));
        }
    }
    items.push((OWN_KEY, dict(own)));
    dict(items)
}

fn state_dict(state: &StateDict) -> Object<'_> {
    Object::OrderedDict(state.iter().map(|(name, tensor)| (name.as_str(), Object::Tensor(tensor))).collect())
}

/// Exactly the fields of the Python original's dataclass.
fn documented_config(config: &NetworkConfig) -> Object<'static> {
    let int = |value: usize| Object::Int(value as i64);
    dict(vec![
        ("input_dim", int(config.input_dim)),
        ("hidden_dim", int(config.hidden_dim)),
        ("output_dim", int(config.output_dim)),
        ("L_layers", int(config.l_layers)),
        ("H_cycles", int(config.h_cycles)),
        ("L_cycles", int(config.l_cycles)),
        ("dropout", Object::Float(config.dropout)),
    ])
}

/// Indices of the parameters in the order of AdamW's two groups: those that decay, then all others.
fn grouped(state: &StateDict, layout: &Layout) -> [Vec<usize>; 2] {
    let roles: HashMap<&str, Role> =
        layout.entries().iter().map(|entry| (entry.name.as_str(), entry.role)).collect();
    let is_decayed = |i: &usize| roles.get(state[*i].0.as_str()).is_some_and(|role| role.is_decayed());
    let (decayed, others) = (0..state.len()).partition(is_decayed);
    [decayed, others]
}

/// What `torch.optim.AdamW` over two groups saves and loads.
fn optimizer_dict<'a>(optimizer: &'a OptimizerState, layout: &Layout) -> Object<'a> {
    let groups = grouped(&optimizer.exp_avg, layout);
    let state = groups.iter().flatten().enumerate().map(|(number, i)| {
        let moments = dict(vec![
            ("step", Object::Scalar(optimizer.step as f32)),
            ("exp_avg", Object::Tensor(&optimizer.exp_avg[*i].1)),
            ("exp_avg_sq", Object::Tensor(&optimizer.exp_avg_sq[*i].1)),
        ]);
        (Object::Int(number as i64), moments)
    });
    let group = |first: usize, len: usize, weight_decay: f64| {
        dict(vec![
            ("lr", Object::Float(optimizer.lr)),
            (
                "betas",
                Object::Pair(Box::new([Object::Float(optimizer.betas.0), Object::Float(optimizer.betas.1)])),
            ),
            ("eps", Object::Float(optimizer.eps)),
            ("weight_decay", Object::Float(weight_decay)),
            ("amsgrad", Object::Bool(false)),
            ("maximize", Object::Bool(false)),
            ("foreach", Object::None),
            ("capturable", Object::Bool(false)),
            ("differentiable", Object::Bool(false)),
            ("fused", Object::None),
            ("decoupled_weight_decay", Object::Bool(true)),
            ("params", Object::List((first..first + len).map(|i| Object::Int(i as i64)).collect())),
        ])
    };
    let decayed = groups[0].len();
    dict(vec![
        ("state", Object::Dict(state.collect())),
        (
            "param_groups",
            Object::List(vec![
                group(0, decayed, optimizer.weight_decay),
                group(decayed, groups[1].len(), 0.0),
            ]),
        ),
    ])
}

/// Reads a file of ours, or one of the Python original, told what it does not tell as `key=value`.
pub fn read(path: &Path, settings: &[String]) -> Result<Checkpoint, ReadError> {
    Reader::open(path)?.checkpoint(settings)
}

/// Reads a file's state dict if one of its names is `wanted`.
pub fn read_state_dict(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<StateDict>, ReadError> {
    let mut reader = Reader::open(path)?;
    let Ok((id, _)) = reader.model() else { return Ok(None) };
    let items = reader.pickle.items(id).unwrap_or(&[]);
    let found = items.iter().any(|(key, _)| reader.pickle.text(*key).is_some_and(&wanted));
    found.then(|| reader.state_dict(id)).transpose()
}

/// Writes a state dict and nothing else.
pub fn write_state_dict(state: &StateDict, path: &Path) -> std::io::Result<()> {
    let written = pickle_writer::write(&state_dict(state));
    write_atomically(path, |file| torch_zip::write(file, &archive_name(path), &written))
}

/// The folder inside the archive, which torch.save names after the file.
fn archive_name(path: &Path) -> String {
    path.file_stem().map_or("archive".into(), |stem| stem.to_string_lossy().into_owned())
}

/// Keys under which programs keep the weights, the documented one first.
const MODEL_KEYS: [&str; 8] =
    ["model_state_dict", "state_dict", "model", "net", "network", "module", "weights", "model_state"];
/// Keys under which programs keep their settings.
const CONFIG_KEYS: [&str; 7] =
    ["config", "hyper_parameters", "args", "hparams", "cfg", "model_config", "model_args"];

/// The container of a file.
enum TorchFile {
    Zip(TorchZip),
    Legacy(TorchLegacy),
}

/// What turns sparse tensors, arrays of NumPy and the like into what can be read.
const PLAIN_TENSORS: &str =
    "save plain ones in Python: {k: torch.as_tensor(v).to_dense() for k, v in state_dict.items()}";

struct Reader {
    pickle: Pickle,
    file: TorchFile,
    /// Storages as f32, by key; tied tensors share one.
    storages: HashMap<String, Vec<f32>>,
    /// Values that may still be read: no file holds more values than bytes.
    budget: u64,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, ReadError> {
        let mut start = Vec::new();
        File::open(path)?.take(torch_legacy::MAGIC.len() as u64).read_to_end(&mut start)?;
        let (pickle, file, budget) = if start == torch_legacy::MAGIC {
            let (legacy, pickle) = TorchLegacy::open(std::fs::read(path)?)?;
            let bytes = legacy.file_bytes();
            (pickle, TorchFile::Legacy(legacy), bytes)
        } else if start.starts_with(b"PK") {
            let mut zip = TorchZip::open(path)?;
            let bytes = zip.file_bytes;
            (Pickle::read(&zip.pickle()?)?, TorchFile::Zip(zip), bytes)
        } else {
            return Err("it is no PyTorch file (.pt): it does not begin like a zip archive".into());
        };
        Ok(Self { pickle, file, storages: HashMap::new(), budget })
    }

    /// The state dict, and whether it is the whole file.
    fn model(&self) -> Result<(Id, bool), ReadError> {
        let root = self.pickle.root();
        let is_tensor =
            |id: Id| self.pickle.called(id).is_some_and(|name| name.starts_with("torch._utils._rebuild"));
        let is_state =
            |id: Id| self.pickle.items(id).is_some_and(|items| items.iter().any(|(_, v)| is_tensor(*v)));
        let under =
            |key: &&str| self.pickle.get(root, key).filter(|id| is_state(*id) || **key == *MODEL_KEYS[0]);
        if let Some(id) = MODEL_KEYS.iter().find_map(under) {
            return Ok((id, false));
        }
        if is_state(root) {
            return Ok((root, true));
        }
        let whole =
            [Some(root)].into_iter().chain(MODEL_KEYS.iter().map(|key| self.pickle.get(root, key))).flatten();
        if let Some(class) =
            whole.filter_map(|id| self.pickle.called(id)).find(|name| !name.starts_with("collections."))
        {
            return Err(ReadError::Format(format!(
                "it is a whole object of {class}, whose code is not run; save its weights in Python: \
                 torch.save({{'model_state_dict': model.state_dict(), 'config': vars(model.config)}}, 'model.pt')"
            )));
        }
        let keys =
            self.pickle.items(root).unwrap_or(&[]).iter().filter_map(|(key, _)| self.pickle.text(*key));
        let keys =
            keys.take(8).map(|key| key.chars().take(40).collect()).collect::<Vec<String>>().join("`, `");
        Err(ReadError::Format(format!(
            "it has no `model_state_dict`, the dict of its weights by name (nor `state_dict` or `model`); found `{keys}`"
        )))
    }

    fn checkpoint(&mut self, settings: &[String]) -> Result<Checkpoint, ReadError> {
        let root = self.pickle.root();
        let (model_id, bare) = self.model()?;
        let model = self.state_dict(model_id)?;
        let Some(own) = self.pickle.get(root, OWN_KEY) else {
            let model = foreign::without_prefix(model, foreign::TELLING_NAME)?;
            let told = if bare { None } else { self.told(root) };
            let config = foreign::config(told.as_deref().unwrap_or(&[]), &model, settings, told.is_none())?;
            return Ok(Checkpoint {
                model,
                config,
                optimizer: None,
                history: self.losses(root),
                training: None,
            });
        };
        if !settings.is_empty() {
            return Err(SETTINGS_STAND_IN_IT.into());
        }
        let text =
            |key: &str| self.pickle.get(own, key).and_then(|id| self.pickle.text(id)).map(str::to_string);
        let config_toml = text("config_toml").ok_or_else(|| format!("`{OWN_KEY}` has no config_toml"))?;
        let config = ConfigLayers::default()
            .toml(&config_toml, "its configuration")
            .and_then(ConfigLayers::build)
            .map_err(|e| e.to_string())?;
        let training = match text("training_json") {
            Some(state_json) => {
                let ema = self.pickle.get(own, "ema_state_dict");
                let ema = ema.map(|id| self.state_dict(id)).transpose()?;
                let carry = self.pickle.get(own, "carried_states");
                let carry = carry.map(|id| self.state_dict(id)).transpose()?;
                Some(Training { state_json, ema, carry })
            }
            None => None,
        };
        let optimizer = match self.pickle.get(root, "optimizer_state_dict") {
            Some(id) => Some(self.optimizer(id, &model, &Network::layout(&config.network))?),
            None => None,
        };
        Ok(Checkpoint { model, config, optimizer, history: self.losses(root), training })
    }

    /// The settings of a file of another program: a dict, or a pickled dataclass whose fields are read.
    fn told(&mut self, root: Id) -> Option<Vec<(String, Told)>> {
        let config = CONFIG_KEYS.iter().find_map(|key| self.pickle.get(root, key))?;
        let fields = self.pickle.fields(config)?.to_vec();
        let told = fields.into_iter().filter_map(|(key, value)| {
            let key = self.pickle.text(key).filter(|key| key.len() <= MOST_NAME_BYTES)?.to_string();
            let told = self.told_value(value);
            Some((key, told))
        });
        Some(told.collect())
    }

    fn told_value(&mut self, id: Id) -> Told {
        if let Some(number) = self.pickle.number(id) {
            return Told::Number(number);
        }
        let kind = match self.pickle.node(id) {
            Node::Str(text) => return Told::Text(text.chars().take(40).collect()),
            Node::Bool(value) => return Told::Other(value.to_string()),
            Node::None => "None".to_string(),
            _ => {
                self.pickle.called(id).map_or("something else".into(), |name| name.chars().take(60).collect())
            }
        };
        match self.tensor(id, "of the configuration") {
            Ok(tensor) if tensor.data.len() == 1 => Told::Number(tensor.data[0].into()),
            _ => Told::Other(kind),
        }
    }

    fn losses(&self, root: Id) -> Option<Losses> {
        let list = |key: &str| {
            let elements = self.pickle.sequence(self.pickle.get(root, key)?)?;
            elements.iter().map(|id| self.pickle.number(*id)).collect::<Option<Vec<f64>>>()
        };
        Some(Losses {
            train_losses: list("train_losses")?,
            val_losses: list("val_losses").unwrap_or_default(),
            val_accuracies: list("val_accuracies").unwrap_or_default(),
        })
    }

    fn optimizer(&mut self, id: Id, model: &StateDict, layout: &Layout) -> Result<OptimizerState, ReadError> {
        let missing = |what: &str| format!("optimizer_state_dict: {what} is missing");
        let states = self.pickle.get(id, "state").ok_or_else(|| missing("state"))?;
        let groups = self.pickle.get(id, "param_groups").and_then(|g| self.pickle.sequence(g));
        let group = *groups.and_then(<[Id]>::first).ok_or_else(|| missing("param_groups"))?;
        let number = |key: &str| self.pickle.get(group, key).and_then(|id| self.pickle.number(id));
        let betas = self.pickle.get(group, "betas").and_then(|id| self.pickle.sequence(id)).unwrap_or(&[]);
        let betas: Option<Vec<f64>> = betas.iter().map(|id| self.pickle.number(*id)).collect();
        let Some([beta1, beta2]) = betas.as_deref().and_then(|b| <[f64; 2]>::try_from(b).ok()) else {
            return Err(missing("betas").into());
        };
        let mut optimizer = OptimizerState {
            step: 0,
            exp_avg: model.iter().map(|(name, _)| (name.clone(), Tensor::zeros(&[0]))).collect(),
            exp_avg_sq: model.iter().map(|(name, _)| (name.clone(), Tensor::zeros(&[0]))).collect(),
            lr: number("lr").ok_or_else(|| missing("lr"))?,
            betas: (beta1, beta2),
            eps: number("eps").ok_or_else(|| missing("eps"))?,
            weight_decay: number("weight_decay").ok_or_else(|| missing("weight_decay"))?,
        };
        let entries: HashMap<i64, Id> = self
            .pickle
            .items(states)
            .unwrap_or(&[])
            .iter()
            .filter_map(|(key, value)| Some((self.pickle.int(*key)?, *value)))
            .collect();
        for (number, i) in (0..).zip(grouped(model, layout).iter().flatten()) {
            let name = &model[*i].0;
            let entry = *entries.get(&number).ok_or_else(|| missing(&format!("the state of {name}")))?;
            let mut moment = |key: &str| -> Result<Tensor, ReadError> {
                let id = self.pickle.get(entry, key).ok_or_else(|| missing(&format!("{key} of {name}")))?;
                self.tensor(id, name)
            };
            optimizer.step = moment("step")?.data.first().map_or(0, |step| *step as u64);
            optimizer.exp_avg[*i].1 = moment("exp_avg")?;
            optimizer.exp_avg_sq[*i].1 = moment("exp_avg_sq")?;
        }
        Ok(optimizer)
    }

    fn state_dict(&mut self, id: Id) -> Result<StateDict, ReadError> {
        let items = self.pickle.items(id).ok_or_else(|| "a state dict is no dict".to_string())?.to_vec();
        let mut state = StateDict::new();
        for (key, value) in items {
            let name =
                self.pickle.text(key).ok_or_else(|| "a state dict has a key that is no text".to_string())?;
            if name.len() > MOST_NAME_BYTES {
                return Err(format!("a tensor's name has {} bytes", name.len()).into());
            }
            let name = name.to_string();
            state.push((name.clone(), self.tensor(value, &name)?));
        }
        Ok(state)
    }

    /// Rebuilds a tensor from its storage, offset, sizes and strides.
    fn tensor(&mut self, id: Id, name: &str) -> Result<Tensor, ReadError> {
        let fail = |what: &str| ReadError::Format(format!("tensor {name}: {what}"));
        let args = match self.pickle.called(id) {
            Some("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor") => self.pickle.args(id),
            Some("torch._utils._rebuild_parameter") => {
                let inner = *self.pickle.args(id).first().ok_or_else(|| fail("an empty parameter"))?;
                if self.pickle.called(inner) == Some("torch._utils._rebuild_parameter") {
                    return Err(fail("a parameter of a parameter"));
                }
                return self.tensor(inner, name);
            }
            Some(other) => return Err(fail(&format!("made by {other}, which is not run; {PLAIN_TENSORS}"))),
            None => return Err(fail(&format!("no tensor stands there; {PLAIN_TENSORS}"))),
        };
        let [storage, offset, sizes, strides, ..] = *args else { return Err(fail("too few arguments")) };
        let whole = |id: &Id| self.pickle.int(*id).and_then(|v| usize::try_from(v).ok());
        let list =
            |id| self.pickle.sequence(id).and_then(|ids| ids.iter().map(whole).collect::<Option<Vec<_>>>());
        let (offset, shape, strides) = match (whole(&offset), list(sizes), list(strides)) {
            (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
                (offset, shape, strides)
            }
            _ => return Err(fail("sizes, strides or offset make no sense")),
        };
        let numel = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
        let numel = numel
            .filter(|n| *n as u64 <= self.budget)
            .ok_or_else(|| fail(&format!("its shape {shape:?} has more values than the file has bytes")))?;
        self.budget -= numel as u64;
        let key = self.storage_key(storage).ok_or_else(|| fail("its storage makes no sense"))?;
        let storage = self.storage(&key).map_err(|reason| fail(&reason))?;
        let values = storage.len();
        let reach = shape.iter().zip(&strides).try_fold(offset, |reach, (size, stride)| {
            reach.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
        if numel > 0 && reach.is_none_or(|reach| reach >= values) {
            return Err(fail("it reaches beyond its storage"));
        }
        if is_contiguous(&shape, &strides) && numel == values {
            // The whole of it: read again if another tensor shares it.
            return Ok(Tensor { data: std::mem::take(storage), shape });
        }
        Ok(Tensor { data: gather(storage, offset, &shape, &strides, numel), shape })
    }

    /// (type, key) of a persistent id `('storage', torch.FloatStorage, '0', 'cpu', numel)`.
    fn storage_key(&self, id: Id) -> Option<(String, String)> {
        let Node::Persistent(id) = self.pickle.node(id) else { return None };
        let [_, kind, key, ..] = *self.pickle.sequence(*id)? else { return None };
        let Node::Global(kind) = self.pickle.node(kind) else { return None };
        let key = self.pickle.text(key).filter(|key| key.len() <= MOST_NAME_BYTES)?;
        Some((kind.clone(), key.to_string()))
    }

    fn storage(&mut self, (kind, key): &(String, String)) -> Result<&mut Vec<f32>, String> {
        let values = self.storages.entry(format!("{kind} {key}")).or_default();
        if values.is_empty() {
            let read = match (&mut self.file, kind.as_str()) {
                (TorchFile::Zip(zip), "torch.FloatStorage") => zip.f32_storage(key),
                (TorchFile::Zip(zip), _) => zip.storage(key).and_then(|bytes| Ok(decode(kind, &bytes)?)),
                (TorchFile::Legacy(legacy), _) => {
                    legacy.storage(key).and_then(|bytes| Ok(decode(kind, bytes)?))
                }
            };
            *values = read.map_err(|e| match e {
                ReadError::Io(e) => e.to_string(),
                ReadError::Format(reason) => reason,
                ReadError::Tensors(problems) => problems.join("; "),
            })?;
        }
        Ok(values)
    }
}

/// The values of a storage of another type as f32.
fn decode(kind: &str, bytes: &[u8]) -> Result<Vec<f32>, String> {
    fn all<const N: usize>(bytes: &[u8], one: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|b| one(*b)).collect()
    }
    Ok(match kind {
        "torch.FloatStorage" => all(bytes, f32::from_le_bytes),
        "torch.DoubleStorage" => all(bytes, |b| f64::from_le_bytes(b) as f32),
        "torch.HalfStorage" => all(bytes, |b| f16::from_le_bytes(b).to_f32()),
        "torch.BFloat16Storage" => all(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        "torch.LongStorage" => all(bytes, |b| i64::from_le_bytes(b) as f32),
        "torch.IntStorage" => all(bytes, |b| i32::from_le_bytes(b) as f32),
        other => return Err(format!("its type {other} is not supported")),
    })
}

/// Whether the values of a view follow each other.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(size, stride)| {
        let follows = *size == 1 || *stride == expected;
        expected = expected.saturating_mul(*size);
        follows
    })
}

/// The values of a strided view in row-major order; the caller has checked that they lie inside.
fn gather(storage: &[f32], offset: usize, shape: &[usize], strides: &[usize], numel: usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(numel);
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    for _ in 0..numel {
        data.push(storage[at]);
        for dim in (0..shape.len()).rev() {
            index[dim] += 1;
            at += strides[dim];
            if index[dim] < shape[dim] {
                break;
            }
            at -= strides[dim] * shape[dim];
            index[dim] = 0;
        }
    }
    data
}
