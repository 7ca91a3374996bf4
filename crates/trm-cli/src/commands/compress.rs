//! `trm compress`

mod report;
mod sweep;

use super::eval::read_puzzles;
use super::read_model;
use crate::error::CliError;
use crate::output::{check_ending, check_output, print, print_json};
use report::{Accuracy, Report, Speed};
use std::path::PathBuf;
use trm::checkpoint::{Checkpoint, ModelFile};
use trm::compress::{Calibration, pruned, quantise};
use trm::config::Pruning;
use trm::model::{Batch, Model, input_statistics};
use trm::ops::Levels;
use trm::parallel::Threads;

/// Puzzles of the calibration file that are looked at, the first ones.
const CALIBRATION_PUZZLES: usize = 256;

/// Options of `trm compress`.
#[derive(clap::Args)]
#[command(after_help = "\
Prunes, then quantises, and tells what that does to size, speed and accuracy, before and after.

--int8 rounds weights to 8 bits with a scale for each output, --int4 to 4 bits with a scale for
each group of inputs. Inputs of products are rounded to 8 bits too, and sums are whole numbers.
Gates, norms, biases and the input projection stay f32. The file is .safetensors; every command
that runs a model reads it, but it cannot be trained.

--prune unstructured clears the weights of least magnitude in each matrix of the blocks, 2:4 two of
four neighbouring inputs; both make a .safetensors file smaller, not the model faster. --prune
structured removes the weakest units of the blocks' inner layers, so that matrices are smaller.
Accuracy comes back with training: see --init and --prune of trm train.

Examples:
  trm compress model.pt small.safetensors --int8
  trm compress model.pt small.safetensors --int4 --calibrate train.csv --data test.csv
  trm compress model.pt small.safetensors --prune structured --sparsity 0.5 --int8
  trm compress model.pt --sweep --data sudoku.csv --last 1000 --plot sparsity.png")]
pub struct CompressArgs {
    /// Model file: .pt or .safetensors
    model: PathBuf,
    /// What a model file of another program does not tell, as in H_cycles=4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// File to write
    #[arg(required_unless_present = "sweep")]
    output: Option<PathBuf>,
    /// Weights of 8 bits
    #[arg(long, conflicts_with = "int4")]
    int8: bool,
    /// Weights of 4 bits
    #[arg(long)]
    int4: bool,
    /// Inputs that share a scale with --int4: a multiple of 8
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = group)]
    group: usize,
    /// CSV file whose first 256 puzzles show which inputs are large, so that their weights are rounded better
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Round inputs of products to fixed steps, found by --calibrate, instead of row by row
    #[arg(long = "static", requires = "calibrate")]
    fixed_steps: bool,
    /// Leave out weights: unstructured, 2:4 or structured
    #[arg(long, value_name = "KIND")]
    prune: Option<Pruning>,
    /// Share of the weights, or units, to leave out [default: 0.5]
    #[arg(long, value_name = "S", requires = "prune")]
    sparsity: Option<f64>,
    /// CSV file (.csv, .csv.gz) with puzzles and solutions to measure accuracy on
    #[arg(short, long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Use the last N rows of --data only
    #[arg(long, value_name = "N", requires = "data")]
    last: Option<usize>,
    /// Instead of writing a file, prune by every kind to 0, 10 ... 90 % in one shot, and tell the accuracy
    #[arg(long, requires = "data", conflicts_with_all = ["output", "int8", "int4", "prune"])]
    sweep: bool,
    /// Draw the sweep: a PNG, and an SVG beside it
    #[arg(long, value_name = "FILE.png", requires = "sweep")]
    plot: Option<PathBuf>,
    /// Puzzles that are solved at once where speed is measured
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch_size: usize,
    /// Rounds in which both models take turns, of which the median counts; 0 measures no speed
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeats: usize,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn group(text: &str) -> Result<usize, String> {
    let group = text.parse().ok().filter(|group| (8..=65_536).contains(group) && group % 8 == 0);
    group.ok_or_else(|| "a multiple of 8, up to 65536".into())
}

/// Compresses, writes, measures and reports.
pub fn run(args: CompressArgs) -> Result<(), CliError> {
    if let Some(output) = &args.output {
        let read = [Some(&args.model), args.data.as_ref(), args.calibrate.as_ref()];
        check_output(output, &read.into_iter().flatten().map(|path| &**path).collect::<Vec<_>>())?;
        check_ending(output, &["a model"], ".safetensors or .pt")?;
    }
    let threads = Threads::new(args.threads);
    let puzzles = args.data.as_ref().map(|data| read_puzzles(data, args.last, false)).transpose()?;
    let before = args.read()?;
    let Some(output) = &args.output else {
        return sweep::run(&args, &before, &puzzles.unwrap_or_default(), &threads);
    };
    let after = args.compress(&before, &threads)?;
    after.write(output).map_err(|e| CliError::Failed(e.to_string()))?;
    let f32_bytes = 4 * before.model.iter().map(|(_, tensor)| tensor.data.len() as u64).sum::<u64>();
    // What is measured is what was written.
    let written = read_model(Some(output), &[])?;
    let models = [ModelFile::Trm(Box::new(before)), written].map(|file| model_of(file, &threads));
    let [before, after] = models;
    let models = [before?, after?];
    let report = Report {
        what: args.what(),
        output: output.display().to_string(),
        instructions: trm::kernel_level(),
        threads: threads.count(),
        f32_bytes,
        bytes: std::fs::metadata(output).map_or(0, |m| m.len()),
        speed: (args.repeats > 0)
            .then(|| Speed::measure(&models, args.batch_size.max(1), args.repeats, &threads))
            .transpose()?,
        accuracy: puzzles.map(|puzzles| Accuracy::measure(&models, &puzzles, &threads)),
    };
    if args.json { print_json(&report) } else { print(&report.text()) }
}

impl CompressArgs {
    /// The model as it is, without what only training needs.
    fn read(&self) -> Result<Checkpoint, CliError> {
        match read_model(Some(&self.model), &self.set)? {
            ModelFile::Trm(checkpoint) => {
                Ok(Checkpoint { optimizer: None, history: None, training: None, ..*checkpoint })
            }
            ModelFile::Quantised(_) => Err(CliError::Input(format!(
                "{}: its weights are quantised already; start from the file that it was made from",
                self.model.display()
            ))),
            ModelFile::Paper(_) => Err(CliError::Input(format!(
                "{}: models of the paper cannot be compressed; trm compress takes those of trm train",
                self.model.display()
            ))),
        }
    }

    fn levels(&self) -> Option<Levels> {
        match (self.int8, self.int4) {
            (true, _) => Some(Levels::Int8),
            (_, true) => Some(Levels::Int4 { group: self.group }),
            _ => None,
        }
    }

    fn sparsity(&self, kind: Pruning) -> Result<f64, CliError> {
        let sparsity = self.sparsity.unwrap_or(0.5);
        if kind.has(sparsity) {
            return Ok(sparsity);
        }
        Err(CliError::Input(format!(
            "--sparsity {sparsity}: from 0 to 0.99, and with --prune 2:4, two of four, 0.5"
        )))
    }

    /// What was asked for, in a few words.
    fn what(&self) -> String {
        let pruned =
            self.prune.map(|kind| format!("{} pruning {}", kind.name(), self.sparsity.unwrap_or(0.5)));
        let quantised = self.levels().map(|levels| match levels {
            Levels::Int8 => "int8".to_string(),
            Levels::Int4 { group } => format!("int4 in groups of {group}"),
        });
        pruned.into_iter().chain(quantised).collect::<Vec<_>>().join(", ")
    }

    fn compress(&self, before: &Checkpoint, threads: &Threads) -> Result<ModelFile, CliError> {
        let pruned = match self.prune {
            Some(kind) => pruned(before, kind, self.sparsity(kind)?),
            None => before.clone(),
        };
        let Some(levels) = self.levels() else {
            if self.prune.is_none() {
                return Err(CliError::Input("say what to do: --int8, --int4 or --prune KIND".into()));
            }
            return Ok(ModelFile::Trm(Box::new(pruned)));
        };
        let inputs = match &self.calibrate {
            None => None,
            Some(file) => {
                let mut puzzles = read_puzzles(file, None, false)?;
                puzzles.truncate(CALIBRATION_PUZZLES);
                let model = pruned.clone().into_model(threads);
                Some(input_statistics(&model, &Batch::of(&puzzles).cells, threads))
            }
        };
        let calibration =
            inputs.as_deref().map(|inputs| Calibration { inputs, fixed_steps: self.fixed_steps });
        Ok(ModelFile::Quantised(Box::new(quantise(&pruned, levels, calibration))))
    }
}

fn model_of(file: ModelFile, threads: &Threads) -> Result<Model, CliError> {
    match file {
        ModelFile::Trm(checkpoint) => Ok(checkpoint.into_model(threads)),
        ModelFile::Quantised(checkpoint) => Ok(checkpoint.into_model(threads)),
        ModelFile::Paper(_) => Err(CliError::Failed("what was written is no model of this project".into())),
    }
}
