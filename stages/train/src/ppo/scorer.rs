//! The reward model of `ppo`, and the critic if it grows on it.
//!
//! A critic of its own starts as the reward model with a fresh adapter (InstructGPT's start, which
//! knows from the first batch how good a problem's programs tend to be), so that both share one
//! trunk in memory: with the adapter off it scores, with it on it values. Without one the trunk is
//! the reward model alone, nothing of it is trained, and the critic is a head on the policy
//! (`rollout.rs`). Used by `ppo::run`.

use super::rollout::{VALUE_BIAS, VALUE_HEAD, VALUE_WEIGHT, is_value_head};
use super::score::Normalisation;
use super::{Critic, What};
use crate::reward::{
    self,
    objective::{SCORE, scores},
};
use crate::settings;
use crate::trainer::Trainer;
use crate::tuning::{Pass, Train, Tuned};
use anyhow::{Context as _, Result, ensure};
use engine::Ctx;
use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::config::Architecture;
use model::device::Device;
use model::optimizer::AdamWConfig;
use model::parameters::Tensor;
use std::path::Path;

/// The reward model, with or without a critic on it.
pub struct Scorer {
    /// The network; its adapter, if it has one, is the critic's.
    pub tuned: Tuned,
    /// Its weights, of which the critic's are trained.
    pub trainer: Trainer,
    critic: bool,
}

impl Scorer {
    /// A reward model alone.
    pub fn new(model: Checkpoint, adam: AdamWConfig) -> Self {
        Self {
            tuned: Tuned::new(model.config, &model.parameters, None, 0),
            trainer: Trainer::new(model.parameters, |_| false, adam, 0.0),
            critic: false,
        }
    }

    /// Loads input `reward` for a policy of `positions` positions in folder `policy`, with a
    /// critic if the settings want one there. `stored` are the moments of the model's scores.
    pub(super) fn load(
        what: &What,
        device: Option<&Device>,
        policy: &Path,
        positions: usize,
        stored: (f64, f64),
        adam: AdamWConfig,
        ctx: &Ctx,
    ) -> Result<Self> {
        let model = reward_model(ctx, policy, positions)?;
        let place = |parameters| settings::place(parameters, device, what.precision);
        if what.critic == Critic::Policy {
            let Checkpoint { config, parameters } = model;
            let parameters = place(parameters)?;
            return Ok(Self::new(Checkpoint { config, parameters }, adam));
        }
        let Checkpoint {
            config,
            mut parameters,
        } = model;
        // It begins by saying what a program would be scored that ended here, as the trainer
        // will see scores.
        let (mean, deviation) = match what.score_normalisation {
            Normalisation::None => (0.0, 1.0),
            _ => stored,
        };
        let mut head = parameters.tensors[SCORE].clone();
        for weight in &mut head.data {
            *weight = (f64::from(*weight) / deviation) as f32;
        }
        let tuned = Train::Adapter.begin(
            &what.adapter,
            false,
            &[],
            config,
            &mut parameters,
            ctx.seed(),
        )?;
        let mut bias = Tensor::zeros(&[1]);
        bias.data[0] = (-mean / deviation) as f32;
        parameters.tensors.insert(VALUE_WEIGHT.to_owned(), head);
        parameters.tensors.insert(VALUE_BIAS.to_owned(), bias);
        let trains = |name: &str| tuned.trains(name) || is_value_head(name);
        let trainer = Trainer::new(place(parameters)?, trains, adam, what.max_grad_norm);
        Ok(Self {
            tuned,
            trainer,
            critic: true,
        })
    }

    /// Whether the critic is here, and not on the policy.
    pub fn is_critic(&self) -> bool {
        self.critic
    }

    /// Scores of every token, of which the last of each sequence counts.
    pub(super) fn scores(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        scores(&mut self.tuned, &self.trainer.parameters, batch, Pass::Base)
    }

    /// Values of all tokens.
    pub(super) fn values(&mut self, batch: &Batch, pass: Pass) -> Result<Vec<f32>> {
        let parameters = &self.trainer.parameters;
        self.tuned.forward(parameters, batch, pass)?;
        Ok(self.tuned.values(parameters, VALUE_HEAD, pass))
    }

    /// Adds the critic's gradients for `dL/dV`, after [`Scorer::values`] with
    /// [`Pass::Training`].
    pub(super) fn backward(&mut self, batch: &Batch, d_values: &[f32]) {
        let Trainer {
            parameters,
            gradients,
            ..
        } = &mut self.trainer;
        self.tuned
            .backward_values(parameters, gradients, batch, VALUE_HEAD, d_values, None);
    }

    /// Moves the critic, if it is here.
    pub(super) fn update(&mut self, learning_rate: f64) -> Result<()> {
        if self.critic {
            self.trainer.update(learning_rate)?;
        }
        Ok(())
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        if self.critic {
            fs_err::create_dir_all(dir)?;
            self.trainer.save(dir)?;
        }
        Ok(())
    }

    pub(super) fn restore(&mut self, dir: &Path) -> Result<()> {
        if self.critic {
            self.trainer.restore(dir)?;
        }
        Ok(())
    }
}

/// Loads input `reward` and checks that it reads what the policy writes.
fn reward_model(ctx: &Ctx, policy: &Path, positions: usize) -> Result<Checkpoint> {
    let (folder, label) = (ctx.input("reward")?, ctx.label("reward"));
    let loaded = Checkpoint::load(folder)?;
    ensure!(
        loaded.config.architecture == Architecture::LlamaScore,
        "{label} is a {}, which has no score head: bind what `reward` made",
        loaded.config.architecture.name()
    );
    let text = |folder: &Path| fs_err::read(folder.join("tokenizer.json"));
    ensure!(
        text(folder)? == text(policy)?,
        "{label} has another tokenizer than {}: the same ids would be other texts. Train the reward \
         model from a model with the same tokenizer",
        ctx.label("model")
    );
    ensure!(
        loaded.config.max_positions >= positions,
        "{label} reads {} tokens, the model writes up to {positions}: a longer program could not be \
         scored",
        loaded.config.max_positions
    );
    Ok(loaded)
}

/// Mean and deviation that the reward model was measured to have.
pub(super) fn stored_moments(what: &What, ctx: &Ctx) -> Result<(f64, f64)> {
    let optional = match what.score_normalisation {
        Normalisation::None => return Ok((0.0, 1.0)),
        Normalisation::Scale | Normalisation::Standard => true,
        Normalisation::Stored => false,
    };
    let quality = reward::quality(ctx.input("reward")?)?;
    // Running moments need no start; a critic that begins as the reward model is better for one.
    if optional {
        return Ok(quality.map_or((0.0, 1.0), |found| (found.score_mean, found.score_std)));
    }
    let quality = quality.with_context(|| {
        format!(
            "score_normalisation is `stored`, and {} has no reward.json: train it with held-out \
             pairs (validation_share), or choose `standard`",
            ctx.label("reward")
        )
    })?;
    Ok((quality.score_mean, quality.score_std))
}
