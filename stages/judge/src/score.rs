//! Estimators of how often a model solves a problem, from counts alone.
//!
//! Used by `tally.rs` and `report.rs`; reads no table and knows no verdict. Paper section 4:
//! "solved" counts; pass@k as in the HumanEval paper; n@k with filtering on the public tests as
//! in AlphaCode, Algorithm 1.
//!
//! Promises: n@k is the exact expectation that Algorithm 1 approaches by sampling, so it has no
//! seed and no error of its own. A quantity that the samples cannot give (k larger than their
//! number) is `None`, never an extrapolation. Intervals are over problems, drawn from a
//! counter-based generator: the same on every machine.

use engine::rng::{below, rng};

/// Probability that at least one of `k` samples drawn without replacement from `n`, of which
/// `c` are right, is right: `1 - prod_{i=n-c+1..n} (1 - k/i)`; `None` if `k > n`.
pub fn pass_at_k(n: u64, c: u64, k: u64) -> Option<f64> {
    if k > n || c > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    let all_wrong: f64 = (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    Some(1.0 - all_wrong)
}

/// What is known about the samples of one problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples taken (Algorithm 1: `K`).
    pub samples: u64,
    /// Samples that pass the public tests (`e_p`).
    pub public: u64,
    /// Samples that pass all tests (`s_p`).
    pub solved: u64,
}

/// Probability that `n` submissions, chosen at random among those of `k` drawn samples that
/// pass the public tests, contain a right one; `None` if `k` exceeds the samples taken.
pub fn n_at_k(counts: Counts, n: u64, k: u64) -> Option<f64> {
    let Counts {
        samples,
        public,
        solved,
    } = counts;
    if k > samples || public > samples || solved > public {
        return None;
    }
    let ln_factorial = ln_factorials(samples);
    let ln_choose = |a: u64, b: u64| {
        ln_factorial[a as usize] - ln_factorial[b as usize] - ln_factorial[(a - b) as usize]
    };
    // e' ~ Hypergeometric(public, samples - public, k); then min(e', n) of the e' are submitted,
    // which is a uniform draw from all `public`.
    let fewest = k.saturating_sub(samples - public);
    let mut expectation = 0.0;
    let mut total = 0.0;
    for drawn in fewest..=public.min(k) {
        let ln_probability = ln_choose(public, drawn) + ln_choose(samples - public, k - drawn)
            - ln_choose(samples, k);
        let probability = ln_probability.exp();
        let chosen = drawn.min(n);
        total += probability;
        expectation += probability * pass_at_k(public, solved, chosen)?;
    }
    // The probabilities sum to one but for the rounding of the logarithms.
    Some((expectation / total).min(1.0))
}

/// `ln(0!) ..= ln(n!)`, summed with compensation.
fn ln_factorials(n: u64) -> Vec<f64> {
    let mut values = Vec::with_capacity(n as usize + 1);
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    values.push(0.0);
    for i in 1..=n {
        let term = (i as f64).ln() - lost;
        let next = sum + term;
        lost = (next - sum) - term;
        sum = next;
        values.push(sum);
    }
    values
}

/// The middle 95 % of a statistic over problems drawn with replacement.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Percentile bootstrap of the mean of `values`, one per problem; `None` without values.
pub fn bootstrap(values: &[f64], resamples: u64, seed: u64) -> Option<Interval> {
    if values.is_empty() || resamples == 0 {
        return None;
    }
    let count = values.len() as u64;
    let mut means: Vec<f64> = (0..resamples)
        .map(|resample| {
            let mut generator = rng(seed, "report.bootstrap", resample);
            let sum: f64 = (0..count)
                .map(|_| values[below(&mut generator, count) as usize])
                .sum();
            sum / count as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (means.len() - 1) as f64).round() as usize];
    Some(Interval {
        low: at(0.025),
        high: at(0.975),
    })
}

/// McNemar's exact test: two-sided probability of a split at least as uneven as
/// `only_first : only_second` if both systems were equally good.
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let differing = only_first + only_second;
    let ln_factorial = ln_factorials(differing);
    let one_tail: f64 = (0..=only_first.min(only_second))
        .map(|i| {
            let ln_choose = ln_factorial[differing as usize]
                - ln_factorial[i as usize]
                - ln_factorial[(differing - i) as usize];
            (ln_choose - differing as f64 * std::f64::consts::LN_2).exp()
        })
        .sum();
    (2.0 * one_tail).min(1.0)
}

/// How much larger the second of two paired values is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// Mean over the pairs of second less first.
    pub mean: f64,
    /// The middle 95 % of a bootstrap over pairs.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Two-sided probability of a mean at least as far from 0 if each pair's sign were chance.
    pub p_value: f64,
}

/// Compares paired values, such as the shares of right samples of each problem under two models:
/// bootstrap interval, and the randomisation test that swaps the two of each pair at random
/// (with the observed arrangement counted, so that p is never 0); `None` without pairs.
pub fn paired_difference(pairs: &[(f64, f64)], resamples: u64, seed: u64) -> Option<Difference> {
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    let interval = bootstrap(&differences, resamples, seed)?;
    let sum: f64 = differences.iter().sum();
    // Sums of the same numbers in other signs may differ by rounding alone.
    let bound = sum.abs() - 1e-9;
    let as_far = (0..resamples)
        .filter(|&resample| {
            let mut generator = rng(seed, "report.signs", resample);
            let swapped: f64 = differences
                .iter()
                .map(|d| {
                    if below(&mut generator, 2) == 0 {
                        *d
                    } else {
                        -d
                    }
                })
                .sum();
            swapped.abs() >= bound
        })
        .count() as f64;
    Some(Difference {
        mean: sum / pairs.len() as f64,
        low: interval.low,
        high: interval.high,
        p_value: (as_far + 1.0) / (resamples as f64 + 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, wanted: f64, what: &str) {
        assert!(
            (found - wanted).abs() < 1e-12,
            "{what}: {found} != {wanted}"
        );
    }

    /// Follows Algorithm 1 literally over every draw of `k` samples and every choice of
    /// submissions among the filtered ones.
    fn n_at_k_by_enumeration(counts: Counts, n: u64, k: u64) -> f64 {
        let subsets = |size: u64, of: &[u64]| -> Vec<Vec<u64>> {
            (0_u32..1 << of.len())
                .filter(|mask| u64::from(mask.count_ones()) == size)
                .map(|mask| {
                    let picked = of.iter().enumerate();
                    picked
                        .filter(|(bit, _)| mask >> bit & 1 == 1)
                        .map(|(_, &sample)| sample)
                        .collect()
                })
                .collect()
        };
        // Samples 0..solved solve, 0..public pass the public tests.
        let all: Vec<u64> = (0..counts.samples).collect();
        let draws = subsets(k, &all);
        let mut mean = 0.0;
        for draw in &draws {
            let filtered: Vec<u64> = draw
                .iter()
                .copied()
                .filter(|&s| s < counts.public)
                .collect();
            let chosen = subsets(n.min(filtered.len() as u64), &filtered);
            let good = chosen
                .iter()
                .filter(|c| c.iter().any(|&s| s < counts.solved));
            mean += good.count() as f64 / chosen.len() as f64;
        }
        mean / draws.len() as f64
    }

    #[test]
    fn n_at_k_is_the_expectation_of_algorithm_1() {
        for samples in 1..=7 {
            for public in 0..=samples {
                for solved in 0..=public {
                    let counts = Counts {
                        samples,
                        public,
                        solved,
                    };
                    for k in 1..=samples {
                        for n in 1..=k {
                            let wanted = n_at_k_by_enumeration(counts, n, k);
                            let found = n_at_k(counts, n, k).expect("k is within the samples");
                            assert_near(found, wanted, &format!("{counts:?} {n}@{k}"));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn n_at_k_with_all_samples_drawn_and_submitted_is_being_solved() {
        let counts = |solved| Counts {
            samples: 1000,
            public: 1000,
            solved,
        };
        assert_eq!(n_at_k(counts(1), 1000, 1000), Some(1.0));
        assert_eq!(n_at_k(counts(0), 1000, 1000), Some(0.0));
        assert_near(n_at_k(counts(1), 10, 1000).unwrap_or(0.0), 0.01, "10@1k");
    }

    #[test]
    fn what_the_samples_cannot_tell_is_none() {
        assert_eq!(pass_at_k(10, 3, 11), None);
        let few = Counts {
            samples: 10,
            public: 3,
            solved: 1,
        };
        assert_eq!(n_at_k(few, 10, 11), None);
    }

    #[test]
    fn bootstrap_is_the_same_every_time_and_holds_the_mean() {
        let values: Vec<f64> = (0..165).map(|i| f64::from(u8::from(i % 7 == 0))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let first = bootstrap(&values, 1000, 0).expect("there are values");
        assert_eq!(Some(first), bootstrap(&values, 1000, 0));
        let spread: Vec<f64> = (0..165).map(|i| f64::from(i).sqrt()).collect();
        assert_ne!(bootstrap(&spread, 1000, 0), bootstrap(&spread, 1000, 1));
        assert!(first.low < mean && mean < first.high);
        // Binomial standard error 0.0275: the interval is about 1.96 of them to each side.
        let width = first.high - first.low;
        assert!((0.09..0.13).contains(&width), "{width}");
        assert_eq!(bootstrap(&[], 1000, 0), None);
        let sure = bootstrap(&[1.0; 20], 100, 0).expect("there are values");
        assert_eq!((sure.low, sure.high), (1.0, 1.0));
    }

    #[test]
    fn a_difference_is_found_where_there_is_one_and_only_there() {
        let none: Vec<(f64, f64)> = (0..40_u32)
            .map(|i| (f64::from(i % 5), f64::from((i + 20) % 5)))
            .collect();
        let same = paired_difference(&none, 1000, 0).expect("there are pairs");
        assert_eq!((same.mean, same.p_value), (0.0, 1.0));
        let better: Vec<(f64, f64)> = (0..40_u32)
            .map(|i| (f64::from(i % 5), f64::from(i % 5) + f64::from(i % 3)))
            .collect();
        let found = paired_difference(&better, 1000, 0).expect("there are pairs");
        assert!((found.mean - 0.975).abs() < 1e-12);
        assert!(found.low > 0.6 && found.high < 1.3 && found.p_value < 0.01);
        // Six pairs, all for the second: exactly 2 of 64 arrangements are as far.
        let few = paired_difference(&[(0.0, 1.0); 6], 20_000, 1).expect("there are pairs");
        assert!((few.p_value - 2.0 / 64.0).abs() < 0.005, "{}", few.p_value);
        assert_eq!(paired_difference(&[], 1000, 0), None);
    }

    #[test]
    fn mcnemar_is_the_two_sided_binomial_test() {
        assert_near(mcnemar(0, 0), 1.0, "no difference");
        assert_near(mcnemar(3, 3), 1.0, "balanced");
        assert_near(mcnemar(0, 5), 2.0 / 32.0, "five to none");
        assert_near(mcnemar(6, 1), 2.0 * 8.0 / 128.0, "six to one");
    }
}
