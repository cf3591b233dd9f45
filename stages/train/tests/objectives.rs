//! Losses and gradients through the network against TRL's trainers.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{adapted, base, close, close_norm, close_tensor, floats, ids, json, number};
use model::checkpoint::Checkpoint;
use model::config::Architecture;
use model::parameters::Parameters;
use serde_json::Value;
use train::dpo::loss::{Options as DpoOptions, Variant};
use train::dpo::objective::{Judged, Preference};
use train::orpo::loss::{Options as OrpoOptions, Sft};
use train::orpo::objective::OddsRatio;
use train::pairs::{Loaded, Pair};
use train::reward::objective::{BradleyTerry, Options as RewardOptions};
use train::training_loop::{Objective, Sums};
use train::tuning::{Pass, Tuned};

/// Loss sums and gradients of all pairs as one window, in micro-batches of `size`.
fn window(
    objective: &mut impl Objective,
    parameters: &Parameters,
    size: usize,
) -> (Sums, Parameters) {
    let rows: Vec<Vec<u32>> = (0..objective.items() as u32).map(|i| vec![i]).collect();
    let mut gradients = Parameters::default();
    for (name, tensor) in &parameters.zeros_like().tensors {
        if objective.trains(name) {
            gradients.tensors.insert(name.clone(), tensor.clone());
        }
    }
    let scale = 1.0 / rows.len() as f64;
    let mut sums = Sums::new();
    objective.begin_update(1, &rows);
    for rows in rows.chunks(size) {
        let found = objective
            .accumulate(parameters, &mut gradients, rows, scale)
            .unwrap();
        for (name, value) in found {
            *sums.entry(name).or_default() += value * scale;
        }
    }
    (sums, gradients)
}

fn dpo_pairs(golden: &Value) -> Vec<Pair> {
    let rows = golden["tokenized"].as_array().unwrap().iter();
    rows.map(|row| Pair {
        prompt: ids(&row["prompt_ids"]),
        chosen: ids(&row["chosen_ids"]),
        rejected: ids(&row["rejected_ids"]),
        ..Pair::default()
    })
    .collect()
}

#[test]
fn dpo_agrees_with_trl_in_loss_numbers_and_gradients() {
    let golden = json("dpo/dpo.json");
    let tensors = floats("dpo/dpo.safetensors");
    let (Checkpoint { config, parameters }, adapter) = adapted();
    let pairs = dpo_pairs(&golden);
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let kind = case["loss_type"].as_str().unwrap();
        let Ok(variant) = serde_json::from_value::<Variant>(kind.into()) else {
            continue;
        };
        let options = DpoOptions {
            variant,
            beta: number(&case["beta"]),
            label_smoothing: number(&case["label_smoothing"]),
            nll_weight: 0.0,
        };
        let tuned = Tuned::new(config.clone(), &parameters, Some(adapter.clone()), 0);
        let mut objective = Preference::new(tuned, options, 3);
        let reference = objective
            .log_probs(&parameters, &pairs, Pass::Base)
            .unwrap();
        let side = |index: usize| reference.iter().map(move |both| both[index]);
        for (name, found) in [("chosen", side(0)), ("rejected", side(1))] {
            let wanted = golden[format!("ref_{name}_logps")].as_array().unwrap();
            for (found, wanted) in found.zip(wanted) {
                assert!((found - number(wanted)).abs() < 2e-4);
            }
        }
        let judged = Judged {
            pairs: pairs.clone(),
            reference,
        };
        objective.set_pairs(judged.clone(), judged);
        let (sums, gradients) = window(&mut objective, &parameters, 3);
        close(kind, sums["loss"], number(&case["loss"]));
        for name in ["chosen", "rejected", "accuracies", "margins"] {
            let name = format!("rewards/{name}");
            let wanted = number(&case["metrics"][&name]);
            assert!(
                (sums[name.as_str()] - wanted).abs() < 1e-4 * options.beta.max(0.1) + 1e-5,
                "{kind} {name}"
            );
        }
        close_norm(&gradients, &case["grad_total_norm"]);
        let prefix = format!(
            "{kind}_b{:?}_ls{:?}.grad.base_model.model.",
            options.beta, options.label_smoothing
        );
        for (name, wanted) in &tensors.tensors {
            if let Some(name) = name.strip_prefix(&prefix) {
                let own = name.replace("lora_A.", "lora_A.default.");
                let own = own.replace("lora_B.", "lora_B.default.");
                close_tensor(name, gradients.data(&own), &wanted.data);
                compared += 1;
            }
        }
        let measured = objective.evaluate(&parameters, &|| false).unwrap();
        let (_, loss) = measured
            .into_iter()
            .find(|(name, _)| *name == "eval_loss")
            .unwrap();
        close("held out", loss, sums["loss"]);
    }
    assert_eq!(compared, 24);
}

fn orpo_pairs(golden: &Value) -> Loaded {
    let rows = golden["tokenized"].as_array().unwrap().iter();
    // Tokenised as one text: the border of prompt and answer is where the labels begin.
    let cut = |row: &Value, side: &str| {
        let labels = row[format!("{side}_labels")].as_array().unwrap();
        let given = labels.iter().filter(|label| **label == -100).count();
        let all = ids(&row[format!("{side}_input_ids")]);
        (all[..given].to_vec(), all[given..].to_vec())
    };
    let pairs = rows.map(|row| {
        let ((prompt, chosen), (other, rejected)) = (cut(row, "chosen"), cut(row, "rejected"));
        Pair {
            prompt,
            chosen,
            rejected,
            rejected_prompt: Some(other),
            ..Pair::default()
        }
    });
    let train: Vec<Pair> = pairs.collect();
    Loaded {
        validation: train.clone(),
        train,
    }
}

#[test]
fn orpo_agrees_with_trl_and_with_the_paper() {
    let golden = json("orpo/orpo.json");
    let tensors = floats("orpo/orpo.safetensors");
    let Checkpoint { config, parameters } = base();
    let objective = |lambda, sft| {
        let tuned = Tuned::new(config.clone(), &parameters, None, 0);
        OddsRatio::new(tuned, OrpoOptions { lambda, sft }, orpo_pairs(&golden))
    };
    for case in golden["trl_cases"].as_array().unwrap() {
        let mut objective = objective(number(&case["beta"]), Sft::All);
        let (sums, gradients) = window(&mut objective, &parameters, 4);
        close("loss", sums["loss"], number(&case["loss"]));
        for (name, wanted) in case["metrics"].as_object().unwrap() {
            if let Some(found) = sums.get(name.as_str()) {
                close(name, *found, number(wanted));
            }
        }
        close_norm(&gradients, &case["grad_total_norm"]);
        if number(&case["beta"]) < 0.2 {
            for (name, wanted) in &tensors.tensors {
                if let Some(name) = name.strip_prefix("grad.") {
                    close_tensor(name, gradients.data(name), &wanted.data);
                }
            }
        }
        // Cut into micro-batches, the denominators are still the window's.
        let (cut, cut_gradients) = window(&mut objective, &parameters, 1);
        close("cut", cut["loss"], sums["loss"]);
        for (name, tensor) in &gradients.tensors {
            close_tensor(name, cut_gradients.data(name), &tensor.data);
        }
        let measured = objective.evaluate(&parameters, &|| false).unwrap();
        assert!(
            measured
                .iter()
                .any(|(name, value)| *name == "eval_loss" && (value - sums["loss"]).abs() < 1e-5)
        );
    }
    let mut averaged = 0;
    for case in golden["raw_grads"].as_array().unwrap() {
        if case["form"] == "avg" {
            let mut objective = objective(number(&case["lam"]), Sft::Example);
            let (sums, gradients) = window(&mut objective, &parameters, 2);
            close("eq. 4", sums["loss"], number(&case["loss"]));
            close_norm(&gradients, &case["grad_total_norm"]);
            averaged += 1;
        }
    }
    assert_eq!(averaged, 2);
    let raw = golden["raw"].as_array().unwrap();
    let raw = raw
        .iter()
        .find(|row| row["form"].as_str().unwrap().starts_with("length"))
        .unwrap();
    let (sums, _) = window(&mut objective(0.1, Sft::Completion), &parameters, 3);
    let wanted = &raw["L_ORPO"]["lambda0.1"]["completion_token_mean"];
    close("completion", sums["loss"], number(wanted));
}

/// The reward model and its pairs: sequences that have no prompt of their own.
fn reward_model(golden: &Value) -> (Checkpoint, Vec<Pair>) {
    let mut checkpoint = base();
    checkpoint.config.architecture = Architecture::LlamaScore;
    checkpoint.parameters.tensors.remove("lm_head.weight");
    let score = floats("rm/score.safetensors");
    checkpoint.parameters.tensors.extend(score.tensors);
    let rows = golden["sequences"].as_array().unwrap().iter();
    let pairs = rows.map(|row| Pair {
        chosen: ids(&row["chosen_ids"]),
        rejected: ids(&row["rejected_ids"]),
        ..Pair::default()
    });
    (checkpoint, pairs.collect())
}

#[test]
fn reward_models_agree_with_trl_and_do_not_see_their_batch() {
    let golden = json("rm/rm.json");
    let tensors = floats("rm/rm.safetensors");
    let (Checkpoint { config, parameters }, mut pairs) = reward_model(&golden);
    for case in golden["cases"].as_array().unwrap() {
        let centering = case["center_rewards_coefficient"].as_f64().unwrap_or(0.0);
        for (index, pair) in pairs.iter_mut().enumerate() {
            pair.normalised_distance = case["margin"][index].as_f64().unwrap_or(0.0);
        }
        let loaded = || Loaded {
            train: pairs.clone(),
            validation: pairs.clone(),
        };
        let options = RewardOptions {
            margin: 1.0,
            centering,
        };
        let tuned = || Tuned::new(config.clone(), &parameters, None, 0);
        let mut objective = BradleyTerry::new(tuned(), options, 4, loaded());
        let (sums, gradients) = window(&mut objective, &parameters, 4);
        close("loss", sums["loss"], number(&case["loss"]));
        close(
            "accuracy",
            sums["accuracy"],
            number(&case["metrics"]["accuracy"]),
        );
        close("margin", sums["margin"], number(&case["metrics"]["margin"]));
        close_norm(&gradients, &case["grad_total_norm"]);
        let prefix = match (case["margin"].is_null(), centering) {
            (true, 0.0) => "centerNone.grad.",
            (true, 0.01) => "center0.01.grad.",
            _ => "none",
        };
        for (name, wanted) in &tensors.tensors {
            if let Some(name) = name.strip_prefix(prefix) {
                close_tensor(name, gradients.data(name), &wanted.data);
            }
        }
        // Alone or together, in one pair or two: a score is a score.
        let together = objective.quality(&parameters, &|| false).unwrap().unwrap();
        let mut alone = BradleyTerry::new(tuned(), options, 1, loaded());
        let alone = alone.quality(&parameters, &|| false).unwrap().unwrap();
        close("mean", alone.score_mean, together.score_mean);
        close(
            "mean",
            alone.score_mean,
            number(&case["metrics"]["mean_reward"]),
        );
    }
}
