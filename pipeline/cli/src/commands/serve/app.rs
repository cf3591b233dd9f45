//! What all connections share: the engine, its queue, how much of it is taken.
//!
//! Made by `serve`, used by `handle`. A sample takes a seat from when it is asked for until its
//! request is answered or given up; there is a fixed number of seats.

use super::{chat::Template, metrics::Metrics};
use anyhow::Result;
use corpus::tokens::TokenCounter;
use model::{
    generate::{Decoder, Limits, Queue, Sample},
    tokenizer::Tokenizer,
};
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Sender,
    },
};

/// Everything.
pub(super) struct App {
    pub(super) decoder: Decoder,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// The model's, then those of adapters.
    pub(super) names: Vec<String>,
    pub(super) template: Option<Template>,
    pub(super) queue: Queue<Tag>,
    pub(super) metrics: Metrics,
    pub(super) max_body_bytes: usize,
    /// No new requests are taken.
    pub(super) stopping: AtomicBool,
    /// Requests being answered.
    pub(super) busy: AtomicUsize,
    /// Goes before a prompt that is text.
    beginning: Option<u32>,
    seats: usize,
    taken: AtomicUsize,
}

/// Who asked.
pub(super) struct Tag {
    pub(super) sender: Sender<Event>,
    /// Number of the request's first choice.
    pub(super) choice: usize,
    pub(super) first_sample: usize,
    /// Every token is wanted as it comes.
    pub(super) streams: bool,
    /// The client went away.
    pub(super) gone: Arc<AtomicBool>,
}

/// What happened to a choice.
pub(super) enum Event {
    Token { choice: usize, id: u32 },
    Done { choice: usize, sample: Sample },
}

/// Seats taken; free again when dropped.
pub(super) struct Seats<'a> {
    app: &'a App,
    count: usize,
}

impl App {
    pub(super) fn new(
        decoder: Decoder,
        tokenizer: Tokenizer,
        names: Vec<String>,
        folder: &Path,
        (seats, max_body_bytes): (usize, usize),
    ) -> Result<Self> {
        let begins = TokenCounter::load(folder, "the model's tokenizer")?.prompt("")? > 0;
        let beginning = decoder.config().bos_token.filter(|_| begins);
        Ok(Self {
            tokenizer: Arc::new(tokenizer),
            template: Template::load(folder)?,
            names,
            queue: Queue::default(),
            metrics: Metrics::default(),
            max_body_bytes,
            stopping: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            beginning,
            seats,
            taken: AtomicUsize::new(0),
            decoder,
        })
    }

    /// The ids of a text.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode(text)?;
        Ok(self.beginning.into_iter().chain(ids).collect())
    }

    /// Takes seats, if so many are free.
    pub(super) fn seat(&self, count: usize) -> Option<Seats<'_>> {
        let add = |taken: usize| Some(taken + count).filter(|all| *all <= self.seats);
        let order = Ordering::SeqCst;
        self.taken.fetch_update(order, order, add).ok()?;
        Some(Seats { app: self, count })
    }

    /// Seats taken, and all.
    pub(super) fn seats(&self) -> (usize, usize) {
        (self.taken.load(Ordering::SeqCst), self.seats)
    }

    /// Samples until the queue ends.
    pub(super) fn run(&self, limits: Limits) -> Result<usize> {
        self.decoder
            .serve(&self.queue, limits, &|tag: &Tag, sample, last| {
                self.metrics.token();
                let choice = tag.choice + sample.sample - tag.first_sample;
                // One who does not listen any more has set `gone`.
                if tag.streams {
                    let id = sample.tokens[sample.tokens.len() - 1];
                    let _ = tag.sender.send(Event::Token { choice, id });
                }
                if last {
                    let sample = sample.clone();
                    let _ = tag.sender.send(Event::Done { choice, sample });
                }
                if tag.gone.load(Ordering::Relaxed) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
    }
}

impl Drop for Seats<'_> {
    fn drop(&mut self) {
        self.app.taken.fetch_sub(self.count, Ordering::SeqCst);
    }
}
