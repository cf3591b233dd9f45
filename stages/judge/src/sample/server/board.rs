//! Requests that are still to be made, shared by all connections.
//!
//! Used by `server`. A request that failed comes back to the front, so shards end in order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How often a waiting connection looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Some samples of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Index of what is asked.
    pub(super) ask: usize,
    /// Number of the first sample.
    pub(super) first: u64,
    pub(super) samples: u64,
}

/// Requests to be made, and how many are under way.
pub(super) struct Board {
    state: Mutex<(VecDeque<Chunk>, usize)>,
    changed: Condvar,
}

impl Board {
    pub(super) fn new(chunks: Vec<Chunk>) -> Self {
        Self {
            state: Mutex::new((chunks.into(), 0)),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (VecDeque<Chunk>, usize)> {
        self.state.lock().expect("no thread panics with the board")
    }

    /// The next request; waits while others are under way, since they may come back.
    pub(super) fn take(&self, stopped: &dyn Fn() -> bool) -> Option<Chunk> {
        let mut state = self.state();
        loop {
            if stopped() {
                return None;
            }
            if let Some(chunk) = state.0.pop_front() {
                state.1 += 1;
                return Some(chunk);
            }
            if state.1 == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.expect("no thread panics with the board").0;
        }
    }

    /// A request was answered.
    pub(super) fn done(&self) {
        self.state().1 -= 1;
        self.changed.notify_all();
    }

    /// A request was not answered.
    pub(super) fn give_back(&self, chunk: Chunk) {
        let mut state = self.state();
        state.0.push_front(chunk);
        state.1 -= 1;
        self.changed.notify_all();
    }

    /// Requests not answered.
    pub(super) fn left(&self) -> usize {
        let state = self.state();
        state.0.len() + state.1
    }
}
