//! Learned vectors that tell a cell where it is: `rows[r] += table[place of the cell]`.

use super::add_scaled;

/// Adds to each row the vector of the row's place.
///
/// # Shapes
/// `places` is `[cells]`, the row of the table that each cell has; `table` is `[places, d]`, `rows` is `[puzzles, cells, d]`.
pub fn add_positions(places: &[usize], table: &[f32], d: usize, rows: &mut [f32]) {
    for (place, row) in places.iter().cycle().zip(rows.chunks_exact_mut(d)) {
        add_scaled(row, 1.0, &table[place * d..][..d]);
    }
}

/// `d_table[place] += d_rows[r]`: the gradient of the table.
///
/// # Shapes
/// `places` is `[cells]`, the row of the table that each cell has; `d_table` is `[places, d]`, `d_rows` is
/// `[puzzles, cells, d]`.
pub fn positions_backward(places: &[usize], d_rows: &[f32], d: usize, d_table: &mut [f32]) {
    for (place, d_row) in places.iter().cycle().zip(d_rows.chunks_exact(d)) {
        add_scaled(&mut d_table[place * d..][..d], 1.0, d_row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (places, d) = ([1, 0, 1], 5);
        let table = numbers(2 * d, 1);
        let forward = |table: &[f32]| {
            let mut rows = vec![0.5; 2 * places.len() * d];
            add_positions(&places, table, d, &mut rows);
            weighted_sum(&rows)
        };
        let mut d_table = vec![0.0; table.len()];
        positions_backward(&places, &forward(&table).1, d, &mut d_table);
        assert_gradient(&table, &d_table, |v| forward(v).0);
    }
}
