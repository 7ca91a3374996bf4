//! `trm info`

use super::{assumption, read_noting};
use crate::error::CliError;
use crate::output::{bytes, percent, print, print_json};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, ModelFile, PaperCheckpoint, QuantisedCheckpoint};
use trm::config::TrmConfig;
use trm::model::{flops_per_sample, paper};
use trm::ops::WeightBits;
use trm::tensor::{Spread, StateDict};

/// Options of `trm info`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  trm info checkpoints/trm_sudoku_best.pt
  trm info model.safetensors --json
  trm info weights.pt --set H_cycles=4 --set L_cycles=8 --set update=original")]
pub struct InfoArgs {
    /// Model file: .pt or .safetensors [default: the model that comes with the program]
    file: Option<PathBuf>,
    /// What a model file of another program does not tell, as in H_cycles=4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info {
    file: String,
    bytes: u64,
    kind: &'static str,
    parameters: usize,
    /// Parameters that are not zero.
    nonzero: usize,
    forward_flops: u64,
    config: TrmConfig,
    /// Of each gate its mean, and its least and largest value if it is a vector.
    latent_gate: f64,
    output_gate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latent_gate_range: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_gate_range: Option<[f64; 2]>,
    optimizer_step: Option<u64>,
    epochs: Option<usize>,
    best_val_accuracy: Option<f64>,
    has_weight_average: bool,
    tensors: Vec<TensorInfo>,
}

#[derive(Serialize)]
struct TensorInfo {
    name: String,
    shape: Vec<usize>,
    /// How its numbers are stored.
    format: String,
    mean: f64,
    std: f64,
}

/// Describes a model file.
pub fn run(args: InfoArgs) -> Result<(), CliError> {
    let (file, assumed) = read_noting(args.file.as_deref(), &args.set)?;
    match file {
        ModelFile::Trm(checkpoint) => {
            let info = describe(&args, *checkpoint);
            if args.json { print_json(&info) } else { print(&text(&info)) }
        }
        ModelFile::Quantised(checkpoint) => {
            let info = describe_quantised(&args, *checkpoint);
            if args.json { print_json(&info) } else { print(&text(&info)) }
        }
        ModelFile::Paper(checkpoint) => {
            let info = describe_paper(&args, *checkpoint, assumed);
            if args.json { print_json(&info) } else { print(&paper_text(&info)) }
        }
    }
}

/// What is told of a model of the paper.
#[derive(Serialize)]
struct PaperInfo {
    file: String,
    bytes: u64,
    kind: &'static str,
    can_be_resumed: bool,
    /// Settings that the file does not tell, as they are taken to be.
    assumed: Vec<String>,
    parameters: usize,
    config: paper::Config,
    tensors: Vec<TensorInfo>,
}

fn describe_paper(args: &InfoArgs, checkpoint: PaperCheckpoint, assumed: Vec<String>) -> PaperInfo {
    PaperInfo {
        file: name_of(args),
        bytes: size_of_file(args),
        kind: if checkpoint.config.model.mlp_t {
            "the paper's model, tokens mixed by SwiGLU"
        } else {
            "the paper's model, with rotary attention"
        },
        can_be_resumed: checkpoint.training.is_some(),
        assumed,
        parameters: checkpoint.model.iter().map(|(_, t)| t.data.len()).sum(),
        tensors: tensors(&checkpoint.model),
        config: checkpoint.config.model,
    }
}

fn paper_text(info: &PaperInfo) -> String {
    let mut text = format!(
        "file         {} ({})\nholds        {}{}\nparameters   {}\n",
        info.file,
        bytes(info.bytes),
        info.kind,
        if info.can_be_resumed { "; training checkpoint, can be resumed" } else { "" },
        info.parameters
    );
    if !info.assumed.is_empty() {
        let _ = writeln!(text, "assumed      {}", info.assumed.join(", "));
        let _ = writeln!(text, "             {}", assumption(Path::new(&info.file), &info.assumed));
    }
    write_settings(&mut text, &info.config.to_toml());
    write_tensors(&mut text, &info.tensors);
    text
}

fn name_of(args: &InfoArgs) -> String {
    args.file.as_ref().map_or("comes with trm".into(), |file| file.display().to_string())
}

fn size_of_file(args: &InfoArgs) -> u64 {
    match &args.file {
        Some(file) => std::fs::metadata(file).map_or(0, |m| m.len()),
        None => trm::checkpoint::SHIPPED.len() as u64,
    }
}

fn tensors(state: &StateDict) -> Vec<TensorInfo> {
    let describe = |(name, tensor): &(String, trm::tensor::Tensor)| {
        let n = tensor.data.len().max(1) as f64;
        let mean = tensor.data.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = tensor.data.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        TensorInfo {
            name: name.clone(),
            shape: tensor.shape.clone(),
            format: "f32".into(),
            mean,
            std: variance.sqrt(),
        }
    };
    state.iter().map(describe).collect()
}

fn write_settings(text: &mut String, toml: &str) {
    let _ = write!(text, "\nsettings\n");
    toml.lines().for_each(|line| {
        let _ = writeln!(text, "  {line}");
    });
}

fn write_tensors(text: &mut String, tensors: &[TensorInfo]) {
    let widest = tensors.iter().map(|t| t.name.len()).max().unwrap_or(0).max(36);
    let _ = writeln!(
        text,
        "\n{:<widest$} {:>14} {:>8} {:>10} {:>10}",
        "tensor", "shape", "format", "mean", "std"
    );
    for t in tensors {
        let shape = format!("{:?}", t.shape);
        let _ = writeln!(
            text,
            "{:<widest$} {shape:>14} {:>8} {:>10.5} {:>10.5}",
            t.name, t.format, t.mean, t.std
        );
    }
}

fn describe(args: &InfoArgs, checkpoint: Checkpoint) -> Info {
    let gate = |name: &str| {
        let found = checkpoint.model.iter().find(|(n, _)| n == name);
        Spread::of(found.map_or(&[], |(_, tensor)| &tensor.data))
    };
    let [latent_gate, output_gate] = ["latent_gate", "output_gate"].map(gate);
    let accuracies = checkpoint.history.as_ref().map(|h| &h.val_accuracies);
    Info {
        file: name_of(args),
        bytes: size_of_file(args),
        kind: match (&checkpoint.training, &checkpoint.optimizer) {
            (Some(_), _) => "training checkpoint, can be resumed",
            (None, Some(_)) => "checkpoint with optimiser state",
            (None, None) => "production: weights and configuration",
        },
        parameters: checkpoint.model.iter().map(|(_, t)| t.data.len()).sum(),
        nonzero: checkpoint.model.iter().flat_map(|(_, t)| &t.data).filter(|v| **v != 0.0).count(),
        forward_flops: flops_per_sample(&checkpoint.config.network).0,
        latent_gate: latent_gate.mean,
        output_gate: output_gate.mean,
        latent_gate_range: latent_gate.range,
        output_gate_range: output_gate.range,
        optimizer_step: checkpoint.optimizer.as_ref().map(|o| o.step),
        epochs: checkpoint.history.as_ref().map(|h| h.train_losses.len()),
        best_val_accuracy: accuracies.and_then(|a| a.iter().copied().reduce(f64::max)),
        has_weight_average: checkpoint.training.as_ref().is_some_and(|t| t.ema.is_some()),
        tensors: tensors(&checkpoint.model),
        config: checkpoint.config,
    }
}

/// Describes the model as if its weights were f32, and then how they are stored.
fn describe_quantised(args: &InfoArgs, quantised: QuantisedCheckpoint) -> Info {
    let model = quantised.dequantised();
    let config = quantised.config.clone();
    let mut info =
        describe(args, Checkpoint { model, config, optimizer: None, history: None, training: None });
    info.kind = "quantised: it runs, and cannot be trained";
    for tensor in &mut info.tensors {
        let weight = quantised.weights.iter().find(|(name, _)| *name == tensor.name);
        tensor.format = weight.map_or("f32".into(), |(_, weight)| match weight.bits {
            WeightBits::Eight => "int8".into(),
            WeightBits::Four => format!("int4/{}", weight.group),
        });
    }
    info
}

fn text(info: &Info) -> String {
    let latent_gate = Spread { mean: info.latent_gate, range: info.latent_gate_range };
    let output_gate = Spread { mean: info.output_gate, range: info.output_gate_range };
    let mut text = format!(
        "file         {} ({})\nholds        {}\nparameters   {}\nwork         {:.1} MFLOP for one answer\n\
         gates        latent {latent_gate:.4}, output {output_gate:.4}\n",
        info.file,
        bytes(info.bytes),
        info.kind,
        match 1.0 - info.nonzero as f64 / info.parameters.max(1) as f64 {
            zeros if zeros > 0.01 => format!("{}, of which {} are zero", info.parameters, percent(zeros)),
            _ => info.parameters.to_string(),
        },
        info.forward_flops as f64 / 1e6
    );
    if let Some(step) = info.optimizer_step {
        let _ = writeln!(text, "optimiser    step {step}");
    }
    if let Some(epochs) = info.epochs {
        let best = info.best_val_accuracy.map_or(String::new(), |a| format!(", best {:.2} %", 100.0 * a));
        let _ = writeln!(text, "history      {epochs} epochs{best}");
    }
    if info.has_weight_average {
        let _ = writeln!(text, "average      of the weights, decay {}", info.config.training.ema);
    }
    write_settings(&mut text, &info.config.to_toml());
    write_tensors(&mut text, &info.tensors);
    text
}
