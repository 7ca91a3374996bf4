//! How the cells of a puzzle learn of each other before the MLP of a block: `h <- h + gate * g(h)`, forward and backward, with
//!
//! ```text
//! attention:  g(h) = Dropout(W_out Attention(W_qkv n + b_qkv) + b_out)       n = LayerNorm(h)
//! token MLP:  g(h)^T = Dropout(T2 GELU(T1 n^T + t1) + t2)                    81 -> 162 -> 81, for each channel
//! ```
//!
//! Both are two linear maps with something between them; the token MLP has them on the other side of a transposition.

use super::block::Application;
use super::mixer_tape::{MixerRowSums, MixerTape, Place};
use super::packed::PackedMixer;
use super::params::MixerParams;
use crate::config::{Mixing, NetworkConfig, Positions};
use crate::ops::{
    CellAttention, Part, Slot, gate_backward, gate_forward, gelu_backward, gelu_forward, layer_norm_backward,
    layer_norm_forward, linear_backward_bias, rows_backward_input, rows_forward, transpose,
};
use crate::sudoku::CELLS;
use crate::sudoku::Units;

/// Cells of a puzzle.

/// Width of the token MLP's inner layer.
const TOKEN_MLP_WIDTH: usize = 2 * CELLS;

/// What mixes the cells.
#[derive(Clone, Debug)]
pub enum Mixer {
    /// Attention.
    Attention(CellAttention),
    /// An MLP over the cells, the same for each of d channels.
    TokenMlp,
}

/// A linear map: its name in checkpoints, its inputs and its outputs.
pub type LinearShape = (&'static str, usize, usize);

impl Mixer {
    /// What `config` asks for, if blocks have such a part.
    pub fn new(config: &NetworkConfig) -> Option<Self> {
        let units = match config.mixing {
            Mixing::None | Mixing::UnitMean => return None,
            Mixing::TokenMlp => return Some(Self::TokenMlp),
            Mixing::Attention => &[],
            Mixing::UnitAttention => &Units::of_cells()[..],
        };
        let rotary = config.positions == Positions::Rotary;
        Some(Self::Attention(CellAttention::new(config.hidden_dim, config.heads, units, rotary)))
    }

    /// Its name in checkpoints and its two linear maps.
    pub fn linears(&self, d: usize) -> (&'static str, [LinearShape; 2]) {
        match self {
            Self::Attention(_) => ("attention", [("qkv", d, 3 * d), ("output", d, d)]),
            Self::TokenMlp => {
                ("token_mlp", [("expand", CELLS, TOKEN_MLP_WIDTH), ("contract", TOKEN_MLP_WIDTH, CELLS)])
            }
        }
    }

    /// Values for each row of (the first map's output, the second map's input, what attention keeps).
    pub fn widths(&self, d: usize) -> [usize; 3] {
        match self {
            Self::Attention(attention) => [3 * d, d, attention.weights_per_cell()],
            Self::TokenMlp => [TOKEN_MLP_WIDTH / CELLS * d, TOKEN_MLP_WIDTH / CELLS * d, 0],
        }
    }

    /// Values for each row that the passes work in.
    pub fn scratch_per_row(&self, d: usize) -> usize {
        let attention = match self {
            Self::Attention(attention) => attention.scratch().div_ceil(CELLS),
            Self::TokenMlp => 0,
        };
        let [entered, left, _] = self.widths(d);
        d + entered + left + attention
    }

    /// Floating-point operations of a forward pass over one puzzle.
    pub fn flops(&self, d: usize) -> u64 {
        let [(_, inputs, entered), (_, left, outputs)] = self.linears(d).1;
        let products = 2 * (inputs * entered + left * outputs);
        let flops = match self {
            Self::Attention(attention) => CELLS * products + attention.flops(),
            Self::TokenMlp => d * products,
        };
        flops as u64
    }

    /// Vectors that the linear maps see for so many rows: one for each cell or, of the token MLP, for each channel.
    pub fn vectors(&self, d: usize, rows: usize) -> usize {
        match self {
            Self::Attention(_) => rows,
            Self::TokenMlp => rows / CELLS * d,
        }
    }

    /// Makes rows, `[puzzles, 81, d]`, as those vectors: for the token MLP `[puzzles, d, 81]`, by way of `room`.
    fn enter(&self, d: usize, vectors: &mut [f32], room: &mut [f32], make: impl FnOnce(&mut [f32])) {
        match self {
            Self::Attention(_) => make(vectors),
            Self::TokenMlp => {
                make(room);
                transposed([CELLS, d], room, vectors);
            }
        }
    }

    /// The way back.
    fn leave<'a>(&self, d: usize, vectors: &'a mut [f32], room: &'a mut [f32]) -> &'a mut [f32] {
        match self {
            Self::Attention(_) => vectors,
            Self::TokenMlp => transposed([d, CELLS], vectors, room),
        }
    }
}

/// Each matrix transposed, in `room`.
fn transposed<'a>(shape: [usize; 2], matrices: &[f32], room: &'a mut [f32]) -> &'a mut [f32] {
    let (size, room) = (shape[0] * shape[1], &mut room[..matrices.len()]);
    for (matrix, target) in matrices.chunks_exact(size).zip(room.chunks_exact_mut(size)) {
        transpose(shape, matrix, target);
    }
    room
}

/// `h <- h + gate * g(h)`, in place.
///
/// # Shapes
/// `h` is `[rows, d]`, `scratch` holds [`Mixer::scratch_per_row`] values for each row.
pub fn mixer_forward(
    params: &MixerParams,
    packed: &PackedMixer,
    tape: &mut MixerTape,
    h: &mut [f32],
    scratch: &mut [f32],
    application: Application,
) {
    let Some(mixer) = application.mixer else { return };
    let d = params.norm.weight.data.len();
    let at = Place::new(mixer, d, h.len() / d, application.slot);
    let [state, entered, left, scratch] = at.scratch(d, scratch);
    let (gain, bias) = (&params.norm.weight.data, &params.norm.bias.data);
    let normalised = tape.normalised.get_mut(at.normalised).unwrap_or_default();
    let inv_std = tape.inv_std.get_mut(at.inv_std).unwrap_or_default();
    let [input, inner, output] = [&tape.input, &tape.entered, &tape.left].map(|rows| rows.all(at.slot));
    tape.input.make_input(at.slot, &input, left, &packed.enter, |input| {
        mixer.enter(d, input, state, |n| layer_norm_forward(h, gain, bias, normalised, inv_std, n));
    });
    tape.entered.make(at.slot, &inner, entered, |entered| {
        rows_forward(&tape.input, at.slot, (&packed.enter, &params.enter.bias.data), entered);
        tape.left.make_input(at.slot, &output, left, &packed.leave, |left| match mixer {
            Mixer::Attention(attention) => {
                attention.forward(entered, &mut tape.weights[at.weights], left, scratch)
            }
            Mixer::TokenMlp => gelu_forward(entered, left),
        });
    });
    rows_forward(&tape.left, at.slot, (&packed.leave, &params.leave.bias.data), state);
    application.drop_mixed(state, d);
    let branch = mixer.leave(d, state, left);
    gate_forward(h, application.gate, branch);
    let (slot, whole) =
        (Slot { slot: application.slot, rows: at.rows }, Part { rows: 0..at.rows, columns: 0..d });
    tape.branch.put(slot, &whole, branch);
}

/// Turns `d_h`, the gradient of the result, into the gradient of the input, in place; leaves in the tape what the weights'
/// gradients are made of, and adds to `sums` and to the gradient of the gate.
///
/// # Shapes
/// As for [`mixer_forward`].
pub fn mixer_backward(
    params: &MixerParams,
    packed: &PackedMixer,
    tape: &mut MixerTape,
    (sums, d_gate): (&mut MixerRowSums, &mut [f32]),
    d_h: &mut [f32],
    scratch: &mut [f32],
    application: Application,
) {
    let Some(mixer) = application.mixer else { return };
    let d = params.norm.weight.data.len();
    let at = Place::new(mixer, d, d_h.len() / d, application.slot);
    let [enter_bias, leave_bias] = &mut sums.biases;
    let [state, entered, left, scratch] = at.scratch(d, scratch);
    if !d_gate.is_empty() {
        let branch = tape.branch.plain(application.slot + 1, at.rows);
        gate_backward(d_h, &branch[at.normalised.clone()], d_gate);
    }
    let all = tape.d_branch.all(at.slot);
    tape.d_branch.make(at.slot, &all, left, |d_branch| {
        mixer.enter(d, d_branch, state, |d_branch| {
            d_branch.fill(0.0);
            gate_forward(d_branch, application.gate, d_h);
        });
        application.drop_mixed(d_branch, d);
        linear_backward_bias(d_branch, leave_bias);
    });

    let d_left = left;
    rows_backward_input(&tape.d_branch, at.slot, &packed.leave, d_left);
    let all = tape.entered.all(at.slot);
    tape.entered.change(at.slot, &all, entered, |entered| {
        match mixer {
            Mixer::Attention(attention) => {
                attention.backward(entered, &mut tape.weights[at.weights], d_left, scratch)
            }
            Mixer::TokenMlp => gelu_backward(d_left, entered),
        }
        linear_backward_bias(entered, enter_bias);
    });
    rows_backward_input(&tape.entered, at.slot, &packed.enter, state);
    let d_normed = mixer.leave(d, state, d_left);
    let (normalised, inv_std) = (&tape.normalised[at.normalised], &tape.inv_std[at.inv_std]);
    let (gain, [d_gain, d_bias]) = (&params.norm.weight.data, &mut sums.norm);
    layer_norm_backward(d_normed, normalised, inv_std, gain, d_h, [d_gain, d_bias]);
}
