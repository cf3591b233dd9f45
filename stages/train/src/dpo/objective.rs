//! Direct preference optimisation through the network: what `dpo` trains and measures.
//!
//! Both answers of a pair pass in one packed batch; their summed log-probabilities go into
//! `dpo/loss.rs`, and its two derivatives back to every token of the answer. Numbers have TRL's
//! names: `rewards/*` are `β (ln π − ln π₀)`, `logps/*` the absolute log-probabilities, because
//! DPO can make both answers less likely.

use super::loss::{Answer, Loss, Options, loss};
use crate::pairs::{self, Labels, Pair, Place, sum};
use crate::training_loop::{Objective, Sums, add_all};
use crate::tuning::{Pass, Tuned};
use anyhow::{Result, ensure};
use model::network::Network;
use model::parameters::Parameters;
use std::borrow::Borrow;
use std::mem::take;
use std::ops::Range;

/// What one model's log-probabilities may differ by between batches, per token, in nats.
const ROUNDING: f64 = 2e-5;
/// The same on a device, whose products are cut by the number of rows, and round to bfloat16.
const DEVICE_ROUNDING: f64 = 2e-2;

/// Pairs, and the reference's log-probabilities of both answers.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Chosen and rejected, summed over tokens.
    pub reference: Vec<[f64; 2]>,
}

/// The objective of `dpo`.
pub struct Preference {
    tuned: Tuned,
    options: Options,
    /// Pairs that pass together outside training.
    batch_size: usize,
    train: Judged,
    validation: Judged,
    /// Whether policy and reference are still one model.
    first: bool,
}

impl Preference {
    /// The objective without its data.
    pub fn new(tuned: Tuned, options: Options, batch_size: usize) -> Self {
        Self {
            tuned,
            options,
            batch_size,
            train: Judged::default(),
            validation: Judged::default(),
            first: false,
        }
    }

    /// Takes the data.
    pub fn set_pairs(&mut self, train: Judged, validation: Judged) {
        (self.train, self.validation) = (train, validation);
    }

    /// Gives the data back.
    pub fn take_pairs(&mut self) -> (Judged, Judged) {
        (take(&mut self.train), take(&mut self.validation))
    }

    /// What is trained.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    /// Log-probabilities of both answers of each pair; [`Pass::Base`] is the reference.
    ///
    /// # Errors
    /// A pair does not fit the network.
    pub fn log_probs(
        &mut self,
        parameters: &Parameters,
        pairs: &[impl Borrow<Pair>],
        pass: Pass,
    ) -> Result<Vec<[f64; 2]>> {
        let mut found = Vec::with_capacity(pairs.len());
        for pairs in pairs.chunks(self.batch_size) {
            let pairs = pairs.iter().map(Borrow::borrow);
            let (batch, places) = pairs::batch(pairs, Labels::Answers)?;
            self.tuned.forward(parameters, &batch, pass)?;
            let log_probs = self.tuned.log_probs(parameters, &batch, 1.0, pass);
            found.extend(places.iter().map(|place| both(&log_probs, place)));
        }
        Ok(found)
    }

    fn loss(&self, policy: [f64; 2], place: &Place, reference: [f64; 2]) -> Loss {
        let answer = |index: usize, tokens: &Range<usize>| Answer {
            policy: policy[index],
            reference: reference[index],
            tokens: tokens.len(),
        };
        let (chosen, rejected) = (answer(0, &place.chosen), answer(1, &place.rejected));
        loss(self.options, chosen, rejected)
    }
}

fn both(log_probs: &[f32], place: &Place) -> [f64; 2] {
    [&place.chosen, &place.rejected].map(|tokens| sum(log_probs, tokens))
}

/// Before the first update policy and reference are one model: `h` is 0, the loss ln 2.
fn check_equal(policy: [f64; 2], place: &Place, reference: [f64; 2], rounding: f64) -> Result<()> {
    for (index, tokens) in [&place.chosen, &place.rejected].into_iter().enumerate() {
        ensure!(
            (policy[index] - reference[index]).abs() <= rounding * tokens.len() as f64 + 1e-4,
            "before the first update an answer has log-probability {} under the policy and {} under \
             the reference, which are the same model: the loss of the first update would not be ln 2",
            policy[index],
            reference[index]
        );
    }
    Ok(())
}

/// Adds the numbers of a pair.
fn add(sums: &mut Sums, names: [&'static str; 8], loss: &Loss, log_probs: [f64; 2]) {
    let margin = loss.chosen_reward - loss.rejected_reward;
    let values = [
        loss.loss,
        loss.chosen_reward,
        loss.rejected_reward,
        f64::from(u8::from(margin > 0.0)),
        margin,
        log_probs[0],
        log_probs[1],
        loss.nll,
    ];
    add_all(sums, names, values);
}

const TRAINING: [&str; 8] = [
    "loss",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
];
const VALIDATION: [&str; 8] = [
    "eval_loss",
    "eval_rewards/chosen",
    "eval_rewards/rejected",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
    "eval_logps/chosen",
    "eval_logps/rejected",
    "eval_nll_loss",
];

impl Objective for Preference {
    fn items(&self) -> usize {
        self.train.pairs.len()
    }

    fn weight(&self, row: &[u32]) -> f64 {
        row.len() as f64
    }

    fn tokens(&self, row: &[u32]) -> u64 {
        pairs::tokens(&self.train.pairs, row)
    }

    fn begin_update(&mut self, step: u64, _window: &[Vec<u32>]) {
        self.first = step == 0;
        self.tuned.begin_update(step);
    }

    fn skip(&mut self, batches: usize) {
        self.tuned.skip(batches);
    }

    fn accumulate(
        &mut self,
        parameters: &Parameters,
        gradients: &mut Parameters,
        rows: &[Vec<u32>],
        scale: f64,
    ) -> Result<Sums> {
        let items: Vec<usize> = rows.iter().flatten().map(|&item| item as usize).collect();
        let pairs = items.iter().map(|&item| &self.train.pairs[item]);
        let (batch, places) = pairs::batch(pairs, Labels::Answers)?;
        self.tuned.forward(parameters, &batch, Pass::Training)?;
        let log_probs = self
            .tuned
            .log_probs(parameters, &batch, 1.0, Pass::Training);
        let mut d_log_probs = vec![0.0; batch.len()];
        let mut sums = Sums::new();
        let rounding = parameters.device().map_or(ROUNDING, |_| DEVICE_ROUNDING);
        for (place, &item) in places.iter().zip(&items) {
            let (policy, reference) = (both(&log_probs, place), self.train.reference[item]);
            if self.first {
                check_equal(policy, place, reference, rounding)?;
            }
            let found = self.loss(policy, place, reference);
            d_log_probs[place.chosen.clone()].fill((scale * found.d_chosen) as f32);
            d_log_probs[place.rejected.clone()].fill((scale * found.d_rejected) as f32);
            add(&mut sums, TRAINING, &found, policy);
        }
        self.tuned
            .backward(parameters, gradients, &batch, &d_log_probs, None, 1.0);
        Ok(sums)
    }

    fn evaluate(
        &mut self,
        parameters: &Parameters,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<(&'static str, f64)>> {
        let mut sums = Sums::new();
        let count = self.validation.pairs.len();
        for first in (0..count).step_by(self.batch_size) {
            if stop() {
                break;
            }
            let these = first..(first + self.batch_size).min(count);
            let (batch, places) =
                pairs::batch(&self.validation.pairs[these.clone()], Labels::Answers)?;
            self.tuned.forward(parameters, &batch, Pass::Evaluation)?;
            let log_probs = self
                .tuned
                .log_probs(parameters, &batch, 1.0, Pass::Evaluation);
            for (place, item) in places.iter().zip(these) {
                let policy = both(&log_probs, place);
                let found = self.loss(policy, place, self.validation.reference[item]);
                add(&mut sums, VALIDATION, &found, policy);
            }
        }
        let mean = |(name, sum)| (name, sum / count as f64);
        Ok(sums.into_iter().map(mean).collect())
    }

    fn network(&self) -> &Network {
        &self.tuned.network
    }

    fn trains(&self, name: &str) -> bool {
        self.tuned.trains(name)
    }
}
