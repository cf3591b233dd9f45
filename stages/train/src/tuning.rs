//! What of a model is trained: a low-rank adapter on a frozen base, or every weight.
//!
//! Used by `reward`, `dpo`, `orpo` and `ppo`. With an adapter the reference of preference and
//! policy losses is the same model with the adapter off, so that there is no second one in
//! memory (paper, sections 3 and 4). The result is written twice: merged into a plain model
//! folder, and alone in PEFT's layout.

use anyhow::Result;
use engine::{Ctx, Invalid};
use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::config::Config;
use model::lora::{self, Adapter, DropoutDraw, LoraConfig, Targets};
use model::network::{LogProbGradient, Network, ValueHead, Workspace};
use model::parameters::Parameters;
use model::weights::Weights;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Train {
    /// A low-rank adapter; the base stays as it is.
    #[default]
    Adapter,
    /// Every weight.
    Full,
}

/// Shape of the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Rank of the factors; the paper's is 32.
    pub rank: u64,
    /// Scale times rank; the paper names none, and as much as the rank makes the scale 1.
    pub alpha: f64,
    /// Whether the scale is `alpha / √rank` and not `alpha / rank`.
    pub rslora: bool,
    /// Share of an adapter's inputs dropped in training.
    pub dropout: f64,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 32.0,
            rslora: false,
            dropout: 0.0,
        }
    }
}

impl Lora {
    /// Checks the ranges; fields are below `adapter`.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless(self.rank > 0, "adapter.rank", "must be at least 1")?;
        Invalid::unless(
            self.alpha > 0.0 && self.alpha.is_finite(),
            "adapter.alpha",
            "must be above 0, or the adapter does nothing",
        )?;
        Invalid::unless(
            (0.0..1.0).contains(&self.dropout),
            "adapter.dropout",
            "must be at least 0 and below 1",
        )
    }
}

impl Train {
    /// A network to train. Adds a fresh adapter to the weights, unless all are trained; `head`
    /// says whether the language-model head is adapted, `whole` are modules that are trained in
    /// full beside it.
    ///
    /// # Errors
    /// The adapter does not fit the model.
    pub fn begin(
        self,
        lora: &Lora,
        head: bool,
        whole: &[&str],
        config: Config,
        parameters: &mut Parameters,
        seed: u64,
    ) -> Result<Tuned> {
        if self == Self::Full {
            return Ok(Tuned::new(config, parameters, None, seed));
        }
        let lora = LoraConfig {
            rank: lora.rank as usize,
            alpha: lora.alpha,
            rslora: lora.rslora,
            dropout: lora.dropout,
            targets: Targets::AllLinear { head },
            modules_to_save: whole.iter().map(|&name| name.to_owned()).collect(),
        };
        let adapter = Adapter::attach("default", lora, &config, parameters, seed)?;
        Ok(Tuned::new(config, parameters, Some(adapter), seed))
    }
}

/// Who computes: it decides what of the adapter acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The base alone, without the adapter.
    Base,
    /// The trained model.
    Evaluation,
    /// The trained model with dropout, before a backward pass.
    Training,
}

/// A network and what of it is trained; the weights themselves are the trainer's.
pub struct Tuned {
    /// The network.
    pub network: Network,
    /// Its buffers.
    pub workspace: Workspace,
    adapter: Option<Adapter>,
    trained: BTreeSet<String>,
    dropout: DropoutDraw,
}

impl Tuned {
    /// A network whose adapter is trained, or all of `parameters`; `seed` is for dropout.
    pub fn new(
        config: Config,
        parameters: &Parameters,
        adapter: Option<Adapter>,
        seed: u64,
    ) -> Self {
        let trained = match &adapter {
            Some(adapter) => adapter.tensors().map(str::to_owned).collect(),
            None => parameters.tensors.keys().cloned().collect(),
        };
        Self {
            network: Network::new(config),
            workspace: Workspace::new(),
            adapter,
            trained,
            dropout: DropoutDraw { seed, pass: 0 },
        }
    }

    /// Whether a weight is trained.
    pub fn trains(&self, name: &str) -> bool {
        self.trained.contains(name)
    }

    /// The adapter, if one is trained.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Says which update the next training passes belong to: dropout depends on it.
    pub fn begin_update(&mut self, step: u64) {
        self.dropout.pass = step << 20;
    }

    /// Says that so many training passes are another process's.
    pub fn skip(&mut self, passes: usize) {
        self.dropout.pass += passes as u64;
    }

    /// What a pass computes with.
    pub fn weights<'a>(&'a self, parameters: &'a Parameters, pass: Pass) -> Weights<'a> {
        weights(parameters, self.adapter.as_ref(), self.dropout, pass)
    }

    /// Runs a batch; hidden states are in the workspace afterwards.
    ///
    /// # Errors
    /// The batch does not fit the network.
    pub fn forward(&mut self, parameters: &Parameters, batch: &Batch, pass: Pass) -> Result<()> {
        if pass == Pass::Training {
            self.dropout.pass += 1;
        }
        let weights = weights(parameters, self.adapter.as_ref(), self.dropout, pass);
        self.network.forward(weights, batch, &mut self.workspace)
    }

    /// Log-probabilities of a batch at a temperature, after [`Tuned::forward`].
    pub fn log_probs(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        temperature: f32,
        pass: Pass,
    ) -> Vec<f32> {
        let weights = weights(parameters, self.adapter.as_ref(), self.dropout, pass);
        self.network
            .log_probs(weights, batch, temperature, &mut self.workspace)
    }

    /// Adds gradients for `dL/d log_probs` and `dL/d hidden`, after [`Tuned::forward`] with
    /// [`Pass::Training`].
    pub fn backward(
        &mut self,
        parameters: &Parameters,
        gradients: &mut Parameters,
        batch: &Batch,
        d_log_probs: &[f32],
        d_hidden: Option<&[f32]>,
        temperature: f32,
    ) {
        let weights = weights(
            parameters,
            self.adapter.as_ref(),
            self.dropout,
            Pass::Training,
        );
        self.network.backward_log_probs(
            weights,
            gradients,
            batch,
            d_log_probs,
            d_hidden,
            temperature,
            &mut self.workspace,
        );
    }

    /// A number for every token, after [`Tuned::forward`].
    pub fn values(&mut self, parameters: &Parameters, head: ValueHead, pass: Pass) -> Vec<f32> {
        let weights = weights(parameters, self.adapter.as_ref(), self.dropout, pass);
        self.network.values(weights, head, &mut self.workspace)
    }

    /// Adds gradients for `dL/d value` of every token, and for `dL/d log_probs` if there are any;
    /// as [`Tuned::backward`].
    pub fn backward_values(
        &mut self,
        parameters: &Parameters,
        gradients: &mut Parameters,
        batch: &Batch,
        head: ValueHead,
        d_values: &[f32],
        log_probs: Option<LogProbGradient>,
    ) {
        let weights = weights(
            parameters,
            self.adapter.as_ref(),
            self.dropout,
            Pass::Training,
        );
        let workspace = &mut self.workspace;
        self.network.backward_values(
            weights, gradients, batch, head, d_values, log_probs, workspace,
        );
    }
}

fn weights<'a>(
    parameters: &'a Parameters,
    adapter: Option<&'a Adapter>,
    dropout: DropoutDraw,
    pass: Pass,
) -> Weights<'a> {
    Weights {
        parameters,
        adapter: adapter.filter(|_| pass != Pass::Base),
        dropout: (pass == Pass::Training).then_some(dropout),
    }
}

/// Writes what was trained to outputs `model` (with the adapter merged, and the files of `start`
/// carried along) and `adapter`.
///
/// # Errors
/// A file cannot be written.
pub fn write(ctx: &Ctx, tuned: &Tuned, parameters: Parameters, start: &Path) -> Result<()> {
    let mut checkpoint = Checkpoint {
        config: tuned.network.config().clone(),
        parameters: parameters.to_host()?,
    };
    let folder = ctx.output("adapter");
    if let Some(adapter) = tuned.adapter() {
        let Checkpoint { config, parameters } = &checkpoint;
        lora::write(adapter, config, None, parameters, &folder)?;
        let change = adapter.merge(&mut checkpoint);
        ctx.metric("largest_weight_change", f64::from(change));
    } else {
        fs_err::create_dir_all(&folder)?;
        let text = "There is no adapter: every weight was trained, see the output `model`.\n";
        fs_err::write(folder.join("README.md"), text)?;
    }
    checkpoint.save(&ctx.output("model"), Some(start))
}
