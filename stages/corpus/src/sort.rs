//! Sorts more rows than fit into memory.
//!
//! Used by `dump` (submissions come in any order, tables are grouped by problem) and `mix`
//! (samples are shuffled, which is sorting by a random key). Rows are gathered up to a budget,
//! sorted and written to a run in the scratch directory; the runs are merged at the end.
//!
//! Promises: rows with equal keys keep the order in which they came; memory is bounded by the
//! budget and, while merging, by it again and a page of each column a run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::table::{self, Row, Table};

/// Memory for rows before they go to disk, in bytes.
const BUDGET_BYTES: usize = 128 << 20;

/// Gathers rows and gives them back in the order of `key`.
pub(crate) struct Sorter<R: Row, K: Ord, F: Fn(&R) -> K> {
    key: F,
    rows: Vec<R>,
    bytes: usize,
    budget: usize,
    directory: PathBuf,
    runs: Vec<PathBuf>,
}

impl<R: Row, K: Ord, F: Fn(&R) -> K> Sorter<R, K, F> {
    pub(crate) fn new(directory: &Path, key: F) -> Self {
        Self {
            key,
            rows: Vec::new(),
            bytes: 0,
            budget: BUDGET_BYTES,
            directory: directory.to_owned(),
            runs: Vec::new(),
        }
    }

    #[cfg(test)]
    fn with_budget(mut self, bytes: usize) -> Self {
        self.budget = bytes;
        self
    }

    pub(crate) fn push(&mut self, row: R) -> Result<()> {
        self.bytes += row.bytes();
        self.rows.push(row);
        if self.bytes >= self.budget {
            self.spill()?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let key = &self.key;
        self.rows.sort_by_cached_key(key);
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let path = self
            .directory
            .join(format!("run-{}-{}", R::TABLE, self.runs.len()));
        table::write(&path, self.rows.drain(..))?;
        self.runs.push(path);
        self.bytes = 0;
        Ok(())
    }

    /// Hands over all rows in order.
    pub(crate) fn finish(mut self, mut each: impl FnMut(R) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            self.sort();
            return self.rows.into_iter().try_for_each(each);
        }
        self.spill()?;
        let mut runs = Vec::new();
        for path in &self.runs {
            let run = Table::<R>::open(path, "a sorted run in the scratch directory")?;
            // All batches together are no more than the rows were.
            runs.push(run.rows_by(self.budget / self.runs.len())?);
        }
        // The run's number comes second: of equal keys the earlier run is first.
        let mut heap = BinaryHeap::new();
        let mut heads = Vec::new();
        for (number, run) in runs.iter_mut().enumerate() {
            let head = run.next().transpose()?;
            if let Some(row) = &head {
                heap.push(Reverse(((self.key)(row), number)));
            }
            heads.push(head);
        }
        while let Some(Reverse((_, number))) = heap.pop() {
            let next = runs[number].next().transpose()?;
            if let Some(row) = &next {
                heap.push(Reverse(((self.key)(row), number)));
            }
            if let Some(row) = std::mem::replace(&mut heads[number], next) {
                each(row)?;
            }
        }
        for path in &self.runs {
            fs_err::remove_file(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::table! {
        /// A number and when it came.
        struct Number in "numbers" {
            value: i64,
            came: u32,
        }
    }

    #[test]
    fn spilled_and_unspilled_agree() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rows: Vec<Number> = (0..1000_u32)
            .map(|came| Number {
                value: i64::from(came.wrapping_mul(2_654_435_761) % 97),
                came,
            })
            .collect();
        let mut wanted = rows.clone();
        wanted.sort_by_key(|row| row.value);
        for budget in [1 << 30, 700, 16] {
            let mut sorter = Sorter::new(directory.path(), |row: &Number| row.value);
            sorter = sorter.with_budget(budget);
            for row in rows.clone() {
                sorter.push(row).expect("pushes");
            }
            let mut sorted = Vec::new();
            sorter
                .finish(|row| {
                    sorted.push(row);
                    Ok(())
                })
                .expect("merges");
            assert_eq!(sorted, wanted, "budget {budget}");
        }
    }
}
