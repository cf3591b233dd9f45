//! Causal attention with grouped queries over packed sequences.
//!
//! Per head and sequence: `S = Q Kᵀ / √D`, `P = softmax(S)` over keys `j <= i`, `O = P V`.
//! Backward: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ⊙ (dP − Δ)` with `Δ_i = dO_i · O_i`,
//! `dQ = dS K / √D`, `dK = dSᵀ Q / √D`. Scores exist for one block of queries of one head at
//! a time; kept between the passes is the log-sum-exp of each score row alone. All layouts
//! are head-major, `[heads, tokens, D]`. Tasks are (sequence, key-value head) pairs, each on
//! one thread from start to end, so no sum depends on the thread count.

use std::cell::Cell;

use rayon::prelude::*;

use super::matmul::{Packed, View};
use super::vector::{exp_in_place, max, scale, vectorised};
use crate::precision::{Element, Precision};

/// Queries handled at once; bounds the scores in memory to this many rows of one head.
const QUERY_BLOCK: usize = 48;

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
    fn part<T>(self, all: &[T], head: usize, sequence: usize, width: usize) -> &[T] {
        let tokens = self.bounds[self.bounds.len() - 1];
        let start = head * tokens + self.bounds[sequence];
        &all[start * width..][..(self.bounds[sequence + 1] - self.bounds[sequence]) * width]
    }
}

/// Space for one head of one sequence, reused by a thread.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    d_scores: Vec<f32>,
    keys: Packed,
    keys_transposed: Packed,
    values: Packed,
    queries: Packed,
    d_out: Packed,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Lends a thread's space for blocks of queries of a sequence of `tokens`; also says how long a
/// row of scores is there: not a power of two, whose rows would push each other out of the cache.
fn with_scratch(tokens: usize, work: impl FnOnce(&mut Scratch, usize)) {
    let stride = tokens.next_multiple_of(16) + 16;
    let mut scratch = SCRATCH.take();
    for scores in [&mut scratch.scores, &mut scratch.d_scores] {
        if scores.len() < QUERY_BLOCK * stride {
            scores.resize(QUERY_BLOCK * stride, 0.0);
        }
    }
    work(&mut scratch, stride);
    SCRATCH.set(scratch);
}

/// Writes `out` `[heads, tokens, D]` and the log-sum-exp of every score row `[heads, tokens]`
/// from `q` `[heads, tokens, D]` and `k`, `v` `[kv_heads, tokens, D]`.
pub fn forward<T: Element>(
    out: &mut [f32],
    log_sums: &mut [f32],
    q: &[T],
    k: &[T],
    v: &[T],
    shape: Shape,
    precision: Precision,
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
            forward_one(out, log_sums, q, k, v, dim, precision);
        });
}

fn forward_one<T: Element>(
    out: &mut [f32],
    log_sums: &mut [f32],
    q: &[T],
    k: &[T],
    v: &[T],
    dim: usize,
    precision: Precision,
) {
    let tokens = log_sums.len();
    let scaling = 1.0 / (dim as f32).sqrt();
    with_scratch(tokens, |scratch, stride| {
        let Scratch {
            scores,
            keys_transposed,
            values,
            ..
        } = scratch;
        keys_transposed.fill(View::new(k, tokens, dim).transposed(), precision);
        values.fill(View::new(v, tokens, dim), precision);
        for first in (0..tokens).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(tokens - first);
            let keys = first + rows;
            let q = View::new(&q[first * dim..], rows, dim);
            keys_transposed.product(scores, stride, keys, false, scaling, q);
            let mut sums = [0.0; QUERY_BLOCK];
            for (row, scores) in scores.chunks_mut(stride).take(rows).enumerate() {
                let (seen, hidden) = scores[..keys].split_at_mut(first + row + 1);
                let largest = max(seen);
                sums[row] = exp_in_place(seen, largest);
                hidden.fill(0.0);
                log_sums[first + row] = largest + sums[row].ln();
            }
            let out = &mut out[first * dim..][..rows * dim];
            let p = View::strided(scores, rows, keys, stride);
            values.product(out, dim, dim, false, 1.0, p);
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
pub struct Saved<'a, T> {
    /// `[heads, tokens, D]`.
    pub q: &'a [T],
    /// `[kv_heads, tokens, D]`.
    pub k: &'a [T],
    /// `[kv_heads, tokens, D]`.
    pub v: &'a [T],
    /// `[heads, tokens]`, as the forward pass wrote it.
    pub log_sums: &'a [f32],
}

/// Writes the gradients of `q`, `k` and `v`, given `d_out` `[heads, tokens, D]` and
/// `delta[h, i] = d_out_i · out_i` `[heads, tokens]`.
pub fn backward<T: Element>(
    gradients: Gradients,
    d_out: &[f32],
    delta: &[f32],
    saved: Saved<T>,
    shape: Shape,
    precision: Precision,
) {
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
            let tokens = dk.len() / dim;
            with_scratch(tokens, |scratch, stride| {
                let (k, v) = (View::new(k, tokens, dim), View::new(v, tokens, dim));
                scratch.keys.fill(k, precision);
                scratch.keys_transposed.fill(k.transposed(), precision);
                scratch.values.fill(v.transposed(), precision);
                for (index, dq) in dqs.into_iter().enumerate() {
                    let head = kv_head * group + index;
                    let one = One {
                        q: shape.part(saved.q, head, sequence, dim),
                        log_sums: shape.part(saved.log_sums, head, sequence, 1),
                        d_out: shape.part(d_out, head, sequence, dim),
                        delta: shape.part(delta, head, sequence, 1),
                        dim,
                        precision,
                    };
                    one.backward(dq, dk, dv, scratch, stride);
                }
            });
        });
}

/// One query head of one sequence.
struct One<'a, T> {
    q: &'a [T],
    log_sums: &'a [f32],
    d_out: &'a [f32],
    delta: &'a [f32],
    dim: usize,
    precision: Precision,
}

impl<T: Element> One<'_, T> {
    /// Writes `dq` and adds to `dk` and `dv`; keys and values are laid out in `scratch`.
    fn backward(
        &self,
        dq: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
        scratch: &mut Scratch,
        stride: usize,
    ) {
        let (tokens, dim) = (self.log_sums.len(), self.dim);
        let scaling = 1.0 / (dim as f32).sqrt();
        let Scratch {
            scores: p,
            d_scores: dp,
            keys: k,
            keys_transposed,
            values: values_transposed,
            queries,
            d_out: d_outs,
        } = scratch;
        for first in (0..tokens).step_by(QUERY_BLOCK) {
            let rows = QUERY_BLOCK.min(tokens - first);
            let keys = first + rows;
            let q = View::new(&self.q[first * dim..], rows, dim);
            let d_out = View::new(&self.d_out[first * dim..], rows, dim);
            keys_transposed.product(p, stride, keys, false, scaling, q);
            values_transposed.product(dp, stride, keys, false, 1.0, d_out);
            let both = p.chunks_mut(stride).zip(dp.chunks_mut(stride)).take(rows);
            for (row, (p, dp)) in both.enumerate() {
                let (seen, hidden) = p[..keys].split_at_mut(first + row + 1);
                let (d_seen, d_hidden) = dp[..keys].split_at_mut(first + row + 1);
                softmax_backward(
                    seen,
                    d_seen,
                    self.log_sums[first + row],
                    self.delta[first + row],
                );
                hidden.fill(0.0);
                d_hidden.fill(0.0);
            }
            let p = View::strided(p, rows, keys, stride);
            let ds = View::strided(dp, rows, keys, stride);
            queries.fill(q, self.precision);
            d_outs.fill(d_out, self.precision);
            d_outs.product(dv, dim, dim, true, 1.0, p.transposed());
            k.product(&mut dq[first * dim..], dim, dim, false, scaling, ds);
            queries.product(dk, dim, dim, true, scaling, ds.transposed());
        }
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
pub fn delta<T: Element>(
    delta: &mut [f32],
    d_out: &[f32],
    out: &[T],
    head_dim: usize,
    heads: usize,
) {
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
