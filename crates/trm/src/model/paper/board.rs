//! One puzzle on its way through a segment: its states, and what the backward pass needs of them.

use super::{BLANK, Config, Network, VOCABULARY};
use crate::layers::{HalfLayerScratch, HalfLayerTape};
use crate::network::Room;
use crate::sudoku::CELLS;

/// Buffers for one puzzle at a time. A state is `[tokens, d]`.
#[derive(Clone, Debug)]
pub struct Board {
    /// Tokens of the cells, `[81]`.
    pub cells: Vec<u8>,
    /// The embedded puzzle.
    pub x_emb: Vec<f32>,
    /// The answer.
    pub z_h: Vec<f32>,
    /// The latent hypothesis.
    pub z_l: Vec<f32>,
    /// The running state h of the network; in the backward pass the gradient of h.
    pub h: Vec<f32>,
    /// Tapes of the newest application of the network, one for each half layer.
    pub tapes: Vec<HalfLayerTape>,
    /// The input of each application of the network in the last outer cycle, when recording.
    pub starts: Vec<Vec<f32>>,
    /// Logits, `[81, 11]`; the backward pass replaces them by their gradient.
    pub logits: Vec<f32>,
    /// (q_halt, q_continue)
    pub q: [f32; 2],
    /// Gradient of z_H, when recording.
    pub d_z_h: Vec<f32>,
    /// Gradient of z_L.
    pub d_z_l: Vec<f32>,
    /// Gradient of x_emb.
    pub d_x_emb: Vec<f32>,
    /// Scratch space of the backward pass of a half layer.
    pub scratch: HalfLayerScratch,
}

impl Board {
    /// Room for a puzzle, and for the backward pass if `recording`; made or counted by `room`.
    pub fn new(network: &Network, config: &Config, recording: bool, room: &mut Room) -> Self {
        let state = |room: &mut Room| room.floats(config.state_len());
        let gradient = |room: &mut Room| room.floats(if recording { config.state_len() } else { 0 });
        let starts = if recording { config.l_cycles + 1 } else { 0 };
        let scratched = if recording { &network.half_layers[..] } else { &[] };
        Self {
            cells: vec![BLANK; CELLS],
            x_emb: state(room),
            z_h: state(room),
            z_l: state(room),
            h: state(room),
            tapes: network.half_layers.iter().map(|layer| HalfLayerTape::new(layer, room)).collect(),
            starts: room.times(starts, state),
            logits: room.floats(CELLS * VOCABULARY),
            q: [0.0; 2],
            d_z_h: gradient(room),
            d_z_l: gradient(room),
            d_x_emb: gradient(room),
            scratch: HalfLayerScratch::new(scratched, room),
        }
    }

    /// Whether there is room for a backward pass.
    pub fn is_recording(&self) -> bool {
        !self.starts.is_empty()
    }
}
