//! Attention of one query over cached keys and values.
//!
//! Used by `decoder`, once per row and head. Scores are chains of multiply-adds over the head
//! width, values are added position by position in order: bits depend on the row alone.

use super::cache::Run;
use crate::ops::vector::{exp_in_place, max, scale, vectorised};

/// Keys met at once; capacities are multiples of it.
pub(super) const BLOCK: usize = 32;

/// `out = softmax(q Kᵀ / √D) V` for one head; `scores` is scratch.
pub(super) fn attend(out: &mut [f32], q: &[f32], runs: [Run; 2], scores: &mut Vec<f32>) {
    let total = runs[0].length + runs[1].length;
    if scores.len() < total + 2 * BLOCK {
        scores.resize(total + 2 * BLOCK, 0.0);
    }
    let scaling = 1.0 / (q.len() as f32).sqrt();
    let mut at = 0;
    for run in runs {
        score(&mut scores[at..], q, run, scaling);
        at += run.length;
    }
    let seen = &mut scores[..total];
    let largest = max(seen);
    let sum = exp_in_place(seen, largest);
    out.fill(0.0);
    let (before, own) = seen.split_at(runs[0].length);
    add_values(out, before, runs[0]);
    add_values(out, own, runs[1]);
    scale(out, 1.0 / sum);
}

vectorised! {
    /// Writes the scores of a run, and up to `BLOCK - 1` values after them.
    fn score(scores: &mut [f32], q: &[f32], run: Run<'_>, scaling: f32) {
        for (index, scores) in scores.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let first = index * BLOCK;
            if first >= run.length {
                break;
            }
            let mut sums = [0.0_f32; BLOCK];
            for (q, keys) in q.iter().zip(run.keys.chunks_exact(run.capacity)) {
                let keys: &[f32; BLOCK] = keys[first..].first_chunk().expect("capacities are multiples of BLOCK");
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = q.mul_add(*key, *sum);
                }
            }
            for (score, sum) in scores.iter_mut().zip(sums) {
                *score = sum * scaling;
            }
        }
    }
}

vectorised! {
    fn add_values(out: &mut [f32], weights: &[f32], run: Run<'_>) {
        let width = out.len();
        for (index, out) in out.chunks_mut(BLOCK).enumerate() {
            if let Some(out) = out.first_chunk_mut::<BLOCK>() {
                let mut sums = *out;
                for (weight, value) in weights.iter().zip(run.values.chunks_exact(width)) {
                    let value: &[f32; BLOCK] = value[index * BLOCK..].first_chunk().expect("a whole block of the head");
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum = weight.mul_add(*value, *sum);
                    }
                }
                *out = sums;
            } else {
                for (weight, value) in weights.iter().zip(run.values.chunks_exact(width)) {
                    for (out, value) in out.iter_mut().zip(&value[index * BLOCK..]) {
                        *out = weight.mul_add(*value, *out);
                    }
                }
            }
        }
    }
}
