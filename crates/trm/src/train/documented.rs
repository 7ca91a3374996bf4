//! How a model of the documented family is trained.

use super::kind::{CarriedStates, Kind, Settings, StepContext, StepOutcome};
use super::optimizer::{Decay, Rules};
use super::schedule::{Schedule, constraint_weights};
use super::{Draws, Halting, Length, MemoryNeed, Regime, RunKind};
use crate::checkpoint::Checkpoint;
use crate::compress;
use crate::config::{NetworkConfig, Pruning, TrmConfig};
use crate::evaluate::Evaluation;
use crate::model::{Batch, Engine, Model, Network, Recording, States, TrainingStep};
use crate::network::Weights;
use crate::ops::Dropout;
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use crate::tensor::{Spread, StateDict, Tensor};

impl Settings for TrmConfig {
    fn regime(&self) -> Regime {
        let Self { network, training, data, run } = self;
        Regime {
            seed: network.seed,
            data: data.clone(),
            draws: Draws::ByPosition,
            batch_size: training.batch_size,
            length: Length::Epochs(run.epochs),
            schedule: Schedule::cosine(training.lr, training.warmup_steps),
            rules: Rules {
                betas: (training.beta1, training.beta2),
                weight_decay: training.weight_decay,
                decay: Decay::Matrices,
                signed: None,
                average: training.ema,
            },
            clip_norm: Some(training.clip_norm),
            patience: run.patience,
            has_average: training.ema > 0.0,
            prune: (training.prune, training.sparsity),
            segments: network.segments,
            halting: if training.halting { Halting::Right } else { Halting::Never },
            keeps_places: false,
        }
    }

    fn memory_need(&self, threads: usize) -> MemoryNeed {
        MemoryNeed::of(self, threads)
    }
}

impl Kind for Model {
    type Settings = TrmConfig;
    type Engine = Engine;
    type States = States;

    const FOLDER: RunKind = RunKind::Documented;

    fn build(settings: &TrmConfig, weights: Weights, threads: &Threads) -> Self {
        Self::new(settings.network.clone(), weights, threads)
    }

    fn of_checkpoint(checkpoint: Checkpoint<TrmConfig>, threads: &Threads) -> Self {
        checkpoint.into_model(threads)
    }

    fn weights(&self) -> &Weights {
        self.weights()
    }

    fn update_weights<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R {
        self.update_weights(threads, update)
    }

    fn engine(settings: &TrmConfig) -> Engine {
        Engine::new(Recording::for_training(&settings.run))
    }

    fn forward_backward(
        &self,
        engine: &mut Engine,
        batch: &Batch,
        states: &mut States,
        step: StepContext<TrmConfig>,
        grads: &mut Weights,
        threads: &Threads,
    ) -> StepOutcome {
        let NetworkConfig { dropout, seed, .. } = step.settings.network;
        let this_step = TrainingStep {
            number: step.number,
            hypotheses: step.last_stage,
            dropout: Dropout::new(dropout, seed, step.number),
            constraint_weights: constraint_weights(&step.settings.training, step.number, step.total),
        };
        let tally = engine.forward_backward(self, batch, states, &this_step, grads, threads);
        StepOutcome {
            loss_sum: tally.loss_sum,
            losses: tally.cells[0],
            constraint_sum: tally.constraint_sums.iter().sum(),
            cells: tally.cells,
            right: states.solved.clone(),
            halts: states.solved.clone(),
        }
    }

    fn score(evaluation: &Evaluation) -> f64 {
        evaluation.cell_accuracy
    }

    fn prune(settings: &TrmConfig, weights: &mut Weights, kind: Pruning, sparsity: f64) {
        compress::prune(&Network::new(&settings.network).0, weights, kind, sparsity);
    }

    fn gates(&self) -> Option<[Spread; 2]> {
        let network = self.network();
        Some([network.latent_gate, network.output_gate].map(|gate| Spread::of(&self.weights()[gate].data)))
    }
}

impl CarriedStates<Model> for States {
    fn push(&mut self, model: &Model, seed: u64, number: u64) {
        self.extend_initial(model.config(), seed, [number]);
    }

    fn restart(&mut self, _: &Model, _: usize) {
        unreachable!("puzzles that stay move up, and new ones come behind them");
    }

    fn retain(&mut self, keep: &[bool]) {
        self.retain(|i| keep[i]);
    }

    fn to_state_dict(&self, model: &Model) -> Option<StateDict> {
        let config = model.config();
        let shape = [self.solved.len(), config.state.tokens(), config.hidden_dim];
        let tensor = |data: &Vec<f32>| Tensor { shape: shape.to_vec(), data: data.clone() };
        let assumed = self.assumed.iter().map(|digit| f32::from(*digit)).collect();
        let assumed = Tensor { shape: vec![shape[0], CELLS], data: assumed };
        let states = [("y", tensor(&self.y)), ("z", tensor(&self.z))];
        let hypotheses = config.hypotheses.then_some(("assumed", assumed));
        let named = states.into_iter().chain(hypotheses).map(|(name, tensor)| (name.into(), tensor));
        (shape[0] > 0).then(|| named.collect())
    }

    fn from_state_dict(model: &Model, puzzles: usize, state: Option<&StateDict>) -> Option<Self> {
        let config = model.config();
        let values = puzzles * config.state.tokens() * config.hidden_dim;
        let find = |name: &str, values: usize| {
            let tensor = state.and_then(|state| state.iter().find(|(n, _)| n == name));
            let data = tensor.map_or(Vec::new(), |(_, tensor)| tensor.data.clone());
            (data.len() == values).then_some(data)
        };
        let assumed = match config.hypotheses {
            true => find("assumed", puzzles * CELLS)?.into_iter().map(|digit| digit as u8).collect(),
            false => vec![0; puzzles * CELLS],
        };
        Some(Self { y: find("y", values)?, z: find("z", values)?, assumed, solved: vec![false; puzzles] })
    }
}
