//! How far the policy is from the reference, and what a nat of it costs.
//!
//! Estimators over sampled tokens, with `d = ln π − ln π₀` (Schulman, "Approximating KL
//! divergence"): `k1 = d` is unbiased and what rewards subtract; `k3 = e^{−d} − 1 + d` is
//! unbiased, never negative, and what a loss can hold. The coefficient is fixed, or follows
//! Ziegler et al. (2019, section 2.2). Used by `ppo::score`, `ppo::loss` and the stage.

use serde::{Deserialize, Serialize};

/// What of `d` a reward subtracts; the names are TRL's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Penalty {
    /// `d`: k1.
    #[default]
    Kl,
    /// `|d|`.
    Abs,
    /// `d² / 2`: k2.
    Mse,
    /// `e^{−d} − 1 + d`: k3.
    K3,
}

impl Penalty {
    /// The penalty of a token.
    pub fn of(self, log_prob: f64, reference: f64) -> f64 {
        let d = log_prob - reference;
        match self {
            Self::Kl => d,
            Self::Abs => d.abs(),
            Self::Mse => 0.5 * d * d,
            Self::K3 => k3(log_prob, reference),
        }
    }
}

/// `e^{−d} − 1 + d`; its derivative by `ln π` is `1 − e^{−d}`.
pub fn k3(log_prob: f64, reference: f64) -> f64 {
    let d = log_prob - reference;
    (-d).exp_m1() + d
}

/// How the coefficient moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Controller {
    /// KL of a sequence, in nats, that is aimed at; none keeps the coefficient.
    pub target: Option<f64>,
    /// Samples over which an error of 100 % would double the coefficient, were it not clipped.
    pub horizon: f64,
}

impl Controller {
    /// The coefficient after a batch of `samples` sequences whose summed KL is `kl` on average:
    /// `β (1 + clip(kl / target − 1, ±0.2) · samples / horizon)`.
    pub fn next(self, coefficient: f64, kl: f64, samples: usize) -> f64 {
        self.target.map_or(coefficient, |target| {
            let error = (kl / target - 1.0).clamp(-0.2, 0.2);
            coefficient * (1.0 + error * samples as f64 / self.horizon)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_is_never_negative_and_has_its_derivative() {
        for d in [-3.0, -0.1, -1e-9, 0.0, 1e-9, 0.4, 5.0] {
            assert!(k3(d, 0.0) >= 0.0);
            let found = (k3(d + 1e-6, 0.0) - k3(d - 1e-6, 0.0)) / 2e-6;
            assert!((found + (-d).exp_m1()).abs() < 1e-6, "{d}");
        }
        assert!((Penalty::K3.of(-1.0, -2.0) - 0.367_879_441).abs() < 1e-9);
        assert!((Penalty::Mse.of(-1.0, -3.0) - 2.0).abs() < 1e-15);
        assert!((Penalty::Abs.of(-3.0, -1.0) - 2.0).abs() < 1e-15);
    }

    #[test]
    fn without_a_target_the_coefficient_stays() {
        let fixed = Controller {
            target: None,
            horizon: 100.0,
        };
        assert!((fixed.next(0.2, 50.0, 64) - 0.2).abs() < 1e-15);
    }
}
