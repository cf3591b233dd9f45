//! Stage `triplets`: a right program, a wrong one of the same problem and language, and the prompt.
//!
//! Reads the problems that `decontaminate` left and solutions of all sources; writes preference data
//! for `reward`, `dpo` and `orpo` (paper, section 2): for each correct solution the nearest wrong
//! one by Levenshtein distance, and a random one. Ties go to the wrong solution that comes first.
//!
//! Promises: exact distances; the same rows whatever the number of threads, in the order of the
//! tables (trainers shuffle); resumable: the work is cut into shards of whole problems
//! (`triplets/plan.rs`), each computed once. Memory: one shard. Wrong solutions that are equal
//! to a correct one up to blanks are not used: such a pair teaches nothing.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `triplets` | `schema::Triplet` |
//! | `solutions` (many) | `schema::Solution`, grouped by problem | `report` | figures |

mod pair;
mod plan;

use std::collections::BTreeMap;

use anyhow::Result;
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::language::Language;
use crate::levenshtein::Unit;
use crate::schema::{Solution, Triplet};
use crate::statements::Statements;
use crate::table::{self, Table, TableWriter};
use plan::{Plan, Shard};

/// The stage.
pub struct Triplets;

/// Settings of `triplets`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Share of triplets with the nearest wrong solution; the others have a random one. At 0.5
    /// every correct solution gives one of each.
    pub nearest_share: f64,
    /// Most triplets to write, 0 = all: correct solutions are chosen at random so that the
    /// expected number is this one.
    pub triplets: u64,
    /// Most correct solutions used of one problem and language, 0 = all.
    pub correct_per_problem: u64,
    /// What one edit changes: `chars` or `bytes`.
    pub unit: Unit,
    /// Languages to use.
    pub languages: Vec<Language>,
}

impl Default for What {
    fn default() -> Self {
        Self {
            nearest_share: 0.5,
            triplets: 0,
            correct_per_problem: 0,
            unit: Unit::Chars,
            languages: Language::CODE_CONTESTS.to_vec(),
        }
    }
}

impl What {
    /// Probability that a correct solution gives a triplet of each kind (nearest, random), as large
    /// as the ratio of the two allows.
    fn chances(&self) -> (f64, f64) {
        let (nearest, random) = (self.nearest_share, 1.0 - self.nearest_share);
        let most = nearest.max(random);
        (nearest / most, random / most)
    }
}

#[derive(Default, Serialize)]
struct Report {
    triplets: u64,
    by_kind: BTreeMap<String, u64>,
    by_language: BTreeMap<String, u64>,
    problems: u64,
    mean_distance_nearest: f64,
    mean_distance_random: f64,
    mean_normalised_distance_nearest: f64,
    mean_normalised_distance_random: f64,
    dropped: Drops,
}

impl Stage for Triplets {
    const NAME: &'static str = "triplets";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "Pairs correct solutions with the nearest and with random wrong ones.";
    const INPUTS: &'static [Input] = &[
        Input::table("problems").many(),
        Input::table("solutions").many(),
    ];
    const OUTPUTS: &'static [Output] = &[Output::table("triplets"), Output::json("report")];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/triplets.rs",
        "corpus/src/triplets",
        "corpus/src/levenshtein.rs",
        "corpus/src/statements.rs",
        "corpus/src/prompt.rs",
        "corpus/src/solution.rs",
        "corpus/src/language.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        Invalid::unless(
            (0.0..=1.0).contains(&what.nearest_share),
            "nearest_share",
            "must be between 0 and 1: it is a share of the triplets",
        )?;
        Invalid::unless(
            !what.languages.is_empty(),
            "languages",
            "must name at least one",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let statements = Statements::read(&ctx.inputs("problems"))?;
        let mut report = Report::default();
        let plan = Plan::read(what, ctx, &statements, &mut report.dropped)?;
        let shards = ctx.shards(plan.shards.len())?;
        let progress = ctx.progress("triplets", "correct solutions", Some(plan.queries()));
        for (number, shard) in plan.shards.iter().enumerate() {
            if !shards.is_done(number) {
                ctx.check_cancelled()?;
                let rows = shard_rows(&plan, shard, what, ctx.seed(), &statements)?;
                shards.write(number, |path| table::write(path, rows).map(|_| ()))?;
            }
            progress.inc(shard.queries);
        }

        let mut writer = TableWriter::create(&ctx.output("triplets"))?;
        let mut sums = BTreeMap::<String, (f64, f64)>::new();
        let mut problem = String::new();
        for number in 0..shards.count() {
            let shard = Table::<Triplet>::open(&shards.path(number), "a shard of triplets")?;
            for row in shard.rows()? {
                let row = row?;
                *report.by_kind.entry(row.kind.clone()).or_default() += 1;
                *report.by_language.entry(row.language.clone()).or_default() += 1;
                let sum = sums.entry(row.kind.clone()).or_default();
                sum.0 += f64::from(row.distance);
                sum.1 += row.normalised_distance;
                if row.problem_id != problem {
                    problem.clone_from(&row.problem_id);
                    report.problems += 1;
                }
                writer.push(row)?;
            }
        }
        report.triplets = writer.finish()?;
        let mean = |kind: &str| {
            let count = report.by_kind.get(kind).copied().unwrap_or(0).max(1) as f64;
            let (distance, normalised) = sums.get(kind).copied().unwrap_or_default();
            (distance / count, normalised / count)
        };
        (
            report.mean_distance_nearest,
            report.mean_normalised_distance_nearest,
        ) = mean(pair::NEAREST);
        (
            report.mean_distance_random,
            report.mean_normalised_distance_random,
        ) = mean(pair::RANDOM);
        if report.triplets == 0 {
            ctx.warn("no problem has both a correct and a wrong solution in one language");
        }
        ctx.metric("triplets", report.triplets as f64);
        ctx.metric("problems", report.problems as f64);
        ctx.metric("mean_distance_nearest", report.mean_distance_nearest);
        ctx.metric("mean_distance_random", report.mean_distance_random);
        report.dropped.report(ctx);
        write_json(&ctx.output("report"), &report)
    }
}

/// All triplets of a shard, in the order of its rows.
fn shard_rows(
    plan: &Plan,
    shard: &Shard,
    what: &What,
    seed: u64,
    statements: &Statements,
) -> Result<Vec<Triplet>> {
    let mut groups: Vec<(&plan::Group, Vec<Solution>)> = Vec::new();
    for group in &plan.groups[shard.groups.clone()] {
        let table = &plan.tables[group.table];
        groups.push((
            group,
            table
                .range(group.start, group.end)?
                .collect::<Result<_>>()?,
        ));
    }
    let triplets: Vec<Vec<Triplet>> = groups
        .into_par_iter()
        .map(|(group, rows)| pair::triplets(group, &rows, what, seed, statements))
        .collect();
    Ok(triplets.into_iter().flatten().collect())
}
