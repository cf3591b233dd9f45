//! Named f32 tensors in a fixed order: the weights of a network, and their gradients.
//!
//! Names and shapes are those of Hugging Face checkpoints (`[out, in]` for linear layers),
//! listed by [`shapes`] from a [`Config`]. The map is a `BTreeMap`, so every walk over it
//! (initialisation, optimiser, gradient norm, files) has one order. A gradient map may hold
//! fewer names than the weights: absent names are frozen. Values lie here or on a device
//! ([`Parameters::to_device`]); whoever computes with them computes there.

#[cfg(feature = "device")]
mod device;

use std::collections::BTreeMap;

use anyhow::Result;
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::config::{Architecture, Config};
use crate::device::Device;
use crate::ops::vector::{add_scaled, clear};
use crate::precision::Precision;

#[cfg(feature = "device")]
pub(crate) use device::{Number, Placed};

/// A dense row-major f32 array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values; as many as the product of `shape`, or none if they lie on a device.
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
    /// The tensors by checkpoint name; shapes alone if the values lie on a device.
    pub tensors: BTreeMap<String, Tensor>,
    place: Place,
}

/// Where values lie.
#[derive(Clone, Debug, Default, PartialEq)]
enum Place {
    /// In the tensors themselves.
    #[default]
    Host,
    #[cfg(feature = "device")]
    Device(Placed),
}

impl From<BTreeMap<String, Tensor>> for Parameters {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self {
            tensors,
            place: Place::Host,
        }
    }
}

impl FromIterator<(String, Tensor)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        tensors.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl Parameters {
    /// Draws fresh weights: norms 1, biases 0, everything else normal with standard
    /// deviation `initializer_range`, each tensor from its own stream keyed by `seed` and name.
    pub fn init(config: &Config, seed: u64) -> Self {
        let tensors: Vec<(String, Tensor)> = shapes(config)
            .into_par_iter()
            .map(|(name, shape)| {
                let mut tensor = Tensor::zeros(&shape);
                if name.ends_with("norm.weight") {
                    tensor.data.fill(1.0);
                } else if !name.ends_with(".bias") {
                    fill_normal(&mut tensor.data, config.initializer_range, seed, &name);
                }
                (name, tensor)
            })
            .collect();
        tensors.into_iter().collect()
    }

    /// Zeros of the same names and shapes, in the same place.
    pub fn zeros_like(&self) -> Self {
        self.zeros_of(|_| true)
    }

    /// Zeros of some of the names, in the same place: the gradient map of what is trained.
    pub fn zeros_of(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.tensors.iter().filter(|(name, _)| is_wanted(name));
        #[cfg(feature = "device")]
        if let Place::Device(placed) = &self.place {
            return placed.zeros(wanted);
        }
        wanted
            .map(|(name, t)| (name.clone(), Tensor::zeros(&t.shape)))
            .collect()
    }

    /// Sets every value to 0.
    pub fn zero(&mut self) {
        #[cfg(feature = "device")]
        if let Place::Device(placed) = &mut self.place {
            return placed.zero();
        }
        for tensor in self.tensors.values_mut() {
            clear(&mut tensor.data);
        }
    }

    /// Adds other tensors of the same names, shapes and place.
    pub fn add(&mut self, others: &Self) {
        #[cfg(feature = "device")]
        if let (Place::Device(placed), Place::Device(others)) = (&mut self.place, &others.place) {
            return placed.add(others);
        }
        for (sum, tensor) in self.tensors.values_mut().zip(others.tensors.values()) {
            let task = 1 << 15;
            (sum.data.par_chunks_mut(task), tensor.data.par_chunks(task))
                .into_par_iter()
                .for_each(|(sum, other)| add_scaled(sum, 1.0, other));
        }
    }

    /// Replaces all values, which lie on a device, by their sum over the processes of a group, in
    /// the tree of halves; `alive` is asked meanwhile whether the others still are.
    ///
    /// # Errors
    /// The values lie elsewhere, the device or the group failed, or what `alive` says.
    #[cfg(feature = "device")]
    pub fn sum(
        &mut self,
        group: &gpu::nccl::Communicator,
        alive: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        match &mut self.place {
            Place::Host => anyhow::bail!("NCCL adds on GPUs, and the weights lie on the CPU"),
            Place::Device(placed) => placed.sum(group, alive),
        }
    }

    /// Moves all values to a device; matrices also as the working copies that products in
    /// `precision` read.
    ///
    /// # Errors
    /// The device has no room for them.
    #[cfg_attr(not(feature = "device"), allow(unused_mut, unused_variables))]
    pub fn to_device(mut self, device: &Device, precision: Precision) -> Result<Self> {
        #[cfg(not(feature = "device"))]
        match *device {}
        #[cfg(feature = "device")]
        {
            let placed = Placed::upload(device, precision, &mut self.tensors)?;
            self.place = Place::Device(placed);
            Ok(self)
        }
    }

    /// Moves all values back into the tensors.
    ///
    /// # Errors
    /// The device failed.
    #[cfg_attr(not(feature = "device"), allow(unused_mut))]
    pub fn to_host(mut self) -> Result<Self> {
        #[cfg(feature = "device")]
        if let Place::Device(placed) = &self.place {
            placed.download(&mut self.tensors)?;
            self.place = Place::Host;
        }
        Ok(self)
    }

    /// Moves all values to where those of `other` lie; as masters, without working copies.
    ///
    /// # Errors
    /// The device has no room for them.
    pub fn to_place_of(self, other: &Self) -> Result<Self> {
        match other.device() {
            Some(device) => self.to_device(device, Precision::F32),
            None => self.to_host(),
        }
    }

    /// The device that the values lie on; `None` is here.
    pub fn device(&self) -> Option<&Device> {
        match &self.place {
            Place::Host => None,
            #[cfg(feature = "device")]
            Place::Device(placed) => Some(placed.device()),
        }
    }

    /// A copy, here, of the tensors of some names.
    ///
    /// # Errors
    /// The device failed.
    ///
    /// # Panics
    /// A name is absent.
    pub fn copied<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<Self> {
        names
            .into_iter()
            .map(|name| {
                let tensor = &self.tensors[name];
                #[cfg(feature = "device")]
                if let Place::Device(placed) = &self.place {
                    let (shape, data) = (tensor.shape.clone(), placed.values(name)?);
                    return Ok((name.clone(), Tensor { shape, data }));
                }
                Ok((name.clone(), tensor.clone()))
            })
            .collect()
    }

    /// Takes values that lie here in place of its own, wherever these lie; shapes are the same.
    ///
    /// # Errors
    /// The device failed.
    pub fn replace(&mut self, values: Self) -> Result<()> {
        #[cfg(feature = "device")]
        if let Place::Device(placed) = &mut self.place {
            return values
                .tensors
                .iter()
                .try_for_each(|(name, tensor)| placed.replace(name, &tensor.data));
        }
        self.tensors.extend(values.tensors);
        Ok(())
    }

    /// The same values on a device, not a copy: they cannot be changed while both are there.
    #[cfg(feature = "device")]
    pub(crate) fn shared(&self) -> Self {
        let place = match &self.place {
            Place::Host => Place::Host,
            Place::Device(placed) => Place::Device(placed.shared()),
        };
        Self {
            tensors: self.tensors.clone(),
            place,
        }
    }

    /// What lies on a device, if it lies there.
    #[cfg(feature = "device")]
    pub(crate) fn placed(&self) -> Option<&Placed> {
        match &self.place {
            Place::Host => None,
            Place::Device(placed) => Some(placed),
        }
    }

    /// As [`Parameters::placed`], to write to.
    #[cfg(feature = "device")]
    pub(crate) fn placed_mut(&mut self) -> Option<&mut Placed> {
        match &mut self.place {
            Place::Host => None,
            Place::Device(placed) => Some(placed),
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
        let sizes = self
            .tensors
            .values()
            .map(|t| t.shape.iter().product::<usize>());
        sizes.sum()
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
