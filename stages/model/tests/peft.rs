//! PEFT folders: written ones come back, broken ones are refused with one clear error.
#![allow(clippy::unwrap_used)]

mod golden;

use std::path::Path;

use golden::{load, path};
use model::checkpoint::Checkpoint;
use model::lora::{self, Adapter, LoraConfig, Targets};
use model::parameters::{Parameters, Tensor, fill_normal};
use model::safetensors_file;
use serde_json::{Value, json};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

fn edit_config(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(CONFIG);
    let mut value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    edit(&mut value);
    fs_err::write(path, value.to_string()).unwrap();
}

fn edit_tensors(folder: &Path, edit: impl FnOnce(&mut Parameters)) {
    let path = folder.join(TENSORS);
    let mut tensors = safetensors_file::read(&path).unwrap();
    edit(&mut tensors);
    safetensors_file::write(&tensors, &path).unwrap();
}

/// A written adapter on `model`, with `B` drawn.
fn written(model: &str, config: LoraConfig) -> (tempfile::TempDir, Parameters, Adapter) {
    let (network, mut parameters) = load(model);
    let base = network.config();
    let adapter = Adapter::attach("x", config, base, &mut parameters, 7).unwrap();
    for name in adapter.tensors().map(str::to_owned).collect::<Vec<_>>() {
        fill_normal(parameters.data_mut(&name).unwrap(), 0.1, 7, &name);
    }
    let folder = tempfile::tempdir().unwrap();
    lora::write(
        &adapter,
        base,
        Some("some/base"),
        &parameters,
        folder.path(),
    )
    .unwrap();
    (folder, parameters, adapter)
}

#[test]
fn an_adapter_comes_back_under_any_name_with_the_same_bytes() {
    let config = LoraConfig {
        rank: 3,
        alpha: 5.5,
        rslora: true,
        dropout: 0.1,
        targets: Targets::AllLinear { head: true },
        modules_to_save: vec!["embed_tokens".into()],
    };
    let (folder, parameters, adapter) = written("llama_ds", config);
    let text = fs_err::read_to_string(folder.path().join(CONFIG)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let seven = [
        "down_proj",
        "gate_proj",
        "k_proj",
        "lm_head",
        "o_proj",
        "q_proj",
        "up_proj",
        "v_proj",
    ];
    assert_eq!(value["target_modules"], json!(seven));
    assert_eq!(value["task_type"], "CAUSAL_LM");
    assert_eq!(value["base_model_name_or_path"], "some/base");

    let (network, mut other) = load("llama_ds");
    let read = lora::read(folder.path(), "y", network.config(), &mut other).unwrap();
    for (own, read) in adapter.tensors().zip(read.tensors()) {
        assert_eq!(own.replace(".x.", ".y."), read);
        assert_eq!(parameters.tensors[own], other.tensors[read]);
    }
    assert_eq!(adapter.tensors().count(), 2 * 15 + 1);
    let again = tempfile::tempdir().unwrap();
    lora::write(
        &read,
        network.config(),
        Some("some/base"),
        &other,
        again.path(),
    )
    .unwrap();
    for file in [CONFIG, TENSORS] {
        let bytes = |folder: &Path| fs_err::read(folder.join(file)).unwrap();
        assert_eq!(bytes(folder.path()), bytes(again.path()), "{file}");
    }
}

#[test]
fn a_score_head_travels_with_its_adapter() {
    let (network, parameters) = load("llama_ds");
    let config = network.config().clone();
    let mut model = Checkpoint { config, parameters }.into_score(1).unwrap();
    let config = LoraConfig {
        modules_to_save: vec!["score".into()],
        ..LoraConfig::default()
    };
    let adapter = Adapter::attach("x", config, &model.config, &mut model.parameters, 0).unwrap();
    let own = "score.modules_to_save.x.weight";
    assert!(adapter.tensors().any(|name| name == own));
    model.parameters.data_mut(own).unwrap()[3] = 42.0;
    let folder = tempfile::tempdir().unwrap();
    lora::write(
        &adapter,
        &model.config,
        None,
        &model.parameters,
        folder.path(),
    )
    .unwrap();
    let tensors = safetensors_file::read(&folder.path().join(TENSORS)).unwrap();
    assert!((tensors.data("base_model.model.score.weight")[3] - 42.0).abs() < 1e-6);
    let text = fs_err::read_to_string(folder.path().join(CONFIG)).unwrap();
    assert!(text.contains("SEQ_CLS"));

    let mut parameters = model.parameters.clone();
    parameters.tensors.retain(|name, _| !name.contains(".x."));
    let read = lora::read(folder.path(), "y", &model.config, &mut parameters).unwrap();
    let weights = model::weights::Weights::adapted(&parameters, &read);
    assert!((weights.data("score.weight")[3] - 42.0).abs() < 1e-6);
    assert!(
        parameters.data("score.weight")[3] < 1.0,
        "the base keeps its own"
    );
    let config = model.config.clone();
    let mut merged = Checkpoint { config, parameters };
    read.merge(&mut merged);
    assert!((merged.parameters.data("score.weight")[3] - 42.0).abs() < 1e-6);
}

#[test]
fn a_regular_expression_means_what_has_tensors() {
    let targets = Targets::Suffixes(vec!["layers.1.mlp.up_proj".into(), "v_proj".into()]);
    let config = LoraConfig {
        targets,
        ..LoraConfig::default()
    };
    let (folder, _, adapter) = written("llama_gqa", config);
    edit_config(folder.path(), |value| {
        value["target_modules"] = json!(r".*\.(v_proj|1\.mlp\.up_proj)");
    });
    let (network, mut parameters) = load("llama_gqa");
    let read = lora::read(folder.path(), "x", network.config(), &mut parameters).unwrap();
    assert!(adapter.tensors().eq(read.tensors()));
}

/// The error of reading an edited copy of a PEFT fixture onto `model`.
fn refused(
    model: &str,
    config: impl FnOnce(&mut Value),
    tensors: impl FnOnce(&mut Parameters),
) -> String {
    let folder = tempfile::tempdir().unwrap();
    for file in [CONFIG, TENSORS] {
        let fixture = path("lora/all_linear_plus_lm_head").join(file);
        fs_err::write(folder.path().join(file), fs_err::read(fixture).unwrap()).unwrap();
    }
    edit_config(folder.path(), config);
    edit_tensors(folder.path(), tensors);
    let (network, mut parameters) = load(model);
    let names = parameters.tensors.len();
    let error = lora::read(folder.path(), "x", network.config(), &mut parameters).unwrap_err();
    assert_eq!(
        parameters.tensors.len(),
        names,
        "a failure leaves nothing behind"
    );
    format!("{error:#}")
}

#[track_caller]
fn assert_says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

const UP: &str = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight";

#[test]
fn broken_adapters_are_refused() {
    let keep = |_: &mut Parameters| {};
    let set = |key: &'static str, to: Value| move |value: &mut Value| value[key] = to;
    for (key, to, words) in [
        ("peft_type", json!("LOHA"), ["peft_type", "LOHA"]),
        ("use_dora", json!(true), ["use_dora", "not implemented"]),
        (
            "rank_pattern",
            json!({"q_proj": 8}),
            ["rank_pattern", "q_proj"],
        ),
        ("bias", json!("all"), ["bias", "\"all\""]),
        (
            "init_lora_weights",
            json!("pissa"),
            ["init_lora_weights", "plain LoRA"],
        ),
        ("r", json!("four"), ["r is", "whole number"]),
        ("r", json!(0), ["rank", "at least 1"]),
        ("lora_alpha", json!(null), ["lora_alpha", "number"]),
        ("lora_dropout", json!(1.0), ["lora_dropout", "below 1"]),
        (
            "target_modules",
            json!(["q_proj", "c_attn"]),
            ["c_attn", "down_proj, gate_proj"],
        ),
        ("target_modules", json!([]), ["target_modules", "no layer"]),
        (
            "target_modules",
            json!(["q_proj"]),
            ["has no place", "[\"q_proj\"]"],
        ),
        (
            "modules_to_save",
            json!(["score"]),
            ["\"score\"", "lm_head.weight"],
        ),
        (
            "modules_to_save",
            json!(["embed_tokens"]),
            ["embed_tokens.weight", "missing"],
        ),
    ] {
        let error = refused("llama_ds", set(key, to), keep);
        assert_says(&error, &words);
    }
    let fine = |_: &mut Value| {};
    let error = refused("llama_ds", fine, |t| {
        t.tensors.remove(UP);
    });
    assert_says(&error, &[TENSORS, UP, "[4, 64]", "missing"]);
    let error = refused("llama_ds", fine, |t| {
        t.tensors.insert(UP.into(), Tensor::zeros(&[4, 32]));
    });
    assert_says(
        &error,
        &[TENSORS, UP, "[4, 32]", "[4, 64]", "another model"],
    );
    let error = refused("llama_ds", fine, |t| t.data_mut(UP).unwrap()[5] = f32::NAN);
    assert_says(&error, &[TENSORS, "up_proj.lora_A", "not finite"]);
    let error = refused("llama_ds", fine, |t| {
        let stray = UP.replace("layers.1", "layers.9");
        t.tensors.insert(stray, Tensor::zeros(&[4, 64]));
    });
    assert_says(&error, &["layers.9.mlp.up_proj", "has no place"]);
    let error = refused("llama_ds", fine, |t| {
        t.tensors.insert("up.weight".into(), Tensor::zeros(&[1]));
    });
    assert_says(&error, &["up.weight", "base_model.model."]);
    let head = "base_model.model.lm_head.base_layer.weight";
    let error = refused("llama_ds", fine, |t| t.data_mut(head).unwrap()[0] += 1.0);
    assert_says(&error, &[head, "lm_head.weight", "another model"]);
    // The adapter of another base.
    let error = refused("qwen2", fine, keep);
    assert_says(&error, &[TENSORS, "another model", "shape"]);
}

#[test]
fn missing_and_truncated_files_are_named() {
    let (network, mut parameters) = load("llama_ds");
    let base = network.config();
    let folder = tempfile::tempdir().unwrap();
    let error = lora::read(folder.path(), "x", base, &mut parameters).unwrap_err();
    assert_says(&format!("{error:#}"), &[CONFIG]);
    for file in [CONFIG, TENSORS] {
        let bytes = fs_err::read(path("lora/all_linear").join(file)).unwrap();
        fs_err::write(folder.path().join(file), &bytes[..bytes.len() / 2]).unwrap();
        let error = lora::read(folder.path(), "x", base, &mut parameters).unwrap_err();
        assert_says(&format!("{error:#}"), &[file, "complete"]);
        fs_err::write(folder.path().join(file), &bytes).unwrap();
    }
    lora::read(folder.path(), "x", base, &mut parameters).unwrap();
}
