//! Stage `sample`: asks a model for programs (paper, section 4: many samples per problem).
//!
//! Reads a model folder and `problems`; writes one row per problem and sample. Prompts are
//! built and tokenised as in training. Sample `i` asks for language `i mod languages` and has
//! random numbers of its own, keyed by seed, problem, language and number: asking for more
//! samples adds rows and changes none, and neither batch nor threads matter. `earlier`, the
//! generations of the same node with fewer samples, is taken over as it is. The tokens come from
//! this program (`here`) or from servers that speak OpenAI's protocol (`server`). Work is cut
//! into shards of a few hundred samples; an interrupted run goes on with the missing ones.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `problems` table, `earlier` table if bound | `generations` table |

mod asking;
mod collect;
mod earlier;
mod here;
mod hints;
mod requests;
mod run;
mod server;
#[cfg(test)]
mod tests;

use anyhow::Result;
use corpus::language::Language;
use engine::{Ctx, Input, Invalid, Output, Stage};
use hints::Hinting;
use model::device::Choice;
use model::generate::{Form, Limits, Sampling};
use serde::{Deserialize, Serialize};

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

/// Who computes the tokens. They differ in the last bits of their sums, and so in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// This program.
    #[default]
    Iota,
    /// Servers that speak OpenAI's protocol and answer with token ids: vLLM, `iota serve`.
    Server,
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
    /// Tokens less likely than this share of the likeliest are dropped; 0 keeps all.
    pub min_p: f64,
    /// What logits of tokens that occurred are divided by (multiplied, if negative); 1 is none.
    pub repetition_penalty: f64,
    /// Texts that end a program; they are not part of it.
    pub stop: Vec<String>,
    /// Most tokens of a program; the model's positions bound it as well.
    pub max_new_tokens: u64,
    /// Languages to ask for, in turn.
    pub languages: Vec<Language>,
    /// Which problems are asked: `train`, `valid`, `test` or `all`.
    pub split: Which,
    /// The first so many of them; 0 = all.
    pub max_problems: u64,
    /// What prompts tell beside the statement: `{ from = "given" }`, or `{ from = "random", tags =
    /// [..], ratings = [..] }`, of which each sample gets one.
    #[serde(skip_serializing_if = "Hinting::is_off")]
    pub hints: Hinting,
    /// Who computes the tokens: `iota` or `server`.
    pub engine: Engine,
    /// How this program keeps weights: `f32`, `bf16`, `int8` or `int4` (smaller, and another
    /// model by a little).
    pub weights: Form,
}

impl Default for What {
    fn default() -> Self {
        Self {
            samples: 10,
            temperature: 0.8,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
            max_new_tokens: 1024,
            languages: vec![Language::Python3],
            split: Which::Test,
            max_problems: 0,
            hints: Hinting::default(),
            engine: Engine::Iota,
            weights: Form::F32,
        }
    }
}

impl What {
    fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k as usize,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        }
    }
}

/// Settings that never change the result, but for the last bits of log-probabilities and what
/// follows from them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Threads; 0 = as many as there are cores.
    pub threads: usize,
    /// Where this program computes: `auto`, `cpu`, `cuda` or `cuda:N`; if absent, as `--device` says.
    pub device: Option<Choice>,
    /// Programs each thread writes side by side: speed against memory.
    pub slots_per_thread: usize,
    /// Megabytes of keys and values of all threads together.
    pub cache_mb: usize,
    /// With engine `server`: their addresses, all with the same model.
    pub servers: Vec<String>,
    /// The name of the model at the servers; empty = `iota-` and the hash of its content.
    pub model_name: String,
    /// Most requests at a time to each server; how many are made is found out.
    pub connections: usize,
    /// Samples of a request.
    pub samples_per_request: u64,
    /// Seconds until a request counts as lost.
    pub request_timeout_s: u64,
}

impl Default for How {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            threads: 0,
            device: None,
            slots_per_thread: limits.slots_per_thread,
            cache_mb: limits.cache_bytes >> 20,
            servers: vec!["http://127.0.0.1:8000".to_owned()],
            model_name: String::new(),
            connections: 64,
            samples_per_request: 16,
            request_timeout_s: 600,
        }
    }
}

/// Stage `sample`.
pub struct Sample;

impl Stage for Sample {
    const NAME: &'static str = "sample";
    /// 2: min-p, repetition penalty, stop strings, forms of weights, servers.
    /// 1: first version.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "Asks a model for programs, many for each problem";
    const INPUTS: &'static [Input] = &[
        Input::tree("model"),
        Input::table("problems"),
        Input::table("earlier").optional(),
    ];
    const OUTPUTS: &'static [Output] = &[Output::table("generations")];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/sample.rs",
        "judge/src/sample",
        "corpus/src/hints.rs",
        "corpus/src/prompt.rs",
        "model/src/arrays.rs",
        "model/src/checkpoint.rs",
        "model/src/config.rs",
        "model/src/generate",
        "model/src/generate.rs",
        "model/src/ops",
        "model/src/tokenizer",
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
            (
                (0.0..=1.0).contains(&what.min_p),
                "min_p",
                "must be at least 0 and at most 1, because it is a share",
            ),
            (
                what.repetition_penalty > 0.0 && what.repetition_penalty.is_finite(),
                "repetition_penalty",
                "must be above 0; 1 is none",
            ),
            (
                what.stop.iter().all(|text| !text.is_empty()),
                "stop",
                "must have no empty text, which would end every program before it begins",
            ),
            (
                what.engine == Engine::Iota || what.weights == Form::F32,
                "weights",
                "is how this program keeps weights: leave it out with engine \"server\", which \
                 decides for itself",
            ),
        ];
        sampling
            .into_iter()
            .try_for_each(|(holds, field, text)| Invalid::unless(holds, field, text))?;
        what.hints.check()
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(how.threads)
            .build()?
            .install(|| run::run(what, how, ctx))
    }
}
