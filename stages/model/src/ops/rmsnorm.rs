//! RMSNorm: `y = w ⊙ x r`, with `r = 1 / √(mean(x²) + eps)` per row.
//!
//! Backward, with `g = dy ⊙ w` and width `d`: `dx = r (g − x r² (g·x) / d)`, `dw += Σ_rows
//! dy ⊙ x r`. Only `r` is saved; `y` is computed again in the backward pass, which is cheaper
//! than keeping it.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::vector::{dot, vectorised};

/// Writes `y` `[rows, width]` and the reciprocal roots `[rows]`.
pub fn forward(y: &mut [f32], reciprocal: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    let task = ROWS_PER_TASK * width;
    (
        y.par_chunks_mut(task),
        reciprocal.par_chunks_mut(ROWS_PER_TASK),
        x.par_chunks(task),
    )
        .into_par_iter()
        .for_each(|(y, reciprocal, x)| {
            for ((y, r), x) in y
                .chunks_exact_mut(width)
                .zip(reciprocal)
                .zip(x.chunks_exact(width))
            {
                *r = reciprocal_root(x, eps);
                scale_row(y, x, weight, *r);
            }
        });
}

/// `1 / √(mean(x²) + eps)` of one row.
pub fn reciprocal_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// Writes `y` again from the saved reciprocal roots.
pub fn recompute(y: &mut [f32], reciprocal: &[f32], x: &[f32], weight: &[f32]) {
    let width = weight.len();
    let task = ROWS_PER_TASK * width;
    (
        y.par_chunks_mut(task),
        reciprocal.par_chunks(ROWS_PER_TASK),
        x.par_chunks(task),
    )
        .into_par_iter()
        .for_each(|(y, reciprocal, x)| {
            for ((y, r), x) in y
                .chunks_exact_mut(width)
                .zip(reciprocal)
                .zip(x.chunks_exact(width))
            {
                scale_row(y, x, weight, *r);
            }
        });
}

/// `dx += …` (the residual stream collects) and, unless frozen, `dw += …`.
pub fn backward(
    dx: &mut [f32],
    d_weight: Option<&mut [f32]>,
    dy: &[f32],
    reciprocal: &[f32],
    x: &[f32],
    weight: &[f32],
) {
    let width = weight.len();
    let task = ROWS_PER_TASK * width;
    let partial_sums: Vec<Vec<f32>> = (
        dx.par_chunks_mut(task),
        dy.par_chunks(task),
        reciprocal.par_chunks(ROWS_PER_TASK),
        x.par_chunks(task),
    )
        .into_par_iter()
        .map(|(dx, dy, reciprocal, x)| {
            let mut partial = vec![0.0; width];
            let rows = dx
                .chunks_exact_mut(width)
                .zip(dy.chunks_exact(width))
                .zip(x.chunks_exact(width));
            for (((dx, dy), x), &r) in rows.zip(reciprocal) {
                backward_row(dx, &mut partial, dy, x, weight, r);
            }
            partial
        })
        .collect();
    if let Some(d_weight) = d_weight {
        for partial in &partial_sums {
            for (sum, part) in d_weight.iter_mut().zip(partial) {
                *sum += part;
            }
        }
    }
}

vectorised! {
    /// `y = w ⊙ x r` for one row.
    pub fn scale_row(y: &mut [f32], x: &[f32], weight: &[f32], r: f32) {
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = w * (x * r);
        }
    }
}

vectorised! {
    fn backward_row(dx: &mut [f32], partial: &mut [f32], dy: &[f32], x: &[f32], weight: &[f32], r: f32) {
        let mut lanes = [0.0_f32; 16];
        for ((dy, x), w) in dy.chunks(16).zip(x.chunks(16)).zip(weight.chunks(16)) {
            for (lane, ((dy, x), w)) in lanes.iter_mut().zip(dy.iter().zip(x).zip(w)) {
                *lane = (dy * w).mul_add(*x, *lane);
            }
        }
        let along: f32 = lanes.iter().sum();
        let pull = along * r * r * r / x.len() as f32;
        for ((((dx, sum), dy), x), w) in dx.iter_mut().zip(partial).zip(dy).zip(x).zip(weight) {
            *dx += (dy * w).mul_add(r, -(x * pull));
            *sum = dy.mul_add(x * r, *sum);
        }
    }
}
