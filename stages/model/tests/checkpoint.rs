//! Model folders: every form that is read, the one form that is written, and refusals.
#![allow(clippy::unwrap_used)]

mod golden;

use std::path::Path;

use golden::path;
use half::{bf16, f16};
use model::checkpoint::{Checkpoint, Layout, load_tokenizer};
use model::config::{Architecture, Config, RopeScaling};
use model::optimizer::{AdamW, AdamWConfig};
use model::parameters::{Parameters, shapes};
use model::safetensors_file::{self, Dtype};
use safetensors::tensor::{Dtype as FileDtype, TensorView, serialize_to_file};

fn config_text(relative: &str) -> String {
    fs_err::read_to_string(path(relative)).unwrap()
}

/// A copy of a fixture model that may be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs_err::read_dir(path(&format!("models/{name}"))).unwrap() {
        let entry = entry.unwrap();
        fs_err::write(
            folder.path().join(entry.file_name()),
            fs_err::read(entry.path()).unwrap(),
        )
        .unwrap();
    }
    folder
}

fn refusal(folder: &Path) -> String {
    format!("{:#}", Checkpoint::load(folder).unwrap_err())
}

#[test]
fn both_spellings_of_a_configuration_are_read_and_ours_reads_back() {
    for name in ["llama_ds", "llama_gqa", "qwen2"] {
        let legacy =
            Config::from_json(&config_text(&format!("models/{name}/config.json"))).unwrap();
        let recent =
            Config::from_json(&config_text(&format!("models/{name}/config.v5.json"))).unwrap();
        assert_eq!(legacy, recent);
        assert_eq!(
            Config::from_json(&legacy.to_json(Dtype::F32)).unwrap(),
            legacy
        );
    }
    let score = Config::from_json(&config_text("models/llama_ds_rm/config.json")).unwrap();
    assert_eq!(score.architecture, Architecture::LlamaScore);
    assert_eq!(score.rope_scaling, RopeScaling::Linear { factor: 4.0 });
    assert_eq!(
        Config::from_json(&score.to_json(Dtype::F32)).unwrap(),
        score
    );
    let names = shapes(&score);
    assert_eq!(names["score.weight"], [1, 64]);
    assert!(!names.contains_key("lm_head.weight"));
}

#[test]
fn configurations_that_would_compute_something_else_are_refused() {
    let text = config_text("models/llama_ds/config.json");
    for (from, to, message) in [
        (
            "\"LlamaForCausalLM\"",
            "\"GPT2LMHeadModel\"",
            "GPT2LMHeadModel is unknown",
        ),
        ("\"silu\"", "\"gelu\"", "hidden_act"),
        ("\"linear\"", "\"yarn\"", "yarn"),
        (
            "\"attention_bias\": false",
            "\"attention_bias\": true",
            "attention_bias",
        ),
        ("\"mlp_bias\": false", "\"mlp_bias\": true", "mlp_bias"),
        (
            "\"num_key_value_heads\": 4",
            "\"num_key_value_heads\": 3",
            "does not divide",
        ),
        ("\"factor\": 4.0", "\"fact\": 4.0", "\"factor\""),
        (
            "\"type\": \"linear\"",
            "\"type\": \"linear\", \"partial_rotary_factor\": 0.5",
            "partial_rotary_factor 0.5",
        ),
        (
            "\"mlp_bias\": false",
            "\"mlp_bias\": false, \"layer_types\": [\"sliding_attention\"]",
            "sliding_attention",
        ),
        (
            "\"vocab_size\": 512",
            "\"vocab_size\": 0",
            "vocab_size is 0",
        ),
    ] {
        assert!(text.contains(from));
        let error = format!(
            "{:#}",
            Config::from_json(&text.replace(from, to)).unwrap_err()
        );
        assert!(error.contains(message), "{to}: {error}");
    }
}

#[test]
fn a_saved_model_reads_back_and_has_the_same_bytes_each_time() {
    let source = path("models/llama_gqa");
    let checkpoint = Checkpoint::load(&source).unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    checkpoint.save(first.path(), Some(&source)).unwrap();
    let again = Checkpoint::load(first.path()).unwrap();
    assert_eq!(again, checkpoint);
    again.save(second.path(), Some(first.path())).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
    ] {
        let read = |folder: &tempfile::TempDir| fs_err::read(folder.path().join(name)).unwrap();
        assert_eq!(read(&first), read(&second), "{name}");
    }
    // Aligned, and with the metadata that transformers asks for first.
    let bytes = fs_err::read(first.path().join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    assert_eq!(header % 8, 0);
    assert!(
        bytes[8..].starts_with(br#"{"__metadata__":{"format":"pt"},"model.embed_tokens.weight":{"#)
    );
}

#[test]
fn shards_and_half_precision_are_read() {
    let folder = copy("llama_ds");
    let whole = Checkpoint::load(folder.path()).unwrap();
    fs_err::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(refusal(folder.path()).contains("model.safetensors.index.json"));
    let mut map = serde_json::Map::new();
    let mut shards = [Vec::new(), Vec::new()];
    for (index, (name, tensor)) in whole.parameters.tensors.iter().enumerate() {
        let half = index % 2;
        map.insert(name.clone(), format!("part-{half}.safetensors").into());
        let bytes: Vec<u8> = if half == 0 {
            tensor
                .data
                .iter()
                .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
                .collect()
        } else {
            tensor
                .data
                .iter()
                .flat_map(|&x| f16::from_f32(x).to_le_bytes())
                .collect()
        };
        shards[half].push((name.clone(), tensor.shape.clone(), bytes));
    }
    for (half, shard) in shards.iter().enumerate() {
        let dtype = [FileDtype::BF16, FileDtype::F16][half];
        let views = shard
            .iter()
            .map(|(n, s, b)| (n, TensorView::new(dtype, s.clone(), b).unwrap()));
        serialize_to_file(
            views,
            None,
            &folder.path().join(format!("part-{half}.safetensors")),
        )
        .unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    fs_err::write(
        folder.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    let read = Checkpoint::load(folder.path()).unwrap();
    for (index, (name, tensor)) in whole.parameters.tensors.iter().enumerate() {
        for (found, exact) in read.parameters.data(name).iter().zip(&tensor.data) {
            let rounded = if index % 2 == 0 {
                bf16::from_f32(*exact).to_f32()
            } else {
                f16::from_f32(*exact).to_f32()
            };
            assert_eq!(found.to_bits(), rounded.to_bits(), "{name}");
        }
    }
    let escaping = index.to_string().replace("part-0", "../part-0");
    fs_err::write(folder.path().join("model.safetensors.index.json"), escaping).unwrap();
    assert!(refusal(folder.path()).contains("not a file name"));
}

#[test]
fn shards_and_smaller_formats_are_written() {
    let source = path("models/llama_gqa");
    let checkpoint = Checkpoint::load(&source).unwrap();
    for (dtype, name) in [
        (Dtype::F32, "float32"),
        (Dtype::Bf16, "bfloat16"),
        (Dtype::F16, "float16"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        // First whole, to see that what another layout left is not read.
        checkpoint.save(folder.path(), Some(&source)).unwrap();
        let max_shard_bytes = 60_000 * dtype.bytes() as u64;
        let layout = Layout {
            dtype,
            max_shard_bytes,
        };
        checkpoint.save_as(folder.path(), None, layout).unwrap();
        let text = fs_err::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(text.contains(&format!("\"torch_dtype\": \"{name}\"")));
        let index = folder.path().join("model.safetensors.index.json");
        let index: serde_json::Value =
            serde_json::from_slice(&fs_err::read(index).unwrap()).unwrap();
        let values = checkpoint.parameters.count();
        assert_eq!(index["metadata"]["total_size"], values * dtype.bytes());
        let mut on_disk = 0;
        let mut shards = 0;
        for entry in fs_err::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "safetensors") {
                let size = safetensors_file::read(&path).unwrap();
                let bytes = (size.count() * dtype.bytes()) as u64;
                assert!(bytes <= max_shard_bytes || size.tensors.len() == 1);
                on_disk += size.count();
                shards += 1;
            }
        }
        assert_eq!(on_disk, values);
        assert!(shards > 3, "{shards} shards");
        let last = format!("model-{shards:05}-of-{shards:05}.safetensors");
        assert_eq!(index["weight_map"]["model.norm.weight"], last);

        let read = Checkpoint::load(folder.path()).unwrap();
        for (name, tensor) in &checkpoint.parameters.tensors {
            for (found, exact) in read.parameters.data(name).iter().zip(&tensor.data) {
                let rounded = match dtype {
                    Dtype::F32 => *exact,
                    Dtype::Bf16 => bf16::from_f32(*exact).to_f32(),
                    Dtype::F16 => f16::from_f32(*exact).to_f32(),
                };
                assert_eq!(found.to_bits(), rounded.to_bits(), "{name}");
            }
        }

        fs_err::remove_file(folder.path().join(&last)).unwrap();
        let error = refusal(folder.path());
        assert!(
            error.contains(&last) && error.contains("incomplete"),
            "{error}"
        );
        // A shard that lacks what the index has in it, and one that has too much.
        safetensors_file::write(&Parameters::default(), &folder.path().join(&last)).unwrap();
        let error = refusal(folder.path());
        assert!(error.contains(&format!("missing from {last}")), "{error}");
        let embedding = "model.embed_tokens.weight";
        let mut twice = Parameters::default();
        let tensor = checkpoint.parameters.tensors[embedding].clone();
        twice.tensors.insert(embedding.to_owned(), tensor);
        safetensors_file::write(&twice, &folder.path().join(&last)).unwrap();
        let error = refusal(folder.path());
        assert!(
            error.contains(&last) && error.contains("another shard"),
            "{error}"
        );
    }
    let mut large = checkpoint;
    large.parameters.data_mut("model.norm.weight").unwrap()[2] = 1e5;
    let folder = tempfile::tempdir().unwrap();
    let layout = |dtype| Layout {
        dtype,
        ..Layout::default()
    };
    let error = large
        .save_as(folder.path(), None, layout(Dtype::F16))
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("model.norm.weight") && error.contains("float16"),
        "{error}"
    );
    large
        .save_as(folder.path(), None, layout(Dtype::Bf16))
        .unwrap();
    Checkpoint::load(folder.path()).unwrap();
}

#[test]
fn a_language_model_becomes_a_reward_model() {
    let reward = Checkpoint::load(&path("models/llama_ds"))
        .unwrap()
        .into_score(7)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    reward.save(folder.path(), None).unwrap();
    let read = Checkpoint::load(folder.path()).unwrap();
    assert_eq!(read, reward);
    assert!(
        read.parameters
            .data("score.weight")
            .iter()
            .any(|w| *w < 0.0)
    );
    assert!(!read.parameters.tensors.contains_key("lm_head.weight"));
}

#[test]
fn damaged_models_are_refused_by_name() {
    let folder = copy("llama_ds");
    let file = folder.path().join("model.safetensors");
    let whole = safetensors_file::read(&file).unwrap();
    let with = |change: &dyn Fn(&mut Parameters)| {
        let mut parameters = whole.clone();
        change(&mut parameters);
        safetensors_file::write(&parameters, &file).unwrap();
        refusal(folder.path())
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let missing = with(&|p| drop(p.tensors.remove(name)));
    assert!(
        missing.contains(name) && missing.contains("missing"),
        "{missing}"
    );
    let reshaped = with(&|p| p.tensors.get_mut(name).unwrap().shape.reverse());
    assert!(
        reshaped.contains("[64, 176]") && reshaped.contains("[176, 64]"),
        "{reshaped}"
    );
    assert!(reshaped.contains("model.safetensors"), "{reshaped}");
    let damaged = with(&|p| p.data_mut(name).unwrap()[..3].fill(f32::NAN));
    assert!(
        damaged.contains("model.safetensors") && damaged.contains(name),
        "{damaged}"
    );
    assert!(damaged.contains("not finite in 3 of 11264"), "{damaged}");
    let surplus = with(&|p| {
        let tensor = p.tensors[name].clone();
        p.tensors.insert("model.extra".to_owned(), tensor);
    });
    assert!(
        surplus.contains("model.extra") && surplus.contains("no place"),
        "{surplus}"
    );
    let bytes = fs_err::read(&file).unwrap();
    fs_err::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let truncated = refusal(folder.path());
    assert!(
        truncated.contains("model.safetensors is not a complete safetensors file"),
        "{truncated}"
    );
    // Integers are no weights.
    let ids: Vec<u8> = (0..64_i64).flat_map(i64::to_le_bytes).collect();
    let view = TensorView::new(FileDtype::I64, vec![64], &ids).unwrap();
    serialize_to_file([("model.norm.weight", view)], None, &file).unwrap();
    let integers = refusal(folder.path());
    assert!(integers.contains("model.norm.weight is I64"), "{integers}");
    fs_err::remove_file(folder.path().join("config.json")).unwrap();
    assert!(refusal(folder.path()).contains("config.json"));
}

#[test]
fn a_tokenizer_with_more_ids_than_rows_is_not_the_models() {
    let config = Config::from_json(&config_text("models/llama_gqa/config.json")).unwrap();
    assert!(load_tokenizer(&path("models/llama_gqa"), &config).is_ok());
    let error = load_tokenizer(&path("models/llama_ds"), &config)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("the tokenizer is not the model's"),
        "{error}"
    );
}

#[test]
fn optimiser_state_survives_a_file() {
    let parameters = Checkpoint::load(&path("models/llama_ds"))
        .unwrap()
        .parameters;
    let config = AdamWConfig::default();
    let mut optimizer = AdamW::new(config, &parameters);
    let (mut a, gradients) = (parameters.clone(), parameters.clone());
    optimizer.update(&mut a, &gradients, 1e-3, 1.0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("optimizer.safetensors");
    safetensors_file::write(&optimizer.state().unwrap(), &file).unwrap();
    let state = safetensors_file::read(&file).unwrap();
    let mut restored =
        AdamW::restore(config, &parameters, state.clone(), optimizer.steps()).unwrap();
    assert_eq!(restored, optimizer);
    let mut b = a.clone();
    optimizer.update(&mut a, &gradients, 1e-3, 0.5);
    restored.update(&mut b, &gradients, 1e-3, 0.5);
    assert_eq!(a, b);
    let mut short = state;
    short.tensors.pop_first();
    let error = AdamW::restore(config, &parameters, short, 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no first moment of lm_head.weight"),
        "{error}"
    );
}
