//! What judging costs beside the bare machine: one run, one compilation, one more worker, and
//! whether many runs leave anything behind.
//!
//! `make bench-judge`, or `cargo bench -p iota -p sandbox --bench run_cost`; `-- leak 100000` makes
//! so many runs in a row and compares what is held before and after, `-- runs` leaves compilers
//! and second workers out. Rows are measured in turns
//! in one process. CPU is user and system time of this process and all its children, launchers
//! and inits included, from `/proc/self/stat` (10 ms ticks). bubblewrap, isolate and nsjail are
//! measured where they stand on `PATH` and start a program; where not, that is said.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use sandbox::{Language, Limits, Options, Sandbox};

const RUNS: usize = 400;
const ROUNDS: usize = 5;
const HELLO: &str = "#include <cstdio>\nint main() { puts(\"hello\"); }\n";
const SCRIPT: &str = "import math, collections\nprint(math.gcd(4, 6))";
const FIVE_LINES: &str = "#include <bits/stdc++.h>\nusing namespace std;\nint main() {\n\
    long long a, b; cin >> a >> b;\n    cout << a + b << '\\n'; }\n";

/// A program of 50 lines that uses what contest programs use.
const FIFTY_LINES: &str = include_str!("fifty_lines.cpp");

type Found = (f64, f64);

/// CPU seconds so far, children that have ended included.
fn cpu_s() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

/// CPU and wall milliseconds of `work`.
fn cost(work: impl FnOnce()) -> Found {
    let (cpu, clock) = (cpu_s(), Instant::now());
    work();
    let wall = clock.elapsed().as_secs_f64();
    ((cpu_s() - cpu) * 1e3, wall * 1e3)
}

fn each((cpu, wall): Found, runs: usize) -> Found {
    (cpu / runs as f64, wall / runs as f64)
}

fn spawn(program: &str, arguments: &[&str], runs: usize) {
    for _ in 0..runs {
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }
}

fn sandbox(workers: usize, cache: Option<&Path>) -> Sandbox {
    Sandbox::new(&Options {
        workers,
        cache_dir: cache.map(Path::to_owned),
        ..Options::default()
    })
    .unwrap()
}

/// Runs a program and compares what it writes with what it wrote first.
fn run_all(sandbox: &Sandbox, language: Language, source: &str, runs: usize) {
    let program = sandbox
        .compile(language, source.as_bytes())
        .unwrap()
        .unwrap();
    let mut expected = None;
    for _ in 0..runs {
        let outcome = sandbox.run(&program, b"", &Limits::default()).unwrap();
        assert_eq!(outcome.failure(), None, "{outcome:?}");
        let expected = expected.get_or_insert_with(|| outcome.stdout.clone());
        assert_eq!(&outcome.stdout, expected);
    }
}

/// The cost of a run beyond that of one, which pays for setting up and compiling.
fn marginal(language: Language, source: &str) -> Found {
    let many = |runs| cost(|| run_all(&sandbox(1, None), language, source, runs));
    let (one, all) = (many(1), many(RUNS + 1));
    each((all.0 - one.0, all.1 - one.1), RUNS)
}

/// The cost of compiling a source, each time with another number in it.
fn compiling(source: &str, cache: Option<&Path>) -> Found {
    const TIMES: usize = 3;
    let sources = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{source}\nint own_{number} = {number};\n"))
            .collect()
    };
    let many = |count| {
        cost(|| {
            let sandbox = sandbox(1, cache);
            for source in sources(count) {
                sandbox
                    .compile(Language::Cpp, source.as_bytes())
                    .unwrap()
                    .unwrap();
            }
        })
    };
    let (none, all) = (many(0), many(TIMES));
    each((all.0 - none.0, all.1 - none.1), TIMES)
}

/// Wall milliseconds of compiling and running on so many workers.
fn parallel(workers: usize) -> Found {
    const PROGRAMS: usize = 8;
    let sandbox = sandbox(workers, None);
    let source = "#include <cstdio>\nint main() { unsigned s = 1; for (int i = 0; i < 100000000; ++i) \
        s = s * 1664525u + 1013904223u; printf(\"%u\", s); }\n";
    run_all(&sandbox, Language::Cpp, source, 1);
    cost(|| {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| run_all(&sandbox, Language::Cpp, source, PROGRAMS / workers));
            }
        });
    })
}

fn identical() -> Found {
    let sandbox = sandbox(1, None);
    run_all(&sandbox, Language::Cpp, HELLO, 1);
    let asked = 1000;
    each(
        cost(|| {
            for _ in 0..asked {
                sandbox
                    .compile(Language::Cpp, HELLO.as_bytes())
                    .unwrap()
                    .unwrap();
            }
        }),
        asked,
    )
}

/// `HELLO` as a file, byte for byte the program that the sandbox makes of it and runs.
fn same_program(folder: &Path) -> std::path::PathBuf {
    let compiled = sandbox(1, None).compile(Language::Cpp, HELLO.as_bytes());
    let wanted = compiled.unwrap().unwrap().digest();
    fs_err::write(folder.join("main.cpp"), HELLO).unwrap();
    let flags = "-std=gnu++17 -O2 -pthread -DONLINE_JUDGE -o main main.cpp -static -s \
        -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-z,norelro";
    let program = folder.join("main");
    for linker in [&["-fuse-ld=lld"][..], &[]] {
        let made = Command::new("g++")
            .args(flags.split_whitespace().chain(linker.iter().copied()))
            .current_dir(folder)
            .stderr(Stdio::null())
            .status();
        if made.unwrap().success()
            && *blake3::hash(&fs_err::read(&program).unwrap()).as_bytes() == wanted
        {
            return program;
        }
    }
    panic!("g++ makes another program of the same flags than it does in the sandbox");
}

/// The peers' command lines for the static program `hello`; says which are not there.
fn peers(hello: &str) -> Vec<(&'static str, String, Vec<String>)> {
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let line = |name: &str, path: &str| -> Result<Vec<String>, String> {
        match name {
            "bwrap" => Ok(words(&format!("--unshare-all --ro-bind / / {hello}"))),
            "nsjail" => {
                let options = "-Mo --really_quiet --chroot / --user 65534 --group 65534";
                Ok(words(&format!("{options} -- {hello}")))
            }
            _ => {
                let made = Command::new(path).arg("--init").output();
                let made = made.map_err(|error| error.to_string())?;
                if !made.status.success() {
                    return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
                }
                let root = String::from_utf8_lossy(&made.stdout).trim().to_owned();
                fs_err::copy(hello, Path::new(&root).join("box/hello"))
                    .map_err(|error| error.to_string())?;
                Ok(words(
                    "--silent --processes=8 --mem=262144 --time=1 --run -- ./hello",
                ))
            }
        }
    };
    let mut found = Vec::new();
    for (name, row) in [
        ("bwrap", "bubblewrap, all namespaces"),
        ("isolate", "isolate --run"),
        ("nsjail", "nsjail -Mo"),
    ] {
        let Some(path) = on_path(name) else {
            println!("{name}: not on PATH, so not measured");
            continue;
        };
        let tried = line(name, &path).and_then(|arguments| {
            let tried = Command::new(&path).args(&arguments).output();
            let tried = tried.map_err(|error| error.to_string())?;
            if tried.stdout == b"hello\n" {
                return Ok(arguments);
            }
            Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
        });
        match tried {
            Ok(arguments) => found.push((row, path, arguments)),
            Err(reason) => println!("{name}: starts no program here, so not measured: {reason}"),
        }
    }
    found
}

fn on_path(name: &str) -> Option<String> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .map(|path| path.to_string_lossy().into_owned())
}

/// What many runs could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    processes: usize,
    mounts: usize,
    own_kib: u64,
    cgroups: usize,
    temporary: usize,
}

fn held() -> Held {
    let count = |path: &str| fs_err::read_dir(path).map_or(0, Iterator::count);
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let tree = |pid: u32| {
        let mut next = vec![pid];
        let mut found = 0;
        while let Some(pid) = next.pop() {
            found += 1;
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs_err::read_to_string(path).unwrap_or_default();
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|word| word.parse::<u32>().ok()),
            );
        }
        found
    };
    let groups = fs_err::read_to_string("/proc/self/cgroup").unwrap();
    let memory = groups.lines().find(|line| line.contains(":memory:"));
    let group = memory
        .and_then(|line| line.rsplit(':').next())
        .unwrap_or("");
    Held {
        descriptors: count("/proc/self/fd"),
        processes: tree(std::process::id()),
        mounts: fs_err::read_to_string("/proc/self/mounts")
            .unwrap()
            .lines()
            .count(),
        own_kib: kib
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap(),
        cgroups: count(&format!("/sys/fs/cgroup/memory{group}")),
        temporary: count("/tmp"),
    }
}

fn leak(runs: usize) {
    let sandbox = sandbox(2, None);
    let source = "#include <cstdio>\n#include <unistd.h>\nint main() { if (FILE *f = fopen(\"left\", \"w\")) fputs(\"x\", f); \
        if (!fork()) for (;;) pause(); puts(\"hello\"); }\n";
    let clock = Instant::now();
    run_all(&sandbox, Language::Cpp, source, 200);
    let before = held();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| run_all(&sandbox, Language::Cpp, source, runs / 2));
        }
    });
    let after = held();
    println!(
        "{runs} runs, each leaving a file and a process: {:.0} s",
        clock.elapsed().as_secs_f64()
    );
    println!("before {before:?}\nafter  {after:?}");
    drop(sandbox);
    println!("end    {:?}", held());
}

fn main() {
    sandbox::launcher_main_if_requested();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "leak") {
        let runs = arguments.get(place + 1).and_then(|runs| runs.parse().ok());
        return leak(runs.unwrap_or(100_000));
    }
    let is_runs_only = arguments.iter().any(|argument| argument == "runs");
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let hello = same_program(folder.path());
    let hello = hello.to_str().unwrap();
    let python = "/usr/bin/python3";
    assert!(Path::new(python).exists(), "{python} is not there");
    let peers = peers(hello);
    let cache = tempfile::tempdir().unwrap();
    let mut table: Vec<(String, Vec<Found>)> = Vec::new();
    let mut note = |name: &str, found| match table.iter_mut().find(|(other, _)| other == name) {
        Some((_, all)) => all.push(found),
        None => table.push((name.to_owned(), vec![found])),
    };
    println!("{}", sandbox(1, Some(cache.path())).isolation());
    for round in 0..ROUNDS {
        note(
            "static C++, spawned",
            each(cost(|| spawn(hello, &[], RUNS)), RUNS),
        );
        note("static C++, sandbox", marginal(Language::Cpp, HELLO));
        for (name, path, arguments) in &peers {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            note(
                name,
                each(cost(|| spawn(path, &arguments, RUNS / 8)), RUNS / 8),
            );
        }
        let cold = ["-s", "-B", "-c", SCRIPT];
        note(
            "Python -s -B, spawned",
            each(cost(|| spawn(python, &cold, RUNS / 4)), RUNS / 4),
        );
        note("Python, sandbox", marginal(Language::Python3, SCRIPT));
        if round < 3 && !is_runs_only {
            for (name, source) in [("5 lines", FIVE_LINES), ("50 lines", FIFTY_LINES)] {
                note(&format!("compile {name}, cold"), compiling(source, None));
                let with = compiling(source, Some(cache.path()));
                note(&format!("compile {name}, header"), with);
            }
            note("identical source", identical());
            note("8 runs of 0.1 s, 1 worker", parallel(1));
            note("8 runs of 0.1 s, 2 workers", parallel(2));
        }
    }
    println!("median of {ROUNDS} rounds (3 of compiling and workers), {RUNS} runs each");
    println!(
        "{:<30} {:>10} {:>10} {:>15} {:>16}",
        "", "CPU ms", "wall ms", "CPU / spawned", "wall / spawned"
    );
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let bare = table[0].1.clone();
    for (name, all) in table {
        let cpu = median(all.iter().map(|found| found.0).collect());
        let wall = median(all.iter().map(|found| found.1).collect());
        // Of each round on its own: rows of one round met the same machine.
        let ratios = |of: fn(&Found) -> f64| {
            median(
                all.iter()
                    .zip(&bare)
                    .map(|(found, bare)| of(found) / of(bare))
                    .collect(),
            )
        };
        let (cpu_ratio, wall_ratio) = (ratios(|found| found.0), ratios(|found| found.1));
        println!("{name:<30} {cpu:>10.3} {wall:>10.3} {cpu_ratio:>15.2} {wall_ratio:>16.2}");
    }
}
