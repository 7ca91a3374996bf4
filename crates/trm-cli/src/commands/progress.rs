//! What is shown while a run goes on: bars on a terminal, lines elsewhere, JSON for machines.

use super::train::Picture;
use crate::error::CliError;
use crate::output::{duration, percent, print_json, tell};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trm::train::history::Record;
use trm::train::{Length, Observer, Standing, StepReport};

/// Steps of this sitting after which the whole run's time is estimated.
const ESTIMATE_AFTER: u64 = 5;
/// Time between two lines about an epoch in progress, where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How much is shown, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Bars that move.
    Bars,
    /// A line now and then.
    Lines,
    /// JSON on standard output.
    Json,
    /// Nothing.
    Quiet,
}

impl Display {
    /// The kind of progress display that the options and the terminal ask for.
    pub fn choose(quiet: bool, json: bool) -> Self {
        match (quiet, json) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Json,
            _ if std::io::stderr().is_terminal() => Self::Bars,
            _ => Self::Lines,
        }
    }

    /// Tells a person something.
    pub fn say(self, text: &str) {
        if matches!(self, Self::Bars | Self::Lines) {
            tell(text);
        }
    }
}

/// Objects for a machine on standard output. Where nobody reads them any more, the run stops with everything saved.
#[derive(Default)]
pub struct JsonOutput(Option<CliError>);

impl JsonOutput {
    /// Prints an object on a line of its own.
    pub fn print(&mut self, value: &impl serde::Serialize) {
        if let Err(e) = print_json(value) {
            self.0 = Some(e);
        }
    }

    /// Whether nobody reads them.
    pub fn is_lost(&self) -> bool {
        self.0.is_some()
    }

    /// Tells why the run stopped.
    ///
    /// # Errors
    /// Standard output could not be written to.
    pub fn check(&self) -> Result<(), CliError> {
        let saved = "the run stopped with everything saved; trm train --resume goes on with it";
        self.0.as_ref().map_or(Ok(()), |e| Err(CliError::Failed(format!("{e}: {saved}"))))
    }
}

/// Shows a run's progress.
pub struct Progress {
    display: Display,
    stop: Arc<AtomicBool>,
    picture: Picture,
    bars: Option<Bars>,
    started: Instant,
    last_line: Instant,
    steps: u64,
    /// What a machine reads.
    pub output: JsonOutput,
    /// Mean of recent steps, so that the numbers can be read.
    loss: f64,
    accuracy: f64,
    samples_per_s: f64,
}

struct Bars {
    all: MultiProgress,
    rounds: ProgressBar,
    batches: ProgressBar,
}

impl Progress {
    /// Nothing shown yet; `stop` is asked after every step, `picture` drawn after epochs.
    pub fn new(display: Display, stop: Arc<AtomicBool>, picture: Picture) -> Self {
        let bars = (display == Display::Bars).then(|| {
            let style = |template: &str| {
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
            };
            let all = MultiProgress::new();
            let rounds = all.add(ProgressBar::new(0));
            rounds.set_style(style("round {pos:>4}/{len:<4} [{bar:30}] {msg}"));
            let batches = all.add(ProgressBar::new(0));
            batches.set_style(style("step  {pos:>4}/{len:<4} [{bar:30}] {msg}"));
            Bars { all, rounds, batches }
        });
        let now = Instant::now();
        Self {
            display,
            stop,
            picture,
            bars,
            started: now,
            last_line: now,
            steps: 0,
            output: JsonOutput::default(),
            loss: 0.0,
            accuracy: 0.0,
            samples_per_s: 0.0,
        }
    }

    /// Draws the picture of a run that ended or was stopped.
    ///
    /// # Errors
    /// The picture cannot be written.
    pub fn draw(&self, records: &[Record]) -> Result<(), CliError> {
        self.picture.finish(records)
    }

    /// Leaves the last state of the bars on the screen.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.batches.finish_and_clear();
            bars.rounds.abandon();
        }
    }

    /// Seconds to the end at the speed of this sitting; steps yet to come count, early stopping does not.
    fn seconds_left(&self, run: Standing<'_>, step: u64) -> f64 {
        let per_step = self.started.elapsed().as_secs_f64() / self.steps.max(1) as f64;
        per_step * run.total_steps.saturating_sub(step) as f64
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.all.println(text)),
            None => self.display.say(text),
        }
    }
}

impl Observer for Progress {
    fn step(&mut self, run: Standing<'_>, report: &StepReport) {
        self.steps += 1;
        let weight = if self.steps == 1 { 1.0 } else { 0.1 };
        self.loss += weight * (report.loss - self.loss);
        self.accuracy += weight * (report.cell_accuracy - self.accuracy);
        self.samples_per_s += weight * (report.samples_per_s - self.samples_per_s);
        let left = self.seconds_left(run, report.step);
        if self.steps == ESTIMATE_AFTER {
            let all = match run.regime.length {
                Length::Epochs(epochs) => format!("{epochs} epochs"),
                Length::Steps { steps, .. } => format!("{steps} steps"),
            };
            self.line(&format!(
                "estimate {} for all {all} ({:.0} puzzles/s)",
                duration(left),
                self.samples_per_s
            ));
        }
        let message = format!(
            "loss {:.4}  cells {}  grad {:.2}  lr {:.1e}  {:.0}/s",
            self.loss,
            percent(self.accuracy),
            report.grad_norm,
            report.lr,
            self.samples_per_s
        );
        if let Some(bars) = &self.bars {
            bars.batches.set_length(report.steps_per_round);
            bars.batches.set_position(report.step_in_round);
            bars.batches.set_message(message);
            bars.rounds.set_length(run.regime.rounds() as u64);
            bars.rounds.set_position(report.round as u64 - 1);
            let best = run.progress.history.iter().rev().find(|record| record.is_best);
            let best = best.and_then(|record| Some((record.val_cell_accuracy?, place(run, record))));
            let best = best.map_or(String::new(), |(a, place)| format!("  best {} in {place}", percent(a)));
            bars.rounds.set_message(format!("{} left{best}", duration(left)));
        } else if self.display == Display::Lines && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let place = match run.regime.length {
                Length::Epochs(_) => {
                    format!("epoch {} step {}/{}", report.round, report.step_in_round, report.steps_per_round)
                }
                Length::Steps { steps, .. } => format!("step {}/{steps}", report.step),
            };
            self.line(&format!("{place}  {message}  {} left", duration(left)));
        }
    }

    fn round(&mut self, run: Standing<'_>, record: &Record) {
        self.picture.update(&run.progress.history);
        self.last_line = Instant::now();
        if self.display == Display::Json {
            let mut value = json!({"event": if record.epoch.is_some() { "epoch" } else { "validation" }});
            if let (Some(target), Ok(serde_json::Value::Object(fields))) =
                (value.as_object_mut(), serde_json::to_value(record))
            {
                target.extend(fields);
            }
            self.output.print(&value);
            return;
        }
        if let Some(bars) = &self.bars {
            bars.rounds.set_position(run.progress.epoch as u64);
        }
        let stage = record.stage.map_or(String::new(), |stage| {
            let accuracy =
                record.stage_accuracy.map_or(String::new(), |share| format!(" {}", percent(share)));
            format!("; stage {stage}/{}{accuracy}", run.regime.data.curriculum_stages)
        });
        let left =
            record.train_board_accuracy.zip(record.segments).map_or(String::new(), |(boards, segments)| {
                format!(", boards {} after {segments:.1} segments", percent(boards))
            });
        let gates = record
            .gates()
            .map_or(String::new(), |[latent, output]| format!("; gates {latent:.2} {output:.2}"));
        let of = match run.regime.length {
            Length::Epochs(epochs) => epochs as u64,
            Length::Steps { steps, .. } => steps,
        };
        self.line(&format!(
            "{}/{of}: training {:.4} {}{left}; {}{}{stage}{gates}; {:.0}/s, {}",
            place(run, record),
            record.train_loss,
            percent(record.train_cell_accuracy),
            validation_text(record),
            if record.is_best { " *" } else { "" },
            record.samples_per_s,
            duration(record.elapsed_s)
        ));
    }

    fn wants_to_stop(&self) -> bool {
        self.output.is_lost() || self.stop.load(Ordering::SeqCst)
    }
}

/// Where a record stands in its run: after an epoch, or after a step.
fn place(run: Standing<'_>, record: &Record) -> String {
    match (run.regime.length, record.epoch) {
        (Length::Epochs(_), Some(epoch)) => format!("epoch {epoch}"),
        _ => format!("step {}", record.step),
    }
}

/// Validation as a line of progress tells it: loss, the shares of cells, blanks and boards that were right, and conflicts.
fn validation_text(record: &Record) -> String {
    let (Some(loss), Some(cells)) = (record.val_loss, record.val_cell_accuracy) else {
        return "no validation".into();
    };
    let [blanks, boards] =
        [record.val_blank_accuracy, record.val_board_accuracy].map(|share| percent(share.unwrap_or(0.0)));
    let conflicts =
        record.val_conflicts_per_board.map_or(String::new(), |cells| format!(", conflicts {cells:.1}"));
    format!("validation {loss:.4} {}, blanks {blanks}, boards {boards}{conflicts}", percent(cells))
}
