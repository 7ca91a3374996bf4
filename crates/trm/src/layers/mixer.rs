//! How the cells of a puzzle learn of each other before the MLP of a block: `h <- h + gate * g(h)`, with
//!
//! ```text
//! attention:  g(h) = Dropout(W_out Attention(W_qkv n + b_qkv) + b_out)       n = LayerNorm(h)
//! token MLP:  g(h)^T = Dropout(T2 GELU(T1 n^T + t1) + t2)                    81 -> 162 -> 81, for each channel
//! ```
//!
//! Both are two linear maps with something between them; the token MLP has them on the other side of a transposition.

use super::block::{Application, TapeSize};
use super::linear::Scaled;
use super::{LayerNorm, Linear, NormTape, turn};
use crate::config::{Mixing, NetworkConfig, Positions};
use crate::network::{Layout, Operands, PackedWeights, Role, Room, RowSums, Vectors};
use crate::ops::{
    CellAttention, Format, Part, Rows, Slot, gate_backward, gate_forward, gelu_backward, gelu_forward,
    linear_backward_bias, rows_backward_input, rows_forward, transpose,
};
use crate::sudoku::{CELLS, Units};
use std::ops::Range;
use std::sync::Arc;

/// Width of the token MLP's inner layer.
const TOKEN_MLP_WIDTH: usize = 2 * CELLS;

/// The mixer of a block, through which the vectors of a puzzle learn of each other: two linear maps with attention or
/// GELU between them.
#[derive(Clone, Debug)]
pub struct Mixer {
    kind: MixerKind,
    norm: LayerNorm,
    /// d to queries, keys and values; or 81 to 162.
    first: Linear,
    /// d to d; or 162 to 81.
    second: Linear,
    d: usize,
}

/// The operation between the mixer's two linear maps. All blocks of a network share it.
#[derive(Clone, Debug)]
pub enum MixerKind {
    /// Attention of every cell to all cells, or to the cells of a unit.
    Attention(Arc<CellAttention>),
    /// An MLP over the cells, the same for each of d channels.
    TokenMlp,
}

impl MixerKind {
    /// The operation that `config` asks for; nothing if blocks have no mixer.
    pub fn new(config: &NetworkConfig) -> Option<Self> {
        let units = match config.mixing {
            Mixing::None | Mixing::UnitMean => return None,
            Mixing::TokenMlp => return Some(Self::TokenMlp),
            Mixing::Attention => &[],
            Mixing::UnitAttention => &Units::of_cells()[..],
        };
        let rotary = config.positions == Positions::Rotary;
        let attention = CellAttention::new(config.hidden_dim, config.heads, units, rotary);
        Some(Self::Attention(Arc::new(attention)))
    }

    /// Inputs and outputs of the two maps.
    fn shapes(&self, d: usize) -> [[usize; 2]; 2] {
        match self {
            Self::Attention(_) => [[d, 3 * d], [d, d]],
            Self::TokenMlp => [[CELLS, TOKEN_MLP_WIDTH], [TOKEN_MLP_WIDTH, CELLS]],
        }
    }

    /// Numbers for each row of (the first map's output, the second map's input, what attention keeps).
    fn widths(&self, d: usize) -> [usize; 3] {
        match self {
            Self::Attention(attention) => [3 * d, d, attention.weights_per_cell()],
            Self::TokenMlp => [TOKEN_MLP_WIDTH / CELLS * d, TOKEN_MLP_WIDTH / CELLS * d, 0],
        }
    }
}

/// The values that some applications of a mixer keep for the backward pass, one application after the other.
#[derive(Clone, Debug)]
pub struct MixerTape {
    norm: NormTape,
    /// Input of the first map.
    input: Rows,
    /// Queries, keys and values, or the slope of GELU; the backward pass makes it the gradient of the first map's output.
    inner: Rows,
    /// Weights of attention.
    weights: Vec<f32>,
    /// Input of the second map.
    mixed: Rows,
    /// g(h), where the gradient of a gate needs it.
    branch: Rows,
    /// Gradient of the second map's output, made by the backward pass.
    d_branch: Rows,
}

impl MixerTape {
    /// Room for what `size` says.
    pub fn new(mixer: &Mixer, size: TapeSize, room: &mut Room) -> Self {
        let TapeSize { format, applications, rows, .. } = size;
        let (d, kept, vectors) = (mixer.d, size.kept(), mixer.vectors(rows));
        let [inner, mixed, weights] = mixer.kind.widths(d);
        let of_vectors = |room: &mut Room, slots: usize, per_row: usize| {
            room.rows(format, slots, vectors, per_row * rows / vectors.max(1))
        };
        Self {
            norm: NormTape::new(kept * rows, d, room),
            input: of_vectors(room, applications, d),
            inner: of_vectors(room, kept, inner),
            weights: room.floats(applications * rows * weights),
            mixed: of_vectors(room, applications, mixed),
            branch: room.rows(Format::F32, size.gated(), rows, d),
            d_branch: of_vectors(room, kept, d),
        }
    }
}

/// Where one application finds its values.
struct Place {
    /// Rows.
    rows: usize,
    /// The slot of vectors.
    slot: Slot,
    /// The rows in the norm's tape.
    each: Range<usize>,
    /// Attention's weights in the tape.
    weights: Range<usize>,
}

/// Buffers that a pass works in.
struct Scratch<'a> {
    state: &'a mut [f32],
    inner: &'a mut [f32],
    mixed: &'a mut [f32],
    attention: &'a mut [f32],
}

impl Mixer {
    /// `BLOCK.attention` or `BLOCK.token_mlp`.
    pub fn new(layout: &mut Layout, block: &str, config: &NetworkConfig, kind: MixerKind) -> Self {
        let (d, scale) = (config.hidden_dim, config.init_scale as f32);
        let (name, [first, second]) = match &kind {
            MixerKind::Attention(_) => ("attention", ["qkv", "output"]),
            MixerKind::TokenMlp => ("token_mlp", ["expand", "contract"]),
        };
        let [first_shape, second_shape] = kind.shapes(d);
        let role = (Role::Matrix, turn::MIXING);
        let norm = LayerNorm::new(layout, &format!("{block}.{name}.norm"), d, scale);
        let mut linear =
            |part, shape, scaled| Linear::new(layout, &format!("{block}.{name}.{part}"), shape, role, scaled);
        let first = linear(first, first_shape, Scaled::Reading(scale));
        let second = linear(second, second_shape, Scaled::Making(scale));
        Self { kind, norm, first, second, d }
    }

    /// Values for each row that the passes work in.
    pub fn scratch_per_row(&self) -> usize {
        let attention = match &self.kind {
            MixerKind::Attention(attention) => attention.scratch().div_ceil(CELLS),
            MixerKind::TokenMlp => 0,
        };
        let [inner, mixed, _] = self.kind.widths(self.d);
        self.d + inner + mixed + attention
    }

    /// Floating-point operations of a forward pass over one puzzle.
    pub fn flops(&self) -> u64 {
        let [[inputs, inner], [mixed, outputs]] = self.kind.shapes(self.d);
        let products = 2 * (inputs * inner + mixed * outputs);
        let flops = match &self.kind {
            MixerKind::Attention(attention) => CELLS * products + attention.flops(),
            MixerKind::TokenMlp => self.d * products,
        };
        flops as u64
    }

    /// `h <- h + gate * g(h)`, in place.
    ///
    /// # Shapes
    /// `h` is `[rows, d]`, `scratch` holds [`Self::scratch_per_row`] values for each row.
    pub fn forward(
        &self,
        w: &PackedWeights,
        tape: &mut MixerTape,
        h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        let at = self.place(h.len() / self.d, application.slot);
        let Scratch { state, inner: inner_room, mixed: mixed_room, attention } = self.scratch(&at, scratch);
        let (first, second) = (self.first.read(w), self.second.read(w));
        let [input, inner, mixed] = [&tape.input, &tape.inner, &tape.mixed].map(|rows| rows.all(at.slot));
        tape.input.make_input(at.slot, &input, mixed_room, first.0, |input| {
            self.to_vectors(input, state, |n| self.norm.forward(w, (&mut tape.norm, at.each), h, n));
        });
        tape.inner.make(at.slot, &inner, inner_room, |inner| {
            rows_forward(&tape.input, at.slot, first, inner);
            tape.mixed.make_input(at.slot, &mixed, mixed_room, second.0, |mixed| match &self.kind {
                MixerKind::Attention(layer) => {
                    layer.forward(inner, &mut tape.weights[at.weights], mixed, attention)
                }
                MixerKind::TokenMlp => gelu_forward(inner, mixed),
            });
        });
        rows_forward(&tape.mixed, at.slot, second, state);
        application.drop_mixed(state, self.d);
        let branch = self.to_rows(state, mixed_room);
        gate_forward(h, application.gate.values, branch);
        let slot = Slot { slot: application.slot, rows: at.rows };
        tape.branch.put(slot, &Part { rows: 0..at.rows, columns: 0..self.d }, branch);
    }

    /// Turns `d_h`, the gradient of the result, into the gradient of the input, in place; leaves in the tape what the gradients of
    /// the matrices are made of, and adds to `sums`.
    ///
    /// # Shapes
    /// `d_h` is `[rows, d]`, `scratch` holds [`Self::scratch_per_row`] values for each row.
    pub fn backward(
        &self,
        w: &PackedWeights,
        tape: &mut MixerTape,
        sums: &mut RowSums,
        d_h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        let at = self.place(d_h.len() / self.d, application.slot);
        let Scratch { state, inner: inner_room, mixed: d_mixed, attention } = self.scratch(&at, scratch);
        if let Some(gate) = application.gate.sum {
            let branch = tape.branch.plain(application.slot + 1, at.rows);
            gate_backward(d_h, &branch[at.each.start * self.d..], &mut sums[gate]);
        }
        let all = tape.d_branch.all(at.slot);
        tape.d_branch.make(at.slot, &all, d_mixed, |d_branch| {
            self.to_vectors(d_branch, state, |d_branch| {
                d_branch.fill(0.0);
                gate_forward(d_branch, application.gate.values, d_h);
            });
            application.drop_mixed(d_branch, self.d);
            linear_backward_bias(d_branch, &mut sums[self.second.bias]);
        });

        rows_backward_input(&tape.d_branch, at.slot, &w[self.second.weight], d_mixed);
        let all = tape.inner.all(at.slot);
        tape.inner.change(at.slot, &all, inner_room, |inner| {
            match &self.kind {
                MixerKind::Attention(layer) => {
                    layer.backward(inner, &mut tape.weights[at.weights], d_mixed, attention)
                }
                MixerKind::TokenMlp => gelu_backward(d_mixed, inner),
            }
            linear_backward_bias(inner, &mut sums[self.first.bias]);
        });
        rows_backward_input(&tape.inner, at.slot, &w[self.first.weight], state);
        let d_normed = self.to_rows(state, d_mixed);
        self.norm.backward(w, (&tape.norm, at.each), sums, d_normed, d_h);
    }

    /// Inputs of the mixer's two matrices in the first `applications` applications to `rows` rows each, with the
    /// gradients of their outputs.
    pub fn operands<'a>(&self, tape: &'a MixerTape, rows: usize, applications: usize) -> [Operands<'a>; 2] {
        let rows = self.vectors(rows);
        let kept = |kept: &'a Rows| Vectors::Kept { kept, slots: applications, rows };
        [
            Operands { weight: self.first.weight, input: kept(&tape.input), d_output: kept(&tape.inner) },
            Operands { weight: self.second.weight, input: kept(&tape.mixed), d_output: kept(&tape.d_branch) },
        ]
    }

    /// Vectors that the linear maps see for so many rows: one for each cell or, of the token MLP, for each channel.
    fn vectors(&self, rows: usize) -> usize {
        match self.kind {
            MixerKind::Attention(_) => rows,
            MixerKind::TokenMlp => rows / CELLS * self.d,
        }
    }

    /// Makes rows, `[puzzles, 81, d]`, as those vectors: for the token MLP `[puzzles, d, 81]`, by way of `room`.
    fn to_vectors(&self, vectors: &mut [f32], room: &mut [f32], make: impl FnOnce(&mut [f32])) {
        match self.kind {
            MixerKind::Attention(_) => make(vectors),
            MixerKind::TokenMlp => {
                make(room);
                transposed([CELLS, self.d], room, vectors);
            }
        }
    }

    /// Rows again, from those vectors: for the token MLP in `room`.
    fn to_rows<'a>(&self, vectors: &'a mut [f32], room: &'a mut [f32]) -> &'a mut [f32] {
        match self.kind {
            MixerKind::Attention(_) => vectors,
            MixerKind::TokenMlp => transposed([self.d, CELLS], vectors, room),
        }
    }

    fn place(&self, rows: usize, slot: usize) -> Place {
        let place = |values: usize| slot * rows * values..(slot + 1) * rows * values;
        let [_, _, weights] = self.kind.widths(self.d);
        let vectors = Slot { slot, rows: self.vectors(rows) };
        Place { rows, slot: vectors, each: place(1), weights: place(weights) }
    }

    fn scratch<'a>(&self, at: &Place, scratch: &'a mut [f32]) -> Scratch<'a> {
        let [inner, mixed, _] = self.kind.widths(self.d);
        let (state, scratch) = scratch.split_at_mut(at.rows * self.d);
        let (inner, scratch) = scratch.split_at_mut(at.rows * inner);
        let (mixed, attention) = scratch.split_at_mut(at.rows * mixed);
        Scratch { state, inner, mixed, attention }
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
