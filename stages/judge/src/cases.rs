//! A suite of cases for the judge itself: hostile and plain programs with the verdicts that are
//! allowed and what must not happen, and outputs with the answer of each way of comparing.
//!
//! Behind `iota judge-suite FILE`, a JSON line a case; nothing is printed here. Programs go
//! through the same trials as in the stage `judge`. `cases/place.rs` sets up what a case wants to
//! attack, `cases/look.rs` looks whether it did. Cases that could hurt a judge without isolation
//! are run only once isolation was proved.

mod look;
mod place;

use crate::{
    compare::compare,
    kattis,
    rules::{Commands, How, Mode, Rules},
    trial::{Cost, Trials},
};
use anyhow::{Context as _, ensure};
use look::Look;
use place::Placed;
use sandbox::{Limits, Outcome, Sandbox, Verdict};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, time::Instant};

/// A case: a program, or a pair of outputs (`output` and `verdicts` are there).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Case {
    id: String,
    language: String,
    source: String,
    source_gen: Option<Generated>,
    stdin: String,
    stdin_gen: Option<Generated>,
    expected_stdout: Option<String>,
    expected_stdout_gen: Option<Generated>,
    time_limit_ms: f64,
    memory_limit_mb: u64,
    expected_verdicts: Vec<String>,
    tier: u32,
    danger: String,
    encoding: String,
    runs: Option<u32>,
    compare: Option<String>,
    setup: place::Setup,
    checks: Vec<look::Check>,
    output: Option<String>,
    expected: Option<String>,
    verdicts: Option<BTreeMap<String, String>>,
}

/// A text that is one piece repeated.
#[derive(Clone, Debug, Deserialize)]
struct Generated {
    unit: String,
    times: usize,
}

/// What came of a case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CaseReport {
    /// The case.
    pub id: String,
    /// Which repetition, from 0.
    pub repeat: u32,
    /// 1 for those that must hold.
    pub tier: u32,
    /// The verdict that is not allowed, if there is one, else that of the last run.
    pub verdict: String,
    /// Whether every run's verdict is allowed.
    pub allowed: bool,
    /// Whether nothing happened that must not.
    pub unharmed: bool,
    /// Verdicts of all runs (of pairs of outputs: by way of comparing).
    pub verdicts: Vec<String>,
    /// Why it was not run, or the words of the judge's own failure.
    pub reason: Option<String>,
    /// Wall seconds of compiling.
    pub compile_s: f64,
    /// Wall seconds of the longest run.
    pub wall_s: f64,
    /// CPU seconds of the longest run.
    pub cpu_s: f64,
    /// Largest memory of a run in bytes.
    pub memory_bytes: u64,
    /// How memory was measured.
    pub memory_measure: String,
    /// What each check found.
    pub checks: Vec<look::Found>,
    /// The layers under which it ran.
    pub isolation: String,
}

impl CaseReport {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.allowed && self.unharmed
    }
}

/// Reads the cases of a file.
///
/// # Errors
/// The file cannot be read or a line is no case.
pub fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text = fs_err::read_to_string(path)?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let case: Case = serde_json::from_str(line)
                .with_context(|| format!("{}, line {}", path.display(), number + 1))?;
            ensure!(
                !case.id.is_empty(),
                "{}, line {}: a case needs an `id`",
                path.display(),
                number + 1
            );
            Ok(case)
        })
        .collect()
}

impl Case {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it wants in the judge's own environment, before the judge starts.
    pub fn environment(&self) -> impl Iterator<Item = (&String, &String)> {
        self.setup.env.iter()
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        if self.encoding == "latin-1" {
            text.chars().map(|char| char as u8).collect()
        } else {
            text.as_bytes().to_vec()
        }
    }

    fn text(&self, plain: &str, generated: Option<&Generated>) -> Vec<u8> {
        match generated {
            Some(generated) => self.bytes(&generated.unit).repeat(generated.times),
            None => self.bytes(plain),
        }
    }

    fn expected_bytes(&self) -> Option<Vec<u8>> {
        let generated = self.expected_stdout_gen.as_ref();
        match &self.expected_stdout {
            Some(text) => Some(self.text(text, generated)),
            None => generated.map(|generated| self.text("", Some(generated))),
        }
    }

    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            cpu_s: if self.time_limit_ms > 0.0 {
                self.time_limit_ms / 1e3
            } else {
                defaults.cpu_s
            },
            memory_bytes: if self.memory_limit_mb > 0 {
                self.memory_limit_mb << 20
            } else {
                defaults.memory_bytes
            },
            ..defaults
        }
    }

    /// The verdict on a run's output.
    fn verdict(&self, outcome: &Outcome) -> anyhow::Result<Verdict> {
        if let Some(failure) = outcome.failure() {
            return Ok(failure);
        }
        let Some(expected) = self.expected_bytes() else {
            return Ok(Verdict::Accepted);
        };
        let words = self.compare.as_deref().unwrap_or_default();
        let is_right = match words.strip_prefix("float ") {
            Some(tolerance) => {
                let flags = ["float_tolerance".to_owned(), tolerance.trim().to_owned()];
                kattis::accepts(&flags, &outcome.stdout, &expected)?
            }
            None => Mode::Lenient.of(compare(&outcome.stdout, &expected)),
        };
        Ok(if is_right {
            Verdict::Accepted
        } else {
            Verdict::WrongAnswer
        })
    }
}

/// Runs cases one after the other, all of them `repeats` times; `done` hears of each.
///
/// # Errors
/// The sandbox cannot be started, or the user asked to stop.
pub fn run(
    cases: &[Case],
    repeats: u32,
    how: &How,
    stop: &(dyn Fn() -> anyhow::Result<()> + Sync),
    done: &mut dyn FnMut(CaseReport) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut rules = Rules::default();
    if cases.iter().any(|case| case.language == "java") {
        rules.languages.insert("java".into(), Commands::default());
    }
    let how = How {
        workers: 1,
        ..how.clone()
    };
    let sandbox = Sandbox::new(&how.sandbox_options(&rules)).context("cannot start the sandbox")?;
    let trials = Trials {
        stop,
        sandbox: &sandbox,
        rules: &rules,
    };
    for repeat in 0..repeats {
        for case in cases {
            stop()?;
            let mut report = match &case.verdicts {
                Some(wanted) => pair(case, wanted),
                None => program(case, &trials)
                    .with_context(|| format!("while running the case {}", case.id))?,
            };
            report.repeat = repeat;
            done(report)?;
        }
    }
    Ok(())
}

fn blank(case: &Case) -> CaseReport {
    CaseReport {
        id: case.id.clone(),
        tier: case.tier,
        unharmed: true,
        ..CaseReport::default()
    }
}

/// A pair of outputs: every way of comparing has its own wanted answer.
fn pair(case: &Case, wanted: &BTreeMap<String, String>) -> CaseReport {
    let text = |text: &Option<String>| case.bytes(text.as_deref().unwrap_or_default());
    let found = compare(&text(&case.output), &text(&case.expected));
    let mut report = blank(case);
    report.allowed = true;
    for mode in Mode::ALL {
        let verdict = if mode.of(found) { "AC" } else { "WA" };
        if let Some(wanted) = wanted.get(mode.name()) {
            report.allowed &= wanted == verdict;
        }
        report.verdicts.push(format!("{} {verdict}", mode.name()));
    }
    report.verdict = report.verdicts.join(", ");
    report
}

fn program(case: &Case, trials: &Trials<'_>) -> anyhow::Result<CaseReport> {
    let isolation = trials.sandbox.isolation();
    let mut report = blank(case);
    report.isolation = isolation.to_string();
    isolation
        .memory_measure()
        .name()
        .clone_into(&mut report.memory_measure);
    let is_dangerous = !matches!(case.danger.as_str(), "" | "none");
    if is_dangerous && !isolation.missing().is_empty() {
        report.verdict = "SKIPPED".into();
        report.reason = Some("dangerous, and isolation is below the minimum".into());
        return Ok(report);
    }
    let name = match case.language.as_str() {
        "python" => "python3",
        other => other,
    };
    let Some(language) = trials.rules.language(name) else {
        report.verdict = "SKIPPED".into();
        report.reason = Some(format!("programs in {} are not run here", case.language));
        return Ok(report);
    };
    let placed = Placed::new(&case.setup)?;
    let look = Look::start();
    let clock = Instant::now();
    let source = case.text(&case.source, case.source_gen.as_ref());
    let compiled = trials.sandbox.compile(language, &source);
    report.compile_s = clock.elapsed().as_secs_f64();
    let mut outputs = Vec::new();
    let mut log = String::new();
    match compiled {
        Err(error) => {
            report.verdicts.push(Verdict::JudgeError.code().to_owned());
            report.reason = Some(error.to_string());
        }
        Ok(Err(rejected)) => {
            report
                .verdicts
                .push(Verdict::CompileError.code().to_owned());
            log = rejected.message;
        }
        Ok(Ok(program)) => {
            let stdin = case.text(&case.stdin, case.stdin_gen.as_ref());
            for _ in 0..case.runs.unwrap_or(1).max(1) {
                let mut cost = Cost::default();
                match trials.measure(&program, &stdin, &case.limits(), &mut cost) {
                    Ok(outcome) => {
                        report.cpu_s = report.cpu_s.max(outcome.cpu_s);
                        report.wall_s = report.wall_s.max(outcome.wall_s);
                        report.memory_bytes = report.memory_bytes.max(outcome.memory_bytes);
                        let verdict = case.verdict(&outcome)?;
                        report.verdicts.push(verdict.code().to_owned());
                        outputs.push(outcome.stdout);
                    }
                    Err(error) => {
                        report.verdicts.push(Verdict::JudgeError.code().to_owned());
                        report.reason = Some(error.to_string());
                    }
                }
            }
        }
    }
    let is_allowed = |verdict: &String| case.expected_verdicts.contains(verdict);
    report.allowed = report.verdicts.iter().all(is_allowed);
    let bad = report.verdicts.iter().find(|verdict| !is_allowed(verdict));
    report.verdict = bad.or(report.verdicts.last()).cloned().unwrap_or_default();
    report.checks = look.end(&case.checks, &placed, &outputs, &log);
    report.unharmed = report.checks.iter().all(|check| check.passed);
    Ok(report)
}
