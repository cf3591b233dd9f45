//! Stage `init`: fresh models, imported ones, and what is refused.
#![allow(clippy::unwrap_used)]

mod tiny;

use model::checkpoint::Checkpoint;
use tiny::{World, chain};

fn refused(world: &World, store: &str, text: &str) -> String {
    chain(&world.run(store, text).unwrap_err())
}

#[test]
fn a_fresh_model_has_the_asked_shape_and_is_the_seeds() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    let text = format!(
        "seed = 1\n[init]\ninputs = {{ tokenizer = {} }}\nhidden_size = 64\nlayers = 3\nheads = 4\n\
         kv_heads = 2\nintermediate_size = 96\ncontext = 256\nrope_theta = 5000.0\n\
         tie_embeddings = false\ninitializer_range = 0.1\n",
        world.file("tokenizer")
    );
    let first = world.run("a", &text).unwrap().traces["init"]
        .outputs
        .clone();
    assert_eq!(
        world.run("again", &text).unwrap().traces["init"].outputs,
        first
    );
    let other = world
        .run("b", &text.replace("seed = 1", "seed = 2"))
        .unwrap();
    assert_ne!(other.traces["init"].outputs, first);
    let folder = world.output("a", "init", "model");
    let Checkpoint { config, parameters } = Checkpoint::load(&folder).unwrap();
    assert_eq!(
        (config.hidden_size, config.layers, config.heads),
        (64, 3, 4)
    );
    assert_eq!(
        (
            config.kv_heads,
            config.intermediate_size,
            config.max_positions
        ),
        (2, 96, 256)
    );
    assert!(!config.tied && (config.rope_theta - 5000.0).abs() < 1e-9);
    assert_eq!(
        (
            config.bos_token,
            config.eos_tokens.as_slice(),
            config.pad_token
        ),
        (Some(1), &[2][..], Some(0))
    );
    let values = parameters.data("model.layers.0.mlp.up_proj.weight");
    let variance = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len() as f64;
    assert!((variance.sqrt() - 0.1).abs() < 0.01);
    for file in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        assert!(folder.join(file).exists(), "{file}");
    }
}

#[test]
fn an_import_is_the_same_model_and_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    world
        .run("a", &world.recipe("sft", "max_steps = 1"))
        .unwrap();
    let source = world.output("a", "sft", "model");
    let folder = world.root.join("imported");
    fs_err::create_dir(&folder).unwrap();
    for entry in fs_err::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        fs_err::write(
            folder.join(entry.file_name()),
            fs_err::read(entry.path()).unwrap(),
        )
        .unwrap();
    }
    let import = |more: &str, settings: &str| {
        format!(
            "[init]\ninputs = {{ checkpoint = {}{more} }}\n{settings}\n",
            world.file("imported")
        )
    };
    world.run("b", &import("", "")).unwrap();
    let imported = Checkpoint::load(&world.output("b", "init", "model")).unwrap();
    assert_eq!(imported, Checkpoint::load(&source).unwrap());

    let message = refused(&world, "c", &import("", "layers = 2"));
    assert!(message.contains("has its own shape"), "{message}");
    let message = refused(&world, "d", "[init]\n");
    assert!(
        message.contains("bind `tokenizer` for a fresh model"),
        "{message}"
    );

    let gguf = |more: &str| {
        let file = world.file("imported/model.safetensors");
        format!("[init]\ninputs = {{ gguf = {file}{more} }}\n")
    };
    let message = refused(&world, "g", &gguf(""));
    assert!(message.contains("without `tokenizer`"), "{message}");
    let message = refused(
        &world,
        "h",
        &gguf(&format!(", tokenizer = {}", world.file("imported"))),
    );
    assert!(message.contains("not a complete GGUF file"), "{message}");

    world.tokenizer("larger", 300);
    let message = refused(
        &world,
        "e",
        &import(&format!(", tokenizer = {}", world.file("larger")), ""),
    );
    assert!(
        message.contains("the tokenizer is not the model's"),
        "{message}"
    );

    let mut damaged = Checkpoint::load(&source).unwrap();
    damaged
        .parameters
        .tensors
        .get_mut("model.norm.weight")
        .unwrap()
        .data[3] = f32::NAN;
    damaged.save(&folder, None).unwrap();
    let message = refused(&world, "f", &import("", ""));
    assert!(
        message.contains("model.norm.weight is not finite in 1 of"),
        "{message}"
    );
}

#[test]
fn training_refuses_a_folder_with_another_tokenizer() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    world
        .run("a", &world.recipe("sft", "max_steps = 1"))
        .unwrap();
    world.tokenizer("mixed", 300);
    let source = world.output("a", "init", "model");
    for file in ["config.json", "model.safetensors"] {
        fs_err::write(
            world.root.join("mixed").join(file),
            fs_err::read(source.join(file)).unwrap(),
        )
        .unwrap();
    }
    let text = world
        .recipe("sft", "max_steps = 1")
        .replace("\"init.model\"", &world.file("mixed"));
    let message = refused(&world, "b", &text);
    assert!(
        message.contains("the tokenizer is not the model's"),
        "{message}"
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 5);
    let text = world.recipe("sft", "");
    for (wrong, wanted) in [
        ("heads = 3", "must divide hidden_size 32"),
        ("heads = 2\nkv_heads = 4", "must divide the 2 heads"),
        ("heads = 2\ninitializer_range = 0.0", "must be above 0"),
    ] {
        let message = refused(&world, "a", &text.replace("heads = 2", wrong));
        assert!(message.contains(wanted), "{wrong}: {message}");
    }
    for (wrong, wanted) in [
        ("epochs = 0", "unless max_steps is set"),
        ("max_tokens = 1", "must be at least 2"),
        ("validation_share = 1.0", "something must be left"),
        ("beta2 = 1.0", "below 1"),
        ("accumulation = 0", "at least 1"),
    ] {
        let message = refused(&world, "a", &world.recipe("sft", wrong));
        assert!(message.contains(wanted), "{wrong}: {message}");
    }
}
