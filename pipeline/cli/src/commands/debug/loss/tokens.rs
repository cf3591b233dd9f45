//! The losses on tokens: `sft`, and one mini-batch of `ppo`.

use super::{
    Found,
    batch::{Rows, named},
    pairs::gradients,
};
use crate::commands::debug::loaded::Loaded;
use anyhow::{Result, bail, ensure};
use clap::Args;
use model::{
    arrays::Arrays,
    batch::{Batch, IGNORE},
    network::Workspace,
    parameters::{Parameters, Tensor},
};
use serde_json::{Map, Value, json};
use train::{
    ppo::{
        credit::{self, Algorithm, State},
        kl::{Controller, Penalty},
        loss::Options as PpoOptions,
        rollout::{Rollout, VALUE_BIAS, VALUE_HEAD, VALUE_WEIGHT},
        score::{self, Moments},
        update::{Cut, accumulate},
    },
    tuning::{Pass, Tuned},
};

/// Constants of `ppo`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// ppo: how far a probability may move.
    #[arg(long, default_value_t = 0.2)]
    clip: f64,
    /// ppo: how far a value may move.
    #[arg(long, default_value_t = 0.2)]
    clip_value: f64,
    /// ppo: weight of the critic's loss.
    #[arg(long, default_value_t = 0.1)]
    value_coefficient: f64,
    /// ppo: rows with a larger mean ratio are not learnt from.
    #[arg(long, default_value_t = 10.0)]
    ratio_threshold: f64,
    /// ppo: cost of a nat of KL, when rewards are made from `scores`.
    #[arg(long, default_value_t = 0.2)]
    kl_coefficient: f64,
    /// ppo: discount of rewards.
    #[arg(long, default_value_t = 1.0)]
    gamma: f64,
    /// ppo: discount of the critic's errors.
    #[arg(long, default_value_t = 0.95)]
    gae_lambda: f64,
    /// ppo: divide rewards by their deviation.
    #[arg(long)]
    whiten_rewards: bool,
}

pub(super) fn sft(loaded: &Loaded, arrays: &Arrays) -> Result<Found> {
    let rows = Rows::read(arrays)?;
    let labels = rows.beside(arrays, "labels")?;
    let mut batch = Batch::new();
    for (row, tokens) in rows.rows.iter().enumerate() {
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let of = |column: usize| labels[row * rows.columns + column];
        let labels: Vec<i32> = tokens
            .iter()
            .map(|token| {
                if of(token.column) < 0 {
                    IGNORE
                } else {
                    token.id as i32
                }
            })
            .collect();
        batch.push(&ids, &labels)?;
    }
    ensure!(
        batch.target_count() > 0,
        "no token of `labels` is in the loss"
    );
    let (mut gradients, mut workspace) = (gradients(loaded), Workspace::new());
    let weight = 1.0 / batch.target_count() as f64;
    let nll = loaded.network.train_nll(
        loaded.weights(),
        &mut gradients,
        &batch,
        weight,
        &mut workspace,
    )?;
    let numbers = Map::from_iter([("tokens".to_owned(), json!(nll.tokens))]);
    Ok(Found {
        loss: nll.sum * weight,
        numbers,
        rows: Map::new(),
        gradients,
    })
}

pub(super) fn ppo(
    options: &Options,
    loaded: &Loaded,
    reference: Option<&Parameters>,
    arrays: &Arrays,
) -> Result<Found> {
    let mut parameters = loaded.parameters.clone();
    put_weights(&mut parameters, arrays)?;
    let config = loaded.network.config().clone();
    let mut policy = Tuned::new(config, &parameters, loaded.adapter.clone(), 0);
    let mut rollouts = rollouts(&mut policy, &parameters, arrays, |policy, batch| {
        let reference = reference.unwrap_or(&loaded.parameters);
        policy.forward(reference, batch, Pass::Base)?;
        Ok(policy.log_probs(reference, batch, 1.0, Pass::Base))
    })?;
    let mut found = Map::new();
    if !arrays.has("advantages") {
        let scores = arrays.floats("scores")?;
        ensure!(
            scores.data.len() == rollouts.len(),
            "`scores` has shape {:?}; one number for each row is wanted",
            scores.shape
        );
        for (row, score) in rollouts.iter_mut().zip(scores.data) {
            row.score = score.into();
        }
        let mut state = State {
            batches: 0,
            updates: 0,
            kl_coefficient: options.kl_coefficient,
            moments: Moments::default(),
        };
        let summary = credit::assign(&credit_options(options), &mut rollouts, &mut state);
        found.insert("objective/kl".to_owned(), json!(summary.kl));
        found.insert("objective/kl_k3".to_owned(), json!(summary.kl_k3));
    }
    let constants = PpoOptions {
        clip: options.clip,
        clip_value: options.clip_value,
        value_coefficient: options.value_coefficient,
        kl_coefficient: 0.0,
        entropy_coefficient: 0.0,
        ratio_threshold: options.ratio_threshold,
    };
    let mut gradients = match &loaded.adapter {
        Some(adapter) => adapter.gradients(&parameters),
        None => parameters.zeros_like(),
    };
    for name in [VALUE_WEIGHT, VALUE_BIAS] {
        let zeros = Tensor::zeros(&parameters.tensors[name].shape);
        gradients.tensors.insert(name.to_owned(), zeros);
    }
    let programs: Vec<&Rollout> = rollouts.iter().collect();
    let cut = Cut {
        rows: programs.len(),
        temperature: 1.0,
    };
    let (sums, skipped) = accumulate(
        &mut policy,
        &parameters,
        &mut gradients,
        None,
        &programs,
        &constants,
        cut,
    )?;
    found.insert("skipped_rows".to_owned(), json!(skipped));
    for (name, mean) in sums.means() {
        found.insert(name.to_owned(), json!(mean));
    }
    let of = |pick: fn(&Rollout) -> &Vec<f32>| -> Value {
        rollouts.iter().map(|row| json!(pick(row))).collect()
    };
    let rows = Map::from_iter([
        ("old_logprobs".to_owned(), of(|row| &row.log_probs)),
        (
            "ref_logprobs".to_owned(),
            of(|row| &row.reference_log_probs),
        ),
        ("old_values".to_owned(), of(|row| &row.values)),
        ("rewards".to_owned(), of(|row| &row.rewards)),
        ("advantages".to_owned(), of(|row| &row.advantages)),
        ("returns".to_owned(), of(|row| &row.returns)),
    ]);
    Ok(Found {
        loss: sums.total / sums.tokens.max(1.0),
        numbers: found,
        rows,
        gradients,
    })
}

fn credit_options(options: &Options) -> credit::Options {
    credit::Options {
        algorithm: Algorithm::Ppo,
        parts: train::ppo::execution::Parts::default(),
        group: 1,
        score: score::Options::default(),
        penalty: Penalty::Kl,
        controller: Controller {
            target: None,
            horizon: 1.0,
        },
        gamma: options.gamma,
        lambda: options.gae_lambda,
        whiten_rewards: options.whiten_rewards,
        whiten_advantages: true,
    }
}

/// The critic's head, and weights in place of the model's.
fn put_weights(parameters: &mut Parameters, arrays: &Arrays) -> Result<()> {
    for (own, name) in [(VALUE_WEIGHT, "v_head.weight"), (VALUE_BIAS, "v_head.bias")] {
        parameters
            .tensors
            .insert(own.to_owned(), arrays.floats(name)?);
    }
    for name in arrays.names() {
        if let Some(own) = name.strip_prefix("policy.") {
            let tensor = arrays.floats(&name)?;
            match parameters.tensors.get_mut(own) {
                Some(value) if value.shape == tensor.shape => *value = tensor,
                Some(value) => bail!(
                    "`{name}` has shape {:?}; the model's has {:?}",
                    tensor.shape,
                    value.shape
                ),
                None => bail!("`{name}`: the model has no tensor {own}"),
            }
        }
    }
    Ok(())
}

/// Rows as programs, with what the file says of them or the model computes.
fn rollouts(
    policy: &mut Tuned,
    parameters: &Parameters,
    arrays: &Arrays,
    mut reference: impl FnMut(&mut Tuned, &Batch) -> Result<Vec<f32>>,
) -> Result<Vec<Rollout>> {
    let rows = Rows::read(arrays)?;
    let mask = {
        let name = named(arrays, "response_mask").unwrap_or_else(|| "response_mask".to_owned());
        let mask = arrays.integers(&name)?;
        let wanted = [rows.rows.len(), rows.columns - 1];
        ensure!(
            mask.shape == wanted,
            "`{name}` has shape {:?}; {wanted:?} is wanted",
            mask.shape
        );
        mask.data
    };
    let given = |name: &str| -> Result<Option<Vec<f32>>> {
        arrays
            .has(name)
            .then(|| rows.shifted(arrays, name))
            .transpose()
    };
    let (old, old_values) = (given("old_logprobs")?, given("old_values")?);
    let (references, advantages) = (given("ref_logprobs")?, given("advantages")?);
    let returns = given("returns")?;
    let width = rows.columns - 1;
    (0..rows.rows.len())
        .map(|row| {
            let sampled = |column: usize| column > 0 && mask[row * width + column - 1] != 0;
            let (prompt_ids, token_ids) = rows.cut(row, sampled)?;
            ensure!(!prompt_ids.is_empty(), "row {row} has no prompt");
            let columns: Vec<usize> = rows.rows[row][prompt_ids.len()..]
                .iter()
                .map(|token| token.column - 1)
                .collect();
            let take = |values: &Option<Vec<f32>>, computed: &[f32]| match values {
                Some(values) => columns.iter().map(|c| values[row * width + c]).collect(),
                None => computed.to_vec(),
            };
            let mut batch = Batch::new();
            batch.push_completion(&prompt_ids, &token_ids)?;
            let (first, end) = (prompt_ids.len(), batch.len());
            policy.forward(parameters, &batch, Pass::Evaluation)?;
            let own = policy.log_probs(parameters, &batch, 1.0, Pass::Evaluation);
            let own_values = policy.values(parameters, VALUE_HEAD, Pass::Evaluation);
            let base = reference(policy, &batch)?;
            Ok(Rollout {
                sample: row as u32,
                prompt_ids,
                token_ids,
                finish: "stop".to_owned(),
                log_probs: take(&old, &own[first..end]),
                reference_log_probs: take(&references, &base[first..end]),
                values: take(&old_values, &own_values[first - 1..end - 1]),
                advantages: take(&advantages, &[]),
                returns: take(&returns, &[]),
                ..Rollout::default()
            })
        })
        .collect()
}
