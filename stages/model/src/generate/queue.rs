//! The shared list of samples to draw, handed out in order.
//!
//! Used by `worker`. The prefix of the prompt that is being handed out is held here so that
//! all its samples share it; it is freed when the last of them ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::Request;
use super::cache::Prefix;

/// Samples not yet begun.
pub(super) struct Queue<'a> {
    requests: &'a [Request],
    next: Mutex<Next>,
    closed: AtomicBool,
}

struct Next {
    request: usize,
    sample: usize,
    prefix: Arc<OnceLock<Arc<Prefix>>>,
}

/// One sample to draw.
pub(super) struct Job<'a> {
    pub(super) request: usize,
    pub(super) sample: usize,
    pub(super) key: &'a str,
    pub(super) prompt: &'a [u32],
    /// Filled by whoever needs it first.
    pub(super) prefix: Arc<OnceLock<Arc<Prefix>>>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(requests: &'a [Request]) -> Self {
        Self {
            requests,
            next: Mutex::new(Next {
                request: 0,
                sample: 0,
                prefix: Arc::default(),
            }),
            closed: AtomicBool::new(false),
        }
    }

    /// The next sample, or nothing when all are handed out.
    pub(super) fn take(&self) -> Option<Job<'a>> {
        let mut next = self
            .next
            .lock()
            .expect("no thread panics while holding the queue");
        loop {
            let request = self.requests.get(next.request)?;
            if next.sample < request.samples {
                let job = Job {
                    request: next.request,
                    sample: request.first_sample + next.sample,
                    key: &request.key,
                    prompt: &request.prompt,
                    prefix: Arc::clone(&next.prefix),
                };
                next.sample += 1;
                return Some(job);
            }
            *next = Next {
                request: next.request + 1,
                sample: 0,
                prefix: Arc::default(),
            };
        }
    }

    /// Gives up everything that is not finished.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}
