//! Files of other programs: what their tensors are called, and the settings that they tell.

use super::ReadError;
use crate::config::{ConfigLayers, Gates, NetworkConfig, TrmConfig};
use crate::tensor::{StateDict, Tensor};

/// A tensor that every model of the Python original has.
pub const TELLING_NAME: &str = "input_proj.weight";

/// Settings that decide what the weights mean. A file has to tell them in a way that leaves no doubt.
const NETWORK: [&str; 6] = ["input_dim", "output_dim", "hidden_dim", "L_layers", "H_cycles", "L_cycles"];
/// Settings of training; where they make no sense here they are left out.
const OTHERS: [&str; 5] = ["dropout", "lr", "weight_decay", "batch_size", "epochs"];

/// A value that a file tells of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Something else, by its name.
    Other(String),
}

/// Takes off what modules around the model put before the names of its tensors, such as `module.`, `_orig_mod.` or
/// `model.`: whatever stands before `telling`.
pub fn without_prefix(state: StateDict, telling: &str) -> Result<StateDict, ReadError> {
    let prefixes: Vec<&str> = state.iter().filter_map(|(name, _)| name.strip_suffix(telling)).collect();
    let prefix = match prefixes[..] {
        [] => return Ok(state),
        [prefix] => prefix.to_string(),
        _ => {
            let list = prefixes.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
            return Err(ReadError::Format(format!(
                "it holds several models, whose names begin with {list}: save the one that is meant alone"
            )));
        }
    };
    let short = |name: String| name.strip_prefix(&prefix).map(str::to_string).unwrap_or(name);
    Ok(state.into_iter().map(|(name, tensor)| (short(name), tensor)).collect())
}

/// The configuration of a model of the Python original: sizes from its tensors, the rest as the file tells it or as
/// `settings`, each `key=value`, say. `bare` is a file without any configuration, which does not tell the rule of its updates.
pub fn config(
    told: &[(String, Told)],
    model: &StateDict,
    settings: &[String],
    bare: bool,
) -> Result<TrmConfig, ReadError> {
    let set = |key: &str| {
        settings.iter().any(|s| s.split_once('=').is_some_and(|(name, _)| folded(name) == folded(key)))
    };
    let sizes = sizes(model);
    let mut values: Vec<(&str, f64)> = Vec::new();
    let mut missing = Vec::new();
    for key in NETWORK {
        let size = sizes.iter().find(|(name, _)| *name == key).and_then(|(_, size)| *size);
        let said = told.iter().find(|(name, _)| folded(name) == folded(key)).map(|(_, value)| value);
        let value = match (said, size) {
            _ if set(key) => continue,
            (Some(Told::Number(n)), Some(size)) if *n != size as f64 => {
                return Err(ReadError::Format(format!(
                    "its configuration says {key} = {n}, but its weights have {size}; --set {key}={size} takes the weights' word"
                )));
            }
            (Some(Told::Number(n)), _) if n.fract() == 0.0 && *n > 0.0 => *n,
            (Some(other), _) => {
                let shown = match other {
                    Told::Number(n) => n.to_string(),
                    Told::Text(text) => format!("the text {text:?}"),
                    Told::Other(kind) => kind.clone(),
                };
                return Err(ReadError::Format(format!(
                    "its configuration has {shown} for {key}, which is no whole number; say what is meant by --set {key}=N"
                )));
            }
            (None, Some(size)) => size as f64,
            (None, None) => {
                missing.push(format!("--set {key}=N"));
                continue;
            }
        };
        values.push((key, value));
    }
    if bare && !set("update") {
        missing.push("--set update=original (a model of the Python original) or update=documented".into());
    }
    if !missing.is_empty() {
        return Err(ReadError::Format(format!(
            "its weights do not tell everything, and no configuration stands beside them; say it by {}",
            missing.join(", ")
        )));
    }
    build(&values, told, model, settings)
}

fn build(
    values: &[(&str, f64)],
    told: &[(String, Told)],
    model: &StateDict,
    settings: &[String],
) -> Result<TrmConfig, ReadError> {
    let wrong = |e: &dyn std::fmt::Display| ReadError::Format(format!("its configuration: {e}"));
    let output_block = |name: &str| name.starts_with("output_layers.") && name.ends_with(".net.1.weight");
    let output_layers = model.iter().filter(|(name, _)| output_block(name)).count().max(1);
    let mut layers = ConfigLayers::default();
    for (key, value) in values.iter().copied().chain([("output_layers", output_layers as f64)]) {
        layers = layers.set(&format!("{key}={value}")).map_err(|e| wrong(&e))?;
    }
    layers = layers.set("update=original").map_err(|e| wrong(&e))?;
    for assignment in settings {
        layers = layers.set(assignment).map_err(|e| ReadError::Format(e.to_string()))?;
    }
    let config = layers.clone().build().map_err(|e| wrong(&e))?;
    for (key, value) in told {
        let known = OTHERS.iter().find(|known| folded(known) == folded(key));
        let (Some(known), Told::Number(value)) = (known, value) else { continue };
        let with = layers.clone().set(&format!("{known}={value}"));
        // A run that ended, with whatever settings, is no reason not to use its weights.
        if let Ok(with) = with
            && with.clone().build().is_ok()
        {
            layers = with;
        }
    }
    let config = layers.build().unwrap_or(config);
    let gate = model.iter().find(|(name, _)| name == "latent_gate");
    let is_vector = gate.is_some_and(|(_, gate)| gate.shape == [config.network.hidden_dim]);
    let gates = if is_vector { Gates::Vector } else { Gates::Scalar };
    Ok(TrmConfig { network: NetworkConfig { gates, ..config.network }, ..config })
}

/// What the shapes of the tensors show.
fn sizes(model: &StateDict) -> [(&'static str, Option<usize>); 4] {
    let find = |wanted: &str| model.iter().find(|(name, _)| name == wanted).map(|(_, t)| t);
    let size = |t: Option<&Tensor>, dim: usize| t.and_then(|t| t.shape.get(dim).copied());
    let first_of = |i: usize| format!("latent_layers.{i}.");
    let layers = (0..).take_while(|i| model.iter().any(|(name, _)| name.starts_with(&first_of(*i)))).count();
    [
        ("hidden_dim", size(find(TELLING_NAME), 0)),
        ("input_dim", size(find(TELLING_NAME), 1)),
        ("output_dim", size(find("output_proj.weight"), 0)),
        ("L_layers", (layers > 0).then_some(layers)),
    ]
}

fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
