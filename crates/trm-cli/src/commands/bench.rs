//! `trm bench`

mod tables;

use crate::error::CliError;
use crate::output::{check_output, print, print_json, tell};
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};
use trm::atomic_file::write_atomically;
use trm::bench::{
    BenchError, Latency, Machine, Measured, PhaseShares, Scaling, Speed, inference, latency, phase_shares,
    sweeps, training,
};
use trm::config::{ConfigLayers, ModelKind, PRESETS, Preset, TrmConfig};
use trm::model::paper;
use trm::parallel::Threads;
use trm::plot::draw_scaling;

/// Options of `trm bench`.
#[derive(clap::Args)]
#[command(after_help = "\
The documented model unless --preset or --set says otherwise. A training step is forward, loss, backward, clipping and
AdamW. The peak is what all threads multiply and add from registers, measured in the same run. Nothing is read or
written but what --output names.

Examples:
  trm bench
  trm bench --full --json
  trm bench --parts training --batch-sizes 256 --set precision=f32
  trm bench --preset cells --batch-sizes 64
  trm bench --scaling --output docs/scaling.md")]
pub struct BenchArgs {
    /// What to measure [default: machine training inference latency; with --full phases too]
    #[arg(long, value_enum, value_name = "PART", num_args = 1..)]
    parts: Vec<Part>,
    /// Puzzles of a training step [default: 64 256; with --full 64 256 1024]
    #[arg(long, value_name = "N", num_args = 1.., value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_sizes: Vec<u32>,
    /// Puzzles of a batch in inference
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    inference_batch: u32,
    /// Seconds for each measurement, of which there are at least three runs; the median counts
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Batch 1024 in training too, and where the time of a step goes
    #[arg(long)]
    full: bool,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Settings that come with the program, as for `trm train`
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A setting of the model, as for `trm train`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    set: Vec<String>,
    /// Training against batch size, width, cycles and threads, and where the time goes, in place of all the above
    #[arg(long, conflicts_with_all = ["parts", "full", "batch_sizes"])]
    scaling: bool,
    /// Write the tables of --scaling to a Markdown file, and their picture as PNG and SVG beside it
    #[arg(long, value_name = "FILE.md", requires = "scaling")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What the machine can do at most
    Machine,
    /// Training steps
    Training,
    /// Batches in inference
    Inference,
    /// One puzzle alone
    Latency,
    /// Where the time of a training step goes
    Phases,
}

/// What was measured; a part that was not asked for is absent.
#[derive(Default, Serialize)]
struct Report {
    precision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    training: Vec<Speed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference: Option<Speed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    phases: Vec<PhaseShares>,
    #[serde(flatten)]
    scaling: Option<Scaling>,
}

/// Measures and prints.
pub fn run(args: BenchArgs) -> Result<(), CliError> {
    if let Some(path) = &args.output {
        check_output(path, &[])?;
        if path.extension().is_some_and(|ending| ending == "png" || ending == "svg") {
            return Err(CliError::Input(format!(
                "{}: what is written is Markdown: let its name end in .md",
                path.display()
            )));
        }
    }
    let threads = Threads::new(args.threads);
    let report = match (args.settings()?, args.scaling) {
        (AnySettings::Documented(config), true) => scaling_report(&args, &config, &threads),
        (AnySettings::Documented(config), false) => report(&args, &*config, &threads),
        (AnySettings::Paper(settings), false) => report(&args, &*settings, &threads),
        (AnySettings::Paper(_), true) => {
            let reason = "--scaling: how speed scales is measured of the documented family alone";
            return Err(CliError::Input(reason.into()));
        }
    };
    let report = report.map_err(|e: BenchError| CliError::Failed(e.to_string()))?;
    if let Some(path) = &args.output {
        write_scaling(&report, path)?;
    }
    if args.json {
        return print_json(&report);
    }
    print(&tables::report(&report))
}

impl BenchArgs {
    fn settings(&self) -> Result<AnySettings, CliError> {
        let input = |e: &dyn std::fmt::Display| CliError::Input(e.to_string());
        let preset = self.preset.as_deref().map(|name| {
            let names = || PRESETS.map(|preset| preset.name).join(", ");
            let unknown = || CliError::Input(format!("no preset is called {name}; there are: {}", names()));
            Preset::named(name).ok_or_else(unknown)
        });
        let preset = preset.transpose()?;
        if let Some(preset) = preset.filter(|preset| preset.kind == ModelKind::Paper) {
            let settings = paper::Settings::from_toml(preset.toml, &self.set).map_err(|e| input(&e))?;
            return Ok(AnySettings::Paper(Box::new(settings)));
        }
        let mut layers = ConfigLayers::default();
        if let Some(preset) = preset {
            layers = layers.toml(preset.toml, &format!("preset {}", preset.name)).map_err(|e| input(&e))?;
        }
        for set in &self.set {
            layers = layers.set(set).map_err(|e| input(&e))?;
        }
        Ok(AnySettings::Documented(Box::new(layers.build().map_err(|e| input(&e))?)))
    }

    fn has(&self, part: Part) -> bool {
        match part {
            Part::Phases if self.full => true,
            Part::Phases => self.parts.contains(&part),
            _ => self.parts.is_empty() || self.parts.contains(&part),
        }
    }

    fn batch_sizes(&self) -> Vec<usize> {
        let default: &[u32] = if self.full { &[64, 256, 1024] } else { &[64, 256] };
        let chosen = if self.batch_sizes.is_empty() { default } else { &self.batch_sizes };
        chosen.iter().map(|size| *size as usize).collect()
    }
}

/// Settings of either kind of model.
enum AnySettings {
    Documented(Box<TrmConfig>),
    Paper(Box<paper::Settings>),
}

fn report<S: Measured>(args: &BenchArgs, settings: &S, threads: &Threads) -> Result<Report, BenchError> {
    // Shares need the peak, whether or not it is asked for.
    let machine = Machine::measure(threads);
    let format = settings.format();
    let (ceiling, seconds) = (machine.ceiling(format), args.seconds);
    let mut report = Report { precision: format.name(), ..Report::default() };
    if args.has(Part::Latency) {
        report.latency = Some(latency(settings, threads, ceiling, seconds)?);
    }
    if args.has(Part::Inference) {
        let batch = args.inference_batch as usize;
        report.inference = Some(inference(settings, batch, threads, ceiling, seconds)?);
    }
    for batch_size in args.batch_sizes() {
        if args.has(Part::Training) {
            report.training.push(training(settings, batch_size, threads, ceiling, seconds)?);
        }
        if args.has(Part::Phases) {
            report.phases.push(phase_shares(settings, batch_size, threads, seconds)?);
        }
    }
    report.machine = args.has(Part::Machine).then_some(machine);
    Ok(report)
}

fn scaling_report(args: &BenchArgs, config: &TrmConfig, threads: &Threads) -> Result<Report, BenchError> {
    let say = |name: &str, value: &str| tell(&format!("{name} {value}"));
    let machine = Machine::measure(threads);
    let sweeps = sweeps(config, threads.count(), args.seconds, say)?;
    let shares = |batch_size: usize| phase_shares(config, batch_size, threads, args.seconds);
    let phases = vec![shares(64)?, shares(1024)?];
    Ok(Report {
        precision: config.network.precision.format().name(),
        machine: Some(machine),
        scaling: Some(Scaling { sweeps, phases }),
        ..Report::default()
    })
}

/// The tables as Markdown, and the picture beside it.
fn write_scaling(report: &Report, path: &Path) -> Result<(), CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(format!("{}: {e}", path.display()));
    let (Some(scaling), Some(machine)) = (&report.scaling, &report.machine) else { return Ok(()) };
    let (png, svg) = (path.with_extension("png"), path.with_extension("svg"));
    let summary = format!("{}, {} threads, {}", machine.cpu, machine.threads, report.precision);
    draw_scaling(&scaling.sweeps, &summary, &png, &svg).map_err(|e| failed(&e))?;
    let picture = png.file_name().unwrap_or_default().to_string_lossy();
    let text = format!("# Scaling\n\n{}\n![Share of the peak]({picture})\n", tables::report(report));
    write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes())).map_err(|e| failed(&e))
}
