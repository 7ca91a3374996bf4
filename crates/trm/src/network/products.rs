//! What each matrix was multiplied by, and the gradient of what came out: the operands of its gradient, and what quantising looks
//! at.

use super::{Id, Role, Weights};
use crate::ops::{Format, RowPairs, Rows, linear_backward_weight, rows_backward_weight};
use crate::parallel::Threads;
use crate::tensor::Tensor;

/// Most rows of a weight matrix whose gradient is one piece of work: what it is summed from then stays in the cache.
const PANEL_ROWS: usize = 512;
/// Most values of a piece, so that wide matrices are no larger pieces.
const PANEL_VALUES: usize = 1 << 19;

/// The vectors on one side of some products with one matrix.
#[derive(Clone, Copy, Debug)]
pub enum Vectors<'a> {
    /// The first `slots` slots of `rows` rows each, as a tape keeps them.
    Kept {
        /// All slots.
        kept: &'a Rows,
        /// Number of slots in use, the first ones.
        slots: usize,
        /// Rows of a slot.
        rows: usize,
    },
    /// Plain numbers, one vector after the other.
    Plain(&'a [f32]),
}

impl<'a> Vectors<'a> {
    /// All vectors as plain numbers.
    ///
    /// # Panics
    /// If a tape keeps them rounded.
    pub fn plain(self) -> &'a [f32] {
        match self {
            Self::Kept { kept, slots, rows } => kept.plain(slots, rows),
            Self::Plain(values) => values,
        }
    }
}

/// The operands of some products with one matrix `[out, in]`: as many inputs as gradients of outputs, in the same
/// order.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// The matrix.
    pub weight: Id,
    /// Vectors that the matrix was multiplied by, `in` numbers each.
    pub input: Vectors<'a>,
    /// Gradients of the products, `out` numbers each; known after the backward pass.
    pub d_output: Vectors<'a>,
}

/// Adds to the gradients of matrices: `d_weight += d_output^T input`, summed over the operands in order.
///
/// A matrix is cut by rows into pieces of work whose size does not depend on the number of threads. Plain operands are multiplied
/// in `format`, those of a read-out with few outputs in f32.
pub fn product_gradients<'a>(
    grads: &mut Weights,
    operands: impl IntoIterator<Item = Operands<'a>>,
    format: Format,
    threads: &Threads,
) {
    let mut sources: Vec<Sources> = grads.tensors().iter().map(|_| Sources::default()).collect();
    operands.into_iter().for_each(|operands| sources[operands.weight.0].add(&operands));
    let mut work = Vec::new();
    for ((entry, weight), sources) in grads.iter_mut().zip(&sources).filter(|(_, s)| !s.is_empty()) {
        let format = if entry.role == Role::ReadOut { format.for_outputs(weight.shape[0]) } else { format };
        panels(weight, sources, format, &mut work);
    }
    threads.for_each(work, |panel: Panel| panel.add());
}

/// What the gradient of one matrix is summed from.
#[derive(Default)]
struct Sources<'a> {
    kept: Vec<RowPairs<'a>>,
    /// (input, gradient of the output) each.
    plain: Vec<(&'a [f32], &'a [f32])>,
}

impl<'a> Sources<'a> {
    fn add(&mut self, operands: &Operands<'a>) {
        match (operands.input, operands.d_output) {
            (Vectors::Kept { kept: input, slots, rows }, Vectors::Kept { kept: d_output, .. }) => {
                self.kept.push(RowPairs { d_output, input, slots, rows });
            }
            (input, d_output) => self.plain.push((input.plain(), d_output.plain())),
        }
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.plain.is_empty()
    }
}

/// Some rows of a gradient.
struct Panel<'a> {
    d_weight: &'a mut [f32],
    first_output: usize,
    inputs: usize,
    format: Format,
    sources: &'a Sources<'a>,
}

fn panels<'a>(weight: &'a mut Tensor, sources: &'a Sources<'a>, format: Format, work: &mut Vec<Panel<'a>>) {
    let inputs = weight.shape[1];
    // Whole tiles of bfloat16 products.
    let rows = (PANEL_VALUES / inputs / 32 * 32).clamp(32, PANEL_ROWS);
    for (i, d_weight) in weight.data.chunks_mut(rows * inputs).enumerate() {
        work.push(Panel { d_weight, first_output: i * rows, inputs, format, sources });
    }
}

impl Panel<'_> {
    fn add(self) {
        let Self { d_weight, first_output, inputs, format, sources } = self;
        if !sources.kept.is_empty() {
            rows_backward_weight(&sources.kept, first_output, d_weight);
        }
        for (input, d_output) in &sources.plain {
            linear_backward_weight(input.len() / inputs, input, d_output, first_output, d_weight, format);
        }
    }
}
