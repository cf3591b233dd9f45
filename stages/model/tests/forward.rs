//! Logits, hidden states and log-probabilities against transformers, for three architectures.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{Arrays, assert_close, load, pack};
use model::network::Workspace;

fn check(name: &str) {
    let (network, parameters) = load(name);
    let arrays = Arrays::open(&format!("forward/{name}.safetensors"));
    let vocab = network.config().vocab_size;
    let width = network.config().hidden_size;
    let mut workspace = Workspace::new();

    for case in ["full", "padded", "long"] {
        let ids = arrays.integers(&format!("{case}_ids"));
        let mask = (case == "padded").then(|| arrays.integers("padded_mask"));
        let (batch, places) = pack(&ids, mask.as_deref(), None);
        network
            .forward(&parameters, &batch, &mut workspace)
            .unwrap();
        let logits = network.logits(&parameters, &workspace);
        let log_probs = network.log_probs(&parameters, &batch, 1.0, &mut workspace);
        let expected = arrays.floats(&format!("{case}_logprobs"));
        let columns = ids[0].len();
        for (token, &(row, column)) in places.iter().enumerate() {
            if column > 0 {
                let expected = expected[row * (columns - 1) + column - 1];
                assert!(
                    (log_probs[token] - expected).abs() < 5e-5,
                    "{case} log-prob of row {row} token {column}"
                );
            }
        }
        if case == "long" {
            let last = logits[(columns - 16) * vocab..].to_vec();
            assert_close(
                "long logits",
                &last,
                &arrays.floats("long_logits_last16"),
                1e-4,
            );
            let positions = arrays.floats("long_logits_pos");
            for (index, position) in [0, 63, 127, columns - 1].into_iter().enumerate() {
                let found = &logits[position * vocab..][..vocab];
                assert_close(
                    "logits at a position",
                    found,
                    &positions[index * vocab..][..vocab],
                    1e-4,
                );
            }
            continue;
        }
        let expected = arrays.floats(&format!("{case}_logits"));
        for (token, &(row, column)) in places.iter().enumerate() {
            let at = (row * columns + column) * vocab;
            assert_close(
                case,
                &logits[token * vocab..][..vocab],
                &expected[at..][..vocab],
                1e-4,
            );
        }
        if case == "padded" {
            let expected = arrays.floats("padded_hidden_final_normed");
            for (token, &(row, column)) in places.iter().enumerate() {
                let found = &workspace.hidden()[token * width..][..width];
                assert_close(
                    "hidden",
                    found,
                    &expected[(row * columns + column) * width..][..width],
                    1e-4,
                );
            }
        }
    }
}

#[test]
fn llama_with_linear_rope_and_its_own_head() {
    check("llama_ds");
}

#[test]
fn llama_with_grouped_queries_llama3_rope_and_a_tied_head() {
    check("llama_gqa");
}

#[test]
fn qwen2_with_biases() {
    check("qwen2");
}
