//! Compressed models: their files give back every number, damaged ones are errors, and their answers stay near.

use std::path::Path;
use trm::checkpoint::{Checkpoint, ModelFile, QuantisedCheckpoint};
use trm::compress::{Calibration, pruned, quantise};
use trm::config::{Mixing, NetworkConfig, Precision, Pruning, RunConfig, State, TrainingConfig, TrmConfig};
use trm::model::{Engine, Model, Network, Recording, input_statistics};
use trm::ops::{Levels, WeightBits};
use trm::parallel::Threads;
use trm::sudoku::Generator;
use trm::tensor::StateDict;
use trm::train::{Trainer, TrainingData};

const LEVELS: [Levels; 2] = [Levels::Int8, Levels::Int4 { group: 8 }];

fn config(state: State, mixing: Mixing) -> TrmConfig {
    TrmConfig {
        network: NetworkConfig {
            hidden_dim: 20,
            heads: 4,
            l_layers: 2,
            l_cycles: 2,
            h_cycles: 2,
            gate_init: 0.5,
            state,
            mixing,
            precision: Precision::F32,
            ..NetworkConfig::default()
        },
        ..TrmConfig::default()
    }
}

fn checkpoint(config: TrmConfig) -> Checkpoint {
    let model = Network::first_weights(&config.network, config.network.seed).state_dict();
    Checkpoint { model, config, optimizer: None, history: None, training: None }
}

fn board() -> Checkpoint {
    checkpoint(config(State::Board, Mixing::None))
}

fn cells(puzzles: usize) -> Vec<u8> {
    let puzzles = Generator::new(3, 30..=40).generate_many(puzzles, &Threads::new(1)).unwrap();
    puzzles.iter().flat_map(|p| *p.quiz.cells()).collect()
}

fn logits(model: &Model) -> Vec<f32> {
    Engine::new(Recording::Nothing).logits(model, &cells(3), &Threads::new(1))
}

/// Length of the difference in lengths of the first.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut a.iter().copied())
}

fn read(path: &Path) -> Option<QuantisedCheckpoint> {
    match ModelFile::read(path) {
        Ok(ModelFile::Quantised(quantised)) => Some(*quantised),
        _ => None,
    }
}

fn weight_bytes(state: &StateDict) -> u64 {
    4 * state.iter().map(|(_, t)| t.data.len() as u64).sum::<u64>()
}

#[test]
fn a_file_gives_back_every_number_dense_or_sparse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for levels in LEVELS {
        for sparsity in [0.0, 0.9] {
            let written = quantise(&pruned(&board(), Pruning::Unstructured, sparsity), levels, None);
            written.write(&path).unwrap();
            assert_eq!(read(&path).unwrap(), written, "{levels:?}, sparsity {sparsity}");
        }
    }
}

#[test]
fn steps_of_calibration_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let threads = Threads::new(2);
    for (state, mixing) in [
        (State::Board, Mixing::None),
        (State::Cell, Mixing::UnitMean),
        (State::Cell, Mixing::UnitAttention),
        (State::Cell, Mixing::TokenMlp),
        (State::Candidate, Mixing::UnitMean),
    ] {
        let config = TrmConfig {
            network: NetworkConfig { hidden_dim: 12, heads: 3, ..config(state, mixing).network },
            ..config(state, mixing)
        };
        let checkpoint = checkpoint(config);
        let model = checkpoint.clone().into_model(&threads);
        let inputs = input_statistics(&model, &cells(3), &threads);
        let calibration = Some(Calibration { inputs: &inputs, fixed_steps: true });
        let written = quantise(&checkpoint, Levels::Int8, calibration);
        assert!(written.weights.iter().all(|(_, w)| w.step.is_some()), "{state:?} {mixing:?}");
        written.write(&path).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read, written);
        let far = distance(&logits(&model), &logits(&read.into_model(&threads)));
        assert!(far < 0.05, "{state:?} {mixing:?}: {far}");
    }
}

#[test]
fn mean_squares_are_those_of_the_answer_that_is_read_out() {
    // With gates of zero the states stay zero, and so does what is read out.
    let config = TrmConfig {
        network: NetworkConfig { gate_init: 0.0, ..config(State::Board, Mixing::None).network },
        ..config(State::Board, Mixing::None)
    };
    let model = checkpoint(config).into_model(&Threads::new(1));
    let inputs = input_statistics(&model, &cells(2), &Threads::new(1));
    let read_out = inputs.last().unwrap();
    assert!(read_out.largest == 0.0 && read_out.mean_squares().iter().all(|m| *m == 0.0));
    // LayerNorm with gain 1 gives vectors of mean square 1.
    let first = inputs.iter().map(|seen| seen.mean_squares()).find(|means| !means.is_empty()).unwrap();
    let mean = first.iter().sum::<f32>() / 20.0;
    assert!((mean - 1.0).abs() < 1e-3, "{mean}");
}

#[test]
fn weights_on_the_grid_give_the_same_logits_to_the_rounding_of_inputs() {
    let threads = Threads::new(1);
    for levels in LEVELS {
        let quantised = quantise(&board(), levels, None);
        let exact = Checkpoint { model: quantised.dequantised(), ..board() };
        let far = distance(&logits(&exact.into_model(&threads)), &logits(&quantised.into_model(&threads)));
        assert!(far < 0.02, "{levels:?}: {far}");
    }
}

#[test]
fn the_shipped_model_keeps_its_answers() {
    let threads = Threads::new(2);
    let shipped = Checkpoint::shipped();
    let puzzles = Generator::new(5, 28..=32).generate_many(20, &threads).unwrap();
    let int8 = quantise(&shipped, Levels::Int8, None);
    // Everything but W_in, F and the read-out of one logit.
    assert!(int8.weights.iter().all(|(_, w)| w.bits == WeightBits::Eight) && int8.weights.len() >= 4);
    let accuracy = |model: &Model| {
        let budget = trm::model::Budget::trained(model.config());
        trm::evaluate::evaluate(model, &puzzles, &budget, &threads).cell_accuracy
    };
    let [before, after] = [accuracy(&shipped.into_model(&threads)), accuracy(&int8.into_model(&threads))];
    assert!(before > 0.95 && after > before - 0.01, "{before} and {after}");
}

#[test]
fn quantised_weights_are_neither_trained_nor_written_for_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let quantised = quantise(&board(), Levels::Int8, None);
    quantised.write(&path).unwrap();
    let message = Checkpoint::read(&path).unwrap_err().to_string();
    assert!(message.contains("quantised") && message.contains("not be trained"), "{message}");
    let message = quantised.write(&folder.path().join("model.pt")).unwrap_err().to_string();
    assert!(message.contains(".safetensors"), "{message}");
}

#[test]
fn truncated_and_damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for levels in LEVELS {
        let written = quantise(&pruned(&board(), Pruning::Unstructured, 0.8), levels, None);
        written.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(501).chain(bytes.len() - 16..bytes.len()) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(ModelFile::read(&path).is_err(), "{length} bytes");
        }
        let mut state = 1u64;
        for _ in 0..300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut damaged = bytes.clone();
            damaged[(state >> 20) as usize % bytes.len()] ^= 1 << (state >> 60 & 7);
            std::fs::write(&path, &damaged).unwrap();
            if let Ok(ModelFile::Quantised(read)) = ModelFile::read(&path) {
                assert_eq!(*read, written, "a flipped bit went unnoticed");
            }
        }
    }
}

/// The file at `path` with other tensors, and no checksum.
fn rewrite(path: &Path, change: impl Fn(&str, &mut String, &mut Vec<usize>, &mut Vec<u8>)) {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (mut out, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, entry) in header {
        if name == "__metadata__" {
            let mut metadata = entry.clone();
            metadata.as_object_mut().unwrap().remove("trm.crc32");
            out.insert(name, metadata);
            continue;
        }
        let number = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize + 8 + length;
        let mut content = bytes[number(0)..number(1)].to_vec();
        let mut dtype = entry["dtype"].as_str().unwrap().to_string();
        let mut shape = serde_json::from_value(entry["shape"].clone()).unwrap();
        change(&name, &mut dtype, &mut shape, &mut content);
        let first = data.len();
        data.extend(content);
        let offsets = [first, data.len()];
        out.insert(name, serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::to_vec(&out).unwrap();
    let parts = [&(header.len() as u64).to_le_bytes()[..], &header, &data];
    std::fs::write(path, parts.concat()).unwrap();
}

#[test]
fn hostile_files_are_errors_that_name_the_tensor() {
    type Change = fn(&str, &mut String, &mut Vec<usize>, &mut Vec<u8>);
    const WEIGHT: &str = "latent_layers.0.net.1.weight";
    let changes: [(&str, Levels, Change); 6] = [
        ("-128 is no weight", Levels::Int8, |name, _, _, bytes| {
            if name == WEIGHT {
                bytes[0] = 0x80;
            }
        }),
        ("-8 is no weight", Levels::Int4 { group: 8 }, |name, _, _, bytes| {
            if name == WEIGHT {
                bytes[0] = 0;
            }
        }),
        ("its mask is none of", Levels::Int8, |name, _, shape, bytes| {
            if name == format!("{WEIGHT}.mask") {
                bytes.pop();
                shape[0] -= 1;
            }
        }),
        ("bytes do not hold", Levels::Int8, |name, _, _, bytes| {
            if name == format!("{WEIGHT}.mask") {
                bytes.fill(0xff);
            }
        }),
        ("no scale", Levels::Int8, |name, _, _, bytes| {
            if name == format!("{WEIGHT}.scale") {
                bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }
        }),
        ("scales do not fit", Levels::Int4 { group: 8 }, |name, _, shape, bytes| {
            if name == format!("{WEIGHT}.scale") {
                shape[0] -= 1;
                bytes.truncate(2 * shape[0] * shape[1]);
            }
        }),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for (reason, levels, change) in changes {
        quantise(&pruned(&board(), Pruning::Unstructured, 0.9), levels, None).write(&path).unwrap();
        rewrite(&path, |_, _, _, _| {});
        assert!(read(&path).is_some(), "without a checksum it is still read");
        rewrite(&path, change);
        let message = ModelFile::read(&path).unwrap_err().to_string();
        assert!(message.contains(reason) && message.contains(WEIGHT), "{reason}: {message}");
    }
}

#[test]
fn a_pruned_model_takes_the_room_of_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let wide = TrmConfig {
        network: NetworkConfig { hidden_dim: 64, ..config(State::Board, Mixing::None).network },
        ..config(State::Board, Mixing::None)
    };
    let dense = checkpoint(wide);
    let outside = dense.model.iter().filter(|(name, _)| !name.contains("_layers."));
    let outside = outside.map(|(_, t)| 4 * t.data.len() as u64).sum::<u64>();
    for (kind, sparsity) in [(Pruning::Unstructured, 0.9), (Pruning::TwoOfFour, 0.5)] {
        let sparse = pruned(&dense, kind, sparsity);
        sparse.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), sparse, "{kind:?}");
        let inside = (weight_bytes(&dense.model) - outside) as f64;
        // A bit for each weight, the rest, biases and norms, and a header.
        let most = outside as f64 + inside * (1.0 - sparsity + 1.0 / 32.0) + 16_000.0;
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!((bytes as f64) < most, "{kind:?}: {bytes} > {most}");
    }
}

#[test]
fn a_structurally_pruned_model_is_a_smaller_model_of_either_format() {
    let folder = tempfile::tempdir().unwrap();
    let smaller = pruned(&board(), Pruning::Structured, 0.5);
    assert_eq!((board().config.network.mlp_width(), smaller.config.network.mlp_width()), (80, 40));
    for ending in ["pt", "safetensors"] {
        let path = folder.path().join(format!("model.{ending}"));
        smaller.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), smaller, "{ending}");
    }
}

/// A run that prunes, of 12 steps in two epochs.
fn pruning_run(kind: Pruning, sparsity: f64) -> Trainer {
    let config = TrmConfig {
        training: TrainingConfig {
            prune: kind,
            sparsity,
            batch_size: 10,
            ema: 0.5,
            lr: 1e-2,
            ..config(State::Board, Mixing::None).training
        },
        run: RunConfig { epochs: 2, ..config(State::Board, Mixing::None).run },
        ..config(State::Board, Mixing::None)
    };
    Trainer::<Model>::new(config, training_data(), Threads::new(2)).unwrap()
}

fn training_data() -> TrainingData {
    let train = Generator::new(3, 60..=70).generate_many(60, &Threads::new(1)).unwrap();
    TrainingData { train, ..TrainingData::default() }
}

/// Weights of the blocks, and those of them that are zero.
fn block_weights(state: &StateDict) -> [usize; 2] {
    let matrices = state.iter().filter(|(name, t)| name.contains("_layers.") && t.shape.len() == 2);
    let weights: Vec<f32> = matrices.flat_map(|(_, t)| t.data.clone()).collect();
    [weights.len(), weights.iter().filter(|w| **w == 0.0).count()]
}

#[test]
fn gradual_pruning_reaches_its_sparsity_and_is_resumed_bit_for_bit() {
    for (kind, sparsity) in
        [(Pruning::Unstructured, 0.8), (Pruning::TwoOfFour, 0.5), (Pruning::Structured, 0.5)]
    {
        let mut whole = pruning_run(kind, sparsity);
        let mut saved = None;
        let mut shares = Vec::new();
        while !whole.is_finished() {
            while !whole.round_is_complete() {
                whole.step().unwrap();
                let [all, zeros] = block_weights(&whole.model().weights().state_dict());
                shares.push(zeros as f64 / all as f64);
                if shares.len() == 4 {
                    saved = Some(whole.checkpoint().unwrap());
                }
            }
            let record = whole.finish_round();
            assert_eq!(record.is_best, record.epoch == Some(2), "only pruned weights are kept as the best");
        }
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]) && shares[0] < sparsity, "{shares:?}");
        assert!(shares[8..].iter().all(|s| (s - sparsity).abs() < 0.01), "{kind:?}: {shares:?}");
        let end = whole.checkpoint().unwrap();
        let average = end.training.as_ref().unwrap().ema.as_ref().unwrap();
        assert_eq!(block_weights(average), block_weights(&end.model), "the average is as sparse");

        let mut resumed =
            Trainer::<Model>::resume(&saved.unwrap(), training_data(), Threads::new(1)).unwrap();
        while !resumed.is_finished() {
            while !resumed.round_is_complete() {
                resumed.step().unwrap();
            }
            resumed.finish_round();
        }
        assert_eq!(resumed.checkpoint().unwrap().model, end.model, "{kind:?}");
        assert_eq!(resumed.checkpoint().unwrap().optimizer, end.optimizer, "{kind:?}");
        if kind == Pruning::Structured {
            let logits_of = |checkpoint: Checkpoint| logits(&checkpoint.into_model(&Threads::new(1)));
            let removed = pruned(&end, kind, sparsity);
            assert!(distance(&logits_of(end), &logits_of(removed)) < 1e-5, "cleared units are those removed");
        }
    }
}
