//! kill -9 anywhere loses nothing: at every fault point, and at any moment of the long
//! stages, the store stays sound and the next run makes the very same bytes.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::Program;
use std::{sync::OnceLock, time::Duration};

/// A finished run of `tiny`, shared by the tests of this file.
fn finished() -> &'static Program {
    static FINISHED: OnceLock<Program> = OnceLock::new();
    FINISHED.get_or_init(|| {
        let program = Program::new();
        program.succeed(&["run", "--quiet"]);
        program
    })
}

/// A store in which everything is made but `node` and what comes after it.
fn without(node: &str) -> Program {
    let program = Program::copy_of(finished());
    let shown = program.succeed(&["show", node, "--json"]);
    let trace: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let path = format!(
        "traces/{}/{}.json",
        trace["stage"].as_str().unwrap(),
        trace["key"].as_str().unwrap()
    );
    fs_err::remove_file(program.artifacts().join(path)).unwrap();
    program
}

fn check_same_bytes(program: &Program, what: &str) {
    program.succeed(&["verify"]);
    program.succeed(&["run", "--quiet"]);
    program.succeed(&["verify"]);
    assert_eq!(program.digests(), finished().digests(), "{what}");
    let partials = program.artifacts().join("partial");
    assert_eq!(
        fs_err::read_dir(partials).unwrap().count(),
        0,
        "{what} left half-done work"
    );
}

#[test]
fn a_crash_at_every_point_of_publishing_is_harmless() {
    for point in [
        "stage.started",
        "stage.finished",
        "publish.object.hashed",
        "publish.object.synced",
        "publish.object.renamed",
        "publish.objects.done",
        "publish.trace.written",
        "publish.trace.renamed",
        "refs.linked",
    ] {
        let program = Program::new();
        // The second node that passes the point, so that there is something to lose.
        assert!(
            program.crash(&["run", "split", "--quiet"], &format!("{point}:2")),
            "{point}"
        );
        program.succeed(&["verify"]);
        program.succeed(&["run", "split", "--quiet"]);
        let (found, wanted) = (program.digests(), finished().digests());
        for (name, address) in found {
            assert_eq!(Some(&address), wanted.get(&name), "{name} after {point}");
        }
    }
}

#[test]
fn a_crash_at_every_point_of_a_checkpoint_is_harmless() {
    for point in [
        "checkpoint.written",
        "checkpoint.renamed",
        "checkpoint.latest",
        "publish.manifest.renamed",
        "publish.trace.renamed",
        "partial.removed",
    ] {
        let program = without("sft");
        assert!(program.crash(&["run", "sft", "--quiet"], point), "{point}");
        check_same_bytes(&program, point);
    }
}

#[test]
fn a_crash_at_every_point_of_a_shard_is_harmless() {
    for node in ["triplets", "sample", "judge"] {
        for point in ["shard.written", "shard.renamed"] {
            let program = without(node);
            assert!(
                program.crash(&["run", node, "--quiet"], point),
                "{node} {point}"
            );
            check_same_bytes(&program, &format!("{node} {point}"));
        }
    }
}

#[test]
fn a_kill_at_any_moment_is_harmless() {
    let rounds: u64 = std::env::var("IOTA_KILLS").map_or(2, |text| text.parse().unwrap());
    for node in ["sft", "triplets", "sample", "judge"] {
        // How long the node takes undisturbed bounds the moments worth trying.
        let whole = without(node);
        let clock = std::time::Instant::now();
        whole.succeed(&["run", node, "--quiet"]);
        let took = clock.elapsed();
        for round in 0..rounds {
            let program = without(node);
            let mut child = program.start(&["run", node, "--quiet"]);
            // Spread over the run by the golden ratio: no two rounds at the same moment.
            let share = ((round + 1) as f64 * 0.618_034).fract();
            std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * share));
            // It may have ended already; then there is nothing to kill.
            let _ = child.kill();
            child.wait().unwrap();
            check_same_bytes(
                &program,
                &format!("{node} killed at {share:.2} of its time"),
            );
        }
    }
}

#[test]
fn an_interrupt_saves_and_says_so() {
    use rustix::process::{Pid, Signal, kill_process};
    let program = without("sft");
    let mut child = program.start(&["run", "sft", "--set", "sft.max_steps=4000", "--json"]);
    let pid = Pid::from_child(&child);
    // Interrupt as soon as it has saved something.
    let partial = program.artifacts().join("partial");
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let saved = || {
        fs_err::read_dir(&partial)
            .unwrap()
            .any(|entry| entry.unwrap().path().join("LATEST").exists())
    };
    while !saved() {
        assert!(
            std::time::Instant::now() < deadline,
            "no checkpoint within a minute"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let plan = program.succeed(&["plan", "sft", "--set", "sft.max_steps=4000"]);
    assert!(plan.contains("resume"), "{plan}");
}

#[test]
fn of_two_runners_one_runs_and_the_other_uses_it() {
    let program = Program::new();
    let children: Vec<_> = (0..2).map(|_| program.start(&["run", "--json"])).collect();
    let mut finished_nodes = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", program::stderr(&output));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["event"] == "finished" {
                finished_nodes.push(event["node"].as_str().unwrap().to_owned());
            }
        }
    }
    finished_nodes.sort();
    let mut once = finished_nodes.clone();
    once.dedup();
    assert_eq!(finished_nodes, once, "a node ran twice");
    assert_eq!(program.digests(), finished().digests());
}
