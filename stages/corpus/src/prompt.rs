//! The prompt template and the form of an answer, in one place (paper, section 2: "the problem
//! description is the input, the solution the output").
//!
//! Called by `mix`, `triplets` and `tokenizer` here, and by whatever samples from a model: a
//! model must be asked exactly as it was taught. A changed template is a changed result, so this
//! file is among the `SOURCES` of each of those stages.
//!
//! Promises: prompt and completion are tokenised separately and their ids concatenated, in
//! training and in sampling alike, because at the border enc(a) + enc(b) may differ from
//! enc(a + b). Special tokens are never text: the end of the answer is one id that the trainer
//! appends, so that a statement which happens to spell `<|eos|>` ends nothing.

use std::fmt::Write as _;

use crate::language::Language;

/// What a prompt tells beside statement and language (AlphaCode conditions on all three).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    /// Codeforces rating.
    pub rating: Option<i32>,
    /// Topics, such as `dp`.
    pub tags: Vec<String>,
}

impl Hints {
    /// No hints.
    pub const NONE: Self = Self {
        rating: None,
        tags: Vec::new(),
    };
}

/// The text before the answer.
///
/// The statement comes first, then the hints there are, and the language last: the marker then
/// stands next to the answer, where a short-sighted model sees it too, and all that is asked of a
/// problem shares the prefix. A problem without a statement (some dumps have none) is asked by its
/// name.
pub fn prompt(name: &str, description: &str, hints: &Hints, language: Language) -> String {
    let statement = match description.trim() {
        "" => name.trim(),
        statement => statement,
    };
    // Room for the rest: many prompts are held at a time.
    let mut text = String::with_capacity(statement.len() + 64);
    text.push_str(&statement.replace("\r\n", "\n"));
    text.push_str("\n\n");
    if let Some(rating) = hints.rating {
        let _ = writeln!(text, "### Rating {rating}");
    }
    if !hints.tags.is_empty() {
        let _ = writeln!(text, "### Tags {}", hints.tags.join(", "));
    }
    // The line break ends the prompt, so that the answer's first token is the same with and
    // without a prompt before it.
    let _ = writeln!(text, "### {}", language.title());
    text
}

/// The answer: the program with `\n` line ends and no blank end.
///
/// Uniform line ends keep two spellings of one program from being different tokens; blank ends
/// would teach the model to go on after the program.
pub fn completion(source: &str) -> String {
    source.replace("\r\n", "\n").trim_end().to_owned()
}

/// The program text by which duplicates are found: no blank lines, no blanks at line ends.
///
/// Indentation stays, since it has meaning in Python.
pub fn normalised(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template() {
        assert_eq!(
            prompt("A. Sum", " Add.\r\nInput\n", &Hints::NONE, Language::Cpp),
            "Add.\nInput\n\n### C++\n"
        );
        assert_eq!(
            prompt("A. Sum", " ", &Hints::NONE, Language::Python3),
            "A. Sum\n\n### Python 3\n"
        );
        let hints = Hints {
            rating: Some(1200),
            tags: vec!["math".into(), "two pointers".into()],
        };
        assert_eq!(
            prompt("A. Sum", "Add.", &hints, Language::Cpp),
            "Add.\n\n### Rating 1200\n### Tags math, two pointers\n### C++\n"
        );
        assert_eq!(completion("a\r\nb\n\n"), "a\nb");
    }

    #[test]
    fn normal_form_keeps_indentation_only() {
        assert_eq!(normalised("if a:  \r\n\r\n    b\t\n"), "if a:\n    b\n");
        assert_ne!(normalised("a\n  b"), normalised("a\nb"));
    }
}
