//! Stage `judge`: runs every sampled program on the tests of its problem.
//!
//! Reads `problems` and `generations` (from `sample`), writes `verdicts` and a `report` of
//! counts; `report` reads both. Paper, section 4.
//!
//! A program that was not judged has no row in `verdicts`: its problem has no tests or wants
//! named files. The report counts these. A language that cannot be run is an error here,
//! since the recipe asked for it. The isolation layers and the numbers of problems solved
//! under the other ways of comparing stand in the report.
//!
//! | reads | writes |
//! | --- | --- |
//! | problems, generations, optionally checkers | verdicts (`program` = sample number), report |

use crate::{
    clusters::Cluster,
    rules::{How, Mode, Rules},
    session::{
        self, CHECKERS, Judged, NAMED_FILES, NO_TESTS, NOT_RUNNABLE, Program, for_each_judged,
    },
};
use anyhow::bail;
use corpus::{schema::Verdict, table::TableWriter};
use engine::{Ctx, Input, Invalid, Output, Stage};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The stage.
#[derive(Debug)]
pub struct Judge;

/// Settings of `judge`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// How programs are judged.
    pub rules: Rules,
}

corpus::table! {
    struct Sampled in "generations" {
        problem_id: String,
        sample: u32,
        language: String,
        text: String,
    }
}

impl Program for Sampled {
    fn name(&self) -> String {
        self.sample.to_string()
    }
    fn language(&self) -> &str {
        &self.language
    }
    fn source(&self) -> &str {
        &self.text
    }
}

/// What was judged and how; the output `report`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// BLAKE3 of the table of verdicts this belongs to.
    pub verdicts: String,
    /// Problems with verdicts.
    pub problems: u64,
    /// Programs with verdicts.
    pub programs: u64,
    /// How many of these differ in text and in what they compile to.
    pub distinct_programs: u64,
    /// Problems left out because they have no tests.
    pub problems_without_tests: BTreeSet<String>,
    /// Problems left out because they want named files.
    pub problems_with_named_files: BTreeSet<String>,
    /// Programs by verdict.
    pub verdict_counts: BTreeMap<String, u64>,
    /// Problems with an accepted program, by way of comparing.
    pub solved_problems: BTreeMap<String, u64>,
    /// Accepted programs, by way of comparing.
    pub accepted_programs: BTreeMap<String, u64>,
    /// By problem, clusters of the samples that pass the public tests, the largest first; only
    /// with `rules.cluster_inputs`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, Vec<Cluster>>,
    /// How programs were judged.
    pub rules: Rules,
    /// The layers that kept programs off the machine; more than one set if the run was resumed
    /// elsewhere.
    pub isolation: BTreeSet<String>,
}

/// Version 1: first.
impl Stage for Judge {
    const NAME: &'static str = "judge";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "runs sampled programs on the tests of their problems";
    const INPUTS: &'static [Input] = &[
        Input::table("problems"),
        Input::table("generations"),
        Input::tree(CHECKERS).optional(),
    ];
    const OUTPUTS: &'static [Output] = &[Output::table("verdicts"), Output::json("report")];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/judge.rs",
        "judge/src/session.rs",
        "judge/src/behaviour.rs",
        "judge/src/clusters.rs",
        "judge/src/checker.rs",
        "judge/src/program_file.rs",
        "judge/src/journal.rs",
        "judge/src/order.rs",
        "judge/src/suite.rs",
        "judge/src/trial.rs",
        "judge/src/rules.rs",
        "judge/src/compare.rs",
        "sandbox/src",
        "corpus/src/schema.rs",
        "corpus/src/table.rs",
        "corpus/src/column.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = How;

    fn check(what: &What) -> Result<(), Invalid> {
        what.rules.check()
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> anyhow::Result<()> {
        let shards = session::judge_all::<Sampled>(ctx, "generations", &what.rules, how)?;
        let path = ctx.output("verdicts");
        let mut verdicts = TableWriter::<Verdict>::create(&path)?;
        let mut counting = Counting::default();
        for_each_judged(&shards, |row| {
            counting.add(&row)?;
            if row.is_judged() {
                verdicts.push(row.into_verdict())?;
            }
            Ok(())
        })?;
        verdicts.finish()?;
        let summary = counting.summary(&what.rules, crate::tally::digest(&path)?);
        summary.say(ctx);
        let json = serde_json::to_string_pretty(&summary)?;
        fs_err::write(ctx.output("report"), json + "\n")?;
        Ok(())
    }
}

/// Collects the summary from the rows.
#[derive(Default)]
struct Counting {
    summary: Summary,
    problems: BTreeSet<String>,
    solved: BTreeMap<&'static str, BTreeSet<String>>,
    behaviours: BTreeMap<String, BTreeMap<String, Cluster>>,
}

impl Counting {
    fn add(&mut self, row: &Judged) -> anyhow::Result<()> {
        let summary = &mut self.summary;
        match row.standing.as_str() {
            NO_TESTS => {
                summary
                    .problems_without_tests
                    .insert(row.problem_id.clone());
            }
            NAMED_FILES => {
                summary
                    .problems_with_named_files
                    .insert(row.problem_id.clone());
            }
            NOT_RUNNABLE => bail!(
                "sample {} of {} is in a language that the judge cannot run; \
                 sample in cpp or python3, or name the language in rules.languages",
                row.program,
                row.problem_id
            ),
            _ => {
                self.problems.insert(row.problem_id.clone());
                summary.programs += 1;
                summary.distinct_programs += u64::from(!row.is_duplicate);
                *summary
                    .verdict_counts
                    .entry(row.verdict.clone())
                    .or_default() += 1;
                summary.isolation.insert(row.isolation.clone());
                if let Some(behaviour) = &row.behaviour {
                    let problem = self.behaviours.entry(row.problem_id.clone()).or_default();
                    let cluster = problem.entry(behaviour.clone()).or_default();
                    cluster.samples += 1;
                    cluster.solved += u64::from(row.verdict == "AC");
                }
                for (mode, accepted) in [
                    (Mode::Strict, row.accepted_strict),
                    (Mode::CodeContests, row.accepted_code_contests),
                    (Mode::Lenient, row.accepted_lenient),
                ] {
                    let name = mode.name();
                    let solved = self.solved.entry(name).or_default();
                    let programs = summary.accepted_programs.entry(name.into()).or_default();
                    if accepted {
                        *programs += 1;
                        solved.insert(row.problem_id.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn summary(self, rules: &Rules, verdicts: String) -> Summary {
        let solved = self.solved.into_iter();
        let behaviours = self.behaviours.into_iter();
        let largest_first = |clusters: BTreeMap<String, Cluster>| {
            let mut clusters: Vec<Cluster> = clusters.into_values().collect();
            clusters.sort_by_key(|cluster| (Reverse(cluster.samples), Reverse(cluster.solved)));
            clusters
        };
        Summary {
            verdicts,
            problems: self.problems.len() as u64,
            rules: rules.clone(),
            clusters: behaviours
                .map(|(problem, clusters)| (problem, largest_first(clusters)))
                .collect(),
            solved_problems: solved
                .map(|(mode, problems)| (mode.to_owned(), problems.len() as u64))
                .collect(),
            ..self.summary
        }
    }
}

impl Summary {
    fn say(&self, ctx: &Ctx) {
        for (what, problems) in [
            ("no tests", &self.problems_without_tests),
            (
                "named input or output files",
                &self.problems_with_named_files,
            ),
        ] {
            if let Some(first) = problems.first() {
                ctx.warn(format!(
                    "{} problems have {what} and were not judged, {first} among them",
                    problems.len()
                ));
            }
        }
        let judge_errors = self.verdict_counts.get("JE").copied().unwrap_or(0);
        if judge_errors > 0 {
            ctx.warn(format!(
                "the judge failed on {judge_errors} programs (verdict JE)"
            ));
        }
        ctx.metric("problems", self.problems as f64);
        ctx.metric("programs", self.programs as f64);
        ctx.metric("distinct_programs", self.distinct_programs as f64);
        let solved = self.solved_problems.get(self.rules.compare.name());
        ctx.metric("solved", solved.copied().unwrap_or(0) as f64);
        for (verdict, count) in &self.verdict_counts {
            ctx.metric(&format!("verdict.{verdict}"), *count as f64);
        }
    }
}
