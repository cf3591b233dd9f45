//! Writes model folders and adapters for `scripts/interop.py` to load in transformers and PEFT.
//!
//! `cargo run --release --example interop -- FOLDER`. Each model has random
//! weights; `ids.json` has tokens to try, `reward/scores.safetensors` the scores of the
//! reward model with its adapter.

use std::path::Path;

use anyhow::{Context, Result};
use model::batch::{Batch, IGNORE};
use model::checkpoint::{Checkpoint, Layout};
use model::config::{Architecture, Config, RopeScaling};
use model::lora::{self, Adapter, LoraConfig, Targets};
use model::network::{Network, Workspace};
use model::ops::scalar_head;
use model::parameters::{Parameters, Tensor, fill_normal};
use model::safetensors_file::{self, Dtype};
use model::weights::Weights;

const VOCAB: usize = 300;

fn config(architecture: Architecture, rope_scaling: RopeScaling, tied: bool) -> Config {
    Config {
        architecture,
        vocab_size: VOCAB,
        hidden_size: 48,
        intermediate_size: 80,
        layers: 2,
        heads: 6,
        kv_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling,
        max_positions: 512,
        tied,
        initializer_range: 0.2,
        bos_token: Some(1),
        eos_tokens: vec![2],
        pad_token: Some(0),
    }
}

/// Fresh weights in which norms and biases matter too.
fn fresh(config: Config) -> Checkpoint {
    let mut parameters = Parameters::init(&config, 1);
    for (name, tensor) in &mut parameters.tensors {
        if name.ends_with(".bias") {
            fill_normal(&mut tensor.data, 0.3, 2, name);
        } else if name.ends_with("norm.weight") {
            let mut noise = vec![0.0; tensor.data.len()];
            fill_normal(&mut noise, 0.2, 2, name);
            for (value, noise) in tensor.data.iter_mut().zip(noise) {
                *value += noise;
            }
        }
    }
    Checkpoint { config, parameters }
}

/// An adapter with a `B` that is not zero, written beside the model.
fn adapter(model: &mut Checkpoint, config: LoraConfig, folder: &Path) -> Result<Adapter> {
    let Checkpoint {
        config: base,
        parameters,
    } = model;
    let adapter = Adapter::attach("x", config, base, parameters, 3)?;
    for name in adapter.tensors().map(str::to_owned).collect::<Vec<_>>() {
        let data = parameters.data_mut(&name).context("attached")?;
        if name.contains("lora_B") {
            fill_normal(data, 0.1, 4, &name);
        } else if name.contains("modules_to_save") {
            fill_normal(data, 0.5, 4, &name);
        }
    }
    lora::write(&adapter, base, None, parameters, folder)?;
    Ok(adapter)
}

fn main() -> Result<()> {
    let out = std::env::args()
        .nth(1)
        .context("name a folder to write to")?;
    let out = Path::new(&out);
    let ids: Vec<u32> = (0..37).map(|i| (i * i * 7 + 5 * i + 3) % 297 + 3).collect();
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 64.0,
    };
    let linear = RopeScaling::Linear { factor: 4.0 };
    let shards = Layout {
        dtype: Dtype::Bf16,
        max_shard_bytes: 20_000,
    };
    let models = [
        (
            "linear",
            Architecture::Llama,
            linear,
            false,
            Layout::default(),
        ),
        ("llama3", Architecture::Llama, llama3, true, shards),
        (
            "qwen2",
            Architecture::Qwen2,
            RopeScaling::None,
            true,
            Layout::default(),
        ),
    ];
    for (name, architecture, rope, tied, layout) in models {
        let mut model = fresh(config(architecture, rope, tied));
        let folder = out.join(name);
        model.save_as(&folder.join("model"), None, layout)?;
        let blocks = LoraConfig {
            rank: 4,
            alpha: 6.0,
            ..LoraConfig::default()
        };
        adapter(&mut model, blocks.clone(), &folder.join("all-linear"))?;
        let mut model = fresh(model.config);
        let head = LoraConfig {
            rslora: true,
            targets: Targets::Suffixes(vec!["q_proj".into(), "down_proj".into(), "lm_head".into()]),
            modules_to_save: if tied {
                vec![]
            } else {
                vec!["embed_tokens".into()]
            },
            ..blocks
        };
        adapter(&mut model, head, &folder.join("some-and-head"))?;
    }

    let mut model = fresh(config(Architecture::Llama, linear, false)).into_score(5)?;
    let folder = out.join("reward");
    model.save(&folder.join("model"), None)?;
    let score = LoraConfig {
        modules_to_save: vec!["score".into()],
        ..LoraConfig::default()
    };
    let adapter = adapter(&mut model, score, &folder.join("adapter"))?;
    let network = Network::new(model.config.clone());
    let mut batch = Batch::new();
    batch.push(&ids, &vec![IGNORE; ids.len()])?;
    let mut workspace = Workspace::new();
    let weights = Weights::adapted(&model.parameters, &adapter);
    network.forward(weights, &batch, &mut workspace)?;
    let scores = scalar_head::forward(workspace.hidden(), weights.data("score.weight"), None);
    let scores = Tensor {
        shape: vec![1, scores.len()],
        data: scores,
    };
    let scores = Parameters::from_iter([("scores".to_owned(), scores)]);
    safetensors_file::write(&scores, &folder.join("scores.safetensors"))?;
    let text = serde_json::to_string(&ids)?;
    fs_err::write(out.join("ids.json"), text)?;
    Ok(())
}
