//! The same bytes for any number of threads: training, initialisation, files.
#![allow(clippy::unwrap_used)]

use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::config::{Architecture, Config, RopeScaling};
use model::network::{Network, Workspace};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;

/// Sizes at which products are cut in every direction: tokens and the MLP exceed the depth
/// that one pass of a product goes through.
fn config() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: 700,
        hidden_size: 128,
        intermediate_size: 1100,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_positions: 512,
        tied: true,
        initializer_range: 0.02,
        bos_token: None,
        eos_tokens: vec![2],
        pad_token: Some(0),
    }
}

fn train(threads: usize) -> (Vec<u8>, Vec<u64>) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let mut parameters = Parameters::init(&config(), 3);
        let network = Network::new(config());
        let mut gradients = parameters.zeros_like();
        let mut optimizer = AdamW::new(AdamWConfig::default(), &gradients);
        let mut workspace = Workspace::new();
        let mut losses = Vec::new();
        for step in 0..3 {
            let mut batch = Batch::new();
            for length in [500, 1, 333, 290] {
                let ids: Vec<u32> = (0..length).map(|i| (i * i + step * 13) % 700).collect();
                batch.push_completion(&ids[..1], &ids[1..]).unwrap();
            }
            gradients.zero();
            let weight = 1.0 / batch.target_count() as f64;
            let nll = network
                .train_nll(&parameters, &mut gradients, &batch, weight, &mut workspace)
                .unwrap();
            let norm = gradient_norm(&gradients);
            optimizer.update(
                &mut parameters,
                &gradients,
                1e-3,
                clip_coefficient(norm, 1.0),
            );
            losses.extend([nll.sum.to_bits(), norm.to_bits()]);
        }
        let folder = tempfile::tempdir().unwrap();
        Checkpoint {
            config: config(),
            parameters,
        }
        .save(folder.path(), None)
        .unwrap();
        (
            fs_err::read(folder.path().join("model.safetensors")).unwrap(),
            losses,
        )
    })
}

#[test]
fn training_gives_the_same_bytes_on_any_number_of_threads() {
    let one = train(1);
    for threads in [2, 3, 5] {
        assert!(train(threads) == one, "{threads} threads");
    }
}

#[test]
fn fresh_weights_depend_on_seed_and_name_alone() {
    let weights = Parameters::init(&config(), 3);
    assert_eq!(weights, Parameters::init(&config(), 3));
    let other = Parameters::init(&config(), 4);
    let name = "model.layers.0.self_attn.q_proj.weight";
    assert_ne!(weights.data(name), other.data(name));
    assert_ne!(
        weights.data(name),
        weights.data(&name.replace("layers.0", "layers.1"))
    );
    // A deeper model starts with the same first layers.
    let deeper = Parameters::init(
        &Config {
            layers: 3,
            ..config()
        },
        3,
    );
    assert_eq!(weights.data(name), deeper.data(name));
    let values = weights.data("model.embed_tokens.weight");
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
    let deviation =
        (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
    assert!(
        mean.abs() < 3e-4 && (deviation - 0.02).abs() < 2e-4,
        "{mean} {deviation}"
    );
    assert!(
        weights
            .data("model.norm.weight")
            .iter()
            .all(|w| w.to_bits() == 1.0_f32.to_bits())
    );
}
