//! Counts what a stage leaves out, by reason.
//!
//! Used by every stage here. Dirty rows are not errors in data of this kind, but none may vanish
//! silently: each reason is a metric `dropped.<reason>` and stands in the stage's report with the
//! place of its first case.

use std::collections::BTreeMap;

use engine::Ctx;
use serde::Serialize;

/// Counts by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Drops(BTreeMap<&'static str, Dropped>);

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// How many rows.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

impl Drops {
    /// Counts one case; `place` is asked for the first only.
    pub fn add(&mut self, reason: &'static str, place: impl FnOnce() -> String) {
        self.0
            .entry(reason)
            .and_modify(|drop| drop.count += 1)
            .or_insert_with(|| Dropped {
                count: 1,
                first: place(),
            });
    }

    /// Counts several cases.
    pub fn add_many(&mut self, reason: &'static str, count: u64, place: impl FnOnce() -> String) {
        if count > 0 {
            self.add(reason, place);
            self.0
                .entry(reason)
                .and_modify(|dropped| dropped.count += count - 1);
        }
    }

    /// How many cases of a reason.
    pub fn count(&self, reason: &str) -> u64 {
        self.0.get(reason).map_or(0, |drop| drop.count)
    }

    /// Writes the counts into the trace and says them once.
    pub fn report(&self, ctx: &Ctx) {
        for (reason, drop) in &self.0 {
            ctx.metric(&format!("dropped.{reason}"), drop.count as f64);
        }
        if !self.0.is_empty() {
            let counts: Vec<_> = self
                .0
                .iter()
                .map(|(reason, drop)| format!("{reason} {}", drop.count))
                .collect();
            ctx.info(format!("dropped: {}", counts.join(", ")));
        }
    }
}

/// Writes a report: keys in order, a line end at the end.
pub(crate) fn write_json(path: &std::path::Path, report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    fs_err::write(path, text)?;
    Ok(())
}
