//! Checkpoint names of every tensor, made once.
//!
//! Used by the passes of `network` and by `generate`, so that no step formats strings.

use crate::config::{Architecture, Config};

/// Names of one block.
pub(crate) struct Layer {
    pub(crate) attention_norm: String,
    pub(crate) q: String,
    pub(crate) k: String,
    pub(crate) v: String,
    pub(crate) o: String,
    /// Biases of q, k and v, when the architecture has them.
    pub(crate) biases: Option<[String; 3]>,
    pub(crate) mlp_norm: String,
    pub(crate) gate: String,
    pub(crate) up: String,
    pub(crate) down: String,
}

/// Names of the whole network.
pub(crate) struct Names {
    pub(crate) embedding: String,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: String,
    /// The head; the embedding when tied.
    pub(crate) head: String,
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        let layers = (0..config.layers)
            .map(|index| {
                let name = |suffix: &str| format!("model.layers.{index}.{suffix}");
                Layer {
                    attention_norm: name("input_layernorm.weight"),
                    q: name("self_attn.q_proj.weight"),
                    k: name("self_attn.k_proj.weight"),
                    v: name("self_attn.v_proj.weight"),
                    o: name("self_attn.o_proj.weight"),
                    biases: (config.architecture == Architecture::Qwen2).then(|| {
                        ["q", "k", "v"].map(|p| name(&format!("self_attn.{p}_proj.bias")))
                    }),
                    mlp_norm: name("post_attention_layernorm.weight"),
                    gate: name("mlp.gate_proj.weight"),
                    up: name("mlp.up_proj.weight"),
                    down: name("mlp.down_proj.weight"),
                }
            })
            .collect();
        let embedding = "model.embed_tokens.weight".to_owned();
        let head = if config.tied {
            embedding.clone()
        } else {
            "lm_head.weight".to_owned()
        };
        Self {
            embedding,
            layers,
            norm: "model.norm.weight".to_owned(),
            head,
        }
    }
}
