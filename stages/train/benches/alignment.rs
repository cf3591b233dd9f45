//! How fast an update of DPO is, and an update and a scoring pass of PPO.
//!
//! `cargo bench -p iota -p train --bench alignment` prints all for a model of 4 layers of 256.
//! `scripts/bench-alignment` runs the same steps in turns with TRL and PyTorch: it starts this
//! program with `worker KIND`, which does one step per line on its standard input and answers each
//! with one line of JSON. DPO: four pairs of 128 + 128 tokens, adapter of rank 32, the reference
//! computed in the step (`dpo`) or before it, as our stage does (`dpo-cached`). PPO: eight programs
//! of 128 + 128 tokens; `ppo-update` trains every weight, for `ppo-score` policy with critic,
//! reference and reward model look at them.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::BufRead;
use std::time::Instant;

use model::checkpoint::Checkpoint;
use model::config::{Architecture, Config, RopeScaling};
use model::optimizer::AdamWConfig;
use model::parameters::Parameters;
use train::dpo::loss::{Options as DpoOptions, Variant};
use train::dpo::objective::{Judged, Preference};
use train::pairs::Pair;
use train::ppo::loss::Options as PpoOptions;
use train::ppo::rollout::{Models, Rollout, add_value_head};
use train::ppo::scorer::Scorer;
use train::ppo::update::{Cut, accumulate};
use train::trainer::Trainer;
use train::training_loop::Objective;
use train::tuning::{Lora, Pass, Train, Tuned};

const KINDS: [&str; 4] = ["dpo", "dpo-cached", "ppo-update", "ppo-score"];
const PAIRS: usize = 4;
const PROGRAMS: usize = 8;
/// Tokens of a prompt, and of an answer.
const HALF: usize = 128;
const VOCABULARY: usize = 2048;

fn config(architecture: Architecture) -> Config {
    Config {
        architecture,
        vocab_size: VOCABULARY,
        hidden_size: 256,
        intermediate_size: 688,
        layers: 4,
        heads: 4,
        kv_heads: 4,
        head_dim: 64,
        rms_norm_eps: 1e-6,
        rope_theta: 1e5,
        rope_scaling: RopeScaling::Linear { factor: 4.0 },
        max_positions: 1024,
        tied: false,
        initializer_range: 0.02,
        bos_token: None,
        eos_tokens: vec![],
        pad_token: None,
    }
}

fn ids(row: usize) -> Vec<u32> {
    (0..HALF)
        .map(|i| (3 + (i * i + 31 * row) % (VOCABULARY - 3)) as u32)
        .collect()
}

/// Something that can be done again and again; returns what it makes of the loss.
type Step = Box<dyn FnMut() -> f64>;

fn dpo(cached: bool) -> Step {
    let config = config(Architecture::Llama);
    let mut parameters = Parameters::init(&config, 0);
    let tuned = Train::Adapter
        .begin(&Lora::default(), true, &[], config, &mut parameters, 0)
        .unwrap();
    let names = parameters.tensors.keys();
    let trained: Vec<String> = names.filter(|name| tuned.trains(name)).cloned().collect();
    let options = DpoOptions {
        variant: Variant::Sigmoid,
        beta: 1.0,
        label_smoothing: 0.0,
        nll_weight: 0.0,
    };
    let mut objective = Preference::new(tuned, options, PAIRS);
    let pairs: Vec<Pair> = (0..PAIRS)
        .map(|pair| Pair {
            prompt: ids(3 * pair),
            chosen: ids(3 * pair + 1),
            rejected: ids(3 * pair + 2),
            ..Pair::default()
        })
        .collect();
    let trains = |name: &str| trained.iter().any(|own| own == name);
    let mut trainer = Trainer::new(parameters, trains, AdamWConfig::default(), 1.0);
    let items: Vec<Vec<u32>> = (0..PAIRS as u32).map(|item| vec![item]).collect();
    let reference = objective
        .log_probs(&trainer.parameters, &pairs, Pass::Base)
        .unwrap();
    let judged = Judged { pairs, reference };
    objective.set_pairs(judged.clone(), Judged::default());
    let mut update = 0;
    Box::new(move || {
        if !cached {
            let reference = objective
                .log_probs(&trainer.parameters, &judged.pairs, Pass::Base)
                .unwrap();
            std::hint::black_box(reference);
        }
        update += 1;
        objective.begin_update(update, &items);
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let sums = objective
            .accumulate(parameters, gradients, &items, 1.0 / PAIRS as f64)
            .unwrap();
        trainer.update(1e-6).unwrap();
        sums["loss"] / PAIRS as f64
    })
}

fn rollouts() -> Vec<Rollout> {
    (0..PROGRAMS)
        .map(|row| Rollout {
            prompt_ids: ids(2 * row),
            token_ids: ids(2 * row + 1),
            sampler_log_probs: vec![0.0; HALF],
            advantages: (0..HALF).map(|i| (i % 7) as f32 - 3.0).collect(),
            returns: (0..HALF).map(|i| (i % 5) as f32 - 2.0).collect(),
            ..Rollout::default()
        })
        .collect()
}

fn ppo(update: bool) -> Step {
    let config = config(Architecture::Llama);
    let mut parameters = Parameters::init(&config, 0);
    let reference = parameters.clone();
    add_value_head(&mut parameters, config.hidden_size);
    let mut policy = Tuned::new(config, &parameters, None, 0);
    let mut trainer = Trainer::new(parameters, |_| update, AdamWConfig::default(), 1.0);
    let config = self::config(Architecture::LlamaScore);
    let parameters = Parameters::init(&config, 1);
    let mut scorer = Scorer::new(Checkpoint { config, parameters }, AdamWConfig::default());
    let mut rows = rollouts();
    let mut look = move |rows: &mut [Rollout], policy: &mut Tuned, parameters: &Parameters| {
        let mut models = Models {
            policy,
            parameters,
            reference: Some(&reference),
            scorer: &mut scorer,
            temperature: 1.0,
        };
        models.look_at(rows).unwrap()
    };
    if !update {
        return Box::new(move || look(&mut rows, &mut policy, &trainer.parameters));
    }
    look(&mut rows, &mut policy, &trainer.parameters);
    Box::new(move || {
        let programs: Vec<&Rollout> = rows.iter().collect();
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut trainer;
        let cut = Cut {
            rows: PROGRAMS,
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
        )
        .unwrap();
        trainer.update(1.4e-5).unwrap();
        sums.total / sums.tokens
    })
}

fn step(kind: &str) -> Step {
    match kind {
        "dpo" => dpo(false),
        "dpo-cached" => dpo(true),
        "ppo-update" => ppo(true),
        "ppo-score" => ppo(false),
        _ => panic!("the kinds are {}, not {kind}", KINDS.join(", ")),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    if let [word, kind] = &arguments[..]
        && word == "worker"
    {
        let mut step = step(kind);
        println!("{{}}");
        for line in std::io::stdin().lock().lines() {
            assert_eq!(line.unwrap(), "step");
            let clock = Instant::now();
            let loss = step();
            let wall_s = clock.elapsed().as_secs_f64();
            println!("{{\"loss\": {loss}, \"wall_s\": {wall_s}}}");
        }
        return;
    }
    println!("| step on 8 sequences of 256 tokens | ms, best of 5 |\n|---|---:|");
    for kind in KINDS {
        let mut step = step(kind);
        step();
        let mut best_s = f64::INFINITY;
        for _ in 0..5 {
            let clock = Instant::now();
            step();
            best_s = best_s.min(clock.elapsed().as_secs_f64());
        }
        println!("| {kind} | {:.1} |", 1e3 * best_s);
    }
}
