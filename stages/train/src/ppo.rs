//! Stage `ppo`: proximal policy optimisation against a reward model (paper, section 3).
//!
//! Reads a model folder, a reward model's folder, and `problems`, of which only those of split
//! `train` are asked. Batch by batch: programs are drawn from the policy (`ppo/rollout.rs`),
//! scored, credited (`ppo/credit.rs`), and learnt from (`ppo/update.rs`). The critic is a head on
//! the policy's trunk or an adapter on the reward model's (`ppo/scorer.rs`), the reference is the
//! policy without its adapter: beside policy and reward model no third one is in memory. Where the paper is silent, defaults are those of TRL 0.8.6, whose
//! learning rate it has. Absent: top-k and top-p, under which log-probabilities would be others.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `reward` tree, `problems` table | `model`, `adapter` trees, `metrics`, `rollouts` tables |

pub mod advantage;
pub mod credit;
pub mod execution;
pub mod kl;
pub mod loss;
mod prompts;
pub mod rollout;
mod run;
pub mod score;
pub mod scorer;
pub mod update;

use crate::settings::{How, Schedule};
use crate::tuning::{Lora, Train};
use corpus::hints::Hinting;
use corpus::language::Language;
use credit::Algorithm;
use engine::{Ctx, Input, Invalid, Output, Stage};
use execution::{Execution, Parts};
use kl::{Controller, Penalty};
use model::precision::Precision;
use score::Normalisation;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// Where the critic is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Critic {
    /// A head on the policy's trunk, which says 0 at first (TRL's).
    #[default]
    Policy,
    /// An adapter and a head on the reward model's trunk; it starts as the reward model.
    RewardModel,
}

/// Settings of `ppo` that change the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// `ppo`, `rloo` or `grpo`.
    pub algorithm: Algorithm,
    /// Highest learning rate; the paper's.
    pub learning_rate: f64,
    /// How it falls from batch to batch: `cosine`, `linear` or `constant`.
    pub schedule: Schedule,
    /// Batches over which it rises from 0.
    pub warmup_batches: u64,
    /// Batches of programs in all; 0 = each problem is asked once.
    pub batches: u64,
    /// Weights of what a reward is made of: `reward_model`, and where programs are run
    /// `compiles`, `public_tests`, `all_tests`.
    pub parts: Parts,
    /// Programs of a batch.
    pub batch_size: u64,
    /// Programs of one prompt in a batch; 2 or more for `rloo` and `grpo`.
    pub samples_per_prompt: u64,
    /// Programs of one update.
    pub minibatch_size: u64,
    /// Programs that pass the network together: memory against speed.
    pub microbatch_size: u64,
    /// Times that a batch is learnt from.
    pub epochs: u64,
    /// Languages to ask for.
    pub languages: Vec<Language>,
    /// What prompts tell beside the statement, as in `mix`.
    #[serde(skip_serializing_if = "Hinting::is_off")]
    pub hints: Hinting,
    /// Prompts with more tokens are not asked.
    pub max_prompt_tokens: u64,
    /// Most tokens of a program.
    pub max_new_tokens: u64,
    /// Logits are divided by it, in sampling and in every log-probability.
    pub temperature: f64,
    /// Cost of a nat of KL at first.
    pub kl_coefficient: f64,
    /// KL of a program, in nats, that the coefficient aims at; 0 leaves it as it is.
    pub kl_target: f64,
    /// Programs over which the coefficient moves.
    pub kl_horizon: f64,
    /// What rewards subtract: `kl` (k1), `abs`, `mse` (k2) or `k3`.
    pub kl_penalty: Penalty,
    /// `none`, `scale`, `standard` (by running moments) or `stored` (with the reward model).
    pub score_normalisation: Normalisation,
    /// Scores are cut to ± it; 0 = never.
    pub score_clip: f64,
    /// Subtracted from the score of a program that has no end.
    pub missing_end_penalty: f64,
    /// Takes the place of the score of a program that has no end.
    pub missing_end_score: Option<f64>,
    /// Discount of later rewards.
    pub gamma: f64,
    /// Discount of later errors of the critic.
    pub lambda: f64,
    /// Whether rewards are divided by their deviation over the batch.
    pub whiten_rewards: bool,
    /// Whether advantages are made mean 0 and deviation 1 over the batch.
    pub whiten_advantages: bool,
    /// How far a probability may move from that of sampling.
    pub clip: f64,
    /// How far a value may move from that of sampling.
    pub clip_value: f64,
    /// Weight of the critic's loss.
    pub value_coefficient: f64,
    /// Where the critic is: a head on the `policy`, or an adapter on the `reward_model`.
    pub critic: Critic,
    /// Highest learning rate of a critic on the reward model; that of the policy if absent.
    pub critic_learning_rate: Option<f64>,
    /// What a nat of the policy's entropy is worth; 0 leaves it out.
    pub entropy_coefficient: f64,
    /// Programs that pass together and whose mean probability ratio is above it are not learnt
    /// from.
    pub ratio_threshold: f64,
    /// Gradients of a larger norm are scaled down to it; 0 = never.
    pub max_grad_norm: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest mean difference of the sampler's and the trainer's log-probabilities of a token.
    pub max_sampler_gap: f64,
    /// What is trained beside the critic's head: `adapter` or `full` (needs a copy of the model as
    /// reference).
    pub train: Train,
    /// Shape of the adapter.
    pub adapter: Lora,
    /// Whether the adapter acts on the output head too: the paper leaves out the embedding alone.
    pub lm_head: bool,
    /// What matrix products multiply in training: `f32`, or `bf16`, added in f32. Weights and their
    /// updates are f32 always, and so is sampling: with `bf16` raise `max_sampler_gap`.
    pub precision: Precision,
}

impl Default for What {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Ppo,
            learning_rate: 1.4e-5,
            schedule: Schedule::Cosine,
            warmup_batches: 0,
            batches: 0,
            parts: Parts::default(),
            batch_size: 128,
            samples_per_prompt: 1,
            minibatch_size: 128,
            microbatch_size: 4,
            epochs: 4,
            languages: vec![Language::Python3],
            hints: Hinting::default(),
            max_prompt_tokens: 2048,
            max_new_tokens: 1024,
            temperature: 1.0,
            kl_coefficient: 0.2,
            kl_target: 6.0,
            kl_horizon: 10_000.0,
            kl_penalty: Penalty::Kl,
            score_normalisation: Normalisation::None,
            score_clip: 0.0,
            missing_end_penalty: 0.0,
            missing_end_score: None,
            gamma: 1.0,
            lambda: 0.95,
            whiten_rewards: false,
            whiten_advantages: true,
            clip: 0.2,
            clip_value: 0.2,
            value_coefficient: 0.1,
            critic: Critic::Policy,
            critic_learning_rate: None,
            entropy_coefficient: 0.0,
            ratio_threshold: 10.0,
            max_grad_norm: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            max_sampler_gap: 1e-3,
            train: Train::Adapter,
            adapter: Lora::default(),
            lm_head: true,
            precision: Precision::F32,
        }
    }
}

impl What {
    fn loss(&self, kl_coefficient: f64) -> loss::Options {
        let critic = self.algorithm == Algorithm::Ppo;
        loss::Options {
            clip: self.clip,
            clip_value: self.clip_value,
            value_coefficient: if critic { self.value_coefficient } else { 0.0 },
            kl_coefficient: if self.algorithm == Algorithm::Grpo {
                kl_coefficient
            } else {
                0.0
            },
            entropy_coefficient: self.entropy_coefficient,
            ratio_threshold: self.ratio_threshold,
        }
    }

    fn credit(&self, stored: (f64, f64)) -> credit::Options {
        credit::Options {
            algorithm: self.algorithm,
            group: self.samples_per_prompt as usize,
            score: score::Options {
                missing_end_penalty: self.missing_end_penalty,
                missing_end_score: self.missing_end_score,
                normalisation: self.score_normalisation,
                stored,
                clip: self.score_clip,
            },
            parts: self.parts,
            penalty: self.kl_penalty,
            controller: Controller {
                target: (self.kl_target > 0.0).then_some(self.kl_target),
                horizon: self.kl_horizon,
            },
            gamma: self.gamma,
            lambda: self.lambda,
            whiten_rewards: self.whiten_rewards,
            whiten_advantages: self.whiten_advantages && self.algorithm == Algorithm::Ppo,
        }
    }
}

/// Stage `ppo`; `E` runs programs where the reward asks for it.
pub struct Ppo<E>(PhantomData<E>);

impl<E: Execution> Stage for Ppo<E> {
    const NAME: &'static str = "ppo";
    /// 1: first version. 2: programs may be run; `rollouts` has three columns for it. 3: products
    /// are summed in another order; metric `objective/entropy`.
    const VERSION: u32 = 3;
    const ABOUT: &'static str =
        "Trains a model on its own programs, by a reward model's scores and what running them says";
    const INPUTS: &'static [Input] = &[
        Input::tree("model"),
        Input::tree("reward"),
        Input::table("problems"),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::tree("model"),
        Output::tree("adapter"),
        Output::table("metrics"),
        Output::table("rollouts"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "train/src/ppo.rs",
        "train/src/ppo",
        "train/src/reward/objective.rs",
        "train/src/reward.rs",
        "train/src/tuning.rs",
        "train/src/examples.rs",
        "train/src/settings.rs",
        "train/src/trainer.rs",
        "corpus/src/hints.rs",
        "corpus/src/prompt.rs",
        "model/src",
    ];
    type What = What;
    type How = How;

    fn check(what: &What) -> Result<(), Invalid> {
        let from_zero = |value: f64| value.is_finite() && value >= 0.0;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let beta = |value: f64| (0.0..1.0).contains(&value);
        let grouped = what.algorithm != Algorithm::Ppo;
        for (holds, field, message) in [
            (
                from_zero(what.learning_rate),
                "learning_rate",
                "must be 0 or more",
            ),
            (
                what.batch_size > 0,
                "batch_size",
                "must be at least 1 program",
            ),
            (
                what.samples_per_prompt > 0
                    && what.batch_size.is_multiple_of(what.samples_per_prompt),
                "samples_per_prompt",
                "must divide batch_size: a group of programs is never cut",
            ),
            (
                !grouped || what.samples_per_prompt > 1,
                "samples_per_prompt",
                "must be at least 2, because rloo and grpo compare the programs of one prompt",
            ),
            (
                (1..=what.batch_size).contains(&what.minibatch_size),
                "minibatch_size",
                "must be at least 1 and at most batch_size",
            ),
            (
                what.microbatch_size > 0,
                "microbatch_size",
                "must be at least 1 program",
            ),
            (
                what.epochs > 0,
                "epochs",
                "must be at least 1, or nothing is learnt",
            ),
            (
                !what.languages.is_empty(),
                "languages",
                "must name a language to ask for",
            ),
            (
                what.max_prompt_tokens > 0,
                "max_prompt_tokens",
                "must be at least 1",
            ),
            (
                what.max_new_tokens > 0,
                "max_new_tokens",
                "must be at least 1",
            ),
            (
                what.temperature.is_finite() && what.temperature > 0.0,
                "temperature",
                "must be above 0: without chance there is nothing to compare",
            ),
            (
                from_zero(what.kl_coefficient),
                "kl_coefficient",
                "must be 0 or more",
            ),
            (
                from_zero(what.kl_target),
                "kl_target",
                "must be 0 (a fixed coefficient) or more",
            ),
            (
                what.kl_horizon.is_finite() && what.kl_horizon > 0.0,
                "kl_horizon",
                "must be above 0 programs",
            ),
            (
                what.algorithm != Algorithm::Grpo || what.kl_penalty == Penalty::Kl,
                "kl_penalty",
                "must be left alone with grpo, whose penalty is k3 in the loss",
            ),
            (
                from_zero(what.score_clip),
                "score_clip",
                "must be 0 (no bound) or more",
            ),
            (
                what.missing_end_penalty.is_finite(),
                "missing_end_penalty",
                "must be a number",
            ),
            (
                what.missing_end_penalty == 0.0 || what.missing_end_score.is_none(),
                "missing_end_score",
                "must be absent if there is a missing_end_penalty: one of the two",
            ),
            (share(what.gamma), "gamma", "must be between 0 and 1"),
            (share(what.lambda), "lambda", "must be between 0 and 1"),
            (
                what.clip > 0.0,
                "clip",
                "must be above 0, or nothing is learnt",
            ),
            (what.clip_value > 0.0, "clip_value", "must be above 0"),
            (
                from_zero(what.value_coefficient),
                "value_coefficient",
                "must be 0 or more",
            ),
            (
                what.critic == Critic::Policy || what.algorithm == Algorithm::Ppo,
                "critic",
                "must be left alone with rloo and grpo, which have none",
            ),
            (
                what.critic_learning_rate.is_none_or(from_zero)
                    && (what.critic_learning_rate.is_none() || what.critic == Critic::RewardModel),
                "critic_learning_rate",
                "must be 0 or more, and there only with critic = \"reward_model\": one on the \
                 policy learns at its rate",
            ),
            (
                from_zero(what.entropy_coefficient),
                "entropy_coefficient",
                "must be 0 or more",
            ),
            (
                what.ratio_threshold > 1.0,
                "ratio_threshold",
                "must be above 1",
            ),
            (
                from_zero(what.max_grad_norm),
                "max_grad_norm",
                "must be 0 (no clipping) or more",
            ),
            (beta(what.beta1), "beta1", "must be at least 0 and below 1"),
            (beta(what.beta2), "beta2", "must be at least 0 and below 1"),
            (
                what.eps > 0.0 && what.eps.is_finite(),
                "eps",
                "must be above 0",
            ),
            (
                what.max_sampler_gap > 0.0,
                "max_sampler_gap",
                "must be above 0 nats",
            ),
        ] {
            Invalid::unless(holds, field, message)?;
        }
        what.hints.check()?;
        what.parts.check()?;
        what.adapter.check()
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> anyhow::Result<()> {
        how.on_threads(|| run::run::<E>(what, how, ctx))
    }
}
