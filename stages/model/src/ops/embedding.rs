//! The embedding: `y_t = E[id_t]`; backward `dE[id_t] += dy_t`.
//!
//! The backward pass adds rows in token order on one thread: it is a thousandth of a step,
//! and any other order would change the sums.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::vector::add_scaled;

/// Copies one row of `table` `[vocab, width]` per id into `y` `[tokens, width]`.
pub fn forward(y: &mut [f32], ids: &[u32], table: &[f32], width: usize) {
    y.par_chunks_exact_mut(width)
        .zip(ids)
        .with_min_len(ROWS_PER_TASK)
        .for_each(|(row, &id)| row.copy_from_slice(&table[id as usize * width..][..width]));
}

/// Adds every row of `dy` to the row of its id.
pub fn backward(d_table: &mut [f32], ids: &[u32], dy: &[f32], width: usize) {
    for (row, &id) in dy.chunks_exact(width).zip(ids) {
        add_scaled(&mut d_table[id as usize * width..][..width], 1.0, row);
    }
}
