//! Training of the paper's model: it learns, halts, and a resumed run ends with the same bits.

use trm::config::Pruning;
use trm::model::paper::{Config, Model, Settings, Training};
use trm::network::Role;
use trm::parallel::Threads;
use trm::sudoku::Generator;
use trm::train::{Trainer, TrainingData};

fn settings(mlp_t: bool) -> Settings {
    let model = Config {
        hidden_size: 16,
        l_layers: 1,
        l_cycles: 2,
        h_cycles: 2,
        num_heads: 2,
        mlp_t,
        mlp_width: 32,
        mlp_t_width: 32,
        puzzle_emb_len: 2,
        puzzle_emb_ndim: 16,
        halt_max_steps: 4,
        ..Config::default()
    };
    let training = Training {
        batch_size: 12,
        steps: 60,
        eval_every: 20,
        lr: 1e-2,
        warmup_steps: 10,
        weight_decay: 0.1,
        ema: 0.9,
        halt_exploration_prob: 0.5,
        ..Training::default()
    };
    Settings { model, training }
}

fn data() -> TrainingData {
    let mut puzzles = Generator::new(3, 60..=70).generate_many(70, &Threads::new(2)).unwrap();
    let validation = puzzles.split_off(60);
    TrainingData { train: puzzles, validation, ..TrainingData::default() }
}

fn trainer(settings: Settings, threads: usize) -> Trainer<Model> {
    Trainer::new(settings, data(), Threads::new(threads)).unwrap()
}

fn steps(trainer: &mut Trainer<Model>, count: usize) -> Vec<f64> {
    (0..count).map(|_| trainer.step().unwrap().loss).collect()
}

#[test]
fn the_loss_falls_and_puzzles_leave() {
    for mlp_t in [false, true] {
        let mut trainer = trainer(settings(mlp_t), 2);
        let losses = steps(&mut trainer, 60);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&losses[..5]), mean(&losses[55..]));
        assert!(last < 0.8 * first, "mlp_t {mlp_t}: {first} to {last}");
        assert!(trainer.round_is_complete());
        let record = trainer.finish_round();
        let segments = record.segments.unwrap();
        assert!(record.is_best && segments > 0.0 && segments <= 4.0, "{record:?}");
        assert!(!trainer.round_is_complete() && trainer.is_finished());
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let mut whole = trainer(settings(false), 1);
    steps(&mut whole, 17);
    let mut part = trainer(settings(false), 3);
    steps(&mut part, 9);
    part.checkpoint().unwrap().write(&path).unwrap();
    let read = trm::checkpoint::PaperCheckpoint::read_stored(&path).unwrap();
    assert!(read == part.checkpoint().unwrap(), "what is written is read");
    let mut resumed = Trainer::<Model>::resume(&read, data(), Threads::new(2)).unwrap();
    steps(&mut resumed, 8);
    let [whole, resumed] = [whole, resumed].map(|trainer| trainer.checkpoint().unwrap());
    assert!(whole.model == resumed.model, "weights");
    assert!(whole.optimizer == resumed.optimizer, "moments");
    let [whole, resumed] = [whole, resumed].map(|checkpoint| checkpoint.training.unwrap());
    assert!(whole.ema == resumed.ema && whole.carry == resumed.carry, "averages, states");
}

#[test]
fn other_puzzles_or_no_run_cannot_be_resumed() {
    let trainer = trainer(settings(false), 1);
    let fewer = TrainingData { validation: Vec::new(), ..data() };
    let error = |checkpoint, data| {
        Trainer::<Model>::resume(&checkpoint, data, Threads::new(1)).unwrap_err().to_string()
    };
    assert!(error(trainer.checkpoint().unwrap(), fewer).contains("the data has [60, 0, 0]"));
    assert!(error(trainer.best_checkpoint(false).unwrap(), data()).contains("no optimiser state"));
}

/// Early stopping, pruning and other weights to start from are the trainer's, whatever it trains.
#[test]
fn a_run_stops_early_prunes_and_starts_from_weights_as_any_other() {
    let mut settings = settings(true);
    (settings.training.steps, settings.training.eval_every, settings.training.patience) = (24, 2, 2);
    let weights = trainer(settings.clone(), 1).model().weights().clone();
    let from = Trainer::<Model>::from_weights(settings.clone(), weights.clone(), data(), Threads::new(1));
    assert!(*from.unwrap().model().weights() == weights);

    for (kind, share) in
        [(Pruning::Unstructured, 0.5), (Pruning::TwoOfFour, 0.5), (Pruning::Structured, 0.25)]
    {
        (settings.training.prune, settings.training.sparsity, settings.training.patience) = (kind, share, 0);
        let mut trainer = trainer(settings.clone(), 1);
        steps(&mut trainer, 24);
        for (entry, tensor) in trainer.averaged_model().unwrap().weights().iter() {
            let zeros = tensor.data.iter().filter(|w| **w == 0.0).count() as f64 / tensor.data.len() as f64;
            let expected = if entry.role == Role::Matrix { share } else { 0.0 };
            let of_matrix = (zeros - expected).abs() < 0.02;
            assert!(of_matrix || entry.role != Role::Matrix, "{kind:?}, {}: {zeros}", entry.name);
        }
    }

    (settings.training.prune, settings.training.patience, settings.training.lr) = (Pruning::None, 2, 0.0);
    settings.training.weight_decay = 0.0;
    let mut still = trainer(settings, 1);
    while !still.is_finished() {
        still.step().unwrap();
        if still.round_is_complete() {
            still.finish_round();
        }
    }
    assert!(still.has_stopped_early() && still.step_count() < 24, "nothing gets better without learning");
}
