//! The embedding: `y_t = E[id_t]`; backward `dE[id_t] += dy_t`.
//!
//! The backward pass adds rows in token order on one thread: it is a thousandth of a step,
//! and any other order would change the sums.

use super::vector::add_scaled;

/// Copies one row of `table` `[vocab, width]` per id into `y` `[tokens, width]`.
pub fn forward(y: &mut [f32], ids: &[u32], table: &[f32], width: usize) {
    for (row, &id) in y.chunks_exact_mut(width).zip(ids) {
        row.copy_from_slice(&table[id as usize * width..][..width]);
    }
}

/// Adds every row of `dy` to the row of its id.
pub fn backward(d_table: &mut [f32], ids: &[u32], dy: &[f32], width: usize) {
    for (row, &id) in dy.chunks_exact(width).zip(ids) {
        add_scaled(&mut d_table[id as usize * width..][..width], 1.0, row);
    }
}
