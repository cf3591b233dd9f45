//! The steps of `iota debug bench-step`: made once, done again and again.
//!
//! Token ids are made up and the same on both sides of a comparison: `(i i + 31 s) mod V` for token
//! `i` of sequence `s`, 3 added to keep clear of special tokens.

use super::{BenchStepArgs, Kind};
use anyhow::Result;
use model::{
    batch::Batch,
    checkpoint::Checkpoint,
    config::{Architecture, Config},
    device::Device,
    generate::{Decoder, Limits, Request, Settings},
    network::{Network, Workspace},
    optimizer::AdamWConfig,
    parameters::Parameters,
};
use std::ops::ControlFlow;
use train::{
    dpo::{
        loss::{Options as DpoOptions, Variant},
        objective::{Judged, Preference},
    },
    pairs::Pair,
    ppo::{
        loss::Options as PpoOptions,
        rollout::{Models, Rollout, add_value_head, is_value_head},
        scorer::Scorer,
        update::{Cut, accumulate},
    },
    settings::place,
    trainer::Trainer,
    training_loop::Objective,
    tuning::{Lora, Pass, Train, Tuned},
};

/// What a step came to.
pub(super) struct Done {
    pub(super) loss: f64,
    /// Tokens that passed the network, or that were drawn.
    pub(super) tokens: usize,
}

/// Something that can be done again and again.
type Step<'a> = Box<dyn FnMut() -> Result<Done> + 'a>;

/// Floating-point operations of a step: 2 per weight and token forward, 4 backward (2 if the
/// weights are frozen), and those of attention's products, the causal half of them.
pub(super) fn flops(args: &BenchStepArgs, config: &Config) -> f64 {
    let shapes = model::parameters::shapes(config);
    let weights: usize = shapes
        .iter()
        .filter(|(name, shape)| shape.len() == 2 && !name.contains("embed_tokens"))
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    let head = if config.tied {
        config.vocab_size * config.hidden_size
    } else {
        0
    };
    let (length, passes, sequences) = match args.kind {
        Kind::Sft => (args.tokens, 3.0, args.sequences),
        Kind::Dpo => (args.tokens + args.new_tokens, 2.0, 2 * args.sequences),
        // Policy, reference and reward model.
        Kind::PpoScore => (args.tokens + args.new_tokens, 3.0, args.sequences),
        Kind::PpoUpdate => (args.tokens + args.new_tokens, 2.0, args.sequences),
        Kind::Sample => (args.tokens + args.new_tokens, 1.0, args.sequences),
    };
    let products = 2.0 * (weights + head) as f64 * length as f64;
    // Q Kᵀ and P V; backward has five such products for two.
    let attention = 2.0 * (config.layers * config.query_width()) as f64 * (length * length) as f64;
    let attention_passes = match args.kind {
        Kind::Sft | Kind::Dpo | Kind::PpoUpdate => 3.5,
        Kind::PpoScore => 3.0,
        Kind::Sample => 1.0,
    };
    sequences as f64 * (products * passes + attention * attention_passes)
}

/// Bytes of weights, moments, keys and values that a step reads and writes at the least, in bf16
/// with f32 masters; activations, which a larger cache might keep, are not counted.
pub(super) fn bytes(args: &BenchStepArgs, config: &Config) -> f64 {
    let shapes = model::parameters::shapes(config);
    let weights: usize = shapes
        .values()
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    let weights = weights as f64;
    match args.kind {
        // Read forward and backward (4); the gradient written, and read by norm and update (12);
        // moments and masters read and written (24); the working copy written (2).
        Kind::Sft => 42.0 * weights,
        // The frozen weights, forward and backward.
        Kind::Dpo | Kind::PpoUpdate => 4.0 * weights,
        // Those of policy, reference and reward model.
        Kind::PpoScore => 6.0 * weights,
        // Weights at every step, for all sequences together, and each one's keys and values.
        Kind::Sample => {
            let (prompt, new) = (args.tokens as f64, args.new_tokens as f64);
            let position = (2 * 2 * config.layers * config.kv_heads * config.head_dim) as f64;
            let read = new * prompt + new * (new - 1.0) / 2.0;
            2.0 * weights * (new + 1.0) + args.sequences as f64 * position * read
        }
    }
}

fn ids(config: &Config, sequence: usize, length: usize) -> Vec<u32> {
    let vocabulary = config.vocab_size - 3;
    (0..length)
        .map(|i| (3 + (i * i + 31 * sequence) % vocabulary) as u32)
        .collect()
}

/// Makes weights and data, and places them.
pub(super) fn prepare<'a>(
    args: &'a BenchStepArgs,
    config: &'a Config,
    device: Option<&'a Device>,
) -> Result<Step<'a>> {
    match args.kind {
        Kind::Sft => sft(args, config, device),
        Kind::Dpo => dpo(args, config, device),
        Kind::PpoScore | Kind::PpoUpdate => ppo(args, config, device),
        Kind::Sample => sample(args, config, device),
    }
}

fn workspace(args: &BenchStepArgs) -> Workspace {
    Workspace::with(args.precision, args.recompute)
}

fn sft<'a>(args: &'a BenchStepArgs, config: &Config, device: Option<&Device>) -> Result<Step<'a>> {
    let parameters = place(Parameters::init(config, 0), device, args.precision)?;
    let mut trainer = Trainer::new(parameters, |_| true, AdamWConfig::default(), 1.0);
    let network = Network::new(config.clone());
    let mut workspace = workspace(args);
    let mut batch = Batch::new();
    for sequence in 0..args.sequences {
        let ids = ids(config, sequence, args.tokens);
        batch.push_completion(&ids[..1], &ids[1..])?;
    }
    Ok(Box::new(move || {
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let scale = 1.0 / batch.target_count() as f64;
        network.train_nll_later(&*parameters, gradients, &batch, scale, &mut workspace)?;
        trainer.update(1e-5)?;
        let nll = network.nll_so_far(&mut workspace)?;
        Ok(Done {
            loss: nll.sum / nll.tokens as f64,
            tokens: batch.len(),
        })
    }))
}

/// A network with a fresh adapter of rank 32.
fn adapted(args: &BenchStepArgs, config: &Config, parameters: &mut Parameters) -> Result<Tuned> {
    let lora = Lora::default();
    let mut tuned = Train::Adapter.begin(&lora, true, &[], config.clone(), parameters, 0)?;
    tuned.workspace = workspace(args);
    Ok(tuned)
}

fn dpo<'a>(args: &'a BenchStepArgs, config: &Config, device: Option<&Device>) -> Result<Step<'a>> {
    let mut parameters = Parameters::init(config, 0);
    let tuned = adapted(args, config, &mut parameters)?;
    let parameters = place(parameters, device, args.precision)?;
    let options = DpoOptions {
        variant: Variant::Sigmoid,
        beta: 1.0,
        label_smoothing: 0.0,
        nll_weight: 0.0,
    };
    let names = parameters.tensors.keys();
    let trained: Vec<String> = names.filter(|name| tuned.trains(name)).cloned().collect();
    let mut objective = Preference::new(tuned, options, args.sequences);
    let pairs: Vec<Pair> = (0..args.sequences)
        .map(|pair| Pair {
            prompt: ids(config, 3 * pair, args.tokens),
            chosen: ids(config, 3 * pair + 1, args.new_tokens),
            rejected: ids(config, 3 * pair + 2, args.new_tokens),
            ..Pair::default()
        })
        .collect();
    let reference = objective.log_probs(&parameters, &pairs, Pass::Base)?;
    objective.set_pairs(Judged { pairs, reference }, Judged::default());
    let trains = |name: &str| trained.iter().any(|own| own == name);
    let mut trainer = Trainer::new(parameters, trains, AdamWConfig::default(), 1.0);
    let items: Vec<Vec<u32>> = (0..args.sequences as u32).map(|item| vec![item]).collect();
    let mut update = 0;
    Ok(Box::new(move || {
        update += 1;
        objective.begin_update(update, &items);
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let scale = 1.0 / items.len() as f64;
        let sums = objective.accumulate(parameters, gradients, &items, scale)?;
        trainer.update(1e-6)?;
        Ok(Done {
            loss: sums["loss"] * scale,
            tokens: 2 * items.len() * (args.tokens + args.new_tokens),
        })
    }))
}

fn ppo<'a>(args: &'a BenchStepArgs, config: &Config, device: Option<&Device>) -> Result<Step<'a>> {
    let mut parameters = Parameters::init(config, 0);
    let mut policy = adapted(args, config, &mut parameters)?;
    add_value_head(&mut parameters, config.hidden_size);
    let parameters = place(parameters, device, args.precision)?;
    let trains = |name: &str| policy.trains(name) || is_value_head(name);
    let mut trainer = Trainer::new(parameters, trains, AdamWConfig::default(), 1.0);
    let mut rows: Vec<Rollout> = (0..args.sequences)
        .map(|row| Rollout {
            prompt_ids: ids(config, 2 * row, args.tokens),
            token_ids: ids(config, 2 * row + 1, args.new_tokens),
            sampler_log_probs: vec![0.0; args.new_tokens],
            advantages: (0..args.new_tokens).map(|i| (i % 7) as f32 - 3.0).collect(),
            returns: (0..args.new_tokens).map(|i| (i % 5) as f32 - 2.0).collect(),
            ..Rollout::default()
        })
        .collect();
    let scored = Config {
        architecture: Architecture::LlamaScore,
        tied: false,
        ..config.clone()
    };
    let parameters = place(Parameters::init(&scored, 1), device, args.precision)?;
    let model = Checkpoint {
        config: scored,
        parameters,
    };
    let mut scorer = Scorer::new(model, AdamWConfig::default());
    scorer.tuned.workspace = workspace(args);
    let tokens = args.sequences * (args.tokens + args.new_tokens);
    let mut look = move |rows: &mut [Rollout], policy: &mut Tuned, parameters: &Parameters| {
        let mut models = Models {
            policy,
            parameters,
            reference: None,
            scorer: &mut scorer,
            temperature: 1.0,
        };
        models.look_at(rows)
    };
    if args.kind == Kind::PpoScore {
        return Ok(Box::new(move || {
            let loss = look(&mut rows, &mut policy, &trainer.parameters)?;
            Ok(Done { loss, tokens })
        }));
    }
    look(&mut rows, &mut policy, &trainer.parameters)?;
    Ok(Box::new(move || {
        let programs: Vec<&Rollout> = rows.iter().collect();
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let cut = Cut {
            rows: programs.len(),
            temperature: 1.0,
        };
        let options = PpoOptions::default();
        let (sums, _) = accumulate(
            &mut policy,
            parameters,
            gradients,
            None,
            &programs,
            &options,
            cut,
        )?;
        trainer.update(1.4e-5)?;
        Ok(Done {
            loss: sums.total / sums.tokens.max(1.0),
            tokens,
        })
    }))
}

fn sample<'a>(
    args: &'a BenchStepArgs,
    config: &'a Config,
    device: Option<&Device>,
) -> Result<Step<'a>> {
    let parameters = place(Parameters::init(config, 0), device, args.precision)?;
    let decoder = Decoder::new(&Network::new(config.clone()), &parameters);
    let limits = Limits {
        slots_per_thread: args.sequences,
        cache_bytes: 64 << 30,
    };
    let mut seed = 0;
    Ok(Box::new(move || {
        seed += 1;
        let requests: Vec<Request> = (0..args.sequences)
            .map(|sequence| Request {
                key: format!("{sequence}"),
                prompt: ids(config, sequence, args.tokens),
                samples: 1,
                ..Request::default()
            })
            .collect();
        let settings = Settings::new(args.new_tokens, &[], seed);
        let go_on = |_: &model::generate::Sample| ControlFlow::Continue(());
        let drawn = decoder.generate(&requests, &settings, limits, &go_on)?;
        let tokens: usize = drawn.iter().map(|sample| sample.tokens.len()).sum();
        let log_probs = drawn.iter().flat_map(|sample| &sample.log_probs);
        let sum: f64 = log_probs.map(|&log_prob| f64::from(log_prob)).sum();
        Ok(Done {
            loss: -sum / tokens as f64,
            tokens,
        })
    }))
}
