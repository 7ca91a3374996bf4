//! A trace as a person reads it.

use super::{Format, marked};
use std::fmt::Write;
use trm::model::{Failure, Guess, GuessReason, SearchReason, TrajectoryEnd, TrajectoryReason};
use trm::sudoku::{Contradiction, Grid};
use trm::trace::{Cycle, Digit, Event, Trace};

/// The whole trace as text: a line for each event and, if `format` asks for them, a picture of the board after each
/// outer cycle.
pub fn trace_text(trace: &Trace, format: Format) -> String {
    let mut text = String::new();
    for event in &trace.events {
        let _ = match (event, format) {
            (Event::Cycle(cycle), Format::Grid) => writeln!(text, "{}", cycle_grid(cycle)),
            (Event::Cycle(cycle), _) => writeln!(text, "{}", cycle_line(cycle)),
            (event, Format::Grid) => writeln!(text, "{}\n", sentence(event)),
            // A list of puzzles has comments behind this sign.
            (event, _) => writeln!(text, "# {}", sentence(event)),
        };
    }
    text
}

fn cycle_line(c: &Cycle) -> String {
    let mut line = format!(
        "{} cycle {} changed {} conflicts {} confidence {:.3} entropy {:.3} bits",
        c.board,
        c.cycle,
        c.changed.len(),
        c.conflicts.len(),
        c.mean_confidence,
        c.mean_entropy_bits
    );
    for (name, digits) in [("hypotheses", &c.hypotheses), ("guesses", &c.guesses)] {
        if !digits.is_empty() {
            let _ = write!(line, " {name} {}", digits.len());
        }
    }
    line
}

fn cycle_grid(c: &Cycle) -> String {
    let board = Grid::parse(&c.board).expect("a trace holds boards");
    let updates: Vec<String> = c.latent_updates.iter().map(|update| format!("{update:.3}")).collect();
    let mut text = format!(
        "cycle {}{}: {} cells changed (marked *), {} in conflict, confidence {:.1} %, entropy {:.2} bits\n\
         latent updates {}   output update {:.3}\n",
        c.cycle,
        if c.judged { "" } else { ", not checked" },
        c.changed.len(),
        c.conflicts.len(),
        100.0 * c.mean_confidence,
        c.mean_entropy_bits,
        updates.join(" "),
        c.output_update,
    );
    for (name, digits) in [("hypotheses", &c.hypotheses), ("guesses", &c.guesses)] {
        if !digits.is_empty() {
            let _ = writeln!(text, "{name} in force: {}", list(digits));
        }
    }
    text + &marked(&board, &c.changed, '*')
}

/// What happened, in words.
fn sentence(event: &Event) -> String {
    match event {
        Event::Cycle(cycle) => cycle_line(cycle),
        Event::TrajectoryBegun { restart, why } => match why {
            TrajectoryReason::First => "the first trajectory begins".into(),
            TrajectoryReason::Unsolved => {
                format!(
                    "restart {restart} begins from other first states: the trajectory before it found no solution"
                )
            }
        },
        Event::TrajectoryEnded { restart, cycles, end } => {
            let name =
                if *restart == 0 { "the first trajectory".into() } else { format!("restart {restart}") };
            let end = match end {
                TrajectoryEnd::Solved => "its answer is a solution",
                TrajectoryEnd::CyclesSpent => "it has no cycles left",
            };
            format!("{name} ends after {cycles} cycles: {end}")
        }
        Event::HypothesesRevised { assumed, taken_back, all_taken_back } => {
            let mut parts = Vec::new();
            if !taken_back.is_empty() {
                let all = if *all_taken_back { ", so that none is left" } else { "" };
                parts.push(format!("taken back: {}{all}", list(taken_back)));
            }
            if !assumed.is_empty() {
                parts.push(format!("assumed: {}", list(assumed)));
            }
            format!("hypotheses {}", parts.join("; "))
        }
        Event::SearchBegun { start, why } => {
            let why = match why {
                SearchReason::Unsolved => "no trajectory found a solution, so digits are guessed",
                SearchReason::SearchFailed => {
                    "the search before it failed, and guesses are left; it starts from other first states"
                }
            };
            format!("search {} begins: {why}", start + 1)
        }
        Event::GuessBegun { guess, why } => {
            let why = match why {
                GuessReason::NoHeadway { cycles } => format!("no headway in {cycles} cycles"),
                GuessReason::TakenBack { digit } => format!("{digit} was taken back there"),
            };
            let probability = 100.0 * guess.probability;
            format!("guess: {}, of probability {probability:.1} %: {why}", of_guess(guess))
        }
        Event::GuessTakenBack { guess, why } => {
            format!("guess taken back: {}: {}", of_guess(guess), reason(why))
        }
        Event::SearchEnded { start, failure } => {
            let end = failure.as_ref().map_or("its answer is a solution".into(), reason);
            format!("search {} ends: {end}", start + 1)
        }
        Event::Answer { cycle, solved: true, .. } => {
            format!("the answer is the board of cycle {cycle}, a solution")
        }
        Event::Answer { cycle, .. } => {
            format!("the answer is the board of cycle {cycle}, which is no solution")
        }
    }
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Contradiction { contradiction } => match contradiction {
            Contradiction::Twice { cells } => format!("a digit stands twice in a unit, in {}", places(cells)),
            Contradiction::NoDigit { cell } => format!("no digit is left for {}", place(*cell)),
            Contradiction::NoPlace { digit, cells } => {
                format!("no place is left for {digit} in {}", places(cells))
            }
        },
        Failure::NoDigitLeft { cell } => format!("every likely digit of {} was taken back", place(*cell)),
        Failure::NothingUncertain => "all cells are certain, and they are no solution".into(),
        Failure::GuessesSpent => "no guesses are left".into(),
    }
}

fn of_guess(guess: &Guess) -> String {
    format!("{}={} on {} others", place(guess.cell), guess.digit, guess.depth - 1)
}

fn list(digits: &[Digit]) -> String {
    let words: Vec<String> = digits.iter().map(|d| format!("{}={}", place(d.cell), d.digit)).collect();
    words.join(" ")
}

fn places(cells: &[usize]) -> String {
    cells.iter().map(|cell| place(*cell)).collect::<Vec<_>>().join(" ")
}

/// Row and column, counted from 1: `r3c7`.
fn place(cell: usize) -> String {
    format!("r{}c{}", cell / 9 + 1, cell % 9 + 1)
}
