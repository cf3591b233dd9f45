//! From logits to a token: repetition penalty, temperature, top-k, top-p, min-p, then a draw.
//!
//! Used by `slot`; the order and the rules for ties are those of transformers. The penalty
//! divides positive logits of tokens that occurred, prompt included, and multiplies negative
//! ones. Top-k keeps every token that ties with the k-th. Top-p drops the least likely tokens
//! while their sum is at most 1 − p, and always keeps one. Min-p drops what is less likely than
//! that share of the likeliest. Temperature 0 takes the most likely token, the lowest id of equals.

use anyhow::{Result, ensure};

use crate::ops::vector::{exp_in_place, max, scale};

/// A sampling distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: f64,
    /// Tokens kept, by logit; 0 keeps all.
    pub top_k: usize,
    /// Probability kept, of the most likely tokens; 1 keeps all.
    pub top_p: f64,
    /// Tokens less likely than this share of the likeliest are dropped; 0 keeps all.
    pub min_p: f64,
    /// What logits of tokens that occurred are divided by (multiplied, if negative); 1 is none.
    pub repetition_penalty: f64,
}

impl Default for Sampling {
    /// The model's own distribution.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            ..Self::GREEDY
        }
    }
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
    };

    /// Checks the ranges.
    ///
    /// # Errors
    /// A negative temperature, a top-p outside (0, 1], a min-p outside [0, 1], a penalty that is
    /// not above 0.
    pub fn validate(&self) -> Result<()> {
        ensure!(
            self.temperature >= 0.0 && self.temperature.is_finite(),
            "temperature {} is not 0 or more",
            self.temperature
        );
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "top_p {} is not in (0, 1]",
            self.top_p
        );
        ensure!(
            (0.0..=1.0).contains(&self.min_p),
            "min_p {} is not in [0, 1]",
            self.min_p
        );
        ensure!(
            self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            "repetition_penalty {} is not above 0",
            self.repetition_penalty
        );
        Ok(())
    }

    /// Whether [`Sampling::penalise`] does anything.
    pub fn penalises(&self) -> bool {
        (self.repetition_penalty - 1.0).abs() > f64::EPSILON
    }

    /// Makes tokens that occurred less likely; each of `occurred` once.
    pub fn penalise(&self, logits: &mut [f32], occurred: impl IntoIterator<Item = u32>) {
        let penalty = self.repetition_penalty as f32;
        for id in occurred {
            let logit = &mut logits[id as usize];
            *logit = if *logit < 0.0 {
                *logit * penalty
            } else {
                *logit / penalty
            };
        }
    }

    /// Writes the probability of every token into `weights`; temperature must not be 0.
    pub fn probabilities(&self, logits: &[f32], weights: &mut Vec<f32>) {
        let sum = self.weigh(logits, weights);
        scale(weights, 1.0 / sum);
    }

    /// Writes unnormalised probabilities and returns their sum.
    fn weigh(&self, logits: &[f32], weights: &mut Vec<f32>) -> f32 {
        weights.clear();
        weights.extend_from_slice(logits);
        scale(weights, (1.0 / self.temperature) as f32);
        let threshold = (self.top_k > 0 && self.top_k < weights.len()).then(|| {
            let mut sorted = weights.clone();
            *sorted
                .select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a))
                .1
        });
        let largest = max(weights);
        let scores = threshold.map(|threshold| (threshold, weights.clone()));
        let mut sum = exp_in_place(weights, largest);
        if let Some((threshold, scores)) = scores {
            for (weight, score) in weights.iter_mut().zip(scores) {
                if score < threshold {
                    *weight = 0.0;
                }
            }
            sum = weights.iter().sum();
        }
        if self.top_p < 1.0 {
            cut_tail(weights, f64::from(sum), 1.0 - self.top_p);
            sum = weights.iter().sum();
        }
        if self.min_p > 0.0 {
            let least = self.min_p as f32 * max(weights);
            for weight in weights.iter_mut() {
                if *weight < least {
                    *weight = 0.0;
                }
            }
            sum = weights.iter().sum();
        }
        sum
    }

    /// The token that `uniform` in [0, 1) falls on, going through the ids in order, and the
    /// logarithm of its probability; greedily, that is 0.
    pub fn choose(&self, logits: &[f32], uniform: f64, weights: &mut Vec<f32>) -> (u32, f32) {
        if self.temperature == 0.0 {
            let mut best = 0;
            for (id, logit) in logits.iter().enumerate() {
                if *logit > logits[best] {
                    best = id;
                }
            }
            return (best as u32, 0.0);
        }
        self.weigh(logits, weights);
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let goal = uniform * total;
        let (mut reached, mut last) = (0.0, 0);
        for (id, &weight) in weights.iter().enumerate() {
            if weight > 0.0 {
                reached += f64::from(weight);
                last = id;
                if reached > goal {
                    break;
                }
            }
        }
        (last as u32, (f64::from(weights[last]) / total).ln() as f32)
    }
}

/// Sets the smallest weights to 0 while their share is at most `share`, keeping the largest.
fn cut_tail(weights: &mut [f32], sum: f64, share: f64) {
    // All weights below this together are below the share: no need to sort them.
    let small = (share * sum / weights.len() as f64) as f32;
    let mut dropped = 0.0;
    let mut rest = Vec::new();
    for (id, weight) in weights.iter_mut().enumerate() {
        if *weight < small {
            dropped += f64::from(*weight);
            *weight = 0.0;
        } else if *weight > 0.0 {
            rest.push((*weight, id));
        }
    }
    rest.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    rest.pop();
    for (weight, id) in rest {
        dropped += f64::from(weight);
        if dropped > share * sum {
            break;
        }
        weights[id] = 0.0;
    }
}
