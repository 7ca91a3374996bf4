//! What a block leaves for its backward pass, and where each application finds it.

use super::block::Application;
use super::mixer::Mixer;
use super::mixer_tape::{MixerRowSums, MixerTape, Room};
use crate::config::{NetworkConfig, Update};
use crate::ops::{Rows, RowsFormat, Slot, unit_rows};
use std::ops::Range;

/// What some applications of one block leave for the backward pass; `[applications * rows, width]` each. A row is a
/// vector of the state; wide is the width of the MLP's inner layer.
#[derive(Clone, Debug)]
pub struct BlockTape {
    /// Of the mixer before the MLP.
    pub mixer: Option<MixerTape>,
    /// LayerNorm(h) before gain and bias, width d.
    pub normalised: Vec<f32>,
    /// `1 / std` of each row.
    pub inv_std: Vec<f32>,
    /// LayerNorm(h), width d: the input of W1.
    pub normed: Rows,
    /// `mean_k(n)`, `[applications, kinds, units, d]`: the input of M_k.
    pub means: Vec<f32>,
    /// `M_k mean_k(n)`, `[applications, kinds, units, wide]`; the backward pass makes it the gradient of that.
    pub messages: Vec<f32>,
    /// Slope of GELU with its dropout, wide; the backward pass makes it the gradient of W1's output.
    pub slope: Rows,
    /// Output of GELU and dropout, wide: the input of W2.
    pub activation: Rows,
    /// f(h), width d, where the gradient of a gate needs it.
    pub branch: Rows,
    /// Gradient of W2's output, width d, made by the backward pass.
    pub d_branch: Rows,
    /// What rows are rounded to.
    pub format: RowsFormat,
    /// Whether a backward pass follows.
    pub training: bool,
}

/// Gradients that are sums over rows and small enough for every shard to keep its own.
#[derive(Clone, Debug)]
pub struct BlockRowSums {
    /// The gate, `[1]` or `[d]`; empty where no gate acts inside the blocks.
    pub gate: Vec<f32>,
    /// Of the mixer before the MLP.
    pub mixer: Option<MixerRowSums>,
    /// `[d]` each: LayerNorm's gain and bias, b2.
    pub gain: Vec<f32>,
    /// `[d]`
    pub norm_bias: Vec<f32>,
    /// `[wide]`: b1.
    pub expand_bias: Vec<f32>,
    /// `[d]`
    pub contract_bias: Vec<f32>,
}

impl BlockTape {
    /// Room for some applications to `rows` rows; nothing is kept for a backward pass unless `training`.
    pub fn new(
        config: &NetworkConfig,
        format: RowsFormat,
        applications: usize,
        rows: usize,
        training: bool,
    ) -> Self {
        let (d, wide) = (config.hidden_dim, config.mlp_width());
        let whole = applications * rows;
        let kinds = config.units();
        let units = |width: usize| vec![0.0; kinds.len() * unit_rows(&kinds, whole) * width];
        let kept = if training { applications } else { 0 };
        Self {
            mixer: Mixer::new(config).map(|mixer| {
                let room = Room { format, applications, kept, gated: kept * inner_gates(config) };
                MixerTape::new(&mixer, d, rows, room)
            }),
            normalised: vec![0.0; kept * rows * d],
            inv_std: vec![0.0; kept * rows],
            normed: Rows::new(format, applications, rows, d),
            means: units(d),
            messages: units(wide),
            slope: Rows::new(format, kept, rows, wide),
            activation: Rows::new(format, applications, rows, wide),
            branch: Rows::new(RowsFormat::F32, kept * inner_gates(config), rows, d),
            d_branch: Rows::new(format, kept, rows, d),
            format,
            training,
        }
    }

    /// f32 values that one row takes.
    pub fn values_per_row(config: &NetworkConfig, format: RowsFormat, training: bool) -> usize {
        let (d, wide) = (config.hidden_dim, config.mlp_width());
        let (kept, gated) = (usize::from(training), inner_gates(config));
        let room = Room { format, applications: 1, kept, gated: kept * gated };
        let mixer = Mixer::new(config).map_or(0, |mixer| MixerTape::values_per_row(&mixer, d, room));
        let rows = |width: usize| Rows::values_per_row(format, width);
        let kept = kept * (d + 1 + rows(wide) + rows(d) + gated * d);
        mixer + rows(d) + rows(wide) + kept + config.units().len() * (d + wide) / 9
    }
}

/// 1 where a gate acts inside the blocks, else 0.
fn inner_gates(config: &NetworkConfig) -> usize {
    usize::from(config.update == Update::Original)
}

impl BlockRowSums {
    /// Zeros.
    pub fn new(config: &NetworkConfig) -> Self {
        let d = config.hidden_dim;
        let zeros = || vec![0.0; d];
        let gate = inner_gates(config) * config.gates.width(d);
        Self {
            gate: vec![0.0; gate],
            mixer: Mixer::new(config).map(|mixer| MixerRowSums::new(&mixer, d)),
            gain: zeros(),
            norm_bias: zeros(),
            expand_bias: vec![0.0; config.mlp_width()],
            contract_bias: zeros(),
        }
    }
}

/// Where the values of one application stand in the parts of a tape.
pub struct Places {
    /// The slot of rows.
    pub slot: Slot,
    /// Of vectors of d numbers.
    pub narrow: Range<usize>,
    /// Of one number for each row.
    pub each: Range<usize>,
    /// Units of a kind.
    pub units: usize,
    /// In the tape.
    pub means: Range<usize>,
    /// In the tape.
    pub messages: Range<usize>,
}

impl Places {
    /// For one application to `rows` rows.
    pub fn new(application: &Application, rows: usize, [d, wide]: [usize; 2]) -> Self {
        let place = |values: usize| application.slot * values..(application.slot + 1) * values;
        let units = unit_rows(application.units, rows);
        let unit_rows = application.units.len() * units;
        Self {
            slot: Slot { slot: application.slot, rows },
            narrow: place(rows * d),
            each: place(rows),
            units,
            means: place(unit_rows * d),
            messages: place(unit_rows * wide),
        }
    }
}
