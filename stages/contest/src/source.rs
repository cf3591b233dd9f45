//! Finished programs: reading code, constants, names and the frame are put in.
//!
//! Called by `lib.rs` for every right program and every bug. A [`Look`] fixes the outer
//! choices, so that a wrong program looks exactly like the right one it comes from.

use std::collections::BTreeSet;

use crate::Language;
use crate::draw::Draw;
use crate::family::{Draft, Program};

/// Everything about a program's looks that does not change what it does.
pub(crate) struct Look {
    reading: String,
    renames: Vec<(&'static str, &'static str)>,
    fast_streams: bool,
    returns: bool,
    narrow: bool,
}

const RENAMES: [(&str, &[&str]); 7] = [
    ("a", &["arr", "nums", "v", "values"]),
    ("ans", &["res", "result", "answer"]),
    ("s", &["t", "text", "word", "st"]),
    ("x", &["v", "num", "y", "val"]),
    ("i", &["j", "k", "idx"]),
    ("cnt", &["c", "total", "num"]),
    ("b", &["c", "good", "r"]),
];

impl Look {
    /// Draws the looks of one program of a draft.
    pub(crate) fn new(draft: &Draft, program: &Program, draw: &mut Draw) -> Self {
        let reading = match program.language {
            Language::Python3 => draft.shape.python(draw),
            Language::Cpp => draft.shape.cpp(draw),
        };
        // A name is new only if neither the program nor any edit of it uses it.
        let mut all = program.source.replace("@READ@", &reading);
        for bug in draft.bugs.iter().filter(|bug| bug.style == program.style) {
            for (from, to) in &bug.edits {
                all.extend(["\n", from, "\n", to]);
            }
        }
        let mut used: BTreeSet<String> = pieces(&all).map(str::to_owned).collect();
        let mut renames = Vec::new();
        // Names inside f-strings are out of reach of the renaming.
        if draw.percent(45) && !all.contains("f\"") && !all.contains("f'") {
            for (old, choices) in RENAMES {
                let new = draw.one(choices);
                if draw.percent(50) && used.contains(old) && used.insert(new.to_owned()) {
                    renames.push((old, new));
                }
            }
        }
        Self {
            reading,
            renames,
            fast_streams: draw.percent(15),
            returns: draw.percent(70),
            narrow: draw.percent(20),
        }
    }

    /// The finished source of `raw`, which is the program or an edit of it.
    pub(crate) fn finish(&self, draft: &Draft, language: Language, raw: &str) -> String {
        let filled = draft.fill(&raw.replace("@READ@", &self.reading));
        let named = self.rename(&filled);
        assert!(!named.contains('@'), "a placeholder is left in:\n{named}");
        match language {
            Language::Python3 => format!("{named}\n"),
            Language::Cpp => self.frame(&named),
        }
    }

    fn rename(&self, source: &str) -> String {
        let mut renamed = String::with_capacity(source.len());
        let mut after_dot = false;
        for piece in pieces(source) {
            let new = self
                .renames
                .iter()
                .find(|(old, _)| *old == piece && !after_dot);
            renamed.push_str(new.map_or(piece, |(_, new)| new));
            after_dot = piece == ".";
        }
        renamed
    }

    fn frame(&self, body: &str) -> String {
        let (functions, body) = body.split_once("---\n").unwrap_or(("", body));
        let mut source = String::new();
        if self.narrow {
            for header in headers(&format!("{functions}\n{body}")) {
                source.extend(["#include <", header, ">\n"]);
            }
        } else {
            source.push_str("#include <bits/stdc++.h>\n");
        }
        source.push_str("using namespace std;\n\n");
        if !functions.is_empty() {
            source.push_str(functions.trim_end());
            source.push_str("\n\n");
        }
        source.push_str("int main() {\n");
        if self.fast_streams {
            source.push_str("    ios::sync_with_stdio(false);\n    cin.tie(nullptr);\n");
        }
        for line in body.lines() {
            source.extend(["    ", line, "\n"]);
        }
        if self.returns {
            source.push_str("    return 0;\n");
        }
        source.push_str("}\n");
        source
    }
}

/// Cuts a source into names, string literals and single other characters.
fn pieces(source: &str) -> impl Iterator<Item = &str> {
    let bytes = source.as_bytes();
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = *bytes.get(start)?;
        let mut end = start + 1;
        if first.is_ascii_alphanumeric() || first == b'_' {
            while bytes
                .get(end)
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            {
                end += 1;
            }
        } else if first == b'"' || first == b'\'' {
            while bytes
                .get(end)
                .is_some_and(|byte| *byte != first && *byte != b'\n')
            {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            end = (end + 1).min(bytes.len());
        }
        let piece = &source[start..end];
        start = end;
        Some(piece)
    })
}

const HEADERS: [(&str, &[&str]); 14] = [
    ("vector", &["vector"]),
    ("string", &["string", "to_string", "stoi", "stoll"]),
    (
        "algorithm",
        &[
            "sort",
            "max",
            "min",
            "reverse",
            "count",
            "max_element",
            "min_element",
            "swap",
            "lower_bound",
            "upper_bound",
            "find",
            "unique",
            "count_if",
            "next_permutation",
            "is_sorted",
            "rotate",
            "remove",
            "transform",
            "binary_search",
            "all_of",
            "any_of",
        ],
    ),
    (
        "numeric",
        &["accumulate", "gcd", "lcm", "iota", "partial_sum"],
    ),
    ("map", &["map"]),
    ("set", &["set"]),
    ("cmath", &["sqrt", "pow", "sqrtl", "floor", "ceil"]),
    ("cstdlib", &["abs", "llabs"]),
    ("stack", &["stack"]),
    ("queue", &["queue", "priority_queue"]),
    ("climits", &["INT_MAX", "INT_MIN", "LLONG_MAX", "LLONG_MIN"]),
    (
        "cctype",
        &[
            "isdigit", "isalpha", "toupper", "tolower", "isupper", "islower",
        ],
    ),
    ("utility", &["pair"]),
    ("functional", &["greater"]),
];

fn headers(source: &str) -> Vec<&'static str> {
    let used: BTreeSet<&str> = pieces(source).collect();
    let mut headers = vec!["iostream"];
    for (header, names) in HEADERS {
        if names.iter().any(|name| used.contains(name)) {
            headers.push(header);
        }
    }
    headers
}
