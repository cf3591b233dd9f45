//! From scores and log-probabilities of a batch to advantages: which token earned what.
//!
//! A function of the batch and of the state that goes from batch to batch (KL coefficient,
//! moments of scores), so that a batch read from disk gives the same numbers as a fresh one.
//! PPO spreads rewards by generalised advantage estimation; RLOO and GRPO compare the programs
//! of one problem and give every token of a program the same. Used by `ppo::run`.

use super::advantage::{generalised, group_relative, leave_one_out, whiten};
use super::execution::Parts;
use super::kl::{Controller, Penalty, k3};
use super::rollout::Rollout;
use super::score::{self, Moments, rewards};
use serde::{Deserialize, Serialize};

/// Where advantages come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// A critic and generalised advantage estimation (the paper's).
    #[default]
    Ppo,
    /// The other programs of the problem; the KL penalty is in the reward.
    Rloo,
    /// Mean and deviation of the problem's programs; the KL penalty (k3) is in the loss.
    Grpo,
}

/// The constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Where advantages come from.
    pub algorithm: Algorithm,
    /// Programs of a group.
    pub group: usize,
    /// How scores are changed.
    pub score: score::Options,
    /// What a reward is made of.
    pub parts: Parts,
    /// What of the log-ratio a reward subtracts.
    pub penalty: Penalty,
    /// How its coefficient moves.
    pub controller: Controller,
    /// `γ`.
    pub gamma: f64,
    /// `λ`.
    pub lambda: f64,
    /// Whether rewards are whitened (without taking their mean away).
    pub whiten_rewards: bool,
    /// Whether advantages are whitened.
    pub whiten_advantages: bool,
}

/// What goes from batch to batch, beside weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Batches learnt from.
    pub batches: u64,
    /// Updates of the weights.
    pub updates: u64,
    /// `β`.
    pub kl_coefficient: f64,
    /// Moments of all scores.
    pub moments: Moments,
}

/// Means over a batch, in TRL's words.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Summed log-ratio of a program: `objective/kl`.
    pub kl: f64,
    /// The k3 estimate of the same.
    pub kl_k3: f64,
    /// Summed surprise of a program, whose mean estimates the entropy: `objective/entropy`.
    pub entropy: f64,
    /// Score of the reward model.
    pub score: f64,
    /// Its standard deviation.
    pub score_deviation: f64,
    /// Score as it is learnt from.
    pub final_score: f64,
    /// Penalty of a program.
    pub penalty: f64,
    /// Tokens of a program.
    pub tokens: f64,
    /// Share of programs with an end.
    pub ended: f64,
}

/// Fills in scores, rewards, advantages and returns; moves the moments.
pub fn assign(options: &Options, rows: &mut [Rollout], state: &mut State) -> Summary {
    let mut scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
    let ended: Vec<bool> = rows.iter().map(Rollout::ended).collect();
    options.score.apply(&mut scores, &ended, &mut state.moments);
    for (score, row) in scores.iter_mut().zip(rows.iter()) {
        *score = options.parts.total(*score, row);
    }
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let coefficient = match options.algorithm {
        Algorithm::Ppo | Algorithm::Rloo => state.kl_coefficient,
        Algorithm::Grpo => 0.0,
    };
    let mut summary = Summary::default();
    let mut earned = Vec::with_capacity(rows.len());
    for (row, &score) in rows.iter_mut().zip(&scores) {
        let (log_probs, reference) = (wide(&row.log_probs), wide(&row.reference_log_probs));
        let pairs = || log_probs.iter().zip(&reference);
        row.kl = pairs().map(|(own, reference)| own - reference).sum();
        row.final_score = score;
        let rewards = rewards(&log_probs, &reference, score, options.penalty, coefficient);
        summary.kl += row.kl;
        summary.kl_k3 += pairs()
            .map(|(&own, &reference)| k3(own, reference))
            .sum::<f64>();
        summary.entropy -= log_probs.iter().sum::<f64>();
        summary.score += row.score;
        summary.final_score += score;
        summary.penalty += rewards.iter().sum::<f64>() - score;
        summary.tokens += rewards.len() as f64;
        summary.ended += f64::from(u8::from(row.ended()));
        earned.push(rewards);
    }
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    for (row, rewards) in rows.iter_mut().zip(&earned) {
        row.rewards = narrow(rewards);
    }
    if options.whiten_rewards {
        whiten(&mut earned, false);
    }
    let totals: Vec<f64> = earned.iter().map(|rewards| rewards.iter().sum()).collect();
    let spread = |advantages: Vec<f64>| -> Vec<Vec<f64>> {
        let programs = advantages.into_iter().zip(&earned);
        programs
            .map(|(advantage, rewards)| vec![advantage; rewards.len()])
            .collect()
    };
    let mut advantages = match options.algorithm {
        Algorithm::Ppo => rows
            .iter()
            .zip(&earned)
            .map(|(row, rewards)| {
                generalised(rewards, &wide(&row.values), options.gamma, options.lambda)
            })
            .collect(),
        Algorithm::Rloo => spread(leave_one_out(&totals, options.group)),
        Algorithm::Grpo => spread(group_relative(&totals, options.group)),
    };
    for (row, advantages) in rows.iter_mut().zip(&advantages) {
        let returns = advantages.iter().zip(&row.values);
        row.returns = returns.map(|(a, &v)| (a + f64::from(v)) as f32).collect();
    }
    if options.whiten_advantages {
        whiten(&mut advantages, true);
    }
    for (row, advantages) in rows.iter_mut().zip(&advantages) {
        row.advantages = narrow(advantages);
    }
    let count = rows.len().max(1) as f64;
    for mean in [
        &mut summary.kl,
        &mut summary.kl_k3,
        &mut summary.entropy,
        &mut summary.score,
        &mut summary.final_score,
        &mut summary.penalty,
        &mut summary.tokens,
        &mut summary.ended,
    ] {
        *mean /= count;
    }
    let squares: f64 = rows
        .iter()
        .map(|row| (row.score - summary.score).powi(2))
        .sum();
    summary.score_deviation = (squares / count).sqrt();
    summary
}
