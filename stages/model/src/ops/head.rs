//! The language-model head: log-probabilities of given tokens, without ever holding the
//! logits of all tokens.
//!
//! `log p(y | h) = z_y − ln Σ_v e^{z_v}`, with `z = W h / temperature` (paper Eq. 1 and every
//! preference and policy loss start from it). Backward, given `g = dL/d log p`:
//! `dz = g (onehot(y) − softmax(z)) / temperature`, `dh = dz W`, `dW += dzᵀ h`. Only rows with
//! a target are computed, a chunk of them at a time; the backward pass computes the logits
//! again and therefore also yields the log-probabilities. An adapter on the head adds its low-rank
//! product to `W h`.

use rayon::prelude::*;

use super::low_rank::{self, LowRank};
use super::matmul::{Threads, View, matmul};
use super::vector::{add_scaled, exp_in_place, max, scale};
use crate::precision::Precision;

/// Logits held at once; 8 MiB.
const LOGITS: usize = 1 << 21;

/// Reused buffers of the head.
#[derive(Default)]
pub struct Buffers {
    hidden: Vec<f32>,
    logits: Vec<f32>,
    d_hidden: Vec<f32>,
    low_rank: low_rank::Buffers,
}

/// The head's weight and how logits are scaled.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// `[vocab, width]`; the embedding when tied.
    pub weight: &'a [f32],
    /// Width of a hidden state.
    pub width: usize,
    /// Logits are divided by it; 1 for the plain model.
    pub temperature: f32,
    /// What an adapter adds.
    pub low_rank: Option<LowRank<'a>>,
    /// What the products multiply.
    pub precision: Precision,
}

/// Where the head's gradients are added; `None` is frozen.
#[derive(Default)]
pub struct Gradients<'a> {
    /// Of the weight, `[vocab, width]`.
    pub weight: Option<&'a mut [f32]>,
    /// Of the adapter's `A`.
    pub a: Option<&'a mut [f32]>,
    /// Of the adapter's `B`.
    pub b: Option<&'a mut [f32]>,
}

impl Head<'_> {
    fn vocab(&self) -> usize {
        self.weight.len() / self.width
    }

    fn chunk(&self) -> usize {
        (LOGITS / self.vocab()).clamp(64, 1024)
    }

    /// The logits of all rows of `hidden` at once, undivided; for inspection.
    pub fn all_logits(&self, hidden: &[f32]) -> Vec<f32> {
        let mut logits = vec![0.0; hidden.len() / self.width * self.vocab()];
        let precision = self.precision;
        super::linear::forward(
            &mut logits,
            false,
            hidden,
            self.weight,
            self.width,
            precision,
        );
        if let Some(low_rank) = self.low_rank {
            let scratch = &mut low_rank::Buffers::default();
            low_rank.forward(&mut logits, hidden, scratch, precision);
        }
        logits
    }

    /// The adapter's part for the chunk of targets that starts at `row`: dropout counts targets.
    fn low_rank(&self, row: usize) -> Option<LowRank<'_>> {
        self.low_rank.map(|low_rank| low_rank.at_row(row))
    }

    /// Fills the buffers with the hidden states of a chunk and their logits.
    fn logits(
        &self,
        hidden: &[f32],
        chunk: &[(usize, u32)],
        first_row: usize,
        buffers: &mut Buffers,
    ) {
        let (width, vocab) = (self.width, self.vocab());
        buffers.hidden.resize(chunk.len() * width, 0.0);
        buffers.logits.resize(chunk.len() * vocab, 0.0);
        for (to, (row, _)) in buffers.hidden.chunks_exact_mut(width).zip(chunk) {
            to.copy_from_slice(&hidden[row * width..][..width]);
        }
        let states = View::new(&buffers.hidden, chunk.len(), width);
        let weight = View::new(self.weight, vocab, width).transposed();
        matmul(
            &mut buffers.logits,
            false,
            1.0 / self.temperature,
            states,
            weight,
            self.precision,
            Threads::All,
        );
        if let Some(low_rank) = self.low_rank(first_row) {
            let scale = low_rank.scale / self.temperature;
            LowRank { scale, ..low_rank }.forward(
                &mut buffers.logits,
                &buffers.hidden,
                &mut buffers.low_rank,
                self.precision,
            );
        }
    }

    /// Writes `log p(target)` for each `(row, target)`; `hidden` is `[tokens, width]`.
    pub fn forward(
        &self,
        log_probs: &mut [f32],
        hidden: &[f32],
        targets: &[(usize, u32)],
        buffers: &mut Buffers,
    ) {
        let chunk = self.chunk();
        for (index, (targets, log_probs)) in targets
            .chunks(chunk)
            .zip(log_probs.chunks_mut(chunk))
            .enumerate()
        {
            self.logits(hidden, targets, index * chunk, buffers);
            let rows = buffers.logits.par_chunks_exact_mut(self.vocab());
            rows.zip(targets)
                .zip(log_probs)
                .for_each(|((z, (_, target)), log_prob)| {
                    *log_prob = z[*target as usize] - super::vector::log_sum_exp(z);
                });
        }
    }

    /// Adds `dh` to the rows of `d_hidden`, and to the gradients that are asked for, given
    /// `dL/d log p` of each target; writes the log-probabilities again on the way.
    pub fn backward(
        &self,
        d_hidden: &mut [f32],
        mut gradients: Gradients,
        log_probs: &mut [f32],
        d_log_probs: &[f32],
        hidden: &[f32],
        targets: &[(usize, u32)],
        buffers: &mut Buffers,
    ) {
        let (width, vocab, chunk) = (self.width, self.vocab(), self.chunk());
        let chunks = targets
            .chunks(chunk)
            .zip(log_probs.chunks_mut(chunk))
            .zip(d_log_probs.chunks(chunk));
        for (index, ((targets, log_probs), d_log_probs)) in chunks.enumerate() {
            self.logits(hidden, targets, index * chunk, buffers);
            let rows = buffers.logits.par_chunks_exact_mut(vocab);
            rows.zip(targets).zip(log_probs).zip(d_log_probs).for_each(
                |(((z, (_, target)), log_prob), g)| {
                    let target = *target as usize;
                    let (largest, logit) = (max(z), z[target]);
                    let sum = exp_in_place(z, largest);
                    *log_prob = logit - (largest + sum.ln());
                    let g = g / self.temperature;
                    scale(z, -g / sum);
                    z[target] += g;
                },
            );
            buffers.d_hidden.resize(targets.len() * width, 0.0);
            let dz = View::new(&buffers.logits, targets.len(), vocab);
            matmul(
                &mut buffers.d_hidden,
                false,
                1.0,
                dz,
                View::new(self.weight, vocab, width),
                self.precision,
                Threads::All,
            );
            if let Some(low_rank) = self.low_rank(index * chunk) {
                let (dz, states) = (&buffers.logits, &buffers.hidden);
                let scratch = &mut buffers.low_rank;
                let precision = self.precision;
                low_rank.backward_input(&mut buffers.d_hidden, dz, scratch, precision);
                if let Some(d_a) = gradients.a.as_deref_mut() {
                    low_rank.backward_a(d_a, dz, states, scratch, precision);
                }
                if let Some(d_b) = gradients.b.as_deref_mut() {
                    low_rank.backward_b(d_b, dz, states, scratch, precision);
                }
            }
            for (from, (row, _)) in buffers.d_hidden.chunks_exact(width).zip(targets) {
                add_scaled(&mut d_hidden[row * width..][..width], 1.0, from);
            }
            if let Some(d_weight) = gradients.weight.as_deref_mut() {
                let states = View::new(&buffers.hidden, targets.len(), width);
                matmul(
                    d_weight,
                    true,
                    1.0,
                    dz.transposed(),
                    states,
                    self.precision,
                    Threads::All,
                );
            }
        }
    }
}
