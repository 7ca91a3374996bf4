//! What training makes of a set of puzzles: a split, an order for every epoch; and what there is to say about one.

use crate::sudoku::Puzzle;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Splits puzzles into training and validation, by the seed. At least one puzzle validates if there are two and
/// `val_fraction` is not 0. A quiz that occurs twice is never on both sides. Returns the indices of the training
/// puzzles and of the validation puzzles.
pub fn split(puzzles: &[Puzzle], val_fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..puzzles.len()).collect();
    order.shuffle(&mut stream(seed, u64::MAX));
    let wanted = (order.len() as f64 * val_fraction).round() as usize;
    let wanted = if val_fraction > 0.0 { wanted.max(1).min(order.len().saturating_sub(1)) } else { 0 };
    let mut train = order.split_off(wanted);
    let validation_quizzes: HashSet<_> = order.iter().map(|i| puzzles[*i].quiz).collect();
    train.retain(|i| !validation_quizzes.contains(&puzzles[*i].quiz));
    (train, order)
}

/// The order in which an epoch goes through the puzzles: a function of the seed and the epoch.
#[derive(Clone, Debug)]
pub struct EpochOrder(Vec<u32>);

impl EpochOrder {
    /// The order of epoch `epoch` over `len` puzzles.
    pub fn new(len: usize, seed: u64, epoch: u64) -> Self {
        let mut order: Vec<u32> = (0..len as u32).collect();
        order.shuffle(&mut stream(seed, epoch));
        Self(order)
    }

    /// Index of the puzzle at a position.
    pub fn index(&self, position: usize) -> usize {
        self.0[position] as usize
    }
}

/// Random numbers: stream number `stream` under `seed`.
pub(crate) fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Pairs (first index, later index) of puzzles whose quizzes are the same.
pub fn duplicates(puzzles: &[Puzzle]) -> Vec<(usize, usize)> {
    let mut first = HashMap::with_capacity(puzzles.len());
    let repeated = |(i, puzzle): (usize, &Puzzle)| {
        let at = *first.entry(puzzle.quiz).or_insert(i);
        (at != i).then_some((at, i))
    };
    puzzles.iter().enumerate().filter_map(repeated).collect()
}

/// A description of a set of puzzles.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Number of puzzles.
    pub puzzles: usize,
    /// Number of puzzles whose quiz stood before.
    pub duplicates: usize,
    /// Fewest, mean and most givens.
    pub givens: [f64; 3],
    /// Puzzles by number of givens.
    pub by_givens: BTreeMap<usize, usize>,
    /// Share of each digit, 1 to 9, among the givens.
    pub digit_shares: [f64; 9],
}

impl Stats {
    /// Counts a set of puzzles.
    pub fn of(puzzles: &[Puzzle]) -> Self {
        let mut by_givens = BTreeMap::new();
        let mut digits = [0usize; 10];
        for puzzle in puzzles {
            *by_givens.entry(puzzle.quiz.givens()).or_insert(0) += 1;
            puzzle.quiz.cells().iter().for_each(|digit| digits[usize::from(*digit)] += 1);
        }
        let givens: usize = digits[1..].iter().sum();
        let edge = |givens: Option<(&usize, &usize)>| givens.map_or(0.0, |(g, _)| *g as f64);
        Self {
            puzzles: puzzles.len(),
            duplicates: duplicates(puzzles).len(),
            givens: [
                edge(by_givens.first_key_value()),
                givens as f64 / puzzles.len().max(1) as f64,
                edge(by_givens.last_key_value()),
            ],
            digit_shares: std::array::from_fn(|i| digits[i + 1] as f64 / givens.max(1) as f64),
            by_givens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Threads;
    use crate::sudoku::Generator;

    #[test]
    fn a_split_is_seeded_complete_and_keeps_twins_together() {
        let mut puzzles = Generator::new(1, 40..=50).generate_many(100, &Threads::new(1)).unwrap();
        let (train, validation) = split(&puzzles, 0.1, 3);
        assert_eq!((train.len(), validation.len()), (90, 10));
        assert!((0..100).all(|i| train.contains(&i) != validation.contains(&i)));
        assert_eq!(split(&puzzles, 0.1, 3), (train, validation.clone()));
        assert_ne!(split(&puzzles, 0.1, 4).1, validation);
        puzzles.extend(puzzles.clone());
        let (train, validation) = split(&puzzles, 0.1, 3);
        assert!(train.iter().all(|t| validation.iter().all(|v| puzzles[*v].quiz != puzzles[*t].quiz)));
    }

    #[test]
    fn an_epoch_sees_every_puzzle_once_in_an_order_of_its_own() {
        let order = |epoch| (0..50).map(|i| EpochOrder::new(50, 1, epoch).index(i)).collect::<Vec<_>>();
        let mut sorted = order(0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(order(0), order(0));
        assert_ne!(order(0), order(1));
    }

    #[test]
    fn stats_count_givens_and_duplicates() {
        let mut puzzles = Generator::new(1, 40..=42).generate_many(20, &Threads::new(1)).unwrap();
        puzzles.push(puzzles[3]);
        let stats = Stats::of(&puzzles);
        assert_eq!((stats.puzzles, stats.duplicates), (21, 1));
        assert_eq!(duplicates(&puzzles), [(3, 20)]);
        assert!(stats.givens[0] >= 40.0 && stats.givens[2] <= 42.0);
        assert!((stats.digit_shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
