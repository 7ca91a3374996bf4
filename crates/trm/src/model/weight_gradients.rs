//! Gradients of the weights, from what the shards of a wave recorded: long sums over all their rows.

use super::block_tape::BlockTape;
use super::params::{BlockParams, Params};
use super::recursion::Model;
use super::shard::Shard;
use crate::config::NetworkConfig;
use crate::ops::{
    Format, RowPairs, Rows, add_scaled, linear_backward_bias, linear_backward_weight,
    one_hot_linear_backward_weight, positions_backward, rows_backward_weight,
};
use crate::parallel::Threads;
use crate::tensor::Tensor;
use std::ops::Range;

/// Most rows of a weight matrix whose gradient is one piece of work: what it is summed from then stays in the cache.
const PANEL_ROWS: usize = 512;
/// Most values of a piece, so that wide matrices are no larger pieces.
const PANEL_VALUES: usize = 1 << 19;

/// `d_weight[first_output ..] += d_output^T input`, summed over sources in order.
struct Panel<'a> {
    d_weight: &'a mut [f32],
    first_output: usize,
    sources: Sources<'a>,
}

#[derive(Clone)]
enum Sources<'a> {
    /// (rows, input, gradient of the output) each.
    Plain(Vec<(usize, &'a [f32], &'a [f32])>),
    /// As blocks keep them.
    Kept(Vec<RowPairs<'a>>),
}

fn panels<'a>(weight: &'a mut Tensor, sources: Sources<'a>, work: &mut Vec<Panel<'a>>) {
    let inputs = weight.shape[1];
    // Whole tiles of bfloat16 products.
    let rows = (PANEL_VALUES / inputs / 32 * 32).clamp(32, PANEL_ROWS);
    for (i, d_weight) in weight.data.chunks_mut(rows * inputs).enumerate() {
        work.push(Panel { d_weight, first_output: i * rows, sources: sources.clone() });
    }
}

fn run(work: Vec<Panel>, format: Format, threads: &Threads) {
    threads.for_each(work, |Panel { d_weight, first_output, sources }: Panel| match sources {
        Sources::Kept(pairs) => rows_backward_weight(&pairs, first_output, d_weight),
        Sources::Plain(sources) => {
            for (rows, input, d_output) in sources {
                linear_backward_weight(rows, input, d_output, first_output, d_weight, format);
            }
        }
    });
}

/// Adds what outer cycles give, the last first, to the gradients of the blocks' weights and, of one that is supervised, of
/// W_out and b_out.
pub fn weight_gradients(
    grads: &mut Params,
    shards: &[Shard],
    model: &Model,
    cycles: Range<usize>,
    threads: &Threads,
) {
    let (l_cycles, format) = (model.config().l_cycles, model.format());
    if model.is_read_out(cycles.end - 1) {
        let mut work = Vec::new();
        let sources = shards.iter().map(|s| (s.rows, &s.answer[..], s.read_out())).collect();
        panels(&mut grads.output_proj.weight, Sources::Plain(sources), &mut work);
        run(work, format.for_outputs(grads.output_proj.bias.data.len()), threads);
        shards.iter().for_each(|s| linear_backward_bias(s.read_out(), &mut grads.output_proj.bias.data));
    }
    let mut work = Vec::new();
    let tapes = cycles
        .rev()
        .flat_map(|h| shards.iter().map(move |s| ([s.rows, s.unit_rows()], &s.tapes[h % s.tapes.len()])));
    for (k, block) in grads.latent_layers.iter_mut().enumerate() {
        block_panels(block, tapes.clone().map(|(rows, tape)| (rows, l_cycles, &tape.latent[k])), &mut work);
    }
    for (k, block) in grads.output_layers.iter_mut().enumerate() {
        block_panels(block, tapes.clone().map(|(rows, tape)| (rows, 1, &tape.output[k])), &mut work);
    }
    run(work, format, threads);
}

fn block_panels<'a>(
    grads: &'a mut BlockParams,
    tapes: impl Iterator<Item = ([usize; 2], usize, &'a BlockTape)> + Clone,
    work: &mut Vec<Panel<'a>>,
) {
    let [wide, narrow] = grads.expand.weight.shape[..] else { unreachable!("weights are matrices") };
    // Rows of d numbers may be seen as vectors of others: those of the token MLP have one for each cell.
    let kept = |numbers: usize, pair: fn(&'a BlockTape) -> Option<[&'a Rows; 2]>| {
        let pairs = tapes.clone().filter_map(|([rows, _], slots, tape)| {
            let [d_output, input] = pair(tape)?;
            Some(RowPairs { d_output, input, slots, rows: rows * narrow / numbers })
        });
        Sources::Kept(pairs.collect())
    };
    if let Some(mixer) = &mut grads.mixer {
        let numbers = mixer.enter.weight.shape[1];
        let enter = kept(numbers, |tape| tape.mixer.as_ref().map(|tape| [&tape.entered, &tape.input]));
        let leave = kept(numbers, |tape| tape.mixer.as_ref().map(|tape| [&tape.d_branch, &tape.left]));
        panels(&mut mixer.enter.weight, enter, work);
        panels(&mut mixer.leave.weight, leave, work);
    }
    panels(&mut grads.expand.weight, kept(narrow, |tape| Some([&tape.slope, &tape.normed])), work);
    panels(&mut grads.contract.weight, kept(narrow, |tape| Some([&tape.d_branch, &tape.activation])), work);
    let kinds = grads.mix.len();
    for (k, mix) in grads.mix.iter_mut().enumerate() {
        let mut sources = Vec::new();
        for ([_, rows], applications, tape) in tapes.clone() {
            for place in (0..applications).map(|slot| (slot * kinds + k) * rows) {
                let part = |width: usize| place * width..(place + rows) * width;
                sources.push((rows, &tape.means[part(narrow)], &tape.messages[part(wide)]));
            }
        }
        panels(mix, Sources::Plain(sources), work);
    }
}

/// Adds what each shard summed over its rows, shard by shard, and clears it.
pub fn row_sum_gradients(grads: &mut Params, shards: &mut [Shard]) {
    let take = |target: &mut [f32], values: &mut [f32]| {
        add_scaled(target, 1.0, values);
        values.fill(0.0);
    };
    for s in shards {
        take(&mut grads.latent_gate.data, &mut s.sums.latent_gate);
        take(&mut grads.output_gate.data, &mut s.sums.output_gate);
        // Gates inside the blocks, if they act there.
        s.sums.latent.iter_mut().for_each(|block| take(&mut grads.latent_gate.data, &mut block.gate));
        s.sums.output.iter_mut().for_each(|block| take(&mut grads.output_gate.data, &mut block.gate));
        if let (Some(weight), Some(feedback)) = (&mut grads.feedback, &mut s.feedback) {
            take(&mut weight.data, &mut feedback.d_weight);
        }
        if let Some(norm) = &mut grads.output_norm {
            let [gain, bias] = &mut s.sums.output_norm;
            take(&mut norm.weight.data, gain);
            take(&mut norm.bias.data, bias);
        }
        let blocks = grads.latent_layers.iter_mut().chain(&mut grads.output_layers);
        for (block, sums) in blocks.zip(s.sums.latent.iter_mut().chain(&mut s.sums.output)) {
            if let (Some(mixer), Some(sums)) = (&mut block.mixer, &mut sums.mixer) {
                let ([gain, norm_bias], [enter, leave]) = (&mut sums.norm, &mut sums.biases);
                take(&mut mixer.norm.weight.data, gain);
                take(&mut mixer.norm.bias.data, norm_bias);
                take(&mut mixer.enter.bias.data, enter);
                take(&mut mixer.leave.bias.data, leave);
            }
            take(&mut block.norm.weight.data, &mut sums.gain);
            take(&mut block.norm.bias.data, &mut sums.norm_bias);
            take(&mut block.expand.bias.data, &mut sums.expand_bias);
            take(&mut block.contract.bias.data, &mut sums.contract_bias);
        }
    }
}

/// Adds to the gradients of the vectors that tell a cell where it is.
pub fn position_gradients(grads: &mut Params, config: &NetworkConfig, shards: &[Shard]) {
    for (grad, table) in grads.positions.iter_mut().zip(config.position_tables()) {
        for s in shards {
            positions_backward(table.place_of, &s.d_x_emb, config.hidden_dim, &mut grad.data);
        }
    }
}

/// Adds to the gradient of W_in, transposed, and of b_in.
pub fn input_gradients(
    d_weight_t: &mut [f32],
    d_bias: &mut [f32],
    channels: usize,
    shards: &[Shard],
    threads: &Threads,
) {
    for s in shards {
        linear_backward_bias(&s.d_x_emb, d_bias);
    }
    let d = d_bias.len();
    let groups = d_weight_t.len() / (channels * d);
    let work = d_weight_t.chunks_mut(channels * d).enumerate().collect();
    threads.for_each(work, |(group, d_weight_t): (usize, &mut [f32])| {
        for s in shards {
            one_hot_linear_backward_weight(&s.inputs, [groups, group], &s.d_x_emb, d, d_weight_t);
        }
    });
}
