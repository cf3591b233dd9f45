//! `iota judge` and `iota judge-suite` as people meet them: what they print and how they exit.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::{Program, stderr};
use std::path::PathBuf;

/// A program that adds, one that does not, and tests.
fn sum() -> (tempfile::TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs_err::create_dir(at("tests")).unwrap();
    for (name, text) in [
        ("tests/1.in", "3 4\n"),
        ("tests/1.ans", "7\n"),
        ("tests/2.in", "-1 1\n"),
        ("tests/2.ans", "0\n"),
        ("right.py", "print(sum(map(int, input().split())))\n"),
        ("wrong.py", "print(7)\n"),
    ] {
        fs_err::write(at(name), text).unwrap();
    }
    let paths = ["right.py", "wrong.py", "tests"].map(at);
    (folder, paths)
}

#[test]
fn a_program_gets_a_table_of_its_tests() {
    let program = Program::new();
    let (_folder, [right, wrong, tests]) = sum();
    let (right, wrong, tests) = (
        right.to_str().unwrap(),
        wrong.to_str().unwrap(),
        tests.to_str().unwrap(),
    );
    let text = program.succeed(&["judge", right, "--problem", tests]);
    assert!(text.contains("AC, 2 of 2 tests passed"), "{text}");
    assert!(text.contains("isolation="), "{text}");
    let output = program.run(&["judge", wrong, "--problem", tests, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["verdict"], "WA");
    assert_eq!(line["tests"][0]["verdict"], "AC");
    assert_eq!(line["tests"][1]["verdict"], "WA");
    let output = program.run(&["judge", right]);
    assert!(stderr(&output).contains("--problem"), "{}", stderr(&output));
    let output = program.run(&["judge", right, "--problem", tests, "--compare", "loose"]);
    assert!(
        stderr(&output).contains("none of strict"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_suite_gives_a_line_a_case_and_keeps_the_environment_from_programs() {
    let program = Program::new();
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("cases.jsonl");
    let looks = "import os\nprint('SECRET' in ''.join(os.environ.values()))\n";
    let case = |id: &str, allowed: &str| {
        serde_json::json!({
            "id": id, "language": "python", "source": looks, "expected_stdout": "False\n",
            "expected_verdicts": [allowed], "tier": 1, "setup": {"env": {"OF_THE_JUDGE": "SECRET"}},
        })
    };
    fs_err::write(&cases, case("keeps", "AC").to_string()).unwrap();
    let text = program.succeed(&[
        "judge-suite",
        cases.to_str().unwrap(),
        "--json",
        "--repeat",
        "2",
    ]);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["id"], "keeps");
        assert_eq!(line["verdict"], "AC");
        assert_eq!(line["allowed"], true);
    }
    fs_err::write(&cases, case("fails", "TLE").to_string()).unwrap();
    let output = program.run(&["judge-suite", cases.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("✗ fails"), "{text}");
}
