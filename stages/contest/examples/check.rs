//! Runs every program of a sample of problems and reports each that does not do what it
//! claims: `cargo run --release -p contest --example check -- --problems 200`.
//!
//! Options: `--problems N` `--seed S` `--family NAME` (`--problems` of that one) `--python`
//! (leave C++ out) `--show` (print the problems instead) `--least N` (per family).
//!
//! Needs python3 and g++; no sandbox, the programs are this crate's own. Wall time is
//! limited to twice the problem's limit, so a busy machine may report slow right programs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use contest::{Claim, Language, Options, Problem, Solution};

fn main() -> Result<()> {
    let mut options = Options { problems: 200, ..Options::default() };
    let (mut family, mut python, mut show, mut least) = (None, false, false, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--problems" => options.problems = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--least" => least = value()?.parse()?,
            "--family" => family = Some(value()?),
            "--python" => python = true,
            "--show" => show = true,
            _ => bail!("unknown option {argument}"),
        }
    }
    let families = contest::families();
    let count = options.problems;
    options.incorrect_per_problem = 99;
    let problems: Vec<Problem> = match &family {
        Some(name) => {
            let family = families.iter().find(|family| family.name == name);
            contest::of_family(&options, family.context("no such family")?, count)
        }
        None => {
            let weights: usize = families.iter().map(|family| family.weight).sum();
            let quota = |weight: usize| (count * weight / weights).max(least);
            let all = families.iter();
            all.flat_map(|family| contest::of_family(&options, family, quota(family.weight)))
                .collect()
        }
    };
    if show {
        problems.iter().for_each(print);
        return Ok(());
    }
    let room = tempfile::tempdir()?;
    if !python {
        precompile(room.path())?;
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, found, problems, room) = (&next, &found, &problems, room.path());
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(problem) = problems.get(at) else { break };
                    let bad = check(problem, python, &room.join(format!("{worker}")))
                        .unwrap_or_else(|error| vec![format!("{}: {error:#}", problem.name)]);
                    found.lock().expect("no worker panics").insert(at, bad);
                }
            });
        }
    });
    let found = found.into_inner().expect("no worker panics");
    let bad: Vec<_> = found.into_values().flatten().collect();
    bad.iter().for_each(|line| println!("{line}\n"));
    let programs: usize =
        problems.iter().map(|problem| problem.solutions.len() + problem.incorrect.len()).sum();
    let kinds: std::collections::BTreeSet<_> =
        problems.iter().map(|problem| problem.family.as_str()).collect();
    println!(
        "{} problems of {} families, {programs} programs, {} not as claimed, {:.0} s",
        problems.len(),
        kinds.len(),
        bad.len(),
        started.elapsed().as_secs_f64()
    );
    if !bad.is_empty() {
        bail!("{} programs do not do what they claim", bad.len());
    }
    Ok(())
}

fn print(problem: &Problem) {
    println!("=== {} [{}] {:?}\n{}", problem.name, problem.key, problem.split, problem.description);
    for solution in problem.solutions.iter().chain(&problem.incorrect) {
        println!("--- {} {:?} {:?}", solution.style, solution.claim, solution.language);
        println!("{}", solution.source);
    }
    for (input, output) in problem.private_tests.iter().chain(&problem.generated_tests) {
        println!("<<<\n{:.200}>>>\n{:.200}", input, output);
    }
}

/// bits/stdc++.h, once for all.
fn precompile(room: &Path) -> Result<()> {
    let folder = room.join("bits");
    fs_err::create_dir(&folder)?;
    let header = folder.join("stdc++.h");
    fs_err::write(&header, "#include_next <bits/stdc++.h>\n")?;
    let done = Command::new("g++").args(["-O1", "-std=c++17", "-x", "c++-header"]).arg(&header).status()?;
    if !done.success() {
        bail!("g++ could not precompile bits/stdc++.h");
    }
    Ok(())
}

fn check(problem: &Problem, python: bool, prefix: &Path) -> Result<Vec<String>> {
    let mut bad = Vec::new();
    for solution in problem.solutions.iter().chain(&problem.incorrect) {
        if python && solution.language == Language::Cpp {
            continue;
        }
        let command = ready(solution, prefix)?;
        let Some(command) = command else {
            bad.push(format!("{} does not compile:\n{}", problem.name, solution.source));
            continue;
        };
        let mut seen = (Claim::Accepted, String::new());
        let tests = problem.public_tests.iter().chain(&problem.private_tests);
        for (input, output) in tests.chain(&problem.generated_tests) {
            let limit = Duration::from_secs_f64(problem.time_limit_s * 2.0);
            let (claim, printed) = judge(&command, input, output, limit)?;
            if claim != Claim::Accepted {
                seen = (claim, format!("on:\n{input:.300}\nexpected {output:.100}\nprinted {printed:.400}"));
                break;
            }
        }
        if seen.0 != solution.claim {
            bad.push(format!(
                "{} [{}] {}: claims {:?}, is {:?}\n{}{}",
                problem.name, problem.key, solution.style, solution.claim, seen.0, solution.source, seen.1
            ));
        }
    }
    Ok(bad)
}

/// The command that runs a program, or nothing if it does not compile.
fn ready(solution: &Solution, prefix: &Path) -> Result<Option<(PathBuf, Vec<PathBuf>)>> {
    match solution.language {
        Language::Python3 => {
            let file = prefix.with_extension("py");
            fs_err::write(&file, &solution.source)?;
            Ok(Some(("python3".into(), vec!["-I".into(), file])))
        }
        Language::Cpp => {
            let file = prefix.with_extension("cpp");
            let program = prefix.with_extension("out");
            fs_err::write(&file, &solution.source)?;
            let done = Command::new("g++")
                .args(["-O1", "-std=c++17", "-w", "-I"])
                .arg(prefix.parent().context("the prefix lies in a folder")?)
                .arg(&file)
                .arg("-o")
                .arg(&program)
                .stderr(Stdio::null())
                .status()?;
            Ok(done.success().then_some((program, Vec::new())))
        }
    }
}

fn judge(
    command: &(PathBuf, Vec<PathBuf>),
    input: &str,
    output: &str,
    limit: Duration,
) -> Result<(Claim, String)> {
    let mut child = Command::new(&command.0)
        .args(&command.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_micros(300));
    };
    drop(feeding.join());
    let Some(status) = status else { return Ok((Claim::TimeLimit, String::new())) };
    let (mut printed, mut errors) = (Vec::new(), String::new());
    child.stdout.take().context("stdout is piped")?.read_to_end(&mut printed)?;
    child.stderr.take().context("stderr is piped")?.read_to_string(&mut errors)?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if !status.success() {
        return Ok((Claim::RuntimeError, errors));
    }
    let same = printed.split_whitespace().eq(output.split_whitespace());
    Ok((if same { Claim::Accepted } else { Claim::WrongAnswer }, printed))
}
