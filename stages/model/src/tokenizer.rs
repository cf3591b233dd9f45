//! Text to token ids and back, through the `tokenizers` crate; and training of new ones.
//!
//! Used by every stage that meets text. Encoding never adds special tokens: prompt and
//! completion are encoded separately and their ids concatenated, so a boundary never depends
//! on what follows it.

mod stream;
mod train;

use std::path::Path;

use anyhow::{Result, anyhow};

pub use stream::TextStream;
pub use train::{SpecialTokens, train_byte_level_bpe};

/// A loaded `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same, reading the spelling of special tokens as plain text.
    ordinary: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The file is missing or is not a tokenizer.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&fs_err::read(path)?)
            .map_err(|error| error.context(format!("reading {}", path.display())))
    }

    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// The bytes are not a tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| anyhow!("not a tokenizer: {error}"))?;
        // Cutting and padding are the batch builder's business, whatever the file says.
        inner
            .with_truncation(None)
            .map_err(|error| anyhow!("{error}"))?;
        inner.with_padding(None);
        let mut ordinary = inner.clone();
        ordinary.set_encode_special_tokens(true);
        Ok(Self { inner, ordinary })
    }

    /// The ids of a text, without special tokens around it. Text that spells a special token,
    /// such as `<eos>`, becomes that token, as in transformers.
    ///
    /// # Errors
    /// The tokenizer's model cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|error| anyhow!("tokenising: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Tokenizer::encode`], but text that spells a special token stays text: for problem
    /// statements and programs, which must not be able to end a sequence.
    ///
    /// # Errors
    /// The tokenizer's model cannot express the text.
    pub fn encode_ordinary(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .ordinary
            .encode_fast(text, false)
            .map_err(|error| anyhow!("tokenising: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids; special tokens are left out when `skip_special`.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|error| anyhow!("decoding tokens: {error}"))
    }

    /// The id of a token given by its text.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// One more than the largest id; at most the rows of the model's embedding.
    pub fn id_bound(&self) -> usize {
        self.inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }
}
