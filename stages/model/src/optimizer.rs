//! AdamW with global gradient-norm clipping, and the cosine schedule with warm-up.
//!
//! Called once per accumulation window by the training loop. `m ← β1 m + (1−β1) g`,
//! `v ← β2 v + (1−β2) g²`, `θ ← θ (1 − lr λ) − lr m̂ / (√v̂ + eps)`, as `torch.optim.AdamW`;
//! norms and biases are not decayed, as transformers' trainer does. With `weight_decay` 0 it
//! is Adam. Moments are f32, saved in a checkpoint with the step count; they lie where the
//! gradients lie (`optimizer/device.rs`).

#[cfg(feature = "device")]
mod device;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use crate::ops::vector::{dot, vectorised};
use crate::parameters::{Parameters, Tensor};

/// Values a parallel task handles at once; also how the norm's sum is cut.
const TASK: usize = 1 << 15;

/// Hyper-parameters of [`AdamW`] but the learning rate, which the schedule gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    /// The defaults of transformers' trainer: 0.9, 0.999, 1e-8, no decay.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// The state of an optimiser: both moments of every trained tensor, and the step count.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
    first: Parameters,
    second: Parameters,
}

impl AdamW {
    /// A fresh state for the tensors of `trained` (usually the gradient map).
    pub fn new(config: AdamWConfig, trained: &Parameters) -> Self {
        Self {
            config,
            step: 0,
            first: trained.zeros_like(),
            second: trained.zeros_like(),
        }
    }

    /// Updates done so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One update of every tensor that has a gradient, with gradients multiplied by
    /// `gradient_scale` (the clip coefficient) first.
    pub fn update(
        &mut self,
        parameters: &mut Parameters,
        gradients: &Parameters,
        learning_rate: f64,
        gradient_scale: f32,
    ) {
        self.step += 1;
        let AdamWConfig {
            beta1,
            beta2,
            eps,
            weight_decay,
        } = self.config;
        let correction = |beta: f64| 1.0 - beta.powi(self.step as i32);
        let rates = |name: &str| Rates {
            gradient_scale,
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            eps: eps as f32,
            keep: if decays(name) {
                (1.0 - learning_rate * weight_decay) as f32
            } else {
                1.0
            },
            step_size: (learning_rate / correction(beta1)) as f32,
            root_scale: (1.0 / correction(beta2).sqrt()) as f32,
        };
        #[cfg(feature = "device")]
        if let Some(placed) = parameters.placed_mut() {
            let update = device::Update {
                config: self.config,
                learning_rate,
                step: self.step,
                gradient_scale,
            };
            return update.apply(placed, &mut self.first, &mut self.second, gradients);
        }
        let tensors = gradients
            .tensors
            .iter()
            .zip(self.first.tensors.values_mut())
            .zip(self.second.tensors.values_mut());
        for (((name, gradient), first), second) in tensors {
            let rates = rates(name);
            let values = parameters
                .data_mut(name)
                .expect("a gradient's name is a parameter's");
            (
                values.par_chunks_mut(TASK),
                first.data.par_chunks_mut(TASK),
                second.data.par_chunks_mut(TASK),
                gradient.data.par_chunks(TASK),
            )
                .into_par_iter()
                .for_each(|(p, m, v, g)| update_chunk(p, m, v, g, rates));
        }
    }

    /// The state as named tensors for a checkpoint: `first.<name>`, `second.<name>`; the step
    /// count is given by [`AdamW::steps`] and must be kept beside them.
    ///
    /// # Errors
    /// The device that they lie on failed.
    pub fn state(&self) -> Result<Parameters> {
        let part = |prefix: &'static str, moments: &Parameters| -> Result<Vec<(String, Tensor)>> {
            let copies = moments.copied(moments.tensors.keys())?.tensors.into_iter();
            Ok(copies
                .map(|(name, t)| (format!("{prefix}.{name}"), t))
                .collect())
        };
        let first = part("first", &self.first)?.into_iter();
        Ok(first.chain(part("second", &self.second)?).collect())
    }

    /// Restores what [`AdamW::state`] and [`AdamW::steps`] gave.
    ///
    /// # Errors
    /// A moment of a trained tensor is missing or has another shape, or there are others.
    pub fn restore(
        config: AdamWConfig,
        trained: &Parameters,
        mut state: Parameters,
        step: u64,
    ) -> Result<Self> {
        let mut take = |prefix: &str| -> Result<Parameters> {
            let mut moments = Parameters::default();
            for (name, moment) in &trained.tensors {
                let saved = state
                    .tensors
                    .remove(&format!("{prefix}.{name}"))
                    .with_context(|| {
                        format!("the optimiser state has no {prefix} moment of {name}")
                    })?;
                ensure!(
                    saved.shape == moment.shape,
                    "the {prefix} moment of {name} has shape {:?}, the parameter {:?}",
                    saved.shape,
                    moment.shape
                );
                moments.tensors.insert(name.clone(), saved);
            }
            moments.to_place_of(trained)
        };
        let (first, second) = (take("first")?, take("second")?);
        if let Some(name) = state.tensors.keys().next() {
            anyhow::bail!("the optimiser state holds {name}, which is not trained");
        }
        Ok(Self {
            config,
            step,
            first,
            second,
        })
    }
}

/// Whether weight decay acts on a tensor.
fn decays(name: &str) -> bool {
    !name.ends_with("norm.weight") && !name.ends_with(".bias")
}

#[derive(Clone, Copy)]
struct Rates {
    gradient_scale: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    keep: f32,
    step_size: f32,
    root_scale: f32,
}

vectorised! {
    fn update_chunk(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], rates: Rates) {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * rates.gradient_scale;
            *m = rates.beta1.mul_add(*m, rates.rest1 * g);
            *v = rates.beta2.mul_add(*v, rates.rest2 * g * g);
            let denominator = v.sqrt().mul_add(rates.root_scale, rates.eps);
            *p = p.mul_add(rates.keep, -(rates.step_size * (*m / denominator)));
        }
    }
}

/// The Euclidean norm over all gradients, summed in f64 in a fixed order.
pub fn gradient_norm(gradients: &Parameters) -> f64 {
    #[cfg(feature = "device")]
    if let Some(placed) = gradients.placed() {
        return device::norm(placed);
    }
    let mut total = 0.0;
    for tensor in gradients.tensors.values() {
        let parts: Vec<f64> = tensor
            .data
            .par_chunks(TASK)
            .map(|chunk| {
                chunk
                    .chunks(256)
                    .map(|part| f64::from(dot(part, part)))
                    .sum()
            })
            .collect();
        total += parts.iter().sum::<f64>();
    }
    total.sqrt()
}

/// The factor that brings a gradient of norm `norm` to at most `max_norm`:
/// `min(1, max_norm / (norm + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f32 {
    (max_norm / (norm + 1e-6)).min(1.0) as f32
}

/// The learning rate of update `step` (from 0): linear warm-up from 0, then half a cosine to 0,
/// exactly `get_cosine_schedule_with_warmup`. Update 0 of a warm-up has rate 0.
pub fn cosine_learning_rate(peak: f64, step: u64, warmup: u64, total: u64) -> f64 {
    if step < warmup {
        return peak * (step as f64 / warmup.max(1) as f64);
    }
    let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    peak * (0.5 * (1.0 + (std::f64::consts::PI * 0.5 * 2.0 * progress).cos())).max(0.0)
}
