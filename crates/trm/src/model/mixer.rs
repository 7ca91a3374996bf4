//! How the cells of a puzzle learn of each other before the MLP of a block: `h <- h + gate * g(h)`, forward and backward, with
//!
//! ```text
//! attention:  g(h) = Dropout(W_out Attention(W_qkv n + b_qkv) + b_out)       n = LayerNorm(h)
//! token MLP:  g(h)^T = Dropout(T2 GELU(T1 n^T + t1) + t2)                    81 -> 162 -> 81, for each channel
//! ```
//!
//! Both are two linear maps with something between them; the token MLP has them on the other side of a transposition.

use super::block::Application;
use super::packed::PackedMixer;
use super::params::MixerParams;
use crate::config::{Mixing, Positions, TrmConfig};
use crate::ops::{
    CellAttention, gate_backward, gate_forward, gelu_backward, gelu_forward, layer_norm_backward,
    layer_norm_forward, linear_backward_bias, linear_backward_input, linear_forward, transpose,
};
use crate::sudoku::Units;

/// Cells of a puzzle.
const CELLS: usize = super::CELLS;

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
    pub fn new(config: &TrmConfig) -> Option<Self> {
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
    fn widths(&self, d: usize) -> [usize; 3] {
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
        let [_, left, _] = self.widths(d);
        d + left + attention
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

    /// Rows, `[puzzles, 81, d]`, to what the linear maps see: for the token MLP `[puzzles, d, 81]`.
    fn enter(&self, d: usize, rows: &[f32], seen: &mut [f32]) {
        match self {
            Self::Attention(_) => seen.copy_from_slice(rows),
            Self::TokenMlp => transpose_each([CELLS, d], rows, seen),
        }
    }

    /// The way back.
    fn leave(&self, d: usize, seen: &[f32], rows: &mut [f32]) {
        match self {
            Self::Attention(_) => rows.copy_from_slice(seen),
            Self::TokenMlp => transpose_each([d, CELLS], seen, rows),
        }
    }
}

fn transpose_each(shape: [usize; 2], matrices: &[f32], targets: &mut [f32]) {
    let size = shape[0] * shape[1];
    for (matrix, target) in matrices.chunks_exact(size).zip(targets.chunks_exact_mut(size)) {
        transpose(shape, matrix, target);
    }
}

/// What some applications of one mixer leave for the backward pass, one after the other.
#[derive(Clone, Debug)]
pub struct MixerTape {
    /// LayerNorm(h) before gain and bias, `[rows, d]`.
    normalised: Vec<f32>,
    /// `1 / std` of each row.
    inv_std: Vec<f32>,
    /// Input of the first map.
    pub input: Vec<f32>,
    /// Queries, keys and values, or the slope of GELU; the backward pass makes it the gradient of the first map's output.
    pub entered: Vec<f32>,
    /// Weights of attention.
    weights: Vec<f32>,
    /// Input of the second map.
    pub left: Vec<f32>,
    /// Output of the second map and dropout; the backward pass makes it the gradient of the map's output.
    pub branch: Vec<f32>,
}

impl MixerTape {
    /// Room for `rows` rows in all.
    pub fn new(mixer: &Mixer, d: usize, rows: usize) -> Self {
        let zeros = |width: usize| vec![0.0; rows * width];
        let [entered, left, weights] = mixer.widths(d);
        Self {
            normalised: zeros(d),
            inv_std: zeros(1),
            input: zeros(d),
            entered: zeros(entered),
            weights: zeros(weights),
            left: zeros(left),
            branch: zeros(d),
        }
    }

    /// f32 values that one row takes.
    pub fn values_per_row(mixer: &Mixer, d: usize) -> usize {
        3 * d + 1 + mixer.widths(d).iter().sum::<usize>()
    }

    /// The part of one application to `rows` rows.
    fn slot(&mut self, slot: usize, rows: usize, d: usize, [entered, left, weights]: [usize; 3]) -> Slot<'_> {
        let place = |width: usize| slot * rows * width..(slot + 1) * rows * width;
        Slot {
            normalised: &mut self.normalised[place(d)],
            inv_std: &mut self.inv_std[place(1)],
            input: &mut self.input[place(d)],
            entered: &mut self.entered[place(entered)],
            weights: &mut self.weights[place(weights)],
            left: &mut self.left[place(left)],
            branch: &mut self.branch[place(d)],
        }
    }
}

/// One application's part of a [`MixerTape`].
struct Slot<'a> {
    normalised: &'a mut [f32],
    inv_std: &'a mut [f32],
    input: &'a mut [f32],
    entered: &'a mut [f32],
    weights: &'a mut [f32],
    left: &'a mut [f32],
    branch: &'a mut [f32],
}

/// Gradients that are sums over rows.
#[derive(Clone, Debug)]
pub struct MixerRowSums {
    /// LayerNorm's gain and bias, `[d]` each.
    pub norm: [Vec<f32>; 2],
    /// Biases of the two maps.
    pub biases: [Vec<f32>; 2],
}

impl MixerRowSums {
    /// Zeros.
    pub fn new(mixer: &Mixer, d: usize) -> Self {
        let norm = [vec![0.0; d], vec![0.0; d]];
        Self { norm, biases: mixer.linears(d).1.map(|(_, _, outputs)| vec![0.0; outputs]) }
    }
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
    let rows = h.len() / d;
    let at = tape.slot(application.slot, rows, d, mixer.widths(d));
    let (state, scratch) = scratch.split_at_mut(rows * d);
    let (gain, bias) = (&params.norm.weight.data, &params.norm.bias.data);
    layer_norm_forward(h, gain, bias, at.normalised, at.inv_std, state);
    mixer.enter(d, state, at.input);
    linear_forward(at.input, &packed.enter, &params.enter.bias.data, at.entered);
    match mixer {
        Mixer::Attention(attention) => attention.forward(at.entered, at.weights, at.left, scratch),
        Mixer::TokenMlp => gelu_forward(at.entered, at.left),
    }
    linear_forward(at.left, &packed.leave, &params.leave.bias.data, at.branch);
    application.drop_mixed(at.branch, d);
    mixer.leave(d, at.branch, state);
    gate_forward(h, application.gate, state);
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
    let rows = d_h.len() / d;
    let at = tape.slot(application.slot, rows, d, mixer.widths(d));
    let [enter_bias, leave_bias] = &mut sums.biases;
    let (seen, scratch) = scratch.split_at_mut(rows * d);
    mixer.leave(d, at.branch, seen);
    gate_backward(d_h, seen, d_gate);
    seen.fill(0.0);
    gate_forward(seen, application.gate, d_h);
    mixer.enter(d, seen, at.branch);
    application.drop_mixed(at.branch, d);

    let vectors = |values: &[f32], width: usize| values.len() / width;
    let (d_left, scratch) = scratch.split_at_mut(at.left.len());
    let leave = (&params.leave.weight.data[..], &packed.leave);
    linear_backward_bias(at.branch, leave_bias);
    linear_backward_input(vectors(at.branch, leave_bias.len()), at.branch, leave, d_left);
    match mixer {
        Mixer::Attention(attention) => attention.backward(at.entered, at.weights, d_left, scratch),
        Mixer::TokenMlp => gelu_backward(d_left, at.entered),
    }
    let enter = (&params.enter.weight.data[..], &packed.enter);
    linear_backward_bias(at.entered, enter_bias);
    linear_backward_input(vectors(at.entered, enter_bias.len()), at.entered, enter, seen);
    let d_normed = &mut d_left[..rows * d];
    mixer.leave(d, seen, d_normed);
    let (gain, [d_gain, d_bias]) = (&params.norm.weight.data, &mut sums.norm);
    layer_norm_backward(d_normed, at.normalised, at.inv_std, gain, d_h, [d_gain, d_bias]);
}
