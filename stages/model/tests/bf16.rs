//! The bf16 form against the reference numbers of the f32 one, and what it must keep exact.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{Arrays, json, load, pack};
use model::batch::Batch;
use model::network::{Network, Workspace};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;
use model::precision::Precision;

fn workspace() -> Workspace {
    Workspace::with(Precision::Bf16, false)
}

/// How far `found` is from `expected`, in parts of the length of `expected`.
fn relative_distance(found: &[f32], expected: &[f32]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    length(&mut pairs.map(|(a, b)| f64::from(a - b)))
        / length(&mut expected.iter().map(|x| f64::from(*x)))
}

/// Log-probabilities of the reference batches: bfloat16 has 8 bits, and a rounding error of
/// 2^-9 in every operand of two or three blocks leaves about 1 % in a logit.
#[test]
fn log_probabilities_are_near_those_of_transformers() {
    for name in ["llama_ds", "llama_gqa", "qwen2"] {
        let (network, parameters) = load(name);
        let arrays = Arrays::open(&format!("forward/{name}.safetensors"));
        let mut workspace = workspace();
        for case in ["full", "padded", "long"] {
            let ids = arrays.integers(&format!("{case}_ids"));
            let mask = (case == "padded").then(|| arrays.integers("padded_mask"));
            let (batch, places) = pack(&ids, mask.as_deref(), None);
            network
                .forward(&parameters, &batch, &mut workspace)
                .unwrap();
            let log_probs = network.log_probs(&parameters, &batch, 1.0, &mut workspace);
            let all = arrays.floats(&format!("{case}_logprobs"));
            let columns = ids[0].len();
            let (found, expected): (Vec<f32>, Vec<f32>) = places
                .iter()
                .enumerate()
                .filter(|(_, (_, column))| *column > 0)
                .map(|(token, (row, column))| {
                    (log_probs[token], all[row * (columns - 1) + column - 1])
                })
                .unzip();
            let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let largest = largest.fold(0.0, f32::max);
            let mean = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b));
            let mean = mean.sum::<f64>() / found.len() as f64;
            assert!(
                largest < 0.08 && mean.abs() < 8e-3,
                "{name} {case}: log-probabilities are off by up to {largest}, {mean} on average"
            );
        }
    }
}

fn reference_batch() -> (Network, Parameters, Batch) {
    let (network, parameters) = load("llama_ds");
    let arrays = Arrays::open("sft/batch.safetensors");
    let mask = arrays.integers("padded_attention_mask");
    let labels = arrays.integers("padded_labels");
    let (batch, _) = pack(
        &arrays.integers("padded_input_ids"),
        Some(&mask),
        Some(&labels),
    );
    (network, parameters, batch)
}

fn gradients(
    network: &Network,
    parameters: &Parameters,
    batch: &Batch,
    mut workspace: Workspace,
) -> (f64, Parameters) {
    let mut gradients = parameters.zeros_like();
    let weight = 1.0 / batch.target_count() as f64;
    let nll = network
        .train_nll(parameters, &mut gradients, batch, weight, &mut workspace)
        .unwrap();
    (nll.sum / nll.tokens as f64, gradients)
}

#[test]
fn loss_and_gradients_are_near_those_of_pytorch() {
    let (network, parameters, batch) = reference_batch();
    let expected = &json("sft/sft.json")["batch"];
    let number = |name: &str| expected[name].as_f64().unwrap();
    let (loss, gradients) = gradients(&network, &parameters, &batch, workspace());
    let off = loss / number("loss_token_mean") - 1.0;
    let norm_off = gradient_norm(&gradients) / number("grad_total_norm") - 1.0;
    assert!(off.abs() < 1e-3, "the loss is off by {off} of itself");
    assert!(norm_off.abs() < 1e-2, "the norm is off by {norm_off}");
    let arrays = Arrays::open("sft/batch.safetensors");
    let mut compared = 0;
    for name in arrays.names() {
        if let Some(parameter) = name.strip_prefix("grad.") {
            let found = gradients.data(parameter);
            let distance = relative_distance(found, &arrays.floats(&name));
            assert!(distance < 0.03, "{parameter} is off by {distance}");
            assert!(distance > 1e-5, "{parameter}: nothing was rounded");
            compared += 1;
        }
    }
    assert_eq!(compared, 7);
}

#[test]
fn threads_and_recomputation_change_no_bit() {
    let (network, parameters, batch) = reference_batch();
    let run = |threads: usize, recomputes: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let workspace = Workspace::with(Precision::Bf16, recomputes);
        pool.build()
            .unwrap()
            .install(|| gradients(&network, &parameters, &batch, workspace))
    };
    let (loss, expected) = run(1, false);
    for (threads, recomputes) in [(2, false), (3, true)] {
        let (again, found) = run(threads, recomputes);
        assert_eq!(loss.to_bits(), again.to_bits());
        assert_eq!(found, expected, "{threads} threads, {recomputes}");
    }
}

/// Updates far below what bfloat16 could add to a weight are not lost, and learning goes as in
/// f32.
#[test]
fn weights_are_f32_and_learn_as_in_f32() {
    let (network, start, batch) = reference_batch();
    let train = |precision: Precision, rate: f64, steps: usize| {
        let mut parameters = start.clone();
        let mut gradients = parameters.zeros_like();
        let mut optimizer = AdamW::new(AdamWConfig::default(), &gradients);
        let mut workspace = Workspace::with(precision, false);
        let weight = 1.0 / batch.target_count() as f64;
        let mut loss = 0.0;
        for _ in 0..steps {
            gradients.zero();
            let nll = network
                .train_nll(&parameters, &mut gradients, &batch, weight, &mut workspace)
                .unwrap();
            loss = nll.sum * weight;
            let clip = clip_coefficient(gradient_norm(&gradients), 1.0);
            optimizer.update(&mut parameters, &gradients, rate, clip);
        }
        (loss, parameters)
    };
    let (_, moved) = train(Precision::Bf16, 1e-6, 3);
    let name = "model.layers.0.mlp.up_proj.weight";
    let changed = moved.data(name).iter().zip(start.data(name));
    let changed = changed.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    assert!(changed * 10 > 9 * start.data(name).len());

    let ((single, _), (half, _)) = (
        train(Precision::F32, 3e-3, 30),
        train(Precision::Bf16, 3e-3, 30),
    );
    let (first, _) = train(Precision::F32, 3e-3, 1);
    assert!(single < 0.7 * first, "nothing was learnt");
    assert!((half - single).abs() < 0.02 * first, "{half} and {single}");
}

#[test]
fn activations_take_less_memory() {
    let (network, parameters, batch) = reference_batch();
    let bytes = |precision: Precision| {
        let mut workspace = Workspace::with(precision, false);
        network
            .forward(&parameters, &batch, &mut workspace)
            .unwrap();
        workspace.bytes() as f64
    };
    let share = bytes(Precision::Bf16) / bytes(Precision::F32);
    assert!((0.5..0.7).contains(&share), "{share}");
}
