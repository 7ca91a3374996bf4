//! Sums over the units of a puzzle and their way back to the members: how vectors of a state are mixed.
//!
//! The two operations are each other's transpose, so each is the other's backward pass.

use crate::sudoku::Units;
use crate::timing::{Phase, phase};
use trm_kernels::vectorize;

/// Number of units of each kind that `rows` vectors form, over all puzzles.
pub fn unit_rows(units: &[Units], rows: usize) -> usize {
    units.first().map_or(0, |kind| rows / kind.unit_of.len().max(1) * kind.count())
}

/// `sums[k, p, u] = scale * sum of values[p, t] over the members t of unit u of kind k`; overwrites.
///
/// # Shapes
/// `values` is `[puzzles, tokens, width]`, `sums` is `[kinds, puzzles, units, width]`.
pub fn sum_units(units: &[Units], values: &[f32], width: usize, scale: f32, sums: &mut [f32]) {
    let _timed = phase(Phase::States);
    let of_kind = unit_rows(units, values.len() / width) * width;
    if of_kind == 0 {
        return;
    }
    for (kind, sums) in units.iter().zip(sums.chunks_exact_mut(of_kind)) {
        let [values_each, sums_each] = [kind.unit_of.len(), kind.count()].map(|rows| rows * width);
        let puzzles = values.chunks_exact(values_each).zip(sums.chunks_exact_mut(sums_each));
        for (values, sums) in puzzles {
            vectorize(
                #[inline(always)]
                || {
                    for (members, sum) in kind.members().zip(sums.chunks_exact_mut(width)) {
                        // Sixteen numbers at a time, so that their sums stay in a register.
                        let (parts, rest) = sum.as_chunks_mut::<16>();
                        let tail = parts.len() * 16;
                        for (i, part) in parts.iter_mut().enumerate() {
                            let of_row = |t: usize| -> &[f32; 16] {
                                values[t * width + i * 16..][..16].try_into().expect("sixteen numbers")
                            };
                            let mut lanes = [0.0; 16];
                            for t in members {
                                let row = of_row(*t);
                                for lane in 0..16 {
                                    lanes[lane] += row[lane];
                                }
                            }
                            *part = lanes.map(|lane| scale * lane);
                        }
                        for (i, sum) in rest.iter_mut().enumerate() {
                            *sum = scale * members.iter().map(|t| values[t * width + tail + i]).sum::<f32>();
                        }
                    }
                },
            );
        }
    }
}

/// `values[p, t] += scale * sum over k of sums[k, p, unit of t]`.
///
/// # Shapes
/// `sums` is `[kinds, puzzles, units, width]`, `values` is `[puzzles, tokens, width]`.
pub fn add_to_members(units: &[Units], sums: &[f32], width: usize, scale: f32, values: &mut [f32]) {
    let _timed = phase(Phase::States);
    let of_kind = unit_rows(units, values.len() / width) * width;
    if of_kind == 0 {
        return;
    }
    let [tokens, count] = [units[0].unit_of.len(), units[0].count()];
    for (p, values) in values.chunks_exact_mut(tokens * width).enumerate() {
        vectorize(
            #[inline(always)]
            || {
                for (t, value) in values.chunks_exact_mut(width).enumerate() {
                    for (k, kind) in units.iter().enumerate() {
                        let row = k * of_kind + (p * count + kind.unit_of[t]) * width;
                        let sum = &sums[row..row + width];
                        value.iter_mut().zip(sum).for_each(|(value, sum)| *value += scale * sum);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{numbers, weighted_sum};
    use crate::sudoku::OpenCandidates;

    #[test]
    fn a_sum_is_the_sum_of_its_unit() {
        let units = Units::of_cells();
        let values: Vec<f32> = (0..2 * 81 * 2).map(|i| i as f32).collect();
        let mut sums = vec![0.0; 3 * 2 * 9 * 2];
        sum_units(units, &values, 2, 0.5, &mut sums);
        // Second puzzle, row 3 (cells 27 to 35), second value: half of the sum of 162 + 2 c + 1.
        let row: f32 = (27..36).map(|c| (162 + 2 * c + 1) as f32).sum();
        assert_eq!(sums[(9 + 3) * 2 + 1], 0.5 * row);
    }

    #[test]
    fn the_two_operations_are_transposes_of_each_other() {
        let quiz: [u8; 81] =
            std::array::from_fn(|cell| if cell % 4 == 0 { ((cell * 4) % 9 + 1) as u8 } else { 0 });
        let open = OpenCandidates::of(&quiz);
        for units in [Units::of_cells(), Units::of_candidates(), &open.units] {
            let (width, puzzles) = (19, 2);
            let values = numbers(puzzles * units[0].unit_of.len() * width, 1);
            let mut sums = vec![0.0; units.len() * unit_rows(units, values.len() / width) * width];
            sum_units(units, &values, width, 0.7, &mut sums);
            let (forward, weights) = weighted_sum(&sums);
            let mut back = vec![0.0; values.len()];
            add_to_members(units, &weights, width, 0.7, &mut back);
            let backward: f64 = back.iter().zip(&values).map(|(b, v)| f64::from(*b) * f64::from(*v)).sum();
            assert!((forward - backward).abs() < 1e-3 * forward.abs().max(1.0), "{forward} and {backward}");
        }
    }
}
