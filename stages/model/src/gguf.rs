//! A GGUF file (llama.cpp) of a Llama or Qwen2 model, read into a [`Checkpoint`] in f32.
//!
//! Called by the stage `init`. Quantised tensors become the f32 values they stand for, so the
//! result is the quantised model, not the one it was made from. llama.cpp stores the query and
//! key rows of a Llama with the two halves of each head interleaved; they are put back. A
//! `rope_freqs.weight` is understood if it is Llama 3's scaling. The file's tokenizer is not
//! read: a `tokenizer.json` has to come from elsewhere. Keys and names are those of
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{DType, Device};

use crate::checkpoint::{Checkpoint, check};
use crate::config::{Architecture, Config, RopeScaling};
use crate::ops::rope::frequencies;
use crate::parameters::{Parameters, Tensor, shapes};

/// Factors that divide the rotary frequencies one by one.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Reads a GGUF file.
///
/// # Errors
/// The file is damaged; its architecture, quantisation or a switch is not implemented; a tensor
/// is missing, misshapen, not finite or has no place.
pub fn load(path: &Path) -> Result<Checkpoint> {
    let named = || path.display().to_string();
    let mut reader = BufReader::new(fs_err::File::open(path)?);
    let content = Content::read(&mut reader)
        .with_context(|| format!("{} is not a complete GGUF file", path.display()))?;
    let mut file = File { reader, content };
    let mut config = file.config().with_context(named)?;
    if let Some(factors) = file.tensor(ROPE_FACTORS).with_context(named)? {
        config.rope_scaling = llama3(&config, &factors.data).with_context(named)?;
    }
    config.validate().with_context(named)?;
    let parameters = file.parameters(&config).with_context(named)?;
    Ok(Checkpoint { config, parameters })
}

struct File {
    reader: BufReader<fs_err::File>,
    content: Content,
}

impl File {
    /// The values of a tensor, `None` if it is not there.
    fn tensor(&mut self, name: &str) -> Result<Option<Tensor>> {
        if !self.content.tensor_infos.contains_key(name) {
            return Ok(None);
        }
        let tensor = self
            .content
            .tensor(&mut self.reader, name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu)?.to_dtype(DType::F32))
            .with_context(|| format!("tensor {name} cannot be read: the file is incomplete"))?;
        Ok(Some(Tensor {
            shape: tensor.dims().to_vec(),
            data: tensor.flatten_all()?.to_vec1()?,
        }))
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            other => other.to_u64().ok().map(|whole| whole as f64),
        }
    }

    fn config(&self) -> Result<Config> {
        let architecture = self.text("general.architecture").unwrap_or("(none)");
        let known = match architecture {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            other => bail!("general.architecture is {other:?}; llama and qwen2 can be imported"),
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let needed = |name: &str| {
            self.number(&key(name))
                .with_context(|| format!("the metadata has no number {:?}", key(name)))
        };
        let size = |name: &str| needed(name).map(|number| number as usize);
        if let Some(experts) = self.number(&key("expert_count")) {
            ensure!(
                experts < 1.0,
                "it is a mixture of {experts} experts, which is not implemented"
            );
        }
        let embedding = self.content.tensor_infos.get("token_embd.weight");
        let embedding = embedding.context("tensor token_embd.weight is missing")?;
        let (hidden_size, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_dim = self
            .number(&key("attention.key_length"))
            .map_or(hidden_size / heads.max(1), |length| length as usize);
        let turned = self
            .number(&key("rope.dimension_count"))
            .map_or(head_dim, |count| count as usize);
        ensure!(
            turned == head_dim,
            "{} is {turned} of the {head_dim} of a head; only all of them is implemented",
            key("rope.dimension_count")
        );
        let token = |name: &str| {
            self.number(&format!("tokenizer.ggml.{name}"))
                .map(|id| id as u32)
        };
        Ok(Config {
            architecture: known,
            vocab_size: *embedding.shape.dims().first().unwrap_or(&0),
            hidden_size,
            intermediate_size: size("feed_forward_length")?,
            layers: size("block_count")?,
            heads,
            kv_heads: self
                .number(&key("attention.head_count_kv"))
                .map_or(heads, |count| count as usize),
            head_dim,
            // Stored as f32; the shortest decimal that is that f32 is what was meant.
            rms_norm_eps: shortest(needed("attention.layer_norm_rms_epsilon")?),
            rope_theta: self.number(&key("rope.freq_base")).unwrap_or(10_000.0),
            rope_scaling: self.scaling(&key)?,
            max_positions: size("context_length")?,
            tied: !self.content.tensor_infos.contains_key("output.weight"),
            initializer_range: 0.02,
            bos_token: token("bos_token_id"),
            eos_tokens: token("eos_token_id").into_iter().collect(),
            pad_token: token("padding_token_id"),
        })
    }

    fn scaling(&self, key: &dyn Fn(&str) -> String) -> Result<RopeScaling> {
        Ok(match self.text(&key("rope.scaling.type")) {
            None | Some("none") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear {
                factor: self
                    .number(&key("rope.scaling.factor"))
                    .with_context(|| format!("{} is missing", key("rope.scaling.factor")))?,
            },
            Some(other) => bail!(
                "{} is {other:?}; none and linear are implemented",
                key("rope.scaling.type")
            ),
        })
    }

    fn parameters(&mut self, config: &Config) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        let mut rest: BTreeSet<String> = self.content.tensor_infos.keys().cloned().collect();
        rest.remove(ROPE_FACTORS);
        for (name, shape) in shapes(config) {
            let stored = stored_name(&name);
            rest.remove(&stored);
            let Some(mut tensor) = self.tensor(&stored)? else {
                bail!("tensor {stored} of shape {shape:?} (for {name}) is missing");
            };
            check(&stored, &tensor, Some(&shape), config)?;
            if config.architecture == Architecture::Llama {
                let of = |projection: &str| name.contains(projection);
                if of("q_proj") {
                    tensor.data = separate_halves(&tensor, config.heads);
                } else if of("k_proj") {
                    tensor.data = separate_halves(&tensor, config.kv_heads);
                }
            }
            parameters.tensors.insert(name, tensor);
        }
        if let Some(name) = rest.first() {
            bail!(
                "tensor {name} has no place in a {} of {} layers",
                config.architecture.name(),
                config.layers
            );
        }
        Ok(parameters)
    }
}

/// The f64 whose decimal is the shortest one of this f32.
fn shortest(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}

/// llama.cpp's name of a tensor.
fn stored_name(name: &str) -> String {
    const PARTS: [(&str, &str); 12] = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let name = name.replacen("model.layers.", "blk.", 1);
    PARTS
        .iter()
        .find(|(ours, _)| name.contains(ours))
        .map_or(name.clone(), |(ours, stored)| name.replace(ours, stored))
}

/// Rows of each head, `0, D/2, 1, D/2 + 1, …` as stored, in their order `0, 1, …`.
fn separate_halves(tensor: &Tensor, heads: usize) -> Vec<f32> {
    let rows = tensor.shape[0] / heads;
    let width: usize = tensor.shape[1..].iter().product();
    let mut data = Vec::with_capacity(tensor.data.len());
    for head in tensor.data.chunks_exact(rows * width) {
        for half in 0..2 {
            for pair in head.chunks_exact(2 * width) {
                data.extend_from_slice(&pair[half * width..][..width]);
            }
        }
    }
    data
}

/// Llama 3's scaling, if that is what the factors are. Its models differ in `factor` alone.
fn llama3(config: &Config, factors: &[f32]) -> Result<RopeScaling> {
    let factor = factors.iter().fold(0.0_f32, |a, b| a.max(*b));
    let scaling = RopeScaling::Llama3 {
        factor: shortest(f64::from(factor)),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192.0,
    };
    let plain = frequencies(config);
    let scaled = frequencies(&Config {
        rope_scaling: scaling,
        ..config.clone()
    });
    let is_llama3 = config.rope_scaling == RopeScaling::None
        && factors.len() == plain.len()
        && factors
            .iter()
            .zip(plain.iter().zip(&scaled))
            .all(|(factor, (plain, scaled))| (plain / factor / scaled - 1.0).abs() < 1e-3);
    ensure!(
        is_llama3,
        "tensor {ROPE_FACTORS} {:?} is not Llama 3's scaling, which alone is implemented",
        [factors.len()]
    );
    Ok(scaling)
}
