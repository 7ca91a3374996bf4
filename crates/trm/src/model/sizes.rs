//! How many puzzles go through the recursion together.

use crate::config::{NetworkConfig, State};
use crate::ops::Format;

/// How the puzzles of a batch are shared out.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Parts of a batch, each with gradients of its own.
    pub lanes: usize,
    /// Most puzzles of a wave.
    pub wave: usize,
    /// Shards that a wave is cut into, if they have between the fewest and the most puzzles.
    shards: usize,
    fewest: usize,
    most: usize,
}

impl Sizes {
    /// Sizes for training, chosen so that many rows share each weight that is read, no thread is without work, and the
    /// activations of one application stay in the cache. They do not depend on the number of threads, so neither do
    /// results.
    pub fn of(config: &NetworkConfig) -> Self {
        match config.state {
            State::Board => Self { lanes: 1, wave: 256, shards: 4, fewest: 32, most: 128 },
            State::Cell => {
                // Rows of bfloat16 fill tiles of 32.
                let wave = if config.precision.format() == Format::Bf16 { 4 } else { 2 };
                Self { lanes: 16, wave, shards: 1, fewest: wave, most: wave }
            }
            State::Candidate | State::OpenCandidate => {
                Self { lanes: 16, wave: 1, shards: 1, fewest: 1, most: 1 }
            }
        }
    }

    /// Fewest and most puzzles that a thread predicts at once.
    pub fn of_prediction(config: &NetworkConfig) -> [usize; 2] {
        let Self { lanes, wave, fewest, .. } = Self::of(config);
        if lanes == 1 { [fewest, 256] } else { [1, wave] }
    }

    /// Number of puzzles of a part in prediction. Nothing is summed over rows there, so the cut changes no result.
    /// There are many parts, or one for each thread, since some puzzles take far longer than others.
    pub fn prediction_part(config: &NetworkConfig, puzzles: usize, threads: usize) -> usize {
        let [fewest, most] = Self::of_prediction(config);
        let parts = puzzles.div_ceil(most).next_multiple_of(threads).max(1);
        puzzles.div_ceil(parts).clamp(fewest, most)
    }

    /// Puzzles of a lane when there are `puzzles` in all.
    pub fn lane_puzzles(self, puzzles: usize) -> usize {
        puzzles.div_ceil(self.lanes).max(1)
    }

    /// Puzzles of each of the shards that are in memory while a batch is trained on.
    pub fn training_shards(self, batch: usize, threads: usize) -> Vec<usize> {
        let lane = self.lane_puzzles(batch);
        let wave = lane.min(self.wave);
        let shard = self.shard_puzzles(wave);
        let waves = batch.div_ceil(lane).min(threads);
        let of_a_wave = (0..wave).step_by(shard).map(|first| shard.min(wave - first));
        std::iter::repeat_n(of_a_wave, waves).flatten().collect()
    }

    /// Puzzles of a shard of a wave.
    pub fn shard_puzzles(self, wave: usize) -> usize {
        (wave / self.shards).clamp(self.fewest, self.most)
    }
}
