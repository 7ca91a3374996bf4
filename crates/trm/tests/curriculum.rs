//! Curricula: a run sees what its stages open, and goes on bit for bit from the middle of them.

use trm::checkpoint::Checkpoint;
use trm::config::{
    Curriculum, CurriculumBy, DataConfig, NetworkConfig, RunConfig, TrainingConfig, TrmConfig,
};
use trm::model::Model;
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};
use trm::train::{Trainer, TrainingData};

const KINDS: [Curriculum; 3] = [Curriculum::EasyToHard, Curriculum::HardFirst, Curriculum::Competence];

/// Between what a model that knows nothing reaches, a ninth, and what this one does on the middle third.
const THRESHOLD: f64 = 0.12;

fn config(curriculum: Curriculum) -> TrmConfig {
    let config = TrmConfig {
        data: DataConfig {
            curriculum,
            curriculum_by: CurriculumBy::Givens,
            curriculum_stages: 3,
            curriculum_until: 0.8,
            curriculum_threshold: THRESHOLD,
            augment: false,
            ..DataConfig::default()
        },
        network: NetworkConfig {
            hidden_dim: 64,
            l_layers: 1,
            output_layers: 1,
            l_cycles: 1,
            h_cycles: 1,
            dropout: 0.1,
            ..NetworkConfig::default()
        },
        training: TrainingConfig { lr: 1e-2, batch_size: 8, ..TrainingConfig::default() },
        run: RunConfig { epochs: 5, patience: 0, ..RunConfig::default() },
    };
    config.validate().unwrap();
    config
}

fn puzzles(givens: usize, count: usize) -> Vec<Puzzle> {
    Generator::new(givens as u64, givens..=givens).generate_many(count, &Threads::new(1)).unwrap()
}

/// A third of the puzzles each with 70, 50 and 40 givens, in an order that says nothing.
fn data() -> TrainingData {
    let mixed = |count| {
        let [easy, middle, hard] = [70, 50, 40].map(|givens| puzzles(givens, count));
        easy.into_iter().zip(middle).zip(hard).flat_map(|((a, b), c)| [b, a, c]).collect()
    };
    TrainingData { train: mixed(32), validation: mixed(4), ..TrainingData::default() }
}

/// Trains to the end; at every epoch the stage and, at `stop_after` steps, through a file into a new trainer.
fn trained(curriculum: Curriculum, stop_after: Option<u64>, threads: usize) -> (Trainer, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.pt");
    let mut trainer = Trainer::<Model>::new(config(curriculum), data(), Threads::new(threads)).unwrap();
    let mut steps = 0;
    while !trainer.is_finished() {
        while !trainer.round_is_complete() {
            trainer.step().unwrap();
            steps += 1;
            if Some(steps) == stop_after {
                trainer.checkpoint().unwrap().write(&path).unwrap();
                trainer =
                    Trainer::<Model>::resume(&Checkpoint::read(&path).unwrap(), data(), Threads::new(1))
                        .unwrap();
            }
        }
        trainer.finish_round();
    }
    let stages = trainer.progress().history.iter().map(|record| record.stage.unwrap()).collect();
    (trainer, stages)
}

#[test]
fn a_run_resumed_between_its_stages_ends_with_the_same_bits() {
    for curriculum in KINDS {
        let (whole, stages) = trained(curriculum, None, 2);
        assert!(
            stages[0] == 1 && stages[4] == 3,
            "{curriculum:?}: {stages:?} {:?}",
            whole.progress().history.iter().map(|r| r.stage_accuracy).collect::<Vec<_>>()
        );
        for stop_after in [14, 27, 50] {
            let (resumed, resumed_stages) = trained(curriculum, Some(stop_after), 1);
            assert_eq!(stages, resumed_stages, "{curriculum:?}");
            assert_eq!(whole.model().weights(), resumed.model().weights(), "{curriculum:?} at {stop_after}");
            assert_eq!(whole.progress().opened, resumed.progress().opened);
        }
    }
}

#[test]
fn competence_waits_for_the_accuracy_on_the_newest_puzzles() {
    let (trainer, _) = trained(Curriculum::Competence, None, 1);
    let history = &trainer.progress().history;
    for pair in history.windows(2) {
        let passed = pair[0].stage_accuracy.unwrap() >= THRESHOLD && pair[0].stage < Some(3);
        assert_eq!(pair[1].stage.unwrap() - pair[0].stage.unwrap(), usize::from(passed), "{history:?}");
    }
    let never = TrmConfig {
        data: DataConfig { curriculum_threshold: 1.0, ..config(Curriculum::Competence).data },
        ..config(Curriculum::Competence)
    };
    let mut trainer = Trainer::<Model>::new(never, data(), Threads::new(1)).unwrap();
    for _ in 0..3 {
        trainer.step().unwrap();
        assert_eq!(trainer.finish_round().stage, Some(1));
    }
}

#[test]
fn the_first_stage_learns_from_its_own_puzzles_only() {
    // With other hard puzzles a run that begins with the easy third is the same to the bit until the next stage opens.
    let after = |curriculum, steps, data| {
        let mut trainer = Trainer::<Model>::new(config(curriculum), data, Threads::new(1)).unwrap();
        for _ in 0..steps {
            if trainer.round_is_complete() {
                trainer.finish_round();
            }
            trainer.step().unwrap();
        }
        trainer.model().weights().clone()
    };
    let others = || {
        let mut others = data();
        let mut hard = puzzles(35, 32).into_iter();
        for puzzle in others.train.iter_mut().filter(|p| p.quiz.givens() == 40) {
            *puzzle = hard.next().unwrap();
        }
        others
    };
    assert_eq!(after(Curriculum::EasyToHard, 6, data()), after(Curriculum::EasyToHard, 6, others()));
    assert_ne!(after(Curriculum::EasyToHard, 55, data()), after(Curriculum::EasyToHard, 55, others()));
    assert_ne!(after(Curriculum::HardFirst, 6, data()), after(Curriculum::HardFirst, 6, others()));
}
