//! Decoding against transformers' greedy ids, and its independence of batch and threads.
#![allow(clippy::unwrap_used)]

mod golden;

use std::ops::ControlFlow;

use golden::{json, load};
use model::batch::Batch;
use model::generate::{Decoder, Finish, Form, Limits, Request, Sample, Sampling, Settings};
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
        ..Request::default()
    }
}

fn all(decoder: &Decoder, requests: &[Request], settings: &Settings) -> Vec<Sample> {
    limited(decoder, requests, settings, Limits::default())
}

fn limited(
    decoder: &Decoder,
    requests: &[Request],
    settings: &Settings,
    limits: Limits,
) -> Vec<Sample> {
    decoder
        .generate(requests, settings, limits, &|_| ControlFlow::Continue(()))
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
        min_p: 0.001,
        repetition_penalty: 1.05,
    };
    let pool = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    };
    let mut outcomes = Vec::new();
    // The last two have pages for a few sequences only: others are put off and computed again.
    let page = 2 * 4 * 32 * decoder.config().layers * decoder.config().kv_width();
    for (threads, slots_per_thread, cache_bytes) in [
        (1, 1, 1 << 30),
        (1, 7, 1 << 30),
        (2, 3, 1 << 30),
        (3, 64, 1 << 30),
        (1, 7, 14 * page),
        (2, 64, 1),
    ] {
        let limits = Limits {
            slots_per_thread,
            cache_bytes,
        };
        let draw = || limited(&decoder, &requests, &settings, limits);
        outcomes.push(pool(threads).install(draw));
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
            .generate(&[request], settings, Limits::default(), &|_| {
                ControlFlow::Continue(())
            })
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
    let one = Limits {
        slots_per_thread: 1,
        ..Limits::default()
    };
    let stopped = decoder
        .generate(&[request("s", &[1], 50)], &settings, one, &|_| {
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
        .generate(
            &[request("n", &[1], 2)],
            &settings,
            Limits::default(),
            &|_| ControlFlow::Continue(()),
        )
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
            ..Sampling::default()
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
fn min_p_and_repetition_penalty_match_the_logits_processors() {
    let fixture = json("sampling.json");
    let logits: Vec<Vec<f32>> = serde_json::from_value(fixture["logits"].clone()).unwrap();
    let mut weights = Vec::new();
    for case in fixture["min_p"].as_array().unwrap() {
        let sampling = Sampling {
            min_p: case["min_p"].as_f64().unwrap(),
            ..Sampling::default()
        };
        let logits = &logits[case["vec"].as_u64().unwrap() as usize];
        sampling.probabilities(logits, &mut weights);
        let expected: Vec<f32> = serde_json::from_value(case["probs"].clone()).unwrap();
        golden::assert_close("min_p", &weights, &expected, 1e-6);
    }
    for case in fixture["repetition_penalty"].as_array().unwrap() {
        let sampling = Sampling {
            repetition_penalty: case["penalty"].as_f64().unwrap(),
            ..Sampling::default()
        };
        let mut logits = logits[case["vec"].as_u64().unwrap() as usize].clone();
        let mut occurred = ids(&case["prev_ids"]);
        occurred.sort_unstable();
        occurred.dedup();
        sampling.penalise(&mut logits, occurred);
        let expected: Vec<f32> = serde_json::from_value(case["scores"].clone()).unwrap();
        golden::assert_close("repetition_penalty", &logits, &expected, 1e-6);
    }
}

#[test]
fn samples_pass_a_chi_square_test_and_know_their_probabilities() {
    let (network, parameters) = load("llama_ds");
    let decoder = Decoder::new(&network, &parameters);
    let mut settings = Settings::new(1, &[], 5);
    settings.sampling = Sampling {
        temperature: 1.3,
        top_k: 12,
        ..Sampling::default()
    };
    let draws = 20_000;
    let samples = all(&decoder, &[request("chi", &[5, 9, 77], draws)], &settings);
    // Probabilities by another way: the training network's logits.
    let mut batch = Batch::new();
    batch.push_completion(&[5, 9, 77], &[1]).unwrap();
    let mut workspace = Workspace::new();
    network
        .forward(&parameters, &batch, &mut workspace)
        .unwrap();
    let vocab = decoder.config().vocab_size;
    let logits = network.logits(&parameters, &workspace)[2 * vocab..3 * vocab].to_vec();
    let mut probabilities = Vec::new();
    settings.sampling.probabilities(&logits, &mut probabilities);
    let mut counts = vec![0.0; vocab];
    for sample in &samples {
        let token = sample.tokens[0] as usize;
        counts[token] += 1.0;
        let expected = probabilities[token].ln();
        assert!((sample.processed_log_probs[0] - expected).abs() < 1e-4);
        assert!(sample.log_probs[0] < sample.processed_log_probs[0]);
    }
    let (mut statistic, mut cells) = (0.0, 0);
    for (count, probability) in counts.iter().zip(&probabilities) {
        let expected = f64::from(*probability) * draws as f64;
        if expected == 0.0 {
            assert!(*count == 0.0, "a dropped token was drawn");
        } else {
            statistic += (count - expected) * (count - expected) / expected;
            cells += 1;
        }
    }
    assert_eq!(cells, 12);
    // The 99.9th percentile of chi-square with 11 degrees of freedom.
    assert!(statistic < 31.26, "{statistic}");
}

#[test]
fn stop_strings_end_a_completion_and_one_that_never_comes_does_not() {
    let (network, parameters) = load("llama_ds");
    let decoder = Decoder::new(&network, &parameters);
    let path = golden::path("models/llama_ds/tokenizer.json");
    let tokenizer = std::sync::Arc::new(model::tokenizer::Tokenizer::load(&path).unwrap());
    let fixture = json("generate/llama_ds.json");
    let prompt = ids(&fixture["runs"][0]["prompt_ids"]);
    let mut settings = Settings::new(24, &[], 0);
    settings.sampling = Sampling::GREEDY;
    let free = all(&decoder, &[request("s", &prompt, 1)], &settings).remove(0);
    let text = tokenizer.decode(&free.tokens, true).unwrap();
    // A piece of the text that no token boundary need respect.
    let middle = text.char_indices().nth(text.chars().count() / 2).unwrap().0;
    let stop: String = text[middle..].chars().take(3).collect();
    settings.tokenizer = Some(tokenizer.clone());
    settings.stop_strings = vec!["never to be seen".to_owned()];
    let whole = all(&decoder, &[request("s", &prompt, 1)], &settings).remove(0);
    assert_eq!((&whole.tokens, whole.finish), (&free.tokens, free.finish));
    settings.stop_strings.push(stop.clone());
    let stopped = all(&decoder, &[request("s", &prompt, 1)], &settings).remove(0);
    assert_eq!(stopped.finish, Finish::StopString);
    assert_eq!(stopped.text_end, text.find(&stop));
    assert!(free.tokens.starts_with(&stopped.tokens) && stopped.tokens.len() < free.tokens.len());
    let found = tokenizer.decode(&stopped.tokens, true).unwrap();
    assert!(found.contains(&stop) && text.starts_with(&found));
}

#[test]
fn an_adapter_beside_the_weights_does_what_it_does_inside_them() {
    let (network, mut parameters) = load("llama_ds");
    let config = network.config().clone();
    let folder = golden::path("lora/all_linear_plus_lm_head");
    let adapter = model::lora::read(&folder, "other", &config, &mut parameters).unwrap();
    let merged = Decoder::new(
        &network,
        model::weights::Weights::adapted(&parameters, &adapter),
    );
    let mut beside = Decoder::new(&network, &parameters);
    let number = beside.adapt(&network, &parameters, &adapter).unwrap();
    let mut settings = Settings::new(20, &[], 2);
    settings.sampling = Sampling::GREEDY;
    let prompts = [[5, 9, 77, 100], [300, 2, 41, 8]];
    let plain: Vec<Request> = prompts.iter().map(|p| request("a", p, 1)).collect();
    let adapted: Vec<Request> = plain
        .iter()
        .map(|request| Request {
            adapter: Some(number),
            ..request.clone()
        })
        .collect();
    // With and without in one batch, in turns.
    let mixed = [&plain[0], &adapted[0], &plain[1], &adapted[1]].map(Clone::clone);
    let mixed = all(&beside, &mixed, &settings);
    let base = all(&Decoder::new(&network, &parameters), &plain, &settings);
    let inside = all(&merged, &plain, &settings);
    for index in 0..2 {
        assert_eq!(mixed[2 * index].tokens, base[index].tokens);
        assert_eq!(mixed[2 * index].log_probs, base[index].log_probs);
        assert_eq!(mixed[2 * index + 1].tokens, inside[index].tokens);
        let (found, expected) = (&mixed[2 * index + 1].log_probs, &inside[index].log_probs);
        golden::assert_close("log-probs", found, expected, 1e-4);
    }
    assert_ne!(mixed[0].log_probs, mixed[1].log_probs);
    let unknown = Request {
        adapter: Some(7),
        ..plain[0].clone()
    };
    assert!(beside.check(&unknown, &settings).is_err());
}

#[test]
fn rounded_weights_stay_near_and_keep_their_independence() {
    let (network, parameters) = load("llama_gqa");
    let full = Decoder::new(&network, &parameters);
    let requests: Vec<Request> = (0..5)
        .map(|i| request("r", &[476, 5 + i, 9, 77], 1))
        .collect();
    let mut settings = Settings::new(1, &[], 2);
    settings.sampling = Sampling::GREEDY;
    let exact = all(&full, &requests, &settings);
    settings.max_tokens = 30;
    settings.sampling = Sampling::default();
    for (form, near) in [(Form::Bf16, 0.1), (Form::Int8, 0.1), (Form::Int4, 0.8)] {
        let rounded = Decoder::in_form(form, &network, &parameters);
        assert!(rounded.weight_bytes() * 19 < full.weight_bytes() * 10);
        let one = Limits {
            slots_per_thread: 1,
            cache_bytes: 1,
        };
        let alone = limited(&rounded, &requests, &settings, one);
        assert_eq!(all(&rounded, &requests, &settings), alone);
        let mut first = settings.clone();
        (first.max_tokens, first.sampling) = (1, Sampling::GREEDY);
        for (found, expected) in all(&rounded, &requests, &first).iter().zip(&exact) {
            let difference = (found.log_probs[0] - expected.log_probs[0]).abs();
            assert!(difference < near, "{form:?}: {difference}");
        }
    }
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.0, 1.0, -1.0, 2.0];
    let sampling = Sampling {
        temperature: 0.7,
        top_k: 3,
        ..Sampling::default()
    };
    let mut weights = Vec::new();
    let mut counts = [0.0; 4];
    let draws = 40_000;
    for draw in 0..draws {
        counts[sampling
            .choose(&logits, f64::from(draw) / f64::from(draws), &mut weights)
            .0 as usize] += 1.0;
    }
    sampling.probabilities(&logits, &mut weights);
    for (count, probability) in counts.iter().zip(&weights) {
        assert!((count / f64::from(draws) - f64::from(*probability)).abs() < 1e-4);
    }
    assert_eq!(
        Sampling::GREEDY.choose(&[1.0, 3.0, 3.0], 0.99, &mut weights),
        (1, 0.0)
    );
}
