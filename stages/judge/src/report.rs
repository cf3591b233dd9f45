//! Stage `report`: the paper's Table 1 from tables of verdicts, one row a model, and the curves.
//!
//! Reads `problems`, one table `verdicts` for each name in `rows`, in that order, and as
//! `judged` the reports of the same judge stages (in any order, matched by the digest of the
//! verdicts they are for), which say under which rules and isolation programs ran; `metrics`, a
//! table for each name in `curves`, if there are any. Writes `table` (Markdown), `page` (the same
//! with curves, for a browser) and `report` (JSON, all numbers). Paper, section 4.
//!
//! Promises: every row names the BLAKE3 digest of the verdicts it was computed from. All rows
//! are measured on the same problems: those of the split that have tests and that at least one
//! row has samples for. Problems a row has no samples for count as unsolved, with a note.
//!
//! | reads | writes |
//! | --- | --- |
//! | problems, verdicts (many), judged (many), metrics (any) | table, page, report |

mod curves;
pub mod markdown;
mod page;
mod paired;
pub mod paper;
pub mod seeds;

use crate::{
    clusters::n_at_k_clustered,
    judge,
    score::{Counts, Interval, bootstrap, n_at_k, pass_at_k},
    tally::{Tally, digest},
};
use anyhow::{Context as _, ensure};
use corpus::{schema::TestCase, table::Table};
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage};
use paired::Paired;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The stage.
#[derive(Debug)]
pub struct Report;

/// Settings of `report`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// The name of each table of verdicts, in the order of the input.
    pub rows: Vec<String>,
    /// The row that all others are held against; empty means the first.
    pub against: String,
    /// The name of each table of metrics, in the order of the input.
    pub curves: Vec<String>,
    /// The split whose problems are reported on.
    pub split: String,
    /// The `k` of each pass@k.
    pub pass_at: Vec<u64>,
    /// The `n` and `k` of each n@k.
    pub n_at_k: Vec<(u64, u64)>,
    /// Draws of the bootstrap.
    pub resamples: u64,
    /// Show the rows published in the paper.
    pub paper_rows: bool,
}

impl Default for What {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            against: String::new(),
            curves: Vec::new(),
            split: "test".to_owned(),
            pass_at: vec![1, 10, 100, 1000],
            n_at_k: vec![(10, 1000)],
            resamples: 1000,
            paper_rows: true,
        }
    }
}

corpus::table! {
    struct ProblemTests in "problems" {
        problem_id: String,
        split: String,
        public_tests: Vec<TestCase>,
        private_tests: Vec<TestCase>,
        generated_tests: Vec<TestCase>,
    }
}

/// A mean over problems with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The middle 95 % of the bootstrap over problems.
    pub interval: Option<Interval>,
}

/// All numbers of a report; the output `report`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Numbers {
    /// The split reported on.
    pub split: String,
    /// Problems the rows are measured on.
    pub problems: Vec<String>,
    /// Problems of the split that have tests and no samples in any row.
    pub problems_not_sampled: Vec<String>,
    /// Problems of the split without tests.
    pub problems_without_tests: Vec<String>,
    /// One for each table of verdicts.
    pub rows: Vec<RowNumbers>,
    /// The row that the others are held against.
    pub against: String,
    /// Each other row against it.
    pub paired: Vec<Paired>,
    /// Published rows.
    pub paper: Vec<paper::PaperRow>,
}

/// The numbers of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowNumbers {
    /// Its name.
    pub name: String,
    /// BLAKE3 of the table of verdicts.
    pub verdicts: String,
    /// Samples in all.
    pub samples: u64,
    /// Fewest and most samples of a problem, problems without samples left out.
    pub samples_per_problem: (u64, u64),
    /// Problems without samples.
    pub problems_without_samples: Vec<String>,
    /// Problems with at least one sample that passes all tests.
    pub solved: u64,
    /// The same as a share of the problems.
    pub solved_share: Estimate,
    /// Share of samples that compile.
    pub compile_rate: f64,
    /// pass@k by k; null where a problem has fewer than k samples.
    pub pass_at: BTreeMap<u64, Option<Estimate>>,
    /// n@k by `n@k`; null where a problem has fewer than k samples.
    pub n_at_k: BTreeMap<String, Option<Estimate>>,
    /// The same with submissions chosen by clusters of samples that behave alike; none if the judge
    /// was not told to look (`rules.cluster_inputs`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub n_at_k_clustered: BTreeMap<String, Option<Estimate>>,
    /// Samples by verdict.
    pub verdict_counts: BTreeMap<String, u64>,
    /// Right samples and samples by problem.
    pub per_problem: BTreeMap<String, PerProblem>,
    /// How the programs were judged.
    pub judged: judge::Summary,
}

/// What is known about one problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PerProblem {
    /// Samples that pass all tests.
    pub solved: u64,
    /// Samples that pass the public tests.
    pub public: u64,
    /// Samples.
    pub samples: u64,
}

impl Stage for Report {
    const NAME: &'static str = "report";
    /// 1: first. 2: pairs against a row of choice, shares compared; the page. 3: the page has the
    /// curves before the long table, and tables that fit.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "turns verdicts into the paper's table, with intervals";
    const INPUTS: &'static [Input] = &[
        Input::table("problems"),
        Input::table("verdicts").many(),
        Input::json("judged").many(),
        Input::table("metrics").any_number(),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::text("table"),
        Output::page("page"),
        Output::json("report"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/report.rs",
        "judge/src/report",
        "judge/src/tally.rs",
        "judge/src/score.rs",
        "judge/src/clusters.rs",
    ];
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        let names: BTreeSet<&String> = what.rows.iter().collect();
        Invalid::unless(
            !what.rows.is_empty() && names.len() == what.rows.len(),
            "rows",
            "must name each table of verdicts once, in the order of inputs.verdicts, \
             as in rows = [\"sft\", \"ppo\"]",
        )?;
        Invalid::unless(
            what.rows
                .iter()
                .all(|name| !name.trim().is_empty() && !name.contains(['|', '\n'])),
            "rows",
            "must be names without `|` and line breaks, since they stand in a table",
        )?;
        Invalid::unless(
            what.against.is_empty() || names.contains(&what.against),
            "against",
            "must be one of rows, or empty for the first of them",
        )?;
        let curves: BTreeSet<&String> = what.curves.iter().collect();
        Invalid::unless(
            curves.len() == what.curves.len(),
            "curves",
            "must name each table of metrics once, in the order of inputs.metrics",
        )?;
        Invalid::unless(
            what.pass_at.iter().all(|k| *k > 0),
            "pass_at",
            "must be numbers of samples above 0",
        )?;
        Invalid::unless(
            what.n_at_k.iter().all(|(n, k)| 0 < *n && n <= k),
            "n_at_k",
            "must be pairs [n, k] with 0 < n <= k: n submissions out of k samples",
        )?;
        Invalid::unless(
            (100..=1_000_000).contains(&what.resamples),
            "resamples",
            "must be between 100 and 1000000",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> anyhow::Result<()> {
        let numbers = numbers(what, ctx)?;
        for row in &numbers.rows {
            ctx.metric(&format!("solved.{}", row.name), row.solved as f64);
        }
        ctx.metric("problems", numbers.problems.len() as f64);
        let table = markdown::table(&numbers);
        let curves = curves::read(&what.curves, &ctx.inputs("metrics"))?;
        fs_err::write(ctx.output("page"), page::page(&table, &curves))?;
        fs_err::write(ctx.output("table"), table)?;
        let json = serde_json::to_string_pretty(&numbers)?;
        fs_err::write(ctx.output("report"), json + "\n")?;
        Ok(())
    }
}

fn numbers(what: &What, ctx: &Ctx) -> anyhow::Result<Numbers> {
    let bound = ctx.inputs("verdicts");
    ensure!(
        bound.len() == what.rows.len(),
        "rows names {} rows ({}), but inputs.verdicts has {} tables; give each table one name, \
         in the same order",
        what.rows.len(),
        what.rows.join(", "),
        bound.len()
    );
    // Problems of the split, and whether they have tests.
    let mut testable: BTreeMap<String, bool> = BTreeMap::new();
    let problems = Table::<ProblemTests>::open(ctx.input("problems")?, &ctx.label("problems"))?;
    for row in problems.rows()? {
        let row = row?;
        if row.split == what.split {
            let tests = [&row.public_tests, &row.private_tests, &row.generated_tests];
            let has_tests = tests.iter().any(|tests| !tests.is_empty());
            testable.insert(row.problem_id, has_tests);
        }
    }
    ensure!(
        !testable.is_empty(),
        "{} has no problem in split `{}`; set split to one it has",
        ctx.label("problems"),
        what.split
    );

    let mut tallies = Vec::new();
    for input in &bound {
        let wanted = |problem: &str| testable.get(problem) == Some(&true);
        let tally = Tally::read(&input.path, &input.label, wanted)?;
        ensure!(
            tally.samples > 0,
            "{} has no verdict on a problem of split `{}`",
            input.label,
            what.split
        );
        tallies.push(tally);
    }
    let sampled: BTreeSet<&String> = tallies
        .iter()
        .flat_map(|tally| tally.problems.keys())
        .collect();
    let with = |has_tests: bool| {
        testable
            .iter()
            .filter(move |(_, has)| **has == has_tests)
            .map(|(id, _)| id)
    };
    let problems: Vec<String> = with(true)
        .filter(|id| sampled.contains(id))
        .cloned()
        .collect();
    let not_sampled = with(true).filter(|id| !sampled.contains(id));

    let mut judged = judged(ctx)?;
    let mut rows = Vec::new();
    for ((name, input), tally) in what.rows.iter().zip(&bound).zip(&tallies) {
        let digest = digest(&input.path)?;
        let judged = judged.get(&digest).cloned().with_context(|| {
            format!(
                "no input of `judged` is for the verdicts of {} (b3:{digest}); bind the report \
                 of the same judge stage",
                input.label
            )
        })?;
        rows.push(row(
            what,
            ctx.seed(),
            name,
            digest,
            judged,
            tally,
            &problems,
        ));
    }
    for row in &rows {
        judged.remove(&row.verdicts);
    }
    ensure!(
        judged.is_empty(),
        "an input of `judged` is for other verdicts ({}) than those bound; bind the reports of \
         the judge stages whose verdicts are bound",
        judged.keys().cloned().collect::<Vec<_>>().join(", ")
    );
    let named = rows.iter().position(|row| row.name == what.against);
    let against = named.unwrap_or(0);
    Ok(Numbers {
        split: what.split.clone(),
        problems_not_sampled: not_sampled.cloned().collect(),
        problems_without_tests: with(false).cloned().collect(),
        against: rows[against].name.clone(),
        paired: paired::against(&rows, against, what.resamples, ctx.seed()),
        problems,
        rows,
        paper: if what.paper_rows {
            paper::ROWS.to_vec()
        } else {
            Vec::new()
        },
    })
}

/// The judge's reports by the digest of the verdicts they are for.
fn judged(ctx: &Ctx) -> anyhow::Result<BTreeMap<String, judge::Summary>> {
    let mut reports = BTreeMap::new();
    for input in ctx.inputs("judged") {
        let text = fs_err::read_to_string(&input.path)?;
        let summary: judge::Summary = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a report of `judge`", input.label))?;
        reports.insert(summary.verdicts.clone(), summary);
    }
    Ok(reports)
}

/// For each problem, n@k by clusters; `None` if one has samples, but fewer than k.
fn clustered(
    what: &What,
    seed: u64,
    judged: &judge::Summary,
    problems: &[String],
    counts: &[Counts],
    n: u64,
    k: u64,
) -> Option<Vec<f64>> {
    let one = |(id, counts): (&String, &Counts)| {
        let clusters = judged.clusters.get(id).map_or(&[][..], Vec::as_slice);
        match counts.samples {
            0 => Some(0.0),
            samples => n_at_k_clustered(samples, clusters, n, k, what.resamples, seed),
        }
    };
    problems.iter().zip(counts).map(one).collect()
}

fn row(
    what: &What,
    seed: u64,
    name: &str,
    verdicts: String,
    judged: judge::Summary,
    tally: &Tally,
    problems: &[String],
) -> RowNumbers {
    let counts: Vec<Counts> = problems
        .iter()
        .map(|id| tally.problems.get(id).copied().unwrap_or_default())
        .collect();
    let estimate = |values: &[f64]| Estimate {
        value: values.iter().sum::<f64>() / values.len() as f64,
        interval: bootstrap(values, what.resamples, seed),
    };
    // A problem without samples is unsolved whatever k; one with too few makes k unknown.
    let over_problems = |probability: &dyn Fn(Counts) -> Option<f64>| {
        let values: Option<Vec<f64>> = counts
            .iter()
            .map(|&counts| match counts.samples {
                0 => Some(0.0),
                _ => probability(counts),
            })
            .collect();
        values.map(|values| estimate(&values))
    };
    let solved: Vec<f64> = counts
        .iter()
        .map(|counts| f64::from(u8::from(counts.solved > 0)))
        .collect();
    let asked = || {
        counts
            .iter()
            .map(|counts| counts.samples)
            .filter(|&n| n > 0)
    };
    RowNumbers {
        name: name.to_owned(),
        verdicts,
        samples: tally.samples,
        samples_per_problem: (asked().min().unwrap_or(0), asked().max().unwrap_or(0)),
        problems_without_samples: problems
            .iter()
            .filter(|id| !tally.problems.contains_key(*id))
            .cloned()
            .collect(),
        solved: counts.iter().filter(|counts| counts.solved > 0).count() as u64,
        solved_share: estimate(&solved),
        compile_rate: tally.compiled as f64 / tally.samples as f64,
        pass_at: what
            .pass_at
            .iter()
            .map(|&k| (k, over_problems(&|c| pass_at_k(c.samples, c.solved, k))))
            .collect(),
        n_at_k: what
            .n_at_k
            .iter()
            .map(|&(n, k)| (format!("{n}@{k}"), over_problems(&|c| n_at_k(c, n, k))))
            .collect(),
        n_at_k_clustered: if judged.rules.cluster_inputs > 0 {
            let by_clusters = |n, k| clustered(what, seed, &judged, problems, &counts, n, k);
            what.n_at_k
                .iter()
                .map(|&(n, k)| {
                    (
                        format!("{n}@{k}"),
                        by_clusters(n, k).as_deref().map(estimate),
                    )
                })
                .collect()
        } else {
            BTreeMap::new()
        },
        verdict_counts: tally.verdicts.clone(),
        per_problem: problems
            .iter()
            .zip(&counts)
            .map(|(id, counts)| {
                let per_problem = PerProblem {
                    solved: counts.solved,
                    public: counts.public,
                    samples: counts.samples,
                };
                (id.clone(), per_problem)
            })
            .collect(),
        judged,
    }
}
