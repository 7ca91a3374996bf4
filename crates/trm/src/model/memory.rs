//! How much memory a run takes, told before it takes it.

use super::sizes::Sizes;
use super::{Network, Recording, Shard};
use crate::config::{CheckpointActivations, NetworkConfig, RunConfig, TrmConfig};
use crate::network::Room;
use crate::ops::Format;
use crate::sudoku::{CELLS, DIGITS};

/// Bytes that training holds, by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Parameters, their packed forms for products in both directions, and their moving average if there is one.
    pub weights: u64,
    /// Gradients, of as many parts of a batch as are summed side by side.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// States and activations of the rows in flight in a training step.
    pub training_activations: u64,
    /// States and activations of the rows in flight in validation, and the states of the batch from one step to the next.
    pub other_activations: u64,
}

impl MemoryPlan {
    /// The plan of a training run under `config`, validation included.
    pub fn for_training(config: &TrmConfig, threads: usize) -> Self {
        const F32: u64 = 4;
        let TrmConfig { network, training, run, .. } = config;
        let parameters = F32 * Network::layout(network).count();
        // A lane sums the gradient of W_in apart, transposed.
        let input_weight = network.state.widths()[0] * network.hidden_dim;
        let ema = u64::from(training.ema > 0.0);
        let packed = match network.precision.format() {
            Format::F32 => 2,
            _ => 1,
        };
        let shards = Sizes::of(network).training_shards(training.batch_size, threads);
        let [_, predicted] = Sizes::of_prediction(network);
        // The gradient of the penalties, where there are any.
        let penalties = if training.constraint_weight > 0.0 { CELLS * DIGITS } else { 0 };
        let penalties = shards.iter().sum::<usize>() * penalties;
        // y and z of every puzzle of the batch.
        let states = 2 * training.batch_size * network.state.tokens() * network.hidden_dim;
        let shard = |puzzles, recording| Self::of_shard(network, puzzles, recording);
        let in_training = shards.iter().map(|puzzles| shard(*puzzles, Recording::for_training(run)));
        Self {
            weights: (1 + packed + ema) * parameters,
            gradients: Self::lanes(network) as u64 * (parameters + F32 * input_weight as u64),
            optimizer: 2 * parameters,
            training_activations: in_training.sum::<u64>() + F32 * penalties as u64,
            other_activations: threads as u64 * shard(predicted, Recording::Nothing) + F32 * states as u64,
        }
    }

    /// Bytes of the states and activations of some puzzles that go through the recursion together.
    pub fn of_shard(config: &NetworkConfig, puzzles: usize, recording: Recording) -> u64 {
        let ((network, layout), mut room) = (Network::new(config), Room::plan());
        let format = config.precision.format();
        Shard::new(config, (&network, &layout), format, puzzles, recording, &mut room);
        room.bytes()
    }

    /// Number of lanes: parts of a batch that have gradients of their own.
    pub fn lanes(config: &NetworkConfig) -> usize {
        Sizes::of(config).lanes
    }

    /// States and activations of the rows in flight.
    pub fn activations(&self) -> u64 {
        self.training_activations + self.other_activations
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.optimizer + self.activations()
    }

    /// The plan if activations were computed again cycle by cycle.
    pub fn with_cycle_checkpoints(config: &TrmConfig, threads: usize) -> Self {
        let run = RunConfig { checkpoint_activations: CheckpointActivations::Cycle, ..config.run.clone() };
        Self::for_training(&TrmConfig { run, ..config.clone() }, threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::State;

    #[test]
    fn activations_are_those_of_as_many_waves_as_there_are_threads_or_lanes() {
        let mut board = TrmConfig::default();
        board.training.batch_size = 1024;
        let mut cells = board.clone();
        (cells.network.hidden_dim, cells.network.state) = (96, State::Cell);
        let kept = |config: &TrmConfig, threads| {
            let plan = |config: &TrmConfig| MemoryPlan::for_training(config, threads).activations();
            // What an outer cycle more keeps.
            let mut longer = config.clone();
            longer.network.h_cycles += 1;
            plan(&longer) - plan(config)
        };
        assert_eq!(kept(&cells, 3), 3 * kept(&cells, 1));
        assert_eq!(kept(&cells, 99), 16 * kept(&cells, 1));
        assert_eq!(kept(&board, 3), kept(&board, 1));
    }
}
