//! The documented model: one training step, inference, and one puzzle alone:
//!
//!     cargo bench -p trm --bench training_step
//!
//! The column with `item/s` counts puzzles. `trm bench` measures the same next to what the machine can do at most.

use divan::Bencher;
use divan::counter::ItemsCount;
use trm::config::{RunConfig, TrainingConfig, TrmConfig};
use trm::model::{Budget, Engine, Model, Recording};
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};
use trm::train::{Trainer, TrainingData};

fn main() {
    divan::main();
}

fn puzzles(count: usize) -> Vec<Puzzle> {
    let generator = Generator::new(1, 30..=40);
    generator.generate_many(count, &Threads::new(0)).expect("there are such puzzles")
}

#[divan::bench(args = [64])]
fn training_step(bencher: Bencher, batch_size: usize) {
    let config = TrmConfig {
        training: TrainingConfig { batch_size, ..TrainingConfig::default() },
        run: RunConfig { epochs: 1_000_000, patience: 0, ..RunConfig::default() },
        ..TrmConfig::default()
    };
    let data = TrainingData { train: puzzles(batch_size), ..TrainingData::default() };
    let mut trainer = Trainer::<Model>::new(config, data, Threads::new(0)).expect("there are puzzles");
    bencher.counter(ItemsCount::new(batch_size)).bench_local(|| {
        trainer.step().expect("the loss stays finite");
        trainer.finish_round();
    });
}

#[divan::bench(args = [256])]
fn inference(bencher: Bencher, batch_size: usize) {
    infer(bencher, batch_size, 0);
}

/// With so many threads; 0 is one for each CPU.
#[divan::bench(args = [1, 0])]
fn one_puzzle(bencher: Bencher, threads: usize) {
    infer(bencher, 1, threads);
}

fn infer(bencher: Bencher, batch_size: usize, threads: usize) {
    let (config, threads) = (TrmConfig::default(), Threads::new(threads));
    let model = Model::first(config.network.clone(), &threads);
    let cells: Vec<u8> = puzzles(batch_size).iter().flat_map(|p| *p.quiz.cells()).collect();
    let mut engine = Engine::new(Recording::Nothing);
    let budget = Budget::trained(&config.network);
    bencher
        .counter(ItemsCount::new(batch_size))
        .bench_local(|| engine.predict(&model, &cells, &budget, &threads));
}
