//! Stages `reward`, `dpo`, `orpo` and `ppo` on a tiny world: they learn, resume, and refuse.
#![allow(clippy::unwrap_used)]

mod tiny;

use corpus::table::{read, write};
use engine::Error;
use model::checkpoint::Checkpoint;
use model::lora;
use model::parameters::Parameters;
use std::collections::BTreeMap;
use std::path::Path;
use store::Address;
use tiny::{Listener, World, chain, triplet};
use train::dpo::Reference;
use train::metrics::Metric;
use train::ppo::rollout::Rollout;
use train::reward;

const SETTINGS: &str = "learning_rate = 1e-2\nepochs = 8\nbatch_size = 2\naccumulation = 2\nranks = 1\n\
                        max_tokens = 128\nvalidation_share = 0.3\nevaluations = 2\n\
                        adapter = { rank = 4, alpha = 8.0 }";
const PPO: &str = "batches = 3\nbatch_size = 8\nminibatch_size = 4\nmicrobatch_size = 3\nepochs = 2\n\
                   learning_rate = 1e-3\nmax_new_tokens = 12\nadapter = { rank = 4, alpha = 8.0 }";

fn values(path: &Path, name: &str) -> Vec<f64> {
    let rows = read::<Metric>(path, "metrics").unwrap();
    let wanted = rows.into_iter().filter(|row| row.name == name);
    wanted.map(|row| row.value).collect()
}

fn outputs(world: &World, store: &str, node: &str, text: &str) -> BTreeMap<String, Address> {
    let summary = world.run(store, text).unwrap();
    let outputs = &summary.traces[node].outputs;
    outputs
        .iter()
        .map(|(name, output)| (name.clone(), output.address))
        .collect()
}

fn parameters(folder: &Path) -> Parameters {
    Checkpoint::load(folder).unwrap().parameters
}

#[test]
fn dpo_prefers_right_programs_of_problems_it_has_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    world
        .run("a", &world.pairs_recipe("dpo", SETTINGS))
        .unwrap();
    let metrics = world.output("a", "dpo", "metrics.parquet");
    let losses = values(&metrics, "loss");
    // Policy and reference are one model at first.
    assert!(
        (losses[0] - std::f64::consts::LN_2).abs() < 1e-4,
        "{}",
        losses[0]
    );
    assert!(values(&metrics, "rewards/margins")[0].abs() < 1e-4);
    let held_out = values(&metrics, "eval_rewards/accuracies");
    assert!(held_out[2] > 0.9, "{held_out:?}");

    // The merged folder is the base with the adapter on.
    let start = world.output("a", "init", "model");
    let Checkpoint {
        config,
        parameters: mut base,
    } = Checkpoint::load(&start).unwrap();
    let adapter = lora::read(
        &world.output("a", "dpo", "adapter"),
        "x",
        &config,
        &mut base,
    )
    .unwrap();
    let mut merged = Checkpoint {
        config,
        parameters: base,
    };
    adapter.merge(&mut merged);
    assert_eq!(
        merged.parameters,
        parameters(&world.output("a", "dpo", "model"))
    );
    let reference = read::<Reference>(&world.output("a", "dpo", "reference.parquet"), "r").unwrap();
    assert_eq!(reference.len(), 30);
    assert!(reference.iter().all(|row| row.chosen_log_prob < 0.0));
}

#[test]
fn full_dpo_keeps_the_start_as_reference() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let settings = SETTINGS.replace("1e-2", "1e-3") + "\ntrain = \"full\"\nnll_weight = 0.1";
    world
        .run("a", &world.pairs_recipe("dpo", &settings))
        .unwrap();
    let metrics = world.output("a", "dpo", "metrics.parquet");
    let (losses, nll) = (values(&metrics, "loss"), values(&metrics, "nll_loss"));
    assert!((losses[0] - 0.1 * nll[0] - std::f64::consts::LN_2).abs() < 1e-4);
    let start = parameters(&world.output("a", "init", "model"));
    let end = parameters(&world.output("a", "dpo", "model"));
    for (name, tensor) in &start.tensors {
        assert_ne!(tensor.data, end.data(name), "{name} was not trained");
    }
}

#[test]
fn orpo_learns_to_write_and_to_prefer() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    world
        .run("a", &world.pairs_recipe("orpo", SETTINGS))
        .unwrap();
    let metrics = world.output("a", "orpo", "metrics.parquet");
    for name in ["eval_nll_loss", "eval_loss"] {
        let found = values(&metrics, name);
        assert!(found[2] < 0.8 * found[0], "{name} {found:?}");
    }
    let right = values(&metrics, "eval_rewards/accuracies");
    assert!(right[2] > 0.9, "{right:?}");
}

#[test]
fn a_reward_model_knows_right_from_wrong_and_says_how_well() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 30);
    for train in ["adapter", "full"] {
        let settings =
            SETTINGS.replace("1e-2", "3e-3") + &format!("\ntrain = \"{train}\"\ncentering = 0.01");
        world
            .run(train, &world.pairs_recipe("reward", &settings))
            .unwrap();
        let folder = world.output(train, "reward", "model");
        let quality = reward::quality(&folder).unwrap().unwrap();
        assert!(quality.accuracy > 0.9, "{quality:?}");
        assert!(quality.score_std > 0.0 && quality.pairs >= 4, "{quality:?}");
        let loaded = Checkpoint::load(&folder).unwrap();
        assert_eq!(loaded.parameters.tensors["score.weight"].shape, [1, 32]);
        let has_head = carries_head(&world.output(train, "reward", "adapter"));
        assert_eq!(has_head, train == "adapter");
    }
}

/// Whether a folder is an adapter that carries the score head.
fn carries_head(folder: &Path) -> bool {
    fs_err::read_to_string(folder.join("adapter_config.json"))
        .is_ok_and(|text| text.contains("\"score\"") && text.contains("SEQ_CLS"))
}

#[test]
fn pairs_that_teach_nothing_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 10);
    let mut rows: Vec<_> = (0..10).map(triplet).collect();
    rows[1].rejected = rows[1].chosen.clone();
    rows[2].chosen = String::new();
    rows[3].rejected = "print(1)\n".repeat(200);
    write(&world.root.join("triplets.parquet"), rows.clone()).unwrap();
    let settings = SETTINGS
        .replace("epochs = 8", "max_steps = 1")
        .replace("0.3", "0.0");
    for stage in ["reward", "dpo", "orpo"] {
        let text = world.pairs_recipe(stage, &settings);
        let summary = world.run(stage, &text).unwrap();
        let measured = &summary.traces[stage].metrics;
        let count = |name: &str| measured[name] as u64;
        assert_eq!(count("pairs"), 7, "{stage}");
        for reason in ["equal", "empty", "too_long"] {
            assert_eq!(count(&format!("dropped.{reason}")), 1, "{stage} {reason}");
        }
    }
    for row in &mut rows {
        row.rejected = row.chosen.clone();
    }
    write(&world.root.join("triplets.parquet"), rows).unwrap();
    let error = world
        .run("none", &world.pairs_recipe("dpo", &settings))
        .unwrap_err();
    assert!(chain(&error).contains("9 equal"), "{}", chain(&error));
}

#[test]
fn threads_checkpoints_and_interruptions_change_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 20);
    let settings = SETTINGS.replace("epochs = 8", "epochs = 2");
    for (stage, place) in [
        ("reward", "after 3 updates"),
        ("dpo", "after 3 updates"),
        ("orpo", "updates over"),
    ] {
        let text =
            |how: &str| world.pairs_recipe(stage, &format!("{settings}\n[{stage}.how]\n{how}"));
        let whole = outputs(&world, &format!("{stage}-one"), stage, &text("threads = 1"));
        let every = text("threads = 2\ncheckpoint_every_steps = 1");
        assert_eq!(
            outputs(&world, &format!("{stage}-two"), stage, &every),
            whole
        );
        let store = format!("{stage}-cut");
        let result = world.run_with(&store, &every, &Listener::cancelling_at(place));
        assert!(
            matches!(result, Err(Error::Interrupted)),
            "{stage}: {result:?}"
        );
        assert_eq!(outputs(&world, &store, stage, &every), whole, "{stage}");
    }
}

#[test]
fn preferences_are_learnt_in_bf16_as_in_f32() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 20);
    for stage in ["reward", "dpo", "orpo"] {
        let run = |precision: &str| {
            let store = format!("{stage}-{precision}");
            let settings = format!("{SETTINGS}\nprecision = \"{precision}\"\nmax_steps = 12");
            world
                .run(&store, &world.pairs_recipe(stage, &settings))
                .unwrap();
            values(&world.output(&store, stage, "metrics.parquet"), "loss")
        };
        let (single, half) = (run("f32"), run("bf16"));
        assert_ne!(single, half, "{stage}");
        // The first is of the same weights; steps of this size drive later ones apart.
        let (first, last) = (half[0] / single[0] - 1.0, half[11] - single[11]);
        assert!(first.abs() < 0.01, "{stage}: {half:?} and {single:?}");
        assert!(
            last.abs() < 0.2 * single[0],
            "{stage}: {half:?} and {single:?}"
        );
        assert!(half[11] < half[0], "{stage}: nothing was learnt");
    }
}

#[test]
fn ppo_learns_the_same_however_often_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 20);
    for (name, settings) in [
        ("ppo", PPO.to_owned()),
        (
            "full",
            format!(
                "{PPO}\ntrain = \"full\"\ntemperature = 0.8\nscore_normalisation = \"standard\""
            ),
        ),
        (
            "bf16",
            format!("{PPO}\nprecision = \"bf16\"\nmax_sampler_gap = 0.05"),
        ),
        (
            "executed",
            format!("{PPO}\nparts = {{ reward_model = 0.5, compiles = 2.0, all_tests = 1.0 }}"),
        ),
        (
            "critic",
            format!(
                "{PPO}\ncritic = \"reward_model\"\ncritic_learning_rate = 2e-3\n\
                 score_normalisation = \"standard\"\nentropy_coefficient = 0.01"
            ),
        ),
        (
            "rloo",
            format!("{PPO}\nalgorithm = \"rloo\"\nsamples_per_prompt = 2"),
        ),
        (
            "grpo",
            format!(
                "{PPO}\nalgorithm = \"grpo\"\nsamples_per_prompt = 4\nscore_normalisation = \"stored\""
            ),
        ),
    ] {
        let text = |how: &str| world.ppo_recipe(&format!("{settings}\n[ppo.how]\n{how}"));
        let whole = outputs(&world, name, "ppo", &text("threads = 1"));
        let rows = read::<Rollout>(&world.output(name, "ppo", "rollouts.parquet"), "r").unwrap();
        assert_eq!(rows.len(), 24);
        // The first problem is of split `test`.
        assert!(rows.iter().all(|row| row.problem_id != "made/0"));
        for row in &rows {
            assert_eq!(row.advantages.len(), row.token_ids.len());
            // The tests' own judge goes by the length of the text.
            let even = row.text.len().is_multiple_of(2);
            match row.compiles {
                Some(compiles) => {
                    assert_eq!((name, compiles > 0.0), ("executed", even));
                    let whole = row.all_tests.unwrap();
                    let wanted = 0.5 * row.score + 2.0 * compiles + whole;
                    assert!((row.final_score - wanted).abs() < 1e-12, "{name}");
                }
                None => assert_ne!(name, "executed"),
            }
        }
        // At first policy and reference are one model.
        let far = |row: &Rollout| row.kl.abs() > 1e-3;
        assert!(
            !rows[..8].iter().any(far) && rows[16..].iter().any(far),
            "{name}"
        );
        let metrics = world.output(name, "ppo", "metrics.parquet");
        assert!(
            values(&metrics, "policy/skipped_programs")
                .iter()
                .all(|&v| v == 0.0)
        );
        let every = text("threads = 2\ncheckpoint_every_steps = 1");
        assert_eq!(
            outputs(&world, &format!("{name}-2"), "ppo", &every),
            whole,
            "{name}"
        );
    }
}

/// Not a test by itself: the process that `a_killed_ppo_goes_on` kills.
#[test]
fn child() {
    if let Ok(root) = std::env::var("TRAIN_TEST_ROOT") {
        let world = World { root: root.into() };
        let text = world.ppo_recipe(&format!("{PPO}\n[ppo.how]\ncheckpoint_every_steps = 1"));
        world.run("killed", &text).unwrap();
    }
}

#[test]
fn a_killed_ppo_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 20);
    let text = world.ppo_recipe(&format!("{PPO}\n[ppo.how]\ncheckpoint_every_steps = 1"));
    let whole = outputs(&world, "whole", "ppo", &text);
    for fault in [
        "shard.renamed:1",
        "checkpoint.written:1",
        "shard.written:1",
        "checkpoint.latest:1",
    ] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env("TRAIN_TEST_ROOT", &world.root)
            .env("IOTA_FAULT", fault)
            .status()
            .unwrap();
        assert!(!status.success(), "{fault} killed nothing");
    }
    assert_eq!(outputs(&world, "killed", "ppo", &text), whole);
}

#[test]
fn ppo_asks_with_hints_where_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 20);
    let path = world.root.join("problems.parquet");
    let mut problems: Vec<corpus::schema::Problem> = read(&path, "problems").unwrap();
    for problem in &mut problems {
        problem.tags = vec!["plus".into()];
    }
    write(&path, problems).unwrap();
    let hints = "hints = { tags = true, dropped = 0.4 }";
    world
        .run("hints", &world.ppo_recipe(&format!("{PPO}\n{hints}")))
        .unwrap();
    let rows = world.output("hints", "ppo", "rollouts.parquet");
    let rows = read::<Rollout>(&rows, "rollouts").unwrap();
    let tokenizer = world.root.join("tokenizer/tokenizer.json");
    let tokenizer = model::tokenizer::Tokenizer::load(&tokenizer).unwrap();
    let told = rows.iter().filter(|row| {
        let prompt = tokenizer.decode(&row.prompt_ids, true).unwrap();
        prompt.ends_with("\n\n### Tags plus\n### Python 3\n")
    });
    let told = told.count();
    assert!(0 < told && told < rows.len(), "{told} of {}", rows.len());
}

#[test]
fn ppo_refuses_what_cannot_be_right() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    world.tokenizer("other", 270);
    let text = world.ppo_recipe(PPO);
    let swapped = text.replace("reward = \"reward.model\"", "reward = \"init.model\"");
    let other = text.replace(
        "[ppo]\ninputs = { model = \"init.model\"",
        &format!(
            "[second]\nstage = \"init\"\ninputs = {{ tokenizer = {} }}\nhidden_size = 32\nlayers = 1\n\
             context = 128\n[ppo]\ninputs = {{ model = \"second.model\"",
            world.file("other")
        ),
    );
    let gap = world.ppo_recipe(&format!("{PPO}\nmax_sampler_gap = 1e-12"));
    let test_only = text.replace("problems.parquet", "test.parquet");
    let mut problems: Vec<corpus::schema::Problem> =
        read(&world.root.join("problems.parquet"), "p").unwrap();
    for problem in &mut problems {
        problem.split = "test".into();
    }
    write(&world.root.join("test.parquet"), problems).unwrap();
    for (index, (text, wanted)) in [
        (swapped, "has no score head"),
        (other, "another tokenizer"),
        (gap, "sampler and trainer disagree"),
        (test_only, "no problem to learn from"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = world.run(&format!("s{index}"), &text).unwrap_err();
        assert!(chain(&error).contains(wanted), "{}", chain(&error));
    }
}

#[test]
fn diverging_runs_say_so_and_write_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 12);
    let wild = |settings: &str| {
        let steady = settings.replace("1e-2", "1e30").replace("1e-3", "1e30");
        format!("{steady}\nschedule = \"constant\"")
    };
    for (node, text) in [
        ("reward", world.pairs_recipe("reward", &wild(SETTINGS))),
        ("dpo", world.pairs_recipe("dpo", &wild(SETTINGS))),
        ("orpo", world.pairs_recipe("orpo", &wild(SETTINGS))),
        ("ppo", world.ppo_recipe(&wild(PPO))),
    ] {
        let error = world.run(node, &text).unwrap_err();
        let message = chain(&error);
        assert!(message.contains(&format!("`{node}`")), "{message}");
        let wanted = if node == "ppo" {
            ["batch ", "the model's probabilities are not numbers"]
        } else {
            ["examples ", "is not finite"]
        };
        for part in wanted {
            assert!(message.contains(part), "{message}");
        }
        assert!(!world.output(node, node, "model").exists());
    }
}
