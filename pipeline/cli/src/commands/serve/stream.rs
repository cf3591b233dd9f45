//! A streamed choice: which part of its text may be sent.
//!
//! Used by `handle`. Text is held back while it could be the beginning of a stop string, and while
//! its last character is not whole.

use super::app::App;
use model::{generate::Sample, tokenizer::TextStream};

/// Text of one choice.
#[derive(Default)]
pub(super) struct Choice {
    text: TextStream,
    sent: usize,
    pub(super) begun: bool,
}

impl Choice {
    /// Appends a token; returns what may be sent when `held` bytes could belong to a stop string.
    pub(super) fn token(&mut self, app: &App, id: u32, held: usize) -> String {
        self.text.push(&app.tokenizer, id);
        let text = self.text.text();
        let end = text.floor_char_boundary(text.len().saturating_sub(held));
        self.send(end)
    }

    /// The rest.
    pub(super) fn finish(&mut self, app: &App, sample: &Sample) -> String {
        self.text.finish(&app.tokenizer);
        let length = self.text.text().len();
        self.send(sample.text_end.unwrap_or(length).min(length))
    }

    fn send(&mut self, end: usize) -> String {
        let piece = self.text.text().get(self.sent..end).unwrap_or_default();
        self.sent += piece.len();
        piece.to_owned()
    }
}
