//! `iota debug bench-step`: how long a step takes, on a model with random weights of a true shape.
//!
//! Asked by `scripts/bench-gpu`, which runs the same step in PyTorch beside it. What is timed is what
//! the stages do: the objectives, the trainer, the sampler; only data and weights are made up. A
//! step ends when its loss has reached the host, so nothing is left running on a device.

mod steps;

use crate::{commands::say, exit::Exit};
use clap::{Args, ValueEnum};
use model::{
    config::{Architecture, Config, RopeScaling},
    device::{self, Choice},
    precision::Precision,
};
use std::time::Instant;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Every weight: forward, backward, clipping, AdamW.
    Sft,
    /// An adapter of rank 32, the reference known before.
    Dpo,
    /// Policy with critic, reference and reward model look at programs.
    PpoScore,
    /// An update of adapter and critic from programs.
    PpoUpdate,
    /// Programs of one prompt each.
    Sample,
}

/// The shapes that are known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// DeepSeek-Coder 1.3B, the paper's.
    #[value(name = "1.3b")]
    Paper,
    /// SmolLM2-135M.
    #[value(name = "135m")]
    Small,
    /// Two blocks of 64; to try the command.
    Tiny,
}

/// Prints one line of JSON a step, then one with medians.
#[derive(Debug, Args)]
pub(super) struct BenchStepArgs {
    /// What is timed.
    #[arg(long)]
    kind: Kind,
    /// The model's shape.
    #[arg(long, default_value = "1.3b")]
    shape: Shape,
    /// Sequences of a step; for `dpo`, pairs.
    #[arg(long, default_value_t = 1)]
    pub(super) sequences: usize,
    /// Tokens of a sequence; for `dpo`, `ppo-*` and `sample`, of the prompt.
    #[arg(long, default_value_t = 4096)]
    pub(super) tokens: usize,
    /// New tokens of a program or an answer.
    #[arg(long, default_value_t = 512)]
    pub(super) new_tokens: usize,
    /// Timed steps; one more goes before them.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// f32 or bf16.
    #[arg(long, default_value = "bf16", value_parser = precision)]
    pub(super) precision: Precision,
    /// Computes activations again.
    #[arg(long)]
    pub(super) recompute: bool,
    /// Waits after every call on the device and says how long each took.
    #[arg(long)]
    per_op: bool,
}

fn precision(text: &str) -> Result<Precision, String> {
    match text {
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        _ => Err("there are f32 and bf16".to_owned()),
    }
}

impl Shape {
    fn config(self) -> Config {
        let (vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, head_dim) =
            match self {
                Self::Paper => (32_256, 2048, 5504, 24, 16, 16, 128),
                Self::Small => (49_152, 576, 1536, 30, 9, 3, 64),
                Self::Tiny => (512, 64, 160, 2, 4, 2, 16),
            };
        Config {
            architecture: Architecture::Llama,
            vocab_size,
            hidden_size,
            intermediate_size,
            layers,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: 1e-6,
            rope_theta: 1e5,
            rope_scaling: RopeScaling::None,
            max_positions: 16_384,
            tied: self == Self::Small,
            initializer_range: 0.02,
            bos_token: None,
            eos_tokens: Vec::new(),
            pad_token: None,
        }
    }
}

pub(super) fn bench_step(choice: Choice, args: &BenchStepArgs) -> anyhow::Result<Exit> {
    device::catching(|| run(choice, args))
}

fn run(choice: Choice, args: &BenchStepArgs) -> anyhow::Result<Exit> {
    let opened = choice.open()?;
    if let Some(note) = opened.note {
        anstream::eprintln!("iota: {note}");
    }
    let config = args.shape.config();
    let (device, op_times) = if args.per_op {
        device::timed(opened.device)
    } else {
        (opened.device, None)
    };
    let mut step = steps::prepare(args, &config, device.as_ref())?;
    let (mut times, mut tokens) = (Vec::new(), 0);
    for number in 0..=args.steps {
        let clock = Instant::now();
        let done = step()?;
        let wall_s = clock.elapsed().as_secs_f64();
        tokens = done.tokens;
        if number > 0 {
            times.push(wall_s);
        } else if let Some(times) = &op_times {
            times.forget();
        }
        say!(
            "{}",
            serde_json::json!({"step": number, "wall_s": wall_s, "tokens": tokens, "loss": done.loss})
        );
    }
    times.sort_by(f64::total_cmp);
    let median_s = times.get(times.len() / 2).copied();
    let memory = device.as_ref().map(device::memory).transpose()?;
    let per_op: Option<Vec<_>> = op_times.map(|times| {
        let steps = args.steps.max(1) as f64;
        let spent = times.so_far().into_iter().map(|spent| {
            serde_json::json!({
                "name": spent.name,
                "calls": spent.calls as f64 / steps,
                "wall_s": spent.wall_s / steps,
                "flops": spent.flops / steps,
            })
        });
        spent.collect()
    });
    let name = device.as_ref().map_or("cpu".to_owned(), device::name);
    say!(
        "{}",
        serde_json::json!({
            "kind": args.kind.to_possible_value().map(|value| value.get_name().to_owned()),
            "device": name,
            "median_s": median_s,
            "fastest_s": times.first(),
            "slowest_s": times.last(),
            "tokens": tokens,
            "tokens_per_s": median_s.map(|s| tokens as f64 / s),
            "weights": model::parameters::shapes(&config)
                .values()
                .map(|shape| shape.iter().product::<usize>())
                .sum::<usize>(),
            "flops": steps::flops(args, &config),
            "bytes": steps::bytes(args, &config),
            "per_op": per_op,
            "peak_bytes": memory.map(|memory| memory.peak_bytes),
        })
    );
    Ok(Exit::Success)
}
