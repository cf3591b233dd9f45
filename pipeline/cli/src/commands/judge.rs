//! `iota judge`: one's own program on a problem, or a whole Kattis problem package.

use super::say;
use crate::{
    args::{JudgeArgs, SandboxArgs},
    exit::Exit,
    render::human,
};
use anyhow::{Context as _, ensure};
use judge::{
    package::{Expected, Problem, ProgramReport, Report, Settings},
    rules::{How, Mode},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Details longer than this are cut in the table.
const WORDS: usize = 60;

pub(super) fn judge(args: &JudgeArgs) -> anyhow::Result<Exit> {
    let is_package = args.problem.is_none();
    let place = if let Some(place) = &args.problem {
        place.clone()
    } else {
        let folder = args.programs.first().context(
            "name a program and its problem, or a problem package: iota judge FILE --problem DIR",
        )?;
        ensure!(
            args.programs.len() == 1 && folder.is_dir(),
            "`--problem` is missing: a folder with problem.yaml or with *.in and *.ans, or \
             FILE.parquet#PROBLEM_ID"
        );
        folder.display().to_string()
    };
    let problem = Problem::read(&place)?;
    let compare = match args.compare.as_deref() {
        None => None,
        Some(name) => Some(
            Mode::ALL
                .into_iter()
                .find(|mode| mode.name() == name)
                .with_context(|| {
                    format!("`--compare {name}` is none of strict, code_contests, lenient")
                })?,
        ),
    };
    let settings = Settings {
        time_limit_s: args.time_limit,
        memory_limit_bytes: args.memory_limit.map(|mib| mib << 20),
        compare,
        checker: args.checker.clone(),
        language: args.language.clone(),
        all_tests: args.all_tests,
        how: how(&args.sandbox),
    };
    let programs = if is_package { &[][..] } else { &args.programs };
    let stopped = stopper()?;
    let stop = || ensure_running(&stopped);
    let report = problem.judge(programs, &settings, &stop, &|_| {})?;
    if args.json {
        for program in &report.programs {
            say!("{}", as_json(program, &report));
        }
    } else {
        for line in lines(&problem.name, &report, is_package) {
            say!("{line}");
        }
    }
    let is_good = |program: &ProgramReport| match program.is_as_expected() {
        Some(is_good) => is_good,
        // What a package has in a language that is not there is said and no failure.
        None => is_package,
    };
    Ok(if report.programs.iter().all(is_good) {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// How the machine is used, by the options.
pub(super) fn how(args: &SandboxArgs) -> How {
    How {
        workers: args.workers,
        header_cache: None,
        python3: args.python3.clone(),
        unsafe_mode: args.r#unsafe,
    }
}

/// A flag that is set when the user asks to stop.
pub(super) fn stopper() -> anyhow::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stopped))?;
        signal_hook::flag::register(signal, Arc::clone(&stopped))?;
    }
    Ok(stopped)
}

/// Fails once the user asked to stop.
pub(super) fn ensure_running(stopped: &AtomicBool) -> anyhow::Result<()> {
    ensure!(!stopped.load(Ordering::Relaxed), "stopped");
    Ok(())
}

fn as_json(program: &ProgramReport, report: &Report) -> serde_json::Value {
    let tests: Vec<_> = program
        .tests
        .iter()
        .map(|test| {
            json!({
                "name": test.name, "verdict": test.verdict.code(), "cpu_s": test.cpu_s,
                "wall_s": test.wall_s, "memory_bytes": test.memory_bytes, "words": test.words,
            })
        })
        .collect();
    json!({
        "v": 1, "program": program.path, "language": program.language,
        "expected": expected(program.expected), "verdict": program.verdict.map(sandbox::Verdict::code),
        "as_expected": program.is_as_expected(), "words": program.words, "tests": tests,
        "tests_in_all": report.tests, "time_limit_s": report.time_limit_s,
        "memory_limit_bytes": report.memory_limit_bytes, "decides": report.decides,
        "isolation": report.isolation,
    })
}

fn expected(expected: Expected) -> String {
    match expected {
        Expected::Anything => String::new(),
        Expected::Accepted => "AC".to_owned(),
        Expected::Failure(Some(verdict)) => verdict.code().to_owned(),
        Expected::Failure(None) => "not AC".to_owned(),
    }
}

fn short(words: Option<&String>) -> String {
    let line = words.map_or("", |words| words.lines().next().unwrap_or_default());
    let text: String = line.chars().take(WORDS).collect();
    if text.len() < line.len() {
        text + "…"
    } else {
        text
    }
}

fn lines(name: &str, report: &Report, is_package: bool) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{name}: {} tests, {} s, {}, {}",
            report.tests,
            report.time_limit_s,
            human::bytes(report.memory_limit_bytes),
            report.decides
        ),
        report.isolation.clone(),
    ];
    if is_package {
        lines.push(String::new());
        lines.extend(package(report));
    } else {
        for program in &report.programs {
            lines.push(String::new());
            lines.extend(one(program, report.tests));
        }
    }
    lines
}

fn package(report: &Report) -> Vec<String> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "",
        "submission",
        "language",
        "expected",
        "verdict",
        "tests",
        "slowest",
        "memory",
        "",
    ]);
    for program in &report.programs {
        let mark = match program.is_as_expected() {
            Some(true) => "✓",
            Some(false) => "✗",
            None => "–",
        };
        let slowest = program
            .tests
            .iter()
            .map(|test| test.cpu_s)
            .fold(0.0, f64::max);
        let memory = program.tests.iter().map(|test| test.memory_bytes).max();
        let group = program.path.parent().and_then(|path| path.file_name());
        let file = program.path.file_name().unwrap_or_default();
        let group = group.unwrap_or_default();
        table.add_row([
            mark.to_owned(),
            format!("{}/{}", group.to_string_lossy(), file.to_string_lossy()),
            program.language.clone(),
            expected(program.expected),
            program
                .verdict
                .map_or("not run", sandbox::Verdict::code)
                .to_owned(),
            program.tests.len().to_string(),
            format!("{slowest:.3} s"),
            human::bytes(memory.unwrap_or(0)),
            short(program.words.as_ref()),
        ]);
    }
    let mut lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let count = |wanted| {
        let programs = report.programs.iter();
        programs
            .filter(|program| program.is_as_expected() == wanted)
            .count()
    };
    lines.push(String::new());
    lines.push(format!(
        "{} as expected, {} not, {} not run",
        count(Some(true)),
        count(Some(false)),
        count(None)
    ));
    lines
}

fn one(program: &ProgramReport, tests: usize) -> Vec<String> {
    let verdict = program.verdict.map_or("not run", sandbox::Verdict::code);
    let passed = program
        .tests
        .iter()
        .filter(|test| test.verdict == sandbox::Verdict::Accepted)
        .count();
    let mut lines = vec![format!(
        "{} ({}): {verdict}, {passed} of {tests} tests passed",
        program.path.display(),
        program.language
    )];
    if program.tests.is_empty() {
        lines.extend(
            program
                .words
                .iter()
                .flat_map(|words| words.lines())
                .map(|line| format!("  {line}")),
        );
        return lines;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["test", "verdict", "CPU", "wall", "memory", ""]);
    for test in &program.tests {
        table.add_row([
            test.name.clone(),
            test.verdict.code().to_owned(),
            format!("{:.3} s", test.cpu_s),
            format!("{:.3} s", test.wall_s),
            human::bytes(test.memory_bytes),
            short(test.words.as_ref()),
        ]);
    }
    lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
    lines
}
