//! The house rules that a compiler does not check: which crate may use which, which crate
//! may use the heavy libraries, and what every source file looks like.
//!
//! Reads `cargo metadata` and the tree itself. ARCHITECTURE.md draws the same picture; a
//! change here is a change of architecture and belongs there too.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Our crates, each with those of ours it may use, lowest first. `iota-inspect` is started
/// as a program, so nobody depends on it and it depends on nobody.
const LAYERS: &[(&str, &[&str])] = &[
    ("store", &[]),
    ("gpu", &[]),
    ("model", &["gpu"]),
    ("sandbox", &[]),
    ("levenshtein", &[]),
    ("iota-inspect", &[]),
    ("engine", &["store"]),
    ("corpus", &["engine", "levenshtein"]),
    ("contest", &["corpus", "engine"]),
    ("train", &["corpus", "engine", "model"]),
    ("judge", &["corpus", "engine", "model", "sandbox"]),
    (
        "iota",
        &[
            "contest", "corpus", "engine", "judge", "model", "sandbox", "store", "train",
        ],
    ),
];

/// Libraries that are slow to compile or carry a world view, and who may use them.
const HEAVY: &[(&str, &[&str])] = &[
    ("arrow", &["contest", "corpus", "judge", "train"]),
    ("parquet", &["contest", "corpus", "judge", "train"]),
    ("candle-core", &["model", "train"]),
    ("candle-nn", &["model", "train"]),
    ("tokenizers", &["corpus", "model"]),
    ("polars", &["iota-inspect"]),
    ("cudarc", &["gpu"]),
];

/// The longest a source file may be, in lines.
const LONGEST: usize = 600;
/// The longest the median file may be.
const MEDIAN: usize = 200;
/// Files that are tables of data rather than code, and may be longer.
const DATA_TABLES: &[&str] = &[];

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_path_buf()
}

/// What a crate depends on: by name, and whether only its tests do.
type Dependencies = Vec<(String, bool)>;

/// Every crate of the workspace with all it depends on.
fn crates() -> BTreeMap<String, Dependencies> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {text}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let dependencies = dependencies
                .iter()
                .map(|dependency| (name(dependency), dependency["kind"] == "dev"))
                .collect();
            (name(package), dependencies)
        })
        .collect()
}

/// All crates below one, however far.
fn below(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut stack = vec![name];
    while let Some(name) = stack.pop() {
        let (_, allowed) = LAYERS.iter().find(|(layer, _)| *layer == name).unwrap();
        for allowed in *allowed {
            if found.insert(*allowed) {
                stack.push(allowed);
            }
        }
    }
    found
}

#[test]
fn every_crate_has_its_layer() {
    let known: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    for name in crates().keys() {
        assert!(
            known.contains(&name.as_str()),
            "crate `{name}` has no line in LAYERS: say what it may use, here and in ARCHITECTURE.md"
        );
    }
}

#[test]
fn dependencies_point_down() {
    let crates = crates();
    for (name, allowed) in LAYERS {
        let dependencies = crates.get(*name);
        let dependencies = dependencies.unwrap_or_else(|| panic!("crate `{name}` is gone"));
        for (dependency, for_tests) in dependencies {
            if !crates.contains_key(dependency) {
                continue;
            }
            // Tests run stages through a real store, so they may reach past a layer, but
            // only down.
            let may = if *for_tests {
                below(name).contains(dependency.as_str())
            } else {
                allowed.contains(&dependency.as_str())
            };
            assert!(
                may,
                "`{name}` depends on `{dependency}`, but may use only {allowed:?}"
            );
        }
    }
}

#[test]
fn heavy_libraries_stay_where_they_belong() {
    for (name, dependencies) in crates() {
        for (library, users) in HEAVY {
            assert!(
                !dependencies
                    .iter()
                    .any(|(dependency, _)| dependency == library)
                    || users.contains(&name.as_str()),
                "`{name}` depends on `{library}`, which is for {users:?} only"
            );
        }
    }
}

/// What `cargo` would compile, each crate with its version and features.
fn compiled(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix=none", "--format={p} {f}"])
        .args(["--edges", edges])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {text}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn tests_compile_no_dependency_a_second_time() {
    let program = compiled("normal,build");
    let tests = compiled("normal,build,dev");
    let again: Vec<&String> = program.difference(&tests).collect();
    assert!(
        again.is_empty(),
        "a test's dependency switches on features of {again:?}: switch them on for the program too"
    );
}

/// Every Rust file of ours: path below the root, and text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut stack = vec![root.join("pipeline"), root.join("stages")];
    while let Some(directory) = stack.pop() {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    stack.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                let text = fs_err::read_to_string(&path).unwrap();
                found.push((name, text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "only {} files found", found.len());
    found
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(
        silent.is_empty(),
        "files that do not open with a `//!` header: {silent:?}"
    );
}

#[test]
fn files_are_short() {
    let mut lengths = Vec::new();
    let mut long = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        lengths.push(lines);
        if lines > LONGEST && !DATA_TABLES.contains(&name.as_str()) {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST} lines: {long:?}");
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN, "the median file has {median} lines");
}

/// The names of all stages, as their files declare them.
fn stages() -> Vec<String> {
    let mut names: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| path.starts_with("stages/") && text.contains(" Stage for "))
        .map(|(path, text)| {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with("const NAME: "));
            let name = line.and_then(|line| line.split('"').nth(1));
            name.unwrap_or_else(|| panic!("{path} gives its stage no NAME"))
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_stage_has_a_make_target_and_a_line_in_the_readme() {
    let makefile = fs_err::read_to_string(root().join("Makefile")).unwrap();
    let joined = makefile.replace("\\\n", " ");
    let line = joined.lines().find(|line| line.starts_with("STAGES "));
    let mut targets: Vec<&str> = line
        .and_then(|line| line.split_once(":="))
        .map(|(_, names)| names.split_whitespace().collect())
        .unwrap();
    targets.sort_unstable();
    assert_eq!(
        targets,
        stages(),
        "STAGES in the Makefile; the stages there are"
    );
    let readme = fs_err::read_to_string(root().join("README.md")).unwrap();
    for stage in stages() {
        assert!(
            readme.contains(&format!("\n| `{stage}` |")),
            "the README's table has no line for `{stage}`"
        );
    }
}

#[test]
fn a_stage_lives_where_its_name_says() {
    let files: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    for stage in stages() {
        let file = format!("/src/{stage}.rs");
        let own_crate = format!("stages/{stage}/src/stage.rs");
        assert!(
            files
                .iter()
                .any(|path| path.starts_with("stages/") && path.ends_with(&file))
                || files.contains(&own_crate),
            "stage `{stage}` is in no file stages/*{file}, nor in {own_crate}"
        );
    }
}
