//! The report as Markdown: Table 1, verdicts, pairs, problems, notes.
//!
//! Called by `report.rs` with all numbers computed; computes nothing but percentages.

use super::{Estimate, Numbers, RowNumbers};
use crate::{score::Difference, tally::VERDICTS};
use std::{collections::BTreeSet, fmt::Write as _};

/// The whole text.
pub fn table(numbers: &Numbers) -> String {
    let mut text = format!(
        "# Results\n\n{} problems of split `{}`. Intervals hold the middle 95 % of a bootstrap \
         over problems.\n",
        numbers.problems.len(),
        numbers.split
    );
    text.push_str("\n## Problems solved\n\n");
    text.push_str(&results(numbers));
    text.push_str("\n## Verdicts\n\n");
    text.push_str(&verdicts(&numbers.rows));
    if !numbers.paired.is_empty() {
        let _ = write!(text, "\n## Against {}\n\n", numbers.against);
        text.push_str(&pairs(numbers));
    }
    text.push_str("\n## Problems\n\n");
    text.push_str(&problems(numbers));
    text.push_str("\n## Notes\n\n");
    text.push_str(&notes(numbers));
    text
}

/// A Markdown table; the first column is left-aligned, the others right.
pub(super) fn grid(head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|", head.join(" | "));
    for column in 0..head.len() {
        text.push_str(if column == 0 { " --- |" } else { " ---: |" });
    }
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn estimate(estimate: Option<&Estimate>) -> String {
    let Some(estimate) = estimate else {
        return "–".to_owned();
    };
    match estimate.interval {
        Some(interval) => format!(
            "{} ({:.1} to {:.1})",
            percent(estimate.value),
            100.0 * interval.low,
            100.0 * interval.high
        ),
        None => percent(estimate.value),
    }
}

/// A difference of shares in percentage points, with its interval.
pub(super) fn points(share: &Difference) -> String {
    let [mean, low, high] = [share.mean, share.low, share.high].map(|value| 100.0 * value);
    format!("{mean:+.1} ({low:+.1} to {high:+.1})")
}

fn results(numbers: &Numbers) -> String {
    let mut head = vec!["model".to_owned(), "solved".into(), "compile rate".into()];
    if let Some(row) = numbers.rows.first() {
        head.extend(row.pass_at.keys().map(|k| format!("pass@{k}")));
        head.extend(row.n_at_k.keys().cloned());
    }
    // A row whose programs were not clustered beside one whose were has empty cells.
    let clustered: BTreeSet<&String> = numbers
        .rows
        .iter()
        .flat_map(|row| row.n_at_k_clustered.keys())
        .collect();
    head.extend(clustered.iter().map(|name| format!("{name}, clustered")));
    head.push("samples a problem".into());
    let total = numbers.problems.len() as f64;
    let mut rows = Vec::new();
    for row in &numbers.rows {
        let solved = match row.solved_share.interval {
            Some(interval) => format!(
                "**{}** ({:.0} to {:.0})",
                row.solved,
                interval.low * total,
                interval.high * total
            ),
            None => format!("**{}**", row.solved),
        };
        let mut cells = vec![row.name.clone(), solved, percent(row.compile_rate)];
        cells.extend(row.pass_at.values().map(|value| estimate(value.as_ref())));
        cells.extend(row.n_at_k.values().map(|value| estimate(value.as_ref())));
        cells.extend(clustered.iter().map(|name| {
            let value = row.n_at_k_clustered.get(*name);
            estimate(value.and_then(Option::as_ref))
        }));
        cells.push(match row.samples_per_problem {
            (fewest, most) if fewest == most => most.to_string(),
            (fewest, most) => format!("{fewest} to {most}"),
        });
        rows.push(cells);
    }
    for published in &numbers.paper {
        let compile = published.compile_percent;
        let mut cells = vec![
            format!("*{}*, reported by the paper, 165 problems", published.name),
            published.solved.to_string(),
            compile.map_or_else(|| "–".to_owned(), |percent| format!("{percent:.1} %")),
        ];
        cells.resize(head.len() - 1, "–".to_owned());
        cells.push("1000".to_owned());
        rows.push(cells);
    }
    let mut text = grid(&head, &rows);
    text.push_str(
        "\nSolved: at least one sample passes all public, private and generated tests. n@k: \
         chance that n submissions contain a right one, chosen among those of k samples that \
         pass the public tests. –: fewer than k samples, or not published.\n",
    );
    if !clustered.is_empty() {
        text.push_str(
            "Clustered: samples that pass the public tests and print the same on more inputs, made \
             by changing public ones, are one cluster; one sample is submitted from each, the \
             largest first, and round again.\n",
        );
    }
    if !numbers.paper.is_empty() {
        text.push('\n');
        for published in &numbers.paper {
            let _ = writeln!(text, "- {}: {}.", published.name, published.note);
        }
    }
    text
}

fn verdicts(rows: &[RowNumbers]) -> String {
    let used: Vec<&str> = VERDICTS
        .into_iter()
        .filter(|verdict| {
            rows.iter()
                .any(|row| row.verdict_counts.contains_key(*verdict))
        })
        .collect();
    let mut head = vec!["model".to_owned(), "samples".into()];
    head.extend(used.iter().map(|verdict| (*verdict).to_owned()));
    let cells = |row: &RowNumbers| {
        let mut cells = vec![row.name.clone(), row.samples.to_string()];
        for verdict in &used {
            let count = row.verdict_counts.get(*verdict).copied().unwrap_or(0);
            let share = count as f64 / row.samples as f64;
            cells.push(format!("{count} ({})", percent(share)));
        }
        cells
    };
    grid(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn pairs(numbers: &Numbers) -> String {
    let other = &numbers.against;
    let head = [
        "model".to_owned(),
        format!("solved only by {other}"),
        "solved only by this one".into(),
        "p (McNemar, exact)".into(),
        "right samples, difference in points".into(),
        "p (randomisation)".into(),
    ];
    let cells = |pair: &super::Paired| {
        let (share, p) = pair.right_share.map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |share| (points(&share), format!("{:.3}", share.p_value)),
        );
        vec![
            pair.name.clone(),
            pair.only_first.len().to_string(),
            pair.only_this.len().to_string(),
            format!("{:.3}", pair.p_value),
            share,
            p,
        ]
    };
    grid(&head, &numbers.paired.iter().map(cells).collect::<Vec<_>>())
}

fn problems(numbers: &Numbers) -> String {
    let solved: BTreeSet<&String> = numbers
        .rows
        .iter()
        .flat_map(|row| &row.per_problem)
        .filter(|(_, counts)| counts.solved > 0)
        .map(|(id, _)| id)
        .collect();
    let unsolved = numbers.problems.len() - solved.len();
    if solved.is_empty() {
        return "No row solves a problem.\n".to_owned();
    }
    let mut head = vec!["problem".to_owned()];
    head.extend(numbers.rows.iter().map(|row| row.name.clone()));
    let cells = |id: &&String| {
        let mut cells = vec![id.replace('|', "\\|")];
        for row in &numbers.rows {
            let counts = row.per_problem[*id];
            cells.push(format!("{}/{}", counts.solved, counts.samples));
        }
        cells
    };
    let mut text = grid(&head, &solved.iter().map(cells).collect::<Vec<_>>());
    let _ = writeln!(
        text,
        "\nRight samples of all samples. {unsolved} more problems are solved by no row."
    );
    text
}

fn notes(numbers: &Numbers) -> String {
    let mut text = String::new();
    for row in &numbers.rows {
        let _ = writeln!(text, "- {}: verdicts `b3:{}`", row.name, row.verdicts);
        let judged = &row.judged;
        let modes: Vec<String> = judged
            .solved_problems
            .iter()
            .map(|(mode, solved)| format!("{mode} {solved}"))
            .collect();
        let sets: Vec<&str> = judged.isolation.iter().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "  - compared by `{}`; solved, over all judged problems, by way of comparing: {}\n  \
             - {}",
            judged.rules.compare.name(),
            modes.join(", "),
            sets.join("; ")
        );
        let missing = row.problems_without_samples.len();
        if missing > 0 {
            let _ = writeln!(
                text,
                "  - {missing} problems have no samples in this row and count as unsolved"
            );
        }
        if let Some(count) = row.verdict_counts.get("JE") {
            let _ = writeln!(
                text,
                "  - the judge itself failed on {count} samples, which count as not right"
            );
        }
    }
    let sets: BTreeSet<_> = numbers
        .rows
        .iter()
        .map(|row| (&row.judged.isolation, format!("{:?}", row.judged.rules)))
        .collect();
    if sets.len() > 1 {
        text.push_str(
            "- **Rows were judged under different rules or isolation: do not compare them.**\n",
        );
    }
    for (what, problems) in [
        ("were sampled by no row", &numbers.problems_not_sampled),
        ("have no tests", &numbers.problems_without_tests),
    ] {
        if !problems.is_empty() {
            let _ = writeln!(
                text,
                "- {} problems of the split {what} and are not part of any figure",
                problems.len()
            );
        }
    }
    text
}
