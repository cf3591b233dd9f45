//! Stage `sample`: asks a model for programs (paper, section 4: many samples per problem).
//!
//! Reads a model folder and `problems`; writes one row per problem and sample. Prompts are
//! built and tokenised as in training. Sample `i` asks for language `i mod languages` and has
//! random numbers of its own, keyed by seed, problem, language and number: asking for more
//! samples adds rows and changes none, and neither batch nor threads matter. Work is cut into
//! shards of a few hundred samples; an interrupted run goes on with the missing ones.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `problems` table | `generations` table |

mod requests;
#[cfg(test)]
mod tests;

use crate::sample::requests::{Asked, Unit, shards, units};
use anyhow::{Context as _, Result, ensure};
use corpus::language::Language;
use corpus::schema::Generation;
use corpus::table::{self, Table, TableWriter};
use corpus::tokens::TokenCounter;
use engine::{Ctx, Input, Invalid, Output, Progress, Stage};
use model::checkpoint::{Checkpoint, load_tokenizer};
use model::config::{Architecture, Config};
use model::generate::{Decoder, Finish, Limits, Request, Sample as Drawn, Sampling, Settings};
use model::network::Network;
use model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which problems are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those of split `train`.
    Train,
    /// Those of split `valid`.
    Valid,
    /// Those of split `test`.
    #[default]
    Test,
    /// All.
    All,
}

impl Which {
    fn has(self, split: &str) -> bool {
        match self {
            Self::Train => split == "train",
            Self::Valid => split == "valid",
            Self::Test => split == "test",
            Self::All => true,
        }
    }
}

/// Settings of `sample` that change the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Samples of each problem.
    pub samples: u64,
    /// Logits are divided by it; 0 always takes the most likely token.
    pub temperature: f64,
    /// Probability kept, of the most likely tokens; 1 keeps all.
    pub top_p: f64,
    /// Most likely tokens kept; 0 keeps all.
    pub top_k: u64,
    /// Most tokens of a program; the model's positions bound it as well.
    pub max_new_tokens: u64,
    /// Languages to ask for, in turn.
    pub languages: Vec<Language>,
    /// Which problems are asked: `train`, `valid`, `test` or `all`.
    pub split: Which,
    /// The first so many of them; 0 = all.
    pub max_problems: u64,
}

impl Default for What {
    fn default() -> Self {
        Self {
            samples: 10,
            temperature: 0.8,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: 1024,
            languages: vec![Language::Python3],
            split: Which::Test,
            max_problems: 0,
        }
    }
}

/// Settings that never change the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Threads; 0 = as many as there are cores.
    pub threads: usize,
    /// Programs each thread writes side by side: speed against memory.
    pub slots_per_thread: usize,
}

impl Default for How {
    fn default() -> Self {
        Self {
            threads: 0,
            slots_per_thread: 24,
        }
    }
}

/// Stage `sample`.
pub struct Sample;

impl Stage for Sample {
    const NAME: &'static str = "sample";
    /// 1: first version.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Asks a model for programs, many for each problem";
    const INPUTS: &'static [Input] = &[Input::tree("model"), Input::table("problems")];
    const OUTPUTS: &'static [Output] = &[Output::table("generations")];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/sample.rs",
        "judge/src/sample",
        "corpus/src/prompt.rs",
        "model/src/arrays.rs",
        "model/src/checkpoint.rs",
        "model/src/config.rs",
        "model/src/generate",
        "model/src/generate.rs",
        "model/src/ops",
        "model/src/tokenizer.rs",
        "model/src/weights.rs",
    ];
    type What = What;
    type How = How;

    fn check(what: &What) -> Result<(), Invalid> {
        let sampling = [
            (what.samples > 0, "samples", "must be at least 1"),
            (
                what.max_new_tokens > 0,
                "max_new_tokens",
                "must be at least 1",
            ),
            (
                !what.languages.is_empty(),
                "languages",
                "must name a language to ask for",
            ),
            (
                what.temperature.is_finite() && what.temperature >= 0.0,
                "temperature",
                "must be 0 (always the most likely token) or more",
            ),
            (
                what.top_p > 0.0 && what.top_p <= 1.0,
                "top_p",
                "must be above 0 and at most 1, because it is the probability that is kept",
            ),
        ];
        sampling
            .into_iter()
            .try_for_each(|(holds, field, text)| Invalid::unless(holds, field, text))
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(how.threads)
            .build()?
            .install(|| run(what, how, ctx))
    }
}

/// What every shard needs.
struct Asking<'a> {
    decoder: Decoder,
    tokenizer: Tokenizer,
    /// Goes before every prompt, if the tokenizer adds one.
    beginning: Option<u32>,
    settings: Settings,
    limits: Limits,
    ctx: &'a Ctx<'a>,
}

fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
    let problems = read_problems(what, ctx)?;
    let asker = Asking::new(what, how, ctx)?;
    let units = units(&problems, what.samples, &what.languages);
    let cuts = shards(&units);
    let pieces = ctx.shards(cuts.len())?;
    let missing = pieces.missing();
    let samples: u64 = missing
        .iter()
        .map(|&index| count(&units[cuts[index].clone()]))
        .sum();
    let counted = Counted::new(ctx.progress("sample", "tokens", None), samples);
    for index in missing {
        ctx.check_cancelled()?;
        let rows = asker.ask(&units[cuts[index].clone()], &counted)?;
        pieces.write(index, |path| table::write(path, rows).map(|_| ()))?;
    }
    let mut writer = TableWriter::create(&ctx.output("generations"))?;
    let mut summary = Summary::default();
    let mut current: Vec<Generation> = Vec::new();
    for index in 0..cuts.len() {
        for row in Table::<Generation>::open(&pieces.path(index), "a finished shard")?.rows()? {
            let row = row?;
            if current
                .first()
                .is_some_and(|first| first.problem_id != row.problem_id)
            {
                summary.write(&mut current, &mut writer)?;
            }
            current.push(row);
        }
    }
    summary.write(&mut current, &mut writer)?;
    writer.finish()?;
    ctx.metric("problems", problems.len() as f64);
    ctx.metric("samples", summary.samples as f64);
    ctx.metric("tokens", summary.tokens as f64);
    ctx.metric(
        "stopped_share",
        summary.stopped as f64 / summary.samples.max(1) as f64,
    );
    Ok(())
}

fn read_problems(what: &What, ctx: &Ctx) -> Result<Vec<Asked>> {
    let label = ctx.label("problems");
    let mut problems = Vec::new();
    for row in Table::<Asked>::open(ctx.input("problems")?, &label)?.rows()? {
        let row = row?;
        if what.max_problems > 0 && problems.len() as u64 == what.max_problems {
            break;
        }
        if what.split.has(&row.split) {
            problems.push(row);
        }
    }
    ensure!(
        !problems.is_empty(),
        "{label} has no problem of split {:?}: set `split` to \"train\", \"valid\", \"test\" or \"all\"",
        what.split
    );
    Ok(problems)
}

fn count(units: &[Unit<'_>]) -> u64 {
    units.iter().map(|unit| unit.samples).sum()
}

impl<'a> Asking<'a> {
    fn new(what: &What, how: &How, ctx: &'a Ctx<'a>) -> Result<Self> {
        let folder = ctx.input("model")?;
        let Checkpoint { config, parameters } = Checkpoint::load(folder)?;
        ensure!(
            config.architecture != Architecture::LlamaScore,
            "{} is a reward model, which cannot write: bind a language model",
            ctx.label("model")
        );
        let tokenizer = load_tokenizer(folder, &config)?;
        let beginning = beginning(folder, &config)?;
        let mut settings =
            Settings::new(what.max_new_tokens as usize, &config.eos_tokens, ctx.seed());
        let limits = Limits {
            slots_per_thread: how.slots_per_thread,
            ..Limits::default()
        };
        settings.sampling = Sampling {
            temperature: what.temperature,
            top_k: what.top_k as usize,
            top_p: what.top_p,
            ..Sampling::default()
        };
        let decoder = Decoder::new(&Network::new(config), &parameters);
        Ok(Self {
            decoder,
            tokenizer,
            beginning,
            settings,
            limits,
            ctx,
        })
    }

    /// Draws all samples of a shard, in order of unit and number.
    fn ask(&self, units: &[Unit<'_>], counted: &Counted<'_>) -> Result<Vec<Generation>> {
        let mut requests = Vec::new();
        let mut asked = Vec::new();
        let mut rows = Vec::new();
        for (place, unit) in units.iter().enumerate() {
            let mut prompt: Vec<u32> = self.beginning.into_iter().collect();
            prompt.extend(self.tokenizer.encode(&unit.prompt())?);
            if prompt.len() >= self.decoder.config().max_positions {
                // Every problem has all its rows: what cannot be asked counts as unanswered.
                self.ctx.warn(format!(
                    "{} is not asked: its prompt has {} tokens, the model {} positions",
                    unit.problem_id(),
                    prompt.len(),
                    self.decoder.config().max_positions
                ));
                rows.extend((0..unit.samples).map(|index| (place, unit.unanswered(index))));
                continue;
            }
            requests.push(Request {
                key: unit.key(),
                prompt,
                samples: unit.samples as usize,
                first_sample: unit.first as usize,
                adapter: None,
            });
            asked.push(place);
        }
        let drawn = self
            .decoder
            .generate(&requests, &self.settings, self.limits, &|sample| {
                counted.add(sample.tokens.len() as u64);
                if self.ctx.cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        self.ctx.check_cancelled()?;
        for sample in drawn {
            let place = asked[sample.request];
            rows.push((place, self.row(&units[place], sample)?));
        }
        // Stable, so a unit's samples stay in order; a problem's units must stay together.
        rows.sort_by_key(|(place, _)| *place);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn row(&self, unit: &Unit<'_>, drawn: Drawn) -> Result<Generation> {
        let stopped = drawn.finish == Finish::Stop;
        let text = &drawn.tokens[..drawn.tokens.len() - usize::from(stopped)];
        Ok(Generation {
            text: self.tokenizer.decode(text, true)?,
            log_prob: drawn
                .log_probs
                .iter()
                .map(|&log_prob| f64::from(log_prob))
                .sum(),
            finish: if stopped { "stop" } else { "length" }.to_owned(),
            token_ids: drawn.tokens,
            ..unit.unanswered(drawn.sample as u64 - unit.first)
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

/// Progress in tokens, with the total guessed from the samples so far.
struct Counted<'a> {
    progress: Progress<'a>,
    samples: u64,
    done: AtomicU64,
    tokens: AtomicU64,
}

impl<'a> Counted<'a> {
    fn new(progress: Progress<'a>, samples: u64) -> Self {
        Self {
            progress,
            samples,
            done: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    fn add(&self, tokens: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.tokens.fetch_add(tokens, Ordering::Relaxed) + tokens;
        self.progress.set_total(all * self.samples.max(done) / done);
        self.progress.inc(tokens);
    }
}

#[derive(Default)]
struct Summary {
    samples: u64,
    tokens: u64,
    stopped: u64,
}

impl Summary {
    /// Writes the rows of one problem in order of their number and forgets them.
    fn write(
        &mut self,
        rows: &mut Vec<Generation>,
        writer: &mut TableWriter<Generation>,
    ) -> Result<()> {
        rows.sort_by_key(|row| row.sample);
        for row in rows.drain(..) {
            self.samples += 1;
            self.tokens += row.token_ids.len() as u64;
            self.stopped += u64::from(row.finish == "stop");
            writer.push(row)?;
        }
        Ok(())
    }
}
