//! Where the recursion of each puzzle of a batch starts, and where it got to.

use super::CELLS;
use super::feedback::Feedback;
use super::shard::Shard;
use crate::config::TrmConfig;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The states y and z of some puzzles, `[puzzles, tokens, d]` each. A pass starts from them and leaves in them, detached
/// from the gradient, what the last outer cycle made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// The answer states.
    pub y: Vec<f32>,
    /// The latent states.
    pub z: Vec<f32>,
    /// Whether each puzzle's board was right at the end of the pass.
    pub solved: Vec<bool>,
}

impl States {
    /// First states: `y = 0`, and z zero or random numbers with the standard deviation `init_noise`.
    ///
    /// `stream` gives the number of the random stream of each puzzle under `seed`.
    pub fn initial(config: &TrmConfig, seed: u64, stream: impl IntoIterator<Item = u64>) -> Self {
        let values = config.state.tokens() * config.hidden_dim;
        let mut states = Self::default();
        for stream in stream {
            states.y.resize(states.y.len() + values, 0.0);
            states.solved.push(false);
            let first = states.z.len();
            states.z.resize(first + values, 0.0);
            if config.init_noise > 0.0 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                // The uniform distribution of standard deviation s reaches from -sqrt(3) s to sqrt(3) s.
                let bound = 3f32.sqrt() * config.init_noise as f32;
                states.z[first..].iter_mut().for_each(|z| *z = rng.random_range(-bound..bound));
            }
        }
        states
    }

    /// The parts of `puzzles` puzzles each; the last may be smaller.
    pub fn parts_mut(&mut self, puzzles: usize) -> impl ExactSizeIterator<Item = StatesMut<'_>> {
        let values = self.y.len() / self.solved.len().max(1) * puzzles;
        let states = self.y.chunks_mut(values.max(1)).zip(self.z.chunks_mut(values.max(1)));
        states.zip(self.solved.chunks_mut(puzzles)).map(|((y, z), solved)| StatesMut { y, z, solved })
    }

    /// Keeps the puzzles for which `keep` says so, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let values = self.y.len() / self.solved.len().max(1);
        let mut kept = 0;
        for i in (0..self.solved.len()).filter(|i| keep(*i)) {
            for state in [&mut self.y, &mut self.z] {
                state.copy_within(i * values..(i + 1) * values, kept * values);
            }
            self.solved[kept] = self.solved[i];
            kept += 1;
        }
        self.y.truncate(kept * values);
        self.z.truncate(kept * values);
        self.solved.truncate(kept);
    }

    /// Adds other puzzles behind these.
    pub fn append(&mut self, mut other: Self) {
        self.y.append(&mut other.y);
        self.z.append(&mut other.z);
        self.solved.append(&mut other.solved);
    }
}

/// A part of [`States`].
#[derive(Debug)]
pub struct StatesMut<'a> {
    y: &'a mut [f32],
    z: &'a mut [f32],
    solved: &'a mut [bool],
}

impl<'a> StatesMut<'a> {
    /// The first `puzzles` puzzles, and the rest.
    pub fn split_at(self, puzzles: usize) -> (Self, Self) {
        let values = self.y.len() / self.solved.len().max(1) * puzzles;
        let ((y, y_rest), (z, z_rest)) = (self.y.split_at_mut(values), self.z.split_at_mut(values));
        let (solved, solved_rest) = self.solved.split_at_mut(puzzles);
        (Self { y, z, solved }, Self { y: y_rest, z: z_rest, solved: solved_rest })
    }

    /// Lets a shard start from these states.
    pub fn load(&self, s: &mut Shard) {
        s.y.copy_from_slice(self.y);
        s.z.copy_from_slice(self.z);
        s.feedback.iter_mut().for_each(Feedback::restart);
    }

    /// Takes the states of a shard after its last cycle, and which of its boards are right.
    pub fn store(&mut self, s: &Shard, solved: impl Iterator<Item = bool>) {
        debug_assert_eq!(self.solved.len(), s.cells.len() / CELLS);
        self.y.copy_from_slice(&s.y);
        self.z.copy_from_slice(&s.z);
        self.solved.iter_mut().zip(solved).for_each(|(mine, solved)| *mine = solved);
    }
}
