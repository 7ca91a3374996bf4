//! What a run needs of a kind of model. All else of training is one code: drawing, steps, schedule, optimiser, pruning, averaging,
//! halting, validation, saving and resuming.

use super::{MemoryNeed, Regime, RunKind};
use crate::checkpoint::{Checkpoint, Stored};
use crate::config::Pruning;
use crate::evaluate::Evaluation;
use crate::model::{Batch, Thinker};
use crate::network::Weights;
use crate::parallel::Threads;
use crate::tensor::{Spread, StateDict};
use std::fmt::Debug;

/// The settings of a run, which its checkpoints and its file `config.toml` hold.
pub trait Settings: Stored + Clone + Debug + Send {
    /// The regime of a run under these settings: its length, schedule and rules.
    fn regime(&self) -> Regime;
    /// Memory that a run under these settings takes on `threads` threads, to be checked before the run starts.
    fn memory_need(&self, threads: usize) -> MemoryNeed;
}

/// The puzzles' states between the steps of a run.
pub trait CarriedStates<K>: Debug + Default {
    /// Adds first states for the puzzle of draw `number`, behind the others.
    fn push(&mut self, model: &K, seed: u64, number: u64);
    /// Starts puzzle `place` again from first states.
    fn restart(&mut self, model: &K, place: usize);
    /// Keeps the puzzles for which `keep` says so, in their order.
    fn retain(&mut self, keep: &[bool]);
    /// The states by name, as a checkpoint holds them; nothing where there are none.
    fn to_state_dict(&self, model: &K) -> Option<StateDict>;
    /// The states of `puzzles` puzzles that a checkpoint holds, if they fit.
    fn from_state_dict(model: &K, puzzles: usize, state: Option<&StateDict>) -> Option<Self>;
}

/// The place of an optimiser step in its run.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a, S> {
    /// Settings of the run.
    pub settings: &'a S,
    /// Number of the step in the run, from 0.
    pub number: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// Whether the last stage of the curriculum is open, or there is no curriculum.
    pub last_stage: bool,
}

/// Loss and hits that the forward pass of a step found.
#[derive(Clone, Debug, Default)]
pub struct StepOutcome {
    /// The loss, as a sum.
    pub loss_sum: f64,
    /// Number of terms of `loss_sum`: cells, or steps.
    pub losses: u64,
    /// Sum over boards of the penalties for rows, columns and boxes, before any weight.
    pub constraint_sum: f64,
    /// Cells, and those predicted right.
    pub cells: [u64; 2],
    /// Whether each board is right in every cell.
    pub right: Vec<bool>,
    /// Whether each puzzle is to leave the batch, if the regime asks.
    pub halts: Vec<bool>,
}

impl StepOutcome {
    /// Mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.losses.max(1) as f64
    }

    /// Share of the cells that are right.
    pub fn cell_accuracy(&self) -> f64 {
        self.cells[1] as f64 / self.cells[0].max(1) as f64
    }
}

/// A kind of model that can be trained.
pub trait Kind: Thinker + Sized {
    /// The settings of a run of this kind.
    type Settings: Settings;
    /// Buffers of a pass over a batch.
    type Engine: Debug;
    /// States of the puzzles of the batch.
    type States: CarriedStates<Self>;

    /// The kind of run by which a run folder is claimed.
    const FOLDER: RunKind;

    /// A model with these weights.
    fn build(settings: &Self::Settings, weights: Weights, threads: &Threads) -> Self;
    /// The model of a checkpoint, ready to solve.
    fn of_checkpoint(checkpoint: Checkpoint<Self::Settings>, threads: &Threads) -> Self;
    /// The weights as they are trained, unpacked.
    fn weights(&self) -> &Weights;
    /// Lets `update` change the weights.
    fn update_weights<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R;
    /// Buffers for training under these settings.
    fn engine(settings: &Self::Settings) -> Self::Engine;
    /// Adds the gradient of the mean loss of a batch to `grads`; the pass starts from `states` and leaves in them where it ended.
    fn forward_backward(
        &self,
        engine: &mut Self::Engine,
        batch: &Batch,
        states: &mut Self::States,
        step: StepContext<Self::Settings>,
        grads: &mut Weights,
        threads: &Threads,
    ) -> StepOutcome;
    /// The score by which the best round is chosen: the larger, the better.
    fn score(evaluation: &Evaluation) -> f64;
    /// Clears the share `sparsity` of the weights of the blocks' matrices.
    fn prune(settings: &Self::Settings, weights: &mut Weights, kind: Pruning, sparsity: f64);
    /// The gates alpha and beta as mean and range; nothing if the model has none.
    fn gates(&self) -> Option<[Spread; 2]>;
}
