//! What a stage sees while it runs: its inputs, where to write, how to checkpoint, how to
//! say how far it is.
//!
//! Made by `run` for one node. It is `Sync`: stages use it from worker threads. It hands out
//! no clock, no host name and no random number that is not a function of the seed.

use crate::{
    BoundInput, Interrupted,
    event::{Event, Sink},
};
use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use store::{Checkpoint, Partial};

/// The time between two progress events of one piece of work.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What a stage sees while it runs.
pub struct Ctx<'a> {
    pub(crate) node: String,
    pub(crate) stage: &'static str,
    pub(crate) outputs: &'static [crate::Output],
    pub(crate) inputs: BTreeMap<&'static str, Vec<BoundInput>>,
    pub(crate) staging: PathBuf,
    pub(crate) log_dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) partial: Partial,
    pub(crate) follows: bool,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) metrics: Mutex<BTreeMap<String, f64>>,
    pub(crate) platform: Mutex<BTreeMap<String, String>>,
    pub(crate) resumed_from: Mutex<Vec<String>>,
}

impl Ctx<'_> {
    /// The file or directory bound to an input that takes one.
    ///
    /// # Errors
    /// If the input is optional and was left unbound.
    pub fn input(&self, port: &str) -> anyhow::Result<&Path> {
        self.input_optional(port)
            .with_context(|| format!("input `{port}` of `{}` is not bound", self.node))
    }

    /// The file or directory bound to an optional input.
    pub fn input_optional(&self, port: &str) -> Option<&Path> {
        self.inputs
            .get(port)?
            .first()
            .map(|input| input.path.as_path())
    }

    /// All that is bound to an input, in the recipe's order.
    pub fn inputs(&self, port: &str) -> Vec<BoundInput> {
        self.inputs.get(port).cloned().unwrap_or_default()
    }

    /// What to call an input in messages.
    pub fn label(&self, port: &str) -> String {
        let labels: Vec<String> = self
            .inputs(port)
            .into_iter()
            .map(|input| input.label)
            .collect();
        labels.join(", ")
    }

    /// Where to write an output: a file to create, or an empty directory to fill.
    pub fn output(&self, port: &str) -> PathBuf {
        let output = self.outputs.iter().find(|output| output.name == port);
        let output =
            output.unwrap_or_else(|| panic!("`{}` declares no output `{port}`", self.stage));
        self.staging.join("out").join(output.file_name())
    }

    /// A directory for temporary files; gone when the stage ends.
    pub fn scratch(&self) -> &Path {
        &self.staging
    }

    /// The directory for logs: text, TensorBoard, times. Never hashed.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The node's name in the recipe.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The seed; part of the key for stages that are seeded.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Records a summary number in the trace.
    pub fn metric(&self, name: &str, value: f64) {
        self.metrics
            .lock()
            .expect("no panic inside")
            .insert(name.to_owned(), value);
    }

    /// Records in the trace what of the machine the stage used, beside host and processor.
    pub fn note_platform(&self, name: &str, value: &str) {
        self.platform
            .lock()
            .expect("no panic inside")
            .insert(name.to_owned(), value.to_owned());
    }

    /// Says something worth knowing.
    pub fn info(&self, text: impl Into<String>) {
        let text = text.into();
        self.log(&text);
        self.sink.event(Event::Info {
            node: self.node.clone(),
            text,
        });
    }

    /// Says that something may be wrong.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        self.log(&format!("warning: {text}"));
        self.sink.event(Event::Warning {
            node: self.node.clone(),
            text,
        });
    }

    fn log(&self, text: &str) {
        use std::io::Write;
        let path = self.log_dir.join("stage.log");
        // A log that cannot be written must not fail a run.
        if let Ok(mut file) = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
        {
            let _ = writeln!(file, "{text}");
        }
    }

    /// Begins to count a piece of work.
    pub fn progress(&self, label: &str, unit: &str, total: Option<u64>) -> Progress<'_> {
        let progress = Progress {
            sink: self.sink,
            node: self.node.clone(),
            label: label.to_owned(),
            unit: unit.to_owned(),
            done: AtomicU64::new(0),
            total: Mutex::new(total),
            last: Mutex::new(Instant::now()),
        };
        progress.send(false);
        progress
    }

    /// Whether another process runs the same stage and keeps its results: this one computes along,
    /// and its checkpoints and outputs are thrown away.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Whether the user asked to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Fails with [`Interrupted`] if the user asked to stop.
    pub fn check_cancelled(&self) -> anyhow::Result<()> {
        if self.cancelled() {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }

    /// The latest complete checkpoint of this very key, if there is one.
    pub fn resume(&self) -> anyhow::Result<Option<Checkpoint>> {
        let latest = self.partial.latest()?;
        if let Some(checkpoint) = &latest {
            let mut resumed = self.resumed_from.lock().expect("no panic inside");
            resumed.push(format!("step {}", checkpoint.step));
        }
        Ok(latest)
    }

    /// Writes a checkpoint: `write` fills a directory that then appears whole. Nothing happens
    /// where another process writes it.
    pub fn checkpoint(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.follows {
            return Ok(());
        }
        self.partial.checkpoint(step, write)
    }

    /// Work in `count` resumable pieces.
    pub fn shards(&self, count: usize) -> anyhow::Result<Shards> {
        let shards = Shards {
            partial: self.partial.clone(),
            count,
        };
        let done = count - shards.missing().len();
        if done > 0 {
            let mut resumed = self.resumed_from.lock().expect("no panic inside");
            resumed.push(format!("{done} of {count} shards"));
        }
        Ok(shards)
    }
}

/// Work in resumable pieces; each is a file that is there whole or not at all.
#[derive(Clone, Debug)]
pub struct Shards {
    partial: Partial,
    count: usize,
}

impl Shards {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether one is made.
    pub fn is_done(&self, index: usize) -> bool {
        self.partial.has_shard(index)
    }

    /// Those still to be made.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.count)
            .filter(|index| !self.is_done(*index))
            .collect()
    }

    /// Makes one; callable from several threads.
    pub fn write(
        &self,
        index: usize,
        write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.partial.write_shard(index, write)
    }

    /// Where a finished one lies.
    pub fn path(&self, index: usize) -> PathBuf {
        self.partial.shard_path(index)
    }
}

/// A piece of work that is being counted; says so when dropped.
pub struct Progress<'a> {
    sink: &'a dyn Sink,
    node: String,
    label: String,
    unit: String,
    done: AtomicU64,
    total: Mutex<Option<u64>>,
    last: Mutex<Instant>,
}

impl Progress<'_> {
    /// Counts `count` more.
    pub fn inc(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
        if let Ok(mut last) = self.last.try_lock()
            && last.elapsed() >= PROGRESS_EVERY
        {
            *last = Instant::now();
            drop(last);
            self.send(false);
        }
    }

    /// Sets how much there is in all.
    pub fn set_total(&self, total: u64) {
        *self.total.lock().expect("no panic inside") = Some(total);
    }

    fn send(&self, finished: bool) {
        self.sink.event(Event::Progress {
            node: self.node.clone(),
            label: self.label.clone(),
            unit: self.unit.clone(),
            done: self.done.load(Ordering::Relaxed),
            total: *self.total.lock().expect("no panic inside"),
            finished,
        });
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.send(true);
    }
}
