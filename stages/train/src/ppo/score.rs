//! From the scores of whole programs to a reward for every token (paper, section 3, PPO).
//!
//! `r_t = −β kl_t`, and the score is added at the last token that was sampled, by its place
//! and never by a token id. Before that a score may be changed: for a program without an end,
//! by the moments of scores so far, by a bound. The order is TRL's. Used by the stage.

use super::kl::Penalty;
use serde::{Deserialize, Serialize};

/// What becomes of the scores of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// As the reward model gives them.
    #[default]
    None,
    /// Divided by the running standard deviation.
    Scale,
    /// Less the running mean, divided by the running standard deviation.
    Standard,
    /// Less the mean and divided by the standard deviation that are stored with the reward model.
    Stored,
}

/// Count, mean and variance of all scores so far (Chan, Golub, LeVeque 1979).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: f64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    /// Takes more values.
    pub fn update(&mut self, values: &[f64]) {
        let count = values.len() as f64;
        if values.is_empty() {
            return;
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let (delta, total) = (mean - self.mean, self.count + count);
        self.squares += squares + delta * delta * self.count * count / total;
        self.mean += delta * count / total;
        self.count = total;
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their standard deviation with Bessel's correction; 1 for fewer than two values.
    pub fn deviation(&self) -> f64 {
        if self.count < 2.0 {
            1.0
        } else {
            (self.squares / (self.count - 1.0)).sqrt()
        }
    }
}

/// How scores are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Subtracted from the score of a program without an end.
    pub missing_end_penalty: f64,
    /// Takes the place of the score of a program without an end.
    pub missing_end_score: Option<f64>,
    /// What becomes of the scores.
    pub normalisation: Normalisation,
    /// Mean and standard deviation stored with the reward model.
    pub stored: (f64, f64),
    /// Scores are cut to `±clip`; 0 = never.
    pub clip: f64,
}

impl Options {
    /// Changes the scores of a batch; `ended` says which programs have an end. The running
    /// moments take this batch's scores first.
    pub fn apply(&self, scores: &mut [f64], ended: &[bool], moments: &mut Moments) {
        for (score, ended) in scores.iter_mut().zip(ended) {
            if !ended {
                *score = self.missing_end_score.unwrap_or(*score) - self.missing_end_penalty;
            }
        }
        moments.update(scores);
        // What a division by 0 is avoided by is TRL's.
        let safe = |deviation: f64| deviation + f64::from(f32::EPSILON);
        let (mean, divisor) = match self.normalisation {
            Normalisation::None => (0.0, 1.0),
            Normalisation::Scale => (0.0, safe(moments.deviation())),
            Normalisation::Standard => (moments.mean(), safe(moments.deviation())),
            Normalisation::Stored => (self.stored.0, safe(self.stored.1)),
        };
        for score in scores {
            *score = (*score - mean) / divisor;
            if self.clip > 0.0 {
                *score = score.clamp(-self.clip, self.clip);
            }
        }
    }
}

/// Rewards of one sequence's tokens.
pub fn rewards(
    log_probs: &[f64],
    reference: &[f64],
    score: f64,
    penalty: Penalty,
    coefficient: f64,
) -> Vec<f64> {
    let mut rewards: Vec<f64> = log_probs
        .iter()
        .zip(reference)
        .map(|(&log_prob, &reference)| -coefficient * penalty.of(log_prob, reference))
        .collect();
    if let Some(last) = rewards.last_mut() {
        *last += score;
    }
    rewards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_pieces_are_those_of_the_whole() {
        let values: Vec<f64> = (0..17).map(|i| f64::from(i * i % 7) - 2.5).collect();
        let (mut whole, mut pieces) = (Moments::default(), Moments::default());
        whole.update(&values);
        for piece in values.chunks(5) {
            pieces.update(piece);
        }
        let mean = values.iter().sum::<f64>() / 17.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 16.0;
        for found in [whole, pieces] {
            assert!((found.mean() - mean).abs() < 1e-12);
            assert!((found.deviation() - variance.sqrt()).abs() < 1e-12);
        }
    }

    #[track_caller]
    fn close(found: [f64; 2], wanted: [f64; 2]) {
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(found.iter().zip(&wanted).all(near), "{found:?} {wanted:?}");
    }

    #[test]
    fn programs_without_an_end_are_penalised_before_scores_are_cut() {
        let ended = [true, false];
        let mut scores = [0.5, 0.5];
        let options = Options {
            missing_end_penalty: 1.0,
            ..Options::default()
        };
        options.apply(&mut scores, &ended, &mut Moments::default());
        close(scores, [0.5, -0.5]);
        let replaced = Options {
            missing_end_score: Some(-3.0),
            clip: 2.0,
            ..Options::default()
        };
        let mut scores = [5.0, 5.0];
        replaced.apply(&mut scores, &ended, &mut Moments::default());
        close(scores, [2.0, -2.0]);
    }

    #[test]
    fn standard_scores_have_mean_0_and_deviation_1() {
        let options = Options {
            normalisation: Normalisation::Standard,
            ..Options::default()
        };
        let mut scores = [3.0, 5.0, 10.0];
        options.apply(&mut scores, &[true; 3], &mut Moments::default());
        assert!(scores.iter().sum::<f64>().abs() < 1e-6);
        assert!((scores.iter().map(|s| s * s).sum::<f64>() / 2.0 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_score_is_at_the_last_token() {
        let found = rewards(&[-1.0, -2.0], &[-1.5, -1.0], 3.0, Penalty::Kl, 0.2);
        assert!((found[0] + 0.1).abs() < 1e-12 && (found[1] - 3.2).abs() < 1e-12);
    }
}
