//! Odds-ratio preference optimisation of one pair (paper, Eq. 4 to 6): loss and derivatives.
//!
//! `L = L_SFT + λ L_OR` with `L_OR = −ln σ(ln odds(c) − ln odds(r))`, `odds = p / (1 − p)`, and
//! `ln p` the log-probability of an answer averaged over its tokens. (Read with sums, Eq. 5
//! makes `1 − p` equal 1 and the odds ratio the plain ratio.) `L_SFT` is the negative
//! log-likelihood of the chosen side: Eq. 7 with the minus sign that the paper leaves out.
//! Called by `orpo` and by `iota debug loss`; knows nothing of networks.

use crate::numerics::{log_odds, log_sigmoid, sigmoid};
use serde::{Deserialize, Serialize};

/// What `L_SFT` is the mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sft {
    /// All tokens of prompt and chosen answer in the update, as TRL does.
    #[default]
    All,
    /// All tokens of the chosen answers in the update.
    Completion,
    /// Each chosen answer's own mean, averaged over the pairs (the paper's Eq. 4 as written).
    Example,
}

/// The constants of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// `λ`, which TRL calls beta.
    pub lambda: f64,
    /// What `L_SFT` is the mean over.
    pub sft: Sft,
}

impl Default for Options {
    /// TRL's values, which the paper most probably used: it names none.
    fn default() -> Self {
        Self {
            lambda: 0.1,
            sft: Sft::All,
        }
    }
}

/// The odds-ratio term of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// `L_OR`.
    pub loss: f64,
    /// `ln odds(c) − ln odds(r)`.
    pub log_odds_ratio: f64,
    /// `dL_OR / d ln p(c)`, by the average.
    pub d_chosen: f64,
    /// `dL_OR / d ln p(r)`, by the average.
    pub d_rejected: f64,
}

/// `L_OR` of a pair from its two averaged log-probabilities.
pub fn odds_ratio(chosen: f64, rejected: f64) -> Odds {
    let (chosen_odds, chosen_slope) = log_odds(chosen);
    let (rejected_odds, rejected_slope) = log_odds(rejected);
    let ratio = chosen_odds - rejected_odds;
    // σ(−ratio) · slope: near certainty the slope is huge and the sigmoid small.
    let slope = sigmoid(-ratio);
    Odds {
        loss: -log_sigmoid(ratio),
        log_odds_ratio: ratio,
        d_chosen: -slope * chosen_slope,
        d_rejected: slope * rejected_slope,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for (c, r) in [
            (-0.1, -0.2),
            (-1.0, -1.0),
            (-3.0, -0.01),
            (-1e-3, -5.0),
            (-40.0, -50.0),
        ] {
            let here = odds_ratio(c, r);
            let step = 1e-5_f64;
            let (sc, sr) = (step * f64::abs(c), step * f64::abs(r));
            let by_chosen = (odds_ratio(c + sc, r).loss - odds_ratio(c - sc, r).loss) / (2.0 * sc);
            let by_rejected =
                (odds_ratio(c, r + sr).loss - odds_ratio(c, r - sr).loss) / (2.0 * sr);
            for (found, wanted) in [(by_chosen, here.d_chosen), (by_rejected, here.d_rejected)] {
                assert!(
                    (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                    "{found} {wanted}"
                );
            }
        }
    }

    #[test]
    fn certain_answers_are_finite() {
        for (c, r) in [
            (0.0, 0.0),
            (0.0, -3.0),
            (-3.0, 0.0),
            (1e-7, -1e-30),
            (-1e3, -1e3),
        ] {
            let found = odds_ratio(c, r);
            assert!(
                found.loss.is_finite()
                    && found.d_chosen.is_finite()
                    && found.d_rejected.is_finite(),
                "{found:?}"
            );
        }
    }
}
