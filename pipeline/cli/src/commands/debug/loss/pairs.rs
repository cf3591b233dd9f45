//! The losses on pairs: `dpo`, `orpo`, `rm`, through the objectives of the stages.

use super::{
    Found,
    batch::{Rows, named},
};
use crate::commands::debug::loaded::Loaded;
use anyhow::{Result, ensure};
use clap::Args;
use model::{arrays::Arrays, parameters::Parameters};
use serde_json::{Map, Value, json};
use train::{
    dpo::{
        loss::{Options as DpoOptions, Variant},
        objective::{Judged, Preference},
    },
    orpo::{
        loss::{Options as OrpoOptions, Sft},
        objective::OddsRatio,
    },
    pairs::{Loaded as LoadedPairs, Pair},
    reward::objective::{BradleyTerry, Options as RewardOptions},
    training_loop::Objective,
    tuning::{Pass, Tuned},
};

/// Constants of the losses on pairs.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// dpo: beta; orpo: lambda.
    #[arg(long, default_value_t = 0.1)]
    beta: f64,
    /// dpo: sigmoid, sigmoid_norm, hinge, ipo, ipo_sum, robust, exo_pair or apo_zero.
    #[arg(long, default_value = "sigmoid", value_parser = word::<Variant>)]
    loss: Variant,
    /// dpo: share of pairs believed to be the wrong way round.
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// dpo: weight of the chosen answer's mean negative log-likelihood.
    #[arg(long, default_value_t = 0.0)]
    nll_weight: f64,
    /// orpo: all, completion or example.
    #[arg(long, default_value = "all", value_parser = word::<Sft>)]
    likelihood: Sft,
    /// rm: weight of the squared sum of both scores.
    #[arg(long, default_value_t = 0.0)]
    centering: f64,
}

/// A word of a recipe.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn pairs(arrays: &Arrays, answers: Answers) -> Result<Vec<Pair>> {
    let rows = Rows::read(arrays)?;
    ensure!(
        rows.rows.len().is_multiple_of(2),
        "there are {} rows; all chosen sequences and then as many rejected ones are wanted",
        rows.rows.len()
    );
    let flags: Option<Vec<bool>> = match answers {
        Answers::Whole => None,
        Answers::Marked => {
            let mask = named(arrays, "completion_mask").is_some();
            let (name, least) = if mask {
                ("completion_mask", 1)
            } else {
                ("labels", 0)
            };
            let values = rows.beside(arrays, name)?;
            Some(values.iter().map(|&value| value >= least).collect())
        }
    };
    let cut = |row: usize| {
        rows.cut(row, |column| {
            flags
                .as_ref()
                .is_none_or(|flags| flags[row * rows.columns + column])
        })
    };
    let count = rows.rows.len() / 2;
    (0..count)
        .map(|row| {
            let ((prompt, chosen), (other, rejected)) = (cut(row)?, cut(row + count)?);
            Ok(Pair {
                chosen,
                rejected,
                rejected_prompt: (other != prompt).then_some(other),
                prompt,
                ..Pair::default()
            })
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Answers {
    /// What a mask or labels say.
    Marked,
    /// All of the row.
    Whole,
}

fn tuned(loaded: &Loaded) -> Tuned {
    let config = loaded.network.config().clone();
    Tuned::new(config, &loaded.parameters, loaded.adapter.clone(), 0)
}

/// The gradient map of what is trained.
pub(super) fn gradients(loaded: &Loaded) -> Parameters {
    match &loaded.adapter {
        Some(adapter) => adapter.gradients(&loaded.parameters),
        None => loaded.parameters.zeros_like(),
    }
}

/// All pairs as one update.
fn update(objective: &mut impl Objective, loaded: &Loaded) -> Result<Found> {
    let rows: Vec<Vec<u32>> = (0..objective.items() as u32)
        .map(|item| vec![item])
        .collect();
    let scale = 1.0 / rows.len() as f64;
    let mut gradients = gradients(loaded);
    objective.begin_update(1, &rows);
    let sums = objective.accumulate(&loaded.parameters, &mut gradients, &rows, scale)?;
    let numbers: Map<String, Value> = sums
        .iter()
        .map(|(name, sum)| ((*name).to_owned(), json!(sum * scale)))
        .collect();
    Ok(Found {
        loss: sums["loss"] * scale,
        numbers,
        rows: Map::new(),
        gradients,
    })
}

pub(super) fn dpo(
    options: &Options,
    loaded: &Loaded,
    reference: Option<&Parameters>,
    arrays: &Arrays,
) -> Result<Found> {
    let constants = DpoOptions {
        variant: options.loss,
        beta: options.beta,
        label_smoothing: options.label_smoothing,
        nll_weight: options.nll_weight,
    };
    let pairs = pairs(arrays, Answers::Marked)?;
    let mut objective = Preference::new(tuned(loaded), constants, pairs.len());
    let policy = objective.log_probs(&loaded.parameters, &pairs, Pass::Evaluation)?;
    let reference =
        objective.log_probs(reference.unwrap_or(&loaded.parameters), &pairs, Pass::Base)?;
    let side = |values: &[[f64; 2]], side: usize| -> Value {
        values.iter().map(|both| both[side]).collect()
    };
    let rows = Map::from_iter([
        ("policy_chosen_logps".to_owned(), side(&policy, 0)),
        ("policy_rejected_logps".to_owned(), side(&policy, 1)),
        ("ref_chosen_logps".to_owned(), side(&reference, 0)),
        ("ref_rejected_logps".to_owned(), side(&reference, 1)),
    ]);
    objective.set_pairs(Judged { pairs, reference }, Judged::default());
    let found = update(&mut objective, loaded)?;
    Ok(Found { rows, ..found })
}

pub(super) fn orpo(options: &Options, loaded: &Loaded, arrays: &Arrays) -> Result<Found> {
    let constants = OrpoOptions {
        lambda: options.beta,
        sft: options.likelihood,
    };
    let pairs = LoadedPairs {
        train: pairs(arrays, Answers::Marked)?,
        validation: Vec::new(),
    };
    update(&mut OddsRatio::new(tuned(loaded), constants, pairs), loaded)
}

pub(super) fn rm(options: &Options, loaded: &Loaded, arrays: &Arrays) -> Result<Found> {
    let mut pairs = pairs(arrays, Answers::Whole)?;
    let margin = arrays.has("margin");
    if margin {
        let margins = arrays.floats("margin")?;
        ensure!(
            margins.data.len() == pairs.len(),
            "`margin` has shape {:?}; one number for each of {} pairs is wanted",
            margins.shape,
            pairs.len()
        );
        for (pair, margin) in pairs.iter_mut().zip(margins.data) {
            pair.normalised_distance = margin.into();
        }
    }
    let constants = RewardOptions {
        margin: f64::from(u8::from(margin)),
        centering: options.centering,
    };
    let pairs = LoadedPairs {
        train: pairs,
        validation: Vec::new(),
    };
    let size = pairs.train.len();
    let mut objective = BradleyTerry::new(tuned(loaded), constants, size, pairs);
    let scores = objective.training_scores(&loaded.parameters)?;
    let found = update(&mut objective, loaded)?;
    let side = |chosen: bool| -> Value {
        let of = |&(c, r): &(f64, f64)| if chosen { c } else { r };
        scores.iter().map(of).collect()
    };
    let rows = Map::from_iter([
        ("chosen".to_owned(), side(true)),
        ("rejected".to_owned(), side(false)),
    ]);
    Ok(Found { rows, ..found })
}
