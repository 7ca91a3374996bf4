//! Models with a vector for each cell: every way of mixing cells and of telling them where they are learns, and comes back
//! from a file as it was.

use trm::checkpoint::Checkpoint;
use trm::config::{
    ConfigLayers, Mixing, NetworkConfig, Positions, RunConfig, State, Supervision, TrainingConfig, TrmConfig,
    Update,
};
use trm::model::{Engine, Model, Network, Recording};
use trm::network::Weights;
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};
use trm::train::{Trainer, TrainingData};

const KINDS: [(Mixing, Positions); 5] = [
    (Mixing::UnitAttention, Positions::None),
    (Mixing::UnitAttention, Positions::Rotary),
    (Mixing::Attention, Positions::Units),
    (Mixing::Attention, Positions::Rotary),
    (Mixing::TokenMlp, Positions::Learned),
];

fn config((mixing, positions): (Mixing, Positions)) -> TrmConfig {
    let config = TrmConfig {
        network: NetworkConfig {
            state: State::Cell,
            mixing,
            positions,
            heads: 3,
            feedback: positions == Positions::None,
            update: Update::Single,
            output_layers: 0,
            output_norm: true,
            state_norm: true,
            supervision: Supervision::Every,
            hidden_dim: 24,
            expansion: 2,
            l_layers: 1,
            l_cycles: 1,
            h_cycles: 3,
            dropout: 0.0,
            ..NetworkConfig::default()
        },
        training: TrainingConfig { lr: 1e-2, batch_size: 16, ..TrainingConfig::default() },
        run: RunConfig { epochs: 12, ..RunConfig::default() },
        ..TrmConfig::default()
    };
    config.validate().unwrap();
    config
}

fn puzzles() -> Vec<Puzzle> {
    Generator::new(5, 50..=60).generate_many(64, &Threads::new(1)).unwrap()
}

#[test]
fn every_kind_learns() {
    for kind in KINDS {
        let data = TrainingData { train: puzzles(), ..TrainingData::default() };
        let mut trainer = Trainer::<Model>::new(config(kind), data, Threads::new(2)).unwrap();
        let losses: Vec<f64> = (0..40).map(|_| trainer.step().unwrap().loss).collect();
        // Copying the givens, two cells of three, gets that far; blanks take the rest.
        assert!(losses[39] < 0.6 * losses[0], "{kind:?}: {} to {}", losses[0], losses[39]);
    }
}

#[test]
fn every_kind_comes_back_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let threads = Threads::new(1);
    let cells: Vec<u8> = puzzles()[..2].iter().flat_map(|puzzle| *puzzle.quiz.cells()).collect();
    for kind in KINDS {
        let config = config(kind);
        let params = Network::first_weights(&config.network, config.network.seed);
        let model = params.state_dict();
        let checkpoint =
            Checkpoint { config: config.clone(), model, optimizer: None, history: None, training: None };
        for ending in ["pt", "safetensors"] {
            let path = folder.path().join(format!("model.{ending}"));
            checkpoint.write(&path).unwrap();
            let read = Checkpoint::read(&path).unwrap();
            assert_eq!(read, checkpoint, "{kind:?} {ending}");
            let logits = |params: Weights| {
                let model = Model::new(config.network.clone(), params, &threads);
                Engine::new(Recording::Nothing).logits(&model, &cells, &threads)
            };
            assert_eq!(
                logits(Weights::from_state_dict(&Network::layout(&read.config.network), read.model.clone())),
                logits(params.clone())
            );
        }
    }
}

#[test]
fn the_preset_is_a_configuration() {
    let text = include_str!("../../../presets/cells.toml");
    let config = ConfigLayers::default().toml(text, "cells.toml").and_then(ConfigLayers::build).unwrap();
    assert_eq!((config.network.state, config.network.mixing), (State::Cell, Mixing::UnitAttention));
}
