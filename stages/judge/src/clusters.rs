//! Choosing submissions by clusters, as AlphaCode does (sections 4.4 and 5): of the samples that
//! pass the public tests, those that behave alike are one cluster; one sample is submitted from each
//! cluster, the largest first, and round again when there are fewer clusters than submissions.
//!
//! Used by `judge.rs` (counts) and `report.rs` (the estimate); behaviours come from `behaviour.rs`.
//! The estimate draws samples as often as it is told, from a counter-based generator; which samples
//! of a cluster are submitted is not drawn but computed.

use crate::score::pass_at_k;
use engine::rng::{below, rng};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Samples of one problem that pass its public tests and behave alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// How many they are.
    pub samples: u64,
    /// How many of them pass all tests.
    pub solved: u64,
}

/// Probability that `n` submissions chosen by clusters contain a right one, where `k` of `samples`
/// samples are drawn and `clusters` are those that pass the public tests; the mean of `draws` draws.
/// `None` if `k` exceeds the samples or they are fewer than those in clusters.
pub fn n_at_k_clustered(
    samples: u64,
    clusters: &[Cluster],
    n: u64,
    k: u64,
    draws: u64,
    seed: u64,
) -> Option<f64> {
    let filtered: u64 = clusters.iter().map(|cluster| cluster.samples).sum();
    let is_sound = clusters
        .iter()
        .all(|cluster| cluster.solved <= cluster.samples);
    if k > samples || filtered > samples || !is_sound || draws == 0 {
        return None;
    }
    // Which cluster each sample is of, and whether it is right; `None` if it was filtered out.
    let mut pool: Vec<Option<(usize, bool)>> = Vec::with_capacity(samples as usize);
    for (number, cluster) in clusters.iter().enumerate() {
        pool.extend((0..cluster.samples).map(|place| Some((number, place < cluster.solved))));
    }
    pool.resize(samples as usize, None);
    let mut sum = 0.0;
    for draw in 0..draws {
        let mut random = rng(seed, "report.clusters", draw);
        for place in 0..k {
            let other = place + below(&mut random, samples - place);
            pool.swap(place as usize, other as usize);
        }
        let mut drawn = vec![Cluster::default(); clusters.len()];
        for (number, is_right) in pool[..k as usize].iter().flatten() {
            drawn[*number].samples += 1;
            drawn[*number].solved += u64::from(*is_right);
        }
        drawn.retain(|cluster| cluster.samples > 0);
        // Among clusters of one size chance decides.
        let mut ranked: Vec<(Reverse<u64>, u64, Cluster)> = drawn
            .into_iter()
            .map(|cluster| {
                (
                    Reverse(cluster.samples),
                    below(&mut random, u64::MAX),
                    cluster,
                )
            })
            .collect();
        ranked.sort_by_key(|(size, tie, _)| (*size, *tie));
        sum += 1.0 - all_wrong(ranked.iter().map(|(_, _, cluster)| *cluster), n)?;
    }
    Some(sum / draws as f64)
}

/// Probability that no submission is right, from clusters in their order.
fn all_wrong(ranked: impl Iterator<Item = Cluster> + Clone, n: u64) -> Option<f64> {
    // From each cluster a random draw without replacement: only how many counts.
    let mut taken: Vec<u64> = ranked.clone().map(|_| 0).collect();
    let mut left = n;
    loop {
        let before = left;
        for (taken, cluster) in taken.iter_mut().zip(ranked.clone()) {
            if left > 0 && *taken < cluster.samples {
                *taken += 1;
                left -= 1;
            }
        }
        if left == 0 || left == before {
            break;
        }
    }
    ranked
        .zip(taken)
        .map(|(cluster, taken)| Some(1.0 - pass_at_k(cluster.samples, cluster.solved, taken)?))
        .product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Counts, n_at_k};

    fn cluster(samples: u64, solved: u64) -> Cluster {
        Cluster { samples, solved }
    }

    fn found(samples: u64, clusters: &[Cluster], n: u64, k: u64) -> f64 {
        n_at_k_clustered(samples, clusters, n, k, 4000, 1).expect("k is within the samples")
    }

    #[test]
    fn one_of_each_cluster_from_the_largest_and_round_again() {
        let clusters = [cluster(1, 1), cluster(5, 0), cluster(3, 0)];
        // Largest first: the right one is third.
        for (n, wanted) in [(1, 0.0), (2, 0.0), (3, 1.0), (9, 1.0)] {
            assert!((found(20, &clusters, n, 20) - wanted).abs() < 1e-12, "{n}");
        }
        // Second round: two of the four of the first cluster, one of them right.
        let again = [cluster(4, 1), cluster(2, 0)];
        assert!((found(6, &again, 3, 6) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn clusters_that_tell_nothing_change_nothing() {
        let counts = Counts {
            samples: 30,
            public: 12,
            solved: 3,
        };
        // All in one cluster, and each in its own.
        let single: Vec<Cluster> = (0..12).map(|i| cluster(1, u64::from(i < 3))).collect();
        for (n, k) in [(1, 30), (4, 30), (2, 10), (5, 20)] {
            let wanted = n_at_k(counts, n, k).expect("k is within the samples");
            for clusters in [&[cluster(12, 3)][..], &single] {
                let found = found(30, clusters, n, k);
                assert!(
                    (found - wanted).abs() < 0.03,
                    "{n}@{k}: {found} and {wanted}"
                );
            }
        }
    }

    #[test]
    fn a_large_wrong_cluster_costs_one_submission_only() {
        let clusters = [cluster(90, 0), cluster(2, 2)];
        let counts = Counts {
            samples: 100,
            public: 92,
            solved: 2,
        };
        assert!((found(100, &clusters, 2, 100) - 1.0).abs() < 1e-12);
        assert!(n_at_k(counts, 2, 100).is_some_and(|plain| plain < 0.05));
    }

    #[test]
    fn what_the_samples_cannot_tell_is_none() {
        assert_eq!(n_at_k_clustered(10, &[], 1, 11, 10, 0), None);
        assert_eq!(n_at_k_clustered(10, &[cluster(11, 0)], 1, 5, 10, 0), None);
        assert_eq!(n_at_k_clustered(10, &[], 1, 10, 10, 0), Some(0.0));
    }
}
