//! Interrupted anywhere, a run ends with the same bytes; so it does with other threads.
#![allow(clippy::unwrap_used)]

mod tiny;

use engine::Error;
use std::process::Command;
use store::Address;
use tiny::{Listener, World};
use train::metrics::Metric;

const SETTINGS: &str = "learning_rate = 3e-3\nwarmup_steps = 3\nepochs = 3\nbatch_size = 1\n\
                        accumulation = 2\nranks = 2\nmax_tokens = 64\nvalidation_share = 0.2\n\
                        evaluations = 4";

fn recipe(world: &World, how: &str) -> String {
    world.recipe("sft", &format!("{SETTINGS}\n[sft.how]\n{how}"))
}

/// Weights and metrics of a finished run.
fn outputs(world: &World, store: &str, text: &str) -> Vec<Address> {
    let summary = world.run(store, text).unwrap();
    summary.traces["sft"]
        .outputs
        .values()
        .map(|output| output.address)
        .collect()
}

#[test]
fn threads_and_checkpoints_change_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    let whole = outputs(&world, "one", &recipe(&world, "threads = 1"));
    for (store, how) in [
        ("two", "threads = 2"),
        ("three", "threads = 3\ncheckpoint_every_steps = 1"),
    ] {
        assert_eq!(outputs(&world, store, &recipe(&world, how)), whole, "{how}");
    }
}

#[test]
fn a_cancelled_run_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    let text = recipe(&world, "checkpoint_every_s = 0.0");
    let whole = outputs(&world, "whole", &text);
    // Before the first update, at a validation round in the middle, at the last one.
    for (store, place) in [
        ("begin", "updates over"),
        ("middle", "after 8 updates"),
        ("end", "after 15 updates"),
    ] {
        let listener = Listener::cancelling_at(place);
        let result = world.run_with(store, &text, &listener);
        if store == "end" {
            // Nothing is left to do, so the run ends well.
            assert!(result.is_ok());
        } else {
            assert!(
                matches!(result, Err(Error::Interrupted)),
                "{place}: {result:?}"
            );
        }
        let summary = world.run(store, &text).unwrap();
        let trace = &summary.traces["sft"];
        let resumed: &[String] = if store == "middle" {
            &["step 8".into()]
        } else {
            &[]
        };
        assert_eq!(trace.resumed_from, resumed);
        let found: Vec<Address> = trace
            .outputs
            .values()
            .map(|output| output.address)
            .collect();
        assert_eq!(found, whole, "{place}");
    }
}

/// Not a test by itself: the process that `a_killed_run_goes_on_where_it_was` kills.
#[test]
fn child() {
    if let Ok(root) = std::env::var("TRAIN_TEST_ROOT") {
        let world = World { root: root.into() };
        world
            .run("killed", &recipe(&world, "checkpoint_every_steps = 3"))
            .unwrap();
    }
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    let text = recipe(&world, "checkpoint_every_steps = 3");
    let whole = outputs(&world, "whole", &text);
    // One store, killed again and again: in the first checkpoint, between its rename and the
    // pointer to it, later, and when all was trained.
    for (fault, resumed) in [
        ("checkpoint.written:1", None),
        ("checkpoint.renamed:1", None),
        ("checkpoint.latest:2", Some("step-00000006")),
        ("checkpoint.written:2", Some("step-00000009")),
        ("publish.objects.done:1", Some("step-00000015")),
    ] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env("TRAIN_TEST_ROOT", &world.root)
            .env("IOTA_FAULT", fault)
            .status()
            .unwrap();
        assert!(!status.success(), "{fault} killed nothing");
        let partial = fs_err::read_dir(world.root.join("killed/partial")).unwrap();
        let latest: Vec<String> = partial
            .filter_map(|entry| fs_err::read_to_string(entry.unwrap().path().join("LATEST")).ok())
            .collect();
        assert_eq!(latest.first().map(String::as_str), resumed, "{fault}");
    }
    assert_eq!(outputs(&world, "killed", &text), whole);
}

#[test]
fn the_best_weights_survive_an_interruption() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    // So fast that the last round is not the best.
    let text = recipe(&world, "checkpoint_every_steps = 1").replace(
        "learning_rate = 3e-3",
        "learning_rate = 0.3\nschedule = \"constant\"\nkeep = \"best\"",
    );
    let listener = Listener::default();
    let summary = world.run_with("whole", &text, &listener).unwrap();
    let heard = listener.heard.lock().unwrap().join("\n");
    let kept = heard.lines().find(|line| line.contains("kept the weights"));
    let kept = kept.unwrap_or_else(|| panic!("{heard}")).to_owned();
    let metrics = world.output("whole", "sft", "metrics.parquet");
    let rows = corpus::table::read::<Metric>(&metrics, "metrics").unwrap();
    let rounds = rows
        .iter()
        .filter(|row| row.name == "eval_loss" && row.step > 0);
    let best = rounds
        .clone()
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap();
    assert!(
        kept.contains(&format!("after {} updates", best.step)),
        "{kept}"
    );
    let last = rounds.max_by_key(|row| row.step).unwrap();
    assert!(best.step < last.step, "the last round is the best");

    // Cancelled at the last round, after the best.
    let place = format!("after {} updates", last.step);
    let listener = Listener::cancelling_at(&place);
    let _ = world.run_with("broken", &text, &listener);
    let again = world.run("broken", &text).unwrap();
    let model = |summary: &engine::run::Summary| summary.traces["sft"].outputs["model"].address;
    assert_eq!(model(&again), model(&summary));
    let other = world
        .run("last", &text.replace("\"best\"", "\"last\""))
        .unwrap();
    assert_ne!(model(&other), model(&summary));
}

#[test]
fn recomputed_activations_change_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let kept = outputs(&world, "kept", &recipe(&world, "recompute = false"));
    let recomputed = outputs(&world, "recomputed", &recipe(&world, "recompute = true"));
    assert_eq!(kept, recomputed);
}

#[test]
fn bf16_is_exact_in_its_own_way_and_close_to_f32() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    let bf16 = |how: &str| {
        let settings = format!("{SETTINGS}\nprecision = \"bf16\"\n[sft.how]\n{how}");
        world.recipe("sft", &settings)
    };
    let whole = outputs(&world, "one", &bf16("threads = 1"));
    for (store, how) in [
        ("two", "threads = 2\nrecompute = true"),
        ("three", "threads = 3\ncheckpoint_every_steps = 1"),
    ] {
        assert_eq!(outputs(&world, store, &bf16(how)), whole, "{how}");
    }
    // Cancelled in the middle: the checkpoint holds f32 weights, and nothing is lost.
    let text = bf16("checkpoint_every_s = 0.0");
    let listener = Listener::cancelling_at("after 8 updates");
    let result = world.run_with("cancelled", &text, &listener);
    assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    let summary = world.run("cancelled", &text).unwrap();
    assert_eq!(summary.traces["sft"].resumed_from, ["step 8"]);
    assert_eq!(outputs(&world, "cancelled", &text), whole);

    let f32 = outputs(&world, "f32", &recipe(&world, "threads = 1"));
    assert_ne!(f32, whole);
    let loss = |store: &str| {
        let path = world.output(store, "sft", "metrics.parquet");
        let rows = corpus::table::read::<Metric>(&path, "metrics").unwrap();
        let last = rows.into_iter().rfind(|row| row.name == "eval_loss");
        last.unwrap().value
    };
    let (half, single) = (loss("one"), loss("f32"));
    assert!((half / single - 1.0).abs() < 0.01, "{half} and {single}");
}
