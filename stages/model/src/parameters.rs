//! Named f32 tensors in a fixed order: the weights of a network, and their gradients.
//!
//! Names and shapes are those of Hugging Face checkpoints (`[out, in]` for linear layers),
//! listed by [`shapes`] from a [`Config`]. The map is a `BTreeMap`, so every walk over it
//! (initialisation, optimiser, gradient norm, files) has one order. A gradient map may hold
//! fewer names than the weights: absent names are frozen.

use std::collections::BTreeMap;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::config::{Architecture, Config};
use crate::ops::vector::clear;

/// A dense row-major f32 array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            data: vec![0.0; shape.iter().product()],
        }
    }
}

/// Named tensors, ordered by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// The tensors by checkpoint name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Parameters {
    /// Draws fresh weights: norms 1, biases 0, everything else normal with standard
    /// deviation `initializer_range`, each tensor from its own stream keyed by `seed` and name.
    pub fn init(config: &Config, seed: u64) -> Self {
        let mut tensors = BTreeMap::new();
        for (name, shape) in shapes(config) {
            let mut tensor = Tensor::zeros(&shape);
            if name.ends_with("norm.weight") {
                tensor.data.fill(1.0);
            } else if !name.ends_with(".bias") {
                fill_normal(&mut tensor.data, config.initializer_range, seed, &name);
            }
            tensors.insert(name, tensor);
        }
        Self { tensors }
    }

    /// Zeros of the same names and shapes.
    pub fn zeros_like(&self) -> Self {
        let tensors = self
            .tensors
            .iter()
            .map(|(name, t)| (name.clone(), Tensor::zeros(&t.shape)))
            .collect();
        Self { tensors }
    }

    /// Sets every value to 0.
    pub fn zero(&mut self) {
        for tensor in self.tensors.values_mut() {
            clear(&mut tensor.data);
        }
    }

    /// The values of a tensor that must be there.
    ///
    /// # Panics
    /// The name is absent: loading and [`Parameters::init`] guarantee the names of [`shapes`].
    pub fn data(&self, name: &str) -> &[f32] {
        &self
            .tensors
            .get(name)
            .unwrap_or_else(|| panic!("no parameter named {name}"))
            .data
    }

    /// The values of a tensor to accumulate into; `None` when it is frozen.
    pub fn data_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        self.tensors.get_mut(name).map(|t| t.data.as_mut_slice())
    }

    /// As [`Parameters::data_mut`], for several different names at once.
    pub fn data_mut_of<const N: usize>(&mut self, names: [&str; N]) -> [Option<&mut [f32]>; N] {
        let mut found = [const { None }; N];
        for (name, tensor) in &mut self.tensors {
            if let Some(index) = names.iter().position(|wanted| wanted == name) {
                found[index] = Some(tensor.data.as_mut_slice());
            }
        }
        found
    }

    /// Number of scalars.
    pub fn count(&self) -> usize {
        self.tensors.values().map(|t| t.data.len()).sum()
    }
}

/// Fills with normal draws of the given standard deviation, from the ChaCha stream keyed by
/// `seed` and `name`.
pub fn fill_normal(values: &mut [f32], deviation: f64, seed: u64, name: &str) {
    let mut rng = stream(seed, name);
    // Box-Muller in f64; 53-bit uniforms in (0, 1].
    let mut uniform = || ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    for pair in values.chunks_mut(2) {
        let radius = (-2.0 * uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
        for (value, part) in pair.iter_mut().zip([cos, sin]) {
            *value = (deviation * radius * part) as f32;
        }
    }
}

/// Fills with uniform draws between `-bound` and `bound`, from the same stream.
pub fn fill_uniform(values: &mut [f32], bound: f64, seed: u64, name: &str) {
    let mut rng = stream(seed, name);
    for value in values {
        let unit = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        *value = (bound * (2.0 * unit - 1.0)) as f32;
    }
}

fn stream(seed: u64, name: &str) -> ChaCha12Rng {
    let mut hasher = blake3::Hasher::new_derive_key("iota model initialisation v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha12Rng::from_seed(*hasher.finalize().as_bytes())
}

/// The names and shapes of every tensor a checkpoint of this configuration holds, by name.
pub fn shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, kv) = (config.query_width(), config.kv_width());
    let mut all = BTreeMap::new();
    all.insert(
        "model.embed_tokens.weight".to_owned(),
        vec![config.vocab_size, hidden],
    );
    all.insert("model.norm.weight".to_owned(), vec![hidden]);
    for index in 0..config.layers {
        let mut add = |suffix: &str, shape: &[usize]| {
            all.insert(format!("model.layers.{index}.{suffix}"), shape.to_vec());
        };
        add("input_layernorm.weight", &[hidden]);
        add("self_attn.q_proj.weight", &[query, hidden]);
        add("self_attn.k_proj.weight", &[kv, hidden]);
        add("self_attn.v_proj.weight", &[kv, hidden]);
        add("self_attn.o_proj.weight", &[hidden, query]);
        if config.architecture == Architecture::Qwen2 {
            add("self_attn.q_proj.bias", &[query]);
            add("self_attn.k_proj.bias", &[kv]);
            add("self_attn.v_proj.bias", &[kv]);
        }
        add("post_attention_layernorm.weight", &[hidden]);
        add("mlp.gate_proj.weight", &[inner, hidden]);
        add("mlp.up_proj.weight", &[inner, hidden]);
        add("mlp.down_proj.weight", &[hidden, inner]);
    }
    if !config.architecture.has_head() {
        all.insert("score.weight".to_owned(), vec![1, hidden]);
    } else if !config.tied {
        all.insert("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]);
    }
    all
}
