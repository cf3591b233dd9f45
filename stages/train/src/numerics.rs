//! Functions of log-probabilities that stay exact where the obvious formula overflows.
//!
//! Used by every preference loss (paper, Eq. 2 to 6). In f64: their inputs are sums of f32
//! log-probabilities, and what is lost here is lost for the gradient too. Derivatives are
//! written out beside the functions and held against finite differences.

/// The largest mean log-probability that odds are taken of: f32 log-probabilities of certain
/// tokens round to 0, where the odds are infinite.
const NEARLY_CERTAIN: f64 = -1e-7;

/// `σ(x) = 1 / (1 + e^{−x})`.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln σ(x)`; its derivative is `σ(−x)`.
pub fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// `ln(1 − eˣ)` for `x < 0`; −∞ at 0.
///
/// Two forms: near 0 the difference `1 − eˣ` cancels, far from it the logarithm of a number
/// near 1 does.
pub fn log1mexp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 {
        (-x.exp_m1()).ln()
    } else {
        (-x.exp()).ln_1p()
    }
}

/// The derivative of [`log1mexp`], `−1 / (e^{−x} − 1)`: finite for every `x < 0`.
pub fn log1mexp_derivative(x: f64) -> f64 {
    -1.0 / (-x).exp_m1()
}

/// `ln(p / (1 − p))` for `x = ln p`, and its derivative `1 / (1 − p)`.
///
/// Above −1e-7 both are those at −1e-7, so that a certain sequence has large but finite odds.
pub fn log_odds(x: f64) -> (f64, f64) {
    let x = x.min(NEARLY_CERTAIN);
    (x - log1mexp(x), 1.0 - log1mexp_derivative(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let check = |f: &dyn Fn(f64) -> f64, derivative: f64, x: f64| {
            let step = 1e-5 * x.abs().max(1e-3);
            let found = (f(x + step) - f(x - step)) / (2.0 * step);
            assert!(
                (found - derivative).abs() <= 1e-6 * derivative.abs().max(1.0),
                "at {x}: {found} against {derivative}"
            );
        };
        for x in [-30.0, -5.0, -0.7, -0.69, -0.3, -0.01] {
            check(&log1mexp, log1mexp_derivative(x), x);
            check(&|x| log_odds(x).0, log_odds(x).1, x);
        }
        for x in [-40.0, -3.0, 0.0, 0.1, 7.0, 40.0] {
            check(&log_sigmoid, sigmoid(-x), x);
        }
    }

    #[test]
    fn certain_and_impossible_sequences_have_finite_odds() {
        for x in [1e-6, 0.0, -1e-30, -1e-8] {
            let (odds, derivative) = log_odds(x);
            assert!((odds - 16.118).abs() < 1e-3 && (derivative - 1e7).abs() < 10.0);
        }
        let (odds, derivative) = log_odds(-800.0);
        assert!((odds + 800.0).abs() < 1e-12 && (derivative - 1.0).abs() < 1e-12);
    }
}
