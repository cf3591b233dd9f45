//! Stage `attempts`: a model's judged programs as solutions, right if they were accepted.
//!
//! Reads `problems`, `generations` (from `sample`) and their `verdicts` (from `judge`); writes
//! `solutions`, which `triplets` turns into pairs. A reward model that has seen such pairs knows
//! the errors of the policy that it will score, not only those of people (ours; the paper pairs
//! people's programs).
//!
//! Promises: training problems only, anything else is an error, since a test problem's hidden
//! tests would be learnt from; rows in the order of `generations`; a program twice is there once.
//! Left out and counted: programs without a verdict or without an end, and failures of the judge.
//!
//! | reads | writes |
//! | --- | --- |
//! | problems, generations, verdicts | solutions |

use anyhow::{Context as _, ensure};
use corpus::{
    language::Language,
    solution::new_solution,
    table::{Table, TableWriter},
};
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The stage.
#[derive(Debug)]
pub struct Attempts;

/// Settings of `attempts`: none, so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {}

corpus::table! {
    struct Asked in "problems" {
        problem_id: String,
        split: String,
    }
}

corpus::table! {
    struct Written in "generations" {
        problem_id: String,
        sample: u32,
        language: String,
        text: String,
        finish: String,
    }
}

corpus::table! {
    struct Judged in "verdicts" {
        problem_id: String,
        program: String,
        verdict: String,
    }
}

/// Where these solutions come from.
const ORIGIN: &str = "sample";
/// What the judge says when it failed itself.
const JUDGE_ERROR: &str = "JE";

impl Stage for Attempts {
    const NAME: &'static str = "attempts";
    /// 1: first version.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "turns a model's judged programs into right and wrong solutions";
    const INPUTS: &'static [Input] = &[
        Input::table("problems"),
        Input::table("generations"),
        Input::table("verdicts"),
    ];
    const OUTPUTS: &'static [Output] = &[Output::table("solutions")];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/attempts.rs",
        "corpus/src/schema.rs",
        "corpus/src/solution.rs",
        "corpus/src/table.rs",
        "corpus/src/column.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = NoHow;

    fn check(_what: &What) -> Result<(), Invalid> {
        Ok(())
    }

    fn run(_what: &What, _how: &NoHow, ctx: &Ctx) -> anyhow::Result<()> {
        let splits = splits(ctx)?;
        let verdicts = verdicts(ctx)?;
        let label = ctx.label("generations");
        let generations = Table::<Written>::open(ctx.input("generations")?, &label)?;
        let progress = ctx.progress("sort", "programs", Some(generations.len()));
        let mut solutions = TableWriter::create(&ctx.output("solutions"))?;
        let mut seen = BTreeSet::new();
        let (mut right, mut wrong) = (0_u64, 0_u64);
        let mut dropped = BTreeMap::from([
            ("unjudged", 0_u64),
            ("unfinished", 0),
            ("judge_error", 0),
            ("repeated", 0),
        ]);
        let mut drop = |reason| *dropped.entry(reason).or_default() += 1;
        for row in generations.rows()? {
            ctx.check_cancelled()?;
            progress.inc(1);
            let row = row?;
            let split = splits.get(&row.problem_id).map(String::as_str);
            ensure!(
                split == Some("train"),
                "{label} has programs for {}, which is {} in {}: only training problems may be \
                 learnt from; bind `sample` to those of split train",
                row.problem_id,
                split.map_or("not".to_owned(), |split| format!("of split {split}")),
                ctx.label("problems")
            );
            if row.finish != "stop" {
                drop("unfinished");
                continue;
            }
            let key = (row.problem_id.clone(), row.sample.to_string());
            let Some(verdict) = verdicts.get(&key) else {
                drop("unjudged");
                continue;
            };
            if verdict == JUDGE_ERROR {
                drop("judge_error");
                continue;
            }
            let language = Language::from_name(&row.language).with_context(|| {
                format!(
                    "{label}: sample {} of {} is in the unknown language `{}`",
                    row.sample, row.problem_id, row.language
                )
            })?;
            let correct = verdict == "AC";
            let mut solution = new_solution(&row.problem_id, language, row.text, correct, ORIGIN);
            if !seen.insert(solution.solution_id.clone()) {
                drop("repeated");
                continue;
            }
            solution.claim = Some(verdict.clone());
            *(if correct { &mut right } else { &mut wrong }) += 1;
            solutions.push(solution)?;
        }
        solutions.finish()?;
        ctx.metric("solutions.right", right as f64);
        ctx.metric("solutions.wrong", wrong as f64);
        for (reason, count) in dropped {
            ctx.metric(&format!("dropped.{reason}"), count as f64);
        }
        if right == 0 || wrong == 0 {
            ctx.warn(format!(
                "{right} programs are right and {wrong} wrong: no pairs can be made of these"
            ));
        }
        Ok(())
    }
}

/// The split of every problem.
fn splits(ctx: &Ctx) -> anyhow::Result<BTreeMap<String, String>> {
    let rows = Table::<Asked>::open(ctx.input("problems")?, &ctx.label("problems"))?.rows()?;
    rows.map(|row| row.map(|row| (row.problem_id, row.split)))
        .collect()
}

/// The verdict of every judged program, by problem and sample.
fn verdicts(ctx: &Ctx) -> anyhow::Result<BTreeMap<(String, String), String>> {
    let rows = Table::<Judged>::open(ctx.input("verdicts")?, &ctx.label("verdicts"))?.rows()?;
    rows.map(|row| row.map(|row| ((row.problem_id, row.program), row.verdict)))
        .collect()
}
