//! Speed on this machine, next to what it can do at most: training, inference, one puzzle alone, and where the time goes.
//!
//! Every measurement is divided by a ceiling that was measured in the same process: multiplications and additions from
//! registers, on as many threads.

mod machine;
mod measured;
mod memory;
mod phases;
mod scaling;
mod speed;

pub use machine::{Bandwidth, Machine, Peak};
pub use measured::Measured;
pub use memory::peak_memory_mb;
pub use phases::{PhaseShares, phase_shares};
pub use scaling::{Point, Scaling, Sweep, sweeps};
pub use speed::{Latency, Speed, inference, latency, training};

use crate::parallel::Threads;
use crate::sudoku::{GenerateError, Generator, Puzzle};
use crate::train::{Kind, TrainError, Trainer, TrainingData};
use std::time::Instant;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The training step that was to be timed failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// There were no puzzles to time it with.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

fn puzzles(count: usize, threads: &Threads) -> Result<Vec<Puzzle>, BenchError> {
    Ok(Generator::new(1, 30..=40).generate_many(count, threads)?)
}

/// A run in batches of so many puzzles, which never comes to its end; its first step, which takes the memory, is made.
fn trainer<S: Measured>(
    settings: &S,
    batch_size: usize,
    threads: usize,
) -> Result<Trainer<S::Model>, BenchError> {
    let threads = Threads::new(threads);
    let data = TrainingData { train: puzzles(batch_size, &threads)?, ..TrainingData::default() };
    let mut trainer = Trainer::new(settings.endless(batch_size), data, threads)?;
    step(&mut trainer)?;
    Ok(trainer)
}

/// A step, and the end of the round that it is if no puzzle stays in the batch.
fn step<K: Kind>(trainer: &mut Trainer<K>) -> Result<(), BenchError> {
    trainer.step()?;
    if trainer.round_is_complete() {
        trainer.finish_round();
    }
    Ok(())
}

/// Seconds of single runs, at least three of them and then until `seconds` have passed, in order of length.
fn times(seconds: f64, mut run: impl FnMut() -> Result<(), BenchError>) -> Result<Vec<f64>, BenchError> {
    const FEWEST: usize = 3;
    let (mut times, begin) = (Vec::new(), Instant::now());
    while times.len() < FEWEST || begin.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
