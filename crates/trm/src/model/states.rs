//! Where the recursion of each puzzle of a batch starts, and where it got to.

use super::hypotheses::revise_all;
use super::shard::Shard;
use crate::config::NetworkConfig;
use crate::layers::Answers;
use crate::sudoku::CELLS;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The states y and z of some puzzles, `[puzzles, tokens, d]` each. A pass starts from them and leaves in them, detached
/// from the gradient, what the last outer cycle made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// The answer states.
    pub y: Vec<f32>,
    /// The latent states.
    pub z: Vec<f32>,
    /// Digits that are taken for true for the time being, `[puzzles, 81]`, 0 for none.
    pub assumed: Vec<u8>,
    /// Whether each puzzle's board was right at the end of the pass.
    pub solved: Vec<bool>,
}

impl States {
    /// First states: `y = 0`, and z zero or random numbers with the standard deviation `init_noise`.
    ///
    /// `streams` gives the number of the random stream of each puzzle under `seed`.
    pub fn initial(config: &NetworkConfig, seed: u64, streams: impl IntoIterator<Item = u64>) -> Self {
        let mut states = Self::default();
        states.extend_initial(config, seed, streams);
        states
    }

    /// Adds such first states behind these.
    pub fn extend_initial(
        &mut self,
        config: &NetworkConfig,
        seed: u64,
        streams: impl IntoIterator<Item = u64>,
    ) {
        let values = config.state.tokens() * config.hidden_dim;
        for stream in streams {
            self.y.resize(self.y.len() + values, 0.0);
            self.solved.push(false);
            self.assumed.resize(self.assumed.len() + CELLS, 0);
            let first = self.z.len();
            self.z.resize(first + values, 0.0);
            if config.init_noise > 0.0 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                // The uniform distribution of standard deviation s reaches from -sqrt(3) s to sqrt(3) s.
                let bound = 3f32.sqrt() * config.init_noise as f32;
                self.z[first..].iter_mut().for_each(|z| *z = rng.random_range(-bound..bound));
            }
        }
    }

    /// The parts of `puzzles` puzzles each; the last may be smaller.
    pub fn parts_mut(&mut self, puzzles: usize) -> impl ExactSizeIterator<Item = StatesMut<'_>> {
        let values = self.y.len() / self.solved.len().max(1) * puzzles;
        let states = self.y.chunks_mut(values.max(1)).zip(self.z.chunks_mut(values.max(1)));
        let rest = self.assumed.chunks_mut(puzzles * CELLS).zip(self.solved.chunks_mut(puzzles));
        states.zip(rest).map(|((y, z), (assumed, solved))| StatesMut { y, z, assumed, solved })
    }

    /// Keeps the puzzles for which `keep` says so, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let values = self.y.len() / self.solved.len().max(1);
        let mut kept = 0;
        for i in (0..self.solved.len()).filter(|i| keep(*i)) {
            for state in [&mut self.y, &mut self.z] {
                state.copy_within(i * values..(i + 1) * values, kept * values);
            }
            self.assumed.copy_within(i * CELLS..(i + 1) * CELLS, kept * CELLS);
            self.solved[kept] = self.solved[i];
            kept += 1;
        }
        self.y.truncate(kept * values);
        self.z.truncate(kept * values);
        self.assumed.truncate(kept * CELLS);
        self.solved.truncate(kept);
    }
}

/// A part of [`States`].
#[derive(Debug)]
pub struct StatesMut<'a> {
    y: &'a mut [f32],
    z: &'a mut [f32],
    assumed: &'a mut [u8],
    solved: &'a mut [bool],
}

impl<'a> StatesMut<'a> {
    /// The first `puzzles` puzzles, and the rest.
    pub fn split_at(self, puzzles: usize) -> (Self, Self) {
        let values = self.y.len() / self.solved.len().max(1) * puzzles;
        let ((y, y_rest), (z, z_rest)) = (self.y.split_at_mut(values), self.z.split_at_mut(values));
        let (assumed, assumed_rest) = self.assumed.split_at_mut(puzzles * CELLS);
        let (solved, solved_rest) = self.solved.split_at_mut(puzzles);
        let rest = Self { y: y_rest, z: z_rest, assumed: assumed_rest, solved: solved_rest };
        (Self { y, z, assumed, solved }, rest)
    }

    /// Lets a shard start from these states.
    pub fn load(&self, s: &mut Shard) {
        for (mine, state) in [(&*self.y, &mut s.y), (&*self.z, &mut s.z)] {
            match &s.open {
                None => state.copy_from_slice(mine),
                Some(open) => open.gather(mine, state),
            }
        }
        s.assume(self.assumed);
        s.answers.iter_mut().for_each(Answers::restart);
    }

    /// Revises the hypotheses by the answers that a shard reads off after its last cycle, with random numbers for each
    /// puzzle.
    pub fn revise(&mut self, s: &Shard, random: &mut [impl Rng]) {
        revise_all(&s.cells, &s.logits, self.assumed, random);
    }

    /// Takes the states of a shard after its last cycle, and which of its boards are right.
    pub fn store(&mut self, s: &Shard, solved: impl Iterator<Item = bool>) {
        debug_assert_eq!(self.solved.len(), s.cells.len() / CELLS);
        for (mine, state) in [(&mut *self.y, &s.y), (&mut *self.z, &s.z)] {
            match &s.open {
                None => mine.copy_from_slice(state),
                Some(open) => open.scatter(state, mine),
            }
        }
        self.solved.iter_mut().zip(solved).for_each(|(mine, solved)| *mine = solved);
    }
}
