//! One adapter: where its tensors are, how they are drawn, what they add, how they are merged.
//!
//! Made by the training stages or by `peft::read`; asked by [`Weights`](crate::weights::Weights)
//! in every pass of the network. It holds names only; values are in the [`Parameters`].

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{EMBEDDING, HEAD, LoraConfig, linears, module_of, saved_weights};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::ops::low_rank::{Dropout, LowRank};
use crate::parameters::{Parameters, Tensor, fill_uniform};

/// Names of the factors of one linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Factors {
    pub(super) a: String,
    pub(super) b: String,
}

impl Factors {
    fn of(module: &str, adapter: &str) -> Self {
        Self {
            a: format!("{module}.lora_A.{adapter}.weight"),
            b: format!("{module}.lora_B.{adapter}.weight"),
        }
    }
}

/// An adapter whose tensors are in some [`Parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    pub(super) name: String,
    pub(super) config: LoraConfig,
    /// By the name of the base weight.
    pub(super) factors: BTreeMap<String, Factors>,
    /// Base weights that the adapter has its own of, and the names of these.
    pub(super) replaced: BTreeMap<String, String>,
}

impl Adapter {
    /// Adds a fresh adapter to `parameters`, which hold the base: `A` uniform in ±1/√in (PEFT's
    /// Kaiming initialisation), `B` zero, each from its own stream keyed by `seed` and name;
    /// modules to save are copied from the base. It changes no output until it is trained.
    ///
    /// # Errors
    /// The configuration does not fit the base, or the name is taken or no plain word.
    pub fn attach(
        name: &str,
        config: LoraConfig,
        base: &Config,
        parameters: &mut Parameters,
        seed: u64,
    ) -> Result<Self> {
        config.check(base)?;
        let mut adapter = Self::empty(name, config, parameters)?;
        let rank = adapter.config.rank;
        for (module, [outputs, inputs]) in linears(base) {
            if !adapter.config.targets.matches(&module) {
                continue;
            }
            let factors = adapter.add_factors(&module);
            let mut a = Tensor::zeros(&[rank, inputs]);
            fill_uniform(&mut a.data, 1.0 / (inputs as f64).sqrt(), seed, &factors.a);
            parameters.tensors.insert(factors.a, a);
            let b = Tensor::zeros(&[outputs, rank]);
            parameters.tensors.insert(factors.b, b);
        }
        for suffix in adapter.config.modules_to_save.clone() {
            for weight in saved_weights(&suffix, base) {
                let own = adapter.add_replaced(weight);
                let value = parameters.tensors[weight].clone();
                parameters.tensors.insert(own, value);
            }
        }
        Ok(adapter)
    }

    pub(super) fn empty(name: &str, config: LoraConfig, parameters: &Parameters) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "{name:?} cannot name an adapter: use letters, digits, `_` and `-`"
        );
        let taken = format!(".{name}.weight");
        if let Some(tensor) = parameters.tensors.keys().find(|t| t.ends_with(&taken)) {
            anyhow::bail!("there is an adapter {name:?} already: it has {tensor}");
        }
        Ok(Self {
            name: name.to_owned(),
            config,
            factors: BTreeMap::new(),
            replaced: BTreeMap::new(),
        })
    }

    pub(super) fn add_factors(&mut self, module: &str) -> Factors {
        let factors = Factors::of(module, &self.name);
        self.factors
            .insert(format!("{module}.weight"), factors.clone());
        factors
    }

    pub(super) fn add_replaced(&mut self, weight: &str) -> String {
        let own = format!("{}.modules_to_save.{}.weight", module_of(weight), self.name);
        self.replaced.insert(weight.to_owned(), own.clone());
        own
    }

    /// Its name, which is part of its tensors' names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its hyper-parameters.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Names of its tensors: what is trained when the base is frozen.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.factors
            .values()
            .flat_map(|factors| [factors.a.as_str(), &factors.b])
            .chain(self.replaced.values().map(String::as_str))
    }

    /// Zeros for its tensors alone: the gradient map of a frozen base.
    pub fn gradients(&self, parameters: &Parameters) -> Parameters {
        let own: BTreeSet<&str> = self.tensors().collect();
        parameters.zeros_of(|name| own.contains(name))
    }

    /// The name of its own tensor in place of the base's `weight`, if it has one.
    pub(crate) fn replacement(&self, weight: &str) -> Option<&str> {
        self.replaced.get(weight).map(String::as_str)
    }

    /// What it adds to the linear layer of the base's `weight`; names and values.
    pub(crate) fn low_rank<'a>(
        &'a self,
        parameters: &'a Parameters,
        weight: &str,
        draw: Option<DropoutDraw>,
    ) -> Option<LowRank<'a>> {
        let factors = self.factors.get(weight)?;
        Some(LowRank {
            a: parameters.data(&factors.a),
            b: parameters.data(&factors.b),
            rank: self.config.rank,
            scale: self.config.scale(),
            dropout: self.dropout(weight, draw),
        })
    }

    /// Which inputs of the linear layer of the base's `weight` are dropped.
    pub(crate) fn dropout(&self, weight: &str, draw: Option<DropoutDraw>) -> Option<Dropout> {
        let factors = self.factors.get(weight)?;
        let draw = draw.filter(|_| self.config.dropout > 0.0)?;
        Some(Dropout {
            key: draw.key(&factors.a),
            probability: self.config.dropout as f32,
            first_row: 0,
        })
    }

    /// Names of `A` and `B` of the linear layer of the base's `weight`.
    pub(crate) fn factor_names(&self, weight: &str) -> Option<[&str; 2]> {
        let factors = self.factors.get(weight)?;
        Some([&factors.a, &factors.b])
    }

    /// Puts the adapter into the base for good, in f32, and removes its tensors; returns the
    /// largest absolute change of a linear layer's weight. A tied head that is adapted is no
    /// longer tied.
    pub fn merge(&self, checkpoint: &mut Checkpoint) -> f32 {
        let Checkpoint { config, parameters } = checkpoint;
        let own_head = self.factors.contains_key(HEAD) || self.replaced.contains_key(HEAD);
        if config.tied && own_head {
            let head = parameters.tensors[EMBEDDING].clone();
            parameters.tensors.insert(HEAD.to_owned(), head);
            config.tied = false;
        }
        for (weight, own) in &self.replaced {
            if let Some(value) = parameters.tensors.remove(own) {
                parameters.tensors.insert(weight.clone(), value);
            }
        }
        let mut largest = 0.0_f32;
        for (weight, factors) in &self.factors {
            let mut value = parameters
                .tensors
                .remove(weight)
                .expect("an adapter acts on weights of its base");
            if let Some(low_rank) = self.low_rank(parameters, weight, None) {
                largest = largest.max(low_rank.merge(&mut value.data));
            }
            parameters.tensors.insert(weight.clone(), value);
            parameters.tensors.remove(&factors.a);
            parameters.tensors.remove(&factors.b);
        }
        largest
    }
}

/// Which dropout masks a training pass draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutDraw {
    /// The seed of the run.
    pub seed: u64,
    /// Number of the forward pass within the run; the backward pass has the same.
    pub pass: u64,
}

impl DropoutDraw {
    fn key(self, name: &str) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("iota model adapter dropout v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.pass.to_le_bytes());
        hasher.update(name.as_bytes());
        let mut key = [0; 8];
        hasher.finalize_xof().fill(&mut key);
        u64::from_le_bytes(key)
    }
}
