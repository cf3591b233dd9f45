//! The network on an emulated device: the kernels of a GPU, run on the CPU.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::ops::ControlFlow;

use model::config::{Architecture, Config, RopeScaling};
use model::device::{Device, test_network};
use model::generate::{Decoder, Limits, Request, Sample, Sampling, Settings};
use model::lora::{Adapter, LoraConfig, Targets};
use model::network::Network;
use model::parameters::{Parameters, fill_normal};
use model::precision::Precision;
use model::weights::Weights;

#[test]
fn the_device_computes_what_the_cpu_computes() {
    let outcomes = test_network(&Device::emulated()).unwrap();
    let mut failed = 0;
    for outcome in &outcomes {
        println!(
            "{:<66} {:>10.3e} {:>10.3e}",
            outcome.name, outcome.difference, outcome.tolerance
        );
        failed += usize::from(!outcome.passes());
    }
    assert!(
        failed == 0,
        "{failed} of {} comparisons failed",
        outcomes.len()
    );
}

fn config() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_positions: 96,
        tied: false,
        initializer_range: 0.3,
        bos_token: None,
        eos_tokens: vec![2],
        pad_token: None,
    }
}

fn requests() -> Vec<Request> {
    [(3, 3), (40, 2), (33, 1)]
        .into_iter()
        .enumerate()
        .map(|(index, (length, samples))| Request {
            key: format!("problem-{index}"),
            prompt: (0..length)
                .map(|i| (i * i + 7 * index as u32 + 3) % 61)
                .collect(),
            samples,
            ..Request::default()
        })
        .collect()
}

fn draw(decoder: &Decoder, settings: &Settings, slots_per_thread: usize) -> Vec<Sample> {
    let limits = Limits {
        slots_per_thread,
        ..Limits::default()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| {
        let go_on = |_: &Sample| ControlFlow::Continue(());
        decoder
            .generate(&requests(), settings, limits, &go_on)
            .unwrap()
    })
}

fn settings() -> Settings {
    let mut settings = Settings::new(9, &[2], 5);
    settings.sampling = Sampling {
        temperature: 0.9,
        top_p: 0.95,
        repetition_penalty: 1.1,
        ..Sampling::default()
    };
    settings
}

#[test]
fn samples_are_those_of_the_cpu_and_do_not_depend_on_the_batch() {
    let network = Network::new(config());
    let parameters = Parameters::init(&config(), 8);
    let here = draw(&Decoder::new(&network, &parameters), &settings(), 3);
    let placed = parameters
        .to_device(&Device::emulated(), Precision::F32)
        .unwrap();
    let decoder = Decoder::new(&network, &placed);
    let there = draw(&decoder, &settings(), 4);
    assert_eq!(here.len(), 6);
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here.tokens, there.tokens);
        for (a, b) in here.log_probs.iter().zip(&there.log_probs) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
    // To the bit, log-probabilities too.
    for slots in [1, 6] {
        assert_eq!(draw(&decoder, &settings(), slots), there, "{slots} slots");
    }
}

/// A model with an adapter on every layer.
fn adapted(rank: usize) -> (Parameters, Adapter) {
    let mut parameters = Parameters::init(&config(), 8);
    let lora = LoraConfig {
        rank,
        targets: Targets::AllLinear { head: true },
        ..LoraConfig::default()
    };
    let adapter = Adapter::attach("policy", lora, &config(), &mut parameters, 1).unwrap();
    for (name, tensor) in &mut parameters.tensors {
        if name.contains(".lora_B.") {
            fill_normal(&mut tensor.data, 0.2, 9, name);
        }
    }
    (parameters, adapter)
}

#[test]
fn samples_in_bfloat16_with_an_adapter_do_not_depend_on_the_batch() {
    let network = Network::new(config());
    let (parameters, adapter) = adapted(8);
    let placed = parameters
        .to_device(&Device::emulated(), Precision::Bf16)
        .unwrap();
    let adapted = Decoder::new(&network, Weights::adapted(&placed, &adapter));
    let together = draw(&adapted, &settings(), 6);
    assert_eq!(draw(&adapted, &settings(), 1), together);
    assert_ne!(
        draw(&Decoder::new(&network, &placed), &settings(), 6),
        together
    );
}

#[test]
fn an_adapter_beside_the_weights_is_that_of_the_cpu_in_them() {
    let network = Network::new(config());
    // A rank that no kernel likes.
    let (parameters, adapter) = adapted(3);
    let here = Decoder::new(&network, Weights::adapted(&parameters, &adapter));
    let here = draw(&here, &settings(), 3);
    let placed = parameters
        .to_device(&Device::emulated(), Precision::F32)
        .unwrap();
    let there = Decoder::new(&network, Weights::adapted(&placed, &adapter));
    for (here, there) in here.iter().zip(&draw(&there, &settings(), 6)) {
        assert_eq!(here.tokens, there.tokens);
        for (a, b) in here.log_probs.iter().zip(&there.log_probs) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn a_prompt_longer_than_a_step_beside_others_is_that_of_the_cpu() {
    let config = Config {
        max_positions: 600,
        layers: 1,
        ..config()
    };
    let network = Network::new(config.clone());
    let parameters = Parameters::init(&config, 8);
    let requests = [(4, 3), (520, 1)].map(|(length, samples)| Request {
        key: format!("{length}"),
        prompt: (0..length).map(|i: u32| (i * i + 3) % 61).collect(),
        samples,
        ..Request::default()
    });
    let go_on = |_: &Sample| ControlFlow::Continue(());
    let draw = |decoder: &Decoder, requests: &[Request]| {
        let limits = Limits::default();
        decoder.generate(requests, &settings(), limits, &go_on)
    };
    let here = draw(&Decoder::new(&network, &parameters), &requests).unwrap();
    let placed = parameters
        .to_device(&Device::emulated(), Precision::F32)
        .unwrap();
    let there = draw(&Decoder::new(&network, &placed), &requests).unwrap();
    assert_eq!(here.len(), 4);
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here.tokens, there.tokens);
        for (a, b) in here.log_probs.iter().zip(&there.log_probs) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn heads_that_pages_do_not_take_are_an_error_in_words() {
    let config = Config {
        head_dim: 12,
        ..config()
    };
    let placed = Parameters::init(&config, 8)
        .to_device(&Device::emulated(), Precision::F32)
        .unwrap();
    let decoder = Decoder::new(&Network::new(config), &placed);
    let go_on = |_: &Sample| ControlFlow::Continue(());
    let outcome = decoder.generate(&requests(), &settings(), Limits::default(), &go_on);
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("have 12"), "{message}");
}

/// The driver's own graphs, over a driver that the emulation stands in for.
#[cfg(feature = "cuda")]
#[test]
fn the_code_of_the_real_device_draws_the_same() {
    if !gpu::stand_in_for_the_driver() {
        return;
    }
    let device = match Device::cuda(0) {
        Ok(device) => device,
        // Built without nvcc, and no NVRTC here.
        Err(gpu::Unavailable::Kernels(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let network = Network::new(config());
    let draws = |device: &Device| {
        let (parameters, adapter) = adapted(8);
        let placed = parameters.to_device(device, Precision::Bf16).unwrap();
        let decoder = Decoder::new(&network, Weights::adapted(&placed, &adapter));
        draw(&decoder, &settings(), 6)
    };
    assert_eq!(draws(&device), draws(&Device::emulated()));
}
