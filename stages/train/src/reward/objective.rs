//! Bradley-Terry reward modelling through the network: what `reward` trains and measures.
//!
//! A score is the head's number at the last token of a sequence, found by its length: a token
//! id (padding, end) never decides where. Scores do not depend on what else is in the batch.
//! `ppo` scores programs with [`scores`] too.

use super::loss::{Quality, loss};
use crate::pairs::{self, Labels, Loaded, Pair, Place};
use crate::training_loop::{Objective, Sums, add_all};
use crate::tuning::{Pass, Tuned};
use anyhow::Result;
use model::batch::Batch;
use model::network::{Network, ValueHead};
use model::parameters::Parameters;

/// The head's tensor.
pub const SCORE: &str = "score.weight";

const HEAD: ValueHead = ValueHead {
    weight: SCORE,
    bias: None,
};

/// The constants of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Times the normalised edit distance: the score difference that is wanted.
    pub margin: f64,
    /// Weight of the squared sum of both scores.
    pub centering: f64,
}

/// Scores of every token of a batch, of which the last of each sequence counts.
///
/// # Errors
/// The batch does not fit the network.
pub fn scores(
    tuned: &mut Tuned,
    parameters: &Parameters,
    batch: &Batch,
    pass: Pass,
) -> Result<Vec<f32>> {
    tuned.forward(parameters, batch, pass)?;
    Ok(tuned.values(parameters, HEAD, pass))
}

/// The objective of `reward`.
pub struct BradleyTerry {
    tuned: Tuned,
    options: Options,
    /// Pairs that pass together outside training.
    batch_size: usize,
    pairs: Loaded,
}

impl BradleyTerry {
    /// The objective on some pairs.
    pub fn new(tuned: Tuned, options: Options, batch_size: usize, pairs: Loaded) -> Self {
        Self {
            tuned,
            options,
            batch_size,
            pairs,
        }
    }

    /// What is trained.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    /// What the model is worth on the held-out pairs; nothing if there are none, or if `stop`
    /// says that the answer is no longer wanted.
    ///
    /// # Errors
    /// A pair does not fit the network.
    pub fn quality(
        &mut self,
        parameters: &Parameters,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Quality>> {
        let mut found = Vec::with_capacity(self.pairs.validation.len());
        for pairs in self.pairs.validation.chunks(self.batch_size) {
            if stop() {
                return Ok(None);
            }
            found.extend(pair_scores(&mut self.tuned, parameters, pairs)?);
        }
        Ok(Quality::of(&found))
    }

    /// Scores `(chosen, rejected)` of the pairs that are trained on.
    ///
    /// # Errors
    /// A pair does not fit the network.
    pub fn training_scores(&mut self, parameters: &Parameters) -> Result<Vec<(f64, f64)>> {
        let mut found = Vec::with_capacity(self.pairs.train.len());
        for pairs in self.pairs.train.chunks(self.batch_size) {
            found.extend(pair_scores(&mut self.tuned, parameters, pairs)?);
        }
        Ok(found)
    }
}

fn pair_scores(
    tuned: &mut Tuned,
    parameters: &Parameters,
    pairs: &[Pair],
) -> Result<Vec<(f64, f64)>> {
    let (batch, places) = pairs::batch(pairs, Labels::Answers)?;
    let scores = scores(tuned, parameters, &batch, Pass::Evaluation)?;
    Ok(places.iter().map(|place| both(&scores, place)).collect())
}

/// Scores of the chosen and the rejected sequence.
fn both(scores: &[f32], place: &Place) -> (f64, f64) {
    let last = |end: usize| f64::from(scores[end - 1]);
    (last(place.chosen.end), last(place.rejected.end))
}

impl Objective for BradleyTerry {
    fn items(&self) -> usize {
        self.pairs.train.len()
    }

    fn weight(&self, row: &[u32]) -> f64 {
        row.len() as f64
    }

    fn tokens(&self, row: &[u32]) -> u64 {
        pairs::tokens(&self.pairs.train, row)
    }

    fn begin_update(&mut self, step: u64, _window: &[Vec<u32>]) {
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
        let items = rows.iter().flatten();
        let pairs: Vec<&Pair> = items
            .map(|&item| &self.pairs.train[item as usize])
            .collect();
        let (batch, places) = pairs::batch(pairs.iter().copied(), Labels::Answers)?;
        let scores = scores(&mut self.tuned, parameters, &batch, Pass::Training)?;
        let mut d_scores = vec![0.0; batch.len()];
        let mut sums = Sums::new();
        for (place, pair) in places.iter().zip(pairs) {
            let (chosen, rejected) = both(&scores, place);
            let margin = self.options.margin * pair.normalised_distance;
            let found = loss(chosen, rejected, margin, self.options.centering);
            d_scores[place.chosen.end - 1] = (scale * found.d_chosen) as f32;
            d_scores[place.rejected.end - 1] = (scale * found.d_rejected) as f32;
            let right = f64::from(u8::from(chosen > rejected));
            let mean = 0.5 * (chosen + rejected);
            add_all(
                &mut sums,
                ["loss", "accuracy", "margin", "mean_reward"],
                [found.loss, right, chosen - rejected, mean],
            );
        }
        self.tuned
            .backward_values(parameters, gradients, &batch, HEAD, &d_scores, None);
        Ok(sums)
    }

    fn evaluate(
        &mut self,
        parameters: &Parameters,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<(&'static str, f64)>> {
        let Some(quality) = self.quality(parameters, stop)? else {
            return Ok(Vec::new());
        };
        Ok(vec![
            ("eval_loss", quality.loss),
            ("eval_accuracy", quality.accuracy),
            ("eval_calibration_error", quality.calibration_error),
            ("eval_score_mean", quality.score_mean),
            ("eval_score_std", quality.score_std),
        ])
    }

    fn network(&self) -> &Network {
        &self.tuned.network
    }

    fn trains(&self, name: &str) -> bool {
        self.tuned.trains(name)
    }
}
