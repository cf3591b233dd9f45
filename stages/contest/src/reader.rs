//! Reads a test's input for the reference answers.
//!
//! Called by the `answer` closures of the families. Panics on a malformed input: the
//! inputs are made by `tests.rs`, so a wrong one is a bug of this crate.

use std::str::SplitAsciiWhitespace;

/// The tokens of an input, in order.
pub struct Reader<'a> {
    text: &'a str,
    tokens: SplitAsciiWhitespace<'a>,
}

impl<'a> Reader<'a> {
    /// Starts at the first token.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            tokens: text.split_ascii_whitespace(),
        }
    }

    /// The next token.
    pub fn word(&mut self) -> &'a str {
        self.tokens.next().expect("an input ends too early")
    }

    /// The next token as a number.
    pub fn int(&mut self) -> i64 {
        self.word().parse().expect("an input token is not a number")
    }

    /// The next `count` numbers.
    pub fn ints(&mut self, count: i64) -> Vec<i64> {
        (0..count).map(|_| self.int()).collect()
    }

    /// A length, then as many numbers.
    pub fn list(&mut self) -> Vec<i64> {
        let count = self.int();
        self.ints(count)
    }

    /// A length, one further number, then as many numbers as the length says.
    pub fn list_and_one(&mut self) -> (Vec<i64>, i64) {
        let count = self.int();
        let extra = self.int();
        (self.ints(count), extra)
    }

    /// A length, then as many pairs.
    pub fn pairs(&mut self) -> Vec<(i64, i64)> {
        let count = self.int();
        (0..count).map(|_| (self.int(), self.int())).collect()
    }

    /// Height, width, then the rows as words.
    pub fn grid(&mut self) -> Vec<&'a [u8]> {
        let height = self.int();
        let _width = self.int();
        (0..height).map(|_| self.word().as_bytes()).collect()
    }

    /// Height, width, then the rows as numbers.
    pub fn matrix(&mut self) -> Vec<Vec<i64>> {
        let height = self.int();
        let width = self.int();
        (0..height).map(|_| self.ints(width)).collect()
    }

    /// All tokens of the input.
    pub fn words(&self) -> Vec<&'a str> {
        self.text.split_ascii_whitespace().collect()
    }
}
