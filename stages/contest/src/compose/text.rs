//! Composed problems about text: choose items, change them, finish.
//!
//! The items are the letters of a word (`letters.rs`) or the words of a line (`words.rs`).
//! A [`Keep`], a [`Change`] and a [`Finish`] make a problem; each carries its words, its
//! code and its meaning. In code `#` stands for the item and `$` for its new value.

use std::rc::Rc;

use super::reduce::{cpp_print, indent, literal};
use crate::draw::Draw;
use crate::family::Draft;
use crate::{Claim, Language};

/// Whether an item at an index is chosen.
type Condition = Rc<dyn Fn(&str, usize) -> bool>;

/// Which items are chosen.
#[derive(Clone)]
pub(super) struct Keep {
    pub(super) name: &'static str,
    /// The chosen items, in words.
    pub(super) words: String,
    /// Condition on `#`, perhaps on the index `i`; empty if all are chosen.
    pub(super) python: String,
    pub(super) cpp: String,
    pub(super) keeps: Condition,
    /// Its constants.
    pub(super) constant: Option<String>,
}

/// What becomes of a chosen item.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) name: &'static str,
    /// What to do, as an instruction; empty if nothing is done.
    pub(super) words: String,
    pub(super) python: String,
    pub(super) cpp: String,
    pub(super) new: Rc<dyn Fn(&str) -> String>,
}

/// Items with their new values, where chosen.
pub(super) type Items = [(String, Option<String>)];

/// How the answer is made of the items.
#[derive(Clone)]
pub(super) struct Finish {
    pub(super) name: &'static str,
    /// The answer in words; `ITEMS` stands for the new values.
    pub(super) words: &'static str,
    /// Before the loop, for a chosen item, for another item (may be empty).
    pub(super) python: [&'static str; 3],
    /// What is printed, and the condition that there is nothing.
    pub(super) python_result: [&'static str; 2],
    /// What is printed if `b` is the list of new values; empty if there is no such way.
    pub(super) list: &'static str,
    pub(super) cpp: [&'static str; 3],
    /// Lines after the loop.
    pub(super) cpp_after: &'static str,
    pub(super) cpp_result: [&'static str; 2],
    /// `None` if there is nothing to print.
    pub(super) of: fn(&Items) -> Option<String>,
    /// A problem with this end says what to print if nothing is chosen.
    pub(super) needs_default: bool,
}

/// A problem about text, right or mistaken.
#[derive(Clone)]
pub(super) struct Select {
    /// Name of the sequence in the programs, and the C++ type of an item.
    pub(super) over: &'static str,
    pub(super) item: &'static str,
    pub(super) keep: Keep,
    pub(super) change: Change,
    pub(super) finish: Finish,
    pub(super) default: Option<&'static str>,
    pub(super) skip_first: bool,
    pub(super) skip_last: bool,
}

impl Select {
    /// The output for these items.
    pub(super) fn of(&self, items: &[String]) -> String {
        let end = items.len() - usize::from(self.skip_last);
        let start = usize::from(self.skip_first).min(end);
        let all = items[start..end].iter().enumerate().map(|(i, item)| {
            let kept = (self.keep.keeps)(item, i + start);
            (item.clone(), kept.then(|| (self.change.new)(item)))
        });
        let all: Vec<_> = all.collect();
        let nothing = self.default.unwrap_or("");
        (self.finish.of)(&all).unwrap_or_else(|| nothing.to_owned())
    }

    fn by_index(&self) -> bool {
        self.keep.python.contains("i %")
    }

    /// One program, in one of the styles.
    fn render(&self, style: &str) -> String {
        let over = self.over;
        let index = style.ends_with("index");
        let element = if index {
            format!("{over}[i]")
        } else {
            "x".to_owned()
        };
        let fill = |code: &str, value: &str| code.replace('$', value).replace('#', &element);
        if style.starts_with("cpp") {
            let by_index = index || self.by_index();
            let condition = fill(&self.keep.cpp, "");
            let [before, chosen, other] = self
                .finish
                .cpp
                .map(|code| fill(code, &self.change.cpp).replace('#', &element));
            let mut body = if condition.is_empty() {
                chosen
            } else if other.is_empty() {
                format!("if ({condition}) {{\n{}\n}}", indent(&chosen))
            } else {
                format!(
                    "if ({condition}) {{\n{}\n}} else {{\n{}\n}}",
                    indent(&chosen),
                    indent(&other)
                )
            };
            let head = if by_index {
                let (start, end) = (
                    usize::from(self.skip_first),
                    if self.skip_last { " - 1" } else { "" },
                );
                if !index {
                    body = format!("{} x = {over}[i];\n{body}", self.item);
                }
                format!("for (int i = {start}; i < (int){over}.size(){end}; i++)")
            } else {
                format!("for ({} x : {over})", self.item)
            };
            let [result, nothing] = self.finish.cpp_result;
            let after = cpp_print(
                result,
                nothing,
                self.default.filter(|_| !nothing.is_empty()),
            );
            let lines = self.finish.cpp_after;
            return format!(
                "@READ@\n{before}\n{head} {{\n{}\n}}\n{lines}{after}",
                indent(&body)
            );
        }
        let mut condition = fill(&self.keep.python, "");
        let mut value = fill(&self.change.python, "");
        let each = if self.by_index() {
            format!("for i, x in enumerate({over})")
        } else {
            format!("for x in {over}")
        };
        let print = |[result, nothing]: [&str; 2]| match self.default {
            Some(default) if self.finish.needs_default => {
                format!("print({} if {nothing} else {result})", literal(default))
            }
            _ => format!("print({result})"),
        };
        let mut functions = Vec::new();
        if style == "function" {
            if !condition.is_empty() && !self.by_index() {
                functions.push(format!("def keep(x):\n    return {condition}\n\n"));
                "keep(x)".clone_into(&mut condition);
            }
            if value != "x" {
                functions.push(format!("def change(x):\n    return {value}\n\n"));
                "change(x)".clone_into(&mut value);
            }
        }
        let functions: String = functions.concat();
        if style == "list" && !self.finish.python[2].is_empty() {
            return format!(
                "@READ@\nb = [{value} if {condition} else x {each}]\nprint(\"\".join(b))"
            );
        }
        if (style == "list" || style == "function") && !self.finish.list.is_empty() {
            let tail = if condition.is_empty() {
                String::new()
            } else {
                format!(" if {condition}")
            };
            return format!(
                "{functions}@READ@\nb = [{value} {each}{tail}]\n{}",
                print([self.finish.list, "not b"])
            );
        }
        let [before, chosen, other] = self.finish.python.map(|code| fill(code, &value));
        let body = if condition.is_empty() {
            chosen
        } else if other.is_empty() {
            format!("if {condition}:\n{}", indent(&chosen))
        } else {
            format!(
                "if {condition}:\n{}\nelse:\n{}",
                indent(&chosen),
                indent(&other)
            )
        };
        let head = if index {
            let end = if self.skip_last { " - 1" } else { "" };
            let start = if self.skip_first { "1, " } else { "" };
            format!("for i in range({start}len({over}){end})")
        } else {
            each
        };
        let after = print(self.finish.python_result);
        format!(
            "{functions}@READ@\n{before}\n{head}:\n{}\n{after}",
            indent(&body)
        )
    }

    /// Adds composition, constants, answer, programs and mistakes to a draft.
    pub(super) fn finish(
        self,
        mut draft: Draft,
        items: fn(&str) -> Vec<String>,
        mistakes: Vec<(&'static str, Self)>,
        draw: &mut Draw,
    ) -> Draft {
        let composition = format!(
            "{}>{}>{}",
            self.keep.name, self.change.name, self.finish.name
        );
        draft = draft.made_of(&composition);
        if let Some(constant) = &self.keep.constant {
            draft = draft.constant("KEEP", constant);
        }
        if let Some(default) = self.default {
            draft = draft.constant("NOTHING", default);
        }
        let mut styles = vec!["loop", "index", "cpp-loop", "cpp-index"];
        if self.by_index() {
            // Both loops over indices would be the same.
            styles.retain(|style| *style != "cpp-loop");
        }
        if !self.finish.list.is_empty() || !self.finish.python[2].is_empty() {
            styles.push("list");
        }
        if draw.percent(40) {
            styles.push("function");
        }
        for style in &styles {
            let source = self.render(style);
            if draft
                .programs
                .iter()
                .any(|program| program.source == source)
            {
                continue;
            }
            draft = if style.starts_with("cpp") {
                draft.cpp(style, &source)
            } else {
                draft.python(style, &source)
            };
        }
        let mut all = mistakes;
        let off = "off by one";
        all.push((
            off,
            Self {
                skip_first: true,
                ..self.clone()
            },
        ));
        all.push((
            off,
            Self {
                skip_last: true,
                ..self.clone()
            },
        ));
        if self.default.is_some() {
            all.push((
                "forgot the empty case",
                Self {
                    default: None,
                    ..self.clone()
                },
            ));
        }
        for (kind, wrong) in all {
            for language in [Language::Python3, Language::Cpp] {
                if language == Language::Cpp && draw.percent(50) {
                    continue;
                }
                let skips = wrong.skip_first || wrong.skip_last;
                let fits = draft.programs.iter().filter(|program| {
                    program.language == language && (!skips || program.style.ends_with("index"))
                });
                let fits: Vec<_> = fits.map(|program| program.style.clone()).collect();
                if fits.is_empty() {
                    continue;
                }
                let style = &fits[draw.index(fits.len())];
                let (right, source) = (self.render(style), wrong.render(style));
                let brittle = self.default.is_none() && self.finish.crashes(style);
                if right != source && !(brittle && wrong.keep.words != self.keep.words) {
                    let model = wrong.clone();
                    let forgotten = kind == "forgot the empty case";
                    let claim = if forgotten && model.finish.crashes(style) {
                        Claim::RuntimeError
                    } else {
                        Claim::WrongAnswer
                    };
                    let model = move |input: &str| model.of(&items(input));
                    draft = draft.wrong(
                        style,
                        kind,
                        claim,
                        &[(&right, &source)],
                        Some(Box::new(model)),
                    );
                }
            }
        }
        if draft
            .programs
            .iter()
            .any(|program| program.style == "index")
            && !self.by_index()
            && !self.keep.python.is_empty()
        {
            let (from, to) = (
                format!("len({})", self.over),
                format!("len({}) + 1", self.over),
            );
            let breaks = self.finish.python[1].contains("break");
            if !breaks {
                draft = draft.crash(
                    "index",
                    "index out of range",
                    &format!("in range({from})"),
                    &format!("in range({to})"),
                );
            }
        }
        draft.answer(move |input| self.of(&items(input)))
    }
}

impl Keep {
    pub(super) fn new(
        name: &'static str,
        words: impl Into<String>,
        python: impl Into<String>,
        cpp: impl Into<String>,
        keeps: impl Fn(&str, usize) -> bool + 'static,
    ) -> Self {
        let (words, python, cpp) = (words.into(), python.into(), cpp.into());
        Self {
            name,
            words,
            python,
            cpp,
            keeps: Rc::new(keeps),
            constant: None,
        }
    }

    /// With its constants.
    pub(super) fn about(mut self, constant: impl ToString) -> Self {
        self.constant = Some(constant.to_string());
        self
    }
}

impl Change {
    pub(super) fn new(
        name: &'static str,
        words: impl Into<String>,
        python: impl Into<String>,
        cpp: impl Into<String>,
        change: impl Fn(&str) -> String + 'static,
    ) -> Self {
        let (words, python, cpp) = (words.into(), python.into(), cpp.into());
        Self {
            name,
            words,
            python,
            cpp,
            new: Rc::new(change),
        }
    }

    /// Nothing is changed.
    pub(super) fn none() -> Self {
        Self::new("same", "", "#", "#", str::to_owned)
    }
}

/// The new values of the chosen items; `None` if there are none.
pub(super) fn chosen(items: &Items) -> Option<Vec<&str>> {
    let all: Vec<_> = items.iter().filter_map(|(_, new)| new.as_deref()).collect();
    (!all.is_empty()).then_some(all)
}

impl Finish {
    /// Without a default, this style ends with an error if nothing is chosen.
    fn crashes(&self, style: &str) -> bool {
        let list = (style == "list" || style == "function") && !self.list.is_empty();
        list && (self.list == "b[0]"
            || self.list == "b[-1]"
            || self.list.starts_with("min(")
            || self.list.starts_with("max("))
    }
}
