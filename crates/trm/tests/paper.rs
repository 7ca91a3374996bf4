//! The paper's model against PyTorch: numbers of our own script (golden/paper.py), and those of the official program
//! where its files lie beside the repository, in ../shared/golden.

use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, ModelFile, PaperCheckpoint};
use trm::model::paper::{Carry, Config, Engine, Model, Outcome, Settings};
use trm::network::Weights;
use trm::parallel::Threads;
use trm::tensor::{StateDict, Tensor};

/// `|ours - theirs| / |theirs|` over a whole tensor.
const TOLERANCE: f64 = 1e-4;

/// The recursion can magnify a difference thirtyfold in each segment, as it does with the untrained weights of the official
/// file with mixed tokens: PyTorch in f32 and in f64 are then 5e-4 apart after two segments and have nothing in common after
/// sixteen. So where moving the embeddings by their last bit moves our own numbers by more than a quarter of the tolerance,
/// that difference, this many times, is the tolerance.
const ROOM: f64 = 4.0;

struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).unwrap() }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = self.file();
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let data = tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Tensor { shape: tensor.shape().to_vec(), data }
    }

    /// Tokens less `first`, which stands for 0.
    fn tokens(&self, name: &str, first: u8) -> Vec<u8> {
        let file = self.file();
        let tensor = file.tensor(name).unwrap();
        let tokens: Vec<u8> = match tensor.dtype() {
            safetensors::Dtype::U8 => tensor.data().to_vec(),
            _ => tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u8).collect(),
        };
        tokens.into_iter().map(|token| token - first).collect()
    }

    /// What the weights do not show, from the metadata, as `key=value`.
    fn settings(&self) -> Vec<String> {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let json = &metadata.metadata().as_ref().unwrap()["config"];
        let all: serde_json::Value = serde_json::from_str(json).unwrap();
        let keys = ["H_cycles", "L_cycles", "num_heads", "puzzle_emb_len", "rope_theta"];
        let told = keys.iter().filter_map(|key| Some(format!("{key}={}", all.get(key)?)));
        told.chain(["precision=\"f32\"".to_string()]).collect()
    }

    /// The model whose weights are in the file.
    fn own_checkpoint(&self) -> PaperCheckpoint {
        let file = self.file();
        let names = file.names().into_iter().filter_map(|name| name.strip_prefix("param."));
        let model: StateDict =
            names.map(|name| (name.to_string(), self.tensor(&format!("param.{name}")))).collect();
        let config = Config::of_tensors(&model).with(&self.settings()).unwrap();
        let config = Settings { model: config, ..Settings::default() };
        Checkpoint { config, model, optimizer: None, history: None, training: None }
    }
}

fn relative_error(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    error / norm(&mut theirs.iter().map(|b| f64::from(*b))).max(1e-30)
}

fn assert_close(ours: &[f32], theirs: &[f32], what: &str) {
    assert_within(TOLERANCE, ours, theirs, what);
}

fn assert_within(tolerance: f64, ours: &[f32], theirs: &[f32], what: &str) {
    let error = relative_error(ours, theirs);
    println!("{what}: relative error {error:.1e}, at most {tolerance:.1e}");
    assert!(error <= tolerance, "{what}: relative error {error:.2e}");
}

/// (logits, q_halt) after each of the sixteen segments.
fn answers(model: &Model, cells: &[u8], threads: &Threads) -> Vec<[Vec<f32>; 2]> {
    let mut carry = Carry::new(model, cells.len() / 81);
    let mut engine = Engine::default();
    let mut segment = || {
        let readout = engine.segment(model, cells, &mut carry, threads);
        [readout.logits, readout.q.iter().map(|q| q[0]).collect()]
    };
    (0..16).map(|_| segment()).collect()
}

fn agrees(golden: &Golden, checkpoint: &PaperCheckpoint) {
    let threads = Threads::new(2);
    let mut model = Model::new(checkpoint.config.model.clone(), checkpoint.weights(), &threads);
    let (cells, targets) = (golden.tokens("inputs", 1), golden.tokens("labels", 2));
    let ours = answers(&model, &cells, &threads);
    model.update_weights(&threads, |params| {
        params["inner.embed_tokens.embedding_weight"]
            .data
            .iter_mut()
            .for_each(|value| *value *= 1.0 + f32::EPSILON);
    });
    let moved = answers(&model, &cells, &threads);
    for segment in [1, 2, 16] {
        for (i, name) in ["logits", "q_halt"].iter().enumerate() {
            let ours = &ours[segment - 1][i];
            let tolerance = TOLERANCE.max(ROOM * relative_error(&moved[segment - 1][i], ours));
            let name = format!("{name}_segment_{segment}");
            assert_within(tolerance, ours, &golden.tensor(&name).data, &name);
        }
    }

    let model = Model::new(checkpoint.config.model.clone(), checkpoint.weights(), &threads);
    // One puzzle at a time, since theirs has the gradients of the puzzle embedding so.
    let (mut loss, mut grads, mut local) = (0.0, Weights::zeros(model.weights().layout()), Vec::new());
    for (cells, targets) in cells.chunks(81).zip(targets.chunks(81)) {
        grads["inner.puzzle_emb.weights"].data.fill(0.0);
        loss += first_segment(&model, [cells, targets], 1.0, &mut grads, &threads).loss();
        local.extend_from_slice(&grads["inner.puzzle_emb.weights"].data);
    }
    assert_close(&[loss as f32], &golden.tensor("train_loss_segment_1").data, "loss");
    for (name, grad) in grads.state_dict() {
        if name.ends_with("_init") {
            assert!(grad.data.iter().all(|g| *g == 0.0), "{name} is not trained");
        } else if name == "inner.puzzle_emb.weights" {
            let theirs = golden.tensor("grad.inner.puzzle_emb.local_weights");
            assert_close(&local, &theirs.data, "gradient of the puzzle embedding");
        } else {
            let theirs = golden.tensor(&format!("grad.{name}"));
            assert_close(&grad.data, &theirs.data, &format!("gradient of {name}"));
        }
    }
}

fn first_segment(
    model: &Model,
    batch: [&[u8]; 2],
    scale: f32,
    grads: &mut Weights,
    threads: &Threads,
) -> Outcome {
    let mut carry = Carry::new(model, batch[0].len() / 81);
    Engine::default().segment_with_gradients(model, batch, &mut carry, scale, grads, threads).1
}

fn fixture(variant: &str) -> Golden {
    let path = format!("{}/tests/golden/paper-{variant}.safetensors", env!("CARGO_MANIFEST_DIR"));
    Golden::read(Path::new(&path))
}

#[test]
fn the_model_with_mixed_tokens_agrees_with_pytorch() {
    let golden = fixture("mlp");
    agrees(&golden, &golden.own_checkpoint());
}

#[test]
fn the_model_with_attention_agrees_with_pytorch() {
    let golden = fixture("att");
    agrees(&golden, &golden.own_checkpoint());
}

/// The folder of the official program's files, if it is there.
fn official_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    if !folder.is_dir() {
        println!("SKIPPED: there is no {}", folder.display());
        return None;
    }
    Some(folder)
}

fn agrees_with_the_official_program(variant: &str) {
    let Some(folder) = official_folder() else { return };
    let golden = Golden::read(&folder.join(format!("official-trm-{variant}.golden.safetensors")));
    let path = folder.join(format!("official-trm-{variant}.pt"));
    let ModelFile::Paper(checkpoint) = ModelFile::read_with(&path, &golden.settings()).unwrap() else {
        panic!("{} holds a model of the paper", path.display());
    };
    agrees(&golden, &checkpoint);
}

#[test]
fn official_checkpoints_with_mixed_tokens_give_the_official_numbers() {
    agrees_with_the_official_program("mlp");
}

#[test]
fn official_checkpoints_with_attention_give_the_official_numbers() {
    agrees_with_the_official_program("att");
}

/// The fixture's model with another precision and number of outer cycles, and enough puzzles for ragged lanes.
fn larger_case(variant: &str, settings: &[&str]) -> (Model, [Vec<u8>; 2]) {
    let golden = fixture(variant);
    let checkpoint = golden.own_checkpoint();
    let config = checkpoint.config.model.with(settings).unwrap();
    let repeated = |tokens: Vec<u8>| tokens.iter().cycle().take(37 * 81 + 5).skip(5).copied().collect();
    let batch = [golden.tokens("inputs", 1), golden.tokens("labels", 2)].map(repeated);
    (Model::new(config, checkpoint.weights(), &Threads::new(1)), batch)
}

fn gradients(model: &Model, [cells, targets]: &[Vec<u8>; 2], threads: usize) -> (Outcome, Weights) {
    let mut grads = Weights::zeros(model.weights().layout());
    let outcome = first_segment(model, [cells, targets], 0.1, &mut grads, &Threads::new(threads));
    (outcome, grads)
}

#[test]
fn gradients_are_the_same_bits_on_any_number_of_threads() {
    for variant in ["mlp", "att"] {
        for precision in ["precision=\"f32\"", "precision=\"bf16\""] {
            let (model, batch) = larger_case(variant, &[precision]);
            let one = gradients(&model, &batch, 1);
            for threads in [2, 3, 8] {
                assert!(one == gradients(&model, &batch, threads), "{variant} {precision} {threads} threads");
            }
        }
    }
}

#[test]
fn a_puzzle_gets_the_same_answer_in_any_company() {
    for variant in ["mlp", "att"] {
        let (model, [cells, _]) = larger_case(variant, &[]);
        let together = answers(&model, &cells, &Threads::new(2)).pop().unwrap();
        let alone = answers(&model, &cells[20 * 81..21 * 81], &Threads::new(1)).pop().unwrap();
        assert_eq!(together[0][20 * 81 * 11..21 * 81 * 11], alone[0]);
    }
}

#[test]
fn rounded_gradients_point_where_f32_gradients_do() {
    for variant in ["mlp", "att"] {
        let all = |precision: &str| {
            let (model, batch) = larger_case(variant, &[precision]);
            let tensors = gradients(&model, &batch, 2).1;
            tensors.tensors().iter().flat_map(|t| t.data.clone()).collect::<Vec<f32>>()
        };
        let exact = all("precision=\"f32\"");
        for (precision, least) in [("bf16", 0.995), ("fixed12", 0.9999), ("fixed7", 0.999)] {
            let rounded = all(&format!("precision=\"{precision}\""));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(&exact, &rounded) / (dot(&exact, &exact) * dot(&rounded, &rounded)).sqrt();
            assert!(cosine > least, "{variant}, {precision}: cosine {cosine}");
        }
    }
}

#[test]
fn gradients_of_a_single_cycle_agree_with_finite_differences() {
    for variant in ["mlp", "att"] {
        // Gradients stop at the start of the last outer cycle: with only one, they are the derivatives.
        let (mut model, batch) = larger_case(variant, &["precision=\"f32\"", "H_cycles=1"]);
        let batch = batch.map(|tokens| tokens[..3 * 81].to_vec());
        let (_, grads) = gradients(&model, &batch, 1);
        let names = grads.state_dict();
        for (t, (name, _)) in names.iter().enumerate().filter(|(_, (name, _))| !name.ends_with("_init")) {
            let gradient = &grads.tensors()[t].data;
            let largest =
                (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()));
            let i = largest.unwrap();
            let mut loss_moved = |by: f32| {
                model.update_weights(&Threads::new(1), |params| params.tensors_mut()[t].data[i] += by);
                0.1 * gradients(&model, &batch, 1).0.loss()
            };
            let step = 1.0 / 256.0;
            let above = loss_moved(step);
            let below = loss_moved(-2.0 * step);
            loss_moved(step);
            let difference = (above - below) / (2.0 * f64::from(step));
            let error = (difference - f64::from(gradient[i])).abs() / f64::from(gradient[i].abs());
            assert!(error < 2e-2, "{variant} {name}: gradient {}, differences {difference}", gradient[i]);
        }
    }
}
