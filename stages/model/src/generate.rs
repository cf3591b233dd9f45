//! Sampling token sequences from a network: prompts prefilled once, many samples each.
//!
//! Called by the judge's sampling and by PPO rollouts. Every thread runs its own batch of
//! slots over a shared queue and refills a slot as soon as its sequence ends; the keys and
//! values of a prompt are computed once and shared by its samples. A sample is a function of
//! weights, prompt, settings, `seed`, request key and sample index alone: random draws come
//! from a stream keyed by these, and the arithmetic of a row does not depend on the rows
//! beside it (see `packed`), so batch size, thread count and order change nothing.

mod attend;
mod cache;
mod decoder;
mod packed;
mod queue;
mod sampling;
mod worker;

use std::ops::ControlFlow;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use rayon::prelude::*;

pub use decoder::Decoder;
pub use sampling::Sampling;

use queue::Queue;

/// A prompt and how many samples are wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the random stream is keyed by, such as the problem's identifier.
    pub key: String,
    /// The prompt; not empty.
    pub prompt: Vec<u32>,
    /// Number of samples.
    pub samples: usize,
    /// Index of the first sample: 10 with `samples` 5 draws samples 10 to 14, so that a long
    /// job can be cut anywhere.
    pub first_sample: usize,
}

/// How to sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The distribution.
    pub sampling: Sampling,
    /// Most tokens of a completion; the model's positions bound it as well.
    pub max_tokens: usize,
    /// Tokens that end a completion, usually the end-of-sequence tokens.
    pub stop_tokens: Vec<u32>,
    /// Key of all random streams.
    pub seed: u64,
    /// Sequences each thread decodes side by side; changes speed and memory, never a token.
    pub slots_per_thread: usize,
}

impl Settings {
    /// Plain sampling at temperature 1 with 24 slots per thread.
    pub fn new(max_tokens: usize, stop_tokens: &[u32], seed: u64) -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens,
            stop_tokens: stop_tokens.to_vec(),
            seed,
            slots_per_thread: 24,
        }
    }
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn; it is the last token.
    Stop,
    /// `max_tokens` or the model's positions were reached.
    Length,
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Index of the request.
    pub request: usize,
    /// Index of the sample; `first_sample` is the lowest.
    pub sample: usize,
    /// The completion's tokens, with the stop token if one was drawn.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the model itself: temperature 1, nothing cut.
    pub log_probs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

impl Decoder {
    /// Draws every sample of every request, in order of (request, sample). `observe` sees each
    /// as it finishes, in no fixed order and from several threads; when it breaks, the others are
    /// given up and the samples finished so far are returned.
    ///
    /// # Errors
    /// A prompt is empty, longer than the model's positions, or has an unknown token; a
    /// setting is out of range; the model's probabilities are not numbers.
    pub fn generate(
        &self,
        requests: &[Request],
        settings: &Settings,
        observe: &(dyn Fn(&Sample) -> ControlFlow<()> + Sync),
    ) -> Result<Vec<Sample>> {
        settings.sampling.validate()?;
        ensure!(
            settings.max_tokens > 0,
            "max_tokens is 0: nothing to sample"
        );
        ensure!(settings.slots_per_thread > 0, "slots_per_thread is 0");
        for request in requests {
            let (config, key) = (self.config(), &request.key);
            ensure!(!request.prompt.is_empty(), "the prompt of {key} is empty");
            ensure!(
                request.prompt.len() < config.max_positions,
                "the prompt of {key} has {} tokens and the model {} positions: cut the prompt",
                request.prompt.len(),
                config.max_positions
            );
            if let Some(id) = request
                .prompt
                .iter()
                .find(|&&id| id as usize >= config.vocab_size)
            {
                anyhow::bail!(
                    "the prompt of {key} has token {id}: the tokenizer is not the model's"
                );
            }
        }
        let queue = Queue::new(requests);
        let finished = Mutex::new(Vec::new());
        (0..rayon::current_num_threads())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|_| {
                worker::run(self, &queue, settings, &|sample| {
                    if observe(&sample).is_break() {
                        queue.close();
                    }
                    finished
                        .lock()
                        .expect("no thread panics while pushing")
                        .push(sample);
                });
            });
        let mut samples = finished
            .into_inner()
            .expect("no thread panicked while pushing");
        samples.sort_by_key(|sample| (sample.request, sample.sample));
        for sample in &samples {
            ensure!(
                sample.log_probs.iter().all(|log_prob| log_prob.is_finite()),
                "sampling {}: the model's probabilities are not numbers; its training diverged",
                requests[sample.request].key
            );
        }
        Ok(samples)
    }
}
