//! What compressing did to size, speed and accuracy.

use crate::error::CliError;
use crate::output::percent;
use serde::Serialize;
use std::fmt::Write;
use std::time::Instant;
use trm::evaluate::{Evaluation, evaluate};
use trm::model::{Budget, Engine, Model, Recording};
use trm::parallel::Threads;
use trm::sudoku::{CELLS, Generator, Puzzle};

/// What `trm compress` reports. Of two values the first is of the model before, the second of the model after.
#[derive(Serialize)]
pub struct Report {
    /// The compression that was made, in words.
    pub what: String,
    /// The file written.
    pub output: String,
    /// Instruction set in use.
    pub instructions: &'static str,
    /// Worker threads.
    pub threads: usize,
    /// All weights at four bytes each.
    pub f32_bytes: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Speed, if it was measured.
    pub speed: Option<Speed>,
    /// Accuracy, if there were puzzles to measure it on.
    pub accuracy: Option<Accuracy>,
}

/// Medians over rounds in which the models took turns. A puzzle is left once it is solved, so a model that needs more cycles is
/// slower for it.
#[derive(Serialize)]
pub struct Speed {
    /// Puzzles solved at once.
    pub batch_size: usize,
    /// Rounds.
    pub repeats: usize,
    /// Puzzles a second.
    pub samples_per_s: [f64; 2],
    /// Milliseconds for one puzzle alone.
    pub latency_ms: [f64; 2],
}

/// Accuracy on puzzles with known solutions.
#[derive(Serialize)]
pub struct Accuracy {
    /// Number of puzzles.
    pub puzzles: u64,
    /// Share of all cells that are right.
    pub cells: [f64; 2],
    /// Share of the blank cells that are right.
    pub blanks: [f64; 2],
    /// Share of the boards that are right.
    pub boards: [f64; 2],
}

impl Speed {
    /// Times both models on generated puzzles.
    pub fn measure(
        models: &[Model; 2],
        batch_size: usize,
        repeats: usize,
        threads: &Threads,
    ) -> Result<Self, CliError> {
        let generator = Generator::new(1, 30..=40);
        let puzzles = generator.generate_many(batch_size, threads);
        let puzzles = puzzles.map_err(|e| CliError::Failed(e.to_string()))?;
        let cells: Vec<u8> = puzzles.iter().flat_map(|p| *p.quiz.cells()).collect();
        // A small model answers one puzzle faster than clocks tick evenly, so several are timed together.
        let alone: Vec<&[u8]> = cells.chunks(CELLS).take(16).collect();
        let mut engines = [Engine::new(Recording::Nothing), Engine::new(Recording::Nothing)];
        let (mut batches, mut singles) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..=repeats {
            for (i, (model, engine)) in models.iter().zip(&mut engines).enumerate() {
                let budget = Budget::trained(model.config());
                let started = Instant::now();
                engine.predict(model, &cells, &budget, threads);
                let batch = started.elapsed().as_secs_f64();
                let started = Instant::now();
                for puzzle in &alone {
                    engine.predict(model, puzzle, &budget, threads);
                }
                let single = started.elapsed().as_secs_f64() / alone.len() as f64;
                // The first round allocates and touches its memory.
                if round > 0 {
                    batches[i].push(batch);
                    singles[i].push(single);
                }
            }
        }
        Ok(Self {
            batch_size,
            repeats,
            samples_per_s: batches.map(|seconds| batch_size as f64 / median(seconds)),
            latency_ms: singles.map(|seconds| 1e3 * median(seconds)),
        })
    }
}

impl Accuracy {
    /// Evaluates both models.
    pub fn measure(models: &[Model; 2], puzzles: &[Puzzle], threads: &Threads) -> Self {
        let [before, after] = [0, 1].map(|i| evaluation(&models[i], puzzles, threads));
        let both = |share: fn(&Evaluation) -> f64| [share(&before), share(&after)];
        Self {
            puzzles: before.puzzles,
            cells: both(|e| e.cell_accuracy),
            blanks: both(|e| e.blank_accuracy),
            boards: both(|e| e.board_accuracy),
        }
    }
}

/// Accuracy within the cycles of training.
pub fn evaluation(model: &Model, puzzles: &[Puzzle], threads: &Threads) -> Evaluation {
    let budget = Budget::trained(model.config());
    evaluate(model, puzzles, &budget, threads)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Report {
    /// The report as text for a person.
    pub fn text(&self) -> String {
        let mut text =
            format!("{}: {}\n\n{:<26} {:>12} {:>12}\n", self.output, self.what, "", "before", "after");
        let mut line = |name: &str, [before, after]: [String; 2], change: String| {
            let _ = writeln!(text, "{name:<26} {before:>12} {after:>12}   {change}");
        };
        let size = |bytes: u64| format!("{:.3} MB", bytes as f64 / 1e6);
        let smaller = format!("{:.2} x smaller", self.f32_bytes as f64 / self.bytes.max(1) as f64);
        line("size (before: f32)", [self.f32_bytes, self.bytes].map(size), smaller);
        if let Some(speed) = &self.speed {
            let times = |[a, b]: [f64; 2]| format!("x {:.2}", b / a);
            let name = format!("samples/s, batch {}", speed.batch_size);
            line(&name, speed.samples_per_s.map(|v| format!("{v:.1}")), times(speed.samples_per_s));
            line("one puzzle", speed.latency_ms.map(|v| format!("{v:.2} ms")), times(speed.latency_ms));
        }
        if let Some(accuracy) = &self.accuracy {
            let points = |[a, b]: [f64; 2]| format!("{:+.2} points", 100.0 * (b - a));
            for (name, shares) in
                [("cells", accuracy.cells), ("blank cells", accuracy.blanks), ("boards", accuracy.boards)]
            {
                line(&format!("{name}, {} puzzles", accuracy.puzzles), shares.map(percent), points(shares));
            }
        }
        if let Some(speed) = &self.speed {
            let _ = writeln!(
                text,
                "\n{}, {} threads; medians of {} rounds in which both took turns",
                self.instructions, self.threads, speed.repeats
            );
        }
        text
    }
}
