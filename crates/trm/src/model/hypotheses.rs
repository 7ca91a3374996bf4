//! Digits that the recursion takes for true for the time being: how it goes on where it is certain of nothing more.
//!
//! At the end of a segment of `H_cycles` outer cycles one more digit is assumed, drawn by the answer's own probabilities.
//! Elsewhere the answer is then what follows from the hypotheses; in their own cells it is what to think of them: one of
//! probability p is kept with probability 2p, at most 1. Where that takes one back, nothing new is assumed, and all others
//! go too with probability [`ALL`]: of several that contradict each other the answer may blame none enough, and then there
//! is no other way out. No rule of Sudoku is looked at, and states are carried on.
//!
//! That division is what the loss asks for. Where all hypotheses are right, every cell counts; where one is wrong, nothing can be
//! asked of what follows, and their own cells alone count.

use crate::ops::softmax;
use crate::sudoku::{CELLS, DIGITS};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random numbers of a trajectory, or of a segment of a trajectory: a function of the seed and the number
/// `stream`.
pub fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    const APART: u64 = 0x6879_706f_7468;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ APART);
    rng.set_stream(stream);
    rng
}

/// How often all hypotheses go when one is taken back.
const ALL: f64 = 0.3;

/// How much more the cells of hypotheses count: there are few of them.
const WEIGHT: f32 = 8.0;

/// Turns the gradient of the cross-entropy into the gradient of the loss under hypotheses.
///
/// # Shapes
/// `assumed` and `targets` are `[puzzles, 81]`: digits, 0 for none, and digits of the solution less one; `d_logits` is
/// `[puzzles, 81, 9]`.
pub fn weigh(assumed: &[u8], targets: &[u8], d_logits: &mut [f32]) {
    let puzzles = assumed.chunks_exact(CELLS).zip(targets.chunks_exact(CELLS));
    for ((assumed, targets), d_logits) in puzzles.zip(d_logits.chunks_exact_mut(CELLS * DIGITS)) {
        let is_wrong = assumed.iter().zip(targets).any(|(digit, target)| *digit > 0 && *digit != target + 1);
        for (digit, d) in assumed.iter().zip(d_logits.chunks_exact_mut(DIGITS)) {
            let weight = match digit {
                0 if is_wrong => 0.0,
                0 => 1.0,
                _ => WEIGHT,
            };
            d.iter_mut().for_each(|d| *d *= weight);
        }
    }
}

/// Revises the hypotheses of several puzzles by [`revise`], each with random numbers of its own.
///
/// # Shapes
/// `givens` and `assumed` are `[puzzles, 81]`, digits, 0 for none; `logits` is `[puzzles, 81, 9]`.
pub fn revise_all(givens: &[u8], logits: &[f32], assumed: &mut [u8], random: &mut [impl Rng]) {
    let answers = givens.chunks_exact(CELLS).zip(logits.chunks_exact(CELLS * DIGITS));
    for ((assumed, (givens, logits)), rng) in assumed.chunks_exact_mut(CELLS).zip(answers).zip(random) {
        revise(givens, logits, assumed, rng);
    }
}

/// Revises the hypotheses of one puzzle: takes back assumed digits that the answer speaks against or, where there are
/// none, assumes one more.
///
/// # Shapes
/// `givens` and `assumed` are the 81 digits of a puzzle, 0 for none; `logits` is `[81, 9]`.
pub fn revise(givens: &[u8], logits: &[f32], assumed: &mut [u8], rng: &mut impl Rng) {
    let p: Vec<[f32; DIGITS]> = logits.chunks_exact(DIGITS).map(softmax).collect();
    let mut is_revised = false;
    for (digit, p) in assumed.iter_mut().zip(&p).filter(|(digit, _)| **digit > 0) {
        if rng.random::<f32>() >= 2.0 * p[usize::from(*digit) - 1] {
            *digit = 0;
            is_revised = true;
        }
    }
    if is_revised {
        if rng.random_bool(ALL) {
            assumed.fill(0);
        }
        return;
    }
    let is_free = |cell: usize| givens[cell] == 0 && assumed[cell] == 0;
    // A digit that is nearly certain tells little, one that is unlikely leads astray.
    let weight = |p: f32| p * p * (1.0 - p);
    let weights: Vec<f32> = (0..CELLS * DIGITS)
        .map(|i| if is_free(i / DIGITS) { weight(p[i / DIGITS][i % DIGITS]) } else { 0.0 })
        .collect();
    let mut drawn = rng.random::<f32>() * weights.iter().sum::<f32>();
    for (i, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        drawn -= weight;
        if drawn <= 0.0 {
            assumed[i / DIGITS] = (i % DIGITS) as u8 + 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of a digit with these probabilities in each of the 81 cells, the rest shared by the other digits.
    fn logits(p: impl Fn(usize) -> (u8, f32)) -> Vec<f32> {
        let row = |cell: usize| {
            let (digit, p) = p(cell);
            (1..=9).map(move |k| if k == digit { p } else { (1.0 - p) / 8.0 }.ln())
        };
        (0..CELLS).flat_map(row).collect()
    }

    fn count(assumed: &[u8]) -> usize {
        assumed.iter().filter(|digit| **digit > 0).count()
    }

    #[test]
    fn one_digit_at_a_time_is_assumed_where_the_answer_is_uncertain() {
        let mut givens = [0; CELLS];
        givens[..30].fill(7);
        let answer = logits(|cell| (3, if cell == 40 || cell < 30 { 0.6 } else { 1.0 - 1e-6 }));
        let mut met = 0;
        for stream in 0..200 {
            let mut assumed = [0; CELLS];
            revise(&givens, &answer, &mut assumed, &mut random(1, stream));
            assert_eq!(count(&assumed), 1);
            assert_eq!(count(&assumed[..30]), 0, "givens are no hypotheses");
            if assumed[40] == 3 {
                met += 1;
                // The answer agrees: it is kept, and another one joins it.
                revise(&givens, &answer, &mut assumed, &mut random(2, stream));
                assert_eq!((assumed[40], count(&assumed)), (3, 2));
            }
        }
        // 0.144 of the weight is 3's, 0.019 that of the other eight digits of its cell: 177, with a standard deviation of 5.
        assert!((157..197).contains(&met), "{met} of 200");
    }

    #[test]
    fn what_the_answer_speaks_against_is_taken_back_and_sometimes_all_with_it() {
        let [mut kept, mut alone] = [0, 0];
        for stream in 0..1000 {
            let mut assumed = [0; CELLS];
            (assumed[3], assumed[50]) = (5, 6);
            let answer = logits(|cell| if cell == 3 { (5, 0.3) } else { (6, 0.5) });
            revise(&[0; CELLS], &answer, &mut assumed, &mut random(1, stream));
            match (assumed[3], assumed[50]) {
                (5, 6) => {
                    assert_eq!(count(&assumed), 3, "a half is enough");
                    kept += 1;
                }
                (0, 6) => {
                    assert_eq!(count(&assumed), 1, "nothing new");
                    alone += 1;
                }
                _ => assert_eq!(count(&assumed), 0),
            }
        }
        // Three of five, with a standard deviation of 15; of the rest, 0.7.
        assert!((540..660).contains(&kept), "{kept}");
        assert!((220..340).contains(&alone), "{alone}");
    }

    #[test]
    fn cells_of_hypotheses_count_more_and_alone_where_one_is_wrong() {
        let mut assumed = [0; 2 * CELLS];
        (assumed[0], assumed[CELLS], assumed[CELLS + 1]) = (1, 1, 2);
        let mut d_logits = [1.0; 2 * CELLS * DIGITS];
        // The solution has a 1 everywhere: the second hypothesis of the second puzzle is wrong.
        weigh(&assumed, &[0; 2 * CELLS], &mut d_logits);
        for (cell, d) in d_logits.chunks_exact(DIGITS).enumerate() {
            let weight = match cell {
                0 | CELLS | 82 => 8.0,
                cell if cell < CELLS => 1.0,
                _ => 0.0,
            };
            assert_eq!(d, [weight; DIGITS], "{cell}");
        }
    }

    #[test]
    fn where_everything_is_certain_nothing_is_assumed() {
        let mut assumed = [0; CELLS];
        let answer: Vec<f32> =
            (0..CELLS * DIGITS).map(|i| if i % DIGITS == 2 { 0.0 } else { -1e4 }).collect();
        revise(&[0; CELLS], &answer, &mut assumed, &mut random(1, 1));
        assert_eq!(assumed, [0; CELLS]);
    }
}
