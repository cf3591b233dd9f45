//! Attention of one query over the pages of its sequence.
//!
//! Used by `decoder`, once per row and head. Scores are chains of multiply-adds over the head
//! width, values are added position by position in order: bits depend on the row alone.

use super::cache::{Cache, Place};
use super::numbers::{Brief, Kept};
use super::page::PAGE;
use crate::ops::vector::{exp_in_place, max, scale, vectorised};

/// Values added at once: four AVX registers of sums.
const BLOCK: usize = 32;

/// `out = softmax(q Kᵀ / √D) V` over positions `0..length` for one head; `scores` is scratch.
pub(super) fn attend(
    out: &mut [f32],
    q: &[f32],
    cache: &Cache,
    place: Place,
    length: usize,
    scores: &mut Vec<f32>,
) {
    scores.resize(length.next_multiple_of(PAGE), 0.0);
    let scaling = 1.0 / (q.len() as f32).sqrt();
    let brief = cache.is_brief();
    for ((page, _), scores) in cache.pages(length).zip(scores.as_chunks_mut::<PAGE>().0) {
        if brief {
            score_brief(scores, q, place.of(page).0, scaling);
        } else {
            score_full(scores, q, place.of(page).0, scaling);
        }
    }
    let seen = &mut scores[..length];
    let largest = max(seen);
    let sum = exp_in_place(seen, largest);
    out.fill(0.0);
    for ((page, _), weights) in cache.pages(length).zip(seen.chunks(PAGE)) {
        if brief {
            add_brief(out, weights, place.of(page).1);
        } else {
            add_full(out, weights, place.of(page).1);
        }
    }
    scale(out, 1.0 / sum);
}

vectorised! {
    fn score_full(scores: &mut [f32; PAGE], q: &[f32], keys: &[f32], scaling: f32) {
        score(scores, q, keys, scaling);
    }
}
vectorised! {
    fn score_brief(scores: &mut [f32; PAGE], q: &[f32], keys: &[Brief], scaling: f32) {
        score(scores, q, keys, scaling);
    }
}
vectorised! {
    fn add_full(out: &mut [f32], weights: &[f32], values: &[f32]) {
        add(out, weights, values);
    }
}
vectorised! {
    fn add_brief(out: &mut [f32], weights: &[f32], values: &[Brief]) {
        add(out, weights, values);
    }
}

/// Writes the scores of a page's positions, those not in use too.
#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
fn score<K: Kept>(scores: &mut [f32; PAGE], q: &[f32], keys: &[K], scaling: f32) {
    let mut sums = [0.0_f32; PAGE];
    for (q, keys) in q.iter().zip(keys.as_chunks::<PAGE>().0) {
        for (sum, key) in sums.iter_mut().zip(keys) {
            *sum = q.mul_add(key.get(), *sum);
        }
    }
    for (score, sum) in scores.iter_mut().zip(sums) {
        *score = sum * scaling;
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
fn add<K: Kept>(out: &mut [f32], weights: &[f32], values: &[K]) {
    let width = out.len();
    for (index, out) in out.chunks_mut(BLOCK).enumerate() {
        let rows = weights.iter().zip(values.chunks_exact(width));
        let rows = rows.map(|(weight, values)| (weight, &values[index * BLOCK..]));
        if let Some(out) = out.first_chunk_mut::<BLOCK>() {
            let mut sums = *out;
            for (weight, values) in rows {
                let values: &[K; BLOCK] = values.first_chunk().expect("a whole block of the head");
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = weight.mul_add(value.get(), *sum);
                }
            }
            *out = sums;
        } else {
            for (weight, values) in rows {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = weight.mul_add(value.get(), *out);
                }
            }
        }
    }
}
