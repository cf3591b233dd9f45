//! The clipped losses of policy and value on a mini-batch of tokens, with their derivatives
//! (Schulman et al. 2017; the paper's PPO).
//!
//! `ρ = π / π_old`: `L_π = mean max(−A ρ, −A clip(ρ, 1 ± ε))`,
//! `L_V = ½ mean max((V − R)², (clip(V, V_old ± ε_V) − R)²)`,
//! `L = L_π + c_V L_V + c_KL mean k3 + c_H mean ρ ln π`. Means are over all tokens of the
//! mini-batch. Group-relative variants leave out the value. The last term is the negative entropy,
//! estimated from the sampled tokens (TRL 0.8.6 has none). Called by the stage and by `iota debug loss`; knows nothing of networks.

use super::kl::k3;

/// The constants; defaults are those of TRL 0.8.6, which the paper most probably used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// `ε`.
    pub clip: f64,
    /// `ε_V`.
    pub clip_value: f64,
    /// `c_V`; 0 for algorithms without a critic.
    pub value_coefficient: f64,
    /// `c_KL`: GRPO has the penalty here and not in the rewards.
    pub kl_coefficient: f64,
    /// `c_H`: what a nat of entropy is worth.
    pub entropy_coefficient: f64,
    /// Rows whose mean `ρ` is above it are not learnt from: something has gone wrong.
    pub ratio_threshold: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clip: 0.2,
            clip_value: 0.2,
            value_coefficient: 0.1,
            kl_coefficient: 0.0,
            entropy_coefficient: 0.0,
            ratio_threshold: 10.0,
        }
    }
}

/// One sampled token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Token {
    /// `ln π`, now.
    pub log_prob: f64,
    /// `ln π_old`, at the time of sampling.
    pub old_log_prob: f64,
    /// `ln π₀`.
    pub reference: f64,
    /// `V`, now.
    pub value: f64,
    /// `V_old`.
    pub old_value: f64,
    /// `A`.
    pub advantage: f64,
    /// `R`.
    pub target: f64,
}

/// Sums over tokens; divided by their number they are TRL's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Tokens.
    pub tokens: f64,
    /// `max(−A ρ, −A clip(ρ))`.
    pub policy: f64,
    /// `½ max(…)`, without `c_V`.
    pub value: f64,
    /// The whole loss.
    pub total: f64,
    /// `½ (ln π − ln π_old)²`.
    pub approximate_kl: f64,
    /// `ln π_old − ln π`.
    pub policy_kl: f64,
    /// Tokens whose clipped policy loss is the larger.
    pub policy_clipped: f64,
    /// Tokens whose clipped value loss is the larger.
    pub value_clipped: f64,
    /// `(V − R)²`.
    pub value_error: f64,
    /// `ρ`.
    pub ratio: f64,
}

impl Sums {
    /// Adds those of other tokens.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.tokens, other.tokens),
            (&mut self.policy, other.policy),
            (&mut self.value, other.value),
            (&mut self.total, other.total),
            (&mut self.approximate_kl, other.approximate_kl),
            (&mut self.policy_kl, other.policy_kl),
            (&mut self.policy_clipped, other.policy_clipped),
            (&mut self.value_clipped, other.value_clipped),
            (&mut self.value_error, other.value_error),
            (&mut self.ratio, other.ratio),
        ] {
            *own += other;
        }
    }

    /// Means over the tokens, under TRL's names.
    pub fn means(&self) -> [(&'static str, f64); 9] {
        let mean = |sum: f64| sum / self.tokens.max(1.0);
        [
            ("loss/policy", mean(self.policy)),
            ("loss/value", mean(self.value)),
            ("loss/total", mean(self.total)),
            ("policy/approxkl", mean(self.approximate_kl)),
            ("policy/policykl", mean(self.policy_kl)),
            ("policy/clipfrac", mean(self.policy_clipped)),
            ("policy/ratio", mean(self.ratio)),
            ("val/error", mean(self.value_error)),
            ("val/clipfrac", mean(self.value_clipped)),
        ]
    }
}

/// Derivatives of the loss by each token's numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Sums over the rows at hand.
    pub sums: Sums,
    /// `dL / d ln π`.
    pub d_log_probs: Vec<f32>,
    /// `dL / dV`.
    pub d_values: Vec<f32>,
    /// The rows were not learnt from: derivatives are 0.
    pub skipped: bool,
}

/// The losses of some rows of a mini-batch of `tokens_in_batch` tokens.
///
/// With the denominator of the whole mini-batch, rows can be handed over in any pieces.
pub fn loss(options: &Options, tokens: &[Token], tokens_in_batch: usize) -> Loss {
    let scale = 1.0 / tokens_in_batch.max(1) as f64;
    let mut found = Loss::default();
    let sums = &mut found.sums;
    for token in tokens {
        let difference = token.log_prob - token.old_log_prob;
        let ratio = difference.exp();
        let clipped = ratio.clamp(1.0 - options.clip, 1.0 + options.clip);
        let (plain_loss, clipped_loss) = (-token.advantage * ratio, -token.advantage * clipped);
        let policy = plain_loss.max(clipped_loss);
        // The clipped loss is constant wherever it is the larger.
        let mut d_log_prob = if clipped_loss > plain_loss {
            0.0
        } else {
            plain_loss
        };

        let low = token.old_value - options.clip_value;
        let bounded = token.value.clamp(low, token.old_value + options.clip_value);
        let error = token.value - token.target;
        let (plain_square, clipped_square) = (error * error, (bounded - token.target).powi(2));
        let value_clipped = clipped_square > plain_square;
        let value = 0.5 * plain_square.max(clipped_square);
        let d_value = if value_clipped { 0.0 } else { error };

        let penalty = if options.kl_coefficient == 0.0 {
            0.0
        } else {
            let d = token.log_prob - token.reference;
            d_log_prob -= options.kl_coefficient * (-d).exp_m1();
            options.kl_coefficient * k3(token.log_prob, token.reference)
        };
        // d(ρ ln π) / d ln π = ρ (ln π + 1)
        d_log_prob += options.entropy_coefficient * ratio * (token.log_prob + 1.0);
        let surplus = options.entropy_coefficient * ratio * token.log_prob;
        sums.tokens += 1.0;
        sums.policy += policy;
        sums.value += value;
        sums.total += policy + options.value_coefficient * value + penalty + surplus;
        sums.approximate_kl += 0.5 * difference * difference;
        sums.policy_kl -= difference;
        sums.policy_clipped += f64::from(u8::from(clipped_loss > plain_loss));
        sums.value_clipped += f64::from(u8::from(value_clipped));
        sums.value_error += plain_square;
        sums.ratio += ratio;
        found.d_log_probs.push((d_log_prob * scale) as f32);
        let d_value = options.value_coefficient * d_value * scale;
        found.d_values.push(d_value as f32);
    }
    // A sum that is not a number must not be learnt from either.
    let mean = sums.ratio / sums.tokens.max(1.0);
    if mean.is_nan() || mean > options.ratio_threshold {
        found.skipped = true;
        found.d_log_probs.fill(0.0);
        found.d_values.fill(0.0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Token> {
        let draw = |i: usize| ((i * 7919 % 101) as f64 / 101.0 - 0.5) * 3.0;
        (0..40)
            .map(|i| Token {
                log_prob: -2.0 + 0.3 * draw(i),
                old_log_prob: -2.0 + 0.3 * draw(i + 50),
                reference: -2.0 + 0.3 * draw(i + 90),
                value: 0.4 * draw(i + 100),
                old_value: 0.4 * draw(i + 150),
                advantage: draw(i + 200),
                target: draw(i + 250),
            })
            .collect()
    }

    #[test]
    fn derivatives_agree_with_finite_differences() {
        let options = Options {
            kl_coefficient: 0.3,
            entropy_coefficient: 0.2,
            value_coefficient: 0.7,
            ..Options::default()
        };
        let tokens = tokens();
        let total = |tokens: &[Token]| loss(&options, tokens, 40).sums.total / 40.0;
        let here = loss(&options, &tokens, 40);
        assert!(here.sums.policy_clipped > 3.0 && here.sums.value_clipped > 3.0);
        let step = 1e-6;
        for index in 0..tokens.len() {
            let moved = |change: &dyn Fn(&mut Token, f64)| {
                let (mut up, mut down) = (tokens.clone(), tokens.clone());
                change(&mut up[index], step);
                change(&mut down[index], -step);
                (total(&up) - total(&down)) / (2.0 * step)
            };
            let by_log_prob = moved(&|token, by| token.log_prob += by);
            let by_value = moved(&|token, by| token.value += by);
            assert!((by_log_prob - f64::from(here.d_log_probs[index])).abs() < 1e-6);
            assert!((by_value - f64::from(here.d_values[index])).abs() < 1e-6);
        }
    }

    #[test]
    fn pieces_add_up_to_the_whole() {
        let (options, tokens) = (Options::default(), tokens());
        let whole = loss(&options, &tokens, 40);
        let (a, b) = (
            loss(&options, &tokens[..13], 40),
            loss(&options, &tokens[13..], 40),
        );
        assert_eq!([a.d_log_probs, b.d_log_probs].concat(), whole.d_log_probs);
        assert_eq!([a.d_values, b.d_values].concat(), whole.d_values);
        assert!((a.sums.total + b.sums.total - whole.sums.total).abs() < 1e-9);
    }

    #[test]
    fn rows_that_went_astray_are_not_learnt_from() {
        for old_log_prob in [-9.0, f64::NAN] {
            let token = Token {
                log_prob: -2.0,
                old_log_prob,
                advantage: -1.0,
                value: 3.0,
                ..Token::default()
            };
            let found = loss(&Options::default(), &[token; 3], 3);
            assert!(found.skipped);
            assert_eq!(
                (found.d_log_probs, found.d_values),
                (vec![0.0; 3], vec![0.0; 3])
            );
        }
    }
}
