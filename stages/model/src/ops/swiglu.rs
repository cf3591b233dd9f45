//! SwiGLU: `y = silu(g) ⊙ u`, with `silu(g) = g σ(g)`.
//!
//! Backward: `du = dy ⊙ silu(g)`, `dg = dy ⊙ u ⊙ σ(g) (1 + g (1 − σ(g)))`. The product `y` is
//! not saved: the backward pass writes it again on its way, for the gradient of the layer
//! that follows.

use rayon::prelude::*;

use super::vector::{sigmoid, vectorised};
use crate::precision::Element;

const TASK: usize = 1 << 14;

/// `y = silu(gate) ⊙ up`.
pub fn forward<T: Element>(y: &mut [f32], gate: &[T], up: &[T]) {
    (
        y.par_chunks_mut(TASK),
        gate.par_chunks(TASK),
        up.par_chunks(TASK),
    )
        .into_par_iter()
        .for_each(|(y, gate, up)| forward_chunk(y, gate, up));
}

/// Turns `gate` and `up` into their gradients, and `dy` into the product `y`.
pub fn backward<T: Element>(dy_to_y: &mut [f32], gate: &mut [T], up: &mut [T]) {
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
    pub fn forward_chunk<T: Element>(y: &mut [f32], gate: &[T], up: &[T]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            let g = g.widen();
            *y = g * sigmoid(g) * u.widen();
        }
    }
}

vectorised! {
    fn backward_chunk<T: Element>(dy_to_y: &mut [f32], gate: &mut [T], up: &mut [T]) {
        for ((dy, g), u) in dy_to_y.iter_mut().zip(gate).zip(up) {
            let (d, gate, value) = (*dy, g.widen(), u.widen());
            let s = sigmoid(gate);
            let silu = gate * s;
            *dy = silu * value;
            *u = T::narrow(d * silu);
            *g = T::narrow(d * value * s.mul_add(gate * (1.0 - s), s));
        }
    }
}
