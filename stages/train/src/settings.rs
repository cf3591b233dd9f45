//! The settings that all training stages share, and their ranges.
//!
//! A stage declares its `What` with `training_settings!`, which puts its own fields behind the
//! shared ones: a recipe sees one flat section, and an unknown key is an error with its place.
//! [`How`] never changes a byte of the result, but for `device`: kinds of processors round
//! differently, and a result's trace says which one made it.

use crate::best::Keep;
use crate::data_parallel::ranks::Means;
use anyhow::Context as _;
use engine::{Ctx, Invalid};
use model::device::{self, Choice, Device};
use model::network::Workspace;
use model::optimizer::{AdamWConfig, cosine_learning_rate};
use model::parameters::Parameters;
use model::precision::Precision;
use serde::{Deserialize, Serialize};

/// How the learning rate goes after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to 0 (the paper's).
    #[default]
    Cosine,
    /// A straight line down to 0.
    Linear,
    /// As it is.
    Constant,
}

impl Schedule {
    /// The learning rate of update `step` (from 0) of `total`: a linear warm-up from 0, then
    /// the schedule; the formulas are those of transformers, so update 0 of a warm-up has
    /// rate 0.
    pub fn learning_rate(self, peak: f64, step: u64, warmup: u64, total: u64) -> f64 {
        if step < warmup || self == Self::Cosine {
            return cosine_learning_rate(peak, step, warmup, total);
        }
        match self {
            Self::Linear => {
                let left = total.saturating_sub(step) as f64;
                peak * left / total.saturating_sub(warmup).max(1) as f64
            }
            Self::Constant | Self::Cosine => peak,
        }
    }
}

/// The shared settings of one training run, without the stage's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimisation {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// Updates over which it rises from 0.
    pub warmup_steps: u64,
    /// Passes over the data, unless `max_steps` is set.
    pub epochs: u64,
    /// Updates in all; 0 = as `epochs` says.
    pub max_steps: u64,
    /// Rows of one micro-batch.
    pub batch_size: u64,
    /// Micro-batches of one update, on each rank.
    pub accumulation: u64,
    /// Ranks of the run that is reproduced; one process does the work of all, see
    /// `data_parallel`.
    pub ranks: u64,
    /// Gradients of a larger norm are scaled down to it; 0 = never.
    pub max_grad_norm: f64,
    /// Moments, epsilon and decay.
    pub adamw: AdamWConfig,
    /// Validation rounds over the run, besides the one before it.
    pub evaluations: u64,
    /// Which weights are the result.
    pub keep: Keep,
    /// What matrix products multiply; weights and their updates are f32 always.
    pub precision: Precision,
}

impl Optimisation {
    /// Rows of one update.
    pub fn window(&self) -> usize {
        (self.batch_size * self.accumulation * self.ranks) as usize
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn check(&self) -> Result<(), Invalid> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        let beta = |value: f64| (0.0..1.0).contains(&value);
        let adamw = self.adamw;
        for (holds, field, message) in [
            (
                from_zero(self.learning_rate),
                "learning_rate",
                "must be 0 or more",
            ),
            (
                self.epochs > 0 || self.max_steps > 0,
                "epochs",
                "must be at least 1 unless max_steps is set, or nothing is trained",
            ),
            (self.batch_size > 0, "batch_size", "must be at least 1 row"),
            (self.accumulation > 0, "accumulation", "must be at least 1"),
            (self.ranks > 0, "ranks", "must be at least 1"),
            (
                from_zero(self.max_grad_norm),
                "max_grad_norm",
                "must be 0 (no clipping) or more",
            ),
            (
                from_zero(adamw.weight_decay),
                "weight_decay",
                "must be 0 or more",
            ),
            (beta(adamw.beta1), "beta1", "must be at least 0 and below 1"),
            (beta(adamw.beta2), "beta2", "must be at least 0 and below 1"),
            (
                self.keep == Keep::Last || self.evaluations > 0,
                "keep",
                "`best` is chosen at validation rounds: set evaluations to at least 1",
            ),
            (
                positive(adamw.eps),
                "eps",
                "must be above 0, because it keeps a division finite",
            ),
        ] {
            Invalid::unless(holds, field, message)?;
        }
        Ok(())
    }
}

/// Settings that never change the result, but for its last bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Threads; 0 = as many as there are cores.
    pub threads: usize,
    /// Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`; if absent, as `--device` says.
    pub device: Option<Choice>,
    /// How gradients of several processes are added, `nccl` or `tcp`; if absent, as
    /// `--data-parallel` says.
    pub data_parallel: Option<Means>,
    /// Updates between checkpoints; 0 = by time alone.
    pub checkpoint_every_steps: u64,
    /// Seconds between checkpoints; 0 = by steps alone.
    pub checkpoint_every_s: f64,
    /// Whether blocks are computed again in the backward pass instead of being kept: a third
    /// more work, and of the activations only one block's and the residual stream are held.
    pub recompute: bool,
}

impl Default for How {
    fn default() -> Self {
        Self {
            threads: 0,
            device: None,
            data_parallel: None,
            checkpoint_every_steps: 0,
            checkpoint_every_s: 120.0,
            recompute: false,
        }
    }
}

impl How {
    /// The buffers of a network's passes, which compute in `precision`.
    pub fn workspace(&self, precision: Precision) -> Workspace {
        Workspace::with(precision, self.recompute)
    }

    /// Opens the device that is asked for and notes what computes; `None` is the CPU.
    ///
    /// # Errors
    /// The device is not there.
    pub fn device(&self, ctx: &Ctx) -> anyhow::Result<Option<Device>> {
        let opened = self.device.unwrap_or_default().open()?;
        if let Some(note) = opened.note {
            ctx.info(note);
        }
        let name = opened.device.as_ref().map(device::name);
        if let Some(name) = &name {
            ctx.info(format!("computing on {name}"));
        }
        ctx.note_platform("device", name.as_deref().unwrap_or("cpu"));
        Ok(opened.device)
    }

    /// Runs `work` on the asked number of threads.
    ///
    /// # Errors
    /// The threads cannot be started, a device failed, or what `work` returns.
    pub fn on_threads<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()?
            .install(|| device::catching(work))
            .map_err(|error| {
                if !device::is_failure(&error) {
                    return error;
                }
                error.context(
                    "the device failed; the last checkpoint is kept, and the same command goes on \
                     from there, perhaps with smaller micro-batches or how.recompute = true",
                )
            })
    }
}

/// Moves weights to a device, if there is one to train them on.
///
/// # Errors
/// It has no room for them.
pub fn place(
    parameters: Parameters,
    device: Option<&Device>,
    precision: Precision,
) -> anyhow::Result<Parameters> {
    let Some(device) = device else {
        return Ok(parameters);
    };
    let gigabytes = 4e-9 * parameters.count() as f64;
    parameters.to_device(device, precision).with_context(|| {
        format!(
            "{gigabytes:.2} GB of weights do not fit on {}",
            device::name(device)
        )
    })
}

/// Declares a stage's settings: the shared ones with this stage's defaults, then its own.
#[macro_export]
macro_rules! training_settings {
    (
        $(#[$about:meta])* $visible:vis struct $name:ident {
            learning_rate: $learning_rate:expr, warmup_steps: $warmup_steps:expr,
            batch_size: $batch_size:expr, accumulation: $accumulation:expr, ranks: $ranks:expr;
            $($(#[$field_about:meta])* $field:ident: $kind:ty = $default:expr,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visible struct $name {
            /// Highest learning rate.
            pub learning_rate: f64,
            /// How it falls after the warm-up: `cosine`, `linear` or `constant`.
            pub schedule: $crate::settings::Schedule,
            /// Updates over which the learning rate rises from 0.
            pub warmup_steps: u64,
            /// Passes over the data, unless `max_steps` is set.
            pub epochs: u64,
            /// Updates in all; 0 = as `epochs` says.
            pub max_steps: u64,
            /// Rows of one micro-batch.
            pub batch_size: u64,
            /// Micro-batches of one update, on each rank.
            pub accumulation: u64,
            /// Ranks of the run that is reproduced; one process does the work of all.
            pub ranks: u64,
            /// Gradients of a larger norm are scaled down to it; 0 = never.
            pub max_grad_norm: f64,
            /// Decoupled weight decay; norms and biases are not decayed.
            pub weight_decay: f64,
            /// Decay of the first moment.
            pub beta1: f64,
            /// Decay of the second moment.
            pub beta2: f64,
            /// Added to the root of the second moment.
            pub eps: f64,
            /// Share of the problems kept out of training to measure the loss on.
            pub validation_share: f64,
            /// Validation rounds over the run, besides the one before it.
            pub evaluations: u64,
            /// Which weights are the result: `last`, or `best` by validation loss.
            pub keep: $crate::best::Keep,
            /// What matrix products multiply: `f32`, or `bf16`, added in f32. Weights, gradients
            /// and the optimiser's state are f32 always.
            pub precision: ::model::precision::Precision,
            $($(#[$field_about])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    learning_rate: $learning_rate,
                    schedule: $crate::settings::Schedule::Cosine,
                    warmup_steps: $warmup_steps,
                    epochs: 1,
                    max_steps: 0,
                    batch_size: $batch_size,
                    accumulation: $accumulation,
                    ranks: $ranks,
                    max_grad_norm: 1.0,
                    weight_decay: 0.0,
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    validation_share: 0.005,
                    evaluations: 5,
                    keep: $crate::best::Keep::Last,
                    precision: ::model::precision::Precision::F32,
                    $($field: $default,)*
                }
            }
        }

        impl $name {
            /// The shared settings.
            pub fn optimisation(&self) -> $crate::settings::Optimisation {
                $crate::settings::Optimisation {
                    learning_rate: self.learning_rate,
                    schedule: self.schedule,
                    warmup_steps: self.warmup_steps,
                    epochs: self.epochs,
                    max_steps: self.max_steps,
                    batch_size: self.batch_size,
                    accumulation: self.accumulation,
                    ranks: self.ranks,
                    max_grad_norm: self.max_grad_norm,
                    adamw: ::model::optimizer::AdamWConfig {
                        beta1: self.beta1,
                        beta2: self.beta2,
                        eps: self.eps,
                        weight_decay: self.weight_decay,
                    },
                    evaluations: self.evaluations,
                    keep: self.keep,
                    precision: self.precision,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn warm_up_starts_at_zero_and_schedules_end_at_zero() {
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            let rate = |step| schedule.learning_rate(2.0, step, 10, 110);
            assert!(rate(0).abs() < 1e-15);
            assert!((rate(5) - 1.0).abs() < 1e-12);
            assert!((rate(10) - 2.0).abs() < 1e-12);
            let middle = if schedule == Schedule::Constant {
                2.0
            } else {
                1.0
            };
            assert!((rate(60) - middle).abs() < 1e-12, "{schedule:?}");
            let end = if schedule == Schedule::Constant {
                2.0
            } else {
                0.0
            };
            assert!((rate(110) - end).abs() < 1e-12, "{schedule:?}");
        }
    }
}
