//! Where answers come in: a shard is written when its last row is there.
//!
//! Used by `run`; filled by `here` and `server`, from any thread and in any order. Counts tokens
//! for the progress line, whose total is guessed from the samples so far.

use anyhow::{Error, Result};
use corpus::schema::Generation;
use corpus::table;
use engine::{Ctx, Progress, Shards};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Rows of unfinished shards.
pub(super) struct Collector<'a> {
    pieces: &'a Shards,
    ctx: &'a Ctx<'a>,
    open: Mutex<BTreeMap<usize, Open>>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    progress: Progress<'a>,
    samples: u64,
    done: AtomicU64,
    tokens: AtomicU64,
}

struct Open {
    missing: u64,
    /// With the place of their unit.
    rows: Vec<(usize, Generation)>,
}

impl<'a> Collector<'a> {
    /// For shards with these numbers of rows.
    pub(super) fn new(pieces: &'a Shards, sizes: BTreeMap<usize, u64>, ctx: &'a Ctx<'a>) -> Self {
        let samples = sizes.values().sum();
        let open = sizes.into_iter().map(|(shard, missing)| {
            let rows = Vec::new();
            (shard, Open { missing, rows })
        });
        Self {
            pieces,
            ctx,
            open: Mutex::new(open.collect()),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            progress: ctx.progress("sample", "tokens", None),
            samples,
            done: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    /// Takes a row.
    ///
    /// # Errors
    /// The shard cannot be written.
    pub(super) fn add(&self, shard: usize, place: usize, row: Generation) -> Result<()> {
        self.count(row.token_ids.len() as u64);
        let full = {
            let mut shards = self.open.lock().expect("no thread panics while collecting");
            let open = shards.get_mut(&shard).expect("the shard is asked for");
            open.rows.push((place, row));
            open.missing -= 1;
            (open.missing == 0).then(|| shards.remove(&shard)).flatten()
        };
        if let Some(Open { mut rows, .. }) = full {
            // A problem's units stay together, a unit's samples in order.
            rows.sort_by_key(|(place, row)| (*place, row.sample));
            let rows = rows.into_iter().map(|(_, row)| row);
            self.pieces
                .write(shard, |path| table::write(path, rows).map(|_| ()))?;
        }
        Ok(())
    }

    fn count(&self, tokens: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.tokens.fetch_add(tokens, Ordering::Relaxed) + tokens;
        self.progress.set_total(all * self.samples.max(done) / done);
        self.progress.inc(tokens);
    }

    /// Ends sampling with an error; the first stays.
    pub(super) fn fail(&self, error: Error) {
        let mut failure = self
            .failure
            .lock()
            .expect("no thread panics with the error");
        failure.get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether to stop: it failed, or the user asked to.
    pub(super) fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.ctx.cancelled()
    }

    /// The error there was, or that the user asked to stop.
    pub(super) fn finish(self) -> Result<()> {
        match self
            .failure
            .into_inner()
            .expect("no thread panicked with the error")
        {
            Some(error) => Err(error),
            None => self.ctx.check_cancelled(),
        }
    }
}
