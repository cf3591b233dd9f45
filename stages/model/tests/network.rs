//! The network's derivatives as a whole: slopes, accumulation, freezing, the other losses' doors.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{assert_close, load};
use model::batch::{Batch, IGNORE};
use model::network::{Network, Workspace};
use model::optimizer::gradient_norm;
use model::parameters::{Parameters, fill_normal};

fn batch(seeds: std::ops::Range<u32>) -> Batch {
    let mut batch = Batch::new();
    for seed in seeds {
        let ids: Vec<u32> = (0..9 + 4 * seed)
            .map(|i| (i * i + 17 * seed + 3) % 470)
            .collect();
        batch.push_completion(&ids[..3], &ids[3..]).unwrap();
    }
    batch
}

fn dot(a: &Parameters, b: &Parameters) -> f64 {
    a.tensors
        .iter()
        .flat_map(|(name, t)| t.data.iter().zip(b.data(name)))
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// A direction in which every tensor moves by a comparable amount.
fn direction(parameters: &Parameters) -> Parameters {
    let mut direction = parameters.zeros_like();
    for (name, tensor) in &mut direction.tensors {
        fill_normal(&mut tensor.data, 1.0, 5, name);
    }
    direction
}

fn moved(parameters: &Parameters, direction: &Parameters, step: f32) -> Parameters {
    let mut moved = parameters.clone();
    for (name, tensor) in &mut moved.tensors {
        for (value, d) in tensor.data.iter_mut().zip(direction.data(name)) {
            *value += step * d;
        }
    }
    moved
}

/// Compares `<gradient, direction>` with the slope of `loss` along the direction.
#[track_caller]
fn assert_slope(
    parameters: &Parameters,
    gradients: &Parameters,
    loss: impl Fn(&Parameters) -> f64,
) {
    let direction = direction(parameters);
    let step = 2e-4;
    let slope = (loss(&moved(parameters, &direction, step))
        - loss(&moved(parameters, &direction, -step)))
        / (2.0 * f64::from(step));
    let found = dot(gradients, &direction);
    assert!(
        (slope - found).abs() < 1e-2 * slope.abs().max(1.0),
        "derivative {found}, slope {slope}"
    );
}

fn log_probs(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    temperature: f32,
) -> (Vec<f32>, Vec<f32>) {
    let mut workspace = Workspace::new();
    network.forward(parameters, batch, &mut workspace).unwrap();
    (
        network.log_probs(parameters, batch, temperature, &mut workspace),
        workspace.hidden().to_vec(),
    )
}

#[test]
fn every_weight_has_a_gradient_and_it_is_the_slope() {
    for name in ["llama_ds", "llama_gqa", "qwen2"] {
        let (network, parameters) = load(name);
        let batch = batch(0..4);
        let mut gradients = parameters.zeros_like();
        network
            .train_nll(
                &parameters,
                &mut gradients,
                &batch,
                1.0,
                &mut Workspace::new(),
            )
            .unwrap();
        for (name, tensor) in &gradients.tensors {
            assert!(tensor.data.iter().all(|g| g.is_finite()), "{name}");
            assert!(
                tensor.data.iter().any(|g| g.abs() > 0.0),
                "{name} has no gradient"
            );
        }
        assert_slope(&parameters, &gradients, |p| {
            network
                .evaluate_nll(p, &batch, &mut Workspace::new())
                .unwrap()
                .sum
        });
    }
}

#[test]
fn any_loss_of_log_probabilities_and_hidden_states() {
    let (network, parameters) = load("llama_gqa");
    let batch = batch(0..4);
    let temperature = 0.8;
    let d_log_probs: Vec<f32> = (0..batch.len()).map(|t| (t as f32 * 0.9).sin()).collect();
    let width = network.config().hidden_size;
    let d_hidden: Vec<f32> = (0..batch.len() * width)
        .map(|i| (i as f32 * 0.37).cos() * 0.1)
        .collect();
    let sum = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };

    let mut gradients = parameters.zeros_like();
    let mut workspace = Workspace::new();
    network
        .forward(&parameters, &batch, &mut workspace)
        .unwrap();
    network.backward_log_probs(
        &parameters,
        &mut gradients,
        &batch,
        &d_log_probs,
        Some(&d_hidden),
        temperature,
        &mut workspace,
    );
    assert_slope(&parameters, &gradients, |p| {
        let (log_probs, hidden) = log_probs(&network, p, &batch, temperature);
        sum(&log_probs, &d_log_probs) + sum(&hidden, &d_hidden)
    });

    // Its two halves add up to it.
    let mut halves = parameters.zeros_like();
    network
        .forward(&parameters, &batch, &mut workspace)
        .unwrap();
    network.backward_hidden(&parameters, &mut halves, &batch, &d_hidden, &mut workspace);
    network
        .forward(&parameters, &batch, &mut workspace)
        .unwrap();
    network.backward_log_probs(
        &parameters,
        &mut halves,
        &batch,
        &d_log_probs,
        None,
        temperature,
        &mut workspace,
    );
    for (name, tensor) in &gradients.tensors {
        let largest = tensor.data.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert_close(name, halves.data(name), &tensor.data, 1e-5 * largest + 1e-6);
    }
}

#[test]
fn a_window_in_pieces_equals_one_batch() {
    let (network, parameters) = load("llama_ds");
    let whole = batch(0..8);
    let weight = 1.0 / whole.target_count() as f64;
    let mut workspace = Workspace::new();
    let mut expected = parameters.zeros_like();
    let nll = network
        .train_nll(&parameters, &mut expected, &whole, weight, &mut workspace)
        .unwrap();
    let mut gradients = parameters.zeros_like();
    let (mut sum, mut tokens) = (0.0, 0);
    for index in 0..8 {
        let part = network
            .train_nll(
                &parameters,
                &mut gradients,
                &batch(index..index + 1),
                weight,
                &mut workspace,
            )
            .unwrap();
        sum += part.sum;
        tokens += part.tokens;
    }
    assert_eq!(tokens, nll.tokens);
    assert!((sum - nll.sum).abs() < 1e-3);
    assert!((gradient_norm(&gradients) / gradient_norm(&expected) - 1.0).abs() < 1e-6);
    for (name, tensor) in &expected.tensors {
        assert_close(name, gradients.data(name), &tensor.data, 1e-6);
    }
}

#[test]
fn absent_gradients_are_frozen_and_change_no_other() {
    let (network, parameters) = load("qwen2");
    let batch = batch(0..3);
    let mut all = parameters.zeros_like();
    network
        .train_nll(&parameters, &mut all, &batch, 1.0, &mut Workspace::new())
        .unwrap();
    let mut some = parameters.zeros_like();
    some.tensors
        .retain(|name, _| name.contains("q_proj") || name.contains("layers.1.mlp"));
    assert_eq!(some.tensors.len(), 9);
    network
        .train_nll(&parameters, &mut some, &batch, 1.0, &mut Workspace::new())
        .unwrap();
    assert!(
        some.tensors
            .iter()
            .all(|(name, tensor)| tensor == &all.tensors[name])
    );
}

#[test]
#[should_panic(expected = "one backward pass")]
fn a_second_backward_pass_is_a_bug() {
    let (network, parameters) = load("llama_ds");
    let (batch, mut workspace) = (batch(0..1), Workspace::new());
    let mut gradients = parameters.zeros_like();
    network
        .train_nll(&parameters, &mut gradients, &batch, 1.0, &mut workspace)
        .unwrap();
    let d_log_probs = vec![1.0; batch.len()];
    network.backward_log_probs(
        &parameters,
        &mut gradients,
        &batch,
        &d_log_probs,
        None,
        1.0,
        &mut workspace,
    );
}

#[test]
fn labels_choose_the_tokens_in_the_loss() {
    let (network, parameters) = load("llama_ds");
    let mut batch = Batch::new();
    batch.push(&[5, 6, 7, 8], &[5, IGNORE, 7, 8]).unwrap();
    batch.push(&[9], &[9]).unwrap();
    batch.push(&[9, 10], &[IGNORE, 10]).unwrap();
    // First tokens of a sequence are predicted by nothing, whatever their label.
    assert_eq!(batch.targets(), [(1, 7), (2, 8), (5, 10)]);
    assert_eq!(batch.target_count(), 3);
    let (log_probs, _) = log_probs(&network, &parameters, &batch, 1.0);
    let zero: Vec<bool> = log_probs.iter().map(|l| *l == 0.0).collect();
    assert_eq!(zero, [true, true, false, false, true, true, false]);
}

#[test]
fn batches_the_model_cannot_take_are_refused() {
    let (network, parameters) = load("llama_ds");
    let refuse = |batch: &Batch| {
        network
            .forward(&parameters, batch, &mut Workspace::new())
            .unwrap_err()
            .to_string()
    };
    assert!(refuse(&Batch::new()).contains("no tokens"));
    let mut batch = Batch::new();
    assert!(batch.push(&[], &[]).is_err());
    assert!(batch.push(&[1, 2], &[1]).is_err());
    batch.push(&[1, 512], &[1, 2]).unwrap();
    assert!(refuse(&batch).contains("not the model's"));
    let mut batch = Batch::new();
    batch.push(&vec![1; 513], &vec![1; 513]).unwrap();
    assert!(refuse(&batch).contains("512 positions"));
}

#[test]
fn recomputed_blocks_give_the_same_bytes_and_are_not_kept() {
    for name in ["llama_gqa", "qwen2"] {
        let (network, parameters) = load(name);
        let batch = batch(0..4);
        let gradients = |mut workspace: Workspace| {
            let mut gradients = parameters.zeros_like();
            let mut losses = Vec::new();
            for _ in 0..2 {
                let nll = network
                    .train_nll(&parameters, &mut gradients, &batch, 0.01, &mut workspace)
                    .unwrap();
                losses.push(nll.sum.to_bits());
            }
            (gradients, losses, workspace.bytes())
        };
        let kept = gradients(Workspace::new());
        let recomputed = gradients(Workspace::recomputing());
        assert!(gradient_norm(&kept.0) > 1e-3);
        assert!(kept.0 == recomputed.0, "{name}");
        assert_eq!(kept.1, recomputed.1);
        assert!(recomputed.2 < kept.2, "{} {}", recomputed.2, kept.2);
    }
}

#[test]
fn a_batch_that_does_not_fit_the_model_says_where() {
    let (network, parameters) = load("llama_ds");
    let (longest, vocabulary) = (network.config().max_positions, network.config().vocab_size);
    let refused = |ids: &[u32]| {
        let mut batch = batch(0..1);
        batch.push_completion(&[], ids).unwrap();
        let mut workspace = Workspace::new();
        let error = network.forward(&parameters, &batch, &mut workspace);
        error.unwrap_err().to_string()
    };
    let error = refused(&vec![1; longest + 1]);
    for words in [
        "sequence 1",
        &format!("{} tokens", longest + 1),
        &format!("{longest} pos"),
    ] {
        assert!(error.contains(words), "{error}");
    }
    let error = refused(&[vocabulary as u32]);
    assert!(
        error.contains(&format!("token id {vocabulary} is outside the vocabulary")),
        "{error}"
    );
}
