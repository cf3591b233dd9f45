//! How fast tokens are sampled, against sequences in flight, context and memory.
//!
//! `cargo bench -p iota -p model --bench sampling` prints tokens per second of processor time and
//! the bytes of weights, in every form. `scripts/bench-sampling`
//! samples in turns with transformers: it starts this program with `worker FOLDER FORM`, which
//! writes the model into the folder for the other side and answers each line on its standard
//! input, the number of prompts, with one line of JSON.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use model::checkpoint::Checkpoint;
use model::config::{Architecture, Config, RopeScaling};
use model::generate::{Decoder, Form, Limits, Request, Settings};
use model::network::Network;
use model::parameters::Parameters;

const SEQUENCES: usize = 64;
const TOKENS: usize = 128;
const PROMPT: usize = 64;
const VOCABULARY: usize = 2048;

/// The model of `benches/training.rs`: hidden 256, 4 layers.
fn config() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: VOCABULARY,
        hidden_size: 256,
        intermediate_size: 688,
        layers: 4,
        heads: 4,
        kv_heads: 4,
        head_dim: 64,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_positions: 2048,
        tied: false,
        initializer_range: 0.02,
        bos_token: None,
        eos_tokens: vec![],
        pad_token: None,
    }
}

/// Token `place` of prompt `number`.
fn prompt(number: usize, length: usize) -> Vec<u32> {
    (0..length)
        .map(|place| ((place * place + 31 * number + 7) % VOCABULARY) as u32)
        .collect()
}

fn requests(prompts: usize, length: usize) -> Vec<Request> {
    (0..prompts)
        .map(|number| Request {
            key: number.to_string(),
            prompt: prompt(number, length),
            samples: SEQUENCES / prompts,
            ..Request::default()
        })
        .collect()
}

/// Processor seconds of all threads so far.
fn processor_s() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn worker(folder: &Path, form: &str) {
    let parameters = Parameters::init(&config(), 0);
    Checkpoint {
        config: config(),
        parameters: parameters.clone(),
    }
    .save(folder, None)
    .unwrap();
    let decoder = decoder(&parameters, form);
    let settings = Settings::new(TOKENS, &[], 0);
    let limits = Limits {
        slots_per_thread: SEQUENCES.div_ceil(rayon::current_num_threads()),
        ..Limits::default()
    };
    println!("{{}}");
    for line in std::io::stdin().lock().lines() {
        let requests = requests(line.unwrap().trim().parse().unwrap(), PROMPT);
        let (clock, before) = (Instant::now(), processor_s());
        let samples = decoder
            .generate(&requests, &settings, limits, &|_| ControlFlow::Continue(()))
            .unwrap();
        let (wall_s, processor_s) = (clock.elapsed().as_secs_f64(), processor_s() - before);
        let tokens: usize = samples.iter().map(|sample| sample.tokens.len()).sum();
        println!("{{\"tokens\": {tokens}, \"wall_s\": {wall_s}, \"processor_s\": {processor_s}}}");
    }
}

fn decoder(parameters: &Parameters, form: &str) -> Decoder {
    let form = match form {
        "f32" => Form::F32,
        "bf16" => Form::Bf16,
        "int8" => Form::Int8,
        _ => panic!("the forms are f32, bf16 and int8, not {form}"),
    };
    Decoder::in_form(form, &Network::new(config()), parameters)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder, form] = &arguments[..]
        && command == "worker"
    {
        worker(Path::new(folder), form);
        return;
    }
    let parameters = Parameters::init(&config(), 0);
    println!(
        "| form | weights MB | sequences a thread | prompt tokens | cache MB | tokens per processor second |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for form in ["f32", "bf16", "int8"] {
        let decoder = decoder(&parameters, form);
        let cases = [
            (1, 64, 2048),
            (6, 64, 2048),
            (32, 64, 2048),
            (32, 64, 8),
            (32, 1024, 2048),
        ];
        for (slots_per_thread, length, cache_mb) in cases {
            let limits = Limits {
                slots_per_thread,
                cache_bytes: cache_mb << 20,
            };
            let settings = Settings::new(TOKENS, &[], 0);
            let before = processor_s();
            let samples = decoder
                .generate(&requests(1, length), &settings, limits, &|_| {
                    ControlFlow::Continue(())
                })
                .unwrap();
            let rate = (samples.len() * TOKENS) as f64 / (processor_s() - before);
            println!(
                "| {form} | {:.1} | {slots_per_thread} | {length} | {cache_mb} | {rate:.0} |",
                decoder.weight_bytes() as f64 / 1e6
            );
        }
    }
}
