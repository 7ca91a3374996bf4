//! How the paper's model is trained: each puzzle of the batch stays for up to 16 segments, with an optimiser step after each.
//!
//! ```text
//! for each step:
//!     puzzles that were halted give their places to fresh ones, whose states are the first states
//!     one segment of every puzzle from the states it has; gradient of its loss; AdamW
//!     halted: after `halt_max_steps` segments, or when q_halt > 0 (sometimes only after a drawn number of segments)
//! ```
//!
//! # Source
//! "Less is More: Recursive Reasoning with Tiny Networks", <https://arxiv.org/abs/2510.04871>, sections 2 and 4

use super::kind::{CarriedStates, Kind, StepContext, StepOutcome};
use super::optimizer::{Decay, Rules, SignRule};
use super::schedule::Schedule;
use super::{Draws, Halting, Length, MemoryNeed, Regime, RunKind};
use crate::checkpoint::Checkpoint;
use crate::compress;
use crate::config::Pruning;
use crate::evaluate::Evaluation;
use crate::model::Batch;
use crate::model::paper::{Carry, Engine, Model, Network, Settings};
use crate::network::Weights;
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use crate::tensor::{Spread, StateDict, Tensor};

impl super::Settings for Settings {
    fn regime(&self) -> Regime {
        let (model, training) = (&self.model, &self.training);
        Regime {
            seed: training.seed,
            data: training.data_config(),
            draws: Draws::ByNumber,
            batch_size: training.batch_size,
            length: Length::Steps { steps: training.steps, round: training.eval_every },
            schedule: Schedule::constant(training.lr, training.warmup_steps),
            rules: Rules {
                betas: (training.beta1, training.beta2),
                weight_decay: training.weight_decay,
                decay: Decay::Everything,
                // Sudokus have the first puzzle embedding; the others stay.
                signed: Some(SignRule {
                    lr: training.puzzle_emb_lr,
                    weight_decay: training.puzzle_emb_weight_decay,
                    values: model.puzzle_emb_ndim,
                }),
                average: training.ema,
            },
            clip_norm: None,
            patience: training.patience,
            has_average: true,
            prune: (training.prune, training.sparsity),
            segments: model.halt_max_steps,
            halting: Halting::Learned { exploration: training.halt_exploration_prob },
            keeps_places: true,
        }
    }

    fn memory_need(&self, _: usize) -> MemoryNeed {
        MemoryNeed {
            total: self.memory_bytes(),
            activations: None,
            with_cycle_checkpoints: None,
            smaller: "hidden_size or batch_size",
        }
    }
}

impl Kind for Model {
    type Settings = Settings;
    type Engine = Engine;
    type States = Carry;

    const FOLDER: RunKind = RunKind::Paper;

    fn build(settings: &Settings, weights: Weights, threads: &Threads) -> Self {
        Self::new(settings.model.clone(), weights, threads)
    }

    fn of_checkpoint(checkpoint: Checkpoint<Settings>, threads: &Threads) -> Self {
        checkpoint.into_model(threads)
    }

    fn weights(&self) -> &Weights {
        self.weights()
    }

    fn update_weights<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R {
        self.update_weights(threads, update)
    }

    fn engine(_: &Settings) -> Engine {
        Engine::default()
    }

    fn forward_backward(
        &self,
        engine: &mut Engine,
        batch: &Batch,
        states: &mut Carry,
        _: StepContext<Settings>,
        grads: &mut Weights,
        threads: &Threads,
    ) -> StepOutcome {
        let (puzzles, digits) = (batch.puzzles(), [&batch.cells[..], &batch.targets]);
        let scale = 1.0 / puzzles as f32;
        let (readout, outcome) = engine.segment_with_gradients(self, digits, states, scale, grads, threads);
        StepOutcome {
            loss_sum: outcome.loss() / puzzles as f64,
            losses: 1,
            constraint_sum: 0.0,
            cells: [(puzzles * CELLS) as u64, outcome.cells_right as u64],
            halts: readout.q.iter().map(|[halt, _]| *halt > 0.0).collect(),
            right: outcome.right,
        }
    }

    /// Boards are what is to be solved; while there are none, cells tell better from worse.
    fn score(evaluation: &Evaluation) -> f64 {
        evaluation.board_accuracy + evaluation.cell_accuracy
    }

    fn prune(settings: &Settings, weights: &mut Weights, kind: Pruning, sparsity: f64) {
        compress::prune_paper(&Network::new(&settings.model).0, weights, kind, sparsity);
    }

    fn gates(&self) -> Option<[Spread; 2]> {
        None
    }
}

impl CarriedStates<Model> for Carry {
    fn push(&mut self, model: &Model, _: u64, _: u64) {
        let first = Self::new(model, 1);
        self.z_h.extend(first.z_h);
        self.z_l.extend(first.z_l);
    }

    fn restart(&mut self, model: &Model, place: usize) {
        self.reset(model, place);
    }

    fn retain(&mut self, keep: &[bool]) {
        let values = self.z_h.len() / keep.len().max(1);
        for state in [&mut self.z_h, &mut self.z_l] {
            let kept = state.chunks(values.max(1)).zip(keep).filter(|(_, keep)| **keep);
            *state = kept.flat_map(|(own, _)| own.to_vec()).collect();
        }
    }

    fn to_state_dict(&self, model: &Model) -> Option<StateDict> {
        let config = model.config();
        let shape = vec![self.z_h.len() / config.state_len(), config.tokens(), config.hidden_size];
        let state = |values: &Vec<f32>| Tensor { shape: shape.clone(), data: values.clone() };
        Some(vec![("z_H".into(), state(&self.z_h)), ("z_L".into(), state(&self.z_l))])
    }

    fn from_state_dict(model: &Model, puzzles: usize, state: Option<&StateDict>) -> Option<Self> {
        let values = puzzles * model.config().state_len();
        let find = |name: &str| {
            let (_, tensor) = state?.iter().find(|(n, _)| n == name)?;
            (tensor.data.len() == values).then(|| tensor.data.clone())
        };
        Some(Self { z_h: find("z_H")?, z_l: find("z_L")? })
    }
}
