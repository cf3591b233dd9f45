//! `iota debug` against the reference numbers of `stages/model/tests/fixtures`.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use model::arrays::{Arrays, Integers};
use program::{Program, stderr};
use std::path::{Path, PathBuf};

fn fixture(relative: &str) -> PathBuf {
    let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages");
    stages.join("model/tests/fixtures").join(relative)
}

/// A safetensors file of integers.
fn write_integers(path: &Path, arrays: &[(&str, &Integers)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, array) in arrays {
        let start = data.len();
        data.extend(array.data.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!({
            "dtype": "I64", "shape": array.shape, "data_offsets": [start, data.len()],
        });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    fs_err::write(path, bytes).unwrap();
}

struct Scene {
    program: Program,
    ids: PathBuf,
    out: PathBuf,
}

impl Scene {
    fn new(arrays: &[(&str, &Integers)]) -> Self {
        let program = Program::new();
        let at = |name: &str| program.directory.path().join(name);
        let (ids, out) = (at("ids.safetensors"), at("logits.safetensors"));
        write_integers(&ids, arrays);
        Self { program, ids, out }
    }

    fn run(&self, model: &str, adapter: Option<&str>) -> std::process::Output {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut args: Vec<String> = ["debug", "logits", "--json", "--model"]
            .map(str::to_owned)
            .to_vec();
        args.push(text(&fixture("models").join(model)));
        if let Some(adapter) = adapter {
            args.extend(["--adapter".into(), text(&fixture(adapter))]);
        }
        args.extend([
            "--ids".into(),
            text(&self.ids),
            "--out".into(),
            text(&self.out),
        ]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.program.run(&args)
    }

    #[track_caller]
    fn logits(&self, model: &str, adapter: Option<&str>) -> (Vec<usize>, Vec<f32>) {
        let output = self.run(model, adapter);
        assert!(output.status.success(), "{}", stderr(&output));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["v"], 1);
        let logits = Arrays::open(&self.out).unwrap().floats("logits").unwrap();
        assert_eq!(said["vocabulary"], logits.shape[2]);
        (logits.shape, logits.data)
    }

    #[track_caller]
    fn refused(&self, model: &str, adapter: Option<&str>, words: &[&str]) {
        let output = self.run(model, adapter);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        // A terminal's line breaks fall anywhere.
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "{text} does not say {word:?}");
        }
    }
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-4, "found {a}, expected {b}");
    }
}

#[test]
fn logits_are_those_of_transformers_with_padding_on_either_side() {
    for model in ["llama_ds", "llama_gqa", "qwen2"] {
        let file = fixture(&format!("forward/{model}.safetensors"));
        let arrays = Arrays::open(&file).unwrap();
        for side in ["padded", "left"] {
            let of = |name: &str| arrays.integers(&format!("{side}_{name}")).unwrap();
            let (ids, mask) = (of("ids"), of("mask"));
            let scene = Scene::new(&[("ids", &ids), ("attention_mask", &mask)]);
            let (shape, logits) = scene.logits(model, None);
            assert_eq!(shape[..2], ids.shape);
            let (columns, vocab) = (shape[1], shape[2]);
            let expected = if side == "left" {
                arrays.floats("left_logits_last").unwrap()
            } else {
                arrays.floats("padded_logits").unwrap()
            };
            for (row, logits) in logits.chunks_exact(columns * vocab).enumerate() {
                let expected = &expected.data[row * (expected.data.len() / shape[0])..];
                for (column, logits) in logits.chunks_exact(vocab).enumerate() {
                    if mask.data[row * columns + column] == 0 {
                        assert!(logits.iter().all(|z| *z == 0.0));
                    } else if side == "padded" {
                        assert_close(logits, &expected[column * vocab..][..vocab]);
                    } else if column == columns - 1 {
                        assert_close(logits, &expected[..vocab]);
                    }
                }
            }
        }
    }
}

#[test]
fn adapters_are_on_and_files_that_do_not_fit_are_refused() {
    let arrays = Arrays::open(&fixture("lora/all_linear.safetensors")).unwrap();
    let ids = arrays.integers("input_ids").unwrap();
    let mask = arrays.integers("attention_mask").unwrap();
    let scene = Scene::new(&[("ids", &ids), ("attention_mask", &mask)]);
    let expected = arrays.floats("logits_on").unwrap();
    let (shape, logits) = scene.logits("llama_ds", Some("lora/all_linear"));
    assert_eq!(shape, expected.shape);
    let places = logits
        .chunks_exact(shape[2])
        .zip(expected.data.chunks_exact(shape[2]));
    for ((found, expected), mask) in places.zip(&mask.data) {
        if *mask == 1 {
            assert_close(found, expected);
        }
    }
    // Without a mask every token is real.
    let all = Scene::new(&[("ids", &ids)]);
    let (_, unmasked) = all.logits("llama_ds", None);
    assert!(unmasked.iter().all(|z| *z != 0.0));

    scene.refused("qwen2", Some("lora/all_linear"), &["another model"]);
    scene.refused("llama_ds", Some("lora/none"), &["adapter_config.json"]);
    scene.refused("none", None, &["config.json"]);
    let file = fixture("models/llama_ds/model.safetensors");
    let text = file.to_str().unwrap();
    let output = scene.program.run(&[
        "debug", "logits", "--model", text, "--ids", text, "--out", text,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let mut ids = ids.clone();
    ids.data[3] = 512;
    Scene::new(&[("ids", &ids)]).refused("llama_ds", None, &["512", "vocabulary"]);
    ids.data[3] = -100;
    Scene::new(&[("ids", &ids)]).refused("llama_ds", None, &["-100 is no token id"]);
    ids.shape = vec![3 * 28];
    Scene::new(&[("ids", &ids)]).refused("llama_ds", None, &["[rows, columns]"]);
    Scene::new(&[("tokens", &ids)]).refused("llama_ds", None, &["no tensor ids, only tokens"]);
}

#[test]
fn an_export_has_the_adapter_in_it_and_the_format_that_was_asked_for() {
    let scene = Scene::new(&[]);
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let out = text(scene.program.directory.path().join("exported"));
    let model = text(fixture("models/llama_ds"));
    let adapter = text(fixture("lora/all_linear"));
    let args = [
        "export",
        "--model",
        &model,
        "--adapter",
        &adapter,
        "--out",
        &out,
        "--dtype",
        "f32",
        "--max-shard",
        "200KB",
        "--json",
    ];
    let said: serde_json::Value = serde_json::from_str(&scene.program.succeed(&args)).unwrap();
    assert!(said["largest_change"].as_f64().unwrap() > 0.01);
    assert!(Path::new(&out).join("tokenizer.json").exists());
    assert!(
        Path::new(&out)
            .join("model.safetensors.index.json")
            .exists()
    );
    // What is on disk now gives PEFT's numbers of the merged model.
    let arrays = Arrays::open(&fixture("lora/all_linear.safetensors")).unwrap();
    let ids = arrays.integers("input_ids").unwrap();
    let mask = arrays.integers("attention_mask").unwrap();
    let expected = arrays.floats("logits_merged").unwrap();
    let scene = Scene::new(&[("ids", &ids), ("attention_mask", &mask)]);
    let (shape, logits) = scene.logits(&out, None);
    let places = logits
        .chunks_exact(shape[2])
        .zip(expected.data.chunks_exact(shape[2]));
    for ((found, expected), mask) in places.zip(&mask.data) {
        if *mask == 1 {
            assert_close(found, expected);
        }
    }
    // Not over something that is there.
    let again = scene.program.run(&args);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("not empty"), "{}", stderr(&again));
}
