//! Named points at which a test can kill the process as `kill -9` would.
//!
//! `IOTA_FAULT=publish.trace.written` aborts the process the first time it passes that
//! point, `...:3` the third time. Without the variable a point costs one atomic load. It is
//! in the product so that the crash tests drive the very binary that users run.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Every point there is, in the order a run passes them.
pub const POINTS: &[&str] = &[
    "stage.started",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.latest",
    "shard.written",
    "shard.renamed",
    "stage.finished",
    "publish.object.hashed",
    "publish.object.synced",
    "publish.object.renamed",
    "publish.objects.done",
    "publish.manifest.renamed",
    "publish.trace.written",
    "publish.trace.renamed",
    "refs.linked",
    "partial.removed",
];

static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Passes a point; does not return if a test asked for a crash here.
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("IOTA_FAULT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        // SIGKILL, not abort: no handler, no destructor, no flush may run.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
