//! The stacks R and O: residual blocks one after the other, `h_k = h_{k-1} + gate * f_k(h_{k-1})`.

use super::block::TapeSize;
use super::{Application, Block, BlockTape, MixerKind};
use crate::config::NetworkConfig;
use crate::network::{Layout, Operands, PackedWeights, Room, RowSums};
use crate::ops::Format;
use crate::sudoku::Units;

/// The blocks of a stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The first one first.
    pub blocks: Vec<Block>,
}

/// The values that the blocks of a stack keep for the backward pass: a tape for each block, or a single one that all
/// blocks share if nothing is kept.
#[derive(Clone, Debug)]
pub struct StackTape(Vec<BlockTape>);

impl StackTape {
    /// Room for what `size` says, in every block.
    pub fn new(stack: &Stack, kinds: &[Units], size: TapeSize, room: &mut Room) -> Self {
        let parts = if size.training { stack.blocks.len() } else { stack.blocks.len().min(1) };
        Self(room.times(parts, |room| BlockTape::new(&stack.blocks[0], kinds, size, room)))
    }
}

impl Stack {
    /// `NAME.0`, `NAME.1` and so on.
    pub fn new(
        layout: &mut Layout,
        name: &str,
        count: usize,
        config: &NetworkConfig,
        mixer: Option<&MixerKind>,
    ) -> Self {
        let block = |k: usize| Block::new(layout, &format!("{name}.{k}"), config, mixer);
        Self { blocks: (0..count).map(block).collect() }
    }

    /// Values that a pass over `rows` rows works in.
    pub fn scratch(&self, kinds: &[Units], format: Format, rows: usize) -> usize {
        self.blocks.first().map_or(0, |block| block.scratch(kinds, format, rows))
    }

    /// Floating-point operations of a forward pass over a puzzle of so many vectors and units of a kind.
    pub fn flops(&self, tokens: u64, units: u64) -> u64 {
        self.blocks.iter().map(|block| block.flops(tokens, units)).sum()
    }

    /// The last h in place of the first.
    pub fn forward(
        &self,
        w: &PackedWeights,
        tape: &mut StackTape,
        h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        for (k, block) in self.blocks.iter().enumerate() {
            let application = Application { site: application.site + k, ..application };
            let part = k.min(tape.0.len() - 1);
            block.forward(w, &mut tape.0[part], h, scratch, application);
        }
    }

    /// Turns the gradient of the stack's result into the gradient of its input, in place.
    pub fn backward(
        &self,
        w: &PackedWeights,
        tape: &mut StackTape,
        sums: &mut RowSums,
        d_h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        for (k, block) in self.blocks.iter().enumerate().rev() {
            let application = Application { site: application.site + k, ..application };
            block.backward(w, &mut tape.0[k], sums, d_h, scratch, application);
        }
    }

    /// Inputs of each matrix, with the gradients of its outputs, in the first `applications` applications to `rows`
    /// rows each and `units` units of a kind each. There are none if the tape does not keep them.
    pub fn operands<'a>(
        &self,
        tape: &'a StackTape,
        rows_and_units: [usize; 2],
        applications: usize,
    ) -> impl Iterator<Item = Operands<'a>> {
        let blocks = self.blocks.iter().zip(&tape.0);
        blocks.flat_map(move |(block, tape)| block.operands(tape, rows_and_units, applications))
    }
}
