//! What is to be sampled, handed out in order of arrival.
//!
//! Used by `worker`. A group is a request with all its samples; the keys and values of its prompt
//! are computed once, by whoever takes its first sample, and freed when its last sample ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::cache::Cache;
use super::{Request, Settings};

/// A request, how to sample it, and whatever its owner knows it by.
pub struct Task<T> {
    /// What is asked.
    pub request: Request,
    /// How.
    pub settings: Arc<Settings>,
    /// Handed to the observer with every token.
    pub tag: T,
}

/// A task that was begun.
pub(super) struct Group<T> {
    pub(super) task: Task<T>,
    /// Number of the task, in order of arrival.
    pub(super) index: usize,
    cancelled: AtomicBool,
    prefix: Mutex<Progress>,
    changed: Condvar,
}

enum Progress {
    Missing,
    Claimed,
    Ready(Arc<Prefix>),
}

/// A finished prompt.
pub(super) struct Prefix {
    pub(super) cache: Cache,
    /// Logits of the token after the prompt.
    pub(super) logits: Vec<f32>,
}

/// What a group answers to one who needs its prompt.
pub(super) enum Need<T> {
    /// Here it is.
    Ready(Arc<Prefix>),
    /// Compute it.
    Compute(Claim<T>),
    /// Somebody else computes it.
    Wait,
}

/// The duty to compute a prompt; given up when dropped.
pub(super) struct Claim<T> {
    pub(super) group: Arc<Group<T>>,
}

/// One sample to draw.
pub(super) struct Job<T> {
    pub(super) group: Arc<Group<T>>,
    pub(super) sample: usize,
}

/// Samples not yet begun.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    abandoned: AtomicBool,
}

struct State<T> {
    tasks: VecDeque<Task<T>>,
    arrived: usize,
    current: Option<(Arc<Group<T>>, usize)>,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                tasks: VecDeque::new(),
                arrived: 0,
                current: None,
                closed: false,
            }),
            changed: Condvar::new(),
            abandoned: AtomicBool::new(false),
        }
    }
}

impl<T> Queue<T> {
    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().expect("no thread panics with the queue")
    }

    /// Appends a task, which [`Decoder::check`](super::Decoder::check) has to have passed; gives
    /// it back if the queue is closed.
    pub fn push(&self, task: Task<T>) -> Option<Task<T>> {
        let mut state = self.state();
        if state.closed {
            return Some(task);
        }
        state.tasks.push_back(task);
        drop(state);
        self.changed.notify_one();
        None
    }

    /// Nothing more comes: workers end when all that is there is drawn.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Gives up everything that is not finished.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.close();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The next sample; nothing if there is none now, or, when one may `wait`, if none will come.
    pub(super) fn take(&self, wait: bool) -> Option<Job<T>> {
        let mut state = self.state();
        loop {
            if self.is_abandoned() {
                return None;
            }
            if let Some((group, next)) = &mut state.current {
                let request = &group.task.request;
                if *next < request.samples && !group.is_cancelled() {
                    *next += 1;
                    return Some(Job {
                        sample: request.first_sample + *next - 1,
                        group: Arc::clone(group),
                    });
                }
                state.current = None;
            } else if let Some(task) = state.tasks.pop_front() {
                let group = Group {
                    task,
                    index: state.arrived,
                    cancelled: AtomicBool::new(false),
                    prefix: Mutex::new(Progress::Missing),
                    changed: Condvar::new(),
                };
                state.arrived += 1;
                state.current = Some((Arc::new(group), 0));
                // Others may be waiting for samples of it.
                self.changed.notify_all();
            } else if state.closed || !wait {
                return None;
            } else {
                state = self
                    .changed
                    .wait(state)
                    .expect("no thread panics with the queue");
            }
        }
    }
}

impl<T> Group<T> {
    /// Its samples are not wanted any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.prefix.lock().expect("no thread panics with a prefix")
    }

    /// The prompt, or what to do about it; if somebody else computes it, one may `wait` for that.
    pub(super) fn need(self: &Arc<Self>, wait: bool) -> Need<T> {
        let mut progress = self.progress();
        loop {
            match &*progress {
                Progress::Ready(prefix) => return Need::Ready(Arc::clone(prefix)),
                Progress::Missing => {
                    *progress = Progress::Claimed;
                    return Need::Compute(Claim {
                        group: Arc::clone(self),
                    });
                }
                Progress::Claimed if !wait => return Need::Wait,
                Progress::Claimed => {
                    progress = self
                        .changed
                        .wait(progress)
                        .expect("no thread panics with a prefix");
                }
            }
        }
    }
}

impl<T> Claim<T> {
    /// Hands the computed prompt to all who need it.
    pub(super) fn fulfil(self, prefix: Prefix) {
        *self.group.progress() = Progress::Ready(Arc::new(prefix));
    }
}

impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        let mut progress = self.group.progress();
        if matches!(*progress, Progress::Claimed) {
            *progress = Progress::Missing;
        }
        drop(progress);
        self.group.changed.notify_all();
    }
}
