//! `trm bench`

use crate::error::CliError;
use crate::output::{bytes, print, print_json};
use serde::Serialize;
use std::time::Instant;
use trm::config::{ConfigLayers, TrmConfig};
use trm::model::{Budget, Engine, Model, Params, Recording, flops_per_sample};
use trm::parallel::Threads;
use trm::sudoku::Generator;
use trm::train::{Trainer, TrainingData};

/// Options of `trm bench`.
#[derive(clap::Args)]
#[command(after_help = "\
The documented model unless --set says otherwise. A training step is forward, loss, backward, clipping and AdamW.

Examples:
  trm bench
  trm bench --batch-size 256 --steps 20 --json
  trm bench --set hidden_dim=256 --threads 1")]
pub struct BenchArgs {
    /// Puzzles in one step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Steps that are timed; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// A setting of the model, as for `trm train`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    set: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    level: &'static str,
    threads: usize,
    batch_size: usize,
    /// Median over the training steps.
    samples_per_s: f64,
    gflops: f64,
    inference_samples_per_s: f64,
    /// One puzzle alone.
    latency_ms: f64,
    peak_memory_mb: Option<f64>,
}

/// Measures and prints.
pub fn run(args: BenchArgs) -> Result<(), CliError> {
    let mut layers = ConfigLayers::default();
    for set in &args.set {
        layers = layers.set(set).map_err(|e| CliError::Input(e.to_string()))?;
    }
    let config = TrmConfig {
        batch_size: args.batch_size.max(1),
        ..layers.build().map_err(|e| CliError::Input(e.to_string()))?
    };
    let report = measure(config, args.steps.max(1), args.threads)?;
    if args.json {
        return print_json(&report);
    }
    let memory = report.peak_memory_mb.map_or("unknown".into(), |mb| bytes((mb * 1e6) as u64));
    print(&format!(
        "instructions          {}\nthreads               {}\ntraining, batch {:<5} {:.1} samples/s ({:.0} GFLOP/s)\n\
         inference, batch {:<4} {:.1} samples/s\none puzzle            {:.2} ms\npeak memory           {memory}\n",
        report.level,
        report.threads,
        report.batch_size,
        report.samples_per_s,
        report.gflops,
        report.batch_size,
        report.inference_samples_per_s,
        report.latency_ms,
    ))
}

fn measure(config: TrmConfig, steps: usize, threads: usize) -> Result<Report, CliError> {
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    let threads = Threads::new(threads);
    let count = threads.count();
    let generator = Generator::new(1, 30..=40);
    let puzzles = generator.generate_many(config.batch_size, &threads).map_err(|e| failed(&e))?;
    let data = TrainingData { train: puzzles.clone(), ..TrainingData::default() };
    let batch_size = config.batch_size;
    let config = TrmConfig { epochs: steps + 2, patience: 0, ..config };
    let (_, flops) = flops_per_sample(&config);
    let mut trainer = Trainer::new(config.clone(), data, threads).map_err(|e| failed(&e))?;
    let mut rates = Vec::new();
    for step in 0..steps + 1 {
        let report = trainer.step().map_err(|e| failed(&e))?;
        // The first step allocates and touches its memory.
        if step > 0 {
            rates.push(report.samples_per_s);
        }
        trainer.finish_epoch();
    }
    let samples_per_s = median(rates);
    let peak_memory_mb = peak_memory_mb();

    let threads = Threads::new(count);
    let model = Model::new(config.clone(), Params::init(&config), &threads);
    let cells: Vec<u8> = puzzles.iter().flat_map(|p| *p.quiz.cells()).collect();
    let mut engine = Engine::new(Recording::Nothing);
    let budget = Budget::trained(&config);
    let mut time = |cells: &[u8]| {
        let seconds = (0..steps + 1).map(|_| {
            let started = Instant::now();
            engine.predict(&model, cells, &budget, &threads);
            started.elapsed().as_secs_f64()
        });
        median(seconds.skip(1).collect())
    };
    let inference = batch_size as f64 / time(&cells);
    let latency_ms = 1e3 * time(&cells[..81]);
    Ok(Report {
        level: trm::kernel_level(),
        threads: count,
        batch_size,
        samples_per_s,
        gflops: samples_per_s * flops as f64 / 1e9,
        inference_samples_per_s: inference,
        latency_ms,
        peak_memory_mb,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Largest resident memory of this process so far, where the system tells (Linux).
pub fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
