//! One sequence that is being drawn: its tokens, its random stream, its keys and values.
//!
//! Used by `worker`. Which token comes next is a function of the logits, the settings, and the
//! place in a stream that is keyed by (seed, key of the request, sample): of nothing beside it.

use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::cache::Cache;
use super::decoder::Row;
use super::queue::{Group, Job};
use super::{Finish, Sample};
use crate::config::Config;
use crate::ops::vector::log_sum_exp;
use crate::tokenizer::TextStream;

/// A sequence.
pub(super) struct Slot<T> {
    pub(super) group: Arc<Group<T>>,
    pub(super) sample: Sample,
    pub(super) cache: Cache,
    /// Positions whose keys and values are there.
    pub(super) filled: usize,
    rng: ChaCha12Rng,
    /// Where a device keeps how it is sampled, while it runs there.
    #[cfg(feature = "device")]
    pub(super) seat: Option<super::device::Seat>,
    #[cfg(feature = "device")]
    key: [u8; 32],
    /// Text so far, if a stop string is looked for.
    text: Option<TextStream>,
    /// Distinct tokens so far, prompt included, if repetition is penalised.
    occurred: std::collections::BTreeSet<u32>,
}

impl<T> Slot<T> {
    /// A sequence that goes on from its prompt, whose keys and values are in `cache`.
    pub(super) fn new(job: Job<T>, cache: Cache) -> Self {
        let task = &job.group.task;
        let (request, settings) = (&task.request, &task.settings);
        let mut hasher = blake3::Hasher::new_derive_key("iota model sampling v1");
        hasher.update(&settings.seed.to_le_bytes());
        hasher.update(&(request.key.len() as u64).to_le_bytes());
        hasher.update(request.key.as_bytes());
        hasher.update(&(job.sample as u64).to_le_bytes());
        let sample = Sample {
            request: job.group.index,
            sample: job.sample,
            tokens: Vec::new(),
            log_probs: Vec::new(),
            processed_log_probs: Vec::new(),
            finish: Finish::Length,
            text_end: None,
        };
        let occurred = if settings.sampling.penalises() {
            request.prompt.iter().copied().collect()
        } else {
            std::collections::BTreeSet::new()
        };
        Self {
            sample,
            cache,
            filled: request.prompt.len(),
            rng: ChaCha12Rng::from_seed(*hasher.finalize().as_bytes()),
            #[cfg(feature = "device")]
            seat: None,
            #[cfg(feature = "device")]
            key: *hasher.finalize().as_bytes(),
            text: (!settings.stop_strings.is_empty()).then(TextStream::default),
            occurred,
            group: job.group,
        }
    }

    fn prompt(&self) -> &[u32] {
        &self.group.task.request.prompt
    }

    /// Positions that have a token.
    pub(super) fn length(&self) -> usize {
        self.prompt().len() + self.sample.tokens.len()
    }

    /// Rows of the tokens at positions from `filled` on, `most` at most.
    pub(super) fn rows(&self, cache: usize, most: usize) -> impl Iterator<Item = Row> {
        let positions = self.filled..self.length().min(self.filled + most);
        positions.map(move |position| {
            let prompt = self.prompt();
            let id = match prompt.get(position) {
                Some(id) => *id,
                None => self.sample.tokens[position - prompt.len()],
            };
            Row {
                id,
                position,
                cache,
            }
        })
    }

    /// Draws the next token and says whether it was the last.
    pub(super) fn extend(
        &mut self,
        logits: &mut [f32],
        config: &Config,
        weights: &mut Vec<f32>,
    ) -> Option<Finish> {
        let group = Arc::clone(&self.group);
        let settings = &group.task.settings;
        // 53 random bits; one draw per token, also when greedy, so that the stream stays in step.
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let total = log_sum_exp(logits);
        let raw = |token: u32, logits: &[f32]| logits[token as usize] - total;
        let sampling = settings.sampling;
        let (token, log_prob, processed) = if sampling.penalises() {
            let plain = logits.to_vec();
            sampling.penalise(logits, self.occurred.iter().copied());
            let (token, processed) = sampling.choose(logits, uniform, weights);
            self.occurred.insert(token);
            (token, raw(token, &plain), processed)
        } else {
            let (token, processed) = sampling.choose(logits, uniform, weights);
            (token, raw(token, logits), processed)
        };
        self.accept(token, log_prob, processed, config)
    }

    /// How a device draws the tokens from here on, and which have occurred if that matters.
    #[cfg(feature = "device")]
    pub(super) fn to_be_drawn(&self) -> (gpu::ops::sampling::Settings, Vec<u32>) {
        let sampling = self.group.task.settings.sampling;
        let mut occurred: Vec<u32> = Vec::new();
        if sampling.penalises() {
            occurred.extend(self.prompt());
            occurred.extend(&self.sample.tokens);
        }
        let settings = gpu::ops::sampling::Settings {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            key: self.key,
            drawn: self.sample.tokens.len() as u64,
        };
        (settings, occurred)
    }

    /// Appends a token that was drawn and says whether it was the last.
    pub(super) fn accept(
        &mut self,
        token: u32,
        log_prob: f32,
        processed: f32,
        config: &Config,
    ) -> Option<Finish> {
        let group = Arc::clone(&self.group);
        let settings = &group.task.settings;
        self.sample.log_probs.push(log_prob);
        self.sample.processed_log_probs.push(processed);
        self.sample.tokens.push(token);
        if settings.stop_tokens.contains(&token) {
            return Some(Finish::Stop);
        }
        if let (Some(text), Some(tokenizer)) = (&mut self.text, &settings.tokenizer) {
            self.sample.text_end = text.find(tokenizer, token, &settings.stop_strings);
            if self.sample.text_end.is_some() {
                return Some(Finish::StopString);
            }
        }
        let full = self.length() == config.max_positions;
        (full || self.sample.tokens.len() == settings.max_tokens).then_some(Finish::Length)
    }
}
