//! Answers as OpenAI and vLLM spell them: objects of completions and chats, errors.
//!
//! Used by `handle` and `stream`.

use super::app::App;
use super::body::Asked;
use model::generate::{Finish, Sample};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Which of the two protocols, and what stands in every piece of an answer.
pub(super) struct Form {
    pub(super) chat: bool,
    id: String,
    created: u64,
    model: String,
}

impl Form {
    pub(super) fn new(chat: bool, asked: &Asked) -> Self {
        let kind = if chat { "chatcmpl" } else { "cmpl" };
        let number = getrandom::u64().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            chat,
            id: format!("{kind}-{number:016x}"),
            created: now.map_or(0, |now| now.as_secs()),
            model: asked.model.clone(),
        }
    }

    /// The object around choices.
    pub(super) fn object(&self, streamed: bool, choices: &[Value], usage: Option<Value>) -> Value {
        let object = match (self.chat, streamed) {
            (false, _) => "text_completion",
            (true, false) => "chat.completion",
            (true, true) => "chat.completion.chunk",
        };
        let mut answer = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            answer["usage"] = usage;
        }
        answer
    }

    /// A piece of a streamed choice.
    pub(super) fn piece(
        &self,
        index: usize,
        text: &str,
        first: bool,
        end: Option<&Sample>,
    ) -> Value {
        let mut choice = json!({
            "index": index,
            "logprobs": null,
            "finish_reason": end.map(|sample| reason(sample.finish)),
        });
        match (self.chat, first) {
            (false, _) => choice["text"] = text.into(),
            (true, true) => choice["delta"] = json!({"role": "assistant", "content": text}),
            (true, false) => choice["delta"] = json!({"content": text}),
        }
        choice
    }
}

/// The text of a sample, without what ended it.
pub(super) fn text(app: &App, sample: &Sample) -> String {
    let stopped = usize::from(sample.finish == Finish::Stop);
    let tokens = &sample.tokens[..sample.tokens.len() - stopped];
    let mut text = app.tokenizer.decode(tokens, true).unwrap_or_default();
    if let Some(end) = sample.text_end {
        text.truncate(text.floor_char_boundary(end));
    }
    text
}

/// A whole choice.
pub(super) fn choice(
    app: &App,
    chat: bool,
    index: usize,
    sample: &Sample,
    log_probs: bool,
    prompt: Option<&[u32]>,
) -> Value {
    let text = text(app, sample);
    // vLLM's `stop_reason`: the string or token, nothing for the end of sequence.
    let last = sample.tokens.last();
    let own = last.filter(|id| !app.decoder.config().eos_tokens.contains(id));
    let stop_reason = match sample.finish {
        Finish::Stop => json!(own),
        Finish::StopString => json!(stop_string(app, sample, &text)),
        Finish::Length => Value::Null,
    };
    let mut choice = json!({
        "index": index,
        "finish_reason": reason(sample.finish),
        "stop_reason": stop_reason,
        "logprobs": null,
    });
    let tokens = || {
        sample
            .tokens
            .iter()
            .map(|&id| app.tokenizer.decode(&[id], false).unwrap_or_default())
    };
    if chat {
        choice["message"] = json!({"role": "assistant", "content": text});
        if log_probs {
            let content = tokens().zip(&sample.log_probs).map(|(token, log_prob)| {
                json!({"token": token, "logprob": log_prob, "bytes": token.as_bytes(), "top_logprobs": []})
            });
            choice["logprobs"] = json!({"content": content.collect::<Vec<_>>()});
        }
    } else {
        choice["text"] = text.into();
        if log_probs {
            let tokens: Vec<String> = tokens().collect();
            let offsets = tokens.iter().scan(0, |at, token| {
                let start = *at;
                *at += token.chars().count();
                Some(start)
            });
            choice["logprobs"] = json!({
                "text_offset": offsets.collect::<Vec<_>>(),
                "token_logprobs": sample.log_probs,
                "tokens": tokens,
                "top_logprobs": null,
            });
        }
    }
    if let Some(prompt) = prompt {
        choice["token_ids"] = json!(sample.tokens);
        choice["prompt_token_ids"] = json!(prompt);
    }
    choice
}

/// What follows the text: the stop string begins there.
fn stop_string(app: &App, sample: &Sample, before: &str) -> String {
    let whole = app
        .tokenizer
        .decode(&sample.tokens, true)
        .unwrap_or_default();
    whole.get(before.len()..).unwrap_or_default().to_owned()
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopString => "stop",
        Finish::Length => "length",
    }
}

/// Tokens of prompts and answers.
pub(super) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}

/// What is wrong, as OpenAI says it.
pub(super) fn error(status: u16, message: &str) -> String {
    let kind = match status {
        404 => "not_found_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let error = json!({"message": message, "type": kind, "param": null, "code": status});
    json!({ "error": error }).to_string()
}
