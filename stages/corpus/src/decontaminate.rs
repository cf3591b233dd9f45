//! Stage `decontaminate`: training problems that would give the test set away are taken out.
//!
//! Reads problems of all sources, writes those that may be used and a table of those that may not.
//! `mix` and `triplets` take the problems written here and thereby use no solution of a dropped
//! one. Paper, section 2: the test problems are excluded from the dump; here also what repeats
//! them under another name.
//!
//! Promises: only rows of split `train` are dropped; test and valid rows pass unchanged. A row is
//! dropped for its contest id, an identical statement or a near-duplicate one, in this order. Absent
//! on purpose: near-duplicates of solutions, and what a pre-trained model has seen before.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `problems` | `schema::Problem` |
//! | `test` (optional) | `schema::Problem` | `dropped` | `DroppedProblem` |
//! | | | `report` | counts and drops by reason |

mod similarity;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use engine::{BoundInput, Ctx, Input, Invalid, NoHow, Output, Stage};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::schema::{Problem, Split};
use crate::table::{Table, TableWriter};
use similarity::{Index, Sketches, normalised};

/// The stage.
pub struct Decontaminate;

/// Settings of `decontaminate`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Jaccard similarity from which on a statement counts as a near-duplicate; 1 = only equal
    /// sets of shingles.
    pub threshold: f64,
    /// Words in a shingle.
    pub shingle_words: u64,
    /// Hash functions of a MinHash sketch, by which similarity is estimated where statements to
    /// protect are very many; 0 = exact similarity, which 165 statements need no sketch for.
    pub sketch_hashes: u64,
    /// Whether a training problem of the same contest as a test problem is dropped.
    pub exclude_contests: bool,
    /// Splits of `problems` that are protected, besides all rows of `test`.
    pub protect: Vec<Split>,
}

impl Default for What {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            shingle_words: 5,
            sketch_hashes: 0,
            exclude_contests: true,
            protect: vec![Split::Test],
        }
    }
}

crate::table! {
    /// A training problem that was taken out, and because of which test problem.
    pub struct DroppedProblem in "dropped" {
        /// The training problem.
        pub problem_id: String,
        /// The test problem.
        pub test_problem_id: String,
        /// `contest`, `identical_statement` or `similar_statement`.
        pub reason: String,
        /// Jaccard similarity of the two statements.
        pub similarity: f64,
    }
}

crate::table! {
    /// What is compared of a protected problem.
    struct Protected in "problems" {
        problem_id: String,
        split: String,
        description: String,
        contest_id: Option<i64>,
    }
}

#[derive(Default, Serialize)]
struct Report {
    problems_read: u64,
    protected: u64,
    problems: u64,
    dropped: Drops,
}

/// Problems compared at a time.
const BATCH: usize = 256;

impl Stage for Decontaminate {
    const NAME: &'static str = "decontaminate";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Takes out training problems that repeat test problems.";
    const INPUTS: &'static [Input] = &[
        Input::table("problems").many(),
        Input::table("test").optional(),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::table("problems"),
        Output::table("dropped"),
        Output::json("report"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/decontaminate.rs",
        "corpus/src/decontaminate",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        Invalid::unless(
            what.threshold > 0.0 && what.threshold <= 1.0,
            "threshold",
            "must be above 0 and at most 1: it is a share of common shingles",
        )?;
        Invalid::unless(
            what.shingle_words >= 1,
            "shingle_words",
            "must be at least 1",
        )?;
        Invalid::unless(
            !what.protect.contains(&Split::Train),
            "protect",
            "must not contain `train`: every training problem would be dropped as its own copy",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let protection = Protection::read(what, ctx)?;
        let mut report = Report {
            protected: protection.problems.len() as u64,
            ..Report::default()
        };
        if protection.problems.is_empty() {
            ctx.warn("no test problems are known here, so none are excluded");
        }
        let mut kept = TableWriter::create(&ctx.output("problems"))?;
        let mut dropped = TableWriter::create(&ctx.output("dropped"))?;
        let mut seen = BTreeSet::new();
        for BoundInput { path, label } in ctx.inputs("problems") {
            let table = Table::<Problem>::open(&path, &label)?;
            let progress = ctx.progress(&label, "problems", Some(table.len()));
            let mut rows = table.rows()?;
            loop {
                ctx.check_cancelled()?;
                let batch: Vec<Problem> = rows.by_ref().take(BATCH).collect::<Result<_>>()?;
                if batch.is_empty() {
                    break;
                }
                progress.inc(batch.len() as u64);
                let found: Vec<Option<DroppedProblem>> = batch
                    .par_iter()
                    .map(|problem| protection.find(problem, what))
                    .collect();
                for (problem, found) in batch.into_iter().zip(found) {
                    report.problems_read += 1;
                    if !seen.insert(problem.problem_id.clone()) {
                        report
                            .dropped
                            .add("duplicate_problem", || problem.problem_id);
                        continue;
                    }
                    let Some(row) = found else {
                        kept.push(problem)?;
                        continue;
                    };
                    let reason = match row.reason.as_str() {
                        CONTEST => CONTEST,
                        IDENTICAL => IDENTICAL,
                        _ => SIMILAR,
                    };
                    report.dropped.add(reason, || row.problem_id.clone());
                    dropped.push(row)?;
                }
            }
        }
        report.problems = kept.finish()?;
        dropped.finish()?;
        ctx.metric("problems", report.problems as f64);
        ctx.metric("protected", report.protected as f64);
        report.dropped.report(ctx);
        write_json(&ctx.output("report"), &report)
    }
}

const CONTEST: &str = "contest";
const IDENTICAL: &str = "identical_statement";
const SIMILAR: &str = "similar_statement";

/// The test problems, ready for comparison.
struct Protection {
    problems: Vec<Protected>,
    /// First test problem of a contest.
    contests: BTreeMap<i64, usize>,
    /// First test problem with a statement.
    statements: BTreeMap<String, usize>,
    likeness: Likeness,
}

/// How statements are compared.
enum Likeness {
    Exact(Index),
    Sketched(Sketches),
}

impl Protection {
    fn read(what: &What, ctx: &Ctx) -> Result<Self> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for (port, all) in [("test", true), ("problems", false)] {
            for BoundInput { path, label } in ctx.inputs(port) {
                for row in Table::<Protected>::open(&path, &label)?.rows()? {
                    let row = row?;
                    let protected = all || what.protect.iter().any(|s| s.as_str() == row.split);
                    if protected && seen.insert(row.problem_id.clone()) {
                        problems.push(row);
                    }
                }
            }
        }
        let (mut contests, mut statements) = (BTreeMap::new(), BTreeMap::new());
        for (number, problem) in problems.iter().enumerate() {
            if let Some(contest) = problem.contest_id.filter(|_| what.exclude_contests) {
                contests.entry(contest).or_insert(number);
            }
            let statement = normalised(&problem.description);
            if !statement.is_empty() {
                statements.entry(statement).or_insert(number);
            }
        }
        let texts = problems.iter().map(|problem| problem.description.as_str());
        let words = what.shingle_words as usize;
        let likeness = match what.sketch_hashes {
            0 => Likeness::Exact(Index::new(texts, words)),
            hashes => Likeness::Sketched(Sketches::new(texts, words, hashes as usize)),
        };
        Ok(Self {
            problems,
            contests,
            statements,
            likeness,
        })
    }

    /// Why a problem must not be trained on, if it must not.
    fn find(&self, problem: &Problem, what: &What) -> Option<DroppedProblem> {
        if problem.split != Split::Train.as_str() {
            return None;
        }
        let dropped = |test: usize, reason: &str, similarity: f64| DroppedProblem {
            problem_id: problem.problem_id.clone(),
            test_problem_id: self.problems[test].problem_id.clone(),
            reason: reason.to_owned(),
            similarity,
        };
        let statement = normalised(&problem.description);
        // A problem without a statement is like no other, not like all that have none.
        let similar = if statement.is_empty() {
            None
        } else {
            match &self.likeness {
                Likeness::Exact(index) => index.most_similar(&problem.description),
                Likeness::Sketched(sketches) => sketches.most_similar(&problem.description),
            }
        };
        if let Some(&test) = problem
            .contest_id
            .and_then(|contest| self.contests.get(&contest))
        {
            // The similarity to whichever test problem is nearest tells which one it is.
            let (test, similarity) = similar.unwrap_or((test, 0.0));
            return Some(dropped(test, CONTEST, similarity));
        }
        if let Some(&test) = self.statements.get(&statement) {
            return Some(dropped(test, IDENTICAL, 1.0));
        }
        let (test, similarity) = similar?;
        (similarity >= what.threshold).then(|| dropped(test, SIMILAR, similarity))
    }
}
