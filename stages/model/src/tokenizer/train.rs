//! Training a byte-level BPE tokenizer on texts.
//!
//! Called by stage `tokenizer`. Every byte is in the alphabet, so no text is unknown and
//! decoding gives back the exact text. Digits are split one by one, as DeepSeek-Coder does.
//! Special tokens have the lowest ids, in the order given. The same texts in the same order
//! give the same bytes.

use anyhow::{Result, anyhow, ensure};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

/// The texts of the special tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Padding, id 0; never in the loss.
    pub pad: String,
    /// Beginning of a sequence, id 1.
    pub bos: String,
    /// End of a sequence, id 2.
    pub eos: String,
}

impl Default for SpecialTokens {
    /// `<pad>`, `<bos>`, `<eos>`.
    fn default() -> Self {
        Self {
            pad: "<pad>".into(),
            bos: "<bos>".into(),
            eos: "<eos>".into(),
        }
    }
}

impl SpecialTokens {
    /// The text of the `tokenizer_config.json` with which transformers loads the tokenizer.
    pub fn config_json(&self, max_positions: usize) -> String {
        let value = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": self.pad,
            "bos_token": self.bos,
            "eos_token": self.eos,
            "model_max_length": max_positions,
            "clean_up_tokenization_spaces": false,
        });
        format!("{value:#}\n")
    }
}

/// Trains on `texts` and returns the bytes of a `tokenizer.json` with at most `vocab_size`
/// entries (fewer when the texts have fewer repeated pairs).
///
/// # Errors
/// `vocab_size` is too small for the 256 bytes and the special tokens.
pub fn train_byte_level_bpe<T: AsRef<str> + Send>(
    texts: impl Iterator<Item = T> + Send,
    vocab_size: usize,
    special: &SpecialTokens,
) -> Result<Vec<u8>> {
    let specials = [&special.pad, &special.bos, &special.eos];
    let least = 256 + specials.len();
    ensure!(
        vocab_size >= least,
        "a byte-level vocabulary has at least {least} entries (256 bytes, {} special tokens), not {vocab_size}",
        specials.len()
    );
    let byte_level = ByteLevel::new(false, true, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(byte_level),
        ])))
        .with_decoder(Some(byte_level));
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(
            specials
                .map(|text| AddedToken::from(text.as_str(), true))
                .to_vec(),
        )
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer
        .train(&mut trainer, texts)
        .map_err(|error| anyhow!("training the tokenizer: {error}"))?;
    let text = tokenizer
        .to_string(true)
        .map_err(|error| anyhow!("writing the tokenizer: {error}"))?;
    Ok(text.into_bytes())
}
