//! The linear layer: `y = x Wᵀ + b`, with `W` as `[out, in]`.
//!
//! Backward, given `dy`: `dx = dy W`, `dW += dyᵀ x`, `db += Σ_rows dy`. Seven of them make a
//! block of the network. Tokens are rows throughout.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::matmul::{Threads, View, matmul};
use super::vector::add_scaled;
use crate::precision::{Element, Precision};

/// `y = x Wᵀ`, or `y += x Wᵀ` when `accumulate` (the residual connection); `x` is
/// `[rows, inputs]`, `y` `[rows, outputs]`.
pub fn forward<T: Element>(
    y: &mut [f32],
    accumulate: bool,
    x: &[T],
    weight: &[f32],
    inputs: usize,
    precision: Precision,
) {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    let weight = View::new(weight, outputs, inputs).transposed();
    matmul(
        y,
        accumulate,
        1.0,
        View::new(x, rows, inputs),
        weight,
        precision,
        Threads::All,
    );
}

/// `y += b` on every row.
pub fn add_bias(y: &mut [f32], bias: &[f32]) {
    y.par_chunks_mut(ROWS_PER_TASK * bias.len())
        .for_each(|rows| {
            for row in rows.chunks_exact_mut(bias.len()) {
                add_scaled(row, 1.0, bias);
            }
        });
}

/// `dx = dy W`, or `dx += dy W` when `accumulate`.
pub fn backward_input<T: Element>(
    dx: &mut [f32],
    accumulate: bool,
    dy: &[T],
    weight: &[f32],
    inputs: usize,
    precision: Precision,
) {
    let outputs = weight.len() / inputs;
    let rows = dy.len() / outputs;
    let weight = View::new(weight, outputs, inputs);
    matmul(
        dx,
        accumulate,
        1.0,
        View::new(dy, rows, outputs),
        weight,
        precision,
        Threads::All,
    );
}

/// `dW += dyᵀ x`.
pub fn backward_weight<D: Element, X: Element>(
    d_weight: &mut [f32],
    dy: &[D],
    x: &[X],
    inputs: usize,
    precision: Precision,
) {
    let (rows, outputs) = (x.len() / inputs, d_weight.len() / inputs);
    let dy = View::new(dy, rows, outputs).transposed();
    matmul(
        d_weight,
        true,
        1.0,
        dy,
        View::new(x, rows, inputs),
        precision,
        Threads::All,
    );
}

/// `db += Σ_rows dy`.
pub fn backward_bias(d_bias: &mut [f32], dy: &[f32]) {
    for row in dy.chunks_exact(d_bias.len()) {
        add_scaled(d_bias, 1.0, row);
    }
}
