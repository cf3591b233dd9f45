//! Adapters against PEFT, and what must hold of any adapter.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{Arrays, assert_close, json, load, pack, path};
use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::generate::{Decoder, Limits, Request, Sampling, Settings};
use model::lora::{self, Adapter, DropoutDraw, LoraConfig, Targets};
use model::network::{Network, Workspace};
use model::optimizer::gradient_norm;
use model::parameters::{Parameters, fill_normal};
use model::weights::Weights;

const VARIANTS: [&str; 3] = ["all_linear", "all_linear_plus_lm_head", "all_linear_rslora"];

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// Logits of a padded batch at its real tokens, against those stored for the first rows.
#[track_caller]
fn assert_logits(
    what: &str,
    logits: &[f32],
    places: &[(usize, usize)],
    columns: usize,
    expected: &[f32],
    vocab: usize,
) {
    let rows = expected.len() / (columns * vocab);
    let mut compared = 0;
    for (token, &(row, column)) in places.iter().enumerate() {
        if row < rows {
            let at = (row * columns + column) * vocab;
            let found = &logits[token * vocab..][..vocab];
            assert_close(what, found, &expected[at..][..vocab], 1e-4);
            compared += 1;
        }
    }
    assert!(compared > 10, "{what}: {compared} tokens compared");
}

#[test]
fn peft_folders_give_pefts_numbers() {
    let facts = json("lora/lora.json");
    for variant in VARIANTS {
        let (network, mut parameters) = load("llama_ds");
        let base = parameters.clone();
        let folder = path(&format!("lora/{variant}"));
        let adapter = lora::read(&folder, "default", network.config(), &mut parameters).unwrap();
        let expected = &facts["variants"][variant];
        let number = |key: &str| expected[key].as_f64().unwrap();
        assert!((f64::from(adapter.config().scale()) - number("scaling")).abs() < 1e-6);
        let mut gradients = adapter.gradients(&parameters);
        assert_eq!(gradients.count() as u64, expected["trainable_params"]);

        let arrays = Arrays::open(&format!("lora/{variant}.safetensors"));
        let (ids, mask) = (
            arrays.integers("input_ids"),
            arrays.integers("attention_mask"),
        );
        let labels = arrays.integers("labels");
        let (batch, places) = pack(&ids, Some(&mask), Some(&labels));
        let (columns, vocab) = (ids[0].len(), network.config().vocab_size);
        let mut workspace = Workspace::new();

        let on = Weights::adapted(&parameters, &adapter);
        network.forward(on, &batch, &mut workspace).unwrap();
        let logits_on = network.logits(on, &workspace);
        assert_logits(
            "on",
            &logits_on,
            &places,
            columns,
            &arrays.floats("logits_on"),
            vocab,
        );
        network
            .forward(&parameters, &batch, &mut workspace)
            .unwrap();
        let off = network.logits(&parameters, &workspace);
        assert_logits(
            "off",
            &off,
            &places,
            columns,
            &arrays.floats("logits_off"),
            vocab,
        );
        network.forward(&base, &batch, &mut workspace).unwrap();
        assert_eq!(
            off,
            network.logits(&base, &workspace),
            "off is the base to the bit"
        );

        let weight = 1.0 / batch.target_count() as f64;
        let nll = network
            .train_nll(on, &mut gradients, &batch, weight, &mut workspace)
            .unwrap();
        let loss = number("loss_on");
        assert!((nll.sum * weight - loss).abs() < 1e-5 + 1e-5 * loss);
        assert!((gradient_norm(&gradients) / number("grad_total_norm") - 1.0).abs() < 1e-4);
        let mut compared = 0;
        for name in arrays.names() {
            let Some(key) = name.strip_prefix("grad.base_model.model.") else {
                continue;
            };
            let own = key.replace(".weight", ".default.weight");
            let expected = arrays.floats(&name);
            let tolerance = 1e-6 + 1e-3 * largest(&expected);
            assert_close(key, gradients.data(&own), &expected, tolerance);
            compared += 1;
        }
        assert!(compared >= 6);

        let config = network.config().clone();
        let mut merged = Checkpoint { config, parameters };
        let change = adapter.merge(&mut merged);
        assert!(change > 0.0);
        assert!(merged.parameters.tensors.keys().eq(base.tensors.keys()));
        network
            .forward(&merged.parameters, &batch, &mut workspace)
            .unwrap();
        let logits = network.logits(&merged.parameters, &workspace);
        assert_logits(
            "merged",
            &logits,
            &places,
            columns,
            &arrays.floats("logits_merged"),
            vocab,
        );
        assert_close("merged = on", &logits, &logits_on, 1e-4);
        let mut seen = 0.0_f32;
        for (name, tensor) in &merged.parameters.tensors {
            for (a, b) in tensor.data.iter().zip(base.data(name)) {
                seen = seen.max((a - b).abs());
            }
            if arrays.names().contains(&format!("merged.{name}")) {
                let expected = arrays.floats(&format!("merged.{name}"));
                assert_close(name, &tensor.data, &expected, 1e-6);
            }
        }
        assert!(
            (seen - change).abs() < 1e-6,
            "the largest change is reported"
        );
    }
}

fn batch() -> Batch {
    let mut batch = Batch::new();
    for seed in 0..4_u32 {
        let ids: Vec<u32> = (0..9 + 4 * seed)
            .map(|i| (i * i + 17 * seed + 3) % 470)
            .collect();
        batch.push_completion(&ids[..3], &ids[3..]).unwrap();
    }
    batch
}

fn config() -> LoraConfig {
    LoraConfig {
        rank: 3,
        alpha: 5.0,
        targets: Targets::AllLinear { head: true },
        ..LoraConfig::default()
    }
}

/// An adapter that does something: `B` drawn too.
fn attach(
    name: &str,
    config: LoraConfig,
    network: &Network,
    parameters: &mut Parameters,
) -> Adapter {
    let adapter = Adapter::attach(name, config, network.config(), parameters, 7).unwrap();
    for tensor in adapter.tensors().map(str::to_owned).collect::<Vec<_>>() {
        if tensor.contains(".lora_B.") {
            let data = parameters.data_mut(&tensor).unwrap();
            fill_normal(data, 0.05, 7, &tensor);
        }
    }
    adapter
}

fn nll(network: &Network, weights: Weights, batch: &Batch) -> f64 {
    let mut workspace = Workspace::new();
    network
        .evaluate_nll(weights, batch, &mut workspace)
        .unwrap()
        .sum
}

#[test]
fn a_fresh_adapter_changes_nothing_and_is_drawn_as_peft_does() {
    let (network, mut parameters) = load("qwen2");
    let base = parameters.clone();
    let adapter = Adapter::attach("fresh", config(), network.config(), &mut parameters, 1).unwrap();
    let batch = batch();
    let on = nll(&network, Weights::adapted(&parameters, &adapter), &batch);
    assert!((on - nll(&network, (&base).into(), &batch)).abs() < 1e-12);
    for name in adapter.tensors() {
        let tensor = &parameters.tensors[name];
        if name.contains(".lora_B.") {
            assert!(tensor.data.iter().all(|b| *b == 0.0), "{name}");
        } else {
            let bound = 1.0 / (tensor.shape[1] as f32).sqrt();
            let top = largest(&tensor.data);
            assert!(
                top <= bound && top > 0.95 * bound,
                "{name}: {top} of {bound}"
            );
            let mean = tensor.data.iter().sum::<f32>() / tensor.data.len() as f32;
            assert!(mean.abs() < 0.2 * bound, "{name}: mean {mean}");
        }
    }
}

#[test]
fn gradients_of_a_frozen_base_are_slopes_and_reach_every_tensor() {
    for (model, dropout) in [("llama_ds", 0.0), ("llama_gqa", 0.3), ("qwen2", 0.3)] {
        let (network, mut parameters) = load(model);
        let config = LoraConfig {
            dropout,
            ..config()
        };
        let adapter = attach("x", config, &network, &mut parameters);
        let batch = batch();
        let draw = DropoutDraw { seed: 3, pass: 8 };
        let mut gradients = adapter.gradients(&parameters);
        let weights = Weights::adapted(&parameters, &adapter).training(draw);
        network
            .train_nll(weights, &mut gradients, &batch, 1.0, &mut Workspace::new())
            .unwrap();
        let modules = 7 * network.config().layers + 1;
        assert_eq!(gradients.tensors.len(), 2 * modules);
        for (name, tensor) in &gradients.tensors {
            assert!(largest(&tensor.data) > 0.0, "{name} has no gradient");
        }
        // Along one random direction for each kind of factor.
        for kind in [".lora_A.", ".lora_B."] {
            let mut slope = 0.0;
            let mut found = 0.0;
            for sign in [1.0, -1.0] {
                let mut moved = parameters.clone();
                for (name, gradient) in &gradients.tensors {
                    if !name.contains(kind) {
                        continue;
                    }
                    let mut direction = vec![0.0; gradient.data.len()];
                    fill_normal(&mut direction, 1.0, 5, name);
                    let values = moved.data_mut(name).unwrap().iter_mut();
                    for ((value, d), g) in values.zip(&direction).zip(&gradient.data) {
                        *value += sign * 1e-3 * d;
                        found += 0.5 * f64::from(g * d);
                    }
                }
                let weights = Weights::adapted(&moved, &adapter).training(draw);
                slope += f64::from(sign) * nll(&network, weights, &batch) / 2e-3;
            }
            assert!(
                (slope - found).abs() < 1e-2 * slope.abs().max(1.0),
                "{model} {kind}: derivative {found}, slope {slope}"
            );
        }
    }
}

#[test]
fn the_input_gradient_passes_through_adapters() {
    // The embedding's gradient sees every adapted layer on its way.
    let (network, mut parameters) = load("llama_ds");
    let adapter = attach("x", config(), &network, &mut parameters);
    let embedding = "model.embed_tokens.weight";
    let gradient = |network: &Network, weights: Weights| {
        let mut gradients = parameters.zeros_like();
        gradients.tensors.retain(|name, _| name == embedding);
        let mut workspace = Workspace::new();
        network
            .train_nll(weights, &mut gradients, &batch(), 1.0, &mut workspace)
            .unwrap();
        gradients.data(embedding).to_vec()
    };
    let on = gradient(&network, Weights::adapted(&parameters, &adapter));
    let off = gradient(&network, (&parameters).into());
    let mut merged = Checkpoint {
        config: network.config().clone(),
        parameters: parameters.clone(),
    };
    adapter.merge(&mut merged);
    let merged = gradient(&network, (&merged.parameters).into());
    assert_close("merged", &on, &merged, 1e-5 + 1e-4 * largest(&on));
    assert!(
        on.iter()
            .zip(&off)
            .any(|(a, b)| (a - b).abs() > 1e-3 * largest(&on))
    );
}

#[test]
fn dropout_is_a_function_of_its_draw_and_off_at_evaluation() {
    let (network, mut parameters) = load("llama_gqa");
    let config = LoraConfig {
        dropout: 0.5,
        ..config()
    };
    let adapter = attach("x", config, &network, &mut parameters);
    let batch = batch();
    let on = Weights::adapted(&parameters, &adapter);
    let draw = |seed, pass| nll(&network, on.training(DropoutDraw { seed, pass }), &batch);
    assert_eq!(draw(1, 2).to_bits(), draw(1, 2).to_bits());
    assert!((draw(1, 2) - draw(1, 3)).abs() > 1e-3);
    assert!((draw(1, 2) - draw(2, 2)).abs() > 1e-3);
    let evaluated = nll(&network, on, &batch);
    assert!((draw(1, 2) - evaluated).abs() > 1e-3);
    // On average what is added is what is added without dropout.
    let off = nll(&network, (&parameters).into(), &batch);
    let mean = (0..200).map(|pass| draw(1, pass)).sum::<f64>() / 200.0;
    assert!(
        (mean - evaluated).abs() < 0.5 * (off - evaluated).abs() + 0.5,
        "{mean} on average, {evaluated} without, {off} without adapter"
    );
}

#[test]
fn several_adapters_share_a_base() {
    let (network, mut parameters) = load("llama_ds");
    let batch = batch();
    let one = attach("one", config(), &network, &mut parameters);
    let alone = nll(&network, Weights::adapted(&parameters, &one), &batch);
    let other = LoraConfig {
        targets: Targets::Suffixes(vec!["q_proj".into(), "layers.1.mlp.up_proj".into()]),
        ..config()
    };
    let two = attach("two", other, &network, &mut parameters);
    assert_eq!(two.tensors().count(), 2 * 3);
    let again = nll(&network, Weights::adapted(&parameters, &one), &batch);
    assert_eq!(alone.to_bits(), again.to_bits());
    let second = nll(&network, Weights::adapted(&parameters, &two), &batch);
    assert!((second - alone).abs() > 1e-3);
    let taken = Adapter::attach("two", config(), network.config(), &mut parameters, 0);
    assert!(taken.unwrap_err().to_string().contains("already"));
    let dotted = Adapter::attach("a.b", config(), network.config(), &mut parameters, 0);
    assert!(dotted.unwrap_err().to_string().contains("letters"));
}

#[test]
fn an_adapted_tied_head_is_untied_by_merging() {
    let (network, mut parameters) = load("llama_gqa");
    assert!(network.config().tied);
    let adapter = attach("x", config(), &network, &mut parameters);
    let batch = batch();
    let on = nll(&network, Weights::adapted(&parameters, &adapter), &batch);
    let embedding = parameters.data("model.embed_tokens.weight").to_vec();
    let config = network.config().clone();
    let mut merged = Checkpoint { config, parameters };
    adapter.merge(&mut merged);
    assert!(!merged.config.tied);
    let folder = tempfile::tempdir().unwrap();
    merged.save(folder.path(), None).unwrap();
    let Checkpoint { config, parameters } = Checkpoint::load(folder.path()).unwrap();
    assert_eq!(parameters.data("model.embed_tokens.weight"), embedding);
    let found = nll(&Network::new(config), (&parameters).into(), &batch);
    assert!((found - on).abs() < 1e-3, "{found} {on}");
}

#[test]
fn decoding_with_an_adapter_is_decoding_the_merged_model() {
    let (network, mut parameters) = load("llama_gqa");
    let adapter = attach("x", config(), &network, &mut parameters);
    let request = Request {
        key: "k".into(),
        prompt: vec![3, 4, 5],
        samples: 2,
        ..Request::default()
    };
    let mut settings = Settings::new(12, &[], 0);
    settings.sampling = Sampling::GREEDY;
    let greedy = |decoder: Decoder| {
        let request = std::slice::from_ref(&request);
        let go_on = |_: &_| std::ops::ControlFlow::Continue(());
        decoder
            .generate(request, &settings, Limits::default(), &go_on)
            .unwrap()
    };
    let off = greedy(Decoder::new(&network, &parameters));
    let on = Weights::adapted(&parameters, &adapter);
    let drawn = greedy(Decoder::new(&network, on));
    assert_ne!(off[0].tokens, drawn[0].tokens);
    // The network's own log-probabilities of what was drawn.
    let mut batch = Batch::new();
    batch
        .push_completion(&request.prompt, &drawn[0].tokens)
        .unwrap();
    let mut workspace = Workspace::new();
    network.forward(on, &batch, &mut workspace).unwrap();
    let log_probs = network.log_probs(on, &batch, 1.0, &mut workspace);
    assert_close("log p", &drawn[0].log_probs, &log_probs[3..], 5e-5);
    let config = network.config().clone();
    let mut merged = Checkpoint { config, parameters };
    adapter.merge(&mut merged);
    let network = Network::new(merged.config);
    assert_eq!(drawn, greedy(Decoder::new(&network, &merged.parameters)));
}
