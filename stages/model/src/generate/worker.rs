//! One decoding thread: sequences side by side, joined and left at any step.
//!
//! Called by `Decoder::generate` and `Decoder::serve`. Every step passes one row of each running
//! sequence, and a chunk of at most one prompt, through the network: a long prompt delays the
//! others by a chunk at a time. When the pool has no page left, the youngest sequence gives its
//! pages back and is computed again later; it draws the tokens it would have drawn.

use std::ops::Range;
use std::sync::Arc;

use super::cache::{Cache, pages_of};
use super::decoder::{Decoder, Row, Scratch};
use super::page::Pool;
use super::queue::{Claim, Job, Need, Prefix, Queue};
use super::slot::Slot;
use super::{Finish, Observer};

/// A token, its log-probability under the model, and under what it was drawn from.
pub(super) type Drawn = (u32, f32, f32);

/// A prompt being computed, and the sample that asked for it.
struct Prefill<T> {
    claim: Claim<T>,
    sample: usize,
    cache: Cache,
    filled: usize,
}

/// What a thread holds.
pub(super) struct Worker<'a, T> {
    pub(super) decoder: &'a Decoder,
    pub(super) queue: &'a Queue<T>,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) slots: usize,
    pub(super) observer: &'a Observer<'a, T>,
    pub(super) state: State<T>,
}

/// Sequences and buffers of a thread.
pub(super) struct State<T> {
    running: Vec<Slot<T>>,
    /// Gave their pages back; the oldest is last.
    preempted: Vec<Slot<T>>,
    prefill: Option<Prefill<T>>,
    /// Waits for a prompt that another thread computes.
    waiting: Option<Job<T>>,
    scratch: Scratch,
    rows: Vec<Row>,
    logits: Vec<f32>,
    weights: Vec<f32>,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            running: Vec::new(),
            preempted: Vec::new(),
            prefill: None,
            waiting: None,
            scratch: Scratch::default(),
            rows: Vec::new(),
            logits: Vec::new(),
            weights: Vec::new(),
        }
    }
}

impl<T> Worker<'_, T> {
    /// Draws samples until the queue is closed and empty, or abandoned.
    pub(super) fn run(mut self) {
        loop {
            self.admit();
            let idle = self.state.running.is_empty() && self.state.prefill.is_none();
            if idle || self.queue.is_abandoned() {
                return;
            }
            self.step();
        }
    }

    /// Lets sequences in while there are slots and pages.
    fn admit(&mut self) {
        while self.state.running.len() < self.slots && self.state.prefill.is_none() {
            let alone = self.state.running.is_empty();
            if let Some(mut slot) = self.state.preempted.pop() {
                if slot.group.is_cancelled() {
                    continue;
                }
                if !alone && !self.has_pages(slot.length()) {
                    self.state.preempted.push(slot);
                    return;
                }
                // Its prompt is there: it ran before.
                if let Need::Ready(prefix) = slot.group.need(true) {
                    slot.cache = prefix.cache.clone();
                    self.state.running.push(slot);
                }
                continue;
            }
            let waiting = self.state.waiting.take();
            let Some(job) = waiting.or_else(|| self.queue.take(alone)) else {
                return;
            };
            if job.group.is_cancelled() {
                continue;
            }
            if !alone && !self.has_pages(job.group.task.request.prompt.len()) {
                self.state.waiting = Some(job);
                return;
            }
            match job.group.need(alone) {
                Need::Ready(prefix) => self.begin(job, &prefix),
                Need::Compute(claim) => {
                    self.state.prefill = Some(Prefill {
                        claim,
                        sample: job.sample,
                        cache: Cache::default(),
                        filled: 0,
                    });
                }
                Need::Wait => {
                    self.state.waiting = Some(job);
                    return;
                }
            }
        }
    }

    /// Whether a sequence of so many positions fits beside a page more for everybody.
    fn has_pages(&self, positions: usize) -> bool {
        pages_of(positions + 1) + self.state.running.len() <= self.pool.left()
    }

    fn begin(&mut self, job: Job<T>, prefix: &Prefix) {
        let mut slot = Slot::new(job, prefix.cache.clone());
        let mut logits = prefix.logits.clone();
        let finish = slot.extend(&mut logits, self.decoder.config(), &mut self.state.weights);
        self.go_on(slot, finish);
    }

    /// Shows a token that was drawn, and keeps the sequence if it goes on.
    fn go_on(&mut self, mut slot: Slot<T>, finish: Option<Finish>) {
        slot.sample.finish = finish.unwrap_or(Finish::Length);
        let tag = &slot.group.task.tag;
        if (self.observer)(tag, &slot.sample, finish.is_some()).is_break() {
            slot.group.cancel();
        } else if finish.is_none() {
            self.state.running.push(slot);
        }
    }

    /// Gets the pages of this step; the youngest go without if there are too few.
    fn reserve(&mut self) {
        let chunk = self.decoder.chunk();
        let State {
            running,
            preempted,
            prefill: prompt,
            waiting,
            ..
        } = &mut self.state;
        running.retain(|slot| !slot.group.is_cancelled());
        let mut index = 0;
        while index < running.len() {
            let last = running.len() == 1;
            let slot = &mut running[index];
            let to = slot.length().min(slot.filled + chunk);
            if slot.cache.reserve(self.pool, slot.filled, to, last) {
                index += 1;
                continue;
            }
            let mut youngest = running.pop().expect("there are several");
            youngest.cache = Cache::default();
            #[cfg(feature = "device")]
            {
                youngest.seat = None;
            }
            youngest.filled = youngest.group.task.request.prompt.len();
            preempted.push(youngest);
        }
        if let Some(prefill) = prompt {
            let request = &prefill.claim.group.task.request;
            let to = request.prompt.len().min(prefill.filled + chunk);
            let alone = running.is_empty();
            let cancelled = prefill.claim.group.is_cancelled();
            if cancelled || !prefill.cache.reserve(self.pool, prefill.filled, to, alone) {
                // Begun again when there is room; the sample goes back to where it came from.
                let group = Arc::clone(&prefill.claim.group);
                let sample = prefill.sample;
                *prompt = None;
                *waiting = (!cancelled).then_some(Job { group, sample });
            }
        }
    }

    /// One row of every sequence, or a chunk of what it lacks, and a chunk of a prompt.
    fn step(&mut self) {
        self.reserve();
        let chunk = self.decoder.chunk();
        let State {
            running,
            prefill,
            scratch,
            rows,
            logits,
            ..
        } = &mut self.state;
        let (mut caches, mut chosen) = (Vec::new(), Vec::new());
        let (mut adapted, mut adapted_chosen) = (Vec::new(), Vec::new());
        #[cfg(feature = "device")]
        let mut seats = Vec::new();
        rows.clear();
        for slot in running.iter_mut() {
            let first = rows.len();
            rows.extend(slot.rows(caches.len(), chunk));
            slot.filled += rows.len() - first;
            let adapter = slot.group.task.request.adapter;
            note(&mut adapted, adapter, first..rows.len());
            if slot.filled == slot.length() {
                #[cfg(feature = "device")]
                seats.extend(self.pool.session().map(|session| session.seat(slot)));
                note(&mut adapted_chosen, adapter, chosen.len()..chosen.len() + 1);
                chosen.push(rows.len() - 1);
            }
            caches.push(std::mem::take(&mut slot.cache));
        }
        if let Some(prefill) = prefill {
            let request = &prefill.claim.group.task.request;
            let to = request.prompt.len().min(prefill.filled + chunk);
            let first = rows.len();
            rows.extend((prefill.filled..to).map(|position| Row {
                id: request.prompt[position],
                position,
                cache: caches.len(),
            }));
            note(&mut adapted, request.adapter, first..rows.len());
            prefill.filled = to;
            if to == request.prompt.len() {
                note(
                    &mut adapted_chosen,
                    request.adapter,
                    chosen.len()..chosen.len() + 1,
                );
                chosen.push(rows.len() - 1);
            }
            caches.push(std::mem::take(&mut prefill.cache));
        }
        if rows.is_empty() {
            return;
        }
        #[cfg(feature = "device")]
        if let Some(session) = self.pool.session() {
            let (drawn, mut rest) = session.step(rows, &chosen, &caches, &seats);
            return self.distribute(caches, Some(drawn), &mut rest);
        }
        self.decoder.blocks(rows, &adapted, &mut caches, scratch);
        self.decoder
            .logits(logits, &chosen, &adapted_chosen, scratch);
        let mut logits = std::mem::take(logits);
        self.distribute(caches, None, &mut logits);
        self.state.logits = logits;
    }

    /// Gives caches back and lets those draw that have logits, in the order of `step`; a device has
    /// drawn for all but the prompt.
    fn distribute(&mut self, caches: Vec<Cache>, drawn: Option<Vec<Drawn>>, logits: &mut [f32]) {
        let config = self.decoder.config();
        let mut caches = caches.into_iter();
        let mut logits = logits.chunks_exact_mut(config.vocab_size);
        let mut slots = std::mem::take(&mut self.state.running);
        for (slot, cache) in slots.iter_mut().zip(&mut caches) {
            slot.cache = cache;
        }
        let ready: Vec<bool> = slots
            .iter()
            .map(|slot| slot.filled == slot.length())
            .collect();
        let mut drawn = drawn.map(Vec::into_iter);
        for (mut slot, ready) in slots.into_iter().zip(ready) {
            if !ready {
                self.state.running.push(slot);
                continue;
            }
            let finish = if let Some(drawn) = &mut drawn {
                let (token, log_prob, processed) =
                    drawn.next().expect("one for each that is ready");
                slot.accept(token, log_prob, processed, config)
            } else {
                let logits = logits.next().expect("logits for each that is ready");
                slot.extend(logits, config, &mut self.state.weights)
            };
            self.go_on(slot, finish);
        }
        let Some(mut prefill) = self.state.prefill.take() else {
            return;
        };
        prefill.cache = caches.next().expect("the prompt's cache comes last");
        let Some(logits) = logits.next() else {
            self.state.prefill = Some(prefill);
            return;
        };
        let group = Arc::clone(&prefill.claim.group);
        prefill.claim.fulfil(Prefix {
            cache: prefill.cache,
            logits: logits.to_vec(),
        });
        self.state.waiting = Some(Job {
            group,
            sample: prefill.sample,
        });
    }
}

/// Notes that an adapter acts on some rows; neighbours become one range.
fn note(adapted: &mut Vec<(usize, Range<usize>)>, adapter: Option<usize>, rows: Range<usize>) {
    let Some(adapter) = adapter else { return };
    match adapted.last_mut() {
        Some((last, range)) if *last == adapter && range.end == rows.start => range.end = rows.end,
        _ => adapted.push((adapter, rows)),
    }
}
