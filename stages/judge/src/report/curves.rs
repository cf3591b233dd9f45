//! The metrics of training as small line charts (SVG).
//!
//! Reads tables of metrics as every training stage writes them (step, name, value); `page.rs`
//! puts the charts into the report's page. Only values that are numbers are drawn. Absent: any
//! smoothing, which hides what happened; a chart shows the points it was given.

use anyhow::{Result, ensure};
use corpus::table::Table;
use engine::BoundInput;
use std::collections::BTreeMap;
use std::fmt::Write as _;

corpus::table! {
    struct Metric in "metrics" {
        step: i64,
        name: String,
        value: f64,
    }
}

/// The curves of one node.
pub(super) struct Curves {
    /// What it is called.
    pub(super) name: String,
    /// Points (step, value) by metric.
    pub(super) metrics: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Reads the tables, each under its name.
pub(super) fn read(names: &[String], inputs: &[BoundInput]) -> Result<Vec<Curves>> {
    ensure!(
        names.len() == inputs.len(),
        "curves names {} tables ({}), but inputs.metrics has {}; give each table one name, in the \
         same order",
        names.len(),
        names.join(", "),
        inputs.len()
    );
    let mut all = Vec::new();
    for (name, input) in names.iter().zip(inputs) {
        let mut metrics: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for row in Table::<Metric>::open(&input.path, &input.label)?.rows()? {
            let row = row?;
            let point = (row.step as f64, row.value);
            metrics.entry(row.name).or_default().push(point);
        }
        all.push(Curves {
            name: name.clone(),
            metrics,
        });
    }
    Ok(all)
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 120.0;
/// Left of the plot, for the axis' numbers.
const MARGIN: f64 = 52.0;

/// One metric as an SVG element; empty if no value is a number.
pub(super) fn chart(points: &[(f64, f64)]) -> String {
    let points: Vec<_> = points.iter().filter(|point| point.1.is_finite()).collect();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points.iter().map(|point| of(point));
        let low = values.clone().fold(f64::INFINITY, f64::min);
        (low, values.fold(f64::NEG_INFINITY, f64::max))
    };
    let Some(last) = points.last() else {
        return String::new();
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    // A flat curve runs through the middle.
    let place = |value: f64, low: f64, high: f64| {
        if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        }
    };
    let at = |&&(step, value): &&(f64, f64)| {
        let x = MARGIN + place(step, left, right) * (WIDTH - MARGIN - 6.0);
        let y = HEIGHT - 18.0 - place(value, low, high) * (HEIGHT - 28.0);
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = points.iter().map(at).collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><polyline points=\"{}\"/>",
        line.join(" ")
    );
    if line.len() == 1 {
        let (x, y) = line[0].split_once(',').unwrap_or_default();
        let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"2\"/>");
    }
    let mut text = |x: f64, y: f64, anchor: &str, text: String| {
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    };
    text(MARGIN - 4.0, 14.0, "end", short(high));
    if high > low {
        text(MARGIN - 4.0, HEIGHT - 16.0, "end", short(low));
    }
    text(MARGIN, HEIGHT - 4.0, "start", short(left));
    text(
        WIDTH - 6.0,
        HEIGHT - 4.0,
        "end",
        format!("{} (last {})", short(right), short(last.1)),
    );
    svg + "</svg>"
}

/// A number in few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if value.fract().abs() < f64::EPSILON && size < 1e6 {
        format!("{value:.0}")
    } else if (0.01..1000.0).contains(&size) {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_spans_its_points() {
        let svg = chart(&[(0.0, 2.0), (10.0, f64::NAN), (50.0, 3.0), (100.0, 1.0)]);
        let points = svg
            .split('"')
            .find(|part| part.contains(','))
            .expect("there is a line");
        let points: Vec<&str> = points.split(' ').collect();
        assert_eq!(points.len(), 3, "{svg}");
        assert_eq!(points[0].split(',').next(), Some("52.0"));
        assert_eq!(points[2], "294.0,102.0");
        assert!(
            points[1].ends_with(",10.0") && svg.contains("100 (last 1)"),
            "{svg}"
        );
        assert_eq!(chart(&[(0.0, f64::NAN)]), "");
        assert!(chart(&[(3.0, 5.0)]).contains("<circle"));
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 12.0, 0.123_456, 1e-5, 1234.5, -0.5];
        assert_eq!(
            all.map(short),
            ["0", "12", "0.123", "1.00e-5", "1.23e3", "-0.500"]
        );
    }
}
