//! Stage `triplets`: a right program, a wrong one of the same problem and language, and the prompt.
//!
//! Reads the problems that `decontaminate` left and solutions of all sources; writes preference data
//! for `reward`, `dpo` and `orpo` (paper, section 2): for each correct solution the nearest wrong
//! one by Levenshtein distance, and a random one. Ties go to the wrong solution that comes first.
//!
//! Promises: exact distances; the same rows whatever the number of threads, in the order of the
//! tables (trainers shuffle); resumable: the work is cut into shards (`triplets/plan.rs`), of whole
//! problems or of parts of a large one, each computed once. Memory: some megabytes a thread, and some
//! 50 bytes for each correct solution and each program of a problem (`triplets/programs.rs`). A wrong
//! solution that is a correct one up to white space and comments is not used: such a pair teaches nothing.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `triplets` | `schema::Triplet` |
//! | `solutions` (many) | `schema::Solution`, grouped by problem | `report` | figures |

mod pair;
mod plan;
mod programs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use engine::{Ctx, Input, Invalid, NoHow, Output, Progress, Stage};
use levenshtein::Unit;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::language::Language;
use crate::prompt;
use crate::schema::Triplet;
use crate::statements::Statements;
use crate::table::{self, Table, TableWriter};
use pair::Found;
use plan::{Plan, Shard};
use programs::{Programs, Purpose};

/// The stage.
pub struct Triplets;

/// Settings of `triplets`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Share of triplets with the nearest wrong solution; the others have a random one. At 0.5
    /// every correct solution gives one of each.
    pub nearest_share: f64,
    /// How many of the nearest wrong solutions go with a correct one, each in a triplet.
    pub nearest: u64,
    /// Largest distance of a nearest wrong solution, in symbols; 0 = any.
    pub max_distance: u64,
    /// Most triplets to write, 0 = all: correct solutions are chosen at random so that the
    /// expected number is this one (with `nearest = 1`).
    pub triplets: u64,
    /// Most correct solutions used of one problem and language, 0 = all: no problem dominates.
    pub correct_per_problem: u64,
    /// What one edit changes: `chars` or `bytes`.
    pub unit: Unit,
    /// Whether both solutions of a triplet are in one language.
    pub same_language: bool,
    /// Whether, of programs of a problem that differ in white space and comments only, one is used.
    pub deduplicate: bool,
    /// Longest program in bytes; 0 = any. Codeforces accepts 64 KiB.
    pub max_length: u64,
    /// Languages to use.
    pub languages: Vec<Language>,
}

impl Default for What {
    fn default() -> Self {
        Self {
            nearest_share: 0.5,
            nearest: 1,
            max_distance: 0,
            triplets: 0,
            correct_per_problem: 0,
            unit: Unit::Chars,
            same_language: true,
            deduplicate: false,
            max_length: 1 << 16,
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
    /// 2: programs that differ in white space and comments only are the same; long ones left out.
    const VERSION: u32 = 2;
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
        "corpus/src/lexemes.rs",
        "levenshtein/src",
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
            what.nearest >= 1,
            "nearest",
            "must be at least 1; for random wrong solutions alone set nearest_share = 0",
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
        let missing = shards.missing();
        let pairs = missing.iter().map(|&number| plan.shards[number].cost).sum();
        let progress = ctx.progress("compare", "pairs", Some(pairs));
        for number in missing {
            ctx.check_cancelled()?;
            let found = find(&plan, &plan.shards[number], what, ctx, &progress)?;
            shards.write(number, |path| table::write(path, found).map(|_| ()))?;
        }
        drop(progress);

        let mut writer = TableWriter::create(&ctx.output("triplets"))?;
        let mut sums = BTreeMap::<String, (f64, f64)>::new();
        let mut problem = String::new();
        let mut texts = Texts::new(&plan, &statements, ctx.scratch().join("programs"));
        let progress = ctx.progress("write", "shards", Some(shards.count() as u64));
        for number in 0..shards.count() {
            ctx.check_cancelled()?;
            progress.inc(1);
            let shard = Table::<Found>::open(&shards.path(number), "a shard of triplets")?;
            for found in shard.rows()? {
                let found = found?;
                if let Some(reason) = pair::REASONS.iter().find(|reason| found.kind == **reason) {
                    let (count, problem) = (u64::from(found.distance), texts.problem(&found));
                    report.dropped.add_many(reason, count, || problem);
                    continue;
                }
                let row = texts.triplet(found)?;
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

/// What a shard finds, in the order of its rows.
fn find(
    plan: &Plan,
    shard: &Shard,
    what: &What,
    ctx: &Ctx,
    progress: &Progress,
) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for parts in plan.side_by_side(shard) {
        let found: Vec<Vec<Found>> = parts
            .into_par_iter()
            .map(|number| {
                let part = &plan.parts[number];
                let scratch = ctx.scratch().join(format!("programs-{number}"));
                let rows = plan.rows(part.group)?;
                let programs = Programs::read(rows, Purpose::Compare, &scratch)?;
                pair::find(number as u32, part, &programs, what, ctx, progress)
            })
            .collect::<Result<_>>()?;
        all.extend(found.into_iter().flatten());
    }
    Ok(all)
}

/// Puts texts to row numbers; has the programs of one problem at hand.
struct Texts<'a> {
    plan: &'a Plan,
    statements: &'a Statements,
    scratch: PathBuf,
    /// Number of the problem's group, and its programs.
    group: Option<(usize, Programs)>,
}

impl<'a> Texts<'a> {
    fn new(plan: &'a Plan, statements: &'a Statements, scratch: PathBuf) -> Self {
        Self {
            plan,
            statements,
            scratch,
            group: None,
        }
    }

    fn problem(&self, found: &Found) -> String {
        let group = &self.plan.groups[self.plan.parts[found.part as usize].group];
        group.problem_id.clone()
    }

    fn triplet(&mut self, found: Found) -> Result<Triplet> {
        let group = self.plan.parts[found.part as usize].group;
        let programs = match self.group.take() {
            Some((number, programs)) if number == group => programs,
            _ => Programs::read(self.plan.rows(group)?, Purpose::Copy, &self.scratch)?,
        };
        let (chosen, rejected) = (found.chosen as usize, found.rejected as usize);
        let problem_id = self.problem(&found);
        let statement = self.statements.get(&problem_id);
        let statement = statement.expect("planned from these problems");
        let language = programs.language(chosen);
        let asked = Language::from_name(language).expect("planned by language");
        let triplet = Triplet {
            problem_id,
            language: language.to_owned(),
            prompt: statement.prompt(&prompt::Hints::NONE, asked),
            chosen: programs.text(chosen)?,
            rejected: programs.text(rejected)?,
            kind: found.kind,
            distance: found.distance,
            normalised_distance: f64::from(found.distance) / f64::from(found.longer.max(1)),
            chosen_id: programs.id(chosen)?,
            rejected_id: programs.id(rejected)?,
        };
        self.group = Some((group, programs));
        Ok(triplet)
    }
}
