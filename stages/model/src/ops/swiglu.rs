//! SwiGLU: `y = silu(g) ⊙ u`, with `silu(g) = g σ(g)`.
//!
//! Backward: `du = dy ⊙ silu(g)`, `dg = dy ⊙ u ⊙ σ(g) (1 + g (1 − σ(g)))`. The product `y` is
//! not saved: the backward pass writes it again on its way, for the gradient of the layer
//! that follows.

use rayon::prelude::*;

use super::vector::{sigmoid, vectorised};

const TASK: usize = 1 << 14;

/// `y = silu(gate) ⊙ up`.
pub fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
    (
        y.par_chunks_mut(TASK),
        gate.par_chunks(TASK),
        up.par_chunks(TASK),
    )
        .into_par_iter()
        .for_each(|(y, gate, up)| forward_chunk(y, gate, up));
}

/// Turns `gate` and `up` into their gradients, and `dy` into the product `y`.
pub fn backward(dy_to_y: &mut [f32], gate: &mut [f32], up: &mut [f32]) {
    (
        dy_to_y.par_chunks_mut(TASK),
        gate.par_chunks_mut(TASK),
        up.par_chunks_mut(TASK),
    )
        .into_par_iter()
        .for_each(|(dy, gate, up)| backward_chunk(dy, gate, up));
}

vectorised! {
    /// [`forward`] on the calling thread.
    pub fn forward_chunk(y: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = g * sigmoid(*g) * u;
        }
    }
}

vectorised! {
    fn backward_chunk(dy_to_y: &mut [f32], gate: &mut [f32], up: &mut [f32]) {
        for ((dy, g), u) in dy_to_y.iter_mut().zip(gate).zip(up) {
            let s = sigmoid(*g);
            let silu = *g * s;
            let (d, value) = (*dy, *u);
            *dy = silu * value;
            *u = d * silu;
            *g = d * value * s.mul_add(*g * (1.0 - s), s);
        }
    }
}
