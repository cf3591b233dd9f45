//! How fast tokens are sampled, against sequences in flight, context and memory.
//!
//! `cargo bench -p iota -p model --bench sampling` prints tokens per second of processor time and
//! the bytes of weights and of keys and values; `-- forms MODEL SEQUENCES` does it for a folder or a
//! GGUF file, in every form, with 32 tokens for each of the sequences. `scripts/bench-sampling`
//! samples in turns with transformers: it starts this program with `worker FOLDER FORM`, which
//! writes the model into the folder for the other side and answers each line on its standard
//! input, the number of prompts, with one line of JSON; `write FOLDER` only writes it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use model::checkpoint::Checkpoint;
use model::config::{Architecture, Config, RopeScaling};
use model::generate::{Decoder, Form, Limits, Queue, Request, Settings, Task};
use model::gguf;
use model::network::Network;
use model::parameters::Parameters;

const SEQUENCES: usize = 64;
const TOKENS: usize = 128;
const PROMPT: usize = 64;
const VOCABULARY: usize = 2048;
const FORMS: [&str; 4] = ["f32", "bf16", "int8", "int4"];

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

/// Writes the model of this benchmark as a folder.
fn write(folder: &Path) {
    let (config, parameters) = (config(), Parameters::init(&config(), 0));
    Checkpoint { config, parameters }
        .save(folder, None)
        .unwrap();
}

fn worker(folder: &Path, form: &str) {
    write(folder);
    let decoder = decoder(config(), &Parameters::init(&config(), 0), form);
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

fn decoder(config: Config, parameters: &Parameters, form: &str) -> Decoder {
    let form = match form {
        "f32" => Form::F32,
        "bf16" => Form::Bf16,
        "int8" => Form::Int8,
        "int4" => Form::Int4,
        _ => panic!("the forms are {FORMS:?}, not {form}"),
    };
    Decoder::in_form(form, &Network::new(config), parameters)
}

/// What is sampled in one line of a table.
#[derive(Clone, Copy)]
struct Case {
    prompts: usize,
    samples: usize,
    prompt_tokens: usize,
    tokens: usize,
    slots_per_thread: usize,
    cache_mb: usize,
}

/// 64 sequences of one prompt, 32 a thread, with memory enough.
const USUAL: Case = Case {
    prompts: 1,
    samples: SEQUENCES,
    prompt_tokens: PROMPT,
    tokens: TOKENS,
    slots_per_thread: 32,
    cache_mb: 2048,
};

const HEAD: &str = "| form | weights MB | prompts | samples of each | prompt tokens | sequences a thread \
                    | budget MB | peak MB | new tokens per processor second |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|";

/// Samples, and prints a line.
fn line(form: &str, decoder: &Decoder, case: Case) {
    let Case {
        prompts,
        samples,
        prompt_tokens,
        tokens,
        slots_per_thread,
        cache_mb,
    } = case;
    let settings = Arc::new(Settings::new(tokens, &[], 0));
    let queue = Queue::default();
    for number in 0..prompts {
        let request = Request {
            key: number.to_string(),
            prompt: prompt(number, prompt_tokens),
            samples,
            ..Request::default()
        };
        decoder.check(&request, &settings).unwrap();
        let settings = Arc::clone(&settings);
        queue.push(Task {
            request,
            settings,
            tag: (),
        });
    }
    queue.close();
    let limits = Limits {
        slots_per_thread,
        cache_bytes: cache_mb << 20,
    };
    let before = processor_s();
    let peak = decoder
        .serve(&queue, limits, &|(), _, _| ControlFlow::Continue(()))
        .unwrap();
    let rate = (prompts * samples * tokens) as f64 / (processor_s() - before);
    println!(
        "| {form} | {:.1} | {prompts} | {samples} | {prompt_tokens} | {slots_per_thread} | {cache_mb} \
         | {:.1} | {rate:.0} |",
        decoder.weight_bytes() as f64 / 1e6,
        peak as f64 / f64::from(1 << 20),
    );
}

/// A model of one's own, in every form, with few and many sequences a thread.
fn forms(model: &Path, sequences: usize) {
    println!("{HEAD}");
    for form in FORMS {
        let Checkpoint { config, parameters } = if model.is_dir() {
            Checkpoint::load(model).unwrap()
        } else {
            gguf::load(model).unwrap()
        };
        let decoder = decoder(config, &parameters, form);
        for slots_per_thread in [1, 6, 32] {
            let most = slots_per_thread * rayon::current_num_threads();
            let case = Case {
                samples: sequences.min(most),
                tokens: 32,
                slots_per_thread,
                ..USUAL
            };
            line(form, &decoder, case);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["write", folder, ..] => return write(Path::new(folder)),
        ["worker", folder, form] => return worker(Path::new(folder), form),
        ["forms", model, sequences, ..] => {
            return forms(Path::new(model), sequences.parse().unwrap());
        }
        _ => {}
    }
    let parameters = Parameters::init(&config(), 0);
    let in_form = |form: &str| decoder(config(), &parameters, form);
    let more = |case: Case, form: &str| line(form, &in_form(form), case);
    println!("{HEAD}");
    for form in FORMS {
        for slots_per_thread in [1, 6, 32] {
            let case = Case {
                slots_per_thread,
                ..USUAL
            };
            more(case, form);
        }
    }
    // Against n: as many sequences, of fewer and fewer prompts.
    for (prompts, samples) in [(256, 1), (64, 4), (16, 16), (4, 64), (1, 256), (1, 1024)] {
        let case = Case {
            prompts,
            samples,
            ..USUAL
        };
        more(case, "f32");
    }
    // Against context.
    for prompt_tokens in [16, 256, 512, 1024] {
        let case = Case {
            prompt_tokens,
            ..USUAL
        };
        more(case, "f32");
        more(case, "int8");
    }
    // Against memory.
    for cache_mb in [64, 32, 16, 8, 4] {
        let case = Case { cache_mb, ..USUAL };
        more(case, "f32");
    }
}
