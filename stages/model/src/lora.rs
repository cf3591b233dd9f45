//! Low-rank adapters (LoRA, Hu et al. 2021): what is trained when the base is frozen.
//!
//! `y = W x + s B A drop(x)` on chosen linear layers, `s = alpha / rank`, or `alpha / √rank`
//! (rsLoRA). The factors live in the same map as the base, under PEFT's in-memory names,
//! `model.layers.0.self_attn.q_proj.lora_A.<adapter>.weight` `[rank, in]` and
//! `…lora_B.<adapter>.weight` `[out, rank]`, so that optimiser and checkpoints treat them as any
//! weight, and several adapters share one base. Which of them acts is said by
//! [`Weights`](crate::weights::Weights) at each call. `peft` reads and writes PEFT folders.
//! Absent: adapters on embeddings, DoRA, biases, ranks that differ from layer to layer.

mod adapter;
mod peft;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::config::Config;
use crate::parameters::shapes;

pub use adapter::{Adapter, DropoutDraw};
pub use peft::{read, write};

/// The head's own name; a tied checkpoint has no tensor of this name.
pub(crate) const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The linear layers an adapter acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every linear layer of the blocks (PEFT's `all-linear`), and the language-model head if
    /// asked for ("all layers except the embedding layer", as the paper has it).
    AllLinear {
        /// Whether `lm_head` is adapted too.
        head: bool,
    },
    /// Layers whose path is one of these or ends with `.` and one of these: `q_proj`,
    /// `layers.0.mlp.up_proj`, `lm_head`.
    Suffixes(Vec<String>),
}

impl Targets {
    fn matches(&self, module: &str) -> bool {
        match self {
            Self::AllLinear { head } => *head || module != "lm_head",
            Self::Suffixes(suffixes) => suffixes.iter().any(|suffix| is_suffix(suffix, module)),
        }
    }
}

fn is_suffix(suffix: &str, module: &str) -> bool {
    module
        .strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Hyper-parameters of an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rows of `A`.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Whether the scale is `alpha / √rank` and not `alpha / rank`.
    pub rslora: bool,
    /// Share of the inputs of `A` dropped in training.
    pub dropout: f64,
    /// What is adapted.
    pub targets: Targets,
    /// Modules trained in full beside the factors, by suffix: `score` for a reward model.
    pub modules_to_save: Vec<String>,
}

impl Default for LoraConfig {
    /// TRL's rank 16 and alpha 32, on all linear layers of the blocks, without dropout.
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            rslora: false,
            dropout: 0.0,
            targets: Targets::AllLinear { head: false },
            modules_to_save: Vec::new(),
        }
    }
}

impl LoraConfig {
    /// `s`.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.rslora { rank.sqrt() } else { rank }) as f32
    }

    /// Checks the ranges, and that every target and module to save is one of the base's.
    ///
    /// # Errors
    /// Names the first that is not, and what there is.
    pub fn check(&self, base: &Config) -> Result<()> {
        ensure!(
            self.rank > 0,
            "the rank of an adapter is 0: it needs at least 1"
        );
        ensure!(
            self.alpha.is_finite() && self.alpha > 0.0,
            "lora_alpha is {}: it has to be above 0",
            self.alpha
        );
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "lora_dropout is {}: it has to be at least 0 and below 1",
            self.dropout
        );
        let modules = linears(base);
        if let Targets::Suffixes(suffixes) = &self.targets {
            ensure!(!suffixes.is_empty(), "target_modules names no layer");
            for suffix in suffixes {
                ensure!(
                    modules.keys().any(|module| is_suffix(suffix, module)),
                    "target module {suffix:?} is no linear layer of a {}; it has {}",
                    base.architecture.name(),
                    kinds(&modules)
                );
            }
        }
        for suffix in &self.modules_to_save {
            ensure!(
                saved_weights(suffix, base).next().is_some(),
                "module to save {suffix:?} cannot be trained in full; of this {} can: {}",
                base.architecture.name(),
                full_weights(base).join(", ")
            );
        }
        Ok(())
    }
}

/// Paths and shapes `[out, in]` of the layers that can be adapted.
pub(crate) fn linears(base: &Config) -> BTreeMap<String, [usize; 2]> {
    let mut modules: BTreeMap<String, [usize; 2]> = shapes(base)
        .into_iter()
        .filter(|(name, _)| name.ends_with("_proj.weight"))
        .map(|(name, shape)| (module_of(&name).to_owned(), [shape[0], shape[1]]))
        .collect();
    if base.architecture.has_head() {
        let head = [base.vocab_size, base.hidden_size];
        modules.insert(module_of(HEAD).to_owned(), head);
    }
    modules
}

/// The last parts of the paths, each once.
fn kinds(modules: &BTreeMap<String, [usize; 2]>) -> String {
    let kinds: std::collections::BTreeSet<&str> = modules
        .keys()
        .map(|module| module.rsplit('.').next().unwrap_or(module))
        .collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// Weights that an adapter may train in full. Not tied embeddings: whether the head is to
/// follow would be anybody's guess.
fn full_weights(base: &Config) -> Vec<&'static str> {
    let scores = !base.architecture.has_head();
    [
        ("score.weight", scores),
        (EMBEDDING, scores || !base.tied),
        (HEAD, !scores && !base.tied),
    ]
    .into_iter()
    .filter_map(|(name, allowed)| allowed.then_some(name))
    .collect()
}

fn saved_weights(suffix: &str, base: &Config) -> impl Iterator<Item = &'static str> {
    full_weights(base)
        .into_iter()
        .filter(move |name| is_suffix(suffix, module_of(name)))
}

fn module_of(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}
