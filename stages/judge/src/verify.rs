//! Stage `verify`: judges the data's own solutions and keeps those that are what they claim.
//!
//! Reads `problems` and `solutions`, writes `verdicts` (`program` = solution id), `solutions`
//! (the rows that agree, in order) and a `report`. A correct solution agrees if it is accepted,
//! a wrong one if it is not. Training stages may be bound to either table.
//!
//! What cannot be verified (a language that is not run here, a problem without tests or with
//! named files) is counted and left out, unless `keep_unverified`. With `strict`, a single
//! disagreement fails the stage: for data that are made, not collected.
//!
//! | reads | writes |
//! | --- | --- |
//! | problems, solutions, optionally checkers | verdicts, solutions, report |

use crate::{
    rules::{How, Rules},
    session::{self, CHECKERS, Judged, Program, for_each_judged},
};
use anyhow::{Context as _, bail, ensure};
use corpus::{
    schema::{Solution, Verdict},
    table::{Table, TableWriter},
};
use engine::{Ctx, Input, Invalid, Output, Stage};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

/// Disagreements that a failing stage lists.
const LISTED: usize = 20;
/// Disagreements that the report holds.
const REPORTED: usize = 10_000;

/// The stage.
#[derive(Debug)]
pub struct Verify;

/// Settings of `verify`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// How programs are judged.
    pub rules: Rules,
    /// Keep solutions that cannot be judged here.
    pub keep_unverified: bool,
    /// Fail if a solution is not what it claims.
    pub strict: bool,
}

impl Program for Solution {
    fn name(&self) -> String {
        self.solution_id.clone()
    }
    fn language(&self) -> &str {
        &self.language
    }
    fn source(&self) -> &str {
        &self.source
    }
}

/// The output `report`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Solutions that were judged.
    pub verified: u64,
    /// How many of these are what they claim.
    pub agreeing: u64,
    /// Solutions that were not judged, by reason and language.
    pub unverified: BTreeMap<String, BTreeMap<String, u64>>,
    /// Judged solutions by language, then by claim (`correct` or `wrong`).
    pub by_language: BTreeMap<String, BTreeMap<String, Agreement>>,
    /// Judged solutions by the column `claim`, then by verdict.
    pub by_claim: BTreeMap<String, BTreeMap<String, u64>>,
    /// Solutions that are not what they claim, the first 10,000.
    pub disagreements: Vec<Disagreement>,
    /// How programs were judged.
    pub rules: Rules,
}

/// How many claims hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Solutions that are what they claim.
    pub agree: u64,
    /// Solutions that are not.
    pub disagree: u64,
}

/// A solution that is not what it claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Its problem.
    pub problem_id: String,
    /// The solution.
    pub solution_id: String,
    /// Its language.
    pub language: String,
    /// What the data say: correct or not.
    pub correct: bool,
    /// The data's own verdict, where there is one.
    pub claim: Option<String>,
    /// The judge's.
    pub verdict: String,
    /// Number of the first failed test.
    pub failed_test: Option<i32>,
    /// Why it failed.
    pub detail: Option<String>,
}

/// Version 1: first.
impl Stage for Verify {
    const NAME: &'static str = "verify";
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "judges the data's solutions and keeps those that are what they claim";
    const INPUTS: &'static [Input] = &[
        Input::table("problems"),
        Input::table("solutions"),
        Input::tree(CHECKERS).optional(),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::table("verdicts"),
        Output::table("solutions"),
        Output::json("report"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "judge/src/verify.rs",
        "judge/src/session.rs",
        "judge/src/behaviour.rs",
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
        let shards = session::judge_all::<Solution>(ctx, "solutions", &what.rules, how)?;
        let claims = Table::<Solution>::open(ctx.input("solutions")?, &ctx.label("solutions"))?;
        let mut claims = claims.rows()?;
        let mut verdicts = TableWriter::<Verdict>::create(&ctx.output("verdicts"))?;
        let mut kept = TableWriter::<Solution>::create(&ctx.output("solutions"))?;
        let mut summary = Summary {
            rules: what.rules.clone(),
            ..Summary::default()
        };
        // Shards follow the order of the table, so the two are read side by side.
        for_each_judged(&shards, |judged| {
            let claim = claims
                .next()
                .context("the table of solutions lost a row")??;
            ensure!(
                claim.solution_id == judged.program,
                "shards of another table of solutions; remove the unfinished run and try again"
            );
            if summary.add(&judged, &claim).unwrap_or(what.keep_unverified) {
                kept.push(claim)?;
            }
            if judged.is_judged() {
                verdicts.push(judged.into_verdict())?;
            }
            Ok(())
        })?;
        verdicts.finish()?;
        let kept = kept.finish()?;
        summary.say(ctx, kept);
        if what.strict && summary.agreeing < summary.verified {
            bail!(summary.complaint());
        }
        let json = serde_json::to_string_pretty(&summary)?;
        fs_err::write(ctx.output("report"), json + "\n")?;
        Ok(())
    }
}

impl Summary {
    /// Counts a solution; says whether it is what it claims, `None` if that is not known.
    fn add(&mut self, judged: &Judged, claim: &Solution) -> Option<bool> {
        let language = claim.language.clone();
        // A failure of the judge says nothing about the solution.
        let is_known = judged.is_judged() && judged.verdict != "JE";
        if !is_known {
            let reason = if judged.is_judged() {
                "judge_error"
            } else {
                &judged.standing
            };
            let by_language = self.unverified.entry(reason.to_owned()).or_default();
            *by_language.entry(language).or_default() += 1;
            return None;
        }
        let agrees = claim.correct == (judged.verdict == "AC");
        let side = if claim.correct { "correct" } else { "wrong" };
        self.verified += 1;
        self.agreeing += u64::from(agrees);
        let by_side = self.by_language.entry(language).or_default();
        let agreement = by_side.entry(side.to_owned()).or_default();
        agreement.agree += u64::from(agrees);
        agreement.disagree += u64::from(!agrees);
        let named = claim.claim.clone().unwrap_or_else(|| side.to_owned());
        let by_verdict = self.by_claim.entry(named).or_default();
        *by_verdict.entry(judged.verdict.clone()).or_default() += 1;
        if !agrees && self.disagreements.len() < REPORTED {
            self.disagreements.push(Disagreement {
                problem_id: claim.problem_id.clone(),
                solution_id: claim.solution_id.clone(),
                language: claim.language.clone(),
                correct: claim.correct,
                claim: claim.claim.clone(),
                verdict: judged.verdict.clone(),
                failed_test: judged.failed_test,
                detail: judged.detail.clone(),
            });
        }
        Some(agrees)
    }

    fn say(&self, ctx: &Ctx, kept: u64) {
        let unverified: u64 = self.unverified.values().flat_map(BTreeMap::values).sum();
        ctx.metric("verified", self.verified as f64);
        ctx.metric("agreeing", self.agreeing as f64);
        ctx.metric("unverified", unverified as f64);
        ctx.metric("kept", kept as f64);
        for (reason, by_language) in &self.unverified {
            let total: u64 = by_language.values().sum();
            ctx.metric(&format!("unverified.{reason}"), total as f64);
        }
        if unverified > 0 {
            ctx.info(format!(
                "{unverified} solutions could not be judged here; the report says why"
            ));
        }
    }

    fn complaint(&self) -> String {
        let mut text = format!(
            "{} of {} solutions are not what they claim:",
            self.verified - self.agreeing,
            self.verified
        );
        for one in self.disagreements.iter().take(LISTED) {
            let claim = if one.correct { "correct" } else { "wrong" };
            let test = one.failed_test;
            let test = test.map_or_else(String::new, |test| format!(" on test {test}"));
            let _ = write!(
                text,
                "\n  {} of {} ({}) is called {claim} but is judged {}{test}",
                one.solution_id, one.problem_id, one.language, one.verdict
            );
        }
        text + "\nmend the data, or set strict = false to leave these solutions out"
    }
}
