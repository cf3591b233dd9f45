//! One mini-batch of programs through policy and critic: losses and gradients.
//!
//! Rows pass the network a few at a time; the denominator is the mini-batch's, so that the cut
//! changes nothing. If policy and value share the trunk, the derivative of the value goes into the
//! hidden states beside that of the log-probabilities; a critic of its own passes by itself. Used by `ppo::run` and `iota debug loss`.

use super::loss::{self, Options, Sums, Token};
use super::rollout::{Rollout, VALUE_HEAD, places};
use super::scorer::Scorer;
use crate::tuning::{Pass, Tuned};
use anyhow::Result;
use model::batch::Batch;
use model::network::LogProbGradient;
use model::parameters::Parameters;

/// How a mini-batch passes.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Programs that pass together.
    pub rows: usize,
    /// Logits are divided by it, as in sampling.
    pub temperature: f32,
}

/// Adds the gradients of a mini-batch, the critic's to its own if it is not on the policy; returns its sums and how many programs were not learnt
/// from because their ratio was beyond the threshold.
///
/// # Errors
/// A program does not fit the network.
pub fn accumulate(
    policy: &mut Tuned,
    parameters: &Parameters,
    gradients: &mut Parameters,
    mut critic: Option<&mut Scorer>,
    programs: &[&Rollout],
    options: &Options,
    cut: Cut,
) -> Result<(Sums, usize)> {
    let tokens_in_batch = programs.iter().map(|row| row.token_ids.len()).sum();
    let (mut sums, mut skipped) = (Sums::default(), 0);
    for rows in programs.chunks(cut.rows) {
        let mut batch = Batch::new();
        for row in rows {
            row.push(&mut batch)?;
        }
        policy.forward(parameters, &batch, Pass::Training)?;
        let log_probs = policy.log_probs(parameters, &batch, cut.temperature, Pass::Training);
        let values = match &mut critic {
            Some(critic) => critic.values(&batch, Pass::Training)?,
            None => policy.values(parameters, VALUE_HEAD, Pass::Training),
        };
        let places = places(rows);
        let mut tokens = Vec::new();
        for (row, place) in rows.iter().zip(&places) {
            for (index, position) in place.clone().enumerate() {
                tokens.push(Token {
                    log_prob: log_probs[position].into(),
                    old_log_prob: row.log_probs[index].into(),
                    reference: row.reference_log_probs[index].into(),
                    value: values[position - 1].into(),
                    old_value: row.values[index].into(),
                    advantage: row.advantages[index].into(),
                    target: row.returns[index].into(),
                });
            }
        }
        let found = loss::loss(options, &tokens, tokens_in_batch);
        sums.add(&found.sums);
        if found.skipped {
            skipped += rows.len();
            continue;
        }
        let (mut d_log_probs, mut d_values) = (vec![0.0; batch.len()], vec![0.0; batch.len()]);
        for (position, (d_log_prob, d_value)) in places
            .iter()
            .flat_map(Clone::clone)
            .zip(found.d_log_probs.iter().zip(&found.d_values))
        {
            d_log_probs[position] = *d_log_prob;
            d_values[position - 1] = *d_value;
        }
        let temperature = cut.temperature;
        if let Some(critic) = &mut critic {
            critic.backward(&batch, &d_values);
            policy.backward(
                parameters,
                gradients,
                &batch,
                &d_log_probs,
                None,
                temperature,
            );
        } else {
            let log_probs = LogProbGradient {
                d_log_probs: &d_log_probs,
                temperature,
            };
            policy.backward_values(
                parameters,
                gradients,
                &batch,
                VALUE_HEAD,
                &d_values,
                Some(log_probs),
            );
        }
    }
    Ok((sums, skipped))
}
