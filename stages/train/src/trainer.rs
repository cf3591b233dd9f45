//! Weights, gradients and optimiser of a run: what an update changes and a checkpoint holds.
//!
//! Driven by `training_loop`, and directly by algorithms with a loop of their own (PPO).
//! Frozen parameters have no gradient, no moments and no place in a checkpoint: they come
//! from the run's input again. All of it lies where the weights lie, here or on a device;
//! checkpoints are the same files, so that a run may be resumed elsewhere.

use anyhow::{Context as _, Result, ensure};
use model::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use model::parameters::Parameters;
use model::safetensors_file;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The changing state of a training run.
pub struct Trainer {
    /// All weights.
    pub parameters: Parameters,
    /// Gradients of the trained weights; added to by objectives, zeroed by updates.
    pub gradients: Parameters,
    optimizer: AdamW,
    adamw: AdamWConfig,
    max_grad_norm: f64,
}

#[derive(Serialize, Deserialize)]
struct State {
    updates: u64,
}

impl Trainer {
    /// Starts from `parameters`; `trains` says which of them by name.
    pub fn new(
        parameters: Parameters,
        trains: impl Fn(&str) -> bool,
        adamw: AdamWConfig,
        max_grad_norm: f64,
    ) -> Self {
        let gradients = parameters.zeros_of(trains);
        let optimizer = AdamW::new(adamw, &gradients);
        Self {
            parameters,
            gradients,
            optimizer,
            adamw,
            max_grad_norm,
        }
    }

    /// Clips, updates and zeroes the gradients; returns their norm before clipping.
    ///
    /// # Errors
    /// The norm is not finite: the weights are as before and the run is lost.
    pub fn update(&mut self, learning_rate: f64) -> Result<f64> {
        let norm = gradient_norm(&self.gradients);
        ensure!(
            norm.is_finite(),
            "the gradient of update {} is not finite: lower learning_rate, lengthen warmup_steps \
             or set max_grad_norm; weights of the last checkpoint are sound",
            self.optimizer.steps()
        );
        let scale = if self.max_grad_norm > 0.0 {
            clip_coefficient(norm, self.max_grad_norm)
        } else {
            1.0
        };
        self.optimizer
            .update(&mut self.parameters, &self.gradients, learning_rate, scale);
        self.gradients.zero();
        Ok(norm)
    }

    /// A copy, here, of the trained weights.
    ///
    /// # Errors
    /// The device that they lie on failed.
    pub fn trained(&self) -> Result<Parameters> {
        self.parameters.copied(self.gradients.tensors.keys())
    }

    /// Writes trained weights and moments into a checkpoint.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        safetensors_file::write(&self.trained()?, &dir.join("trained.safetensors"))?;
        safetensors_file::write(&self.optimizer.state()?, &dir.join("moments.safetensors"))?;
        let state = State {
            updates: self.optimizer.steps(),
        };
        fs_err::write(dir.join("state.json"), serde_json::to_vec(&state)?)?;
        Ok(())
    }

    /// Takes back what [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// A file is missing or damaged, or is of other weights.
    pub fn restore(&mut self, dir: &Path) -> Result<()> {
        let named = || format!("the checkpoint {} cannot be used", dir.display());
        let trained =
            safetensors_file::read(&dir.join("trained.safetensors")).with_context(named)?;
        let fits = trained.tensors.len() == self.gradients.tensors.len()
            && trained.tensors.iter().all(|(name, tensor)| {
                self.gradients
                    .tensors
                    .get(name)
                    .is_some_and(|own| own.shape == tensor.shape)
            });
        ensure!(
            fits,
            "{}: it holds other weights than are trained here",
            named()
        );
        let state: State =
            serde_json::from_slice(&fs_err::read(dir.join("state.json"))?).with_context(named)?;
        let moments =
            safetensors_file::read(&dir.join("moments.safetensors")).with_context(named)?;
        self.optimizer = AdamW::restore(self.adamw, &self.gradients, moments, state.updates)
            .with_context(named)?;
        self.parameters.replace(trained)?;
        self.gradients.zero();
        Ok(())
    }
}
