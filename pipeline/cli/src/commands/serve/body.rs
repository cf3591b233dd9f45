//! What a client may ask, as OpenAI and vLLM spell it, and what it comes to.
//!
//! Used by `handle`. A field that is not known is refused and not passed over: an answer that
//! leaves out half of what was asked is worse than none.

use super::app::App;
use super::http::Refusal;
use anyhow::{Result, bail, ensure};
use model::generate::{Request, Sampling, Settings};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// One or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    Many(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// The body of a request.
#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) model: Option<String>,
    pub(super) prompt: Option<Prompt>,
    pub(super) messages: Option<Value>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    n: Option<usize>,
    seed: Option<i64>,
    stop: Option<Stop>,
    stop_token_ids: Option<Vec<u32>>,
    ignore_eos: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    /// A number (completions) or true (chat).
    pub(super) logprobs: Option<Value>,
    pub(super) return_token_ids: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// What a request comes to: the same settings for every prompt.
pub(super) struct Asked {
    pub(super) requests: Vec<Request>,
    pub(super) settings: Arc<Settings>,
    pub(super) samples: usize,
    pub(super) model: String,
}

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let body: Self = serde_json::from_slice(bytes)
            .map_err(|error| Refusal(400, format!("the body is not what is asked for: {error}")))?;
        // What changes nothing may be said.
        let says_nothing = |name: &str, value: &Value| match name {
            "user" | "store" | "metadata" => true,
            "best_of" => value.as_u64() == body.n.or(Some(1)).map(|n| n as u64),
            _ => [Value::Null, false.into(), 0.into(), 0.0.into(), "".into()].contains(value),
        };
        let unknown = body
            .others
            .iter()
            .find(|(name, value)| !says_nothing(name, value));
        match unknown {
            Some((name, _)) => Err(Refusal(400, format!("`{name}` is not supported"))),
            None => Ok(body),
        }
    }

    /// Whether log-probabilities are wanted.
    pub(super) fn wants_log_probs(&self) -> bool {
        !matches!(
            &self.logprobs,
            None | Some(Value::Null | Value::Bool(false))
        )
    }

    /// The prompts in token ids; a text gets the beginning that the tokenizer gives it.
    pub(super) fn prompts(&self, app: &App) -> Result<Vec<Vec<u32>>> {
        let texts = |texts: &[String]| texts.iter().map(|text| app.encode(text)).collect();
        match &self.prompt {
            None => bail!("there is no `prompt`"),
            Some(Prompt::Text(text)) => texts(std::slice::from_ref(text)),
            Some(Prompt::Texts(many)) => texts(many),
            Some(Prompt::Ids(ids)) => Ok(vec![ids.clone()]),
            Some(Prompt::Many(many)) => Ok(many.clone()),
        }
    }

    /// Checks everything; `room_is_default` asks for all the model's positions where `max_tokens`
    /// is not given (chat), else 16 tokens are meant (completions).
    pub(super) fn ask(
        &self,
        app: &App,
        prompts: Vec<Vec<u32>>,
        room_is_default: bool,
    ) -> Result<Asked> {
        let model = self.model.clone().unwrap_or_else(|| app.names[0].clone());
        let number = app.names.iter().position(|name| *name == model);
        let adapter = number.unwrap_or(0).checked_sub(1);
        let config = app.decoder.config();
        ensure!(!prompts.is_empty(), "`prompt` is an empty list");
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let room = config.max_positions.saturating_sub(longest);
        let asked = self.max_completion_tokens.or(self.max_tokens);
        let max_tokens = asked.unwrap_or(if room_is_default { room } else { 16.min(room) });
        ensure!(
            max_tokens <= room,
            "a prompt of {longest} tokens and max_tokens {max_tokens} exceed the model's {} positions",
            config.max_positions
        );
        let samples = self.n.unwrap_or(1);
        ensure!(samples > 0, "`n` is 0");
        let mut stop_tokens = self.stop_token_ids.clone().unwrap_or_default();
        if self.ignore_eos != Some(true) {
            stop_tokens.extend(&config.eos_tokens);
        }
        let settings = Settings {
            sampling: Sampling {
                temperature: self.temperature.unwrap_or(1.0),
                // vLLM's "all" is -1 or 0.
                top_k: self.top_k.unwrap_or(0).max(0) as usize,
                top_p: self.top_p.unwrap_or(1.0),
                min_p: self.min_p.unwrap_or(0.0),
                repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            },
            stop_strings: match &self.stop {
                None => Vec::new(),
                Some(Stop::One(text)) => vec![text.clone()],
                Some(Stop::Many(texts)) => texts.clone(),
            },
            tokenizer: Some(Arc::clone(&app.tokenizer)),
            // The seed is the number of the first sample: `n` samples are those of `n` seeds.
            ..Settings::new(max_tokens, &stop_tokens, 0)
        };
        let first_sample = match self.seed {
            Some(seed) => usize::try_from(seed)
                .map_err(|_| anyhow::anyhow!("`seed` is {seed}: it has to be 0 or more"))?,
            None => (getrandom::u64()? >> 2) as usize,
        };
        let requests = prompts.into_iter().map(|prompt| {
            let request = Request {
                key: "the request".to_owned(),
                prompt,
                samples,
                first_sample,
                adapter,
            };
            app.decoder.check(&request, &settings)?;
            Ok(request)
        });
        Ok(Asked {
            requests: requests.collect::<Result<_>>()?,
            settings: Arc::new(settings),
            samples,
            model,
        })
    }
}
