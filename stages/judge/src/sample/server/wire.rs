//! The request as JSON, and the answer checked against it.
//!
//! Used by `server`. Every parameter is sent, so that a server's defaults (such as those in a
//! model's `generation_config.json`) decide nothing. An answer has to bring token ids of the
//! model's vocabulary, the number of samples that was asked for, and the prompt it was given.

use super::super::What;
use super::super::asking::{Answer, Ask, Asking};
use super::board::Chunk;
use anyhow::{Context as _, Result, bail, ensure};
use model::generate::Finish;
use serde::Deserialize;
use serde_json::{Value, json};

/// Requests of one run.
pub(super) struct Wire {
    pub(super) model: String,
    what: What,
    seed: u64,
    stop_tokens: Vec<u32>,
    positions: usize,
    vocabulary: usize,
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    index: u64,
    token_ids: Option<Vec<u32>>,
    prompt_token_ids: Option<Vec<u32>>,
    logprobs: Option<LogProbs>,
    finish_reason: Option<String>,
    stop_reason: Option<Value>,
}

#[derive(Deserialize)]
struct LogProbs {
    token_logprobs: Vec<Option<f64>>,
}

impl Wire {
    pub(super) fn new(what: &What, asking: &Asking, model: String, seed: u64) -> Self {
        Self {
            model,
            what: what.clone(),
            seed,
            stop_tokens: asking.config.eos_tokens.clone(),
            positions: asking.config.max_positions,
            vocabulary: asking.config.vocab_size,
        }
    }

    pub(super) fn request(&self, ask: &Ask<'_>, chunk: Chunk) -> Value {
        let what = &self.what;
        json!({
            "model": self.model,
            "prompt": ask.prompt,
            "n": chunk.samples,
            "seed": base(self.seed, &ask.unit.key()) + chunk.first,
            "max_tokens": self.most_tokens(ask),
            "temperature": what.temperature,
            "top_p": what.top_p,
            "top_k": what.top_k,
            "min_p": what.min_p,
            "repetition_penalty": what.repetition_penalty,
            "stop": what.stop,
            "stop_token_ids": self.stop_tokens,
            "logprobs": 1,
            "return_token_ids": true,
            "stream": false,
        })
    }

    fn most_tokens(&self, ask: &Ask<'_>) -> usize {
        (self.what.max_new_tokens as usize).min(self.positions - ask.prompt.len())
    }

    /// The samples of an answer, in order.
    pub(super) fn answers(&self, text: &str, ask: &Ask<'_>, chunk: Chunk) -> Result<Vec<Answer>> {
        let reply: Reply = serde_json::from_str(text).context(
            "it answers something else than a completion: is it an OpenAI-compatible server?",
        )?;
        let mut choices = reply.choices;
        choices.sort_by_key(|choice| choice.index);
        let found: Vec<u64> = choices.iter().map(|choice| choice.index).collect();
        ensure!(
            found.iter().copied().eq(0..chunk.samples),
            "it answers choices {found:?} where {} samples were asked for: it does not know `n`",
            chunk.samples
        );
        let answers = choices.into_iter().map(|choice| {
            let sample = chunk.first + choice.index;
            self.answer(choice, ask, sample)
        });
        answers.collect()
    }

    fn answer(&self, choice: Choice, ask: &Ask<'_>, sample: u64) -> Result<Answer> {
        let mut tokens = choice.token_ids.context(
            "it answers without `token_ids`: it does not know `return_token_ids` (vLLM has it \
             since 0.10.2), and text alone cannot be trained on",
        )?;
        if let Some(prompt) = choice.prompt_token_ids {
            ensure!(
                prompt == ask.prompt,
                "it answers to another prompt than it was asked, of {} tokens and not {}",
                prompt.len(),
                ask.prompt.len()
            );
        }
        if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.vocabulary) {
            bail!(
                "it answers token {id}, the model has {}: it serves another model",
                self.vocabulary
            );
        }
        ensure!(
            tokens.len() <= self.most_tokens(ask),
            "it answers {} tokens where at most {} were asked for: it does not know `max_tokens`",
            tokens.len(),
            self.most_tokens(ask)
        );
        let log_probs = choice.logprobs.context("it answers without `logprobs`")?;
        let log_prob = log_probs.token_logprobs.iter().flatten().sum();
        let finish = match (choice.finish_reason.as_deref(), choice.stop_reason) {
            (Some("length"), _) => Finish::Length,
            (Some("stop"), Some(Value::String(_))) => Finish::StopString,
            (Some("stop"), _) => Finish::Stop,
            (other, _) => bail!("it answers finish_reason {other:?}, not `stop` or `length`"),
        };
        if finish == Finish::Stop
            && !tokens
                .last()
                .is_some_and(|id| self.stop_tokens.contains(id))
        {
            // Some servers keep the end to themselves.
            let end = self.stop_tokens.first();
            tokens.push(*end.context("it answers that a stop token came, the model has none")?);
        }
        ensure!(!tokens.is_empty(), "it answers no tokens");
        Ok(Answer {
            sample,
            tokens,
            log_prob,
            finish,
        })
    }
}

/// The seed of a unit's sample 0. Servers take 63 bits; the rest is room for the samples.
fn base(seed: u64, key: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("iota sample server seed v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(key.as_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes) >> 2
}
