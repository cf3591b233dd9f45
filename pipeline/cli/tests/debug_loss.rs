//! `iota debug loss` against the reference numbers of `stages/train/tests/fixtures`.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use model::arrays::Arrays;
use program::{Program, stderr};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn fixture(stage: &str, relative: &str) -> String {
    let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stages");
    let path = stages.join(stage).join("tests/fixtures").join(relative);
    path.to_str().unwrap().to_owned()
}

fn golden(relative: &str) -> Value {
    serde_json::from_slice(&fs_err::read(fixture("train", relative)).unwrap()).unwrap()
}

#[track_caller]
fn close(found: &Value, wanted: &Value) {
    let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
    assert!(
        (found - wanted).abs() <= 1e-5 + 1e-5 * wanted.abs(),
        "{found} against {wanted}"
    );
}

/// Runs `debug loss` on a fixture; returns what it says and the gradients' file.
#[track_caller]
fn run(kind: &str, model: &str, batch: &str, more: &[&str]) -> (Program, Value, PathBuf) {
    let program = Program::new();
    let grads = program.directory.path().join("grads.safetensors");
    let mut args = vec!["debug", "loss", "--json", "--kind", kind, "--model", model];
    args.extend(["--batch", batch, "--grads", grads.to_str().unwrap()]);
    args.extend(more);
    let output = program.run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["v"], &said["kind"]), (&1.into(), &kind.into()));
    (program, said, grads)
}

/// Every gradient of the reference file below `prefix` is in ours.
fn compare(reference: &str, prefix: &str, strip: &str, grads: &Path) -> usize {
    let (wanted, found) = (
        Arrays::open(Path::new(reference)).unwrap(),
        Arrays::open(grads).unwrap(),
    );
    let mut compared = 0;
    for name in wanted.names() {
        if let Some(own) = name.strip_prefix(prefix) {
            let own = own.strip_prefix(strip).unwrap_or(own);
            let (a, b) = (found.floats(own).unwrap(), wanted.floats(&name).unwrap());
            assert_eq!(a.shape, b.shape, "{own}");
            let largest = b.data.iter().fold(0.0_f32, |l, v| l.max(v.abs()));
            for (a, b) in a.data.iter().zip(&b.data) {
                assert!((a - b).abs() <= 1e-6 + 1e-3 * largest, "{own}: {a} {b}");
            }
            compared += 1;
        }
    }
    compared
}

#[test]
fn preference_losses_are_those_of_trl() {
    let model = fixture("model", "models/llama_ds");
    let adapter = fixture("model", "lora/all_linear");
    let batch = fixture("train", "dpo/dpo.safetensors");
    let cases = golden("dpo/dpo.json");
    for case in cases["cases"].as_array().unwrap() {
        let kind = case["loss_type"].as_str().unwrap();
        if !["ipo", "robust", "sigmoid"].contains(&kind) {
            continue;
        }
        let (beta, smoothing) = (
            case["beta"].to_string(),
            case["label_smoothing"].to_string(),
        );
        let more = [
            "--adapter",
            &adapter,
            "--loss",
            kind,
            "--beta",
            &beta,
            "--label-smoothing",
            &smoothing,
        ];
        let (_program, said, grads) = run("dpo", &model, &batch, &more);
        close(&said["loss"], &case["loss"]);
        let prefix = format!("{kind}_b{beta}_ls{smoothing}.grad.");
        let compared = compare(&batch, &prefix, "", &grads);
        assert_eq!(compared, if kind == "robust" { 0 } else { 4 });
        for (found, wanted) in [("policy_chosen_logps", 0), ("ref_rejected_logps", 3)] {
            let (found, wanted) = (&said["rows"][found][wanted], &cases[found][wanted]);
            assert!((found.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 2e-4);
        }
    }
    let batch = fixture("train", "orpo/orpo.safetensors");
    let case = &golden("orpo/orpo.json")["trl_cases"][0];
    let (_program, said, grads) = run("orpo", &model, &batch, &["--beta", "0.1"]);
    close(&said["loss"], &case["loss"]);
    close(&said["numbers"]["nll_loss"], &case["metrics"]["nll_loss"]);
    assert_eq!(compare(&batch, "grad.", "", &grads), 4);
}

#[test]
fn fine_tuning_and_reward_losses_are_those_of_transformers_and_trl() {
    let batch = fixture("model", "sft/batch.safetensors");
    let model = fixture("model", "models/llama_ds");
    let (program, said, grads) = run("sft", &model, &batch, &[]);
    let text = fs_err::read(fixture("model", "sft/sft.json")).unwrap();
    let sft: Value = serde_json::from_slice(&text).unwrap();
    close(&said["loss"], &sft["batch"]["loss_token_mean"]);
    assert_eq!(compare(&batch, "grad.", "", &grads), 7);

    // The reward model is the same network with a score head.
    let folder = program.directory.path().join("scored");
    let mut checkpoint = model::checkpoint::Checkpoint::load(Path::new(&model)).unwrap();
    checkpoint.config.architecture = model::config::Architecture::LlamaScore;
    checkpoint.parameters.tensors.remove("lm_head.weight");
    let head = Arrays::open(Path::new(&fixture("train", "rm/score.safetensors"))).unwrap();
    let score = head.floats("score.weight").unwrap();
    checkpoint
        .parameters
        .tensors
        .insert("score.weight".into(), score);
    checkpoint.save(&folder, None).unwrap();
    let batch = fixture("train", "rm/rm.safetensors");
    let cases = golden("rm/rm.json");
    for (centering, prefix) in [("0", "centerNone.grad."), ("0.01", "center0.01.grad.")] {
        let more = ["--centering", centering];
        let (_program, said, grads) = run("rm", folder.to_str().unwrap(), &batch, &more);
        let case = &cases["cases"][usize::from(centering != "0")];
        close(&said["loss"], &case["loss"]);
        close(&said["rows"]["rejected"][1], &case["rejected"][1]);
        assert_eq!(compare(&batch, prefix, "", &grads), 4);
    }
    // A language model has no score.
    let output = program.run(&[
        "debug", "loss", "--kind", "rm", "--model", &model, "--batch", &batch,
    ]);
    assert!(
        stderr(&output).contains("LlamaForCausalLM"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn advantages_of_ppo_are_those_of_trl_given_or_made() {
    let (model, batch) = (
        fixture("model", "models/llama_ds"),
        fixture("train", "ppo/end_to_end.safetensors"),
    );
    let (_program, said, grads) = run("ppo", &model, &batch, &[]);
    assert!(said["loss"].is_number() && said["numbers"]["policy/clipfrac"] == 0.0);
    // The reference has gradients of two of the four rows only: those are compared elsewhere.
    let names = Arrays::open(&grads).unwrap().names();
    assert!(names.contains(&"v_head.weight".to_owned()), "{names:?}");
    let wanted = Arrays::open(Path::new(&batch)).unwrap();
    let (mask, returns) = (
        wanted.integers("response_mask").unwrap(),
        wanted.floats("returns").unwrap(),
    );
    let sampled: Vec<f32> = mask
        .data
        .iter()
        .zip(&returns.data)
        .filter(|(flag, _)| **flag != 0)
        .map(|(_, value)| *value)
        .collect();
    let rows = said["rows"]["returns"].as_array().unwrap().iter();
    let found: Vec<f64> = rows
        .flat_map(|row| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()))
        .collect();
    assert_eq!(found.len(), sampled.len());
    for (found, wanted) in found.iter().zip(&sampled) {
        assert!((found - f64::from(*wanted)).abs() < 1e-5);
    }
}
