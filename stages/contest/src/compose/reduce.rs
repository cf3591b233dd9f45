//! The parts that end a composed problem: from the numbers that are left to one answer.
//!
//! A [`Reduce`] with its value for the empty case is an [`Ending`]. Each is written in two
//! ways per language: step by step within a loop ([`Steps`]), or from a finished list.

use std::collections::BTreeSet;

use crate::draw::Draw;

/// What is asked of the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reduce {
    Sum,
    Count,
    Max,
    /// Starts from 0, as if no maximum were negative: only an error.
    MaxFromZero,
    Min,
    /// Starts from 0, as if no minimum were positive: only an error.
    MinFromZero,
    First,
    Last,
    Distinct,
    Spread,
    Xor,
    Average,
}

/// A reduction, and what to print where no number is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) reduce: Reduce,
    /// `None` where it cannot happen, or where the reduction of nothing is 0.
    pub(super) default: Option<&'static str>,
}

/// A reduction within a loop.
pub(super) struct Steps {
    /// Lines before the loop.
    pub(super) before: String,
    /// Lines within the loop.
    pub(super) within: String,
    /// Lines after the loop.
    pub(super) after: String,
}

impl Reduce {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        draw.one(&[
            Self::Sum,
            Self::Sum,
            Self::Count,
            Self::Max,
            Self::Min,
            Self::First,
            Self::Last,
            Self::Distinct,
            Self::Spread,
            Self::Xor,
            Self::Average,
        ])
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Max | Self::MaxFromZero => "max",
            Self::Min | Self::MinFromZero => "min",
            Self::First => "first",
            Self::Last => "last",
            Self::Distinct => "distinct",
            Self::Spread => "spread",
            Self::Xor => "xor",
            Self::Average => "average",
        }
    }

    /// What is asked, before "of ..." or "among ...".
    pub(super) fn words(self, of: &str) -> String {
        match self {
            Self::Sum => format!("the sum of {of}"),
            Self::Count => format!("the count of {of}"),
            Self::Max | Self::MaxFromZero => format!("the maximum of {of}"),
            Self::Min | Self::MinFromZero => format!("the minimum of {of}"),
            Self::First => format!("the first of {of}"),
            Self::Last => format!("the last of {of}"),
            Self::Distinct => format!("the number of different values among {of}"),
            Self::Spread => format!("the maximum minus the minimum of {of}"),
            Self::Xor => format!("the bitwise xor of {of}"),
            Self::Average => format!("the average, rounded down, of {of}"),
        }
    }

    /// The reduction of nothing is not 0.
    pub(super) fn needs_default(self) -> bool {
        !matches!(self, Self::Sum | Self::Count | Self::Distinct | Self::Xor)
    }

    fn of(self, values: &[i64]) -> Option<i64> {
        let max = values.iter().max().copied();
        let min = values.iter().min().copied();
        let sum: i64 = values.iter().sum();
        match self {
            Self::Sum => Some(sum),
            Self::Count => Some(values.len() as i64),
            Self::Max => max,
            Self::MaxFromZero => Some(max.unwrap_or(0).max(0)),
            Self::Min => min,
            Self::MinFromZero => Some(min.unwrap_or(0).min(0)),
            Self::First => values.first().copied(),
            Self::Last => values.last().copied(),
            Self::Distinct => Some(values.iter().collect::<BTreeSet<_>>().len() as i64),
            Self::Spread => Some(max? - min?),
            Self::Xor => Some(values.iter().fold(0, |all, x| all ^ x)),
            Self::Average => (!values.is_empty()).then(|| sum.div_euclid(values.len() as i64)),
        }
    }

    /// What is written in its place by mistake.
    pub(super) fn mistakes(self) -> Vec<(&'static str, Self)> {
        match self {
            Self::Sum => vec![("counts instead of adding", Self::Count)],
            Self::Count => vec![("adds instead of counting", Self::Sum)],
            Self::Max => vec![
                ("takes the minimum", Self::Min),
                ("wrong initial value", Self::MaxFromZero),
            ],
            Self::Min => vec![
                ("takes the maximum", Self::Max),
                ("wrong initial value", Self::MinFromZero),
            ],
            Self::First => vec![("takes the last", Self::Last)],
            Self::Last => vec![("takes the first", Self::First)],
            Self::Distinct => vec![("counts repeated values", Self::Count)],
            Self::Spread => vec![("forgot the minimum", Self::Max)],
            Self::Xor => vec![("wrong operator", Self::Sum)],
            Self::Average => vec![("forgot to divide", Self::Sum)],
            Self::MaxFromZero | Self::MinFromZero => Vec::new(),
        }
    }

    /// Only a loop makes this mistake.
    pub(super) fn loop_only(self) -> bool {
        matches!(self, Self::MaxFromZero | Self::MinFromZero)
    }
}

/// A default as a literal: numbers as they are, words in quotes.
pub(super) fn literal(default: &str) -> String {
    if default.parse::<i64>().is_ok() {
        default.to_owned()
    } else {
        format!("\"{default}\"")
    }
}

/// One of the answers that people give for "nothing".
pub(super) fn draw_default(draw: &mut Draw) -> &'static str {
    draw.one(&["-1", "-1", "0", "EMPTY", "NONE", "none", "NO"])
}

impl Ending {
    /// Draws one; `may_be_empty` where it may have to deal with nothing.
    pub(super) fn draw(reduce: Reduce, may_be_empty: bool, draw: &mut Draw) -> Self {
        let default = (may_be_empty && reduce.needs_default()).then(|| draw_default(draw));
        Self { reduce, default }
    }

    /// The same with another reduction, as a mistaken writer has it.
    pub(super) fn with(self, reduce: Reduce) -> Self {
        let default = if reduce.loop_only() {
            None
        } else {
            self.default
        };
        Self { reduce, default }
    }

    /// The end of the sentence about the output.
    pub(super) fn clause(self, nothing: &str) -> String {
        self.default.map_or_else(String::new, |default| {
            format!(", or {default} if {nothing}")
        })
    }

    /// The right output.
    pub(super) fn of(self, values: &[i64]) -> String {
        match self.default {
            Some(default) if values.is_empty() => default.to_owned(),
            _ => self
                .reduce
                .of(values)
                .map_or_else(|| "crash".to_owned(), |value| value.to_string()),
        }
    }

    /// Lines that print the answer for the list `b`.
    pub(super) fn python_list(self, b: &str) -> String {
        let expression = match self.reduce {
            Reduce::Sum => format!("sum({b})"),
            Reduce::Count => format!("len({b})"),
            Reduce::Max | Reduce::MaxFromZero => format!("max({b})"),
            Reduce::Min | Reduce::MinFromZero => format!("min({b})"),
            Reduce::First => format!("{b}[0]"),
            Reduce::Last => format!("{b}[-1]"),
            Reduce::Distinct => format!("len(set({b}))"),
            Reduce::Spread => format!("max({b}) - min({b})"),
            Reduce::Average => format!("sum({b}) // len({b})"),
            Reduce::Xor => return format!("ans = 0\nfor y in {b}:\n    ans ^= y\nprint(ans)"),
        };
        match self.default {
            Some(default) => format!("print({expression} if {b} else {})", literal(default)),
            None => format!("print({expression})"),
        }
    }

    /// The same within a loop, for the value `y`.
    pub(super) fn python_steps(self, y: &str) -> Steps {
        let (held, line) = hold(y, "y = ");
        let printed = |answer: &str, nothing: &str| match self.default {
            Some(default) => format!("print({} if {nothing} else {answer})", literal(default)),
            None => format!("print({answer})"),
        };
        let extreme =
            |sign: &str| format!("{line}if best is None or {held} {sign} best:\n    best = {held}");
        let from_zero = |sign: &str| format!("{line}if {held} {sign} best:\n    best = {held}");
        let default = literal(self.default.unwrap_or("0"));
        let (before, within, after) = match self.reduce {
            Reduce::Sum => (
                "ans = 0".to_owned(),
                format!("ans += {y}"),
                "print(ans)".to_owned(),
            ),
            Reduce::Count => (
                "ans = 0".to_owned(),
                "ans += 1".to_owned(),
                "print(ans)".to_owned(),
            ),
            Reduce::Xor => (
                "ans = 0".to_owned(),
                format!("ans ^= {}", bracketed(y)),
                "print(ans)".to_owned(),
            ),
            Reduce::Max => (
                "best = None".to_owned(),
                extreme(">"),
                printed("best", "best is None"),
            ),
            Reduce::Min => (
                "best = None".to_owned(),
                extreme("<"),
                printed("best", "best is None"),
            ),
            Reduce::MaxFromZero => (
                "best = 0".to_owned(),
                from_zero(">"),
                "print(best)".to_owned(),
            ),
            Reduce::MinFromZero => (
                "best = 0".to_owned(),
                from_zero("<"),
                "print(best)".to_owned(),
            ),
            Reduce::First => (
                format!("ans = {default}"),
                format!("ans = {y}\nbreak"),
                "print(ans)".to_owned(),
            ),
            Reduce::Last => (
                format!("ans = {default}"),
                format!("ans = {y}"),
                "print(ans)".to_owned(),
            ),
            Reduce::Distinct => (
                "seen = set()".to_owned(),
                format!("seen.add({y})"),
                "print(len(seen))".to_owned(),
            ),
            Reduce::Spread => (
                "lo = None\nhi = None".to_owned(),
                format!(
                    "{line}if lo is None or {held} < lo:\n    lo = {held}\nif hi is None or {held} > hi:\n    hi = {held}"
                ),
                printed("hi - lo", "lo is None"),
            ),
            Reduce::Average => (
                "ans = 0\ncnt = 0".to_owned(),
                format!("ans += {y}\ncnt += 1"),
                printed("ans // cnt", "cnt == 0"),
            ),
        };
        Steps {
            before,
            within,
            after,
        }
    }

    /// C++ lines that print the answer for the vector `b` of `kind`.
    pub(super) fn cpp_list(self, b: &str, kind: &str) -> String {
        let zero = if kind == "int" { "0" } else { "0LL" };
        let all = format!("{b}.begin(), {b}.end()");
        let expression = match self.reduce {
            Reduce::Sum => format!("accumulate({all}, {zero})"),
            Reduce::Count => format!("{b}.size()"),
            Reduce::Max | Reduce::MaxFromZero => format!("*max_element({all})"),
            Reduce::Min | Reduce::MinFromZero => format!("*min_element({all})"),
            Reduce::First => format!("{b}[0]"),
            Reduce::Last => format!("{b}.back()"),
            Reduce::Distinct => format!("set<{kind}>({all}).size()"),
            Reduce::Spread => format!("*max_element({all}) - *min_element({all})"),
            Reduce::Average => format!("accumulate({all}, {zero}) / ({kind}){b}.size()"),
            Reduce::Xor => {
                return format!(
                    "{kind} ans = 0;\nfor ({kind} y : {b}) ans ^= y;\ncout << ans << endl;"
                );
            }
        };
        cpp_print(&expression, &format!("{b}.empty()"), self.default)
    }

    /// The same within a loop, for the value `y`.
    pub(super) fn cpp_steps(self, y: &str, kind: &str) -> Steps {
        let (held, line) = hold(y, &format!("{kind} y = "));
        let line = line.replace('\n', ";\n");
        let zero = format!("{kind} ans = 0;");
        let plain = "cout << ans << endl;".to_owned();
        let printed = |answer: &str, nothing: &str| cpp_print(answer, nothing, self.default);
        let flag = if self.default.is_some() {
            "\nbool found = false;"
        } else {
            ""
        };
        let raise = if self.default.is_some() {
            "\nfound = true;"
        } else {
            ""
        };
        let extreme = |sign: &str| {
            format!(
                "{line}if (!found || {held} {sign} best) best = {};\nfound = true;",
                &held
            )
        };
        let from_zero = |sign: &str| format!("{line}if ({held} {sign} best) best = {held};");
        let best = format!("{kind} best = 0;");
        let found = format!("{best}\nbool found = false;");
        let best_out = "cout << best << endl;".to_owned();
        let (before, within, after) = match self.reduce {
            Reduce::Sum => (zero, format!("ans += {y};"), plain),
            Reduce::Count => ("int ans = 0;".to_owned(), "ans++;".to_owned(), plain),
            Reduce::Xor => (zero, format!("ans ^= {};", bracketed(y)), plain),
            Reduce::Max => (found, extreme(">"), printed("best", "!found")),
            Reduce::Min => (found, extreme("<"), printed("best", "!found")),
            Reduce::MaxFromZero => (best, from_zero(">"), best_out),
            Reduce::MinFromZero => (best, from_zero("<"), best_out),
            Reduce::First => (
                zero + flag,
                format!("ans = {y};{raise}\nbreak;"),
                printed("ans", "!found"),
            ),
            Reduce::Last => (
                zero + flag,
                format!("ans = {y};{raise}"),
                printed("ans", "!found"),
            ),
            Reduce::Distinct => (
                format!("set<{kind}> seen;"),
                format!("seen.insert({y});"),
                "cout << seen.size() << endl;".to_owned(),
            ),
            Reduce::Spread => (
                format!("{kind} lo = 0, hi = 0;\nbool found = false;"),
                format!(
                    "{line}if (!found || {held} < lo) lo = {held};\nif (!found || {held} > hi) hi = {held};\nfound = true;"
                ),
                printed("hi - lo", "!found"),
            ),
            Reduce::Average => (
                format!("{kind} ans = 0, cnt = 0;"),
                format!("ans += {y};\ncnt++;"),
                printed("ans / cnt", "cnt == 0"),
            ),
        };
        Steps {
            before,
            within,
            after,
        }
    }
}

/// A value under a name, and the line that names it; a name stays as it is.
fn hold(value: &str, assign: &str) -> (String, String) {
    if simple(value) {
        (value.to_owned(), String::new())
    } else {
        ("y".to_owned(), format!("{assign}{value}\n"))
    }
}

fn simple(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn bracketed(value: &str) -> String {
    if simple(value) || !value.contains(' ') {
        value.to_owned()
    } else {
        format!("({value})")
    }
}

/// Prints `answer`, or the default under the condition `nothing`.
pub(super) fn cpp_print(answer: &str, nothing: &str, default: Option<&str>) -> String {
    match default {
        Some(default) => format!(
            "if ({nothing}) cout << {} << endl;\nelse cout << {answer} << endl;",
            literal(default)
        ),
        None => format!("cout << {answer} << endl;"),
    }
}

/// Indents every line by four spaces.
pub(super) fn indent(lines: &str) -> String {
    let all: Vec<_> = lines.lines().map(|line| format!("    {line}")).collect();
    all.join("\n")
}
