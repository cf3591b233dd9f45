//! Odds-ratio preference optimisation through the network: what `orpo` trains and measures.
//!
//! Both answers of a pair pass in one packed batch. The odds term needs averages over the
//! answers; the likelihood of the chosen side has a denominator of its own, the tokens of the
//! whole window, so that cutting an update into micro-batches changes nothing. Numbers have
//! TRL's names: `rewards/*` are `λ` times the averaged log-probabilities.

use super::loss::{Options, Sft, odds_ratio};
use crate::pairs::{self, Labels, Loaded, Pair, Place, sum};
use crate::training_loop::{Objective, Sums, add_all};
use crate::tuning::{Pass, Tuned};
use anyhow::Result;
use model::network::Network;
use model::parameters::Parameters;
use std::ops::Range;

/// The objective of `orpo`.
pub struct OddsRatio {
    tuned: Tuned,
    options: Options,
    pairs: Loaded,
    /// What a token of the likelihood weighs, times the pairs of the window.
    token_weight: f64,
}

impl OddsRatio {
    /// The objective on some pairs.
    pub fn new(tuned: Tuned, options: Options, pairs: Loaded) -> Self {
        Self {
            tuned,
            options,
            pairs,
            token_weight: 0.0,
        }
    }

    /// What is trained.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    fn labels(&self) -> Labels {
        match self.options.sft {
            Sft::All => Labels::ChosenPrompt,
            Sft::Completion | Sft::Example => Labels::Answers,
        }
    }

    /// Tokens of the likelihood in a chosen sequence of these lengths.
    fn likelihood_tokens(&self, prompt: usize, chosen: usize) -> usize {
        match self.options.sft {
            Sft::All => prompt + chosen - 1,
            Sft::Completion | Sft::Example => prompt + chosen - prompt.max(1),
        }
    }

    /// Pairs over tokens of likelihood, for the window that begins.
    fn weigh<'a>(&self, window: impl Iterator<Item = &'a Pair>) -> f64 {
        let (mut pairs, mut tokens) = (0, 0);
        for pair in window {
            pairs += 1;
            tokens += self.likelihood_tokens(pair.prompt.len(), pair.chosen.len());
        }
        f64::from(pairs) / tokens.max(1) as f64
    }

    /// Where the likelihood's tokens are, and what one of them weighs.
    fn likelihood(&self, place: &Place) -> (Range<usize>, f64) {
        match self.options.sft {
            Sft::All => {
                let sequence = &place.chosen_sequence;
                (sequence.start + 1..sequence.end, self.token_weight)
            }
            Sft::Completion => (place.chosen.clone(), self.token_weight),
            Sft::Example => (place.chosen.clone(), 1.0 / place.chosen.len() as f64),
        }
    }

    /// The numbers of a pair, and the derivatives by its log-probabilities times `scale`.
    fn pair(&self, log_probs: &[f32], place: &Place, scale: f64, d: &mut [f32]) -> [f64; 9] {
        let mean = |tokens: &Range<usize>| sum(log_probs, tokens) / tokens.len() as f64;
        let (chosen, rejected) = (mean(&place.chosen), mean(&place.rejected));
        let odds = odds_ratio(chosen, rejected);
        let (tokens, weight) = self.likelihood(place);
        let nll = -weight * sum(log_probs, &tokens);
        let lambda = self.options.lambda;
        d[tokens].fill((-scale * weight) as f32);
        for (tokens, by_mean) in [
            (&place.chosen, odds.d_chosen),
            (&place.rejected, odds.d_rejected),
        ] {
            let by_token = scale * lambda * by_mean / tokens.len() as f64;
            for d in &mut d[tokens.clone()] {
                *d += by_token as f32;
            }
        }
        [
            nll + lambda * odds.loss,
            nll,
            -odds.loss,
            odds.log_odds_ratio,
            lambda * chosen,
            lambda * rejected,
            f64::from(u8::from(chosen > rejected)),
            lambda * (chosen - rejected),
            chosen,
        ]
    }
}

const TRAINING: [&str; 9] = [
    "loss",
    "nll_loss",
    "log_odds_ratio",
    "log_odds_chosen",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
];
const VALIDATION: [&str; 9] = [
    "eval_loss",
    "eval_nll_loss",
    "eval_log_odds_ratio",
    "eval_log_odds_chosen",
    "eval_rewards/chosen",
    "eval_rewards/rejected",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
    "eval_logps/chosen",
];

impl Objective for OddsRatio {
    fn items(&self) -> usize {
        self.pairs.train.len()
    }

    fn weight(&self, row: &[u32]) -> f64 {
        row.len() as f64
    }

    fn tokens(&self, row: &[u32]) -> u64 {
        pairs::tokens(&self.pairs.train, row)
    }

    fn begin_update(&mut self, step: u64, window: &[Vec<u32>]) {
        let items = window.iter().flatten();
        self.token_weight = self.weigh(items.map(|&item| &self.pairs.train[item as usize]));
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
        let pairs = items.map(|&item| &self.pairs.train[item as usize]);
        let (batch, places) = pairs::batch(pairs, self.labels())?;
        self.tuned.forward(parameters, &batch, Pass::Training)?;
        let log_probs = self
            .tuned
            .log_probs(parameters, &batch, 1.0, Pass::Training);
        let mut d_log_probs = vec![0.0; batch.len()];
        let mut sums = Sums::new();
        for place in &places {
            let values = self.pair(&log_probs, place, scale, &mut d_log_probs);
            add_all(&mut sums, TRAINING, values);
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
        self.token_weight = self.weigh(self.pairs.validation.iter());
        let mut sums = Sums::new();
        for index in 0..self.pairs.validation.len() {
            if stop() {
                break;
            }
            let (batch, places) =
                pairs::batch(&self.pairs.validation[index..=index], self.labels())?;
            self.tuned.forward(parameters, &batch, Pass::Evaluation)?;
            let log_probs = self
                .tuned
                .log_probs(parameters, &batch, 1.0, Pass::Evaluation);
            let mut unused = vec![0.0; batch.len()];
            add_all(
                &mut sums,
                VALIDATION,
                self.pair(&log_probs, &places[0], 0.0, &mut unused),
            );
        }
        let count = self.pairs.validation.len() as f64;
        Ok(sums
            .into_iter()
            .map(|(name, sum)| (name, sum / count))
            .collect())
    }

    fn network(&self) -> &Network {
        &self.tuned.network
    }

    fn trains(&self, name: &str) -> bool {
        self.tuned.trains(name)
    }
}
