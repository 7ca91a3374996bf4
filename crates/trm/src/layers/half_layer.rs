//! One half of a layer of the paper's network, `h <- rms_norm(h + W_out g(W_in h))`, forward and backward, for one puzzle.
//!
//! g is SwiGLU over the channels of each token, SwiGLU over the tokens of each channel, or attention. The second works on
//! `h` transposed, its norm included: there each channel is normalised over the tokens.

use crate::network::{First, Id, Layout, PackedWeights, Role, Room, Weights};
use crate::ops::{
    Format, Heads, Rotary, add_scaled, attention_backward, attention_forward, linear_backward_input,
    linear_backward_weight, product, rms_norm_backward, rms_norm_forward, swiglu_backward, swiglu_forward,
    transpose,
};
use std::sync::Arc;
use trm_kernels::Overwrite;

/// The kinds of g: what is mixed, and by what.
#[derive(Clone, Debug)]
pub enum TokenMixing {
    /// The channels of each token, by SwiGLU.
    Channels,
    /// The tokens, each channel by itself, by SwiGLU.
    Tokens,
    /// The tokens, by attention.
    Attention(Heads, Arc<Rotary>),
}

/// The two matrices around g, and their sizes.
#[derive(Clone, Debug)]
pub struct HalfLayer {
    /// W_in, `[inner, width]`.
    input: Id,
    /// W_out, `[width, mixed]`.
    output: Id,
    mixing: TokenMixing,
    /// Rows that the matrices see: tokens or, where tokens are mixed by SwiGLU, channels.
    rows: usize,
    /// Numbers of W_in's output.
    inner: usize,
    /// Numbers of W_out's input.
    mixed: usize,
    tokens: usize,
    d: usize,
}

/// The values that one application of a half layer keeps for the backward pass.
///
/// Rows are tokens and width is d, or the other way round where tokens are mixed by SwiGLU.
#[derive(Clone, Debug)]
pub struct HalfLayerTape {
    /// h, `[rows, width]`
    input: Vec<f32>,
    /// `W_in h`, `[rows, inner]`; the backward pass makes it its gradient.
    inner: Vec<f32>,
    /// `g(W_in h)`, `[rows, mixed]`
    mixed: Vec<f32>,
    /// The new h, `[rows, width]`
    output: Vec<f32>,
    /// `[rows]`
    inv_rms: Vec<f32>,
    /// Turned queries and keys, and values, `[3 d, tokens]`.
    qkv: Vec<f32>,
    /// `[heads, tokens, tokens]`
    weights: Vec<f32>,
}

impl HalfLayerTape {
    /// Room for one application.
    pub fn new(layer: &HalfLayer, room: &mut Room) -> Self {
        let (d, tokens) = (layer.d, layer.tokens);
        let heads = match &layer.mixing {
            TokenMixing::Attention(heads, _) => Some(heads.count),
            TokenMixing::Channels | TokenMixing::Tokens => None,
        };
        Self {
            input: room.floats(tokens * d),
            inner: room.floats(layer.rows * layer.inner),
            mixed: room.floats(layer.rows * layer.mixed),
            output: room.floats(tokens * d),
            inv_rms: room.floats(layer.rows),
            qkv: room.floats(heads.map_or(0, |_| 3 * d * tokens)),
            weights: room.floats(heads.map_or(0, |heads| heads * tokens * tokens)),
        }
    }
}

/// Scratch space of the backward pass of half layers; one serves all of them.
#[derive(Clone, Debug)]
pub struct HalfLayerScratch {
    /// `[rows, width]`
    d_output: Vec<f32>,
    /// `[rows, width]`
    d_input: Vec<f32>,
    /// `[rows, mixed]`
    d_mixed: Vec<f32>,
    /// `[3 d, tokens]`
    d_qkv: Vec<f32>,
    /// `[2, tokens, tokens]`
    squares: Vec<f32>,
}

impl HalfLayerScratch {
    /// Room for the largest of some half layers.
    pub fn new(layers: &[HalfLayer], room: &mut Room) -> Self {
        let mut most =
            |size: fn(&HalfLayer) -> usize| room.floats(layers.iter().map(size).max().unwrap_or(0));
        Self {
            d_output: most(|layer| layer.tokens * layer.d),
            d_input: most(|layer| layer.tokens * layer.d),
            d_mixed: most(|layer| layer.rows * layer.mixed),
            d_qkv: most(|layer| if layer.attends() { 3 * layer.d * layer.tokens } else { 0 }),
            squares: most(|layer| if layer.attends() { 2 * layer.tokens * layer.tokens } else { 0 }),
        }
    }
}

impl HalfLayer {
    /// `NAMES[0].weight` and `NAMES[1].weight`. W_in makes `inner` numbers of each row, W_out reads `mixed`; first values keep the
    /// variance of their input.
    pub fn new(
        layout: &mut Layout,
        names: [String; 2],
        mixing: TokenMixing,
        [tokens, d]: [usize; 2],
        [inner, mixed]: [usize; 2],
    ) -> Self {
        let (rows, width) = if matches!(mixing, TokenMixing::Tokens) { (d, tokens) } else { (tokens, d) };
        let mut matrix = |name: &str, out: usize, inputs: usize| {
            let first = First::normal(1.0 / (inputs as f64).sqrt());
            layout.add(format!("{name}.weight"), &[out, inputs], Role::Matrix, first)
        };
        let input = matrix(&names[0], inner, width);
        let output = matrix(&names[1], width, mixed);
        Self { input, output, mixing, rows, inner, mixed, tokens, d }
    }

    /// The two matrices and the number of channels between them, if g is SwiGLU.
    pub fn swiglu(&self) -> Option<([Id; 2], usize)> {
        (!self.attends()).then_some(([self.input, self.output], self.mixed))
    }

    fn attends(&self) -> bool {
        matches!(self.mixing, TokenMixing::Attention(..))
    }

    /// Numbers of a row.
    fn width(&self) -> usize {
        self.tokens * self.d / self.rows
    }

    /// Floating-point operations of the forward pass over one puzzle.
    pub fn flops(&self) -> u64 {
        let products = 2 * self.rows * self.width() * (self.inner + self.mixed);
        let attention = if self.attends() { 4 * self.tokens * self.tokens * self.d } else { 0 };
        (products + attention) as u64
    }

    /// `h <- rms_norm(h + W_out g(W_in h))`
    ///
    /// # Shapes
    /// `h` is `[tokens, d]`.
    pub fn forward(&self, w: &PackedWeights, tape: &mut HalfLayerTape, h: &mut [f32]) {
        let (rows, width) = (self.rows, self.width());
        self.lay_out(h, &mut tape.input);
        product(rows, &tape.input, &w[self.input], &mut tape.inner, Overwrite::Yes);
        match &self.mixing {
            TokenMixing::Attention(heads, rotary) => {
                let (d, tokens) = (self.d, self.tokens);
                transpose([tokens, 3 * d], &tape.inner, &mut tape.qkv);
                let output = &mut tape.inner[..d * tokens];
                attention_forward(*heads, rotary, &mut tape.qkv, &mut tape.weights, output);
                transpose([d, tokens], output, &mut tape.mixed);
            }
            _ => swiglu_forward(&tape.inner, self.mixed, &mut tape.mixed),
        }
        tape.output.copy_from_slice(&tape.input);
        product(rows, &tape.mixed, &w[self.output], &mut tape.output, Overwrite::No);
        rms_norm_forward(width, &mut tape.output, &mut tape.inv_rms);
        self.put_back(&tape.output, h);
    }

    /// Turns `d_h`, the gradient of the new h, into the gradient of the old h, and adds to the gradients of the
    /// matrices, by products in `format`. Uses up the tape.
    pub fn backward(
        &self,
        (w, format): (&PackedWeights, Format),
        tape: &mut HalfLayerTape,
        scratch: &mut HalfLayerScratch,
        grads: &mut Weights,
        d_h: &mut [f32],
    ) {
        let (rows, width, values) = (self.rows, self.width(), self.tokens * self.d);
        let HalfLayerScratch { d_output, d_input, d_mixed, d_qkv, squares } = scratch;
        let (d_output, d_input) = (&mut d_output[..values], &mut d_input[..values]);
        let d_mixed = &mut d_mixed[..rows * self.mixed];
        self.lay_out(d_h, d_output);
        rms_norm_backward(width, d_output, &tape.output, &tape.inv_rms);
        linear_backward_weight(rows, &tape.mixed, d_output, 0, &mut grads[self.output].data, format);
        linear_backward_input(rows, d_output, &w[self.output], d_mixed);
        match &self.mixing {
            TokenMixing::Attention(heads, rotary) => {
                let (d, tokens) = (self.d, self.tokens);
                let d_attended = &mut tape.inner[..d * tokens];
                transpose([tokens, d], d_mixed, d_attended);
                attention_backward(*heads, rotary, &tape.qkv, &mut tape.weights, d_attended, d_qkv, squares);
                transpose([3 * d, tokens], d_qkv, &mut tape.inner);
            }
            _ => swiglu_backward(d_mixed, self.mixed, &mut tape.inner),
        }
        linear_backward_weight(rows, &tape.input, &tape.inner, 0, &mut grads[self.input].data, format);
        linear_backward_input(rows, &tape.inner, &w[self.input], d_input);
        add_scaled(d_output, 1.0, d_input);
        self.put_back(d_output, d_h);
    }

    /// From `[tokens, d]` to the rows that the products work on.
    fn lay_out(&self, h: &[f32], rows: &mut [f32]) {
        match self.mixing {
            TokenMixing::Tokens => transpose([self.tokens, self.d], h, rows),
            _ => rows.copy_from_slice(h),
        }
    }

    /// From those rows to `[tokens, d]`.
    fn put_back(&self, rows: &[f32], h: &mut [f32]) {
        match self.mixing {
            TokenMixing::Tokens => transpose([self.d, self.tokens], rows, h),
            _ => h.copy_from_slice(rows),
        }
    }
}
