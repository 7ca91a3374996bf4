//! One puzzle on its way through a segment: its states, and what the backward pass needs of them.

use super::branch::{Scratch, Tape};
use super::recursion::Model;
use super::{BLANK, VOCABULARY};
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
    /// The running h of the network; in the backward pass its gradient.
    pub h: Vec<f32>,
    /// One application of the network, the newest.
    pub tapes: Vec<Tape>,
    /// What each application of the last outer cycle began with, when recording.
    pub starts: Vec<Vec<f32>>,
    /// `[81, 11]`; the backward pass makes them their gradient.
    pub logits: Vec<f32>,
    /// (q_halt, q_continue)
    pub q: [f32; 2],
    /// Gradient of z_H, when recording, and so on.
    pub d_z_h: Vec<f32>,
    /// Gradient of z_L.
    pub d_z_l: Vec<f32>,
    /// Gradient of x_emb.
    pub d_x_emb: Vec<f32>,
    /// What the backward pass of a branch works in.
    pub scratch: Scratch,
}

impl Board {
    /// Room for a puzzle, and for the backward pass if `recording`.
    pub fn new(model: &Model, recording: bool) -> Self {
        let config = model.config();
        let state = || vec![0.0; config.state_len()];
        let gradient = || if recording { state() } else { Vec::new() };
        let starts = if recording { config.l_cycles + 1 } else { 0 };
        Self {
            cells: vec![BLANK; CELLS],
            x_emb: state(),
            z_h: state(),
            z_l: state(),
            h: state(),
            tapes: model.mixers().map(|mixer| Tape::new(config, mixer.params, mixer.mixing)).collect(),
            starts: (0..starts).map(|_| state()).collect(),
            logits: vec![0.0; CELLS * VOCABULARY],
            q: [0.0; 2],
            d_z_h: gradient(),
            d_z_l: gradient(),
            d_x_emb: gradient(),
            scratch: Scratch::default(),
        }
    }

    /// Whether there is room for a backward pass.
    pub fn is_recording(&self) -> bool {
        !self.starts.is_empty()
    }
}
