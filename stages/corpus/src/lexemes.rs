//! A program without what a compiler does not read: white space and comments.
//!
//! Used by `triplets` to tell programs that are the same from programs that are merely near. It
//! knows comments, strings and, for Python, indentation; it is no parser.
//!
//! Promises: programs of one form differ only in white space and comments (where that means
//! nothing). The reverse may fail for odd texts (raw strings, macros), which then count as
//! different. A text of another language loses only its blanks at line ends.

use crate::language::Language;
use crate::prompt;

/// The form by which programs are the same.
pub fn form(source: &str, language: Option<Language>) -> String {
    match language {
        Some(Language::Python3 | Language::Python2) => python(source),
        Some(
            Language::Cpp
            | Language::Java
            | Language::C
            | Language::CSharp
            | Language::Go
            | Language::JavaScript
            | Language::Kotlin
            | Language::Rust,
        ) => braces(source),
        None => prompt::normalised(source),
    }
}

/// Appends pieces with a blank only between two that would otherwise become one.
#[derive(Default)]
struct Form {
    text: String,
    blank: bool,
}

impl Form {
    fn push(&mut self, piece: char) {
        const OPERATORS: &str = "+-<>=&|!*/:^%.?";
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '"' || c == '\'';
        let operator = |c: char| OPERATORS.contains(c);
        if self.blank
            && let Some(last) = self.text.chars().next_back()
            && (word(last) && word(piece) || operator(last) && operator(piece))
        {
            self.text.push(' ');
        }
        self.blank = false;
        self.text.push(piece);
    }

    /// The text up to the end of a string that begins here; returns what follows.
    fn string<'a>(&mut self, rest: &'a str, end: &str) -> &'a str {
        self.push(rest.chars().next().expect("a string begins with a quote"));
        let mut at = end.len();
        self.text.push_str(&end[1..]);
        while at < rest.len() && !rest[at..].starts_with(end) {
            let mut next = rest[at..].chars();
            let taken = usize::from(next.next() == Some('\\')) + 1;
            let length: usize = rest[at..].chars().take(taken).map(char::len_utf8).sum();
            self.text.push_str(&rest[at..at + length]);
            at += length;
        }
        let stop = (at + end.len()).min(rest.len());
        self.text.push_str(&rest[at..stop]);
        &rest[stop..]
    }
}

/// Languages with `//` and `/* */`.
fn braces(source: &str) -> String {
    let mut form = Form::default();
    let mut rest = source;
    // A directive ends with its line.
    let (mut directive, mut at_start) = (false, true);
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            form.blank = true;
        } else if rest.starts_with("/*") {
            let end = rest[2..].find("*/").map_or(rest.len(), |end| end + 4);
            rest = &rest[end..];
            form.blank = true;
        } else if next == '"' {
            rest = form.string(rest, "\"");
            at_start = false;
        } else if next == '\'' && !form.text.ends_with(|c: char| c.is_ascii_digit()) {
            rest = form.string(rest, "'");
            at_start = false;
        } else {
            rest = &rest[next.len_utf8()..];
            match next {
                '\n' if directive => {
                    directive = form.text.ends_with('\\');
                    form.text.push('\n');
                    at_start = true;
                }
                '\n' => (form.blank, at_start) = (true, true),
                _ if next.is_whitespace() => form.blank = true,
                _ => {
                    if next == '#' && at_start {
                        if !form.text.ends_with('\n') {
                            form.text.push('\n');
                        }
                        directive = true;
                    }
                    at_start = false;
                    form.push(next);
                }
            }
        }
    }
    form.text.trim_end().to_owned()
}

/// Python: lines and their depth mean something outside of brackets.
fn python(source: &str) -> String {
    let mut form = Form::default();
    let mut rest = source;
    let mut depths = vec![0_usize];
    let mut brackets = 0_usize;
    let (mut at_start, mut depth) = (true, 0);
    while let Some(next) = rest.chars().next() {
        if next == '#' {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        }
        let skipped = &rest[next.len_utf8()..];
        if next == '\n' || next == '\r' {
            if brackets == 0 && !at_start {
                form.text.push('\n');
                form.blank = false;
            } else {
                form.blank = true;
            }
            (rest, at_start, depth) = (skipped, brackets == 0, 0);
            continue;
        }
        if next.is_whitespace() {
            depth = if next == '\t' {
                (depth / 8 + 1) * 8
            } else {
                depth + 1
            };
            (rest, form.blank) = (skipped, true);
            continue;
        }
        if next == '\\' && skipped.starts_with(['\n', '\r']) {
            rest = skipped.trim_start_matches('\r');
            rest = rest.strip_prefix('\n').unwrap_or(rest);
            form.blank = true;
            continue;
        }
        if at_start {
            // By levels, not by blanks: two or four of them are the same.
            while depths.last().is_some_and(|&last| depth < last) {
                depths.pop();
                form.text.push('\u{2}');
            }
            if depths.last().is_some_and(|&last| depth > last) {
                depths.push(depth);
                form.text.push('\u{1}');
            }
            (at_start, form.blank) = (false, false);
        }
        rest = match next {
            '"' if rest.starts_with("\"\"\"") => form.string(rest, "\"\"\""),
            '\'' if rest.starts_with("'''") => form.string(rest, "'''"),
            '"' => form.string(rest, "\""),
            '\'' => form.string(rest, "'"),
            _ => {
                match next {
                    '(' | '[' | '{' => brackets += 1,
                    ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                form.push(next);
                skipped
            }
        };
    }
    form.text.trim_end_matches(['\n', '\u{2}']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(language: Language, a: &str, b: &str) -> bool {
        form(a, Some(language)) == form(b, Some(language))
    }

    #[test]
    fn blanks_and_comments_mean_nothing() {
        use Language::{Cpp, Python3};
        assert!(same(
            Cpp,
            "int x=1;//a\n/*b\n*/return x;",
            "int  x = 1 ;\r\nreturn\tx;\n"
        ));
        assert!(same(
            Cpp,
            "#include <a>\nint x;",
            "  #include <a> // b\n\n\nint\nx;"
        ));
        assert!(same(Cpp, "f(\"// no\",'\"');", "f( \"// no\", '\"' );"));
        assert!(same(
            Python3,
            "if a:\n  b(1,\n 2)\n",
            "if a: # c\n\n\tb(1, 2)"
        ));
        assert!(same(Python3, "x = 1 + \\\n  2\n", "x=1+2"));
        assert!(same(Python3, "if a:\n  b\nc", "if a:\n    b\n\n# d\nc\n"));
    }

    #[test]
    fn the_rest_does() {
        use Language::{Cpp, Python3};
        assert!(!same(Cpp, "int x;", "intx;"));
        assert!(!same(Cpp, "a + +b", "a ++b"));
        assert!(!same(Cpp, "f(\"a b\")", "f(\"ab\")"));
        assert!(!same(Cpp, "f(\"// a\")", "f(\"// b\")"));
        assert!(!same(Cpp, "#define A b\nc", "#define A\nb c"));
        assert!(!same(Python3, "if a:\n  b\n  c", "if a:\n  b\nc"));
        assert!(!same(Python3, "a\nb", "a b"));
        assert!(!same(Python3, "'''x\n# y'''", "'''x\n'''"));
        assert!(!same(Python3, "print('a#b')", "print('a#c')"));
    }

    #[test]
    fn any_text_has_a_form() {
        for text in [
            "",
            "\"",
            "'\\",
            "/*",
            "#",
            "\"\"\"é",
            "\\",
            "R\"x(\")x\"",
            "\u{0}\u{1}",
        ] {
            for language in Language::ALL.into_iter().map(Some).chain([None]) {
                form(text, language);
            }
        }
    }
}
