//! A model of the documented family on its way through outer cycles, as the loop over them (trajectory.rs) sees it.

use super::observer::Updates;
use super::recursion::Model;
use super::shard::Shard;
use super::states::States;
use super::trajectory::Recursion;
use crate::ops::Dropout;
use crate::sudoku::CELLS;
use rand_chacha::ChaCha8Rng;

/// A model, and the puzzles that it thinks about with their states.
pub(super) struct ShardRecursion<'a> {
    model: &'a Model,
    /// The shard that holds the puzzles and their states.
    pub shard: Shard,
    flops: [u64; 2],
}

impl<'a> ShardRecursion<'a> {
    /// The puzzles that `shard` was loaded with.
    pub fn new(model: &'a Model, shard: Shard) -> Self {
        Self { model, shard, flops: model.network().flops(model.config()) }
    }
}

impl Recursion for ShardRecursion<'_> {
    type States = States;

    fn cells(&self) -> &[u8] {
        &self.shard.cells
    }

    fn set_cells(&mut self, cells: &[u8]) {
        self.shard.set_cells(self.model, cells);
    }

    fn alone(&self, puzzle: usize) -> Self {
        let Self { model, shard: s, flops } = self;
        let mut shard = model.shard(1, s.recording());
        let cells = &s.cells[puzzle * CELLS..(puzzle + 1) * CELLS];
        shard.load(model, cells, s.first_sample + puzzle);
        Self { model, shard, flops: *flops }
    }

    fn is_random(&self) -> bool {
        self.model.config().init_noise > 0.0
    }

    fn first_states(&self, seed: u64, streams: &[u64]) -> States {
        States::initial(self.model.config(), seed, streams.iter().copied())
    }

    fn begin(&mut self, first: &mut States) {
        first.parts_mut(self.shard.puzzles).for_each(|states| states.load(&mut self.shard));
        self.model.embed(&mut self.shard);
    }

    fn segment(&self) -> usize {
        self.model.config().h_cycles
    }

    fn is_read_out(&self, h: usize) -> bool {
        self.model.is_read_out(h)
    }

    fn cycle(&mut self, updates: Option<&mut Updates>) {
        // Without dropout and recording, cycles do not differ by their numbers.
        let (model, s, h) = (self.model, &mut self.shard, 0);
        let Some(updates) = updates else { return model.cycle(s, h, &Dropout::OFF) };
        for l in 0..model.config().l_cycles {
            let z = s.z.clone();
            model.refine_latent(s, h, l, &Dropout::OFF);
            updates.latent.push(Updates::size(&z, &s.z));
        }
        let y = s.y.clone();
        model.refine_output(s, h, &Dropout::OFF);
        updates.output = Updates::size(&y, &s.y);
    }

    fn read_out(&mut self) {
        self.model.read_out(&mut self.shard);
    }

    fn logits(&self) -> &[f32] {
        &self.shard.logits
    }

    fn flops(&self) -> [u64; 2] {
        self.flops
    }

    fn assumed(&self) -> &[u8] {
        &self.shard.assumed
    }

    fn revise(&mut self, random: &mut [ChaCha8Rng]) {
        self.model.revise_hypotheses(&mut self.shard, random);
    }
}
