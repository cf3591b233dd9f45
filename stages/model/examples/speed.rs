//! Tokens per second of training and decoding on this machine, for a model of given size.
//!
//! `cargo run --release -p model --example speed -- train|decode [layers] [hidden] [tokens]
//! [sequences] [vocab] [repeats]`. Beside wall time it prints processor time (Linux), which a
//! busy machine disturbs less.
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::time::Instant;

use model::batch::Batch;
use model::config::{Architecture, Config, RopeScaling};
use model::generate::{Decoder, Limits, Request, Settings};
use model::network::{Network, Workspace};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;

/// Processor seconds of all threads so far.
fn processor_s() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    fields
        .get(13..15)
        .map_or(0.0, |ticks| (ticks[0] + ticks[1]) / 100.0)
}

fn measure(what: &str, work: impl FnOnce() -> anyhow::Result<usize>) -> anyhow::Result<()> {
    let (start, before) = (Instant::now(), processor_s());
    let tokens = work()? as f64;
    let (wall_s, processor_s) = (start.elapsed().as_secs_f64(), processor_s() - before);
    println!(
        "{what}: {:.0} tokens/s, {:.0} per processor second",
        tokens / wall_s,
        tokens / processor_s
    );
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let given: Vec<usize> = std::env::args()
        .skip(2)
        .map(|a| a.parse())
        .collect::<Result<_, _>>()?;
    let size = |index: usize, default: usize| given.get(index).copied().unwrap_or(default);
    let (layers, hidden, tokens) = (size(0, 4), size(1, 256), size(2, 512));
    let (sequences, vocab, repeats) = (size(3, 8), size(4, 2048), size(5, 3));
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
    let mut workspace = Workspace::new();

    if mode == "train" {
        let mut gradients = parameters.zeros_like();
        let mut optimizer = AdamW::new(AdamWConfig::default(), &gradients);
        let mut step = || -> anyhow::Result<usize> {
            gradients.zero();
            let weight = 1.0 / batch.target_count() as f64;
            network.train_nll(&parameters, &mut gradients, &batch, weight, &mut workspace)?;
            let clip = clip_coefficient(gradient_norm(&gradients), 1.0);
            optimizer.update(&mut parameters, &gradients, 1e-3, clip);
            Ok(batch.len())
        };
        for _ in 0..repeats {
            measure("training step", &mut step)?;
        }
        measure("forward and loss", || {
            network.evaluate_nll(&parameters, &batch, &mut workspace)?;
            Ok(batch.len())
        })?;
        return Ok(());
    }
    let decoder = Decoder::new(&network, &parameters);
    for (slots, samples) in [(1, 2), (6, 12), (24, 96), (48, 96)] {
        let settings = Settings::new(tokens / 2, &[], 0);
        let limits = Limits {
            slots_per_thread: slots,
            ..Limits::default()
        };
        let prompt = batch.ids[..tokens / 2].to_vec();
        let request = Request {
            key: String::new(),
            prompt,
            samples,
            ..Request::default()
        };
        measure(&format!("decoding, {slots} slots a thread"), || {
            let drawn =
                decoder.generate(
                    &[request],
                    &settings,
                    limits,
                    &|_| ControlFlow::Continue(()),
                )?;
            Ok(drawn.iter().map(|sample| sample.tokens.len()).sum())
        })?;
    }
    Ok(())
}
