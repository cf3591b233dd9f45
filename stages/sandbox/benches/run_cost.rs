//! What a run costs beside the bare machine: CPU and wall time of one run of a small program,
//! spawned directly and in a sandbox with all layers, in turns in one process.
//!
//! `cargo bench -p iota -p sandbox --bench run_cost` (or `make bench`). CPU is user and system
//! time of all children, launchers and init included, from `/proc/self/stat` (10 ms ticks).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use sandbox::{Language, Limits, Options, Sandbox};

const RUNS: usize = 200;
const ROUNDS: usize = 5;

fn children_cpu_s() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

/// CPU and wall milliseconds of one run.
fn cost(runs: usize, work: impl FnOnce()) -> (f64, f64) {
    let (cpu, clock) = (children_cpu_s(), Instant::now());
    work();
    let wall = clock.elapsed().as_secs_f64();
    let scale = 1e3 / runs as f64;
    ((children_cpu_s() - cpu) * scale, wall * scale)
}

fn spawn(program: &str, arguments: &[&str]) {
    for _ in 0..RUNS {
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// All runs in a sandbox of one worker; its CPU counts once it has ended.
fn sandboxed(language: Language, source: &str, runs: usize) {
    let sandbox = Sandbox::new(&Options {
        workers: 1,
        ..Options::default()
    })
    .unwrap();
    let program = sandbox
        .compile(language, source.as_bytes())
        .unwrap()
        .unwrap();
    for _ in 0..runs {
        let outcome = sandbox.run(&program, b"", &Limits::default()).unwrap();
        assert_eq!(outcome.failure(), None, "{outcome:?}");
    }
}

/// The cost of `RUNS` runs beyond that of one, which pays for setting up and compiling.
fn marginal(language: Language, source: &str) -> (f64, f64) {
    let (one_cpu, one_wall) = cost(1, || sandboxed(language, source, 1));
    let (all_cpu, all_wall) = cost(1, || sandboxed(language, source, RUNS + 1));
    (
        (all_cpu - one_cpu) / RUNS as f64,
        (all_wall - one_wall) / RUNS as f64,
    )
}

fn main() {
    sandbox::launcher_main_if_requested();
    let folder = tempfile::tempdir().unwrap();
    let hello = folder.path().join("hello");
    let source = "#include <cstdio>\nint main() { puts(\"hello\"); }\n";
    fs_err::write(folder.path().join("hello.cpp"), source).unwrap();
    let status = Command::new("g++")
        .args(["-O2", "-static", "-o"])
        .arg(&hello)
        .arg(folder.path().join("hello.cpp"))
        .status()
        .unwrap();
    assert!(status.success());
    let python = "/usr/bin/python3";
    assert!(Path::new(python).exists(), "{python} is not there");
    let script = "import math, collections\nprint(math.gcd(4, 6))";
    let mut table: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    let mut note = |name, found| match table.iter_mut().find(|(other, _)| *other == name) {
        Some((_, all)) => all.push(found),
        None => table.push((name, vec![found])),
    };
    for _ in 0..ROUNDS {
        note(
            "static C++, spawned",
            cost(RUNS, || spawn(hello.to_str().unwrap(), &[])),
        );
        note("static C++, sandbox", marginal(Language::Cpp, source));
        note(
            "Python, spawned (-s -B)",
            cost(RUNS, || spawn(python, &["-s", "-B", "-c", script])),
        );
        note("Python, sandbox", marginal(Language::Python3, script));
    }
    println!("median of {ROUNDS} rounds of {RUNS} runs");
    println!("{:<26} {:>10} {:>10}", "", "CPU ms", "wall ms");
    for (name, mut all) in table {
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let cpu = all[ROUNDS / 2].0;
        all.sort_by(|one, other| one.1.total_cmp(&other.1));
        println!("{name:<26} {cpu:>10.2} {:>10.2}", all[ROUNDS / 2].1);
    }
}
