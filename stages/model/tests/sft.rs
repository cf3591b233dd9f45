//! Gradients, the optimiser and whole SFT runs against transformers and PyTorch.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{Arrays, assert_close, json, load, pack};
use model::batch::Batch;
use model::network::{Network, Workspace};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, cosine_learning_rate, gradient_norm};
use model::parameters::{Parameters, Tensor};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_u64().unwrap() as u32)
        .collect()
}

fn check_gradients(network: &Network, parameters: &Parameters, batch: &Batch) {
    let arrays = Arrays::open("sft/batch.safetensors");
    let expected = &json("sft/sft.json")["batch"];
    let mut gradients = parameters.zeros_like();
    let weight = 1.0 / batch.target_count() as f64;
    let nll = network
        .train_nll(
            parameters,
            &mut gradients,
            batch,
            weight,
            &mut Workspace::new(),
        )
        .unwrap();
    let loss = number(&expected["loss_token_mean"]);
    assert!((nll.sum / nll.tokens as f64 - loss).abs() < 1e-5 + 1e-5 * loss);
    let norm = number(&expected["grad_total_norm"]);
    assert!((gradient_norm(&gradients) / norm - 1.0).abs() < 1e-4);
    let mut compared = 0;
    for name in arrays.names() {
        if let Some(parameter) = name.strip_prefix("grad.") {
            let expected = arrays.floats(&name);
            let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert_close(
                parameter,
                gradients.data(parameter),
                &expected,
                1e-6 + 1e-3 * largest,
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 7);
}

#[test]
fn gradients_of_a_padded_batch() {
    let (network, parameters) = load("llama_ds");
    let arrays = Arrays::open("sft/batch.safetensors");
    let mask = arrays.integers("padded_attention_mask");
    let labels = arrays.integers("padded_labels");
    let (batch, _) = pack(
        &arrays.integers("padded_input_ids"),
        Some(&mask),
        Some(&labels),
    );
    check_gradients(&network, &parameters, &batch);
}

#[test]
fn gradients_of_the_packed_row_are_those_of_the_padded_batch() {
    let (network, parameters) = load("llama_ds");
    let arrays = Arrays::open("sft/batch.safetensors");
    let row = |name: &str| arrays.integers(name).remove(0);
    let (all, labels) = (row("packed_input_ids"), row("packed_labels"));
    let (segments, positions) = (row("packed_segment_ids"), row("packed_position_ids"));
    let mut batch = Batch::new();
    for segment in segments.chunk_by(|a, b| a == b) {
        let start = batch.len();
        let ids: Vec<u32> = all[start..start + segment.len()]
            .iter()
            .map(|&id| id as u32)
            .collect();
        let labels: Vec<i32> = labels[start..start + segment.len()]
            .iter()
            .map(|&l| l as i32)
            .collect();
        batch.push(&ids, &labels).unwrap();
    }
    assert_eq!(
        batch.positions,
        positions.iter().map(|&p| p as u32).collect::<Vec<_>>()
    );
    check_gradients(&network, &parameters, &batch);
    // The same row as one sequence is contaminated and must differ.
    let mut naive = Batch::new();
    naive.push(&batch.ids, &batch.labels).unwrap();
    let nll = network
        .evaluate_nll(&parameters, &naive, &mut Workspace::new())
        .unwrap();
    let expected =
        number(&json("sft/sft.json")["batch"]["packed_naive_contaminated_loss_MUST_NOT_MATCH"]);
    assert!((nll.sum / nll.tokens as f64 - expected).abs() < 1e-4);
}

#[test]
fn five_optimiser_steps_of_four_micro_batches() {
    let fixture = json("sft/sft.json");
    let (network, start) = load("llama_ds");
    let batches: Vec<Batch> = fixture["microbatches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let mut batch = Batch::new();
            batch
                .push_completion(&ids(&m["prompt"]), &ids(&m["completion"]))
                .unwrap();
            batch
        })
        .collect();
    for run in fixture["runs"].as_array().unwrap() {
        let mut parameters = start.clone();
        let mut gradients = parameters.zeros_like();
        let mut workspace = Workspace::new();
        let config = AdamWConfig {
            weight_decay: number(&run["weight_decay"]),
            ..AdamWConfig::default()
        };
        let mut optimizer = AdamW::new(config, &gradients);
        let (warmup, total) = (
            run["warmup_steps"].as_u64().unwrap(),
            run["total_steps"].as_u64().unwrap(),
        );
        for (step, (expected, window)) in run["steps"]
            .as_array()
            .unwrap()
            .iter()
            .zip(batches.chunks(4))
            .enumerate()
        {
            gradients.zero();
            let tokens: usize = window.iter().map(Batch::target_count).sum();
            let (mut sum, mut mean) = (0.0, 0.0);
            for batch in window {
                let weight = match run["loss_normalisation"].as_str().unwrap() {
                    "tokens_in_window" => 1.0 / tokens as f64,
                    _ => 1.0 / (4 * batch.target_count()) as f64,
                };
                let nll = network
                    .train_nll(&parameters, &mut gradients, batch, weight, &mut workspace)
                    .unwrap();
                sum += nll.sum * weight;
                mean += weight * nll.tokens as f64;
            }
            assert!((mean - 1.0).abs() < 1e-12);
            assert!(
                (sum - number(&expected["loss"])).abs() < 3e-5,
                "loss of step {step}: {sum}"
            );
            let norm = gradient_norm(&gradients);
            assert!((norm / number(&expected["grad_norm_before_clip"]) - 1.0).abs() < 1e-4);
            let coefficient = clip_coefficient(norm, number(&run["max_grad_norm"]));
            assert!((f64::from(coefficient) - number(&expected["clip_coef"])).abs() < 1e-4);
            let rate = cosine_learning_rate(number(&run["lr"]), step as u64, warmup, total);
            assert!((rate - number(&expected["lr_used"])).abs() < 1e-15);
            optimizer.update(&mut parameters, &gradients, rate, coefficient);
            for (name, sums) in expected["params"].as_object().unwrap() {
                let values = parameters.data(name);
                let over = |f: &dyn Fn(usize, f64) -> f64| -> f64 {
                    values
                        .iter()
                        .enumerate()
                        .map(|(i, &x)| f(i, f64::from(x)))
                        .sum()
                };
                let close = |what: &str, found: f64, tolerance: f64| {
                    let expected = number(&sums[what]);
                    assert!(
                        (found - expected).abs() < tolerance,
                        "{name} {what} of step {step}: {found} {expected}"
                    );
                };
                close("l2", over(&|_, x| x * x).sqrt(), 5e-5);
                close("sum", over(&|_, x| x), 5e-4);
                close("ramp", over(&|i, x| x * (0.1 * i as f64).cos()), 5e-4);
                close("abs_sum", over(&|_, x| x.abs()), 5e-3);
            }
        }
    }
}

#[test]
fn cosine_schedule_to_the_last_digit() {
    let mut compared = 0;
    for table in json("sft/optim.json")["schedules"].as_array().unwrap() {
        if table["kind"] != "cosine" {
            continue;
        }
        let (warmup, total) = (
            table["warmup"].as_u64().unwrap(),
            table["total"].as_u64().unwrap(),
        );
        for row in table["lr_used_by_update_index"].as_array().unwrap() {
            let found = cosine_learning_rate(
                number(&table["lr"]),
                row[0].as_u64().unwrap(),
                warmup,
                total,
            );
            assert!(
                (found - number(&row[1])).abs() <= 1e-12 * number(&row[1]).abs(),
                "{row}: {found}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 107);
}

#[test]
fn adamw_and_adam_traces() {
    let fixture = json("sft/optim.json");
    let flat = |value: &Value| -> Vec<f32> {
        let nested: Vec<Vec<f32>> = serde_json::from_value(value.clone())
            .unwrap_or_else(|_| vec![serde_json::from_value(value.clone()).unwrap()]);
        nested.concat()
    };
    let traces = fixture["adamw"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&fixture["adam"]]);
    for trace in traces {
        let tensor = |value: &Value| {
            let data = flat(value);
            Parameters::from_iter([(
                "w.weight".to_owned(),
                Tensor {
                    shape: vec![data.len()],
                    data,
                },
            )])
        };
        let mut parameters = tensor(&trace["param0"]);
        let config = AdamWConfig {
            beta1: number(&trace["betas"][0]),
            beta2: number(&trace["betas"][1]),
            eps: number(&trace["eps"]),
            weight_decay: trace["weight_decay"].as_f64().unwrap_or(0.0),
        };
        let mut optimizer = AdamW::new(config, &parameters);
        for step in trace["steps"].as_array().unwrap() {
            // Through a save and a restore at every step, which must change nothing.
            optimizer = AdamW::restore(
                config,
                &parameters,
                optimizer.state().unwrap(),
                optimizer.steps(),
            )
            .unwrap();
            optimizer.update(
                &mut parameters,
                &tensor(&step["grad"]),
                number(&trace["lr"]),
                1.0,
            );
            assert_close(
                "trace",
                parameters.data("w.weight"),
                &flat(&step["param"]),
                2e-6,
            );
        }
    }
}
