//! Tokens per second of training and decoding on this machine, for a model of given size.
//!
//! `cargo run --release -p model --example speed -- [layers] [hidden] [tokens] [sequences] [vocab]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::time::Instant;

use model::batch::Batch;
use model::config::{Architecture, Config, RopeScaling};
use model::generate::{Decoder, Request, Settings};
use model::network::{Network, Workspace};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;

fn main() -> anyhow::Result<()> {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .map(|a| a.parse())
        .collect::<Result<_, _>>()?;
    let size = |index: usize, default: usize| given.get(index).copied().unwrap_or(default);
    let (layers, hidden, tokens, sequences, vocab) = (
        size(0, 4),
        size(1, 256),
        size(2, 512),
        size(3, 8),
        size(4, 2048),
    );
    let config = Config {
        architecture: Architecture::Llama,
        vocab_size: vocab,
        hidden_size: hidden,
        intermediate_size: (hidden * 8 / 3).next_multiple_of(32),
        layers,
        heads: hidden / 32,
        kv_heads: hidden / 32,
        head_dim: 32,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_positions: 2 * tokens,
        tied: true,
        initializer_range: 0.02,
        bos_token: None,
        eos_tokens: vec![],
        pad_token: None,
    };
    let mut parameters = Parameters::init(&config, 0);
    let network = Network::new(config);
    println!(
        "{} parameters, {} threads",
        parameters.count(),
        rayon::current_num_threads()
    );

    let mut batch = Batch::new();
    for sequence in 0..sequences {
        let ids: Vec<u32> = (0..tokens)
            .map(|i| ((i * i + 31 * sequence) % vocab) as u32)
            .collect();
        batch.push_completion(&[], &ids)?;
    }
    let mut gradients = parameters.zeros_like();
    let mut optimizer = AdamW::new(AdamWConfig::default(), &gradients);
    let mut workspace = Workspace::new();
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        let start = Instant::now();
        gradients.zero();
        let weight = 1.0 / batch.target_count() as f64;
        let nll = network.train_nll(&parameters, &mut gradients, &batch, weight, &mut workspace)?;
        let clip = clip_coefficient(gradient_norm(&gradients), 1.0);
        optimizer.update(&mut parameters, &gradients, 1e-3, clip);
        best = best.min(start.elapsed().as_secs_f64());
        println!(
            "step {:.3} s, loss {:.4}",
            start.elapsed().as_secs_f64(),
            nll.sum * weight
        );
    }
    println!("training: {:.0} tokens/s", batch.len() as f64 / best);
    let start = Instant::now();
    network.evaluate_nll(&parameters, &batch, &mut workspace)?;
    println!(
        "evaluation: {:.0} tokens/s",
        batch.len() as f64 / start.elapsed().as_secs_f64()
    );

    let decoder = Decoder::new(&network, &parameters);
    let requests: Vec<Request> = (0..4)
        .map(|i| Request {
            key: i.to_string(),
            prompt: batch.ids[..tokens / 2].to_vec(),
            samples: 48,
            first_sample: 0,
        })
        .collect();
    for slots in [1, 6, 12, 24, 48] {
        let mut settings = Settings::new(tokens / 2, &[], 0);
        settings.slots_per_thread = slots;
        let requests = if slots < 6 { &requests[..1] } else { &requests };
        let requests: Vec<Request> = requests
            .iter()
            .map(|r| Request {
                samples: if slots < 6 { 4 } else { 48 },
                ..r.clone()
            })
            .collect();
        let start = Instant::now();
        let samples = decoder.generate(&requests, &settings, &|_| ControlFlow::Continue(()))?;
        let drawn: usize = samples.iter().map(|s| s.tokens.len()).sum();
        println!(
            "decoding, {slots} slots a thread: {:.0} tokens/s",
            drawn as f64 / start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
