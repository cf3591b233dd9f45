//! What the server counts, in Prometheus' text format.
//!
//! Kept by `app` and `handle`, asked for by `/metrics`.

use super::app::App;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counters since the start.
#[derive(Default)]
pub(super) struct Metrics {
    tokens: AtomicU64,
    prompt_tokens: AtomicU64,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    /// A token was drawn.
    pub(super) fn token(&self) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }

    /// Prompts of so many tokens were taken.
    pub(super) fn prompt(&self, tokens: usize) {
        self.prompt_tokens
            .fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// A request was answered with a status.
    pub(super) fn answer(&self, status: u16) {
        let mut answers = self
            .answers
            .lock()
            .expect("no thread panics while counting");
        *answers.entry(status).or_default() += 1;
    }

    /// The text.
    pub(super) fn text(&self, app: &App) -> String {
        let (taken, seats) = app.seats();
        let rows = [
            (
                "generation_tokens_total",
                "counter",
                "Tokens drawn.",
                self.tokens.load(Ordering::Relaxed),
            ),
            (
                "prompt_tokens_total",
                "counter",
                "Tokens of prompts.",
                self.prompt_tokens.load(Ordering::Relaxed),
            ),
            (
                "requests_running",
                "gauge",
                "Requests being answered.",
                app.busy.load(Ordering::SeqCst) as u64,
            ),
            (
                "samples_queued",
                "gauge",
                "Samples running or waiting.",
                taken as u64,
            ),
            (
                "samples_queued_max",
                "gauge",
                "Samples that may run or wait.",
                seats as u64,
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let _ = writeln!(
                text,
                "# HELP iota_{name} {help}\n# TYPE iota_{name} {kind}\niota_{name} {value}"
            );
        }
        text += "# HELP iota_requests_total Requests answered, by status.\n# TYPE iota_requests_total counter\n";
        for (status, count) in &*self
            .answers
            .lock()
            .expect("no thread panics while counting")
        {
            let _ = writeln!(text, "iota_requests_total{{status=\"{status}\"}} {count}");
        }
        text
    }
}
