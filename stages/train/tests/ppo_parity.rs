//! Whole PPO updates against TRL's trainer: rewards, advantages, losses, gradients, weights.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{base, close, close_tensor, floats, ids, json, number};
use model::checkpoint::Checkpoint;
use model::config::Architecture;
use model::optimizer::AdamWConfig;
use model::parameters::{Parameters, Tensor};
use serde_json::Value;
use train::ppo::credit::{self, Algorithm, State};
use train::ppo::kl::{Controller, Penalty};
use train::ppo::loss::Options;
use train::ppo::rollout::{Models, Rollout, VALUE_BIAS, VALUE_WEIGHT};
use train::ppo::score::{self, Moments};
use train::ppo::scorer::Scorer;
use train::ppo::update::{Cut, accumulate};
use train::trainer::Trainer;
use train::tuning::Tuned;

fn rollouts(golden: &Value) -> Vec<Rollout> {
    let queries = golden["queries"].as_array().unwrap();
    let responses = golden["responses"].as_array().unwrap();
    let rows = queries
        .iter()
        .zip(responses)
        .map(|(query, response)| Rollout {
            prompt_ids: ids(query),
            token_ids: ids(response),
            finish: "stop".into(),
            ..Rollout::default()
        });
    rows.collect()
}

/// The policy with its critic, and the reference.
fn policy(tensors: &Parameters) -> (Parameters, Parameters) {
    let reference = base().parameters;
    let mut parameters = reference.clone();
    for (name, tensor) in &tensors.tensors {
        if let Some(name) = name.strip_prefix("policy.") {
            parameters.tensors.insert(name.to_owned(), tensor.clone());
        }
    }
    for (own, name) in [(VALUE_WEIGHT, "v_head.weight"), (VALUE_BIAS, "v_head.bias")] {
        let tensor = tensors.tensors[name].clone();
        parameters.tensors.insert(own.to_owned(), tensor);
    }
    (parameters, reference)
}

fn scored(score: Tensor) -> Checkpoint {
    let mut checkpoint = base();
    checkpoint.config.architecture = Architecture::LlamaScore;
    let tensors = &mut checkpoint.parameters.tensors;
    tensors.remove("lm_head.weight");
    tensors.insert("score.weight".into(), score);
    checkpoint
}

/// Rows of a padded array, at the positions of the response.
fn response(tensors: &Parameters, name: &str, rows: &[Rollout]) -> Vec<Vec<f32>> {
    let tensor = &tensors.tensors[name];
    let width = tensor.shape[1];
    let padded = tensor.data.chunks(width);
    padded
        .zip(rows)
        .map(|(padded, row)| {
            let first = row.prompt_ids.len() - 1;
            padded[first..first + row.token_ids.len()].to_vec()
        })
        .collect()
}

#[track_caller]
fn near(what: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= tolerance, "{what}: {a} {b}");
    }
}

fn own_name(name: &str) -> &str {
    match name {
        "v_head.weight" => VALUE_WEIGHT,
        "v_head.bias" => VALUE_BIAS,
        name => name.strip_prefix("m.").unwrap_or(name),
    }
}

#[test]
fn eight_updates_are_those_of_trl() {
    let golden = json("ppo/end_to_end.json");
    let tensors = floats("ppo/end_to_end.safetensors");
    let (parameters, reference) = policy(&tensors);
    let config = base().config;
    let mut tuned = Tuned::new(config, &parameters, None, 0);
    let mut scorer = Scorer::new(
        scored(floats("rm/score.safetensors").tensors["score.weight"].clone()),
        AdamWConfig::default(),
    );
    let mut rows = rollouts(&golden);
    let mut models = Models {
        policy: &mut tuned,
        parameters: &parameters,
        reference: Some(&reference),
        scorer: &mut scorer,
        temperature: 1.0,
    };
    for rows in rows.chunks_mut(3) {
        models.look_at(rows).unwrap();
    }
    for (row, score) in rows.iter_mut().zip(golden["scores"].as_array().unwrap()) {
        row.score = number(score);
    }
    let options = credit::Options {
        algorithm: Algorithm::Ppo,
        parts: train::ppo::execution::Parts::default(),
        group: 1,
        score: score::Options::default(),
        penalty: Penalty::Kl,
        controller: Controller {
            target: Some(6.0),
            horizon: 10_000.0,
        },
        gamma: number(&golden["config"]["gamma"]),
        lambda: number(&golden["config"]["lam"]),
        whiten_rewards: false,
        whiten_advantages: true,
    };
    let mut state = State {
        batches: 0,
        updates: 0,
        kl_coefficient: number(&golden["kl_coef"]),
        moments: Moments::default(),
    };
    let summary = credit::assign(&options, &mut rows, &mut state);
    assert!((summary.kl - number(&golden["objective_kl_mean"])).abs() < 2e-4);
    let kept = |name| response(&tensors, name, &rows);
    for (index, row) in rows.iter().enumerate() {
        near("old", &row.log_probs, &kept("old_logprobs")[index], 5e-5);
        near(
            "reference",
            &row.reference_log_probs,
            &kept("ref_logprobs")[index],
            5e-5,
        );
        near("values", &row.values, &kept("old_values")[index], 1e-4);
        near("rewards", &row.rewards, &kept("rewards")[index], 5e-5);
        near("returns", &row.returns, &kept("returns")[index], 2e-4);
        near(
            "advantages",
            &row.advantages,
            &kept("advantages")[index],
            2e-4,
        );
    }

    let adam = AdamWConfig {
        weight_decay: 0.0,
        ..AdamWConfig::default()
    };
    let mut trainer = Trainer::new(parameters, |_| true, adam, 0.0);
    let cut = Cut {
        rows: 1,
        temperature: 1.0,
    };
    for (index, step) in golden["steps"].as_array().unwrap().iter().enumerate() {
        let programs: Vec<&Rollout> = ids(&step["minibatch"])
            .into_iter()
            .map(|row| &rows[row as usize])
            .collect();
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let (sums, skipped) = accumulate(
            &mut tuned,
            parameters,
            gradients,
            None,
            &programs,
            &Options::default(),
            cut,
        )
        .unwrap();
        assert_eq!(skipped, 0);
        for (name, found) in sums.means() {
            if let Some(wanted) = step["stats"][name].as_f64() {
                close(name, found, wanted);
            }
        }
        if index == 0 {
            for (name, wanted) in &tensors.tensors {
                if let Some(name) = name.strip_prefix("grad0.") {
                    let found = gradients.data(own_name(name));
                    close_tensor(name, found, &wanted.data);
                }
            }
        }
        let norm = trainer.update(3e-5).unwrap();
        let wanted = number(&step["grad_norm_applied"]);
        assert!((norm / wanted - 1.0).abs() < 1e-3, "{norm} {wanted}");
        for (name, wanted) in step["params"].as_object().unwrap() {
            let values = trainer.parameters.data(own_name(name));
            let l2 = values
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>()
                .sqrt();
            let wanted = number(&wanted["l2"]);
            assert!(
                (l2 - wanted).abs() < 5e-5,
                "{name} after {index}: {l2} {wanted}"
            );
        }
    }
}
