//! Decoding against transformers' greedy ids, and its independence of batch and threads.
#![allow(clippy::unwrap_used)]

mod golden;

use std::ops::ControlFlow;

use golden::{json, load};
use model::batch::Batch;
use model::generate::{Decoder, Finish, Request, Sample, Sampling, Settings};
use model::network::Workspace;
use serde_json::Value;

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn request(key: &str, prompt: &[u32], samples: usize) -> Request {
    Request {
        key: key.to_owned(),
        prompt: prompt.to_vec(),
        samples,
        first_sample: 0,
    }
}

fn all(decoder: &Decoder, requests: &[Request], settings: &Settings) -> Vec<Sample> {
    decoder
        .generate(requests, settings, &|_| ControlFlow::Continue(()))
        .unwrap()
}

fn check_greedy(name: &str) {
    let fixture = json(&format!("generate/{name}.json"));
    let (network, parameters) = load(name);
    let decoder = Decoder::new(&network, &parameters);
    let mut settings = Settings::new(32, &[fixture["eos_token_id"].as_u64().unwrap() as u32], 0);
    settings.sampling = Sampling::GREEDY;
    let runs = fixture["runs"].as_array().unwrap();
    let requests: Vec<Request> = runs
        .iter()
        .map(|run| request("greedy", &ids(&run["prompt_ids"]), 1))
        .collect();
    let samples = all(&decoder, &requests, &settings);
    assert_eq!(samples.len(), runs.len());
    for (sample, run) in samples.iter().zip(runs) {
        assert_eq!(sample.tokens, ids(&run["new_ids"]));
        let stopped = sample.tokens.last().copied() == Some(settings.stop_tokens[0]);
        assert_eq!(sample.finish == Finish::Stop, stopped);
        // The log-probabilities belong to the run that may not stop: equal up to the stop.
        let suppressed = ids(&run["new_ids_eos_suppressed"]);
        for (index, (found, expected)) in sample
            .log_probs
            .iter()
            .zip(run["logprob_of_each"].as_array().unwrap())
            .enumerate()
        {
            if sample.tokens[index] != suppressed[index] {
                break;
            }
            assert!((f64::from(*found) - expected.as_f64().unwrap()).abs() < 5e-5);
        }
    }
}

#[test]
fn greedy_ids_llama() {
    check_greedy("llama_ds");
}

#[test]
fn greedy_ids_grouped_queries() {
    check_greedy("llama_gqa");
}

#[test]
fn greedy_ids_qwen2() {
    check_greedy("qwen2");
}

#[test]
fn a_sample_does_not_depend_on_batch_threads_or_neighbours() {
    let (network, parameters) = load("llama_gqa");
    let decoder = Decoder::new(&network, &parameters);
    let long: Vec<u32> = (0..130).map(|i| (i * 37 % 470) as u32).collect();
    let requests = [
        request("a", &[476, 5, 9, 77], 9),
        request("b", &long, 7),
        request("c", &[3], 5),
    ];
    let mut settings = Settings::new(40, &[477, 198], 11);
    settings.sampling = Sampling {
        temperature: 0.9,
        top_k: 50,
        top_p: 0.95,
    };
    let pool = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let mut outcomes = Vec::new();
    for (threads, slots) in [(1, 1), (1, 7), (2, 3), (3, 24)] {
        settings.slots_per_thread = slots;
        outcomes.push(pool(threads).install(|| all(&decoder, &requests, &settings)));
    }
    assert_eq!(outcomes[0].len(), 21);
    assert!(outcomes[0].iter().any(|s| s.finish == Finish::Stop));
    assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]));
    // Samples 2..5 of "b" asked for alone.
    let part = Request {
        samples: 3,
        first_sample: 2,
        ..requests[1].clone()
    };
    let alone = all(&decoder, &[part], &settings);
    for (found, expected) in alone.iter().zip(&outcomes[0][9 + 2..]) {
        assert_eq!(
            (found.sample, &found.tokens, &found.log_probs),
            (expected.sample, &expected.tokens, &expected.log_probs)
        );
    }
    // Another seed gives other samples, and samples differ among themselves.
    settings.seed = 12;
    assert_ne!(all(&decoder, &requests, &settings), outcomes[0]);
    assert_ne!(outcomes[0][0].tokens, outcomes[0][1].tokens);
}

#[test]
fn decoding_agrees_with_the_training_network() {
    let (network, parameters) = load("qwen2");
    let decoder = Decoder::new(&network, &parameters);
    let prompt = [451, 521, 7, 81];
    let samples = all(
        &decoder,
        &[request("p", &prompt, 4)],
        &Settings::new(60, &[543], 3),
    );
    let mut batch = Batch::new();
    for sample in &samples {
        batch.push_completion(&prompt, &sample.tokens).unwrap();
    }
    let mut workspace = Workspace::new();
    network
        .forward(&parameters, &batch, &mut workspace)
        .unwrap();
    let log_probs = network.log_probs(&parameters, &batch, 1.0, &mut workspace);
    for (bound, sample) in batch.bounds.windows(2).zip(&samples) {
        golden::assert_close(
            "log-probs",
            &sample.log_probs,
            &log_probs[bound[0] + prompt.len()..bound[1]],
            5e-5,
        );
    }
}

#[test]
fn lengths_and_refusals() {
    let (network, parameters) = load("llama_ds");
    let decoder = Decoder::new(&network, &parameters);
    let mut settings = Settings::new(1000, &[], 0);
    let positions = decoder.config().max_positions;
    let prompt = vec![1; positions - 3];
    let samples = all(&decoder, &[request("long", &prompt, 1)], &settings);
    assert_eq!(
        (samples[0].tokens.len(), samples[0].finish),
        (3, Finish::Length)
    );
    let refuse = |request: Request, settings: &Settings| {
        decoder
            .generate(&[request], settings, &|_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string()
    };
    assert!(refuse(request("e", &[], 1), &settings).contains("empty"));
    assert!(refuse(request("e", &vec![1; positions], 1), &settings).contains("positions"));
    assert!(refuse(request("e", &[100_000], 1), &settings).contains("not the model's"));
    settings.sampling.top_p = 0.0;
    assert!(refuse(request("e", &[1], 1), &settings).contains("top_p"));
    settings.sampling.top_p = 1.0;
    settings.max_tokens = 2;
    settings.slots_per_thread = 1;
    let stopped = decoder
        .generate(&[request("s", &[1], 50)], &settings, &|_| {
            ControlFlow::Break(())
        })
        .unwrap();
    assert!(!stopped.is_empty() && stopped.len() < 50);
}

#[test]
fn a_diverged_model_is_reported() {
    let (network, mut parameters) = load("llama_ds");
    parameters.data_mut("model.norm.weight").unwrap()[0] = f32::NAN;
    let decoder = Decoder::new(&network, &parameters);
    let settings = Settings::new(4, &[], 0);
    let error = decoder
        .generate(&[request("n", &[1], 2)], &settings, &|_| {
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(error.to_string().contains("diverged"));
}

#[test]
fn distributions_match_the_logits_processors() {
    let fixture = json("sampling.json");
    let logits: Vec<Vec<f32>> = serde_json::from_value(fixture["logits"].clone()).unwrap();
    let mut weights = Vec::new();
    let mut compared = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let sampling = Sampling {
            temperature: case["temperature"].as_f64().unwrap(),
            top_k: case["top_k"].as_u64().unwrap() as usize,
            top_p: case["top_p"].as_f64().unwrap(),
        };
        sampling.probabilities(
            &logits[case["vec"].as_u64().unwrap() as usize],
            &mut weights,
        );
        let mut expected: Vec<f32> = serde_json::from_value(case["probs"].clone()).unwrap();
        match case["compare"].as_str().unwrap() {
            "elementwise" => {}
            "multiset" => {
                weights.sort_by(f32::total_cmp);
                expected.sort_by(f32::total_cmp);
            }
            _ => continue, // f32 rounding decides these
        }
        golden::assert_close(&case.to_string()[..80], &weights, &expected, 1e-6);
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.0, 1.0, -1.0, 2.0];
    let sampling = Sampling {
        temperature: 0.7,
        top_k: 3,
        top_p: 1.0,
    };
    let mut weights = Vec::new();
    let mut counts = [0.0; 4];
    let draws = 40_000;
    for draw in 0..draws {
        counts[sampling.choose(&logits, f64::from(draw) / f64::from(draws), &mut weights)
            as usize] += 1.0;
    }
    sampling.probabilities(&logits, &mut weights);
    for (count, probability) in counts.iter().zip(&weights) {
        assert!((count / f64::from(draws) - f64::from(*probability)).abs() < 1e-4);
    }
    assert_eq!(
        Sampling::GREEDY.choose(&[1.0, 3.0, 3.0], 0.99, &mut weights),
        1
    );
}
