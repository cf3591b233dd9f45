//! The digest of every output of `tiny`: a result that changes while its stage's VERSION
//! does not is caught here, not by a reader of the paper.
//!
//! Trained weights depend on the processor's instructions (fused multiply-add, vector
//! width), so their digests are held against those recorded for the same instructions.
//! `IOTA_BLESS=1 cargo test --release -p iota --test golden` records what is found.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod program;

use program::Program;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

#[derive(Default, Serialize, Deserialize)]
struct Golden {
    /// Stage to version, as of the recording.
    versions: BTreeMap<String, u64>,
    /// Outputs that are the same on every machine.
    everywhere: BTreeMap<String, String>,
    /// Outputs that depend on the instructions: by their names.
    by_instructions: BTreeMap<String, BTreeMap<String, String>>,
}

/// Stages in which floating-point numbers decide.
const FLOATING: &[&str] = &[
    "init", "adapt", "sft", "reward", "dpo", "orpo", "ppo", "sample", "judge", "attempts",
];

fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    let names = [
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let names = [(std::env::consts::ARCH, true)];
    let found: Vec<&str> = names
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| *name)
        .collect();
    found.join("+")
}

#[test]
fn a_changed_result_has_a_changed_version() {
    let program = Program::new();
    program.succeed(&["run", "--quiet"]);
    let mut found = Golden::default();
    let instructions = instructions();
    for line in program.succeed(&["ls", "--json"]).lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        let (node, stage) = (text("node"), text("stage"));
        // What the sandbox of this machine offers stands in these; verdicts are compared.
        let output = text("output");
        if stage == "report" || (output == "report" && ["judge", "verify"].contains(&&*stage)) {
            continue;
        }
        let trace: serde_json::Value =
            serde_json::from_str(&program.succeed(&["show", &node, "--json"])).unwrap();
        found.versions.insert(
            stage.clone(),
            trace["document"]["version"].as_u64().unwrap(),
        );
        let group = if FLOATING.contains(&stage.as_str()) {
            found
                .by_instructions
                .entry(instructions.clone())
                .or_default()
        } else {
            &mut found.everywhere
        };
        group.insert(format!("{node}/{output}"), text("address"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.json");
    let mut recorded: Golden = fs_err::read_to_string(&path)
        .map(|text| serde_json::from_str(&text).unwrap())
        .unwrap_or_default();
    if std::env::var_os("IOTA_BLESS").is_some() {
        if recorded.versions == found.versions && recorded.everywhere == found.everywhere {
            // Other machines' digests stay good.
            let mut all = recorded.by_instructions;
            all.append(&mut found.by_instructions);
            found.by_instructions = all;
        }
        let mut text = serde_json::to_string_pretty(&found).unwrap();
        text.push('\n');
        fs_err::write(path, text).unwrap();
        return;
    }
    let mut changed = Vec::new();
    let compare = |wanted: &BTreeMap<String, String>,
                   got: &BTreeMap<String, String>,
                   changed: &mut Vec<String>| {
        changed.extend(
            got.iter()
                .filter(|(name, address)| wanted.get(*name) != Some(address))
                .map(|(name, _)| name.clone()),
        );
    };
    compare(&recorded.everywhere, &found.everywhere, &mut changed);
    match recorded.by_instructions.remove(&instructions) {
        Some(wanted) => compare(&wanted, &found.by_instructions[&instructions], &mut changed),
        None => eprintln!(
            "no digests are recorded for {instructions}: only the data stages were compared"
        ),
    }
    assert!(
        changed.is_empty(),
        "these outputs changed: {changed:?}\nRaise the VERSION of the stages whose result changed on purpose, then record with IOTA_BLESS=1; if no result was meant to change, this is a bug. Versions then and now: {:?} {:?}",
        recorded.versions,
        found.versions
    );
    assert_eq!(
        recorded.versions, found.versions,
        "versions changed: record with IOTA_BLESS=1"
    );
}
