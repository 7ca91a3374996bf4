//! What a gate lets through, `target + gate * values`: a scalar for all values, or a factor for each of d channels.
//!
//! A scalar gate is the case of a gate of length 1, which stands for d equal factors.

use super::{add_scaled, dot};
use crate::timing::{Phase, phase};
use trm_kernels::{Part, vectorize};

/// `target += gate * values`, elementwise in each row.
///
/// # Shapes
/// `target` and `values` are `[rows, d]`, `gate` is `[1]` or `[d]`.
///
/// # Source
/// SPEC.md, "Extensions and Research Directions": scalar gates replaced by vectors in R^d.
pub fn gate_forward(target: &mut [f32], gate: &[f32], values: &[f32]) {
    if let [gate] = gate {
        return add_scaled(target, *gate, values);
    }
    let d = gate.len();
    let all = Part { rows: 0..target.len() / d, columns: 0..d };
    gate_forward_part((target, d), &all, gate, values);
}

/// Adds `gate * values` to a part of the target, as [`gate_forward`] does to all of it.
///
/// # Shapes
/// `target` is `[rows, d]`, given with d; `values` is `[rows, columns]` of the part, `gate` is `[1]` or `[d]`.
pub fn gate_forward_part((target, d): (&mut [f32], usize), part: &Part, gate: &[f32], values: &[f32]) {
    let _timed = phase(Phase::States);
    let columns = part.columns.clone();
    vectorize(
        #[inline(always)]
        || {
            let rows = target[part.rows.start * d..part.rows.end * d].chunks_exact_mut(d);
            for (row, values) in rows.zip(values.chunks_exact(columns.len())) {
                let row = row[columns.clone()].iter_mut().zip(values);
                if let [gate] = gate {
                    for (t, v) in row {
                        *t += gate * v;
                    }
                } else {
                    for ((t, v), g) in row.zip(&gate[columns.clone()]) {
                        *t += g * v;
                    }
                }
            }
        },
    );
}

/// Adds the gradient of the gate: `d_gate += sum over rows of d_output * values`, and over channels too if the gate is
/// a scalar. The gradient of the values is `gate * d_output`, which [`gate_forward`] adds.
///
/// # Shapes
/// `d_output` and `values` are `[rows, d]`, `d_gate` is `[1]` or `[d]`. An empty `d_gate` belongs to a gate that is no parameter.
pub fn gate_backward(d_output: &[f32], values: &[f32], d_gate: &mut [f32]) {
    match d_gate {
        [] => {}
        [d_gate] => *d_gate += dot(d_output, values),
        _ => vectorize(
            #[inline(always)]
            || {
                let rows = d_output.chunks_exact(d_gate.len()).zip(values.chunks_exact(d_gate.len()));
                for (d_output, values) in rows {
                    for ((g, d), v) in d_gate.iter_mut().zip(d_output).zip(values) {
                        *g += d * v;
                    }
                }
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (rows, d) = (5, 37);
        let (target, values) = (numbers(rows * d, 1), numbers(rows * d, 2));
        for gate in [numbers(1, 3), numbers(d, 3)] {
            let run = |gate: &[f32], values: &[f32]| {
                let mut output = target.clone();
                gate_forward(&mut output, gate, values);
                weighted_sum(&output)
            };
            let (_, d_output) = run(&gate, &values);
            let (mut d_gate, mut d_values) = (vec![0.0; gate.len()], vec![0.0; rows * d]);
            gate_backward(&d_output, &values, &mut d_gate);
            gate_forward(&mut d_values, &gate, &d_output);
            assert_gradient(&gate, &d_gate, |v| run(v, &values).0);
            assert_gradient(&values, &d_values, |v| run(&gate, v).0);
        }
    }

    #[test]
    fn a_scalar_is_a_vector_of_equal_factors() {
        let (rows, d) = (3, 11);
        let (target, values) = (numbers(rows * d, 4), numbers(rows * d, 5));
        let gated = |gate: &[f32]| {
            let mut output = target.clone();
            gate_forward(&mut output, gate, &values);
            output
        };
        assert_eq!(gated(&[0.3]), gated(&[0.3; 11]));
    }

    #[test]
    fn parts_make_the_whole() {
        let (rows, d) = (5, 37);
        let (target, values) = (numbers(rows * d, 6), numbers(rows * d, 7));
        for gate in [numbers(1, 8), numbers(d, 8)] {
            let (mut whole, mut parts) = (target.clone(), target.clone());
            gate_forward(&mut whole, &gate, &values);
            for (rows, columns) in [(0..2, 0..32), (2..5, 0..32), (0..5, 32..37)] {
                let part = Part { rows: rows.clone(), columns: columns.clone() };
                let of_row = |r: usize| values[r * d..][columns.clone()].to_vec();
                let values: Vec<f32> = rows.flat_map(of_row).collect();
                gate_forward_part((&mut parts, d), &part, &gate, &values);
            }
            assert_eq!(whole, parts);
        }
    }

    #[test]
    fn each_channel_has_its_own_factor() {
        let mut target = vec![1.0; 4];
        gate_forward(&mut target, &[0.0, 2.0], &[5.0, 6.0, 7.0, 8.0]);
        assert_eq!(target, [1.0, 13.0, 1.0, 17.0]);
        let mut d_gate = [100.0, 0.0];
        gate_backward(&[1.0, 1.0, 1.0, 2.0], &[5.0, 6.0, 7.0, 8.0], &mut d_gate);
        assert_eq!(d_gate, [112.0, 22.0]);
    }
}
