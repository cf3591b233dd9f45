//! Rotary positions: each pair `(x_i, x_{i + D/2})` of a head turns by the angle `p f_i`.
//!
//! `f_i = theta^(−2i/D)`, stretched as `RopeScaling` says; frequencies and angles are rounded
//! to f32 where transformers rounds them. The backward pass is the turn by the opposite
//! angle. Both also move between the token-major layout of the projections `[tokens, heads D]`
//! and the head-major layout of attention `[heads, tokens, D]`, so no extra copy is made.

use rayon::prelude::*;

use crate::config::{Config, RopeScaling};
use crate::precision::Element;

/// Cosines and sines of every position, `[positions, D / 2]` each.
pub struct Table {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Table {
    /// The table of a configuration up to its longest sequence.
    pub fn new(config: &Config) -> Self {
        let frequencies = frequencies(config);
        let angles = (0..config.max_positions)
            .flat_map(|position| frequencies.iter().map(move |f| f * position as f32));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self {
            half: frequencies.len(),
            cos,
            sin,
        }
    }

    /// Values of a position, cosines and sines.
    #[cfg(feature = "device")]
    pub(crate) fn parts(&self) -> (usize, &[f32], &[f32]) {
        (self.half, &self.cos, &self.sin)
    }

    /// Writes one head, turned; `direction` is 1 forward and −1 backward.
    fn turn_into<T: Element>(&self, out: &mut [T], head: &[f32], position: usize, direction: f32) {
        let at = position * self.half;
        let (cos, sin) = (&self.cos[at..at + self.half], &self.sin[at..at + self.half]);
        let (low, high) = head.split_at(self.half);
        let (low_out, high_out) = out.split_at_mut(self.half);
        let out = low_out.iter_mut().zip(high_out);
        for ((((low_out, high_out), (a, b)), c), s) in
            out.zip(low.iter().zip(high)).zip(cos).zip(sin)
        {
            let s = s * direction;
            *low_out = T::narrow(a * c - b * s);
            *high_out = T::narrow(b * c + a * s);
        }
    }

    /// Turns one head in place; `direction` is 1 forward and −1 backward.
    pub fn turn(&self, head: &mut [f32], position: usize, direction: f32) {
        let at = position * self.half;
        let (cos, sin) = (&self.cos[at..at + self.half], &self.sin[at..at + self.half]);
        let (low, high) = head.split_at_mut(self.half);
        for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            let s = s * direction;
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

/// The frequencies in radians per token, rounded as transformers rounds them.
pub(crate) fn frequencies(config: &Config) -> Vec<f32> {
    let dim = config.head_dim as f32;
    let base = (0..config.head_dim / 2)
        .map(|i| 1.0 / (config.rope_theta as f32).powf((2 * i) as f32 / dim));
    match config.rope_scaling {
        RopeScaling::None => base.collect(),
        RopeScaling::Linear { factor } => base.map(|f| f / factor as f32).collect(),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => base
            .map(|f| {
                let wavelength = std::f32::consts::TAU / f;
                let smooth = (original_max_positions as f32 / wavelength - low_freq_factor as f32)
                    / (high_freq_factor - low_freq_factor) as f32;
                if f64::from(wavelength) > original_max_positions / low_freq_factor {
                    f / factor as f32
                } else if f64::from(wavelength) < original_max_positions / high_freq_factor {
                    f
                } else {
                    (1.0 - smooth) * f / factor as f32 + smooth * f
                }
            })
            .collect(),
    }
}

/// Moves `[tokens, heads D]` to `[heads, tokens, D]`, turning by `positions` if a table is given.
pub fn split_heads<T: Element>(
    out: &mut [T],
    x: &[f32],
    heads: usize,
    head_dim: usize,
    rotation: Option<(&Table, &[u32])>,
) {
    let tokens = x.len() / (heads * head_dim);
    out.par_chunks_mut(tokens * head_dim)
        .enumerate()
        .for_each(|(head, out)| {
            let rows = x
                .chunks_exact(heads * head_dim)
                .map(|row| &row[head * head_dim..][..head_dim]);
            for (token, (out, row)) in out.chunks_exact_mut(head_dim).zip(rows).enumerate() {
                place(out, row, rotation, token, 1.0);
            }
        });
}

/// Moves `[heads, tokens, D]` to `[tokens, heads D]`, turning back by `positions` if a table is
/// given.
pub fn merge_heads<T: Element>(
    out: &mut [T],
    x: &[f32],
    heads: usize,
    head_dim: usize,
    rotation: Option<(&Table, &[u32])>,
) {
    let tokens = x.len() / (heads * head_dim);
    out.par_chunks_mut(heads * head_dim)
        .enumerate()
        .with_min_len(super::ROWS_PER_TASK)
        .for_each(|(token, out)| {
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let row = &x[(head * tokens + token) * head_dim..][..head_dim];
                place(out, row, rotation, token, -1.0);
            }
        });
}

/// Copies one head of one token, turned if a table is given.
fn place<T: Element>(
    out: &mut [T],
    row: &[f32],
    rotation: Option<(&Table, &[u32])>,
    token: usize,
    direction: f32,
) {
    if let Some((table, positions)) = rotation {
        table.turn_into(out, row, positions[token] as usize, direction);
    } else {
        for (out, value) in out.iter_mut().zip(row) {
            *out = T::narrow(*value);
        }
    }
}
