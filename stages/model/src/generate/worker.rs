//! One decoding thread: a batch of slots, refilled from the queue as sequences end.
//!
//! Called by `Decoder::generate`. Each slot holds one sequence and its own random stream.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::cache::Cache;
use super::decoder::{Decoder, Row, Scratch};
use super::queue::{Job, Queue};
use super::{Finish, Sample, Settings};
use crate::ops::vector::log_sum_exp;

struct Slot {
    sample: Sample,
    rng: ChaCha12Rng,
    cache: usize,
    prompt_tokens: usize,
}

/// Draws samples until the queue is empty; `done` receives each.
pub(super) fn run(decoder: &Decoder, queue: &Queue, settings: &Settings, done: &dyn Fn(Sample)) {
    let config = decoder.config();
    let vocab = config.vocab_size;
    let room = settings.max_tokens.min(config.max_positions);
    let mut scratch = Scratch::default();
    let mut caches: Vec<Cache> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut slots: Vec<Slot> = Vec::new();
    let (mut logits, mut rows, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        while slots.len() < settings.slots_per_thread {
            let Some(job) = queue.take() else { break };
            let prefix = Arc::clone(
                job.prefix
                    .get_or_init(|| Arc::new(decoder.prefill(job.prompt, &mut scratch))),
            );
            let cache = free.pop().unwrap_or_else(|| {
                caches.push(Cache::new(config, room));
                caches.len() - 1
            });
            let mut slot = Slot::new(&job, settings.seed, cache, prefix.tokens());
            match slot.extend(&prefix.logits, decoder, settings, &mut weights) {
                None => {
                    caches[cache].restart(prefix);
                    slots.push(slot);
                }
                Some(finish) => {
                    free.push(cache);
                    done(slot.finish(finish));
                }
            }
        }
        if slots.is_empty() || queue.is_closed() {
            return;
        }
        rows.clear();
        rows.extend(slots.iter().map(Slot::row));
        decoder.blocks(&rows, &mut caches, &mut scratch);
        decoder.logits(&mut logits, &mut scratch);
        let mut running = Vec::with_capacity(slots.len());
        for (mut slot, logits) in slots.into_iter().zip(logits.chunks_exact(vocab)) {
            match slot.extend(logits, decoder, settings, &mut weights) {
                None => running.push(slot),
                Some(finish) => {
                    free.push(slot.cache);
                    done(slot.finish(finish));
                }
            }
        }
        slots = running;
    }
}

impl Slot {
    fn new(job: &Job, seed: u64, cache: usize, prompt_tokens: usize) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("iota model sampling v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&(job.key.len() as u64).to_le_bytes());
        hasher.update(job.key.as_bytes());
        hasher.update(&(job.sample as u64).to_le_bytes());
        let sample = Sample {
            request: job.request,
            sample: job.sample,
            tokens: Vec::new(),
            log_probs: Vec::new(),
            finish: Finish::Length,
        };
        Self {
            sample,
            rng: ChaCha12Rng::from_seed(*hasher.finalize().as_bytes()),
            cache,
            prompt_tokens,
        }
    }

    /// The row of the newest token.
    fn row(&self) -> Row {
        let tokens = &self.sample.tokens;
        let id = tokens[tokens.len() - 1];
        Row {
            id,
            position: self.prompt_tokens + tokens.len() - 1,
            cache: self.cache,
        }
    }

    /// Draws the next token and says whether it was the last.
    fn extend(
        &mut self,
        logits: &[f32],
        decoder: &Decoder,
        settings: &Settings,
        weights: &mut Vec<f32>,
    ) -> Option<Finish> {
        // 53 random bits; one draw per token, also when greedy, so that the stream stays in step.
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let token = settings.sampling.choose(logits, uniform, weights);
        self.sample
            .log_probs
            .push(logits[token as usize] - log_sum_exp(logits));
        self.sample.tokens.push(token);
        let length = self.sample.tokens.len();
        if settings.stop_tokens.contains(&token) {
            Some(Finish::Stop)
        } else if length == settings.max_tokens
            || self.prompt_tokens + length == decoder.config().max_positions
        {
            Some(Finish::Length)
        } else {
            None
        }
    }

    fn finish(self, finish: Finish) -> Sample {
        Sample {
            finish,
            ..self.sample
        }
    }
}
