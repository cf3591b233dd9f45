//! Runs every program of a sample of problems and reports each that does not do what it
//! claims: `cargo run --release -p contest --example check -- --problems 200`.
//!
//! Options: `--problems N` `--seed S` `--family NAME` (`--problems` of that one)
//! `--least N` (per family) `--python` (leave C++ out) `--show` (print the problems
//! instead) `--stats` (count them instead).
//!
//! Needs python3 and g++; no sandbox, the programs are this crate's own. All Python
//! programs run in one process, C++ programs are compiled forty at a time.

#![allow(clippy::print_stdout, reason = "a tool for the terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use contest::{Language, Options, Problem, Solution};

type Job<'a> = (&'a Problem, &'a Solution);
/// Verdict, number of the first failing test, what was printed there.
type Seen = (String, usize, String);

fn main() -> Result<()> {
    let mut options = Options {
        problems: 200,
        ..Options::default()
    };
    let (mut family, mut python, mut show, mut stats) = (None, false, false, false);
    let mut least = 1;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--problems" => options.problems = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--least" => least = value()?.parse()?,
            "--family" => family = Some(value()?),
            "--python" => python = true,
            "--show" => show = true,
            "--stats" => stats = true,
            _ => bail!("unknown option {argument}"),
        }
    }
    if stats {
        count(&contest::generate(&options));
        return Ok(());
    }
    let families = contest::families();
    let count = options.problems;
    if !show {
        options.incorrect_per_problem = 99;
    }
    let problems: Vec<Problem> = if let Some(name) = &family {
        let family = families.iter().find(|family| family.name == name);
        contest::of_family(&options, family.context("no such family")?, count)
    } else {
        let weights: usize = families.iter().map(|family| family.weight).sum();
        let quota = |weight: usize| (count * weight / weights).max(least);
        let all = families.iter();
        all.flat_map(|family| contest::of_family(&options, family, quota(family.weight)))
            .collect()
    };
    if show {
        problems.iter().for_each(print);
        return Ok(());
    }
    check(&problems, python)
}

fn check(problems: &[Problem], python: bool) -> Result<()> {
    let programs = |language: Language| -> Vec<Job> {
        let of = |problem: &Problem| problem.solutions.len() + problem.incorrect.len();
        let mut jobs = Vec::with_capacity(problems.iter().map(of).sum());
        for problem in problems {
            let all = problem.solutions.iter().chain(&problem.incorrect);
            jobs.extend(
                all.filter(|one| one.language == language)
                    .map(|one| (problem, one)),
            );
        }
        jobs
    };
    let room = tempfile::tempdir()?;
    let (pythons, cpps) = (programs(Language::Python3), programs(Language::Cpp));
    let mut bad = compare(&pythons, &run_python(&pythons)?);
    let mut checked = pythons.len();
    if !python {
        for part in cpps.chunks(40) {
            bad.extend(compare(part, &run_cpp(part, room.path())?));
            checked += part.len();
        }
    }
    for line in &bad {
        println!("{line}\n");
    }
    let kinds: BTreeSet<_> = problems
        .iter()
        .map(|problem| problem.family.as_str())
        .collect();
    println!(
        "{} problems of {} families, {checked} programs, {} not as claimed",
        problems.len(),
        kinds.len(),
        bad.len()
    );
    anyhow::ensure!(bad.is_empty(), "some programs are not what they claim");
    Ok(())
}

fn tests(problem: &Problem) -> Vec<&(String, String)> {
    let public = problem.public_tests.iter();
    public
        .chain(&problem.private_tests)
        .chain(&problem.generated_tests)
        .collect()
}

fn compare(jobs: &[Job], seen: &[Seen]) -> Vec<String> {
    let mut bad = Vec::new();
    for ((problem, solution), (verdict, at, printed)) in jobs.iter().zip(seen) {
        if *verdict != format!("{:?}", solution.claim) {
            let (input, output) = tests(problem)[*at];
            bad.push(format!(
                "{} [{}] {}: claims {:?}, is {verdict}\n{}on:\n{input:.300}expected {output:.200}printed {printed}",
                problem.name, problem.key, solution.style, solution.claim, solution.source
            ));
        }
    }
    bad
}

fn run_python(jobs: &[Job]) -> Result<Vec<Seen>> {
    let jobs: Vec<_> = jobs
        .iter()
        .map(|(problem, solution)| {
            serde_json::json!({
                "source": solution.source,
                "limit_s": problem.time_limit_s,
                "tests": tests(problem),
            })
        })
        .collect();
    let mut child = Command::new("python3")
        .args(["-I", "-c", include_str!("driver.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3 did not start; install it to check the programs")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(&serde_json::to_vec(&jobs)?)?;
    drop(stdin);
    Ok(serde_json::from_slice(&child.wait_with_output()?.stdout)?)
}

fn run_cpp(jobs: &[Job], room: &Path) -> Result<Vec<Seen>> {
    let mut source = String::from("#include <bits/stdc++.h>\n");
    let mut table = String::from("using namespace std;\nstatic int (*programs[])() = {");
    let mut data = Vec::new();
    for (number, (problem, solution)) in jobs.iter().enumerate() {
        let lines = solution
            .source
            .lines()
            .filter(|line| !line.starts_with("#include"));
        let body = lines.collect::<Vec<_>>().join("\n") + "\n";
        let body = body
            .trim_end()
            .strip_suffix('}')
            .context("a program ends with a brace")?;
        let body = body.replacen("int main() {", "int entry() {", 1);
        source = format!("{source}namespace p{number} {{\n{body}return 0;\n}}\n}}\n");
        table = format!("{table}p{number}::entry, ");
        let tests = tests(problem);
        writeln!(data, "{} {}", tests.len(), problem.time_limit_s.ceil())?;
        for text in tests.iter().flat_map(|test| [&test.0, &test.1]) {
            write!(data, "{}\n{text}", text.len())?;
        }
        narrow(solution, room)?;
    }
    let harness = include_str!("harness.cpp");
    fs_err::write(
        room.join("all.cpp"),
        format!("{source}{table}}};\n{harness}"),
    )?;
    fs_err::write(room.join("jobs"), data)?;
    let (file, program) = (room.join("all.cpp"), room.join("all"));
    compile(&["-O1"], &file, &program)?;
    let output = Command::new(program).arg(room.join("jobs")).output()?;
    if !output.status.success() {
        bail!("the harness ended with {}", output.status);
    }
    let mut rest = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut seen = Vec::new();
    for _ in jobs {
        let mut fields = rest.splitn(4, ' ');
        let mut field = || fields.next().context("the harness stopped early");
        let (verdict, at, length) = (field()?.to_owned(), field()?.parse()?, field()?);
        let length: usize = length.parse()?;
        let text = field()?;
        seen.push((verdict, at, text[..length].to_owned()));
        rest = text[length + 1..].to_owned();
    }
    Ok(seen)
}

/// A program that names its headers must name enough of them.
fn narrow(solution: &Solution, room: &Path) -> Result<()> {
    if solution.source.contains("bits/stdc++.h") {
        return Ok(());
    }
    let file = room.join("narrow.cpp");
    fs_err::write(&file, &solution.source)?;
    compile(&["-fsyntax-only"], &file, &room.join("narrow"))
        .with_context(|| format!("its headers do not suffice:\n{}", solution.source))
}

fn compile(options: &[&str], file: &Path, program: &Path) -> Result<()> {
    let done = Command::new("g++")
        .args(["-std=c++17", "-w"])
        .args(options)
        .arg(file)
        .arg("-o")
        .arg(program)
        .status()
        .context("g++ did not start; install it to check the programs, or say --python")?;
    if !done.success() {
        bail!("g++ refuses {}", file.display());
    }
    Ok(())
}

fn print(problem: &Problem) {
    println!(
        "=== {} [{}] {:?}\n{}",
        problem.name, problem.key, problem.split, problem.description
    );
    for solution in problem.solutions.iter().chain(&problem.incorrect) {
        println!(
            "--- {} {:?} {:?}",
            solution.style, solution.claim, solution.language
        );
        println!("{}", solution.source);
    }
    for (input, output) in problem.private_tests.iter().chain(&problem.generated_tests) {
        println!("<<<\n{input:.200}>>>\n{output:.200}");
    }
}

fn count(problems: &[Problem]) {
    let mut splits: BTreeMap<_, usize> = BTreeMap::new();
    let mut families: BTreeMap<_, usize> = BTreeMap::new();
    let (mut words, mut lines, mut right, mut wrong, mut test_count) = (0, 0, 0, 0, 0);
    let (mut statement_bytes, mut program_bytes, mut test_bytes) = (0, 0, 0);
    let (mut longest_words, mut longest_program) = (0, 0);
    for problem in problems {
        *splits.entry(problem.split).or_default() += 1;
        *families.entry(problem.family.as_str()).or_default() += 1;
        let count = problem.description.split_whitespace().count();
        words += count;
        longest_words = longest_words.max(count);
        statement_bytes += problem.description.len();
        right += problem.solutions.len();
        wrong += problem.incorrect.len();
        for solution in problem.solutions.iter().chain(&problem.incorrect) {
            lines += solution.source.lines().count();
            program_bytes += solution.source.len();
            longest_program = longest_program.max(solution.source.len());
        }
        for test in tests(problem) {
            test_count += 1;
            test_bytes += test.0.len() + test.1.len();
        }
    }
    let (many, programs) = (problems.len() as f64, (right + wrong) as f64);
    println!("problems {} by split {splits:?}", problems.len());
    println!("families {}: {families:?}", families.len());
    println!(
        "words of a statement: mean {:.0}, most {longest_words}",
        f64::from(words as u32) / many
    );
    println!(
        "right {right}, wrong {wrong}, lines of a program: mean {:.1}",
        lines as f64 / programs
    );
    println!(
        "bytes: statements {statement_bytes}, programs {program_bytes} (longest {longest_program}), tests {test_bytes} ({test_count} tests)"
    );
}
