//! `iota judge-suite`: cases for the judge itself, each with what is allowed and what must not be.

use super::{
    judge::{ensure_running, how, stopper},
    say,
};
use crate::{args::JudgeSuiteArgs, exit::Exit};
use anyhow::Context as _;
use judge::cases::{self, Case, CaseReport};
use std::{fmt::Write as _, io::Write as _, os::unix::process::CommandExt as _, process::Command};

pub(super) fn judge_suite(args: &JudgeSuiteArgs) -> anyhow::Result<Exit> {
    let mut all = Vec::new();
    for file in &args.cases {
        all.extend(cases::read(file)?);
    }
    if !args.only.is_empty() {
        all.retain(|case| args.only.iter().any(|only| only == case.id()));
    }
    with_environment(&all)?;
    let mut counted = Counted::default();
    let stopped = stopper()?;
    let stop = || ensure_running(&stopped);
    let mut done = |report: CaseReport| {
        let line = if args.json {
            Some(serde_json::to_string(&report)?)
        } else {
            (args.all || !report.is_good()).then(|| in_words(&report))
        };
        counted.add(&report);
        if let Some(line) = line {
            // Whoever stopped reading wants no more.
            writeln!(anstream::stdout().lock(), "{line}")?;
        }
        Ok(())
    };
    cases::run(&all, args.repeat, &how(&args.sandbox), &stop, &mut done)?;
    if !args.json {
        say!("{}", counted.in_words());
    }
    Ok(if counted.bad_gates == 0 {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Starts this program again with what the cases want in its environment, unless it is there:
/// a program must not see what the judge had from its start.
fn with_environment(all: &[Case]) -> anyhow::Result<()> {
    let wanted: Vec<_> = all.iter().flat_map(Case::environment).collect();
    let is_there = |(name, value): &(&String, &String)| {
        std::env::var(name.as_str()).is_ok_and(|found| found == **value)
    };
    if wanted.iter().all(is_there) {
        return Ok(());
    }
    let error = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .envs(wanted)
        .exec();
    Err(error).context("cannot start again with the environment that the cases want")
}

#[derive(Default)]
struct Counted {
    runs: usize,
    bad: usize,
    bad_gates: usize,
    gates: usize,
    isolation: String,
}

impl Counted {
    fn add(&mut self, report: &CaseReport) {
        // A pair of outputs has no tier and is a gate.
        let is_gate = report.tier <= 1;
        self.runs += 1;
        self.gates += usize::from(is_gate);
        self.bad += usize::from(!report.is_good());
        self.bad_gates += usize::from(is_gate && !report.is_good());
        if !report.isolation.is_empty() {
            self.isolation.clone_from(&report.isolation);
        }
    }

    fn in_words(&self) -> String {
        format!(
            "{} cases run, {} as they should be; {} of tier 1, {} as they should be\n{}",
            self.runs,
            self.runs - self.bad,
            self.gates,
            self.gates - self.bad_gates,
            self.isolation
        )
    }
}

fn in_words(report: &CaseReport) -> String {
    let mark = if report.is_good() { "✓" } else { "✗" };
    let mut line = format!(
        "{mark} {:<32} {:<8} tier {} CPU {:.3} s, wall {:.3} s, {:.1} MiB",
        report.id,
        report.verdict,
        report.tier,
        report.cpu_s,
        report.wall_s,
        report.memory_bytes as f64 / 1_048_576.0
    );
    if let Some(reason) = &report.reason {
        let _ = write!(line, "\n    {reason}");
    }
    for check in report.checks.iter().filter(|check| !check.passed) {
        let _ = write!(line, "\n    {}: {}", check.kind, check.seen);
    }
    line
}
