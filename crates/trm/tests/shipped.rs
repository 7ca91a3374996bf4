//! The model that comes with the library keeps what its card (weights/README.md) claims.

use trm::checkpoint::Checkpoint;
use trm::model::{Budget, Engine, Model, Network, Prediction, Recording};
use trm::network::Weights;
use trm::parallel::Threads;
use trm::sudoku::{Generator, Puzzle};

fn answers(puzzles: &[Puzzle], guesses: usize) -> Vec<Prediction> {
    let shipped = Checkpoint::shipped();
    let threads = Threads::new(0);
    let params = Weights::from_state_dict(&Network::layout(&shipped.config.network), shipped.model.clone());
    let budget = Budget { guesses, ..Budget::trained(&shipped.config.network) };
    let model = Model::new(shipped.config.network, params, &threads);
    let cells: Vec<u8> = puzzles.iter().flat_map(|p| *p.quiz.cells()).collect();
    Engine::new(Recording::Nothing).predict(&model, &cells, &budget, &threads)
}

/// Puzzles of a seed that the model was not trained on.
fn puzzles(generator: Generator) -> Vec<Puzzle> {
    generator.generate_many(200, &Threads::new(0)).unwrap()
}

#[test]
fn puzzles_that_singles_solve_are_solved_without_a_guess() {
    let puzzles = puzzles(Generator::new(2026, 29..=37).with_guesses(0..=0));
    let solved = answers(&puzzles, 0).iter().filter(|p| p.solved).count();
    assert_eq!(solved, 200);
}

#[test]
fn puzzles_with_few_givens_are_solved_by_guessing_where_need_be() {
    let puzzles = puzzles(Generator::new(2026, 22..=26));
    let alone = answers(&puzzles, 0).iter().filter(|p| p.solved).count();
    let all = answers(&puzzles, 1000);
    assert!(alone >= 190, "{alone} of 200 without a guess");
    assert_eq!(all.iter().filter(|p| p.solved).count(), 200);
    for (prediction, puzzle) in all.iter().zip(&puzzles).filter(|(p, _)| p.solved) {
        let digits = prediction.logits.chunks_exact(9).map(|row| trm::model::argmax(row) as u8 + 1);
        let filled =
            digits.zip(puzzle.quiz.cells()).map(|(digit, given)| if *given > 0 { *given } else { digit });
        assert!(filled.eq(puzzle.solution.cells().iter().copied()), "what is called solved is the solution");
    }
}
