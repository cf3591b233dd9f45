//! Rows held against one of them, problem by problem.
//!
//! Two models asked the same problems are compared on each of them, which takes the difference
//! between problems out of the comparison. Two questions: are more problems solved at all
//! (McNemar), and are more of a problem's samples right (randomisation test, far more sensitive
//! where both models solve a problem sometimes). Called by `report.rs`.

use super::RowNumbers;
use crate::score::{Difference, mcnemar, paired_difference};
use serde::Serialize;

/// A row against another, on the same problems.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The row.
    pub name: String,
    /// Problems that only the other row solves.
    pub only_first: Vec<String>,
    /// Problems that only this row solves.
    pub only_this: Vec<String>,
    /// McNemar's exact two-sided p.
    pub p_value: f64,
    /// Share of right samples of a problem, this row less the other, over problems for which
    /// both have samples.
    pub right_share: Option<Difference>,
}

/// Every other row against row `against`.
pub(super) fn against(
    rows: &[RowNumbers],
    against: usize,
    resamples: u64,
    seed: u64,
) -> Vec<Paired> {
    let others = rows
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != against);
    others
        .map(|(_, row)| pair(&rows[against], row, resamples, seed))
        .collect()
}

fn pair(first: &RowNumbers, this: &RowNumbers, resamples: u64, seed: u64) -> Paired {
    let only = |a: &RowNumbers, b: &RowNumbers| -> Vec<String> {
        let solves = |row: &RowNumbers, id: &String| row.per_problem[id].solved > 0;
        let ids = a.per_problem.keys();
        ids.filter(|id| solves(a, id) && !solves(b, id))
            .cloned()
            .collect()
    };
    let (only_first, only_this) = (only(first, this), only(this, first));
    let shares: Vec<(f64, f64)> = first
        .per_problem
        .iter()
        .filter_map(|(id, a)| {
            let b = this.per_problem[id];
            let share = |solved: u64, samples: u64| solved as f64 / samples as f64;
            (a.samples > 0 && b.samples > 0)
                .then(|| (share(a.solved, a.samples), share(b.solved, b.samples)))
        })
        .collect();
    Paired {
        name: this.name.clone(),
        p_value: mcnemar(only_first.len() as u64, only_this.len() as u64),
        right_share: paired_difference(&shares, resamples, seed),
        only_first,
        only_this,
    }
}
