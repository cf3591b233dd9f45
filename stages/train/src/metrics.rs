//! The numbers of a training run: a table for the store, event files for TensorBoard.
//!
//! Filled by `training_loop`. The table holds what is a function of settings and data alone
//! (loss, learning rate, gradient norm, tokens); speed and memory are in the event files of the log
//! directory. A checkpoint carries the rows so far, so that a resumed run's table is whole.

use crate::tensorboard::EventWriter;
use anyhow::Result;
use corpus::table;
use std::path::Path;

corpus::table! {
    /// One number of one update.
    pub struct Metric in "metrics" {
        /// Updates done; 0 is before training.
        pub step: i64,
        /// What was measured.
        pub name: String,
        /// Its value.
        pub value: f64,
    }
}

/// The most memory that this process has held, where the system tells.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

const FILE: &str = "metrics.parquet";

/// Collects metrics.
pub struct Metrics {
    rows: Vec<Metric>,
    events: EventWriter,
}

impl Metrics {
    /// Starts with nothing; event files go to `log_dir`.
    ///
    /// # Errors
    /// The event file cannot be made.
    pub fn new(log_dir: &Path) -> Result<Self> {
        Ok(Self {
            rows: Vec::new(),
            events: EventWriter::create(log_dir)?,
        })
    }

    /// Takes the rows of a checkpoint.
    ///
    /// # Errors
    /// The checkpoint has none that can be read.
    pub fn restore(&mut self, dir: &Path) -> Result<()> {
        self.rows = table::read(&dir.join(FILE), "the checkpoint's metrics")?;
        Ok(())
    }

    /// Writes the rows into a checkpoint.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.write(&dir.join(FILE))
    }

    /// Writes the table.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        table::write(path, self.rows.iter().cloned())?;
        Ok(())
    }

    /// Records a value.
    ///
    /// # Errors
    /// The event file cannot be written.
    pub fn record(&mut self, step: u64, name: &str, value: f64) -> Result<()> {
        self.rows.push(Metric {
            step: step as i64,
            name: name.to_owned(),
            value,
        });
        self.events.scalar(step, name, value)
    }

    /// Makes a value visible in TensorBoard only: for speed and memory.
    ///
    /// # Errors
    /// The event file cannot be written.
    pub fn log_only(&mut self, step: u64, name: &str, value: f64) -> Result<()> {
        self.events.scalar(step, name, value)
    }

    /// Whether the validation round after `step` updates has been recorded.
    pub fn is_validated(&self, step: u64) -> bool {
        let recent = self
            .rows
            .iter()
            .rev()
            .take_while(|row| row.step == step as i64);
        recent.into_iter().any(|row| row.name.starts_with("eval_"))
    }

    /// The mean of the last `count` values of a metric.
    pub fn recent_mean(&self, name: &str, count: usize) -> Option<f64> {
        let values: Vec<f64> = self
            .rows
            .iter()
            .rev()
            .filter(|row| row.name == name)
            .take(count)
            .map(|row| row.value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}
