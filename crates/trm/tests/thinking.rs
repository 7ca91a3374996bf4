//! States that are carried from one optimiser step to the next, and how long a model may think about a puzzle.

use trm::checkpoint::Checkpoint;
use trm::config::{Mixing, NetworkConfig, RunConfig, State, Supervision, TrainingConfig, TrmConfig, Update};
use trm::model::{Budget, Engine, Model, Recording};
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};
use trm::train::{Trainer, TrainingData};

fn config() -> TrmConfig {
    let config = TrmConfig {
        network: NetworkConfig {
            state: State::Candidate,
            mixing: Mixing::UnitMean,
            update: Update::Single,
            output_layers: 0,
            output_norm: true,
            state_norm: true,
            init_noise: 1.0,
            supervision: Supervision::Every,
            segments: 4,
            hidden_dim: 8,
            expansion: 1,
            l_layers: 1,
            l_cycles: 2,
            h_cycles: 2,
            dropout: 0.0,
            ..NetworkConfig::default()
        },
        training: TrainingConfig { lr: 1e-2, batch_size: 12, ..TrainingConfig::default() },
        run: RunConfig { epochs: 2, ..RunConfig::default() },
        ..TrmConfig::default()
    };
    config.validate().unwrap();
    config
}

/// Easy puzzles, so that some are solved and replaced at once, and harder ones, which stay.
fn puzzles() -> Vec<Puzzle> {
    let mut puzzles = Generator::new(5, 76..=80).generate_many(40, &Threads::new(1)).unwrap();
    puzzles.extend(Generator::new(6, 28..=30).generate_many(20, &Threads::new(1)).unwrap());
    puzzles
}

fn data() -> TrainingData {
    TrainingData { train: puzzles(), ..TrainingData::default() }
}

fn steps(trainer: &mut Trainer, count: usize) {
    for _ in 0..count {
        trainer.step().unwrap();
    }
}

/// Only open candidates have vectors, and digits are assumed.
fn with_hypotheses() -> TrmConfig {
    let config = TrmConfig {
        network: NetworkConfig { state: State::OpenCandidate, hypotheses: true, ..config().network },
        ..config()
    };
    config.validate().unwrap();
    config
}

#[test]
fn a_run_that_carries_states_is_resumed_bit_for_bit_from_both_formats() {
    resumes_bit_for_bit(config());
    resumes_bit_for_bit(with_hypotheses());
}

fn resumes_bit_for_bit(config: TrmConfig) {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = Trainer::<Model>::new(config.clone(), data(), Threads::new(2)).unwrap();
    steps(&mut whole, 6);
    let carried = whole.checkpoint().unwrap().training.unwrap().carry.unwrap();
    let assumed = carried.iter().find(|(name, _)| name == "assumed");
    assert_eq!(
        assumed.is_some_and(|(_, t)| t.data.iter().any(|digit| *digit > 0.0)),
        config.network.hypotheses
    );
    assert!(whole.progress().staying.iter().any(|(_, behind)| *behind > 1), "some puzzles stay");
    assert!(whole.progress().drawn > 12, "others are replaced");
    let resumed = ["pt", "safetensors"].map(|ending| {
        let path = folder.path().join(format!("last.{ending}"));
        whole.checkpoint().unwrap().write(&path).unwrap();
        Trainer::<Model>::resume(&Checkpoint::read(&path).unwrap(), data(), Threads::new(1)).unwrap()
    });
    steps(&mut whole, 4);
    for mut trainer in resumed {
        steps(&mut trainer, 4);
        assert_eq!(trainer.model().weights(), whole.model().weights());
        assert_eq!(trainer.progress().staying, whole.progress().staying);
    }
}

#[test]
fn carried_states_that_do_not_fit_are_refused() {
    let mut trainer = Trainer::<Model>::new(config(), data(), Threads::new(1)).unwrap();
    trainer.step().unwrap();
    let mut checkpoint = trainer.checkpoint().unwrap();
    checkpoint.training.as_mut().unwrap().carry = None;
    let error = Trainer::<Model>::resume(&checkpoint, data(), Threads::new(1)).unwrap_err();
    assert!(error.to_string().contains("carried states"), "{error}");
}

#[test]
fn no_puzzle_stays_longer_than_its_segments() {
    let mut trainer = Trainer::<Model>::new(config(), data(), Threads::new(1)).unwrap();
    for _ in 0..10 {
        trainer.step().unwrap();
        assert!(trainer.progress().staying.iter().all(|(_, behind)| *behind < 4));
    }
}

#[test]
fn without_halting_a_puzzle_stays_for_all_its_segments() {
    let config = TrmConfig { training: TrainingConfig { halting: false, ..config().training }, ..config() };
    let mut trainer = Trainer::<Model>::new(config, data(), Threads::new(2)).unwrap();
    for step in 1..=60 {
        trainer.step().unwrap();
        let behind = step % 4;
        let staying = if behind == 0 { 0 } else { 12 };
        assert_eq!(trainer.progress().staying.len(), staying, "step {step}");
        assert!(trainer.progress().staying.iter().all(|(_, segments)| *segments == behind));
    }
}

/// A model that solves easy puzzles after more than one cycle, or not at all.
fn trained(config: TrmConfig) -> Model {
    let mut trainer = Trainer::<Model>::new(config, data(), Threads::new(2)).unwrap();
    steps(&mut trainer, 60);
    trainer.model().clone()
}

#[test]
fn thinking_stops_at_the_solution_and_goes_on_as_far_as_the_budget_without_one() {
    thinks_as_far_as_the_budget(config());
    thinks_as_far_as_the_budget(with_hypotheses());
}

fn thinks_as_far_as_the_budget(config: TrmConfig) {
    let (model, puzzles) = (trained(config), puzzles());
    let cells: Vec<u8> = puzzles.iter().flat_map(|p| *p.quiz.cells()).collect();
    let predict = |budget: Budget, threads| {
        Engine::new(Recording::Nothing).predict(&model, &cells, &budget, &Threads::new(threads))
    };
    let budget = Budget { steps: 6, restarts: 2, guesses: 0, seed: 9 };
    let all = predict(budget, 2);
    assert_eq!(all, predict(budget, 1), "the number of threads changes nothing");
    assert!(all.iter().any(|p| p.solved) && all.iter().any(|p| !p.solved), "both kinds are there");
    for (prediction, puzzle) in all.iter().zip(&puzzles) {
        if prediction.solved {
            // Only one board obeys the rules: the stored solution.
            let rows = prediction.logits.chunks_exact(9).zip(puzzle.quiz.cells());
            let digits: Vec<u8> = rows
                .map(|(row, given)| if *given > 0 { *given } else { trm::model::argmax(row) as u8 + 1 })
                .collect();
            assert_eq!(digits, puzzle.solution.cells());
            assert!((1..=3 * 6).contains(&prediction.steps));
        } else {
            assert_eq!((prediction.steps, prediction.restarts), (3 * 6, 2));
        }
    }
    let once = predict(Budget { restarts: 0, ..budget }, 1);
    let solved = |predictions: &[trm::model::Prediction]| predictions.iter().filter(|p| p.solved).count();
    assert!(solved(&once) <= solved(&all) && once.iter().all(|p| p.restarts == 0));
    let other = predict(Budget { seed: 10, ..budget }, 1);
    assert_ne!(other, all, "another seed starts elsewhere");
}

#[test]
fn first_states_are_random_with_the_wanted_size_and_repeatable() {
    use trm::model::States;
    let states = States::initial(&config().network, 3, [7, 8]);
    assert_eq!(states, States::initial(&config().network, 3, [7, 8]));
    assert!(states.y.iter().all(|y| *y == 0.0));
    let n = states.z.len() as f64;
    let mean_square = states.z.iter().map(|z| f64::from(z * z)).sum::<f64>() / n;
    // 11,664 draws: the mean square of a uniform variable of variance 1 has a standard deviation of 0.008.
    assert!((mean_square - 1.0).abs() < 0.05, "{mean_square}");
    assert_ne!(states.z[..5832], states.z[5832..]);
    let zero = TrmConfig { network: NetworkConfig { init_noise: 0.0, ..config().network }, ..config() };
    assert!(States::initial(&zero.network, 3, [7]).z.iter().all(|z| *z == 0.0));
}
