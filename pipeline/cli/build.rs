//! Hashes the source text of every stage, comments and blanks taken out, into a table that
//! the engine records with results: so that a formula changed without a version bump is seen.
//!
//! Writes `$OUT_DIR/code.rs`: `&[(path below stages/, hash)]`, sorted, and the versions of
//! the dependencies that decide results, as entries `lock/<crate>`.

// A build script that depends on little: no fs_err here.
#![allow(clippy::disallowed_methods)]

use std::{env, fs, path::Path};

/// Dependencies whose version may change what a stage computes.
const RESULT_BEARING: &[&str] = &[
    "arrow",
    "candle-core",
    "gemm",
    "parquet",
    "rand_chacha",
    "safetensors",
    "tokenizers",
];

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let stages = root.join("stages");
    let mut entries = Vec::new();
    visit(&stages, &stages, &mut entries);
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = package.lines().find(|line| line.starts_with(name))?;
            line.split('"').nth(1).map(str::to_owned)
        };
        if let (Some(name), Some(version)) = (field("name = "), field("version = "))
            && RESULT_BEARING.contains(&name.as_str())
        {
            entries.push((format!("lock/{name}"), version));
        }
    }
    entries.sort();
    let text = format!("&{entries:?}");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("code.rs");
    fs::write(out, text).expect("OUT_DIR is writable");
    println!("cargo:rerun-if-changed={}", stages.display());
    println!(
        "cargo:rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );
}

fn visit(root: &Path, directory: &Path, entries: &mut Vec<(String, String)>) {
    let Ok(found) = fs::read_dir(directory) else {
        return;
    };
    for entry in found.flatten() {
        let path = entry.path();
        if path.is_dir() {
            let name = entry.file_name();
            if name != "tests" && name != "examples" && name != "benches" {
                visit(root, &path, entries);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let hash = blake3::hash(stripped(&text).as_bytes()).to_hex()[..16].to_owned();
            let name = path
                .strip_prefix(root)
                .expect("below root")
                .display()
                .to_string();
            entries.push((name, hash));
        }
    }
}

/// The text without whole-line comments, unit tests and blanks. Rough on purpose: a string
/// that looks like a comment only makes the fingerprint blind to that line.
fn stripped(text: &str) -> String {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}
