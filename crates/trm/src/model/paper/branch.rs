//! One half of a layer, `h <- rms_norm(h + W_leave g(W_enter h))`, forward and backward, for one puzzle.
//!
//! g is SwiGLU over the channels of each token, SwiGLU over the tokens of each channel, or attention. The second works on
//! `h` transposed, its norm included: there each channel is normalised over the tokens.

use super::{Branch, Config};
use crate::ops::{
    Format, Heads, PackedWeight, Rotary, add_scaled, attention_backward, attention_forward,
    linear_backward_input, linear_backward_weight, product, rms_norm_backward, rms_norm_forward,
    swiglu_backward, swiglu_forward, transpose,
};
use crate::tensor::Tensor;
use trm_kernels::Overwrite;

/// What a branch mixes, and how.
#[derive(Clone, Copy, Debug)]
pub enum Mixing<'a> {
    /// The channels of each token, by SwiGLU.
    Channels,
    /// The tokens, each channel by itself, by SwiGLU.
    Tokens,
    /// The tokens, by attention.
    Attention(Heads, &'a Rotary),
}

/// The two matrices of a branch as products read them.
#[derive(Clone, Debug)]
pub struct PackedBranch {
    enter: PackedWeight,
    leave: PackedWeight,
}

impl PackedBranch {
    /// Packs the matrices of a branch.
    pub fn new(branch: &Branch, format: Format) -> Self {
        let pack = |tensor: &Tensor| {
            let mut packed = PackedWeight::new(format);
            packed.pack([tensor.shape[0], tensor.shape[1]], &tensor.data);
            packed
        };
        Self { enter: pack(&branch.enter), leave: pack(&branch.leave) }
    }
}

/// What one application of a branch leaves for the backward pass.
///
/// Rows are tokens and width is d, or the other way round where tokens are mixed by SwiGLU.
#[derive(Clone, Debug)]
pub struct Tape {
    /// h, `[rows, width]`
    input: Vec<f32>,
    /// `W_enter h`, `[rows, entered]`; the backward pass makes it its gradient.
    entered: Vec<f32>,
    /// `g(W_enter h)`, `[rows, inner]`
    inner: Vec<f32>,
    /// The new h, `[rows, width]`
    output: Vec<f32>,
    /// `[rows]`
    inv_rms: Vec<f32>,
    /// Turned queries and keys, and values, `[3 d, tokens]`.
    qkv: Vec<f32>,
    /// `[heads, tokens, tokens]`
    weights: Vec<f32>,
}

impl Tape {
    /// Room for one application.
    pub fn new(config: &Config, branch: &Branch, mixing: Mixing) -> Self {
        let (d, tokens) = (config.hidden_size, config.tokens());
        let rows = if matches!(mixing, Mixing::Tokens) { d } else { tokens };
        let attends = matches!(mixing, Mixing::Attention(..));
        let attention = |values: usize| vec![0.0; if attends { values } else { 0 }];
        Self {
            input: vec![0.0; tokens * d],
            entered: vec![0.0; rows * branch.enter.shape[0]],
            inner: vec![0.0; rows * branch.leave.shape[1]],
            output: vec![0.0; tokens * d],
            inv_rms: vec![0.0; rows],
            qkv: attention(3 * d * tokens),
            weights: attention(config.num_heads * tokens * tokens),
        }
    }
}

/// What the backward pass of a branch works in; one serves all branches.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// `[rows, width]`
    d_output: Vec<f32>,
    /// `[rows, width]`
    d_input: Vec<f32>,
    /// `[rows, inner]`
    d_inner: Vec<f32>,
    /// `[3 d, tokens]`
    d_qkv: Vec<f32>,
    /// `[2, tokens, tokens]`
    squares: Vec<f32>,
}

impl Scratch {
    fn fit(&mut self, tape: &Tape, tokens: usize) {
        self.d_output.resize(tape.input.len(), 0.0);
        self.d_input.resize(tape.input.len(), 0.0);
        self.d_inner.resize(tape.inner.len(), 0.0);
        self.d_qkv.resize(tape.qkv.len(), 0.0);
        self.squares.resize(2 * tokens * tokens, 0.0);
    }
}

/// A branch ready to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Mixer<'a> {
    /// What it mixes.
    pub mixing: Mixing<'a>,
    /// Its matrices.
    pub params: &'a Branch,
    /// The same, packed.
    pub packed: &'a PackedBranch,
    /// Tokens of a puzzle.
    pub tokens: usize,
    /// Number format of the products.
    pub format: Format,
}

impl Mixer<'_> {
    /// `h <- rms_norm(h + W_leave g(W_enter h))`
    ///
    /// # Shapes
    /// `h` is `[tokens, d]`.
    pub fn forward(&self, tape: &mut Tape, h: &mut [f32]) {
        let rows = tape.inv_rms.len();
        self.lay_out(h, &mut tape.input);
        product(rows, &tape.input, &self.packed.enter, &mut tape.entered, Overwrite::Yes);
        match self.mixing {
            Mixing::Attention(heads, rotary) => {
                let d = heads.count * heads.dim;
                transpose([self.tokens, 3 * d], &tape.entered, &mut tape.qkv);
                let output = &mut tape.entered[..d * self.tokens];
                attention_forward(heads, rotary, &mut tape.qkv, &mut tape.weights, output);
                transpose([d, self.tokens], output, &mut tape.inner);
            }
            _ => swiglu_forward(&tape.entered, tape.inner.len() / rows, &mut tape.inner),
        }
        tape.output.copy_from_slice(&tape.input);
        product(rows, &tape.inner, &self.packed.leave, &mut tape.output, Overwrite::No);
        rms_norm_forward(tape.output.len() / rows, &mut tape.output, &mut tape.inv_rms);
        self.put_back(&tape.output, h);
    }

    /// Turns `d_h`, the gradient of the new h, into that of the old one, and adds to the gradients of the matrices.
    /// Uses up the tape.
    pub fn backward(&self, tape: &mut Tape, scratch: &mut Scratch, grads: &mut Branch, d_h: &mut [f32]) {
        let rows = tape.inv_rms.len();
        scratch.fit(tape, self.tokens);
        let Scratch { d_output, d_input, d_inner, d_qkv, squares } = scratch;
        self.lay_out(d_h, d_output);
        rms_norm_backward(d_output.len() / rows, d_output, &tape.output, &tape.inv_rms);
        linear_backward_weight(rows, &tape.inner, d_output, 0, &mut grads.leave.data, self.format);
        linear_backward_input(rows, d_output, &self.packed.leave, d_inner);
        match self.mixing {
            Mixing::Attention(heads, rotary) => {
                let d = heads.count * heads.dim;
                let d_attended = &mut tape.entered[..d * self.tokens];
                transpose([self.tokens, d], d_inner, d_attended);
                attention_backward(heads, rotary, &tape.qkv, &mut tape.weights, d_attended, d_qkv, squares);
                transpose([3 * d, self.tokens], d_qkv, &mut tape.entered);
            }
            _ => swiglu_backward(d_inner, d_inner.len() / rows, &mut tape.entered),
        }
        linear_backward_weight(rows, &tape.input, &tape.entered, 0, &mut grads.enter.data, self.format);
        linear_backward_input(rows, &tape.entered, &self.packed.enter, d_input);
        add_scaled(d_output, 1.0, d_input);
        self.put_back(d_output, d_h);
    }

    /// From `[tokens, d]` to the rows that the products work on.
    fn lay_out(&self, h: &[f32], rows: &mut [f32]) {
        match self.mixing {
            Mixing::Tokens => transpose([self.tokens, h.len() / self.tokens], h, rows),
            _ => rows.copy_from_slice(h),
        }
    }

    /// The way back.
    fn put_back(&self, rows: &[f32], h: &mut [f32]) {
        match self.mixing {
            Mixing::Tokens => transpose([h.len() / self.tokens, self.tokens], rows, h),
            _ => h.copy_from_slice(rows),
        }
    }
}
