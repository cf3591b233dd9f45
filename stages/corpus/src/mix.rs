//! Stage `mix`: the samples for supervised fine-tuning (paper, section 2).
//!
//! Reads the problems that `decontaminate` left and solutions of all sources; writes shuffled
//! pairs of prompt and completion: correct solutions of training problems, without duplicates,
//! CodeContests and dump in a given ratio (the paper: about 1:1), cut at a length (4,000 tokens,
//! its 99th percentile). Called before `sft`. The report holds the paper's three figures: count,
//! mean length, 99th percentile.
//!
//! Promises: which samples are chosen and their order depend on seed and content alone: each
//! solution's place is a random number keyed by its id (`mix/choose.rs`). Memory: statements, and
//! some 60 bytes a correct solution; rows are streamed and shuffled on disk.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `samples` | `schema::Sample` |
//! | `solutions` (many), `dump` | `schema::Solution` | `report` | figures and drops |
//! | `tokenizer` | folder with tokenizer.json | | |

mod choose;

use std::collections::BTreeMap;

use anyhow::Result;
use engine::rng::Rng as _;
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage, rng};
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::hints::{Hinter, Hinting};
use crate::language::Language;
use crate::prompt::{self, Hints};
use crate::schema::{Sample, Solution};
use crate::solution::id_number;
use crate::sort::Sorter;
use crate::statements::Statements;
use crate::table::{Table, TableWriter};
use crate::tokens::TokenCounter;
use choose::{Choice, Pools};

/// The stage.
pub struct Mix;

/// Settings of `mix`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Share of samples that come from `dump`; used only if `dump` is bound. The scarcer side
    /// decides how many samples there are.
    pub dump_share: f64,
    /// Most samples to write; 0 = as many as there are.
    pub samples: u64,
    /// Longest sample in tokens, prompt and end included.
    pub max_tokens: u64,
    /// Languages to use.
    pub languages: Vec<Language>,
    /// What prompts tell beside the statement: `{ rating = true, tags = true, dropped = 0.5 }`
    /// leaves out each of them at times, so that the model can be asked with and without.
    #[serde(skip_serializing_if = "Hinting::is_off")]
    pub hints: Hinting,
}

impl Default for What {
    fn default() -> Self {
        Self {
            dump_share: 0.5,
            samples: 0,
            max_tokens: 4000,
            languages: Language::CODE_CONTESTS.to_vec(),
            hints: Hinting::default(),
        }
    }
}

#[derive(Serialize)]
struct Report {
    samples: u64,
    mean_tokens: f64,
    p99_tokens: u32,
    max_tokens: u32,
    total_tokens: u64,
    /// 99th percentile of all that were measured, before the cut.
    p99_tokens_before_cut: u32,
    problems: u64,
    by_origin: BTreeMap<String, u64>,
    by_language: BTreeMap<String, u64>,
    dropped: Drops,
}

impl Stage for Mix {
    const NAME: &'static str = "mix";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "Mixes correct solutions of all sources into samples for supervised fine-tuning.";
    const INPUTS: &'static [Input] = &[
        Input::table("problems").many(),
        Input::table("solutions").many(),
        Input::table("dump").optional(),
        Input::tree("tokenizer"),
    ];
    const OUTPUTS: &'static [Output] = &[Output::table("samples"), Output::json("report")];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/mix.rs",
        "corpus/src/mix",
        "corpus/src/statements.rs",
        "corpus/src/hints.rs",
        "corpus/src/prompt.rs",
        "corpus/src/tokens.rs",
        "corpus/src/solution.rs",
        "corpus/src/sort.rs",
        "corpus/src/language.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        Invalid::unless(
            (0.0..=1.0).contains(&what.dump_share),
            "dump_share",
            "must be between 0 and 1: it is the dump's share of the samples",
        )?;
        Invalid::unless(what.max_tokens >= 2, "max_tokens", "must be at least 2")?;
        Invalid::unless(
            !what.languages.is_empty(),
            "languages",
            "must name at least one",
        )?;
        what.hints.check()
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let counter = TokenCounter::load(ctx.input("tokenizer")?, &ctx.label("tokenizer"))?;
        let statements = Statements::read(&ctx.inputs("problems"))?;
        let hinter = Hinter::new(what.hints, &ctx.inputs("problems"), ctx.seed(), "mix.hints")?;
        let tables = choose::tables(ctx)?;
        let mut dropped = Drops::default();
        let mut pools = Pools::read(what, ctx, &statements, &tables, &mut dropped)?;
        let asking = Asking {
            statements: &statements,
            hinter: &hinter,
            counter: &counter,
        };
        let chosen = pools.choose(what, ctx, &asking, &tables, &mut dropped)?;
        ctx.info(format!(
            "{} of {} candidates chosen",
            chosen.len(),
            pools.candidates()
        ));

        let seed = ctx.seed();
        let mut shuffled = Sorter::new(ctx.scratch(), move |sample: &Sample| {
            rng::rng(seed, "mix.order", id_number(&sample.solution_id)).next_u64()
        });
        let mut lengths = Vec::with_capacity(chosen.len());
        let mut report = Report {
            samples: 0,
            mean_tokens: 0.0,
            p99_tokens: 0,
            max_tokens: 0,
            total_tokens: 0,
            p99_tokens_before_cut: percentile(&mut pools.measured, 0.99),
            problems: 0,
            by_origin: BTreeMap::new(),
            by_language: BTreeMap::new(),
            dropped,
        };
        let mut problems = std::collections::BTreeSet::new();
        choose::visit(ctx, "write", &tables, &chosen, |choice, solution| {
            let sample = sample(&asking, choice, solution);
            *report.by_origin.entry(sample.origin.clone()).or_default() += 1;
            *report
                .by_language
                .entry(sample.language.clone())
                .or_default() += 1;
            lengths.push(sample.prompt_tokens + sample.completion_tokens);
            problems.insert(sample.problem_id.clone());
            shuffled.push(sample)
        })?;
        let mut samples = TableWriter::create(&ctx.output("samples"))?;
        shuffled.finish(|row| samples.push(row))?;
        report.samples = samples.finish()?;
        report.problems = problems.len() as u64;
        report.total_tokens = lengths.iter().map(|&length| u64::from(length)).sum();
        report.mean_tokens = report.total_tokens as f64 / report.samples.max(1) as f64;
        report.p99_tokens = percentile(&mut lengths, 0.99);
        report.max_tokens = lengths.last().copied().unwrap_or(0);
        if report.samples == 0 {
            ctx.warn("no sample is left; the report says why candidates were dropped");
        }
        ctx.metric("samples", report.samples as f64);
        ctx.metric("problems", report.problems as f64);
        ctx.metric("mean_tokens", report.mean_tokens);
        ctx.metric("p99_tokens", f64::from(report.p99_tokens));
        ctx.metric(
            "p99_tokens_before_cut",
            f64::from(report.p99_tokens_before_cut),
        );
        report.dropped.report(ctx);
        write_json(&ctx.output("report"), &report)
    }
}

/// What makes a prompt, and measures it.
struct Asking<'a> {
    statements: &'a Statements,
    hinter: &'a Hinter,
    counter: &'a TokenCounter,
}

impl Asking<'_> {
    /// The hints of a solution's prompt.
    fn hints(&self, solution: &Solution) -> Hints {
        let id = id_number(&solution.solution_id);
        self.hinter.hints(&solution.problem_id, id)
    }
}

fn sample(asking: &Asking<'_>, choice: Choice, solution: Solution) -> Sample {
    let statement = asking
        .statements
        .get(&solution.problem_id)
        .expect("chosen from these problems");
    let language = Language::from_name(&solution.language).expect("chosen by language");
    Sample {
        prompt: statement.prompt(&asking.hints(&solution), language),
        completion: prompt::completion(&solution.source),
        problem_id: solution.problem_id,
        solution_id: solution.solution_id,
        origin: solution.origin,
        language: solution.language,
        prompt_tokens: choice.prompt_tokens,
        completion_tokens: choice.completion_tokens,
    }
}

/// The smallest value that at least `share` of all values do not exceed (nearest rank); sorts.
fn percentile(values: &mut [u32], share: f64) -> u32 {
    values.sort_unstable();
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Opened once, read several times.
pub(crate) type Solutions = Table<Solution>;

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn nearest_rank() {
        assert_eq!(percentile(&mut [], 0.99), 0);
        assert_eq!(percentile(&mut [7], 0.99), 7);
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 0.99), 99);
        assert_eq!(percentile(&mut hundred, 1.0), 100);
    }
}
