//! Programs drawn from the policy, and what every model says of their tokens.
//!
//! One table a batch: it is written whole before it is learnt from, so that it can be looked at
//! while training goes on, and read again after an interruption. Token ids are kept, never
//! tokenised again from text. Old log-probabilities are the trainer's, at the temperature that
//! was sampled at; how far the sampler's own lie from them is measured. Used by `ppo::run`.

use super::scorer::Scorer;
use crate::tuning::{Pass, Tuned};
use anyhow::Result;
use model::batch::Batch;
use model::network::ValueHead;
use model::parameters::{Parameters, Tensor};

/// The value head's tensors, named as TRL names them.
pub const VALUE_WEIGHT: &str = "v_head.summary.weight";
/// Its bias.
pub const VALUE_BIAS: &str = "v_head.summary.bias";
/// Both.
pub const VALUE_HEAD: ValueHead = ValueHead {
    weight: VALUE_WEIGHT,
    bias: Some(VALUE_BIAS),
};

/// Whether a tensor is of the value head.
pub fn is_value_head(name: &str) -> bool {
    name == VALUE_WEIGHT || name == VALUE_BIAS
}

/// Adds a value head for hidden states of `width`: a critic that knows nothing says 0 of everything.
pub fn add_value_head(parameters: &mut Parameters, width: usize) {
    for (name, shape) in [(VALUE_WEIGHT, [1, width].as_slice()), (VALUE_BIAS, &[1])] {
        let zeros = Tensor::zeros(shape);
        parameters.tensors.insert(name.to_owned(), zeros);
    }
}

corpus::table! {
    /// One program of a batch; lists have one number for each sampled token. What no model has
    /// said yet is empty, as in the default.
    #[derive(Default)]
    pub struct Rollout in "rollouts" {
        /// Number of the batch, from 0.
        pub batch: u32,
        /// Problem that was asked.
        pub problem_id: String,
        /// Language that was asked for.
        pub language: String,
        /// Number of the sample within its group, from 0.
        pub sample: u32,
        /// Token ids of the prompt.
        pub prompt_ids: Vec<u32>,
        /// Sampled token ids.
        pub token_ids: Vec<u32>,
        /// Decoded program text.
        pub text: String,
        /// `stop` at the end-of-sequence token or `length` at the limit.
        pub finish: String,
        /// The sampler's log-probabilities, at temperature 1.
        pub sampler_log_probs: Vec<f32>,
        /// The trainer's, before it learns from this batch.
        pub log_probs: Vec<f32>,
        /// The reference's.
        pub reference_log_probs: Vec<f32>,
        /// The critic's values.
        pub values: Vec<f32>,
        /// Score of the reward model.
        pub score: f64,
        /// 1 if it compiles, 0 if not; nothing if programs were not run.
        pub compiles: Option<f64>,
        /// Share of the public tests that pass; nothing if programs were not run.
        pub public_tests: Option<f64>,
        /// 1 if all tests pass, 0 if not; nothing if programs were not run.
        pub all_tests: Option<f64>,
        /// What is learnt from: the score, penalised, normalised, clipped, and the other parts.
        pub final_score: f64,
        /// Summed log-ratio of policy and reference.
        pub kl: f64,
        /// Rewards.
        pub rewards: Vec<f32>,
        /// Advantages.
        pub advantages: Vec<f32>,
        /// What values are drawn to.
        pub returns: Vec<f32>,
    }
}

impl Rollout {
    /// Whether the program has an end.
    pub fn ended(&self) -> bool {
        self.finish == "stop"
    }

    /// Appends prompt and program to a batch.
    ///
    /// # Errors
    /// Both are empty.
    pub fn push(&self, batch: &mut Batch) -> Result<()> {
        batch.push_completion(&self.prompt_ids, &self.token_ids)
    }
}

/// The models that look at programs.
pub struct Models<'a> {
    /// Policy, with the critic's head unless the scorer has it.
    pub policy: &'a mut Tuned,
    /// Their weights.
    pub parameters: &'a Parameters,
    /// The reference's weights, unless it is the policy without its adapter.
    pub reference: Option<&'a Parameters>,
    /// The reward model, perhaps with the critic.
    pub scorer: &'a mut Scorer,
    /// Logits are divided by it, as in sampling.
    pub temperature: f32,
}

/// Positions of each sequence's sampled tokens in a batch made by [`Rollout::push`].
pub fn places(rows: &[&Rollout]) -> Vec<std::ops::Range<usize>> {
    let mut start = 0;
    rows.iter()
        .map(|row| {
            let answer = start + row.prompt_ids.len();
            start = answer + row.token_ids.len();
            answer..start
        })
        .collect()
}

impl Models<'_> {
    /// Fills in what the models say of some programs; returns the summed difference between the sampler's log-probabilities and the trainer's.
    ///
    /// # Errors
    /// A program does not fit a model.
    pub fn look_at(&mut self, rows: &mut [Rollout]) -> Result<f64> {
        let mut batch = Batch::new();
        for row in rows.iter() {
            row.push(&mut batch)?;
        }
        let places = places(&rows.iter().collect::<Vec<_>>());
        let Self {
            policy,
            parameters,
            temperature,
            ..
        } = self;
        policy.forward(parameters, &batch, Pass::Evaluation)?;
        let log_probs = policy.log_probs(parameters, &batch, *temperature, Pass::Evaluation);
        // The sampler reports the model's own distribution, whatever it draws from.
        let plain = if (*temperature - 1.0).abs() < f32::EPSILON {
            log_probs.clone()
        } else {
            policy.log_probs(parameters, &batch, 1.0, Pass::Evaluation)
        };
        let values = if self.scorer.is_critic() {
            self.scorer.values(&batch, Pass::Evaluation)?
        } else {
            policy.values(parameters, VALUE_HEAD, Pass::Evaluation)
        };
        let reference = self.reference.unwrap_or(parameters);
        policy.forward(reference, &batch, Pass::Base)?;
        let reference = policy.log_probs(reference, &batch, *temperature, Pass::Base);
        let scores = self.scorer.scores(&batch)?;
        let mut sum = 0.0;
        for (row, place) in rows.iter_mut().zip(places) {
            for (sampled, own) in row.sampler_log_probs.iter().zip(&plain[place.clone()]) {
                sum += f64::from((sampled - own).abs());
            }
            row.log_probs = log_probs[place.clone()].to_vec();
            row.reference_log_probs = reference[place.clone()].to_vec();
            // The value of a token is that of the state it was drawn in.
            row.values = values[place.start - 1..place.end - 1].to_vec();
            row.score = f64::from(scores[place.end - 1]);
        }
        Ok(sum)
    }
}
