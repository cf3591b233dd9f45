//! Counts tokens the way the trainer will see them.
//!
//! Used by `mix` for the length filter and the table's token columns. It only counts; encoding
//! for training belongs to the `model` crate, which reads the same `tokenizer.json`.
//!
//! Promises: a prompt counts the beginning-of-sequence token if the tokenizer adds one, a
//! completion the end-of-sequence token that the trainer appends (see `prompt.rs`).

use std::path::Path;

use anyhow::{Result, anyhow};
use rayon::prelude::*;
use tokenizers::Tokenizer;

/// A loaded tokenizer that counts.
pub struct TokenCounter {
    tokenizer: Tokenizer,
    label: String,
    /// Special tokens the tokenizer puts before a text.
    before: u32,
}

impl TokenCounter {
    /// Loads `tokenizer.json` or the folder it lies in; `label` names it in messages.
    pub fn load(path: &Path, label: &str) -> Result<Self> {
        let file = if path.is_dir() {
            path.join("tokenizer.json")
        } else {
            path.to_owned()
        };
        let bytes = fs_err::read(&file)
            .map_err(|error| anyhow!("{label} has no readable tokenizer.json: {error}"))?;
        let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|error| {
            anyhow!(
                "{} ({label}) is not a tokenizer that can be read: {error}\n\
                 It should be the tokenizer.json that the Hugging Face `tokenizers` library \
                 writes; fetch it again or name another tokenizer.",
                file.display()
            )
        })?;
        let mut counter = Self {
            tokenizer,
            label: label.to_owned(),
            before: 0,
        };
        // What an empty text becomes is what is added to every text. Only a beginning is counted:
        // a tokenizer that adds an end as well would be told not to for prompts.
        counter.before = counter.encode("", true)?.min(1);
        Ok(counter)
    }

    /// Tokens of a prompt.
    pub fn prompt(&self, text: &str) -> Result<u32> {
        Ok(self.before + self.encode(text, false)?)
    }

    /// Tokens of a completion and its end.
    pub fn completion(&self, text: &str) -> Result<u32> {
        Ok(self.encode(text, false)? + 1)
    }

    /// Tokens of many completions, on all cores, in order.
    pub fn completions(&self, texts: &[String]) -> Result<Vec<u32>> {
        texts.par_iter().map(|text| self.completion(text)).collect()
    }

    fn encode(&self, text: &str, special: bool) -> Result<u32> {
        let encoding = self
            .tokenizer
            .encode_fast(text, special)
            .map_err(|error| anyhow!("{} cannot encode a text: {error}", self.label))?;
        Ok(encoding.len() as u32)
    }
}
