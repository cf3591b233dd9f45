//! Causal attention with grouped queries over packed sequences.
//!
//! Per head and sequence: `S = Q Kᵀ / √D`, `P = softmax(S)` over keys `j <= i`, `O = P V`.
//! Backward: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ⊙ (dP − Δ)` with `Δ_i = dO_i · O_i`,
//! `dQ = dS K / √D`, `dK = dSᵀ Q / √D`. Scores exist for one block of queries of one head at
//! a time; kept between the passes is the log-sum-exp of each score row alone. All layouts
//! are head-major, `[heads, tokens, D]`. Tasks are (sequence, key-value head) pairs, each on
//! one thread from start to end, so no sum depends on the thread count.

use std::cell::RefCell;

use rayon::prelude::*;

use super::matmul::{Threads, View, matmul};
use super::vector::{exp_in_place, max, scale, vectorised};

/// Queries handled at once; bounds the scores in memory to this many rows of one head.
const QUERY_BLOCK: usize = 64;

/// Head counts, head width and sequence bounds of a packed batch.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; query head `h` reads key-value head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Sequence `s` occupies tokens `bounds[s]..bounds[s + 1]`.
    pub bounds: &'a [usize],
}

impl Shape<'_> {
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Cuts `[heads, tokens, width]` into one mutable slice per (head, sequence), heads outermost.
    fn cut(self, mut all: &mut [f32], heads: usize, width: usize) -> Vec<&mut [f32]> {
        let mut parts = Vec::with_capacity(heads * (self.bounds.len() - 1));
        for _ in 0..heads {
            for bound in self.bounds.windows(2) {
                let (part, rest) = all.split_at_mut((bound[1] - bound[0]) * width);
                parts.push(part);
                all = rest;
            }
        }
        parts
    }

    /// The part of `[heads, tokens, width]` that belongs to one head and sequence.
    fn part(self, all: &[f32], head: usize, sequence: usize, width: usize) -> &[f32] {
        let tokens = self.bounds[self.bounds.len() - 1];
        let start = head * tokens + self.bounds[sequence];
        &all[start * width..][..(self.bounds[sequence + 1] - self.bounds[sequence]) * width]
    }
}

thread_local! {
    static SCORES: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

fn with_scores<R>(length: usize, work: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    SCORES.with_borrow_mut(|[a, b]| {
        for buffer in [&mut *a, &mut *b] {
            if buffer.len() < length {
                buffer.resize(length, 0.0);
            }
        }
        work(a, b)
    })
}

/// Writes `out` `[heads, tokens, D]` and the log-sum-exp of every score row `[heads, tokens]`
/// from `q` `[heads, tokens, D]` and `k`, `v` `[kv_heads, tokens, D]`.
pub fn forward(
    out: &mut [f32],
    log_sums: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: Shape,
) {
    let (dim, sequences) = (shape.head_dim, shape.bounds.len() - 1);
    let outs = shape.cut(out, shape.heads, dim);
    let log_sums = shape.cut(log_sums, shape.heads, 1);
    outs.into_par_iter()
        .zip(log_sums)
        .enumerate()
        .for_each(|(task, (out, log_sums))| {
            let (head, sequence) = (task / sequences, task % sequences);
            let q = shape.part(q, head, sequence, dim);
            let k = shape.part(k, head / shape.group(), sequence, dim);
            let v = shape.part(v, head / shape.group(), sequence, dim);
            forward_one(out, log_sums, q, k, v, dim);
        });
}

fn forward_one(out: &mut [f32], log_sums: &mut [f32], q: &[f32], k: &[f32], v: &[f32], dim: usize) {
    let tokens = log_sums.len();
    with_scores(QUERY_BLOCK.min(tokens) * tokens, |scores, _| {
        for first in (0..tokens).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(tokens - first);
            let keys = first + rows;
            let q = View::new(&q[first * dim..], rows, dim);
            let scaling = 1.0 / (dim as f32).sqrt();
            matmul(
                scores,
                false,
                scaling,
                q,
                View::new(k, keys, dim).transposed(),
                Threads::One,
            );
            let mut sums = [0.0; QUERY_BLOCK];
            for (row, scores) in scores[..rows * keys].chunks_exact_mut(keys).enumerate() {
                let (seen, hidden) = scores.split_at_mut(first + row + 1);
                let largest = max(seen);
                sums[row] = exp_in_place(seen, largest);
                hidden.fill(0.0);
                log_sums[first + row] = largest + sums[row].ln();
            }
            let out = &mut out[first * dim..][..rows * dim];
            matmul(
                out,
                false,
                1.0,
                View::new(scores, rows, keys),
                View::new(v, keys, dim),
                Threads::One,
            );
            for (out, sum) in out.chunks_exact_mut(dim).zip(sums) {
                scale(out, 1.0 / sum);
            }
        }
    });
}

/// The gradients of one call; all are overwritten.
pub struct Gradients<'a> {
    /// `[heads, tokens, D]`.
    pub q: &'a mut [f32],
    /// `[kv_heads, tokens, D]`.
    pub k: &'a mut [f32],
    /// `[kv_heads, tokens, D]`.
    pub v: &'a mut [f32],
}

/// What the backward pass reads; head-major like the forward pass.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// `[heads, tokens, D]`.
    pub q: &'a [f32],
    /// `[kv_heads, tokens, D]`.
    pub k: &'a [f32],
    /// `[kv_heads, tokens, D]`.
    pub v: &'a [f32],
    /// `[heads, tokens]`, as the forward pass wrote it.
    pub log_sums: &'a [f32],
}

/// Writes the gradients of `q`, `k` and `v`, given `d_out` `[heads, tokens, D]` and
/// `delta[h, i] = d_out_i · out_i` `[heads, tokens]`.
pub fn backward(gradients: Gradients, d_out: &[f32], delta: &[f32], saved: Saved, shape: Shape) {
    let (dim, group, sequences) = (shape.head_dim, shape.group(), shape.bounds.len() - 1);
    let mut dqs: Vec<Option<&mut [f32]>> = shape
        .cut(gradients.q, shape.heads, dim)
        .into_iter()
        .map(Some)
        .collect();
    let dks = shape.cut(gradients.k, shape.kv_heads, dim);
    let dvs = shape.cut(gradients.v, shape.kv_heads, dim);
    // One task owns a key-value head of a sequence and the query heads that read it.
    let tasks: Vec<_> = dks
        .into_iter()
        .zip(dvs)
        .enumerate()
        .map(|(task, (dk, dv))| {
            let (kv_head, sequence) = (task / sequences, task % sequences);
            let heads = kv_head * group..(kv_head + 1) * group;
            let dqs: Vec<_> = heads
                .filter_map(|head| dqs[head * sequences + sequence].take())
                .collect();
            (kv_head, sequence, dqs, dk, dv)
        })
        .collect();
    tasks
        .into_par_iter()
        .for_each(|(kv_head, sequence, dqs, dk, dv)| {
            dk.fill(0.0);
            dv.fill(0.0);
            let k = shape.part(saved.k, kv_head, sequence, dim);
            let v = shape.part(saved.v, kv_head, sequence, dim);
            for (index, dq) in dqs.into_iter().enumerate() {
                let head = kv_head * group + index;
                let one = One {
                    q: shape.part(saved.q, head, sequence, dim),
                    k,
                    v,
                    log_sums: shape.part(saved.log_sums, head, sequence, 1),
                    d_out: shape.part(d_out, head, sequence, dim),
                    delta: shape.part(delta, head, sequence, 1),
                };
                one.backward(dq, dk, dv, dim);
            }
        });
}

struct One<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    log_sums: &'a [f32],
    d_out: &'a [f32],
    delta: &'a [f32],
}

impl One<'_> {
    fn backward(&self, dq: &mut [f32], dk: &mut [f32], dv: &mut [f32], dim: usize) {
        let tokens = self.log_sums.len();
        let scaling = 1.0 / (dim as f32).sqrt();
        with_scores(QUERY_BLOCK.min(tokens) * tokens, |p, dp| {
            for first in (0..tokens).step_by(QUERY_BLOCK) {
                let rows = QUERY_BLOCK.min(tokens - first);
                let keys = first + rows;
                let q = View::new(&self.q[first * dim..], rows, dim);
                let d_out = View::new(&self.d_out[first * dim..], rows, dim);
                let (k, v) = (View::new(self.k, keys, dim), View::new(self.v, keys, dim));
                matmul(p, false, scaling, q, k.transposed(), Threads::One);
                matmul(dp, false, 1.0, d_out, v.transposed(), Threads::One);
                for row in 0..rows {
                    let at = row * keys..(row + 1) * keys;
                    let seen = first + row + 1;
                    softmax_backward(
                        &mut p[at.clone()][..seen],
                        &mut dp[at.clone()][..seen],
                        self.log_sums[first + row],
                        self.delta[first + row],
                    );
                    p[at.clone()][seen..].fill(0.0);
                    dp[at][seen..].fill(0.0);
                }
                let (p, ds) = (View::new(p, rows, keys), View::new(dp, rows, keys));
                matmul(dv, true, 1.0, p.transposed(), d_out, Threads::One);
                matmul(&mut dq[first * dim..], false, scaling, ds, k, Threads::One);
                matmul(dk, true, scaling, ds.transposed(), q, Threads::One);
            }
        });
    }
}

vectorised! {
    /// Turns scores into probabilities and `dP` into `dS = P ⊙ (dP − Δ)`.
    fn softmax_backward(scores: &mut [f32], dp: &mut [f32], log_sum: f32, delta: f32) {
        for (s, d) in scores.iter_mut().zip(dp) {
            *s = super::vector::exp(*s - log_sum);
            *d = *s * (*d - delta);
        }
    }
}

/// `Δ`: the products `d_out_i · out_i` per head, from token-major `[tokens, heads D]` into
/// `[heads, tokens]`.
pub fn delta(delta: &mut [f32], d_out: &[f32], out: &[f32], head_dim: usize, heads: usize) {
    let tokens = delta.len() / heads;
    delta
        .par_chunks_mut(tokens)
        .enumerate()
        .for_each(|(head, delta)| {
            let at = head * head_dim..(head + 1) * head_dim;
            let rows = d_out
                .chunks_exact(heads * head_dim)
                .zip(out.chunks_exact(heads * head_dim));
            for (value, (d_out, out)) in delta.iter_mut().zip(rows) {
                *value = super::vector::dot(&d_out[at.clone()], &out[at.clone()]);
            }
        });
}
