//! Logits, loss, every gradient and ten AdamW steps against numbers made by PyTorch (golden/generate.py), and the
//! recursion's own laws: no dependence on threads, on what is recorded, or on the order of rows.

mod kinds;

use kinds::{EVERY_KIND, Kind};
use safetensors::SafeTensors;
use trm::config::{
    CheckpointActivations, ConfigLayers, Gates, Mixing, NetworkConfig, Positions, Precision, RunConfig,
    State, Supervision, TrainingConfig, TrmConfig,
};
use trm::model::{Batch, Engine, Model, Network, Recording, States, Tally, TrainingStep};
use trm::network::Weights;
use trm::ops::Dropout;
use trm::parallel::Threads;
use trm::sudoku::Generator;
use trm::tensor::Tensor;
use trm::train::Settings;
use trm::train::optimizer::{AdamW, StepSize, clip_factor, global_norm};
use trm::train::schedule::constraint_weights;

/// `|ours - theirs| / |theirs|` over a whole tensor; PyTorch's side is computed in f64.
const TOLERANCE: f64 = 1e-5;

struct Golden {
    bytes: Vec<u8>,
    config: TrmConfig,
}

impl Golden {
    fn read(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the fixture is committed");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let json = &metadata.metadata().as_ref().unwrap()["config"];
        let settings: serde_json::Value = serde_json::from_str(json).unwrap();
        let size = |key: &str| settings[key].as_u64().unwrap() as usize;
        let config = TrmConfig {
            network: NetworkConfig {
                hidden_dim: size("hidden_dim"),
                expansion: size("expansion"),
                output_norm: settings["output_norm"].as_bool().unwrap(),
                state_norm: settings["state_norm"].as_bool().unwrap(),
                state: serde_json::from_value(settings["state"].clone()).unwrap(),
                mixing: serde_json::from_value(settings["mixing"].clone()).unwrap(),
                heads: settings["heads"].as_u64().unwrap_or(4) as usize,
                positions: settings
                    .get("positions")
                    .map_or(Positions::None, |p| serde_json::from_value(p.clone()).unwrap()),
                feedback: settings.get("feedback").is_some(),
                hypotheses: settings.get("hypotheses").is_some(),
                gates: settings
                    .get("gates")
                    .map_or(Gates::Scalar, |g| serde_json::from_value(g.clone()).unwrap()),
                supervision: serde_json::from_value(settings["supervision"].clone()).unwrap(),
                l_layers: size("L_layers"),
                l_cycles: size("L_cycles"),
                h_cycles: size("H_cycles"),
                output_layers: size("output_layers"),
                dropout: 0.0,
                update: serde_json::from_value(settings["update"].clone()).unwrap(),
                precision: Precision::F32,
                ..NetworkConfig::default()
            },
            training: TrainingConfig {
                constraint_weight: settings.get("constraint_weight").map_or(0.0, |w| w.as_f64().unwrap()),
                constraint_kinds: settings
                    .get("constraint_kinds")
                    .map_or("row,column,box".into(), |kinds| kinds.as_str().unwrap().into()),
                lr: settings["lr"].as_f64().unwrap(),
                weight_decay: settings["weight_decay"].as_f64().unwrap(),
                ..TrainingConfig::default()
            },
            ..TrmConfig::default()
        };
        Self { bytes, config }
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    fn digits(&self, name: &str) -> Vec<u8> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        match tensor.dtype() {
            safetensors::Dtype::U8 => tensor.data().to_vec(),
            _ => tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u8).collect(),
        }
    }

    fn weights(&self) -> Weights {
        let layout = Network::layout(&self.config.network);
        let tensors = layout.entries().iter().map(|entry| {
            let data = self.numbers(&format!("param.{}", entry.name));
            (entry.name.clone(), Tensor { shape: entry.shape.clone(), data })
        });
        Weights::from_state_dict(&layout, tensors.collect())
    }

    /// Digits that are taken for true, 0 for none.
    fn assumed(&self) -> Vec<u8> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let of_file = file.tensor("assumed").map(|tensor| tensor.data().to_vec());
        of_file.unwrap_or_else(|_| vec![0; self.digits("inputs").len()])
    }

    fn batch(&self) -> Batch {
        Batch { cells: self.digits("inputs"), targets: self.digits("targets") }
    }
}

fn assert_close(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let size = norm(&mut theirs.iter().map(|b| f64::from(*b)));
    assert!(error <= TOLERANCE * size, "{what}: relative error {:.2e}", error / size);
}

/// The loss of the last answer and the gradients, of a batch and the weights of its penalties.
fn loss_and_gradients(
    model: &Model,
    batch: &(Batch, [f32; 3]),
    recording: Recording,
    threads: usize,
) -> (f64, Weights) {
    let assumed = vec![0; batch.0.cells.len()];
    loss_and_gradients_under(&assumed, model, batch, recording, threads)
}

/// The same with some digits taken for true.
fn loss_and_gradients_under(
    assumed: &[u8],
    model: &Model,
    (batch, constraint_weights): &(Batch, [f32; 3]),
    recording: Recording,
    threads: usize,
) -> (f64, Weights) {
    let mut grads = Weights::zeros(model.weights().layout());
    let constraint_weights = *constraint_weights;
    let step = TrainingStep {
        number: 0,
        hypotheses: false,
        dropout: Dropout::new(model.config().dropout, 1, 2),
        constraint_weights,
    };
    let mut states = States::initial(model.config(), 0, 0..batch.puzzles() as u64);
    states.assumed.copy_from_slice(assumed);
    let (mut engine, threads) = (Engine::new(recording), Threads::new(threads));
    let tally = engine.forward_backward(model, batch, &mut states, &step, &mut grads, &threads);
    (loss_of(&tally, constraint_weights), grads)
}

/// The logits of all puzzles, with some digits taken for true.
fn logits_under(assumed: &[u8], model: &Model, cells: &[u8]) -> Vec<f32> {
    if assumed.iter().all(|digit| *digit == 0) {
        return Engine::new(Recording::Nothing).logits(model, cells, &Threads::new(2));
    }
    let mut shard = model.shard(1, Recording::Nothing);
    let puzzles = cells.chunks(81).zip(assumed.chunks(81));
    let logits = puzzles.flat_map(|(cells, assumed)| {
        shard.load(model, cells, 0);
        shard.assume(assumed);
        model.forward(&mut shard, &Dropout::OFF);
        shard.logits.clone()
    });
    logits.collect()
}

fn loss_of(tally: &Tally, weights: [f32; 3]) -> f64 {
    let penalties = tally.constraint_sums.iter().zip(weights).map(|(sum, weight)| sum * f64::from(weight));
    tally.loss() + penalties.sum::<f64>() / tally.boards[0] as f64
}

fn agrees_with_pytorch(file: &str) {
    let golden = Golden::read(file);
    let (config, batch, threads) = (&golden.config, golden.batch(), Threads::new(2));
    let mut model = Model::new(config.network.clone(), golden.weights(), &threads);

    let assumed = golden.assumed();
    let logits = logits_under(&assumed, &model, &batch.cells);
    assert_close(&logits, &golden.numbers("logits"), "logits");
    let penalties = constraint_weights(&config.training, 0, 1);
    let loss = loss_of(&Tally::of(&logits, &batch.cells, &batch.targets), penalties);
    assert_close(&[loss as f32], &golden.numbers("loss"), "loss");

    let batch = (batch, penalties);
    let (_, grads) = loss_and_gradients_under(&assumed, &model, &batch, Recording::Everything, 2);
    for (name, grad) in grads.state_dict() {
        let theirs = golden.numbers(&format!("grad.{name}"));
        assert_close(
            &with_effect(&grad.data, &theirs),
            &with_effect(&theirs, &theirs),
            &format!("gradient of {name}"),
        );
        let mut pairs = grad.data.iter().zip(&theirs);
        assert!(pairs.all(|(ours, theirs)| !is_rounding(*theirs) || ours.abs() < 1e-6), "gradient of {name}");
    }
    assert_close(&[global_norm(&grads, &threads) as f32], &golden.numbers("grad_norm"), "gradient norm");

    let mut optimizer = AdamW::new(model.weights());
    let mut losses = Vec::new();
    for step in 0..10 {
        let (loss, mut grads) = loss_and_gradients_under(&assumed, &model, &batch, Recording::Everything, 2);
        losses.push(loss as f32);
        let clip = clip_factor(global_norm(&grads, &threads), config.training.clip_norm);
        let regime = config.regime();
        let size = StepSize { lr: regime.schedule.rate(step, 10), share: 1.0, clip };
        model.update_weights(&threads, |p| {
            optimizer.update(&regime.rules, size, [p, &mut grads], None, &threads)
        });
    }
    assert_close(&losses, &golden.numbers("losses"), "losses of ten steps");
    for (name, after) in model.weights().state_dict() {
        let (theirs, grad) =
            (golden.numbers(&format!("after.{name}")), golden.numbers(&format!("grad.{name}")));
        assert_close(
            &with_effect(&after.data, &grad),
            &with_effect(&theirs, &grad),
            &format!("{name} after ten steps"),
        );
    }
}

/// Whether a gradient is zero but for the rounding of f64: what adds the same to the logits of all digits, or to the scores
/// of all cells that a head sees. Adam turns such rounding into steps of any size.
fn is_rounding(gradient: f32) -> bool {
    gradient != 0.0 && gradient.abs() < 1e-12
}

/// The values whose gradient is no rounding.
fn with_effect(values: &[f32], gradient: &[f32]) -> Vec<f32> {
    values.iter().zip(gradient).filter(|(_, g)| !is_rounding(**g)).map(|(value, _)| *value).collect()
}

#[test]
fn the_documented_update_agrees_with_pytorch() {
    agrees_with_pytorch("documented");
}

#[test]
fn the_original_update_agrees_with_pytorch() {
    agrees_with_pytorch("original");
}

#[test]
fn the_candidate_model_agrees_with_pytorch() {
    agrees_with_pytorch("candidate");
}

#[test]
fn the_model_of_open_candidates_agrees_with_pytorch() {
    agrees_with_pytorch("open-candidate");
}

#[test]
fn the_cell_model_with_attention_agrees_with_pytorch() {
    agrees_with_pytorch("cell");
}

#[test]
fn the_constraint_loss_agrees_with_pytorch() {
    agrees_with_pytorch("constraint");
}

#[test]
fn vector_gates_agree_with_pytorch() {
    agrees_with_pytorch("vector-documented");
    agrees_with_pytorch("vector-original");
}

/// Enough puzzles for several shards and a ragged last one, with dropout.
fn larger_case(kind: Kind, precision: Precision) -> (Model, (Batch, [f32; 3])) {
    // Finite differences take long where a block has many tensors: there one block a stack has to do.
    let few = kind.contains("attention") || kind.contains("token_mlp");
    let (layers, expansion) = (if few { 1 } else { 2 }, if kind.contains("state") { 1 } else { 4 });
    let sizes = format!(
        "hidden_dim=24 L_layers={layers} output_layers={layers} expansion={expansion} L_cycles=2 H_cycles=3 heads=3 dropout=0.2"
    );
    let settings = sizes.split(' ').chain(kind.split_whitespace());
    let layers = settings.fold(ConfigLayers::default(), |layers, setting| layers.set(setting).unwrap());
    let mut config = layers.build().unwrap();
    config.network.precision = precision;
    let rows = match config.network.mixing {
        Mixing::None => 300,
        Mixing::UnitMean => 37,
        _ => 19,
    };
    let mut cells: Vec<u8> = (0..rows * 81).map(|i| (i * i / 7 % 10) as u8).collect();
    let mut targets: Vec<u8> = (0..rows * 81).map(|i| (i * i / 11 % 9) as u8).collect();
    if config.network.state == State::OpenCandidate {
        // What the givens rule out has no vector, so solutions have to be right.
        let puzzles = Generator::new(1, 25..=81).generate_many(rows, &Threads::new(1)).unwrap();
        cells = puzzles.iter().flat_map(|puzzle| *puzzle.quiz.cells()).collect();
        targets = puzzles.iter().flat_map(|puzzle| puzzle.solution.cells().map(|digit| digit - 1)).collect();
    }
    let mut weights = Network::first_weights(&config.network, config.network.seed);
    // Vectors whose factors differ, so that none can stand for another.
    for gate in ["latent_gate", "output_gate"] {
        weights[gate].data.iter_mut().enumerate().skip(1).for_each(|(i, g)| *g += 0.01 * i as f32);
    }
    let model = Model::new(config.network, weights, &Threads::new(1));
    (model, (Batch { cells, targets }, constraint_weights(&config.training, 0, 1)))
}

const EVERY_PRECISION: [Precision; 4] =
    [Precision::F32, Precision::Bf16, Precision::Fixed12, Precision::Fixed7];

fn in_every_precision() -> impl Iterator<Item = (Kind, Precision)> {
    EVERY_PRECISION.into_iter().flat_map(|p| EVERY_KIND.map(|kind| (kind, p)))
}

#[test]
fn gradients_are_the_same_bits_on_any_number_of_threads() {
    for (kind, precision) in in_every_precision() {
        let (model, batch) = larger_case(kind, precision);
        let one = loss_and_gradients(&model, &batch, Recording::Everything, 1);
        for threads in [2, 3, 8] {
            assert_eq!(
                one,
                loss_and_gradients(&model, &batch, Recording::Everything, threads),
                "{threads} threads"
            );
        }
    }
}

/// A product of one row is shared by its columns.
#[test]
fn one_puzzle_has_the_same_logits_on_any_number_of_threads_and_in_company() {
    for precision in EVERY_PRECISION {
        let config = TrmConfig {
            network: NetworkConfig {
                hidden_dim: 72,
                h_cycles: 2,
                l_cycles: 2,
                precision,
                ..NetworkConfig::default()
            },
            ..TrmConfig::default()
        };
        let model = Model::first(config.network.clone(), &Threads::new(1));
        let cells: Vec<u8> = (0..2 * 81).map(|i| (i * i / 7 % 10) as u8).collect();
        let logits = |cells: &[u8], threads| {
            Engine::new(Recording::Nothing).logits(&model, cells, &Threads::new(threads))
        };
        let alone = logits(&cells[..81], 1);
        for threads in [2, 3, 8] {
            assert_eq!(alone, logits(&cells[..81], threads), "{threads} threads");
        }
        // gemm promises no such thing, but what it gives one row is what it gives each of many to the last digits.
        let together = &logits(&cells, 1)[..81 * 9];
        match precision {
            Precision::Bf16 | Precision::Fixed12 | Precision::Fixed7 => assert_eq!(alone, together),
            _ => assert_close(&alone, together, "logits"),
        }
    }
}

#[test]
fn activation_checkpoints_give_the_same_bits() {
    for (kind, precision) in in_every_precision() {
        let (model, batch) = larger_case(kind, precision);
        let everything = loss_and_gradients(&model, &batch, Recording::Everything, 2);
        assert_eq!(everything, loss_and_gradients(&model, &batch, Recording::Cycle, 2));
    }
}

#[test]
fn rounded_gradients_point_where_f32_gradients_do() {
    for kind in EVERY_KIND {
        let gradient = |precision| {
            let (model, batch) = larger_case(kind, precision);
            loss_and_gradients(&model, &batch, Recording::Everything, 2)
        };
        let (loss, exact) = gradient(Precision::F32);
        for (precision, error, least) in [
            (Precision::Bf16, 1e-2, 0.999),
            (Precision::Fixed12, 2e-3, 0.9999),
            (Precision::Fixed7, 2e-3, 0.98),
        ] {
            let (rounded_loss, rounded) = gradient(precision);
            assert!((loss - rounded_loss).abs() < error * loss, "{precision:?}: {loss} and {rounded_loss}");
            let pairs = || {
                exact.tensors().iter().zip(rounded.tensors()).flat_map(|(a, b)| a.data.iter().zip(&b.data))
            };
            let dot: f64 = pairs().map(|(a, b)| f64::from(a * b)).sum();
            let cosine =
                dot / (global_norm(&exact, &Threads::new(1)) * global_norm(&rounded, &Threads::new(1)));
            assert!(cosine > least, "{kind}, {precision:?}: cosine {cosine}");
        }
    }
}

#[test]
fn whole_gradients_with_dropout_agree_with_finite_differences() {
    for kind in EVERY_KIND {
        agrees_with_finite_differences(kind);
    }
}

fn agrees_with_finite_differences(kind: Kind) {
    let (model, batch) = larger_case(kind, Precision::F32);
    let (Batch { cells, targets }, penalties) = batch;
    let batch = (Batch { cells: cells[..243].to_vec(), targets: targets[..243].to_vec() }, penalties);
    let (_, grads) = loss_and_gradients(&model, &batch, Recording::Everything, 1);
    let supervised = model.config().supervision == Supervision::Every;
    let loss_at = |tensor: usize, index: usize, value: f32| {
        let mut weights = model.weights().clone();
        weights.tensors_mut()[tensor].data[index] = value;
        let loss_after = |h_cycles| {
            let config = NetworkConfig { h_cycles, ..model.config().clone() };
            let moved = Model::new(config, weights.clone(), &Threads::new(1));
            loss_and_gradients(&moved, &batch, Recording::Everything, 1).0
        };
        // The loss that is reported is that of the last cycle; the gradient is that of their mean.
        let cycles = model.config().h_cycles;
        let from = if supervised { 1 } else { cycles };
        (from..=cycles).map(loss_after).sum::<f64>() / (cycles + 1 - from) as f64
    };
    let layout = model.weights().layout();
    let mut checked = 0;
    for (t, (grad, param)) in grads.tensors().iter().zip(model.weights().tensors()).enumerate() {
        // The largest entry of each tensor: where a difference stands out of the rounding.
        let index =
            (0..grad.data.len()).max_by(|a, b| grad.data[*a].abs().total_cmp(&grad.data[*b].abs())).unwrap();
        let (at, gradient) = (param.data[index], f64::from(grad.data[index]));
        // A long step suffers from curvature, a short one from rounding: one of the two must agree.
        let (error, difference) = [2e-2, 5e-3]
            .map(|step| {
                let difference =
                    (loss_at(t, index, at + step) - loss_at(t, index, at - step)) / (2.0 * f64::from(step));
                ((difference - gradient).abs() / gradient.abs().max(1e-3), difference)
            })
            .into_iter()
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap();
        assert!(
            error < 2e-2,
            "{kind:?} {}: gradient {gradient}, differences {difference}",
            layout.entries()[t].name
        );
        checked += 1;
    }
    assert_eq!(checked, layout.entries().len());
}

#[test]
fn gates_at_zero_make_the_recursion_the_identity() {
    let config = TrmConfig {
        network: NetworkConfig { hidden_dim: 16, gate_init: 0.0, ..NetworkConfig::default() },
        ..TrmConfig::default()
    };
    let threads = Threads::new(1);
    let mut weights = Network::first_weights(&config.network, config.network.seed);
    weights["output_proj.bias"].data.iter_mut().enumerate().for_each(|(i, b)| *b = i as f32);
    let model = Model::new(config.network.clone(), weights.clone(), &threads);
    let mut shard = model.shard(1, Recording::Nothing);
    shard.load(&model, &[3; 81], 0);
    model.forward(&mut shard, &Dropout::OFF);
    assert!(shard.y.iter().chain(&shard.z).all(|v| *v == 0.0), "y and z stay where they began");
    assert_eq!(shard.logits, weights["output_proj.bias"].data);
}

#[test]
fn fewer_activations_take_less_memory() {
    let plan = |checkpoint_activations| {
        let config = TrmConfig {
            run: RunConfig { checkpoint_activations, ..RunConfig::default() },
            ..TrmConfig::default()
        };
        trm::model::MemoryPlan::for_training(&config, 1).activations()
    };
    assert!(plan(CheckpointActivations::Cycle) * 2 < plan(CheckpointActivations::None));
}
