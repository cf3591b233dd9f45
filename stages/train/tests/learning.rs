//! A tiny model learns: the loss falls, and what was learnt by heart is written again.
#![allow(clippy::unwrap_used)]

mod tiny;

use model::checkpoint::{Checkpoint, load_tokenizer};
use model::generate::{Decoder, Finish, Limits, Request, Sampling, Settings};
use model::network::Network;
use std::ops::ControlFlow;
use std::path::Path;
use tiny::{Listener, World, chain, example};
use train::metrics::Metric;

const BY_HEART: &str = "learning_rate = 3e-3\nwarmup_steps = 20\nmax_steps = 400\naccumulation = 4\n\
                        ranks = 1\nmax_tokens = 128\nvalidation_share = 0.0";

fn values(path: &Path, name: &str) -> Vec<(i64, f64)> {
    let rows = corpus::table::read::<Metric>(path, "metrics").unwrap();
    let wanted = rows.into_iter().filter(|row| row.name == name);
    wanted.map(|row| (row.step, row.value)).collect()
}

#[test]
fn five_examples_are_learnt_by_heart() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    let text = world
        .recipe("sft", BY_HEART)
        .replace("hidden_size = 32", "hidden_size = 64");
    world.run("a", &text).unwrap();
    let metrics = world.output("a", "sft", "metrics.parquet");
    let losses = values(&metrics, "loss");
    assert_eq!(losses.len(), 400);
    assert_eq!((losses[0].0, losses[399].0), (1, 400));
    assert!(
        losses[0].1 > 4.0 && losses[399].1 < 0.01,
        "{:?}",
        losses[399]
    );
    let rates = values(&metrics, "learning_rate");
    assert!(rates[0].1.abs() < 1e-12 && (rates[20].1 - 3e-3).abs() < 1e-12);
    assert!(
        values(&metrics, "grad_norm")
            .iter()
            .all(|(_, norm)| norm.is_finite())
    );
    assert!(
        values(&metrics, "tokens")
            .iter()
            .all(|(_, tokens)| *tokens > 0.0)
    );

    let folder = world.output("a", "sft", "model");
    for file in ["tokenizer_config.json", "generation_config.json"] {
        assert!(folder.join(file).exists(), "{file} is not carried along");
    }
    let Checkpoint { config, parameters } = Checkpoint::load(&folder).unwrap();
    let tokenizer = load_tokenizer(&folder, &config).unwrap();
    let decoder = Decoder::new(&Network::new(config.clone()), &parameters);
    let mut settings = Settings::new(60, &config.eos_tokens, 0);
    settings.sampling = Sampling::GREEDY;
    let (prompt, completion) = example(3);
    let request = Request {
        key: "x".into(),
        prompt: tokenizer.encode(&prompt).unwrap(),
        samples: 1,
        ..Request::default()
    };
    let drawn = decoder
        .generate(&[request], &settings, Limits::default(), &|_| {
            ControlFlow::Continue(())
        })
        .unwrap();
    // The end was learnt too.
    assert_eq!(drawn[0].finish, Finish::Stop);
    assert_eq!(
        tokenizer.decode(&drawn[0].tokens, true).unwrap(),
        completion
    );
}

#[test]
fn adaptation_learns_either_text_and_measures_on_other_problems() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 40);
    let mut ends = Vec::new();
    for text in ["both", "completion"] {
        let settings = format!(
            "learning_rate = 5e-3\nwarmup_steps = 5\nepochs = 30\naccumulation = 2\nranks = 1\n\
             max_tokens = 128\nvalidation_share = 0.2\nevaluations = 2\ntext = \"{text}\""
        );
        let summary = world.run(text, &world.recipe("adapt", &settings)).unwrap();
        let measured = &summary.traces["adapt"].metrics;
        assert!(measured["validation_examples"] >= 2.0);
        assert!((measured["examples"] + measured["validation_examples"] - 40.0).abs() < 0.5);
        let held_out = values(&world.output(text, "adapt", "metrics.parquet"), "eval_loss");
        assert_eq!(held_out.len(), 3, "before, half-way and at the end");
        assert!(held_out[2].1 < 0.5 * held_out[0].1, "{held_out:?}");
        ends.push(measured["tokens"]);
    }
    assert!(ends[0] > ends[1], "prompts add tokens");
}

#[test]
fn too_long_examples_are_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    let mut rows: Vec<corpus::schema::Sample> =
        corpus::table::read(&world.root.join("samples.parquet"), "samples").unwrap();
    rows[1].completion = "print(1)\n".repeat(200);
    corpus::table::write(&world.root.join("samples.parquet"), rows).unwrap();
    let listener = Listener::default();
    let text = world.recipe("sft", &BY_HEART.replace("400", "1"));
    let summary = world.run_with("a", &text, &listener).unwrap();
    let measured = &summary.traces["sft"].metrics;
    assert!((measured["dropped.too_long"] - 1.0).abs() < 0.5);
    assert!((measured["examples"] - 4.0).abs() < 0.5);
    let heard = listener.heard.lock().unwrap().join("\n");
    assert!(
        heard.contains("1 of 5 examples are longer than 128 tokens"),
        "{heard}"
    );
    assert!(
        heard.contains("other token counts"),
        "the counts of the long row are wrong: {heard}"
    );

    let error = world
        .run("b", &text.replace("max_tokens = 128", "max_tokens = 8"))
        .unwrap_err();
    assert!(
        chain(&error).contains("raise max_tokens"),
        "{}",
        chain(&error)
    );
}

#[test]
fn a_diverging_run_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    let settings = BY_HEART
        .replace("3e-3", "1e30")
        .replace("warmup_steps = 20", "warmup_steps = 0");
    let error = world.run("a", &world.recipe("sft", &settings)).unwrap_err();
    assert!(
        chain(&error).contains("not finite: lower learning_rate"),
        "{}",
        chain(&error)
    );
}
