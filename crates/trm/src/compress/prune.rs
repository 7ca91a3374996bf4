//! Pruning: the weights of the blocks that matter least become zero, or go.

use crate::config::{NetworkConfig, Pruning};
use crate::layers::{Block, HalfLayer};
use crate::model::{Network, paper};
use crate::network::Weights;
use crate::tensor::Tensor;

/// Sets the share `sparsity` of the weights of the blocks' matrices to zero. For [`Pruning::Structured`] these are all
/// weights of that share of the channels of each inner layer. Weights that are zero already go first, so that pruning
/// can go on in steps.
pub fn prune(network: &Network, weights: &mut Weights, kind: Pruning, sparsity: f64) {
    if kind == Pruning::Structured {
        return network.blocks().for_each(|block| clear_channels(block, weights, sparsity));
    }
    clear_weights(weights, kind, sparsity);
}

/// Sets the share `sparsity` of the weights of the paper's network to zero. Weights that are zero already go first, so
/// that pruning can go on in steps. For [`Pruning::Structured`] these are all weights of the channels of each SwiGLU
/// with the least `sqrt(|gate row|^2 + |up row|^2) |W_out column|`.
pub fn prune_paper(network: &paper::Network, weights: &mut Weights, kind: Pruning, sparsity: f64) {
    if kind != Pruning::Structured {
        return clear_weights(weights, kind, sparsity);
    }
    for ([input, output], channels) in network.half_layers.iter().filter_map(HalfLayer::swiglu) {
        let width = weights[input].shape[1];
        let norm = |values: &mut dyn Iterator<Item = &f32>| values.map(|w| w * w).sum::<f32>().sqrt();
        let rows = |channel: usize| [channel, channels + channel].map(|row| row * width..(row + 1) * width);
        let cost = |channel: usize| {
            let [gate, up] = rows(channel).map(|row| weights[input].data[row].iter());
            let column = weights[output].data.iter().skip(channel).step_by(channels);
            norm(&mut gate.chain(up)) * norm(&mut column.into_iter())
        };
        for channel in cheapest((0..channels).map(cost), share(channels, sparsity)) {
            rows(channel).into_iter().for_each(|row| weights[input].data[row].fill(0.0));
            weights[output].data.iter_mut().skip(channel).step_by(channels).for_each(|w| *w = 0.0);
        }
    }
}

fn clear_weights(weights: &mut Weights, kind: Pruning, sparsity: f64) {
    for (_, matrix) in weights.iter_mut().filter(|(entry, _)| entry.role.is_pruned()) {
        match kind {
            Pruning::Unstructured => clear_smallest(matrix, sparsity),
            Pruning::TwoOfFour => clear_two_of_four(matrix, sparsity),
            Pruning::None | Pruning::Structured => {}
        }
    }
}

/// Numbers of the `count` items of least cost; of equal ones the first.
fn cheapest(costs: impl Iterator<Item = f32>, count: usize) -> Vec<usize> {
    // Magnitudes are in the order of their bits.
    let mut order: Vec<(u32, usize)> = costs.enumerate().map(|(i, cost)| (cost.abs().to_bits(), i)).collect();
    if count < order.len() {
        order.select_nth_unstable(count);
        order.truncate(count);
    }
    order.into_iter().map(|(_, i)| i).collect()
}

fn share(count: usize, of: f64) -> usize {
    (count as f64 * of).round() as usize
}

fn clear_smallest(matrix: &mut Tensor, sparsity: f64) {
    let count = share(matrix.data.len(), sparsity);
    for i in cheapest(matrix.data.iter().copied(), count) {
        matrix.data[i] = 0.0;
    }
}

/// Clears two of four in as many fours as make up the sparsity; what is left over at the end of a row stays.
fn clear_two_of_four(matrix: &mut Tensor, sparsity: f64) {
    let inputs = matrix.shape[1];
    let mut fours: Vec<&mut [f32; 4]> =
        matrix.data.chunks_exact_mut(inputs.max(1)).flat_map(|row| row.as_chunks_mut::<4>().0).collect();
    let smaller = |four: &[f32; 4]| {
        let mut order = [0, 1, 2, 3];
        order.sort_by(|a, b| four[*a].abs().total_cmp(&four[*b].abs()));
        [order[0], order[1]]
    };
    let cost = |four: &[f32; 4]| smaller(four).iter().map(|i| four[*i] * four[*i]).sum();
    for i in cheapest(fours.iter().map(|four| cost(four)), share(fours.len(), 2.0 * sparsity)) {
        for place in smaller(fours[i]) {
            fours[i][place] = 0.0;
        }
    }
}

/// `|W1 row| |W2 column|` of each channel of the inner layer; the row has its bias and, where vectors are mixed by means, those of
/// M_k too.
fn channel_norms(block: &Block, weights: &Weights) -> Vec<f32> {
    let squares = |row: &[f32]| row.iter().map(|w| w * w).sum::<f32>();
    let (expand, mix, contract) = block.mlp();
    let d = weights[contract.bias].data.len();
    let wide = weights[expand.bias].data.len();
    let mut reading: Vec<f32> = weights[expand.bias].data.iter().map(|b| b * b).collect();
    for matrix in std::iter::once(&expand.weight).chain(mix) {
        let rows = weights[*matrix].data.chunks_exact(d);
        reading.iter_mut().zip(rows).for_each(|(sum, row)| *sum += squares(row));
    }
    let mut writing = vec![0.0; wide];
    for row in weights[contract.weight].data.chunks_exact(wide) {
        writing.iter_mut().zip(row).for_each(|(sum, w)| *sum += w * w);
    }
    reading.iter().zip(&writing).map(|(reading, writing)| (reading * writing).sqrt()).collect()
}

fn clear_channels(block: &Block, weights: &mut Weights, sparsity: f64) {
    let norms = channel_norms(block, weights);
    let (expand, mix, contract) = block.mlp();
    let (d, wide) = (weights[contract.bias].data.len(), norms.len());
    for channel in cheapest(norms.into_iter(), share(wide, sparsity)) {
        for matrix in std::iter::once(&expand.weight).chain(mix) {
            weights[*matrix].data[channel * d..(channel + 1) * d].fill(0.0);
        }
        weights[contract.weight].data.iter_mut().skip(channel).step_by(wide).for_each(|w| *w = 0.0);
    }
}

/// A model without the share `sparsity` of the channels of each MLP's inner layer: its matrices are smaller, and `mlp_dim` says so.
pub fn remove_units(config: &NetworkConfig, weights: &Weights, sparsity: f64) -> (NetworkConfig, Weights) {
    let wide = config.mlp_width();
    let kept = (wide - share(wide, sparsity)).max(1);
    let mut weights = weights.clone();
    for block in Network::new(config).0.blocks() {
        let mut is_kept = vec![true; wide];
        let cleared = cheapest(channel_norms(block, &weights).into_iter(), wide - kept);
        cleared.into_iter().for_each(|channel| is_kept[channel] = false);
        let (expand, mix, contract) = block.mlp();
        for tensor in [&expand.weight, &expand.bias].into_iter().chain(mix) {
            keep_rows(&mut weights[*tensor], &is_kept);
        }
        let mut channel = is_kept.iter().cycle();
        weights[contract.weight].data.retain(|_| channel.next() == Some(&true));
        weights[contract.weight].shape[1] = kept;
    }
    let smaller = NetworkConfig { mlp_dim: kept, ..config.clone() };
    let weights = Weights::from_state_dict(&Network::layout(&smaller), weights.state_dict());
    (smaller, weights)
}

fn keep_rows(tensor: &mut Tensor, is_kept: &[bool]) {
    let width = tensor.data.len() / is_kept.len();
    let rows = tensor.data.chunks_exact(width).zip(is_kept).filter(|(_, kept)| **kept);
    tensor.data = rows.flat_map(|(row, _)| row.iter().copied()).collect();
    tensor.shape[0] = tensor.data.len() / width;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mixing, State};
    use crate::model::{Engine, Model, Recording};
    use crate::parallel::Threads;

    fn configs() -> [NetworkConfig; 2] {
        let small = NetworkConfig {
            hidden_dim: 6,
            l_layers: 2,
            output_layers: 1,
            l_cycles: 2,
            h_cycles: 2,
            gate_init: 0.5,
            ..NetworkConfig::default()
        };
        [small.clone(), NetworkConfig { state: State::Cell, mixing: Mixing::UnitMean, expansion: 2, ..small }]
    }

    fn logits(config: NetworkConfig, weights: Weights) -> Vec<f32> {
        let threads = Threads::new(1);
        let model = Model::new(
            NetworkConfig { precision: crate::config::Precision::F32, ..config },
            weights,
            &threads,
        );
        let cells: Vec<u8> = (0..81).map(|cell| (cell % 10) as u8).collect();
        Engine::new(Recording::Nothing).logits(&model, &cells, &threads)
    }

    fn zeros(tensor: &Tensor) -> usize {
        tensor.data.iter().filter(|w| **w == 0.0).count()
    }

    #[test]
    fn the_smallest_weights_are_cleared_and_only_so_many() {
        let config = &configs()[0];
        for sparsity in [0.0, 0.3, 0.9] {
            let before = Network::first_weights(config, config.seed);
            let mut after = before.clone();
            prune(&Network::new(config).0, &mut after, Pruning::Unstructured, sparsity);
            let weights = |weights: &Weights| weights["latent_layers.1.net.4.weight"].clone();
            let (before, after) = (weights(&before), weights(&after));
            assert_eq!(zeros(&after), (sparsity * before.data.len() as f64).round() as usize);
            let pairs = || before.data.iter().zip(&after.data);
            let cleared = pairs().filter(|(_, a)| **a == 0.0).map(|(b, _)| b.abs()).fold(0.0, f32::max);
            let kept = pairs().filter(|(_, a)| **a != 0.0).map(|(b, _)| b.abs()).fold(f32::MAX, f32::min);
            assert!(cleared < kept && pairs().all(|(b, a)| *a == 0.0 || a == b));
        }
    }

    #[test]
    fn two_of_four_are_kept_and_those_are_the_larger() {
        let mut matrix = Tensor { shape: vec![2, 6], data: vec![0.0; 12] };
        matrix.data.copy_from_slice(&[4., -3., 2., 1., 9., 8., 1., 1., 1., 1., 7., 6.]);
        clear_two_of_four(&mut matrix, 0.25);
        assert_eq!(matrix.data, [4., -3., 2., 1., 9., 8., 0., 0., 1., 1., 7., 6.], "the cheaper half first");
        clear_two_of_four(&mut matrix, 0.5);
        assert_eq!(matrix.data, [4., -3., 0., 0., 9., 8., 0., 0., 1., 1., 7., 6.]);
    }

    #[test]
    fn removing_units_is_clearing_them() {
        for config in configs() {
            let params = Network::first_weights(&config, config.seed);
            let mut cleared = params.clone();
            prune(&Network::new(&config).0, &mut cleared, Pruning::Structured, 0.5);
            let (smaller, removed) = remove_units(&config, &params, 0.5);
            assert_eq!(2 * smaller.mlp_width(), config.mlp_width());
            let (cleared, removed) = (logits(config, cleared), logits(smaller, removed));
            for (a, b) in cleared.iter().zip(&removed) {
                assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} and {b}");
            }
        }
    }

    #[test]
    fn units_that_nothing_listens_to_go_first_and_change_nothing() {
        for config in configs() {
            let (network, _) = Network::new(&config);
            let mut params = Network::first_weights(&config, config.seed);
            let wide = config.mlp_width();
            for block in network.blocks() {
                let (_, _, contract) = block.mlp();
                for row in params[contract.weight].data.chunks_mut(wide) {
                    row.iter_mut().skip(1).step_by(3).for_each(|w| *w = 0.0);
                }
            }
            let (smaller, removed) = remove_units(&config, &params, 1.0 / 3.0);
            assert_eq!(smaller.mlp_width(), wide - wide / 3);
            for (a, b) in logits(config, params).iter().zip(&logits(smaller, removed)) {
                assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} and {b}");
            }
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for kind in [Pruning::Unstructured, Pruning::TwoOfFour, Pruning::Structured] {
            assert_eq!(kind.name().parse::<Pruning>().unwrap(), kind);
        }
        assert!("none".parse::<Pruning>().is_err());
    }
}
