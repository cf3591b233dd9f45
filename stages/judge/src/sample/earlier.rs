//! Generations of an earlier run, which are taken over and not drawn again.
//!
//! Used by `run`. A sample does not depend on how many are drawn, so a node with 100 samples a
//! problem is the beginning of the same node with 1,000. Problems must be in the same order.

use anyhow::{Result, bail, ensure};
use corpus::language::Language;
use corpus::schema::Generation;
use corpus::table::{Row, Table};
use std::collections::BTreeMap;
use std::path::Path;

corpus::table! {
    /// What counting needs of `generations`.
    pub struct Counted in "generations" {
        /// Problem that was asked.
        pub problem_id: String,
        /// Number of the sample within the problem, from 0.
        pub sample: u32,
        /// Language that was asked for.
        pub language: String,
    }
}

/// How many samples of each problem there are; they must be the first ones, in the languages
/// that are asked for now.
pub(super) fn counts(
    path: &Path,
    label: &str,
    languages: &[Language],
) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for row in Table::<Counted>::open(path, label)?.rows()? {
        let row = row?;
        let count = counts.entry(row.problem_id.clone()).or_insert(0_u64);
        ensure!(
            u64::from(row.sample) == *count,
            "{label} has sample {} of {} where sample {count} was expected: it is not whole",
            row.sample,
            row.problem_id
        );
        let language = languages[(*count % languages.len() as u64) as usize].name();
        ensure!(
            row.language == language,
            "{label} has sample {} of {} in {}, this node asks for {language}: bind the \
             generations of the same `languages`",
            row.sample,
            row.problem_id,
            row.language
        );
        *count += 1;
    }
    Ok(counts)
}

/// Rows of one problem at a time.
pub(super) struct Problems<I: Iterator> {
    rows: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = Result<Generation>>> Problems<I> {
    pub(super) fn new(rows: I) -> Self {
        Self {
            rows: rows.peekable(),
        }
    }

    /// The rows of a problem, if they come next; nothing if others do.
    pub(super) fn of(&mut self, problem_id: &str) -> Result<Vec<Generation>> {
        let mut found = Vec::new();
        while let Some(row) = self.rows.next_if(|row| {
            row.as_ref()
                .map_or(true, |row| row.problem_id == problem_id)
        }) {
            found.push(row?);
        }
        Ok(found)
    }

    /// Fails if rows are left over.
    pub(super) fn finish(mut self, label: &str) -> Result<()> {
        match self.rows.next().transpose()? {
            None => Ok(()),
            Some(row) => bail!(
                "{label} has {} of {} where this node has no such problem: bind the generations \
                 of the same problems, in the same order",
                Generation::TABLE,
                row.problem_id
            ),
        }
    }
}
