//! How much memory a run takes, told before it takes it.

use super::cycle_tape::Recording;
use super::mixer::Mixer;
use super::params::Params;
use super::shard::Shard;
use super::sizes::Sizes;
use crate::config::{CheckpointActivations, NetworkConfig, RunConfig, State, TrmConfig};
use crate::ops::Format;
use crate::sudoku::{CELLS, DIGITS};

/// Bytes that training holds, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Parameters, what products read of them in both directions, and their moving average if there is one.
    pub weights: u64,
    /// Gradients, of as many parts of a batch as are summed side by side.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// States and activations of the rows in flight.
    pub activations: u64,
}

impl MemoryPlan {
    /// The plan of a training run under `config`, validation included.
    pub fn for_training(config: &TrmConfig, threads: usize) -> Self {
        const F32: u64 = 4;
        let TrmConfig { network, training, run, .. } = config;
        let parameters = F32 * parameter_count(network);
        let (Sizes { lanes, wave, .. }, [_, predicted]) = (Sizes::of(network), Sizes::of_prediction(network));
        let in_flight = (lanes.min(threads) * wave).min(training.batch_size) as u64;
        let prediction = (threads * predicted) as u64;
        let ema = u64::from(training.ema > 0.0);
        let packed = match network.precision.format() {
            Format::F32 => 2,
            _ => 1,
        };
        let values = |recording| Shard::values_per_puzzle(network, recording) as u64;
        // The gradient of the penalties, where there are any.
        let penalties = if training.constraint_weight > 0.0 { (CELLS * DIGITS) as u64 } else { 0 };
        // y and z of every puzzle of the batch, from one step to the next.
        let states = (2 * training.batch_size * network.state.tokens() * network.hidden_dim) as u64;
        Self {
            weights: (1 + packed + ema) * parameters,
            gradients: lanes as u64 * parameters,
            optimizer: 2 * parameters,
            activations: F32
                * (in_flight * (values(Recording::for_training(run)) + penalties)
                    + prediction * values(Recording::Nothing)
                    + states),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.optimizer + self.activations
    }

    /// The plan if activations were computed again cycle by cycle.
    pub fn with_cycle_checkpoints(config: &TrmConfig, threads: usize) -> Self {
        let config = TrmConfig {
            run: RunConfig { checkpoint_activations: CheckpointActivations::Cycle, ..config.run.clone() },
            ..config.clone()
        };
        Self::for_training(&config, threads)
    }
}

/// Number of trainable values, without allocating them.
pub fn parameter_count(config: &NetworkConfig) -> u64 {
    let size = |shape: Vec<usize>| shape.into_iter().map(|n| n as u64).product::<u64>();
    Params::layout(config).into_iter().map(|(_, shape)| size(shape)).sum()
}

/// Floating-point operations of one puzzle: (forward, forward and backward). A product of `[1, a]` by `[a, b]` counts
/// 2ab, the backward pass twice the forward. Of open candidates as many are counted as the puzzles of Sudoku-Extreme have on
/// average.
pub fn flops_per_sample(config: &NetworkConfig) -> (u64, u64) {
    let d = config.hidden_dim as u64;
    let [tokens, units] = match config.state {
        State::OpenCandidate => [217, 57],
        state => [state.tokens() as u64, state.tokens() as u64 / 9],
    };
    // Two products for each vector, and one of each kind for each unit of nine.
    let wide = config.mlp_width() as u64;
    let block = 2 * d * wide * (2 * tokens + config.units().len() as u64 * units);
    let latent = (config.l_layers * config.l_cycles) as u64;
    let block = block + Mixer::new(config).map_or(0, |mixer| mixer.flops(config.hidden_dim));
    let applications = config.h_cycles as u64 * (latent + config.output_layers as u64);
    let read_out = 2 * d * tokens * config.state.widths()[1] as u64;
    let forward = applications * block + read_out;
    (forward, 3 * forward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mixing, TrainingConfig};

    #[test]
    fn the_count_without_allocating_is_the_count() {
        let config =
            NetworkConfig { hidden_dim: 24, l_layers: 3, output_layers: 1, ..NetworkConfig::default() };
        assert_eq!(parameter_count(&config), Params::zeros(&config).count() as u64);
    }

    #[test]
    fn attention_takes_the_work_of_its_products() {
        let cells =
            NetworkConfig { hidden_dim: 96, heads: 6, state: State::Cell, ..NetworkConfig::default() };
        let work = |mixing| flops_per_sample(&NetworkConfig { mixing, ..cells.clone() }).0;
        let applications = 4 * (3 * 8 + 2);
        for (mixing, seen) in [(Mixing::Attention, 81), (Mixing::UnitAttention, 9)] {
            let products = 81 * (2 * 4 * 96 * 96 + 4 * seen * 96);
            assert_eq!(work(mixing) - work(Mixing::None), applications * products);
        }
        let token_mlp = 96 * 2 * 2 * 81 * 162;
        assert_eq!(work(Mixing::TokenMlp) - work(Mixing::None), applications * token_mlp);
    }

    #[test]
    fn the_documented_model_takes_the_documented_work() {
        let (_, training) = flops_per_sample(&NetworkConfig::default());
        assert!((1.25e9..1.35e9).contains(&(training as f64)), "{training}");
    }

    #[test]
    fn activations_are_those_of_as_many_waves_as_there_are_threads_or_lanes() {
        let board = TrmConfig {
            training: TrainingConfig { batch_size: 1024, ..TrainingConfig::default() },
            ..TrmConfig::default()
        };
        let cells = TrmConfig {
            network: NetworkConfig { hidden_dim: 96, state: State::Cell, ..board.network.clone() },
            ..board.clone()
        };
        let kept = |config: &TrmConfig, threads| {
            let plan = |config: &TrmConfig| MemoryPlan::for_training(config, threads).activations;
            // What an outer cycle more keeps.
            plan(&TrmConfig {
                network: NetworkConfig { h_cycles: config.network.h_cycles + 1, ..config.network.clone() },
                ..config.clone()
            }) - plan(config)
        };
        assert_eq!(kept(&cells, 3), 3 * kept(&cells, 1));
        assert_eq!(kept(&cells, 99), 16 * kept(&cells, 1));
        assert_eq!(kept(&board, 3), kept(&board, 1));
    }
}
