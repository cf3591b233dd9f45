//! Text of a sequence that grows token by token.
//!
//! Used where text is needed before the sequence is whole: stop strings, streamed answers. A
//! token may be part of a character, and what a token reads as may depend on the one before it;
//! so a few tokens are read together, and text is held back while its last character is not whole.

use super::Tokenizer;

/// Tokens so far, and their text as far as it is certain.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    ids: Vec<u32>,
    /// Tokens from here on are read again with the next.
    begin: usize,
    /// Tokens before here have their text in `text`.
    end: usize,
    text: String,
}

impl TextStream {
    /// Text that is certain.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends a token and returns the text that became certain.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> &str {
        self.ids.push(id);
        self.read(tokenizer, false)
    }

    /// No token will follow: returns what was held back.
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> &str {
        self.read(tokenizer, true)
    }

    fn read(&mut self, tokenizer: &Tokenizer, last: bool) -> &str {
        let text = |ids: &[u32]| tokenizer.decode(ids, true).unwrap_or_default();
        let known = text(&self.ids[self.begin..self.end]);
        let all = text(&self.ids[self.begin..]);
        let from = self.text.len();
        if last || !all.ends_with(char::REPLACEMENT_CHARACTER) {
            self.text
                .push_str(all.get(known.len()..).unwrap_or_default());
            self.begin = self.end;
            self.end = self.ids.len();
        }
        &self.text[from..]
    }

    /// Appends a token and returns where the first of `strings` begins in the text, if one is
    /// there; the tokens before had none.
    pub fn find(&mut self, tokenizer: &Tokenizer, id: u32, strings: &[String]) -> Option<usize> {
        let longest = strings.iter().map(String::len).max()?;
        let before = self.text.len();
        self.push(tokenizer, id);
        let from = self
            .text
            .floor_char_boundary(before.saturating_sub(longest));
        let found = strings
            .iter()
            .filter_map(|string| self.text[from..].find(string));
        found.min().map(|at| from + at)
    }
}
