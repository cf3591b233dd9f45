//! Bradley-Terry reward modelling of one pair (paper, Eq. 2): loss and derivatives.
//!
//! `L = −ln σ(r_c − r_r − m) + κ (r_c + r_r)²` for the scores of the chosen and the rejected
//! answer. The paper has `m = κ = 0`. The loss of a window is the mean over its pairs. Also
//! here: how good scores are on held-out pairs. Called by `reward` and by `iota debug loss`.

use crate::numerics::{log_sigmoid, sigmoid};
use serde::{Deserialize, Serialize};

/// Intervals of the confidence for the calibration error.
const BINS: usize = 10;

/// The loss of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Its value.
    pub loss: f64,
    /// `dL / d r_c`.
    pub d_chosen: f64,
    /// `dL / d r_r`.
    pub d_rejected: f64,
}

/// The loss of a pair's scores, at `margin` `m` and `centering` `κ`. Centering binds the scores
/// to 0, which the first term leaves open; 0.01 is the usual weight.
pub fn loss(chosen: f64, rejected: f64, margin: f64, centering: f64) -> Loss {
    let (x, sum) = (chosen - rejected - margin, chosen + rejected);
    let slope = sigmoid(-x);
    let pull = 2.0 * centering * sum;
    Loss {
        loss: -log_sigmoid(x) + centering * sum * sum,
        d_chosen: pull - slope,
        d_rejected: pull + slope,
    }
}

/// How a reward model does on pairs; stored beside its weights as `reward.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Pairs that were scored.
    pub pairs: u64,
    /// Share with the chosen answer scored higher; a tie counts half.
    pub accuracy: f64,
    /// Mean of `−ln σ(r_c − r_r)`.
    pub loss: f64,
    /// Expected calibration error: over ten intervals of the confidence `σ(|r_c − r_r|)`, the
    /// distance of confidence and accuracy, weighted by pairs.
    pub calibration_error: f64,
    /// Mean of all scores.
    pub score_mean: f64,
    /// Standard deviation of all scores.
    pub score_std: f64,
}

impl Quality {
    /// From the scores `(chosen, rejected)` of pairs; nothing for no pairs.
    pub fn of(scores: &[(f64, f64)]) -> Option<Self> {
        if scores.is_empty() {
            return None;
        }
        let pairs = scores.len() as f64;
        let right = |(chosen, rejected): (f64, f64)| {
            if chosen > rejected {
                1.0
            } else if chosen < rejected {
                0.0
            } else {
                0.5
            }
        };
        let mut bins = [(0.0, 0.0); BINS];
        for &(chosen, rejected) in scores {
            let confidence = sigmoid((chosen - rejected).abs());
            // Confidence goes from one half to 1.
            let bin = ((confidence - 0.5) * 2.0 * BINS as f64) as usize;
            let (surplus, count) = &mut bins[bin.min(BINS - 1)];
            *surplus += confidence - right((chosen, rejected));
            *count += 1.0;
        }
        let gap: f64 = bins.iter().map(|(surplus, _)| surplus.abs()).sum();
        let both = || scores.iter().flat_map(|&(c, r)| [c, r]);
        let mean = both().sum::<f64>() / (2.0 * pairs);
        let square = both().map(|score| (score - mean).powi(2)).sum::<f64>();
        Some(Self {
            pairs: scores.len() as u64,
            accuracy: scores.iter().map(|&pair| right(pair)).sum::<f64>() / pairs,
            loss: scores
                .iter()
                .map(|&(c, r)| -log_sigmoid(c - r))
                .sum::<f64>()
                / pairs,
            calibration_error: gap / pairs,
            score_mean: mean,
            score_std: (square / (2.0 * pairs)).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for (c, r) in [(0.3, -0.2), (-4.0, 2.0), (7.0, 6.9)] {
            for (margin, centering) in [(0.0, 0.0), (0.7, 0.01), (0.0, 0.5)] {
                let at = |c, r| loss(c, r, margin, centering).loss;
                let (here, step) = (loss(c, r, margin, centering), 1e-5);
                let by_chosen = (at(c + step, r) - at(c - step, r)) / (2.0 * step);
                let by_rejected = (at(c, r + step) - at(c, r - step)) / (2.0 * step);
                assert!((by_chosen - here.d_chosen).abs() < 1e-7);
                assert!((by_rejected - here.d_rejected).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn quality_of_four_pairs_worked_out_by_hand() {
        let found = Quality::of(&[(1.0, 0.0), (0.0, 1.0), (2.0, 2.0), (4.0, 0.0)]);
        let found = found.expect("there are pairs");
        assert_eq!(found.pairs, 4);
        assert!((found.accuracy - 0.625).abs() < 1e-15);
        assert!((found.score_mean - 1.25).abs() < 1e-15);
        let squares = 2.0 * 0.0625 + 3.0 * 1.5625 + 2.0 * 0.5625 + 7.5625;
        assert!((found.score_std - (squares / 8.0_f64).sqrt()).abs() < 1e-15);
        // Intervals: a tie at one half is right half the time; two pairs at σ(1) with accuracy
        // one half; one at σ(4) that is right.
        let gap = (2.0 * sigmoid(1.0) - 1.0) + (1.0 - sigmoid(4.0));
        assert!((found.calibration_error - gap / 4.0).abs() < 1e-15);
        assert!(Quality::of(&[]).is_none());
    }
}
