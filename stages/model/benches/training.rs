//! How fast a training step is (forward, backward, clipping, AdamW), and how near each of its
//! matrix products comes to what the cores could do.
//!
//! `cargo bench -p iota -p model --bench training` prints both for two models at 8 sequences of
//! 512 tokens. `scripts/bench-training` runs the same steps in turns with PyTorch: it starts this
//! program with `worker SIZE FOLDER FORM`, which writes the model into the folder for the other side,
//! does one step per line on its standard input, and answers each with one line of JSON.
//! FORM is `f32` or `bf16`, with `+recompute` behind it for blocks computed again.
//! Processor time is that of all threads (10 ms ticks): a busy machine disturbs it less than the
//! clock.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::config::{Architecture, Config, RopeScaling};
use model::network::{Network, Workspace};
use model::ops::linear;
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;
use model::precision::Precision;

const SEQUENCES: usize = 8;
const TOKENS: usize = 512;
const VOCABULARY: usize = 2048;
const SIZES: [&str; 2] = ["256x4", "512x8"];

fn config(size: &str) -> Config {
    let (hidden, layers, heads, inner) = match size {
        "256x4" => (256, 4, 4, 688),
        "512x8" => (512, 8, 8, 1376),
        _ => panic!("the sizes are {}, not {size}", SIZES.join(", ")),
    };
    Config {
        architecture: Architecture::Llama,
        vocab_size: VOCABULARY,
        hidden_size: hidden,
        intermediate_size: inner,
        layers,
        heads,
        kv_heads: heads,
        head_dim: hidden / heads,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::Linear { factor: 4.0 },
        max_positions: 2048,
        tied: false,
        initializer_range: 0.02,
        bos_token: None,
        eos_tokens: vec![],
        pad_token: None,
    }
}

/// A model and all that a step changes.
struct Training {
    network: Network,
    parameters: Parameters,
    gradients: Parameters,
    optimizer: AdamW,
    workspace: Workspace,
    batch: Batch,
}

/// Buffers for a form such as `bf16+recompute`.
fn workspace(form: &str) -> Workspace {
    let (precision, recomputes) = match form.strip_suffix("+recompute") {
        Some(precision) => (precision, true),
        None => (form, false),
    };
    let precision = match precision {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        _ => panic!("the forms are f32 and bf16, not {precision}"),
    };
    Workspace::with(precision, recomputes)
}

impl Training {
    fn new(config: Config, form: &str) -> Self {
        let parameters = Parameters::init(&config, 0);
        let gradients = parameters.zeros_like();
        let mut batch = Batch::new();
        for sequence in 0..SEQUENCES {
            let ids: Vec<u32> = (0..TOKENS)
                .map(|i| ((i * i + 31 * sequence) % VOCABULARY) as u32)
                .collect();
            batch.push_completion(&[], &ids).unwrap();
        }
        Self {
            network: Network::new(config),
            optimizer: AdamW::new(AdamWConfig::default(), &gradients),
            parameters,
            gradients,
            workspace: workspace(form),
            batch,
        }
    }

    /// One update; returns the mean loss before it.
    fn step(&mut self) -> f64 {
        let tokens = self.batch.target_count() as f64;
        self.gradients.zero();
        let nll = self
            .network
            .train_nll(
                &self.parameters,
                &mut self.gradients,
                &self.batch,
                1.0 / tokens,
                &mut self.workspace,
            )
            .unwrap();
        let clip = clip_coefficient(gradient_norm(&self.gradients), 1.0);
        self.optimizer
            .update(&mut self.parameters, &self.gradients, 1e-3, clip);
        nll.sum / tokens
    }
}

/// Processor seconds of all threads so far.
fn processor_s() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|t| t.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Nanoseconds that the calling thread has been on a core.
fn thread_ns() -> f64 {
    let stat = fs_err::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// A line of `/proc/self/status` in bytes: `VmRSS`, `VmHWM` (the peak).
fn memory_bytes(line: &str) -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kib: u64 = found.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Wall and processor seconds of `work`.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (clock, before) = (Instant::now(), processor_s());
    let result = work();
    (
        result,
        clock.elapsed().as_secs_f64(),
        processor_s() - before,
    )
}

fn worker(size: &str, folder: &Path, form: &str) {
    let config = config(size);
    let parameters = Parameters::init(&config, 0);
    Checkpoint { config, parameters }
        .save(folder, None)
        .unwrap();
    let before_bytes = memory_bytes("VmRSS");
    let mut training = Training::new(self::config(size), form);
    println!("{{}}");
    for line in std::io::stdin().lock().lines() {
        assert_eq!(line.unwrap(), "step");
        let (loss, wall_s, processor_s) = timed(|| training.step());
        let peak_bytes = memory_bytes("VmHWM");
        println!(
            "{{\"loss\": {loss}, \"wall_s\": {wall_s}, \"processor_s\": {processor_s}, \
             \"peak_bytes\": {peak_bytes}, \"before_bytes\": {before_bytes}}}"
        );
    }
}

/// Fused multiply-adds in registers alone, in GFLOP/s: what one core could do at most.
#[cfg(target_arch = "x86_64")]
fn peak_gflops() -> f64 {
    use std::arch::x86_64::{__m256, _mm256_fmadd_ps, _mm256_set1_ps};
    const CHAINS: usize = 12;
    const ROUNDS: usize = 1 << 22;
    #[target_feature(enable = "avx2,fma")]
    fn multiply_add() -> [__m256; CHAINS] {
        let factor = std::hint::black_box(_mm256_set1_ps(0.999));
        let mut sums = [_mm256_set1_ps(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        sums
    }
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return f64::NAN;
    }
    gflops(ROUNDS * CHAINS * 16, || {
        #[allow(unsafe_code)]
        // SAFETY: the processor was just seen to have both features.
        std::hint::black_box(unsafe { multiply_add() });
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gflops() -> f64 {
    f64::NAN
}

/// The best rate of `work` on one thread, in GFLOP/s of processor time.
fn gflops(flops: usize, mut work: impl FnMut()) -> f64 {
    // The kernel's account of processor time moves every few milliseconds.
    const LEAST_NS: f64 = 1e8;
    work();
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let (start, mut done, mut spent_ns) = (thread_ns(), 0, 0.0);
        while spent_ns < LEAST_NS {
            work();
            done += flops;
            spent_ns = thread_ns() - start;
        }
        best = best.max(done as f64 / spent_ns);
    }
    best
}

fn products(size: &str) {
    let config = config(size);
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    // A quarter of the tokens: the rate is the same.
    let rows = SEQUENCES * TOKENS / 4;
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let peak = peak_gflops();
    let precision = Precision::F32;
    println!(
        "\n| product, {size}, one core of {peak:.0} GFLOP/s | `y = x Wᵀ` | `dx = dy W` | `dW += dyᵀ x` |"
    );
    println!("|---|---:|---:|---:|");
    for (name, inputs, outputs) in [
        ("q, k, v, o", hidden, hidden),
        ("gate, up", hidden, inner),
        ("down", inner, hidden),
        ("head", hidden, VOCABULARY),
    ] {
        let x = vec![0.5_f32; rows * inputs];
        let mut dx = x.clone();
        let mut y = vec![0.5_f32; rows * outputs];
        let weight = vec![0.01_f32; outputs * inputs];
        let mut d_weight = weight.clone();
        let flops = 2 * rows * inputs * outputs;
        let rates = one.install(|| {
            let forward = gflops(flops, || {
                linear::forward(&mut y, false, &x, &weight, inputs, precision);
            });
            let input = gflops(flops, || {
                linear::backward_input(&mut dx, false, &y, &weight, inputs, precision);
            });
            let weight = gflops(flops, || {
                linear::backward_weight(&mut d_weight, &y, &x, inputs, precision);
            });
            [forward, input, weight]
        });
        let cells = rates.map(|rate| format!("{rate:.0} ({:.0} %)", 100.0 * rate / peak));
        println!(
            "| {name}: [{rows}, {inputs}] x [{outputs}, {inputs}] | {} |",
            cells.join(" | ")
        );
    }
}

fn steps(size: &str, count: usize, form: &str) {
    let mut training = Training::new(config(size), form);
    training.step();
    let tokens = training.batch.len() as f64;
    let (mut best_wall_s, mut best_processor_s) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..count {
        let (_, wall_s, processor_s) = timed(|| training.step());
        best_wall_s = best_wall_s.min(wall_s);
        best_processor_s = best_processor_s.min(processor_s);
    }
    println!(
        "| {size}, {form} | {} | {:.0} | {:.0} | {:.0} |",
        training.parameters.count(),
        tokens / best_wall_s,
        tokens / best_processor_s,
        memory_bytes("VmHWM") as f64 / 1e6
    );
}

fn main() {
    // Inside the pool, as the training stages: a thread outside would be woken for every operation.
    let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
    pool.install(run);
}

fn run() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", size, folder, form] => worker(size, Path::new(folder), form),
        // For a profiler, and for the peak of memory.
        ["steps", size, count, form] => steps(size, count.parse().unwrap(), form),
        ["products", size] => products(size),
        _ => {
            println!(
                "| model | parameters | tokens/s, best step | tokens per processor second | peak MB so far |"
            );
            println!("|---|---:|---:|---:|---:|");
            for size in SIZES {
                steps(size, 5, "f32");
                steps(size, 5, "bf16");
            }
            SIZES.into_iter().for_each(products);
        }
    }
}
