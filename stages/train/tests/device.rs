//! Training stages on an emulated device: the numbers of the CPU, within rounding; killed runs go on,
//! here or there.
#![allow(clippy::unwrap_used)]

mod tiny;

use corpus::table::read;
use engine::Error;
use model::checkpoint::Checkpoint;
use std::path::Path;
use store::Address;
use tiny::{Listener, World};
use train::metrics::Metric;

const DEVICE: &str = "device = \"emulated\"";
const SFT: &str = "learning_rate = 3e-3\nwarmup_steps = 1\nmax_steps = 4\nbatch_size = 1\n\
                   accumulation = 1\nranks = 2\nmax_tokens = 64\nvalidation_share = 0.3\n\
                   evaluations = 2";
const PAIRS: &str = "learning_rate = 1e-2\nmax_steps = 3\nbatch_size = 2\naccumulation = 1\n\
                     ranks = 1\nmax_tokens = 128\nvalidation_share = 0.2\nevaluations = 1\n\
                     adapter = { rank = 4, alpha = 8.0, dropout = 0.1 }";

fn with_how(node: &str, settings: &str, how: &str) -> String {
    format!("{settings}\n[{node}.how]\n{how}")
}

/// Numbers of updates and validation rounds, by step and name.
fn numbers(path: &Path) -> Vec<(i64, String, f64)> {
    let rows = read::<Metric>(path, "metrics").unwrap();
    let numbers = rows.into_iter().map(|row| (row.step, row.name, row.value));
    numbers.collect()
}

/// Every number of a run within a share of itself, or of what is usual for its kind.
#[track_caller]
fn assert_near(found: &[(i64, String, f64)], wanted: &[(i64, String, f64)], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for ((step, name, found), (_, other, wanted)) in found.iter().zip(wanted) {
        assert_eq!(name, other);
        let difference = (found - wanted).abs();
        assert!(
            difference <= tolerance * wanted.abs().max(0.1),
            "{name} of update {step}: {found}, on the CPU {wanted}"
        );
    }
}

/// The largest difference of weights, over the largest change that training made.
fn weights_apart(world: &World, here: &str, there: &str, node: &str) -> f64 {
    let load = |store: &str, node: &str| {
        Checkpoint::load(&world.output(store, node, "model"))
            .unwrap()
            .parameters
    };
    let (start, cpu, device) = (load(here, "init"), load(here, node), load(there, node));
    let (mut apart, mut moved) = (0.0_f32, 0.0_f32);
    for (name, cpu) in &cpu.tensors {
        for ((cpu, device), start) in cpu.data.iter().zip(device.data(name)).zip(start.data(name)) {
            apart = apart.max((cpu - device).abs());
            moved = moved.max((cpu - start).abs());
        }
    }
    f64::from(apart / moved)
}

/// Runs a recipe on the CPU and on the device, and holds one against the other.
#[track_caller]
fn compare(world: &World, node: &str, recipe: impl Fn(&str) -> String, tolerance: f64) {
    world.run("cpu", &recipe("")).unwrap();
    let summary = world.run("device", &recipe(DEVICE)).unwrap();
    assert!(summary.traces[node].platform["device"].contains("emulat"));
    let metrics = |store| numbers(&world.output(store, node, "metrics.parquet"));
    assert_near(&metrics("device"), &metrics("cpu"), tolerance);
}

#[test]
fn sft_on_a_device_is_sft() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let recipe = |how: &str| world.recipe("sft", &with_how("sft", SFT, how));
    compare(&world, "sft", recipe, 2e-3);
    let apart = weights_apart(&world, "cpu", "device", "sft");
    assert!(apart < 0.05, "{apart}");
}

#[test]
fn sft_in_bfloat16_on_a_device_is_near() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let settings = format!("{SFT}\nprecision = \"bf16\"");
    let recipe = |how: &str| world.recipe("sft", &with_how("sft", &settings, how));
    compare(&world, "sft", recipe, 5e-2);
}

#[test]
fn a_cancelled_run_goes_on_where_it_was_and_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let recipe = |how: &str| world.recipe("sft", &with_how("sft", SFT, how));
    let outputs = |store: &str, text: &str| -> Vec<Address> {
        let summary = world.run(store, text).unwrap();
        let outputs = summary.traces["sft"].outputs.values();
        outputs.map(|output| output.address).collect()
    };
    let whole = outputs("whole", &recipe(DEVICE));
    for (store, begun, ended) in [("there", DEVICE, DEVICE), ("both", "", DEVICE)] {
        let listener = Listener::cancelling_at("after 2 updates");
        let result = world.run_with(store, &recipe(begun), &listener);
        assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
        let found = outputs(store, &recipe(ended));
        if begun == ended {
            assert_eq!(found, whole);
        } else {
            // Begun on the CPU: other last bits, the same training.
            let metrics = |store| numbers(&world.output(store, "sft", "metrics.parquet"));
            assert_near(&metrics(store), &metrics("whole"), 2e-3);
        }
    }
}

#[test]
fn preferences_on_a_device_are_preferences() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    for node in ["dpo", "orpo", "reward"] {
        let recipe = |how: &str| world.pairs_recipe(node, &with_how(node, PAIRS, how));
        compare(&world, node, recipe, 1e-2);
    }
}

#[test]
fn ppo_on_a_device_learns_from_its_own_programs() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    for (critic, batches) in [("policy", 2), ("reward_model", 1)] {
        let settings = format!(
            "batches = {batches}\nbatch_size = 4\nminibatch_size = 4\nmicrobatch_size = 2\nepochs = 1\n\
             learning_rate = 1e-3\nmax_new_tokens = 4\ncritic = \"{critic}\"\n\
             adapter = {{ rank = 4, alpha = 8.0 }}\n[ppo.how]\n{DEVICE}"
        );
        let text = world.ppo_recipe(&settings);
        let summary = world.run(critic, &text).unwrap();
        let metrics = numbers(&world.output(critic, "ppo", "metrics.parquet"));
        assert!(metrics.iter().all(|(_, _, value)| value.is_finite()));
        // What the sampler and the passes of training say of the same tokens.
        let gaps = metrics
            .iter()
            .filter(|(_, name, _)| name == "rollout/sampler_gap");
        let gaps: Vec<f64> = gaps.map(|(_, _, gap)| *gap).collect();
        assert!(
            gaps.len() == batches && gaps.iter().all(|gap| *gap < 1e-4),
            "{gaps:?}"
        );
        // At first policy and reference are one.
        let kl = metrics.iter().find(|(_, name, _)| name == "objective/kl");
        assert!(kl.unwrap().2.abs() < 1e-3, "{kl:?}");
        if critic == "reward_model" {
            continue;
        }
        // The same again, in another store.
        let again = world.run(&format!("{critic}-again"), &text).unwrap();
        let outputs = |summary: &engine::run::Summary| -> Vec<Address> {
            let outputs = summary.traces["ppo"].outputs.values();
            outputs.map(|output| output.address).collect()
        };
        assert_eq!(outputs(&again), outputs(&summary));
    }
}
