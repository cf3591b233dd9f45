//! What is asked of whichever engine: prompts in token ids; and what becomes of an answer.
//!
//! Used by `run`, `here` and `server`. Prompts are made as training makes them: the
//! beginning-of-sequence token if the tokenizer adds one, then the template's ids.

use super::What;
use super::requests::Unit;
use anyhow::{Context as _, Result, ensure};
use corpus::schema::Generation;
use corpus::tokens::TokenCounter;
use engine::Ctx;
use model::checkpoint::{load_config, load_tokenizer};
use model::config::{Architecture, Config};
use model::generate::Finish;
use model::tokenizer::Tokenizer;
use std::path::Path;
use std::sync::Arc;

/// The model's text and shape, without its weights.
pub(super) struct Asking {
    pub(super) config: Config,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Goes before every prompt, if the tokenizer adds one.
    beginning: Option<u32>,
    stop: Vec<String>,
}

/// Some samples of a problem that are to be drawn, and where they go.
pub(super) struct Ask<'a> {
    pub(super) unit: &'a Unit<'a>,
    pub(super) prompt: Vec<u32>,
    pub(super) shard: usize,
    /// Place of the unit in its shard.
    pub(super) place: usize,
}

/// What an engine answers.
pub(super) struct Answer {
    /// Number among the samples of the unit's language.
    pub(super) sample: u64,
    pub(super) tokens: Vec<u32>,
    /// Sum over the tokens.
    pub(super) log_prob: f64,
    pub(super) finish: Finish,
}

impl Asking {
    pub(super) fn new(what: &What, ctx: &Ctx) -> Result<Self> {
        let folder = ctx.input("model")?;
        let config = load_config(folder)?;
        ensure!(
            config.architecture != Architecture::LlamaScore,
            "{} is a reward model, which cannot write: bind a language model",
            ctx.label("model")
        );
        let tokenizer = load_tokenizer(folder, &config).with_context(|| {
            format!(
                "{} cannot be asked without the tokenizer it was trained with",
                ctx.label("model")
            )
        })?;
        Ok(Self {
            beginning: beginning(folder, &config)?,
            tokenizer: Arc::new(tokenizer),
            config,
            stop: what.stop.clone(),
        })
    }

    /// The prompt of a unit; nothing, with a warning, if it leaves no room for an answer.
    pub(super) fn prompt(&self, unit: &Unit<'_>, ctx: &Ctx) -> Result<Option<Vec<u32>>> {
        let mut prompt: Vec<u32> = self.beginning.into_iter().collect();
        prompt.extend(self.tokenizer.encode(&unit.prompt())?);
        let positions = self.config.max_positions;
        if prompt.len() < positions {
            return Ok(Some(prompt));
        }
        ctx.warn(format!(
            "{} is not asked: its prompt has {} tokens, the model {positions} positions",
            unit.problem_id(),
            prompt.len(),
        ));
        Ok(None)
    }

    /// The row of an answer.
    pub(super) fn row(&self, unit: &Unit<'_>, answer: Answer) -> Result<Generation> {
        ensure!(
            answer.log_prob.is_finite(),
            "sampling {}: the model's probabilities are not numbers; its training diverged",
            unit.problem_id()
        );
        let stopped = answer.finish == Finish::Stop;
        let program = &answer.tokens[..answer.tokens.len() - usize::from(stopped)];
        let mut text = self.tokenizer.decode(program, true)?;
        if answer.finish == Finish::StopString {
            let ends = self.stop.iter().filter_map(|stop| text.find(stop));
            text.truncate(ends.min().unwrap_or(text.len()));
        }
        let finish = match answer.finish {
            Finish::Stop | Finish::StopString => "stop",
            Finish::Length => "length",
        };
        Ok(Generation {
            text,
            log_prob: answer.log_prob,
            finish: finish.to_owned(),
            token_ids: answer.tokens,
            ..unit.unanswered(answer.sample - unit.first)
        })
    }
}

/// The beginning-of-sequence token, by the rule that `mix` counts with.
fn beginning(folder: &Path, config: &Config) -> Result<Option<u32>> {
    if TokenCounter::load(folder, "the model's tokenizer")?.prompt("")? == 0 {
        return Ok(None);
    }
    let missing = || {
        format!(
            "{}: the tokenizer adds a token that config.json does not name as bos_token_id",
            folder.display()
        )
    };
    config.bos_token.with_context(missing).map(Some)
}
