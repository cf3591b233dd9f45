//! What must not matter does not: cutting an update into micro-batches, packing.
#![allow(clippy::unwrap_used)]

mod tiny;

use corpus::table::read;
use model::checkpoint::{Checkpoint, load_tokenizer};
use model::network::Network;
use model::parameters::Parameters;
use tiny::World;
use train::examples::Examples;
use train::next_token::NextToken;
use train::training_loop::Objective;

fn largest_difference(a: &Parameters, b: &Parameters) -> f32 {
    let pairs = a.tensors.iter().zip(&b.tensors);
    let differences = pairs.flat_map(|((name, a), (other, b))| {
        assert_eq!(name, other);
        a.data
            .iter()
            .zip(&b.data)
            .map(|(a, b)| (a - b).abs())
            .collect::<Vec<_>>()
    });
    differences.fold(0.0, f32::max)
}

#[test]
fn eight_batches_of_one_are_one_batch_of_eight() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 24);
    let mut found = Vec::new();
    for (store, batch_size, accumulation, ranks) in [("a", 8, 1, 1), ("b", 1, 8, 1), ("c", 1, 4, 2)]
    {
        let settings = format!(
            "learning_rate = 1e-2\nwarmup_steps = 0\nepochs = 4\nbatch_size = {batch_size}\n\
             accumulation = {accumulation}\nranks = {ranks}\nmax_tokens = 64\npacking = false\n\
             validation_share = 0.0"
        );
        world.run(store, &world.recipe("sft", &settings)).unwrap();
        found.push(
            Checkpoint::load(&world.output(store, "sft", "model"))
                .unwrap()
                .parameters,
        );
    }
    let start = Checkpoint::load(&world.output("a", "init", "model"))
        .unwrap()
        .parameters;
    assert!(
        largest_difference(&start, &found[0]) > 0.05,
        "nothing was learnt"
    );
    // Only the order of sums differs; Adam divides by small roots, so the bound is not tiny.
    assert!(largest_difference(&found[0], &found[1]) < 2e-3);
    assert!(largest_difference(&found[1], &found[2]) < 2e-3);
}

#[test]
fn packed_and_unpacked_rows_have_the_same_loss_and_gradient() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 8);
    world
        .run("a", &world.recipe("sft", "max_steps = 1\nmax_tokens = 100"))
        .unwrap();
    let folder = world.output("a", "sft", "model");
    let Checkpoint { config, parameters } = Checkpoint::load(&folder).unwrap();
    let tokenizer = load_tokenizer(&folder, &config).unwrap();
    let mut examples = Examples::default();
    for row in
        read::<corpus::schema::Sample>(&world.root.join("samples.parquet"), "samples").unwrap()
    {
        let prompt = tokenizer.encode(&row.prompt).unwrap();
        let ids = [prompt.clone(), tokenizer.encode(&row.completion).unwrap()].concat();
        examples.push(&ids, prompt.len());
    }
    let items: Vec<u32> = (0..8).collect();
    let mut results = Vec::new();
    for room in [0, 150] {
        let network = Network::new(config.clone());
        let mut objective = NextToken::new(network, examples.clone(), Examples::default(), room);
        let rows = objective.rows(items.clone());
        assert_eq!(rows.len() == 8, room == 0, "{rows:?}");
        let weight: f64 = rows.iter().map(|row| objective.weight(row)).sum();
        let mut gradients = parameters.zeros_like();
        for row in rows {
            objective
                .accumulate(&parameters, &mut gradients, &[row], 1.0 / weight)
                .unwrap();
        }
        let loss = objective.outstanding().unwrap()["loss"] / weight;
        results.push((loss, gradients));
    }
    assert!((results[0].0 - results[1].0).abs() < 1e-6);
    assert!(largest_difference(&results[0].1, &results[1].1) < 1e-6);
}
