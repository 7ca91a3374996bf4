//! Puzzles a second in training and inference, and how long one puzzle takes.

use super::memory::{forget_peak, peak_memory_mb};
use super::{BenchError, median, puzzles, times, trainer};
use crate::config::TrmConfig;
use crate::model::{Budget, Engine, Model, Recording, flops_per_sample};
use crate::parallel::Threads;
use serde::Serialize;

/// What was measured at one batch size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    /// Puzzles of a step.
    pub batch_size: usize,
    /// Median over the steps.
    pub samples_per_s: f64,
    /// Of the slowest step and of the fastest.
    pub range: [f64; 2],
    /// Floating-point operations a second, by [`flops_per_sample`].
    pub flop_per_s: f64,
    /// Share of the ceiling.
    pub share_of_peak: f64,
    /// Largest memory of the process meanwhile.
    pub peak_memory_mb: Option<f64>,
}

impl Speed {
    fn new(batch_size: usize, times: &[f64], flops: u64, ceiling: f64) -> Self {
        let rate = |seconds: f64| batch_size as f64 / seconds;
        let samples_per_s = rate(median(times));
        let flop_per_s = samples_per_s * flops as f64;
        Self {
            batch_size,
            samples_per_s,
            range: [rate(times[times.len() - 1]), rate(times[0])],
            flop_per_s,
            share_of_peak: flop_per_s / ceiling,
            peak_memory_mb: peak_memory_mb(),
        }
    }
}

/// How long one puzzle takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Median, on all threads.
    pub ms: f64,
    /// Median, on one thread.
    pub one_thread_ms: f64,
    /// Share of the ceiling of all threads.
    pub share_of_peak: f64,
}

/// Training steps: forward, loss, backward, clipping and AdamW.
pub fn training(
    config: &TrmConfig,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Speed, BenchError> {
    forget_peak();
    let mut trainer = trainer(config, threads.count())?;
    let times = times(seconds, || super::step(&mut trainer))?;
    Ok(Speed::new(config.training.batch_size, &times, flops_per_sample(&config.network).1, ceiling))
}

/// The forward pass of a batch.
pub fn inference(
    config: &TrmConfig,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Speed, BenchError> {
    forget_peak();
    let times = predictions(config, config.training.batch_size, threads, seconds)?;
    Ok(Speed::new(config.training.batch_size, &times, flops_per_sample(&config.network).0, ceiling))
}

/// One puzzle after the other.
pub fn latency(
    config: &TrmConfig,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Latency, BenchError> {
    let time = |threads| Ok::<f64, BenchError>(median(&predictions(config, 1, threads, seconds / 2.0)?));
    let (one_thread, all) = (time(&Threads::new(1))?, time(threads)?);
    let share_of_peak = flops_per_sample(&config.network).0 as f64 / all / ceiling;
    Ok(Latency { ms: 1e3 * all, one_thread_ms: 1e3 * one_thread, share_of_peak })
}

fn predictions(
    config: &TrmConfig,
    batch_size: usize,
    threads: &Threads,
    seconds: f64,
) -> Result<Vec<f64>, BenchError> {
    let model = Model::first(config.network.clone(), threads);
    let cells: Vec<u8> = puzzles(batch_size, threads)?.iter().flat_map(|p| *p.quiz.cells()).collect();
    // As in training: a model that carries its states would go on for all its segments.
    let budget = Budget { steps: config.network.h_cycles, ..Budget::trained(&config.network) };
    let mut engine = Engine::new(Recording::Nothing);
    // The first pass takes the memory.
    engine.predict(&model, &cells, &budget, threads);
    times(seconds, || {
        engine.predict(&model, &cells, &budget, threads);
        Ok(())
    })
}
