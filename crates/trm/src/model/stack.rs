//! The stacks R and O: residual blocks one after the other, forward and backward.

use super::block::{Application, block_backward, block_forward};
use super::block_tape::{BlockRowSums, BlockTape};
use super::packed::PackedBlock;
use super::params::BlockParams;

/// A stack of residual blocks: `h_k = h_{k-1} + gate f_k(h_{k-1})`.
pub struct Stack<'a> {
    /// The blocks.
    pub params: &'a [BlockParams],
    /// One for each block.
    pub packed: &'a [PackedBlock],
}

impl Stack<'_> {
    /// The last h in place of the first; leaves in the tape what backward needs: a part for each block, or a single one that
    /// they all work in.
    pub fn forward(
        &self,
        tape: &mut [BlockTape],
        h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        for (k, (params, packed)) in self.params.iter().zip(self.packed).enumerate() {
            let application = Application { site: application.site + k, ..application };
            let part = k.min(tape.len() - 1);
            block_forward(params, packed, &mut tape[part], h, scratch, application);
        }
    }

    /// The gradient of the first h in place of that of the last.
    pub fn backward(
        &self,
        tape: &mut [BlockTape],
        sums: &mut [BlockRowSums],
        d_h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        for (k, (params, packed)) in self.params.iter().zip(self.packed).enumerate().rev() {
            let application = Application { site: application.site + k, ..application };
            block_backward(params, packed, &mut tape[k], &mut sums[k], d_h, scratch, application);
        }
    }
}
