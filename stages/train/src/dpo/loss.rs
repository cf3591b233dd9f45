//! Direct preference optimisation of one pair (paper, Eq. 3): loss and derivatives.
//!
//! With `h = (ln π(c) − ln π₀(c)) − (ln π(r) − ln π₀(r))` over a chosen and a rejected answer,
//! `L = −ln σ(β h)` and its variants. Sequence log-probabilities are sums over the tokens of
//! the answer and its end. The loss of a window is the mean over its pairs. Called by `dpo`
//! and by `iota debug loss`; knows nothing of networks.

use crate::numerics::{log_sigmoid, sigmoid};
use serde::{Deserialize, Serialize};

/// What is done with `h`; the names are TRL's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// `−(1−ε) ln σ(βh) − ε ln σ(−βh)`: DPO, and conservative DPO with `ε > 0`.
    #[default]
    Sigmoid,
    /// The same on log-probabilities averaged over tokens.
    SigmoidNorm,
    /// `max(0, 1 − βh)` (SLiC).
    Hinge,
    /// `(h̄ − 1/(2β))²` on averaged log-probabilities, as the authors of IPO run it.
    Ipo,
    /// `(h − 1/(2β))²` on sums, as the paper of IPO reads.
    IpoSum,
    /// `(−(1−ε) ln σ(βh) + ε ln σ(−βh)) / (1−2ε)`: unbiased under labels flipped at rate `ε`.
    Robust,
    /// `σ(βh) (ln σ(βh) − ln(1−ε)) + σ(−βh) (ln σ(−βh) − ln ε)`: reverse KL (EXO, Eq. 16).
    ExoPair,
    /// `1 − σ(β lc) + σ(β lr)` for the two log-ratios apart (APO, Eq. 7).
    ApoZero,
}

impl Variant {
    /// Whether log-probabilities are averaged over tokens.
    fn averages(self) -> bool {
        matches!(self, Self::SigmoidNorm | Self::Ipo)
    }
}

/// The constants of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What is done with `h`.
    pub variant: Variant,
    /// How much the policy is bound to the reference.
    pub beta: f64,
    /// `ε`: share of labels believed to be wrong.
    pub label_smoothing: f64,
    /// Weight of `−ln π(c) / tokens(c)` beside the loss: it keeps the chosen answer from becoming
    /// less likely together with the rejected one.
    pub nll_weight: f64,
}

impl Default for Options {
    /// The paper's β of 1, no smoothing, no extra term.
    fn default() -> Self {
        Self {
            variant: Variant::Sigmoid,
            beta: 1.0,
            label_smoothing: 0.0,
            nll_weight: 0.0,
        }
    }
}

/// Log-probabilities of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// `ln π`, summed over its tokens.
    pub policy: f64,
    /// `ln π₀`, summed over its tokens.
    pub reference: f64,
    /// Number of its tokens, with the end.
    pub tokens: usize,
}

/// The loss of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// `preference + nll_weight · nll`.
    pub loss: f64,
    /// The preference loss alone.
    pub preference: f64,
    /// `−ln π(c) / tokens(c)`.
    pub nll: f64,
    /// `dL / d ln π(c)`.
    pub d_chosen: f64,
    /// `dL / d ln π(r)`.
    pub d_rejected: f64,
    /// `β (ln π(c) − ln π₀(c))`.
    pub chosen_reward: f64,
    /// `β (ln π(r) − ln π₀(r))`.
    pub rejected_reward: f64,
}

/// The loss of a pair of answers.
pub fn loss(options: Options, chosen: Answer, rejected: Answer) -> Loss {
    let Options {
        variant,
        beta,
        label_smoothing: epsilon,
        nll_weight,
    } = options;
    let scale = |answer: Answer| {
        if variant.averages() {
            1.0 / answer.tokens.max(1) as f64
        } else {
            1.0
        }
    };
    let (chosen_scale, rejected_scale) = (scale(chosen), scale(rejected));
    let chosen_ratio = (chosen.policy - chosen.reference) * chosen_scale;
    let rejected_ratio = (rejected.policy - rejected.reference) * rejected_scale;
    let h = chosen_ratio - rejected_ratio;
    let x = beta * h;
    // The preference loss with its derivatives by both ratios.
    let (preference, d_chosen, d_rejected) = match variant {
        Variant::Sigmoid | Variant::SigmoidNorm => {
            let loss = -(1.0 - epsilon) * log_sigmoid(x) - epsilon * log_sigmoid(-x);
            both_sides(
                loss,
                beta * (epsilon * sigmoid(x) - (1.0 - epsilon) * sigmoid(-x)),
            )
        }
        Variant::Robust => {
            let loss = -(1.0 - epsilon) * log_sigmoid(x) + epsilon * log_sigmoid(-x);
            let d = -(1.0 - epsilon) * sigmoid(-x) - epsilon * sigmoid(x);
            let rest = 1.0 - 2.0 * epsilon;
            both_sides(loss / rest, beta * d / rest)
        }
        Variant::Hinge => both_sides((1.0 - x).max(0.0), if x < 1.0 { -beta } else { 0.0 }),
        Variant::Ipo | Variant::IpoSum => {
            let excess = h - 1.0 / (2.0 * beta);
            both_sides(excess * excess, 2.0 * excess)
        }
        Variant::ExoPair => {
            let (right, wrong) = (sigmoid(x), sigmoid(-x));
            let excess = (
                log_sigmoid(x) - (1.0 - epsilon).ln(),
                log_sigmoid(-x) - epsilon.ln(),
            );
            // d/dx of each product leaves the difference of the logarithms: the others cancel.
            let d = beta * right * wrong * (excess.0 - excess.1);
            both_sides(right * excess.0 + wrong * excess.1, d)
        }
        Variant::ApoZero => {
            let slope = |ratio: f64| beta * sigmoid(beta * ratio) * sigmoid(-beta * ratio);
            let loss = 1.0 - sigmoid(beta * chosen_ratio) + sigmoid(beta * rejected_ratio);
            (loss, -slope(chosen_ratio), slope(rejected_ratio))
        }
    };
    let tokens = chosen.tokens.max(1) as f64;
    let nll = -chosen.policy / tokens;
    Loss {
        loss: preference + nll_weight * nll,
        preference,
        nll,
        d_chosen: d_chosen * chosen_scale - nll_weight / tokens,
        d_rejected: d_rejected * rejected_scale,
        chosen_reward: beta * (chosen.policy - chosen.reference),
        rejected_reward: beta * (rejected.policy - rejected.reference),
    }
}

/// A loss that depends on `h` alone, with its derivative by `h`.
fn both_sides(loss: f64, d: f64) -> (f64, f64, f64) {
    (loss, d, -d)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: [Variant; 8] = [
        Variant::Sigmoid,
        Variant::SigmoidNorm,
        Variant::Hinge,
        Variant::Ipo,
        Variant::IpoSum,
        Variant::Robust,
        Variant::ExoPair,
        Variant::ApoZero,
    ];

    fn answer(policy: f64, reference: f64, tokens: usize) -> Answer {
        Answer {
            policy,
            reference,
            tokens,
        }
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for variant in VARIANTS {
            for (beta, label_smoothing, nll_weight) in [(0.1, 0.1, 0.0), (1.0, 0.25, 0.3)] {
                let options = Options {
                    variant,
                    beta,
                    label_smoothing,
                    nll_weight,
                };
                for (c, r) in [(-31.0, -40.5), (-35.5, -33.0), (-33.2, -39.9)] {
                    let at =
                        |c: f64, r: f64| loss(options, answer(c, -33.0, 11), answer(r, -39.0, 17));
                    let step = 1e-5;
                    let found = [
                        (at(c + step, r).loss - at(c - step, r).loss) / (2.0 * step),
                        (at(c, r + step).loss - at(c, r - step).loss) / (2.0 * step),
                    ];
                    let here = at(c, r);
                    assert!(
                        (found[0] - here.d_chosen).abs() < 1e-6,
                        "{variant:?} {here:?}"
                    );
                    assert!(
                        (found[1] - here.d_rejected).abs() < 1e-6,
                        "{variant:?} {here:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_policy_that_is_its_reference_has_loss_ln_2() {
        let same = answer(-12.5, -12.5, 7);
        for label_smoothing in [0.0, 0.3] {
            let options = Options {
                label_smoothing,
                ..Options::default()
            };
            let found = loss(options, same, answer(-80.0, -80.0, 9));
            assert!((found.loss - std::f64::consts::LN_2).abs() < 1e-15);
        }
    }

    #[test]
    fn far_apart_answers_stay_finite() {
        for variant in VARIANTS {
            let options = Options {
                variant,
                label_smoothing: 0.1,
                ..Options::default()
            };
            for (c, r) in [(-1.0, -9e4), (-9e4, -1.0)] {
                let found = loss(options, answer(c, -100.0, 5), answer(r, -100.0, 5));
                assert!(
                    found.loss.is_finite() && found.d_chosen.is_finite(),
                    "{variant:?}"
                );
            }
        }
    }
}
