//! What a mixer leaves for its backward pass, and where each application finds it.

use super::mixer::Mixer;
use crate::ops::{Rows, RowsFormat, Slot};
use crate::sudoku::CELLS;
use std::ops::Range;

/// What some applications of one mixer leave for the backward pass, one after the other.
#[derive(Clone, Debug)]
pub struct MixerTape {
    /// LayerNorm(h) before gain and bias, `[rows, d]`.
    pub normalised: Vec<f32>,
    /// `1 / std` of each row.
    pub inv_std: Vec<f32>,
    /// Input of the first map.
    pub input: Rows,
    /// Queries, keys and values, or the slope of GELU; the backward pass makes it the gradient of the first map's output.
    pub entered: Rows,
    /// Weights of attention.
    pub weights: Vec<f32>,
    /// Input of the second map.
    pub left: Rows,
    /// g(h), where the gradient of a gate needs it.
    pub branch: Rows,
    /// Gradient of the second map's output, made by the backward pass.
    pub d_branch: Rows,
}

/// What a [`MixerTape`] has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What rows are rounded to.
    pub format: RowsFormat,
    /// Applications of the mixer.
    pub applications: usize,
    /// Those that a backward pass follows.
    pub kept: usize,
    /// Those whose gate has a gradient.
    pub gated: usize,
}

impl MixerTape {
    /// Room for applications to `rows` rows each.
    pub fn new(mixer: &Mixer, d: usize, rows: usize, room: Room) -> Self {
        let Room { format, applications, kept, gated } = room;
        let [entered, left, weights] = mixer.widths(d);
        let vectors = mixer.vectors(d, rows);
        let of_vectors =
            |slots: usize, per_row: usize| Rows::new(format, slots, vectors, per_row * rows / vectors.max(1));
        Self {
            normalised: vec![0.0; kept * rows * d],
            inv_std: vec![0.0; kept * rows],
            input: of_vectors(applications, d),
            entered: of_vectors(kept, entered),
            weights: vec![0.0; applications * rows * weights],
            left: of_vectors(applications, left),
            branch: Rows::new(RowsFormat::F32, gated, rows, d),
            d_branch: of_vectors(kept, d),
        }
    }

    /// f32 values that a row takes in all applications.
    pub fn values_per_row(mixer: &Mixer, d: usize, room: Room) -> usize {
        // A vector that is rounded fills whole tiles, and those of the token MLP have another length than rows.
        let vectors = mixer.vectors(d, CELLS);
        let rows = |per_row: usize| {
            (Rows::values_per_row(room.format, per_row * CELLS / vectors) * vectors).div_ceil(CELLS)
        };
        let [entered, left, weights] = mixer.widths(d);
        room.applications * (rows(d) + weights + rows(left))
            + room.kept * (d + 1 + rows(entered) + rows(d))
            + room.gated * d
    }
}

/// Where one application finds its values.
pub struct Place {
    /// Rows.
    pub rows: usize,
    /// The slot of vectors.
    pub slot: Slot,
    /// Values of a row: entered, left and attention's weights.
    widths: [usize; 3],
    /// In the tape.
    pub normalised: Range<usize>,
    /// In the tape.
    pub inv_std: Range<usize>,
    /// In the tape.
    pub weights: Range<usize>,
}

impl Place {
    /// For the application that uses this slot, to `rows` rows.
    pub fn new(mixer: &Mixer, d: usize, rows: usize, slot: usize) -> Self {
        let place = |values: usize| slot * rows * values..(slot + 1) * rows * values;
        let widths = mixer.widths(d);
        Self {
            rows,
            slot: Slot { slot, rows: mixer.vectors(d, rows) },
            widths,
            normalised: place(d),
            inv_std: place(1),
            weights: place(widths[2]),
        }
    }

    /// Scratch for (a state, what entered, what leaves, attention).
    pub fn scratch<'a>(&self, d: usize, scratch: &'a mut [f32]) -> [&'a mut [f32]; 4] {
        let (state, scratch) = scratch.split_at_mut(self.rows * d);
        let (entered, scratch) = scratch.split_at_mut(self.rows * self.widths[0]);
        let (left, attention) = scratch.split_at_mut(self.rows * self.widths[1]);
        [state, entered, left, attention]
    }
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
