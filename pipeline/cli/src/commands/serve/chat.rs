//! The chat template of a tokenizer: messages to one text.
//!
//! Used by `handle`. Templates are Jinja as transformers reads it: in `chat_template.jinja`, or as
//! `chat_template` in `tokenizer_config.json`; minijinja with its Python methods runs them.

use anyhow::{Context as _, Result, anyhow};
use minijinja::{Environment, Error, ErrorKind, context};
use serde_json::Value;
use std::path::Path;

/// A template that was found.
pub(super) struct Template {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl Template {
    /// The template of a model folder, if it has one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let file = folder.join("tokenizer_config.json");
        let config: Value = if file.exists() {
            serde_json::from_slice(&fs_err::read(&file)?)
                .with_context(|| format!("{} is damaged", file.display()))?
        } else {
            Value::Null
        };
        let own = folder.join("chat_template.jinja");
        let source = match (own.exists(), config["chat_template"].as_str()) {
            (true, _) => fs_err::read_to_string(&own)?,
            (false, Some(text)) => text.to_owned(),
            (false, None) => return Ok(None),
        };
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        environment
            .add_template_owned("chat", source)
            .context("the tokenizer's chat template cannot be read")?;
        // A token is a text, or an object that has one.
        let token = |name: &str| {
            let token = &config[name];
            let text = token.as_str().or(token["content"].as_str());
            text.unwrap_or_default().to_owned()
        };
        Ok(Some(Self {
            environment,
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
        }))
    }

    /// The text that asks for the next message.
    pub(super) fn apply(&self, messages: &Value) -> Result<String> {
        let template = self.environment.get_template("chat")?;
        let text = template.render(context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
        });
        text.map_err(|error| anyhow!("the chat template refuses `messages`: {error}"))
    }
}
