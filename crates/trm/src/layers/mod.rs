//! The layers, one file each. A layer's file has all there is of it: its tensors and their first values, what it leaves on its tape,
//! the forward pass, the backward pass, what the gradients of its matrices are made of, the room it takes and its work in FLOPs.

mod block;
mod embedding;
mod feedback;
mod half_layer;
mod linear;
mod mixer;
mod norm;
mod read_out;
mod stack;

pub use block::{Application, Block, BlockTape, InnerGate, TapeSize};
pub use embedding::Embedding;
pub use feedback::{Answers, Feedback};
pub use half_layer::{HalfLayer, HalfLayerScratch, HalfLayerTape, TokenMixing};
pub use linear::Linear;
pub use mixer::{Mixer, MixerKind, MixerTape};
pub use norm::{LayerNorm, NormTape, StateNorm, StateNormTape};
pub use read_out::{ReadOut, ReadOutTape};
pub use stack::{Stack, StackTape};

/// The turns in which first values are drawn. What mixes the vectors of a puzzle, and what tells a cell where it is, come after the
/// network without them, whose first values they leave as they are.
pub mod turn {
    /// The maps of the documented network.
    pub const NETWORK: u8 = 0;
    /// Parameters that mix the vectors of a puzzle.
    pub const MIXING: u8 = 1;
    /// Positions and feedback: further inputs of a cell.
    pub const CELL_INPUTS: u8 = 2;
}
