//! How to sample, and with how much memory; and whether a request can be asked at all.
//!
//! Used by everybody who samples.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use super::{Decoder, Request, Sampling};
use crate::tokenizer::Tokenizer;

/// How to sample.
#[derive(Clone)]
pub struct Settings {
    /// The distribution.
    pub sampling: Sampling,
    /// Most tokens of a completion; the model's positions bound it as well.
    pub max_tokens: usize,
    /// Tokens that end a completion, usually the end-of-sequence tokens.
    pub stop_tokens: Vec<u32>,
    /// Texts that end a completion.
    pub stop_strings: Vec<String>,
    /// Reads the text in which stop strings are looked for.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Key of all random streams.
    pub seed: u64,
}

/// What sampling may use; changes speed and memory, never a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sequences each thread decodes side by side.
    pub slots_per_thread: usize,
    /// Bytes of keys and values of all threads together; a thread's last sequence may exceed it.
    pub cache_bytes: usize,
}

impl Default for Limits {
    /// 32 sequences a thread, 2 GiB.
    fn default() -> Self {
        Self {
            slots_per_thread: 32,
            cache_bytes: 2 << 30,
        }
    }
}

impl Settings {
    /// Plain sampling at temperature 1.
    pub fn new(max_tokens: usize, stop_tokens: &[u32], seed: u64) -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens,
            stop_tokens: stop_tokens.to_vec(),
            stop_strings: Vec::new(),
            tokenizer: None,
            seed,
        }
    }
}

impl Decoder {
    /// Checks what is asked against the model.
    ///
    /// # Errors
    /// The prompt is empty, as long as the model's positions or longer, or has an unknown token;
    /// a setting is out of range; there is no such adapter.
    pub fn check(&self, request: &Request, settings: &Settings) -> Result<()> {
        settings.sampling.validate()?;
        ensure!(
            settings.max_tokens > 0,
            "max_tokens is 0: nothing to sample"
        );
        ensure!(
            settings.stop_strings.is_empty() || settings.tokenizer.is_some(),
            "stop strings are looked for in text: there has to be a tokenizer"
        );
        ensure!(
            settings.stop_strings.iter().all(|text| !text.is_empty()),
            "a stop string is empty: it would end every completion before it begins"
        );
        let (config, key) = (self.config(), &request.key);
        ensure!(!request.prompt.is_empty(), "the prompt of {key} is empty");
        ensure!(
            request.prompt.len() < config.max_positions,
            "the prompt of {key} has {} tokens and the model {} positions: cut the prompt",
            request.prompt.len(),
            config.max_positions
        );
        let unknown = |id: &&u32| **id as usize >= config.vocab_size;
        if let Some(id) = request.prompt.iter().find(unknown) {
            bail!("the prompt of {key} has token {id}: the tokenizer is not the model's");
        }
        if let Some(adapter) = request.adapter {
            ensure!(
                adapter < self.adapters().len(),
                "{key} asks for adapter {adapter} of {}",
                self.adapters().len()
            );
        }
        Ok(())
    }
}
