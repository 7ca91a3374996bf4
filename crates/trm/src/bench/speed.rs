//! Puzzles a second in training and inference, and how long one puzzle takes.

use super::memory::{forget_peak, peak_memory_mb};
use super::{BenchError, Measured, median, puzzles, times, trainer};
use crate::model::Thinker;
use crate::network::Weights;
use crate::parallel::Threads;
use crate::train::Kind;
use serde::Serialize;

/// Speed at one batch size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Speed {
    /// Puzzles of a step.
    pub batch_size: usize,
    /// Puzzles a second: the median over the steps.
    pub samples_per_s: f64,
    /// Puzzles a second of the slowest step and of the fastest.
    pub range: [f64; 2],
    /// Floating-point operations a second, as [`Measured::flops`] counts them.
    pub flop_per_s: f64,
    /// `flop_per_s` as a share of the ceiling that was measured in the same process.
    pub share_of_peak: f64,
    /// Largest memory of the process during the measurement, in megabytes.
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

/// Training steps in batches of so many: forward, loss, backward, clipping and AdamW.
pub fn training<S: Measured>(
    settings: &S,
    batch_size: usize,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Speed, BenchError> {
    forget_peak();
    let mut trainer = trainer(settings, batch_size, threads.count())?;
    let times = times(seconds, || super::step(&mut trainer))?;
    Ok(Speed::new(batch_size, &times, settings.flops()[1], ceiling))
}

/// The forward pass of a batch of so many.
pub fn inference<S: Measured>(
    settings: &S,
    batch_size: usize,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Speed, BenchError> {
    forget_peak();
    let times = predictions(settings, batch_size, threads, seconds)?;
    Ok(Speed::new(batch_size, &times, settings.flops()[0], ceiling))
}

/// Measures the time of one puzzle alone: puzzles are solved one after the other.
pub fn latency<S: Measured>(
    settings: &S,
    threads: &Threads,
    ceiling: f64,
    seconds: f64,
) -> Result<Latency, BenchError> {
    let time = |threads| Ok::<f64, BenchError>(median(&predictions(settings, 1, threads, seconds / 2.0)?));
    let (one_thread, all) = (time(&Threads::new(1))?, time(threads)?);
    let share_of_peak = settings.flops()[0] as f64 / all / ceiling;
    Ok(Latency { ms: 1e3 * all, one_thread_ms: 1e3 * one_thread, share_of_peak })
}

fn predictions<S: Measured>(
    settings: &S,
    batch_size: usize,
    threads: &Threads,
    seconds: f64,
) -> Result<Vec<f64>, BenchError> {
    let weights = Weights::first(&settings.layout(), settings.regime().seed);
    let model = S::Model::build(settings, weights, threads);
    let cells: Vec<u8> = puzzles(batch_size, threads)?.iter().flat_map(|p| *p.quiz.cells()).collect();
    let budget = settings.budget();
    let mut predict = model.predictor();
    // The first pass takes the memory.
    predict(&cells, &budget, threads);
    times(seconds, || {
        predict(&cells, &budget, threads);
        Ok(())
    })
}
