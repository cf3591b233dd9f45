//! What the engine says to the outside while it runs: the only channel there is.
//!
//! The binary turns events into progress bars, plain lines or JSON; tests count them.

use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A node was found in the store.
    Hit {
        /// The node.
        node: String,
        /// Its key, shortened.
        key: String,
    },
    /// A hit was made by other source text than this program's.
    CodeChanged {
        /// The node.
        node: String,
        /// The files that changed.
        files: Vec<String>,
    },
    /// A node starts to run.
    Started {
        /// The node.
        node: String,
        /// Its key, shortened.
        key: String,
        /// Where it resumes, for people; absent for a fresh start.
        resume: Option<String>,
    },
    /// Somebody else is running the same key.
    Waiting {
        /// The node.
        node: String,
        /// Who, if known.
        holder: Option<String>,
    },
    /// How far a piece of work is.
    Progress {
        /// The node.
        node: String,
        /// What is counted.
        label: String,
        /// Its unit.
        unit: String,
        /// So far.
        done: u64,
        /// In all, if known.
        total: Option<u64>,
        /// Whether this is the last word on it.
        finished: bool,
    },
    /// Something worth knowing.
    Info {
        /// The node.
        node: String,
        /// What.
        text: String,
    },
    /// Something that may be wrong.
    Warning {
        /// The node.
        node: String,
        /// What.
        text: String,
    },
    /// A node has run and is committed.
    Finished {
        /// The node.
        node: String,
        /// Its key, shortened.
        key: String,
        /// How long it took.
        wall_s: f64,
        /// Its summary numbers.
        metrics: std::collections::BTreeMap<String, f64>,
        /// Whether its outputs are those that were linked before.
        unchanged: bool,
    },
    /// A node failed; others may go on.
    Failed {
        /// The node.
        node: String,
        /// Why.
        message: String,
    },
}

/// Who listens.
pub trait Sink: Sync {
    /// Takes an event; called from any thread.
    fn event(&self, event: Event);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Sink for Silent {
    fn event(&self, _event: Event) {}
}
