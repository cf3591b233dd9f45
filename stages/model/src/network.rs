//! The network: forward and backward of a Llama-shaped transformer, written out block by block.
//!
//! Called by the training stages with a packed [`Batch`]. `x ← x + Wo attention(norm(x))`,
//! `x ← x + Wdown swiglu(norm(x))`, repeated, then a last norm: the hidden states. From them
//! come token log-probabilities, and back from `dL/d log p` or `dL/d hidden` come weight
//! gradients, added to what is there. What a gradient is asked for decides the work: names
//! absent from the gradient map are frozen. Weights come as [`Weights`]: `&Parameters`, or with
//! an adapter on. Passes run where the weights lie: here, or in `network/device`. Deliberately
//! absent: an autograd tape, dropout outside adapters.

mod activations;
mod backward;
#[cfg(feature = "device")]
mod device;
mod forward;
mod names;

use anyhow::{Result, ensure};

pub use activations::{Workspace, activation_bytes};
#[cfg(feature = "device")]
pub(crate) use device::{Layers, head_of, shape};
use names::Names;

use crate::batch::Batch;
use crate::config::Config;
#[cfg(feature = "device")]
use crate::device::demand;
use crate::lora::HEAD;
use crate::ops::attention::Shape;
use crate::ops::head::Head;
use crate::ops::rope::Table;
use crate::ops::scalar_head;
use crate::parameters::{Parameters, shapes};
use crate::precision::Precision;
use crate::weights::Weights;

/// A network without its weights: configuration, names, rotary table.
pub struct Network {
    config: Config,
    names: Names,
    rotary: Table,
}

/// What [`Network::train_nll`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nll {
    /// Negative log-likelihood of the tokens in the loss, summed, in nats.
    pub sum: f64,
    /// Number of tokens in the loss.
    pub tokens: usize,
}

/// A head with one output per token on the hidden states, by the names of its tensors: the score
/// of a reward model, the value of a critic.
#[derive(Clone, Copy, Debug)]
pub struct ValueHead<'a> {
    /// `[1, hidden]`.
    pub weight: &'a str,
    /// `[1]`.
    pub bias: Option<&'a str>,
}

/// `dL/d log_probs` and the temperature they were taken at.
#[derive(Clone, Copy, Debug)]
pub struct LogProbGradient<'a> {
    /// One derivative per token.
    pub d_log_probs: &'a [f32],
    /// What logits were divided by.
    pub temperature: f32,
}

impl Network {
    /// A network of the given shape.
    pub fn new(config: Config) -> Self {
        let names = Names::new(&config);
        let rotary = Table::new(&config);
        Self {
            config,
            names,
            rotary,
        }
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    #[cfg(feature = "device")]
    pub(crate) fn rotary(&self) -> &Table {
        &self.rotary
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Checks that `parameters` holds every tensor in its shape.
    ///
    /// # Errors
    /// Names the first tensor that is missing or has another shape.
    pub fn check(&self, parameters: &Parameters) -> Result<()> {
        for (name, shape) in shapes(&self.config) {
            let tensor = parameters.tensors.get(&name);
            let found = tensor.map(|t| t.shape.as_slice());
            ensure!(
                found == Some(&shape),
                "parameter {name} should have shape {shape:?}, found {found:?}"
            );
        }
        Ok(())
    }

    fn check_batch(&self, batch: &Batch) -> Result<()> {
        ensure!(!batch.is_empty(), "the batch holds no tokens");
        for (sequence, bound) in batch.bounds.windows(2).enumerate() {
            let length = bound[1] - bound[0];
            ensure!(
                length <= self.config.max_positions,
                "sequence {sequence} of the batch has {length} tokens, the model only {} positions \
                 (max_position_embeddings): cut it or drop it",
                self.config.max_positions
            );
        }
        for &id in &batch.ids {
            ensure!(
                (id as usize) < self.config.vocab_size,
                "token id {id} is outside the vocabulary of {}: the tokenizer is not the model's",
                self.config.vocab_size
            );
        }
        for (_, target) in batch.targets() {
            ensure!(
                (target as usize) < self.config.vocab_size,
                "label {target} is outside the vocabulary"
            );
        }
        Ok(())
    }

    fn shape<'a>(&self, batch: &'a Batch) -> Shape<'a> {
        Shape {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            bounds: &batch.bounds,
        }
    }

    fn head<'a>(&self, weights: Weights<'a>, temperature: f32, precision: Precision) -> Head<'a> {
        assert!(
            self.config.architecture.has_head(),
            "a reward model has no language-model head"
        );
        Head {
            weight: weights.parameters.data(weights.head_name(&self.names.head)),
            width: self.config.hidden_size,
            temperature,
            low_rank: weights.low_rank(HEAD),
            precision,
        }
    }

    /// Runs the batch and keeps what the backward pass needs; afterwards
    /// [`Workspace::hidden`] holds the hidden states.
    ///
    /// # Errors
    /// The batch is empty, or an id or position is out of the model's range.
    pub fn forward<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        batch: &Batch,
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.check_batch(batch)?;
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            return device::forward(self, weights, batch, workspace);
        }
        workspace.fit(&self.config, batch.len());
        self.forward_blocks(weights, batch, workspace);
        Ok(())
    }

    /// `log p(ids[t] | ids[..t])` at temperature `temperature` for every token, after
    /// [`Network::forward`]; 0 for tokens whose label is `IGNORE` and for first tokens.
    pub fn log_probs<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        batch: &Batch,
        temperature: f32,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let (weights, targets) = (weights.into(), batch.targets());
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            let compact = device::log_probs(self, weights, &targets, temperature, workspace);
            return spread(&demand(compact), &targets, batch.len());
        }
        let mut compact = vec![0.0; targets.len()];
        let precision = workspace.precision();
        let Workspace { hidden, head, .. } = workspace;
        self.head(weights, temperature, precision)
            .forward(&mut compact, hidden, &targets, head);
        spread(&compact, &targets, batch.len())
    }

    /// Adds weight gradients for `dL/d log_probs`, aligned with the result of
    /// [`Network::log_probs`] (entries of tokens outside the loss are not read), and optionally
    /// `dL/d hidden` `[tokens, width]` for value and reward heads; after [`Network::forward`].
    pub fn backward_log_probs<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        gradients: &mut Parameters,
        batch: &Batch,
        d_log_probs: &[f32],
        d_hidden: Option<&[f32]>,
        temperature: f32,
        workspace: &mut Workspace,
    ) {
        let weights = weights.into();
        assert_eq!(d_log_probs.len(), batch.len(), "one derivative per token");
        let targets = batch.targets();
        let compact: Vec<f32> = targets
            .iter()
            .map(|(row, _)| d_log_probs[row + 1])
            .collect();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            let start = device::Start::Hidden(d_hidden);
            let head = Some((&*targets, &*compact, temperature));
            return demand(device::backward(
                self, weights, gradients, batch, start, head, workspace,
            ));
        }
        workspace.start_backward(d_hidden);
        self.backward_head(
            weights,
            gradients,
            &targets,
            &compact,
            temperature,
            workspace,
        );
        self.backward_blocks(weights, gradients, batch, workspace);
    }

    /// Adds weight gradients for `dL/d hidden` `[tokens, width]`, after [`Network::forward`].
    pub fn backward_hidden<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        gradients: &mut Parameters,
        batch: &Batch,
        d_hidden: &[f32],
        workspace: &mut Workspace,
    ) {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            let start = device::Start::Hidden(Some(d_hidden));
            return demand(device::backward(
                self, weights, gradients, batch, start, None, workspace,
            ));
        }
        workspace.start_backward(Some(d_hidden));
        self.backward_blocks(weights, gradients, batch, workspace);
    }

    /// The value of every token, after [`Network::forward`].
    pub fn values<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        head: ValueHead,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            return demand(device::values(weights, head, workspace));
        }
        let bias = head.bias.map(|name| weights.data(name)[0]);
        scalar_head::forward(&workspace.hidden, weights.data(head.weight), bias)
    }

    /// Adds gradients for `dL/d value` of every token, those of the head's own tensors among them,
    /// and for `dL/d log_probs` if they are given; after [`Network::forward`].
    pub fn backward_values<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        gradients: &mut Parameters,
        batch: &Batch,
        head: ValueHead,
        d_values: &[f32],
        log_probs: Option<LogProbGradient>,
        workspace: &mut Workspace,
    ) {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            let targets = batch.targets();
            let d_log_probs = log_probs.map(|given| given.d_log_probs);
            let compact: Vec<f32> = d_log_probs
                .iter()
                .flat_map(|d| targets.iter().map(|(row, _)| d[row + 1]))
                .collect();
            let start = device::Start::Values(head, d_values);
            let head = log_probs.map(|given| (&*targets, &*compact, given.temperature));
            return demand(device::backward(
                self, weights, gradients, batch, start, head, workspace,
            ));
        }
        let mut d_hidden = vec![0.0; workspace.hidden.len()];
        let names = [Some(head.weight), head.bias].map(|name| name.map_or("", |n| weights.name(n)));
        let [d_weight, d_bias] = gradients.data_mut_of(names);
        scalar_head::backward(
            &mut d_hidden,
            d_weight,
            d_bias,
            d_values,
            &workspace.hidden,
            weights.data(head.weight),
        );
        match log_probs {
            Some(LogProbGradient {
                d_log_probs,
                temperature,
            }) => self.backward_log_probs(
                weights,
                gradients,
                batch,
                d_log_probs,
                Some(&d_hidden),
                temperature,
                workspace,
            ),
            None => self.backward_hidden(weights, gradients, batch, &d_hidden, workspace),
        }
    }

    /// Forward and backward of `weight · Σ NLL` over the tokens in the loss, adding gradients.
    /// With `weight` = 1 / (tokens in the loss of the whole accumulation window), a window cut
    /// into any number of batches gives the gradient of one large batch (paper Eq. 1).
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn train_nll<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        gradients: &mut Parameters,
        batch: &Batch,
        weight: f64,
        workspace: &mut Workspace,
    ) -> Result<Nll> {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            self.train_nll_later(weights, gradients, batch, weight, workspace)?;
            return self.nll_so_far(workspace);
        }
        self.forward(weights, batch, workspace)?;
        let targets = batch.targets();
        if targets.is_empty() {
            return Ok(Nll::default());
        }
        let d_log_probs = vec![-weight as f32; targets.len()];
        workspace.start_backward(None);
        let log_probs =
            self.backward_head(weights, gradients, &targets, &d_log_probs, 1.0, workspace);
        self.backward_blocks(weights, gradients, batch, workspace);
        Ok(Nll {
            sum: -log_probs.iter().map(|&l| f64::from(l)).sum::<f64>(),
            tokens: targets.len(),
        })
    }

    /// As [`Network::train_nll`], but what was seen is asked for later, by
    /// [`Network::nll_so_far`]: a device is not waited for.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn train_nll_later<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        gradients: &mut Parameters,
        batch: &Batch,
        weight: f64,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            self.check_batch(batch)?;
            return device::train_nll(self, weights, gradients, batch, weight, workspace);
        }
        let found = self.train_nll(weights, gradients, batch, weight, workspace)?;
        workspace.seen.sum += found.sum;
        workspace.seen.tokens += found.tokens;
        Ok(())
    }

    /// What [`Network::train_nll_later`] saw since this was last asked.
    ///
    /// # Errors
    /// The device failed.
    pub fn nll_so_far(&self, workspace: &mut Workspace) -> Result<Nll> {
        #[cfg(feature = "device")]
        device::add_nll(workspace)?;
        Ok(std::mem::take(&mut workspace.seen))
    }

    /// The NLL of the tokens in the loss, without gradients.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn evaluate_nll<'a>(
        &self,
        weights: impl Into<Weights<'a>>,
        batch: &Batch,
        workspace: &mut Workspace,
    ) -> Result<Nll> {
        let weights = weights.into();
        self.forward(weights, batch, workspace)?;
        let log_probs = self.log_probs(weights, batch, 1.0, workspace);
        Ok(Nll {
            sum: -log_probs.iter().map(|&l| f64::from(l)).sum::<f64>(),
            tokens: batch.target_count(),
        })
    }

    /// The logits `[tokens, vocab]` after [`Network::forward`]; for inspection and tests, it
    /// holds them all at once.
    pub fn logits<'a>(&self, weights: impl Into<Weights<'a>>, workspace: &Workspace) -> Vec<f32> {
        let weights = weights.into();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            return demand(device::logits(self, weights, workspace));
        }
        self.head(weights, 1.0, workspace.precision())
            .all_logits(&workspace.hidden)
    }
}

/// Puts the log-probability of each target at the index of the predicted token.
fn spread(compact: &[f32], targets: &[(usize, u32)], tokens: usize) -> Vec<f32> {
    let mut all = vec![0.0; tokens];
    for (&value, &(row, _)) in compact.iter().zip(targets) {
        all[row + 1] = value;
    }
    all
}
