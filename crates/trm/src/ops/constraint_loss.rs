//! The rules of Sudoku as a loss: the expected count of each digit in a row, a column or a box should be one.
//!
//! ```text
//! p_c = softmax(o_c);  e_uk = sum over cells c of unit u of p_ck - 1
//! L_kind = mean over the nine units u of the kind and the nine digits k of e_uk^2
//! ```
//!
//! It needs no targets, and is zero for every valid board, right or wrong.

use super::{softmax_backward, softmax_rows};
use crate::sudoku::{CELLS, DIGITS, Units};
use crate::timing::{Phase, phase};

const LOGITS: usize = CELLS * DIGITS;
/// Units of a kind times digits: what a mean is taken over.
const COUNTS: f32 = 81.0;

/// L_row, L_column and L_box, each summed over boards.
///
/// # Shapes
/// `logits` is `[boards, 81, 9]`.
///
/// # Source
/// SPEC.md, "Extensions and Research Directions": constraint-aware losses (row/column/subgrid penalties).
pub fn constraint_loss(logits: &[f32]) -> [f64; 3] {
    let _timed = phase(Phase::Loss);
    let mut sums = [0.0; 3];
    for board in logits.chunks_exact(LOGITS) {
        let mut p: [f32; LOGITS] = board.try_into().expect("a board of logits");
        softmax_rows(&mut p, DIGITS);
        for (sum, kind) in sums.iter_mut().zip(Units::of_cells().iter()) {
            let squares = excess(&p, kind).into_iter().flatten().map(|e| f64::from(e) * f64::from(e));
            *sum += squares.sum::<f64>() / f64::from(COUNTS);
        }
    }
    sums
}

/// Adds the gradient of `sum over kinds of weight * L_kind`, summed over boards.
///
/// With `g_ck = sum over kinds of 2 weight / 81 e_uk`, u being the unit of cell c: `d_o_ck = p_ck (g_ck - sum_j p_cj g_cj)`.
///
/// # Shapes
/// `logits` and `d_logits` are `[boards, 81, 9]`.
pub fn constraint_loss_backward(logits: &[f32], weights: [f32; 3], d_logits: &mut [f32]) {
    let _timed = phase(Phase::Loss);
    for (board, d_board) in logits.chunks_exact(LOGITS).zip(d_logits.chunks_exact_mut(LOGITS)) {
        let mut p: [f32; LOGITS] = board.try_into().expect("a board of logits");
        softmax_rows(&mut p, DIGITS);
        let mut g = [0.0; LOGITS];
        for (weight, kind) in weights.into_iter().zip(Units::of_cells().iter()) {
            let excess = excess(&p, kind);
            for (row, unit) in g.chunks_exact_mut(DIGITS).zip(&kind.unit_of) {
                row.iter_mut().zip(excess[*unit]).for_each(|(g, e)| *g += 2.0 * weight / COUNTS * e);
            }
        }
        softmax_backward(&p, DIGITS, &mut g);
        d_board.iter_mut().zip(g).for_each(|(d, g)| *d += g);
    }
}

/// `e_uk` of one kind of unit.
fn excess(p: &[f32; LOGITS], kind: &Units) -> [[f32; DIGITS]; 9] {
    let mut excess = [[-1.0; DIGITS]; 9];
    for (row, unit) in p.chunks_exact(DIGITS).zip(&kind.unit_of) {
        excess[*unit].iter_mut().zip(row).for_each(|(e, p)| *e += p);
    }
    excess
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers};

    const VALID: &[u8] = b"864371259325849761971265843436192587198657432257483916689734125713528694542916378";

    /// Logits that are certain of a board.
    fn certain_of(digits: &[u8]) -> Vec<f32> {
        let row = |digit: &u8| -> [f32; 9] {
            std::array::from_fn(|k| if b'1' + k as u8 == *digit { 50.0 } else { 0.0 })
        };
        digits.iter().flat_map(row).collect()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits: Vec<f32> = numbers(2 * LOGITS, 1).iter().map(|v| 3.0 * v).collect();
        for weights in [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [30.0, 20.0, 50.0]] {
            let mut d_logits = vec![0.0; logits.len()];
            constraint_loss_backward(&logits, weights, &mut d_logits);
            assert_gradient(&logits, &d_logits, |v| {
                constraint_loss(v).iter().zip(weights).map(|(l, w)| l * f64::from(w)).sum()
            });
        }
    }

    #[test]
    fn it_is_the_sum_that_the_definition_spells_out() {
        let logits: Vec<f32> = numbers(LOGITS, 2).iter().map(|v| 2.0 * v).collect();
        let p = |row: usize, column: usize, k: usize| {
            let o = |k: usize| f64::from(logits[(row * 9 + column) * 9 + k]).exp();
            o(k) / (0..9).map(o).sum::<f64>()
        };
        let mut expected = [0.0; 3];
        for u in 0..9 {
            for k in 0..9 {
                let counts = [
                    (0..9).map(|i| p(u, i, k)).sum::<f64>(),
                    (0..9).map(|i| p(i, u, k)).sum(),
                    (0..9).map(|i| p(u / 3 * 3 + i / 3, u % 3 * 3 + i % 3, k)).sum(),
                ];
                expected.iter_mut().zip(counts).for_each(|(l, count)| *l += (count - 1.0).powi(2) / 81.0);
            }
        }
        for (loss, expected) in constraint_loss(&logits).into_iter().zip(expected) {
            assert!((loss - expected).abs() < 1e-5 * expected, "{loss} and {expected}");
        }
    }

    #[test]
    fn a_valid_board_costs_nothing_and_two_swapped_cells_cost_what_they_break() {
        let zero = constraint_loss(&certain_of(VALID));
        assert!(zero.iter().all(|l| *l < 1e-10), "{zero:?}");
        // Two cells of one row and one box: their columns have a digit twice and miss another.
        let mut swapped = VALID.to_vec();
        swapped.swap(0, 1);
        let [row, column, boxes] = constraint_loss(&certain_of(&swapped));
        assert!(row < 1e-10 && boxes < 1e-10 && (column - 4.0 / 81.0).abs() < 1e-6, "{column}");
    }

    #[test]
    fn knowing_nothing_satisfies_every_count() {
        assert!(constraint_loss(&[0.0; LOGITS]).iter().all(|l| *l < 1e-10));
    }
}
