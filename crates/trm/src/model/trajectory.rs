//! The one loop over outer cycles: whatever answers a puzzle goes through here, and can be looked on.
//!
//! ```text
//! for each trajectory, the first and the restarts:
//!     first states; nothing assumed
//!     up to `steps` times:
//!         one outer cycle
//!         read the answer off, where training did and at the end; a solution ends it
//!         after each segment: revise the hypotheses
//! as long as guesses are left: search (search.rs), whose every guess is a trajectory of its own
//! ```

use super::budget::{Budget, Prediction, is_solution};
use super::hypotheses::random;
use super::observer::{CycleView, Moment, TrajectoryEnd, TrajectoryReason, Updates, Watch};
use super::search::search;
use super::streams::stream;
use crate::sudoku::{CELLS, DIGITS};
use rand_chacha::ChaCha8Rng;

/// A network on its way through outer cycles with some puzzles: what the loop asks of it.
pub(super) trait Recursion: Sized {
    /// First states of some puzzles.
    type States;

    /// Digits that the network sees as given, `[puzzles, 81]`, 0 where blank.
    fn cells(&self) -> &[u8];
    /// Changes the givens of the puzzles. [`Self::begin`] comes next.
    fn set_cells(&mut self, cells: &[u8]);
    /// A recursion for one of the puzzles alone, with memory of its own.
    fn alone(&self, puzzle: usize) -> Self;

    /// Whether first states are random: otherwise every trajectory is the same.
    fn is_random(&self) -> bool;
    /// First states, from one random stream for each puzzle.
    fn first_states(&self, seed: u64, streams: &[u64]) -> Self::States;
    /// Starts from these states with nothing assumed.
    fn begin(&mut self, first: &mut Self::States);

    /// Outer cycles of a segment: what one step of training went through.
    fn segment(&self) -> usize;
    /// Whether training read the answer off after cycle h of a segment, or the next cycle needs it.
    fn is_read_out(&self, h: usize) -> bool;
    /// One outer cycle. Tells how far the states moved, if it is asked.
    fn cycle(&mut self, updates: Option<&mut Updates>);
    /// Reads the answer off.
    fn read_out(&mut self);
    /// The answer read off last, `[puzzles, 81, 9]`.
    fn logits(&self) -> &[f32];
    /// Floating-point operations of an outer cycle and of reading the answer off, for one puzzle.
    fn flops(&self) -> [u64; 2];

    /// Digits taken for true for the time being, `[puzzles, 81]`, 0 for none.
    fn assumed(&self) -> &[u8];
    /// Revises them by the answer, with random numbers for each puzzle, if the network assumes any.
    fn revise(&mut self, random: &mut [ChaCha8Rng]);
}

/// Thinks about the puzzles of `r` within `budget`, a prediction for each. A watch is for a single puzzle.
pub(super) fn answer<R: Recursion>(
    budget: &Budget,
    r: &mut R,
    predictions: &mut [Prediction],
    mut watch: Watch<'_>,
) {
    debug_assert!(predictions.len() == 1 || !watch.is_on());
    let restarts = if r.is_random() { budget.restarts } else { 0 };
    for restart in 0..=restarts {
        trajectory(budget, restart, r, predictions, &mut watch);
        if predictions.iter().all(|p| p.solved) {
            return;
        }
    }
    let unsolved = predictions.iter_mut().enumerate().filter(|(_, p)| !p.solved && budget.guesses > 0);
    for (puzzle, prediction) in unsolved {
        search(budget, r.alone(puzzle), prediction, &mut watch);
    }
}

fn trajectory<R: Recursion>(
    budget: &Budget,
    restart: usize,
    r: &mut R,
    predictions: &mut [Prediction],
    watch: &mut Watch<'_>,
) {
    watch.show(|| Moment::TrajectoryBegun {
        restart,
        why: if restart == 0 { TrajectoryReason::First } else { TrajectoryReason::Unsolved },
    });
    let givens = r.cells().to_vec();
    let streams: Vec<u64> = givens.chunks(CELLS).map(|givens| stream(givens, restart as u64)).collect();
    let mut hypotheses: Vec<ChaCha8Rng> = streams.iter().map(|s| random(budget.seed, *s)).collect();
    let mut first = r.first_states(budget.seed, &streams);
    r.begin(&mut first);
    predictions.iter_mut().filter(|p| !p.solved).for_each(|p| p.restarts = restart);
    for step in 1..=budget.steps {
        let is_judged = r.is_read_out((step - 1) % r.segment()) || step == budget.steps;
        cycle(r, &givens, predictions, is_judged, watch);
        if predictions.iter().all(|p| p.solved) {
            watch.show(|| Moment::TrajectoryEnded { restart, end: TrajectoryEnd::Solved });
            return;
        }
        // What is assumed after the last cycle, nothing would follow from.
        if step % r.segment() == 0 && step < budget.steps {
            let before = if watch.is_on() { r.assumed().to_vec() } else { Vec::new() };
            r.revise(&mut hypotheses);
            if watch.is_on() && before != r.assumed() {
                watch.show(|| Moment::HypothesesRevised { before: &before, after: r.assumed() });
            }
        }
    }
    if restart == 0 {
        let logits = r.logits().chunks(CELLS * DIGITS);
        let unsolved = predictions.iter_mut().zip(logits).filter(|(p, _)| !p.solved);
        unsolved.for_each(|(prediction, logits)| prediction.logits = logits.to_vec());
    }
    watch.show(|| Moment::TrajectoryEnded { restart, end: TrajectoryEnd::CyclesSpent });
}

/// One outer cycle of the puzzles that are not solved yet, and the verdict on their answers if they are judged: a solution is
/// taken. Solved puzzles come along and are not looked at.
///
/// # Shapes
/// `givens` is `[puzzles, 81]`, the digits of the puzzles without guesses.
pub(super) fn cycle<R: Recursion>(
    r: &mut R,
    givens: &[u8],
    predictions: &mut [Prediction],
    is_judged: bool,
    watch: &mut Watch<'_>,
) {
    let mut updates = Updates::default();
    r.cycle(watch.is_on().then_some(&mut updates));
    let [cycle, read_out] = r.flops();
    if is_judged || watch.is_on() {
        r.read_out();
    }
    let boards = r.logits().chunks(CELLS * DIGITS).zip(givens.chunks(CELLS));
    for (prediction, (logits, givens)) in predictions.iter_mut().zip(boards).filter(|(p, _)| !p.solved) {
        prediction.steps += 1;
        prediction.flops += cycle + if is_judged { read_out } else { 0 };
        prediction.solved = is_judged && is_solution(givens, logits);
        if prediction.solved {
            prediction.logits = logits.to_vec();
        }
    }
    watch.show(|| {
        Moment::Cycle(CycleView {
            logits: r.logits(),
            is_judged,
            is_solution: is_solution(givens, r.logits()),
            updates: &updates,
            cells: r.cells(),
            assumed: r.assumed(),
        })
    });
}
