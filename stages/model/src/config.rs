//! The architecture of a network, read from and written to Hugging Face's `config.json`.
//!
//! Read by `checkpoint`, used by every other module. Both spellings are understood: the
//! legacy one (`rope_theta`, `rope_scaling`, `torch_dtype`) and the one transformers 5
//! writes (`rope_parameters`, `dtype`); the legacy one is written, because both load it.
//! A switch that would change the arithmetic and is not implemented here (sliding windows,
//! MLP biases, other activations, YaRN) is an error, never ignored.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::safetensors_file::Dtype;

/// The checkpoint layouts that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `LlamaForCausalLM`: Llama, DeepSeek-Coder, Code Llama.
    Llama,
    /// `Qwen2ForCausalLM`: as Llama, with biases on the query, key and value projections.
    Qwen2,
    /// `LlamaForSequenceClassification` with one label: a Llama without a language-model
    /// head and with `score.weight` `[1, hidden]`, the reward model.
    LlamaScore,
}

impl Architecture {
    /// The class name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::LlamaScore => "LlamaForSequenceClassification",
        }
    }

    /// Whether it predicts tokens; a reward model has a score in place of the head.
    pub fn has_head(self) -> bool {
        self != Self::LlamaScore
    }

    fn model_type(self) -> &'static str {
        match self {
            Self::Llama | Self::LlamaScore => "llama",
            Self::Qwen2 => "qwen2",
        }
    }
}

/// How rotary frequencies are stretched for longer contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// Every frequency divided by `factor` (position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length before scaling, in tokens.
        original_max_positions: f64,
    },
}

/// Everything that fixes the arithmetic of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Checkpoint layout.
    pub architecture: Architecture,
    /// Rows of the embedding; every token id is below it.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Epsilon inside the root of RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Longest sequence in tokens.
    pub max_positions: usize,
    /// The head is the embedding itself, and the checkpoint has no `lm_head.weight`.
    pub tied: bool,
    /// Standard deviation of freshly drawn weights.
    pub initializer_range: f64,
    /// Beginning-of-sequence token.
    pub bos_token: Option<u32>,
    /// End-of-sequence tokens.
    pub eos_tokens: Vec<u32>,
    /// Padding token; nothing here pads, it is carried for other readers.
    pub pad_token: Option<u32>,
}

#[derive(Deserialize)]
struct Raw {
    architectures: Option<Vec<String>>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    #[serde(default = "default_max_positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_initializer_range")]
    initializer_range: f64,
    bos_token_id: Option<u32>,
    eos_token_id: Option<Value>,
    pad_token_id: Option<u32>,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    layer_types: Option<Vec<String>>,
    num_labels: Option<usize>,
    id2label: Option<serde_json::Map<String, Value>>,
}

fn default_max_positions() -> usize {
    2048
}

fn default_initializer_range() -> f64 {
    0.02
}

impl Config {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// Malformed JSON, an unknown architecture, a switch that is not implemented, or sizes
    /// that do not fit each other.
    pub fn from_json(text: &str) -> Result<Self> {
        let raw: Raw =
            serde_json::from_str(text).context("config.json is not a model configuration")?;
        let named = raw.architectures.clone().unwrap_or_default();
        let architecture = match named.first().map(String::as_str) {
            Some("LlamaForCausalLM") => Architecture::Llama,
            Some("Qwen2ForCausalLM") => Architecture::Qwen2,
            Some("LlamaForSequenceClassification") => Architecture::LlamaScore,
            other => bail!(
                "config.json: architecture {} is unknown; known are LlamaForCausalLM, \
                 Qwen2ForCausalLM and LlamaForSequenceClassification",
                other.unwrap_or("(none named)")
            ),
        };
        if architecture == Architecture::LlamaScore {
            let labels = raw
                .num_labels
                .or(raw.id2label.as_ref().map(serde_json::Map::len));
            ensure!(
                labels == Some(1),
                "config.json: a reward model has exactly one label, this one has {labels:?}"
            );
        }
        if let Some(act) = &raw.hidden_act {
            ensure!(
                act == "silu",
                "config.json: hidden_act is {act:?}; only \"silu\" is implemented"
            );
        }
        ensure!(
            !raw.attention_bias,
            "config.json: attention_bias is not implemented for Llama"
        );
        ensure!(!raw.mlp_bias, "config.json: mlp_bias is not implemented");
        ensure!(
            !raw.use_sliding_window,
            "config.json: use_sliding_window is not implemented"
        );
        if let Some(other) = raw
            .layer_types
            .iter()
            .flatten()
            .find(|kind| *kind != "full_attention")
        {
            bail!("config.json: layer_types has {other:?}; only \"full_attention\" is implemented");
        }
        let rope = raw
            .rope_parameters
            .clone()
            .or_else(|| raw.rope_scaling.clone())
            .unwrap_or(Value::Null);
        let config = Self {
            architecture,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: raw
                .head_dim
                .unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1)),
            rms_norm_eps: raw.rms_norm_eps,
            rope_theta: rope["rope_theta"]
                .as_f64()
                .or(raw.rope_theta)
                .unwrap_or(10_000.0),
            rope_scaling: rope_scaling(&rope)?,
            max_positions: raw.max_position_embeddings,
            tied: raw.tie_word_embeddings,
            initializer_range: raw.initializer_range,
            bos_token: raw.bos_token_id,
            eos_tokens: token_list(raw.eos_token_id.as_ref())?,
            pad_token: raw.pad_token_id,
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// Names the first size that does not.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_positions),
        ] {
            ensure!(value > 0, "config.json: {name} is 0");
        }
        ensure!(
            self.heads.is_multiple_of(self.kv_heads),
            "config.json: num_key_value_heads {} does not divide num_attention_heads {}",
            self.kv_heads,
            self.heads
        );
        ensure!(
            self.head_dim.is_multiple_of(2),
            "config.json: head_dim {} is odd",
            self.head_dim
        );
        Ok(())
    }

    /// The text of a `config.json` that transformers 4 and 5 both read, for weights written as
    /// `dtype`; deterministic bytes.
    pub fn to_json(&self, dtype: Dtype) -> String {
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => {
                json!({"type": "linear", "rope_type": "linear", "factor": factor})
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_positions as u64,
            }),
        };
        let eos = match self.eos_tokens.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        let mut value = json!({
            "architectures": [self.architecture.name()],
            "model_type": self.architecture.model_type(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "max_position_embeddings": self.max_positions,
            "tie_word_embeddings": self.tied,
            "initializer_range": self.initializer_range,
            "bos_token_id": self.bos_token,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token,
            "torch_dtype": dtype.name(),
        });
        if self.architecture == Architecture::LlamaScore {
            value["num_labels"] = json!(1);
            value["id2label"] = json!({"0": "LABEL_0"});
            value["label2id"] = json!({"LABEL_0": 0});
        }
        let mut text = serde_json::to_string_pretty(&value).expect("a JSON value always prints");
        text.push('\n');
        text
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

fn rope_scaling(rope: &Value) -> Result<RopeScaling> {
    let number = |key: &str| {
        rope[key]
            .as_f64()
            .with_context(|| format!("config.json: the rope scaling {rope} has no number {key:?}"))
    };
    if let Some(factor) = rope["partial_rotary_factor"].as_f64() {
        ensure!(
            (factor - 1.0).abs() < f64::EPSILON,
            "config.json: partial_rotary_factor {factor} is not implemented, only 1"
        );
    }
    let kind = rope["rope_type"]
        .as_str()
        .or_else(|| rope["type"].as_str())
        .unwrap_or("default");
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear {
            factor: number("factor")?,
        },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_positions: number("original_max_position_embeddings")?,
        },
        other => bail!(
            "config.json: rope scaling {other:?} is unknown; known are default, linear and llama3"
        ),
    })
}

fn token_list(value: Option<&Value>) -> Result<Vec<u32>> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(_)) => serde_json::from_value(value.cloned().unwrap_or_default())
            .context("config.json: eos_token_id"),
        Some(one) => Ok(vec![
            serde_json::from_value(one.clone()).context("config.json: eos_token_id")?,
        ]),
    }
}
