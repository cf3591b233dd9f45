//! Reports of one recipe under several seeds, taken together.
//!
//! Reads outputs `report` of stage `report`; used by `iota seeds`. With other seeds everything is
//! drawn anew (problems, weights, programs), so the deviation over seeds is that of the whole
//! experiment. Pairs of (seed, problem) are pooled for the comparison with a row: more of them
//! than one seed has; what differs from seed to seed as a whole is told apart by the list of the
//! seeds' own differences.

use super::markdown::{grid, points};
use crate::score::{Difference, mcnemar, paired_difference};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is needed of a report.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    against: String,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Deserialize)]
struct Row {
    name: String,
    solved: u64,
    compile_rate: f64,
    pass_at: BTreeMap<u64, Option<Value>>,
    per_problem: BTreeMap<String, Counts>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Value {
    value: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    solved: u64,
    samples: u64,
}

impl Counts {
    fn right_share(self) -> f64 {
        self.solved as f64 / self.samples.max(1) as f64
    }
}

/// A figure under every seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean over the seeds.
    pub mean: f64,
    /// Standard deviation over the seeds (n − 1); `None` for one seed.
    pub deviation: Option<f64>,
    /// By seed, in their order.
    pub values: Vec<f64>,
}

impl Spread {
    fn of(values: Vec<f64>) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            values,
        }
    }
}

/// A row under all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Pooled {
    /// Its name.
    pub name: String,
    /// Problems solved.
    pub solved: Spread,
    /// Share of samples that compile.
    pub compile_rate: Spread,
    /// pass@k by k.
    pub pass_at: BTreeMap<u64, Spread>,
    /// Against the row that the reports compare with; `None` for that row itself.
    pub paired: Option<Paired>,
}

/// A row against another, over all seeds and problems.
#[derive(Clone, Debug, Serialize)]
pub struct Paired {
    /// Pairs of seed and problem.
    pub pairs: usize,
    /// Those that only the other row solves.
    pub only_other: u64,
    /// Those that only this row solves.
    pub only_this: u64,
    /// McNemar's exact two-sided p.
    pub p_value: f64,
    /// Share of right samples, this row less the other, over all pairs.
    pub right_share: Difference,
    /// The same difference under each seed.
    pub by_seed: Spread,
}

/// All seeds together.
#[derive(Clone, Debug, Serialize)]
pub struct Seeds {
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The row that the others are held against.
    pub against: String,
    /// One for each row of the reports.
    pub rows: Vec<Pooled>,
}

/// Takes reports together.
///
/// # Errors
/// There is none, or they have other rows than the first.
pub fn pool(reports: &[(u64, Report)], resamples: u64) -> Result<Seeds> {
    let (_, first) = reports
        .first()
        .context("there is no report to take together")?;
    let names = |report: &Report| -> Vec<String> {
        report.rows.iter().map(|row| row.name.clone()).collect()
    };
    for (seed, report) in reports {
        ensure!(
            names(report) == names(first) && report.against == first.against,
            "the report of seed {seed} has the rows {}, that of seed {} has {}: one recipe makes one \
             set of rows",
            names(report).join(", "),
            reports[0].0,
            names(first).join(", ")
        );
    }
    let other = names(first).iter().position(|name| *name == first.against);
    let other = other.context("a report compares with a row that it does not have")?;
    let rows = (0..first.rows.len())
        .map(|index| pool_row(reports, index, other, resamples))
        .collect();
    Ok(Seeds {
        seeds: reports.iter().map(|(seed, _)| *seed).collect(),
        against: first.against.clone(),
        rows,
    })
}

fn pool_row(reports: &[(u64, Report)], index: usize, other: usize, resamples: u64) -> Pooled {
    let rows: Vec<&Row> = reports
        .iter()
        .map(|(_, report)| &report.rows[index])
        .collect();
    let over = |of: &dyn Fn(&Row) -> f64| Spread::of(rows.iter().map(|row| of(row)).collect());
    // A k that one of the seeds has too few samples for is left out.
    let known = |k: &u64| {
        rows.iter()
            .all(|row| matches!(row.pass_at.get(k), Some(Some(_))))
    };
    let pass_at = rows[0].pass_at.keys().filter(|k| known(k));
    let pass = |row: &Row, k: u64| row.pass_at[&k].map_or(f64::NAN, |value| value.value);
    Pooled {
        name: rows[0].name.clone(),
        solved: over(&|row| row.solved as f64),
        compile_rate: over(&|row| row.compile_rate),
        pass_at: pass_at.map(|&k| (k, over(&|row| pass(row, k)))).collect(),
        paired: (index != other)
            .then(|| paired(reports, index, other, resamples))
            .flatten(),
    }
}

fn paired(reports: &[(u64, Report)], index: usize, other: usize, resamples: u64) -> Option<Paired> {
    let (mut only_other, mut only_this) = (0, 0);
    let (mut all, mut by_seed) = (Vec::new(), Vec::new());
    for (_, report) in reports {
        let problems = &report.rows[other].per_problem;
        let mut shares = Vec::new();
        for (id, a) in problems {
            let Some(b) = report.rows[index].per_problem.get(id) else {
                continue;
            };
            only_other += u64::from(a.solved > 0 && b.solved == 0);
            only_this += u64::from(a.solved == 0 && b.solved > 0);
            if a.samples > 0 && b.samples > 0 {
                shares.push((a.right_share(), b.right_share()));
            }
        }
        let sum: f64 = shares.iter().map(|(a, b)| b - a).sum();
        by_seed.push(sum / shares.len().max(1) as f64);
        all.extend(shares);
    }
    Some(Paired {
        pairs: all.len(),
        only_other,
        only_this,
        p_value: mcnemar(only_other, only_this),
        right_share: paired_difference(&all, resamples, 0)?,
        by_seed: Spread::of(by_seed),
    })
}

/// The tables, as Markdown.
pub fn markdown(seeds: &Seeds) -> String {
    let list: Vec<String> = seeds.seeds.iter().map(ToString::to_string).collect();
    let spread = |spread: &Spread, scale: f64| match spread.deviation {
        Some(deviation) => format!("{:.1} ± {:.1}", spread.mean * scale, deviation * scale),
        None => format!("{:.1}", spread.mean * scale),
    };
    let mut head = vec![
        "model".to_owned(),
        "solved".into(),
        "compile rate, %".into(),
    ];
    let passes: Vec<u64> = seeds.rows[0].pass_at.keys().copied().collect();
    head.extend(passes.iter().map(|k| format!("pass@{k}, %")));
    let cells = |row: &Pooled| {
        let mut cells = vec![
            row.name.clone(),
            spread(&row.solved, 1.0),
            spread(&row.compile_rate, 100.0),
        ];
        cells.extend(passes.iter().map(|k| {
            row.pass_at
                .get(k)
                .map_or_else(|| "–".to_owned(), |value| spread(value, 100.0))
        }));
        cells
    };
    let rows: Vec<Vec<String>> = seeds.rows.iter().map(cells).collect();
    let mut text = format!(
        "Seeds {}: mean and standard deviation over the seeds.\n\n{}",
        list.join(", "),
        grid(&head, &rows)
    );
    let head = [
        format!("against {}", seeds.against),
        "pairs".into(),
        "solved only there".into(),
        "only here".into(),
        "p (McNemar)".into(),
        "right samples, difference in points".into(),
        "p (randomisation)".into(),
        "by seed".into(),
    ];
    let cells = |row: &Pooled| {
        let paired = row.paired.as_ref()?;
        let share = paired.right_share;
        let by_seed = paired.by_seed.values.iter();
        let by_seed: Vec<String> = by_seed
            .map(|value| format!("{:+.1}", 100.0 * value))
            .collect();
        Some(vec![
            row.name.clone(),
            paired.pairs.to_string(),
            paired.only_other.to_string(),
            paired.only_this.to_string(),
            format!("{:.4}", paired.p_value),
            points(&share),
            format!("{:.4}", share.p_value),
            by_seed.join(", "),
        ])
    };
    let rows: Vec<Vec<String>> = seeds.rows.iter().filter_map(cells).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&grid(&head, &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seed: u64, solved: [[u64; 3]; 2]) -> (u64, Report) {
        let rows: Vec<serde_json::Value> = ["sft", "ppo"]
            .iter()
            .zip(solved)
            .map(|(name, solved)| {
                let per_problem: serde_json::Map<_, _> = ["a", "b", "c"]
                    .iter()
                    .zip(solved)
                    .map(|(id, solved)| {
                        let counts =
                            serde_json::json!({"solved": solved, "public": solved, "samples": 10});
                        ((*id).to_owned(), counts)
                    })
                    .collect();
                serde_json::json!({
                    "name": name,
                    "solved": solved.iter().filter(|n| **n > 0).count(),
                    "compile_rate": 0.5,
                    "pass_at": {"1": {"value": 0.1, "interval": null}, "100": null},
                    "per_problem": per_problem,
                })
            })
            .collect();
        let report = serde_json::json!({"against": "sft", "rows": rows, "more": 1});
        (seed, serde_json::from_value(report).expect("a report"))
    }

    #[test]
    fn seeds_are_taken_together_problem_by_problem() {
        let reports = [
            report(1, [[0, 5, 2], [1, 6, 2]]),
            report(2, [[3, 0, 0], [0, 4, 0]]),
        ];
        let pooled = pool(&reports, 1000).expect("two reports");
        assert_eq!(pooled.seeds, [1, 2]);
        let (sft, ppo) = (&pooled.rows[0], &pooled.rows[1]);
        assert!(sft.paired.is_none());
        assert_eq!(
            (sft.solved.mean, sft.solved.values.clone()),
            (1.5, vec![2.0, 1.0])
        );
        assert!((sft.solved.deviation.unwrap_or(0.0) - 0.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(ppo.pass_at.keys().copied().collect::<Vec<_>>(), [1]);
        let paired = ppo.paired.as_ref().expect("a comparison");
        assert_eq!(
            (paired.pairs, paired.only_other, paired.only_this),
            (6, 1, 2)
        );
        // (1 + 1 + 0 - 3 + 4 + 0) / 60
        assert!((paired.right_share.mean - 0.05).abs() < 1e-12);
        assert!((paired.by_seed.values[0] - 0.2 / 3.0).abs() < 1e-12);
        let text = markdown(&pooled);
        assert!(
            text.contains("| ppo | 6 | 1 | 2 |") && text.contains("+6.7, +3.3"),
            "{text}"
        );
    }

    #[test]
    fn other_rows_cannot_be_taken_together() {
        let mut reports = [report(1, [[0; 3]; 2]), report(2, [[0; 3]; 2])];
        reports[1].1.rows.truncate(1);
        let error = pool(&reports, 100).expect_err("two kinds").to_string();
        assert!(
            error.contains("seed 2") && error.contains("sft, ppo"),
            "{error}"
        );
        assert!(pool(&[], 100).is_err());
    }
}
