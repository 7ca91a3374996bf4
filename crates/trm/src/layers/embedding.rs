//! What a vector starts from: `x_emb = W_in x + b_in`, and the vectors of each cell's place.

use super::Linear;
use super::linear::Scaled;
use super::turn;
use crate::config::{NetworkConfig, PositionTable};
use crate::network::{First, Id, Layout, PackedWeights, Role, Weights};
use crate::ops::{
    add_positions, linear_backward_bias, one_hot_linear_backward_weight, one_hot_linear_forward,
    positions_backward,
};
use crate::parallel::Threads;

/// W_in, b_in, and tables of vectors for places.
#[derive(Clone, Debug)]
pub struct Embedding {
    input: Linear,
    /// Numbers in a group of the one-hot input.
    channels: usize,
    d: usize,
    positions: Vec<(Id, PositionTable)>,
}

impl Embedding {
    /// `input_proj` and `positions.NAME.weight`.
    pub fn new(layout: &mut Layout, config: &NetworkConfig) -> Self {
        let (d, scale, channels) = (config.hidden_dim, config.init_scale as f32, config.state.channels());
        let [inputs, _] = config.state.widths();
        let role = (Role::OneHot, turn::NETWORK);
        let input = Linear::new(layout, "input_proj", [inputs, d], role, Scaled::Making(scale));
        let first = First::uniform(channels, turn::CELL_INPUTS).times(scale);
        let table = |table: PositionTable| {
            let name = format!("positions.{}.weight", table.name);
            (layout.add(name, &[table.places, d], Role::Embedding, first), table)
        };
        let positions = config.position_tables().into_iter().map(table).collect();
        Self { input, channels, d, positions }
    }

    /// `x_emb = W_in x + b_in`, and the vectors of places are added.
    ///
    /// # Shapes
    /// `inputs` says which channel of each group is 1; `x_emb` is `[rows, d]`.
    pub fn forward(&self, w: &PackedWeights, inputs: &[u8], x_emb: &mut [f32]) {
        let bias = w.values(self.input.bias);
        one_hot_linear_forward(inputs, self.channels, w.transposed(self.input.weight), bias, x_emb);
        for (id, table) in &self.positions {
            add_positions(table.place_of, w.values(*id), self.d, x_emb);
        }
    }

    /// Adds the contributions of some shards to the gradients of b_in, of the places and of W_in, which is `[in, d]`
    /// here.
    ///
    /// # Shapes
    /// A shard is its inputs and the gradient of its x_emb, `[rows, d]`.
    pub fn backward(
        &self,
        shards: &[(&[u8], &[f32])],
        d_weight_t: &mut [f32],
        grads: &mut Weights,
        threads: &Threads,
    ) {
        for (id, table) in &self.positions {
            for (_, d_x_emb) in shards {
                positions_backward(table.place_of, d_x_emb, self.d, &mut grads[*id].data);
            }
        }
        for (_, d_x_emb) in shards {
            linear_backward_bias(d_x_emb, &mut grads[self.input.bias].data);
        }
        let (d, channels) = (self.d, self.channels);
        let groups = d_weight_t.len() / (channels * d);
        let work = d_weight_t.chunks_mut(channels * d).enumerate().collect();
        threads.for_each(work, |(group, d_weight_t): (usize, &mut [f32])| {
            for (inputs, d_x_emb) in shards {
                one_hot_linear_backward_weight(inputs, [groups, group], d_x_emb, d, d_weight_t);
            }
        });
    }

    /// W_in.
    pub fn weight(&self) -> Id {
        self.input.weight
    }
}
