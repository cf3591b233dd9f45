//! The command line as people meet it: what it prints, what it refuses, how it exits.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::{Program, stderr};

#[test]
fn the_recipes_that_come_with_the_program_are_right() {
    let program = Program::new();
    let list = program.succeed(&["recipe", "list"]);
    for name in ["tiny", "mini", "iotacode-1.3b"] {
        assert!(list.contains(name), "{list}");
        program.succeed(&["recipe", "check", "-r", name]);
    }
}

#[test]
fn the_papers_recipe_is_planned_and_says_what_is_missing() {
    let program = Program::new();
    let plan = program.succeed(&["plan", "-r", "iotacode-1.3b"]);
    assert!(plan.contains("missing ingest"), "{plan}");
    assert!(
        plan.contains("`file:") || plan.contains("data/raw/code_contests"),
        "{plan}"
    );
    let run = program.run(&["run", "-r", "iotacode-1.3b"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(stderr(&run).contains("is not there"), "{}", stderr(&run));
}

#[test]
fn a_mistake_in_an_override_is_underlined() {
    let program = Program::new();
    let output = program.run(&["run", "--set", "sft.learning_rte=1"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("did you mean `learning_rate`?"), "{text}");
    assert!(text.contains("--set:1:5"), "{text}");
}

#[test]
fn unknown_names_are_usage_errors() {
    let program = Program::new();
    for args in [["run", "sftt"], ["why", "sftt"], ["plan", "sftt"]] {
        let output = program.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains("did you mean `sft`?"),
            "{}",
            stderr(&output)
        );
    }
    let output = program.run(&["show", "tiny/nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nothing has been made yet"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_life_with_the_program() {
    let program = Program::new();
    // Before: everything is to be done, and --exit-code says so.
    assert_eq!(program.run(&["plan", "--exit-code"]).status.code(), Some(3));
    let run = program.run(&["run", "split"]);
    assert!(run.status.success(), "{}", stderr(&run));
    assert!(stderr(&run).contains("2 stages run"), "{}", stderr(&run));
    // Again: nothing to do.
    let again = program.run(&["run", "split"]);
    assert!(
        stderr(&again).contains("nothing to do, all 2 stages are up to date"),
        "{}",
        stderr(&again)
    );
    // A change: why names it, in both the node and what is behind it.
    let why = program.succeed(&["why", "split", "--set", "contest.problems=17"]);
    assert!(why.contains("contest: what.problems 16 → 17"), "{why}");
    assert!(why.contains("split: depends on `contest`"), "{why}");
    let shown = program.succeed(&["show", "contest", "--json"]);
    let trace: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(trace["document"]["what"]["problems"], 16);
    // Refs are files that other programs can open.
    let link = program
        .artifacts()
        .join("refs/tiny/contest/problems.parquet");
    assert_eq!(&fs_err::read(link).unwrap()[..4], b"PAR1");
    // Nothing can go, everything is sound, and the difference of a thing to itself is none.
    assert!(program.succeed(&["gc"]).contains("0 files"));
    assert!(program.succeed(&["verify"]).contains("0 findings"));
    assert!(
        program
            .succeed(&["diff", "tiny/contest", "tiny/contest"])
            .contains("no difference")
    );
    assert!(program.succeed(&["pin", "kept"]).contains("pinned 2 nodes"));
    for format in ["text", "dot", "mermaid", "json"] {
        assert!(
            program
                .succeed(&["graph", "--format", format])
                .contains("contest")
        );
    }
}

#[test]
fn a_corrupt_object_is_found_and_made_again() {
    let program = Program::new();
    program.succeed(&["run", "contest", "--quiet"]);
    let link = program
        .artifacts()
        .join("refs/tiny/contest/problems.parquet");
    let object = fs_err::canonicalize(&link).unwrap();
    let mut bytes = fs_err::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::remove_file(&object).unwrap();
    fs_err::write(&object, &bytes).unwrap();
    let found = program.run(&["verify"]);
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains("corrupt object"));
    program.succeed(&["verify", "--repair"]);
    program.succeed(&["run", "contest", "--quiet"]);
    program.succeed(&["verify"]);
}

#[test]
fn a_recipe_file_that_is_not_there_is_named() {
    let program = Program::new();
    let output = program.run(&["run", "-r", "no/such.toml"]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("no/such.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_device_that_is_not_there_is_said_before_anything_runs() {
    let program = Program::new();
    let output = program.run(&["--device", "cuda:99", "run", "sft", "-r", "tiny"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("--device cuda:99"), "{text}");
    assert!(!program.artifacts().join("refs/tiny").exists());
    let output = program.run(&["--device", "gpu", "run", "-r", "tiny"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("auto, cpu, cuda or cuda:N"), "{text}");
    // What a recipe asks for, too.
    let set = "sft.how.device=\"cuda:99\"";
    let output = program.run(&["run", "sft", "-r", "tiny", "--set", set]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cuda:99"), "{}", stderr(&output));
    // But not for nodes that nobody asks for: data are made where there is no GPU.
    program.succeed(&["run", "contest", "-r", "tiny", "--set", set]);
}
