//! How much better a token, or a whole program, was than expected.
//!
//! Generalised advantage estimation (Schulman et al. 2016): `δ_t = r_t + γ V_{t+1} − V_t`,
//! `A_t = δ_t + γ λ A_{t+1}`, with `V` after the last token 0; returns are `A_t + V_t` before
//! whitening. Baselines of a group of samples of one problem: leave-one-out (RLOO), and mean
//! and deviation (GRPO). Sequences hold their sampled tokens and nothing else, so that no mask
//! can be wrong. (TRL whitens the zeros of the padding along with the rewards, and what becomes
//! of them flows back into the sequence; here nothing does.) Used by the stage.

/// Mean and variance of all values of all sequences are made 0 and 1 (Bessel's correction,
/// `1e-8` added to the variance); with `shift` off, the mean is put back.
pub fn whiten(sequences: &mut [Vec<f64>], shift: bool) {
    let count = sequences.iter().map(Vec::len).sum::<usize>() as f64;
    if count < 2.0 {
        return;
    }
    let all = || sequences.iter().flatten();
    let mean = all().sum::<f64>() / count;
    let variance = all().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let scale = 1.0 / (variance + 1e-8).sqrt();
    let offset = if shift { 0.0 } else { mean };
    for value in sequences.iter_mut().flatten() {
        *value = (*value - mean) * scale + offset;
    }
}

/// Advantages of one sequence's tokens from rewards and values.
pub fn generalised(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        next = delta + gamma * lambda * next;
        advantages[t] = next;
        next_value = values[t];
    }
    advantages
}

/// RLOO: each total less the mean of the others of its group of `size`.
pub fn leave_one_out(totals: &[f64], size: usize) -> Vec<f64> {
    by_group(totals, size, |group, total| {
        let others = group.iter().sum::<f64>() - total;
        total - others / (group.len() as f64 - 1.0)
    })
}

/// GRPO: each total less its group's mean, over its group's standard deviation (Bessel's
/// correction, 1e-4 added, as TRL).
pub fn group_relative(totals: &[f64], size: usize) -> Vec<f64> {
    by_group(totals, size, |group, total| {
        let count = group.len() as f64;
        let mean = group.iter().sum::<f64>() / count;
        let variance = group.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (total - mean) / (variance.sqrt() + 1e-4)
    })
}

/// A group of one has nothing to compare with: advantage 0.
fn by_group(totals: &[f64], size: usize, advantage: impl Fn(&[f64], f64) -> f64) -> Vec<f64> {
    totals
        .chunks(size)
        .flat_map(|group| {
            let of = |&total: &f64| {
                if group.len() < 2 {
                    0.0
                } else {
                    advantage(group, total)
                }
            };
            group.iter().map(of).collect::<Vec<f64>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A_t = Σ_k (γλ)^k δ_{t+k}`, written out.
    fn by_definition(rewards: &[f64], values: &[f64], gamma: f64, lambda: f64) -> Vec<f64> {
        let value = |t: usize| values.get(t).copied().unwrap_or(0.0);
        let delta = |t: usize| rewards[t] + gamma * value(t + 1) - value(t);
        (0..rewards.len())
            .map(|t| {
                let later = t..rewards.len();
                later
                    .map(|s| (gamma * lambda).powi((s - t) as i32) * delta(s))
                    .sum()
            })
            .collect()
    }

    #[test]
    fn advantages_follow_the_definition() {
        let (rewards, values) = ([0.1, -0.2, 0.0, 2.5], [0.4, 0.3, -0.8, 1.1]);
        for (gamma, lambda) in [(1.0, 0.95), (0.9, 0.0), (0.99, 1.0)] {
            let found = generalised(&rewards, &values, gamma, lambda);
            let wanted = by_definition(&rewards, &values, gamma, lambda);
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn group_baselines_by_hand() {
        let totals = [1.0, 3.0, 5.0, 2.0, 2.0, 2.0, 9.0];
        let found = leave_one_out(&totals, 3);
        assert_eq!(found, [-3.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
        let found = group_relative(&totals, 3);
        assert!((found[2] - 2.0 / 2.0001).abs() < 1e-12);
        assert_eq!(found[3..], [0.0; 4]);
    }
}
