//! From a table of verdicts to counts by problem: all that the report needs of it.
//!
//! Reads `verdicts` row by row; used by `report.rs`. A sample that was not accepted because the
//! judge failed (`JE`) counts as a sample that is not right, and is shown in the histogram.

use crate::score::Counts;
use corpus::table::Table;
use std::{collections::BTreeMap, path::Path};

corpus::table! {
    struct Row in "verdicts" {
        problem_id: String,
        verdict: String,
        compiled: bool,
        public_passed: bool,
    }
}

/// Verdicts in the order in which reports show them.
pub(crate) const VERDICTS: [&str; 8] = ["AC", "WA", "RE", "TLE", "MLE", "OLE", "CE", "JE"];

/// The verdicts of one model, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// By problem.
    pub(crate) problems: BTreeMap<String, Counts>,
    /// Samples by verdict.
    pub(crate) verdicts: BTreeMap<String, u64>,
    /// Samples in all.
    pub(crate) samples: u64,
    /// Samples that compiled.
    pub(crate) compiled: u64,
}

impl Tally {
    /// Counts the rows of a table; `wanted` says which problems belong to the report.
    pub(crate) fn read(
        path: &Path,
        label: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let mut tally = Self::default();
        for row in Table::<Row>::open(path, label)?.rows()? {
            let row = row?;
            anyhow::ensure!(
                VERDICTS.contains(&row.verdict.as_str()),
                "{label} holds the verdict `{}`; known ones are {}",
                row.verdict,
                VERDICTS.join(", ")
            );
            if wanted(&row.problem_id) {
                tally.add(row);
            }
        }
        Ok(tally)
    }

    fn add(&mut self, row: Row) {
        let solved = u64::from(row.verdict == "AC");
        let counts = self.problems.entry(row.problem_id).or_default();
        counts.samples += 1;
        counts.solved += solved;
        counts.public += u64::from(row.public_passed);
        self.samples += 1;
        self.compiled += u64::from(row.compiled);
        *self.verdicts.entry(row.verdict).or_default() += 1;
    }
}

/// BLAKE3 of a file: the name under which the store keeps it.
pub(crate) fn digest(path: &Path) -> anyhow::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}
