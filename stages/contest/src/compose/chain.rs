//! Composed problems about one or two numbers: two or three steps, one after the other.
//!
//! The steps are the changes of `parts.rs`.

use super::parts::{DIGIT_SUM, Map};
use crate::draw::Draw;
use crate::family::{Draft, Family, composed};
use crate::reader::Reader;
use crate::shape::{Shape, number};
use crate::{Claim, Language};

pub(super) const FAMILIES: &[Family] = &[composed("number-in-steps", number_in_steps)];

/// How two numbers become one.
#[derive(Clone, Copy, PartialEq)]
enum Join {
    /// There is one number only.
    One,
    Plus,
    Minus,
    Times,
    Distance,
    Max,
    Min,
}

impl Join {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Plus => "plus",
            Self::Minus => "minus",
            Self::Times => "times",
            Self::Distance => "distance",
            Self::Max => "max",
            Self::Min => "min",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::One => "take the number n",
            Self::Plus => "add p and q",
            Self::Minus => "subtract q from p",
            Self::Times => "multiply p by q",
            Self::Distance => "take the absolute difference of p and q",
            Self::Max => "take the larger one of p and q",
            Self::Min => "take the smaller one of p and q",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::One => "n",
            Self::Plus => "p + q",
            Self::Minus => "p - q",
            Self::Times => "p * q",
            Self::Distance => "abs(p - q)",
            Self::Max => "max(p, q)",
            Self::Min => "min(p, q)",
        }
    }

    fn mistakes(self) -> Vec<Self> {
        match self {
            Self::One => Vec::new(),
            Self::Plus => vec![Self::Times],
            Self::Times => vec![Self::Plus],
            Self::Minus => vec![Self::Plus, Self::Distance],
            Self::Distance => vec![Self::Minus],
            Self::Max => vec![Self::Min],
            Self::Min => vec![Self::Max],
        }
    }
}

#[derive(Clone, PartialEq)]
struct Chain {
    join: Join,
    steps: Vec<Map>,
    signed: bool,
}

impl Chain {
    fn draw(draw: &mut Draw) -> Self {
        loop {
            let join = if draw.percent(50) {
                Join::One
            } else {
                draw.one(&[
                    Join::Plus,
                    Join::Minus,
                    Join::Times,
                    Join::Distance,
                    Join::Max,
                    Join::Min,
                ])
            };
            let count = if join == Join::One {
                draw.range(2, 3)
            } else {
                draw.range(1, 2)
            };
            let steps: Vec<_> = (0..count).map(|_| Map::draw(draw)).collect();
            let chain = Self {
                join,
                steps,
                signed: draw.percent(35),
            };
            let squares = chain
                .steps
                .iter()
                .filter(|step| **step == Map::Square)
                .count();
            let names: std::collections::BTreeSet<_> =
                chain.steps.iter().map(|step| step.name()).collect();
            let sensible = squares < 2
                && names.len() == chain.steps.len()
                && !chain.steps.contains(&Map::Same);
            if sensible && chain.well_defined() && chain.every_step_matters() {
                return chain;
            }
        }
    }

    /// No negative number is divided, and no absolute value is taken in vain.
    fn well_defined(&self) -> bool {
        let mut natural = self.join == Join::Distance || !self.signed && self.join != Join::Minus;
        for step in &self.steps {
            if step.needs_natural() && !natural || step.needs_signed() && natural {
                return false;
            }
            natural = match step {
                Map::Minus(_) | Map::From(_) => false,
                Map::Square | Map::Abs | Map::Distance(_) | Map::AtLeast(_) => true,
                _ => natural,
            };
        }
        true
    }

    fn every_step_matters(&self) -> bool {
        let inputs: Vec<(i64, i64)> = (0..40)
            .map(|x| (x * 7 % 41 - i64::from(self.signed) * 20, x * 11 % 37))
            .collect();
        let results: std::collections::BTreeSet<_> =
            inputs.iter().map(|(p, q)| self.apply(*p, *q)).collect();
        let without = |at: usize| {
            let mut steps = self.steps.clone();
            steps.remove(at);
            let other = Self {
                steps,
                ..self.clone()
            };
            !other.well_defined()
                || inputs
                    .iter()
                    .filter(|(p, q)| other.apply(*p, *q) != self.apply(*p, *q))
                    .count()
                    > 3
        };
        results.len() >= 4 && (0..self.steps.len()).all(without)
    }

    fn apply(&self, p: i64, q: i64) -> i64 {
        let start = match self.join {
            Join::One => p,
            Join::Plus => p + q,
            Join::Minus => p - q,
            Join::Times => p * q,
            Join::Distance => (p - q).abs(),
            Join::Max => p.max(q),
            Join::Min => p.min(q),
        };
        self.steps.iter().fold(start, |x, step| step.apply(x))
    }

    fn of(&self, input: &str) -> String {
        let mut reader = Reader::new(input);
        let p = reader.int();
        let q = if self.join == Join::One {
            0
        } else {
            reader.int()
        };
        self.apply(p, q).to_string()
    }

    fn name(&self) -> String {
        let steps: Vec<_> = self.steps.iter().map(|step| step.name()).collect();
        format!("{}>{}", self.join.name(), steps.join(">"))
    }

    fn render(&self, style: &str) -> String {
        let one = self.join == Join::One;
        let x = if one { "n" } else { "x" };
        let start = self.join.code();
        let steps = self.steps.iter().filter(|step| **step != Map::Same);
        match style {
            "steps" => {
                let mut lines = vec!["@READ@".to_owned()];
                if !one {
                    lines.push(format!("x = {start}"));
                }
                lines.extend(steps.map(|step| format!("{x} = {}", step.python(x))));
                lines.push(format!("print({x})"));
                lines.join("\n")
            }
            "nested" => format!("@READ@\nprint({})", self.nested(self.steps.len())),
            "function" => {
                let names = if one { "n" } else { "p, q" };
                let mut lines = vec![format!("def f({names}):\n    x = {start}")];
                lines.extend(steps.map(|step| format!("    x = {}", step.python("x"))));
                // The last step is what the function returns.
                let last = lines.pop().unwrap_or_default();
                lines.push(match last.strip_prefix("    x = ") {
                    Some(value) => format!("    return {value}"),
                    None => format!("{last}\n    return x"),
                });
                format!("{}\n\n@READ@\nprint(f({names}))", lines.join("\n"))
            }
            "cpp-steps" | "cpp-names" => {
                let mut lines = vec![format!("@READ@\nlong long x = {start};")];
                let mut last = "x".to_owned();
                for (at, step) in steps.enumerate() {
                    let value = step.cpp(&last, "LL");
                    if style == "cpp-names" {
                        last = format!("y{}", at + 1);
                        lines.push(format!("long long {last} = {value};"));
                    } else {
                        lines.push(format!("x = {value};"));
                    }
                }
                let functions = if self.steps.contains(&Map::DigitSum) {
                    DIGIT_SUM
                } else {
                    ""
                };
                let lines = lines.join("\n");
                format!("{functions}{lines}\ncout << {last} << endl;")
            }
            _ => unreachable!("no style {style}"),
        }
    }

    /// The first steps as one Python expression.
    fn nested(&self, many: usize) -> String {
        let mut all = self.join.code().to_owned();
        let mut atomic = !matches!(self.join, Join::Plus | Join::Minus | Join::Times);
        for step in self.steps[..many].iter().filter(|step| **step != Map::Same) {
            let call = matches!(
                step,
                Map::Abs | Map::DigitSum | Map::AtLeast(_) | Map::AtMost(_)
            );
            if !atomic && !call {
                all = format!("({all})");
            }
            all = match step {
                Map::Square => format!("{all} ** 2"),
                _ => step.python(&all),
            };
            atomic = call || matches!(step, Map::Distance(_));
        }
        all
    }

    fn mistakes(&self) -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        for join in self.join.mistakes() {
            all.push((
                "wrong operator",
                Self {
                    join,
                    ..self.clone()
                },
            ));
        }
        for at in 0..self.steps.len() {
            for (kind, map) in self.steps[at].mistakes() {
                let mut steps = self.steps.clone();
                steps[at] = map;
                all.push((
                    kind,
                    Self {
                        steps,
                        ..self.clone()
                    },
                ));
            }
            if let Some(constant) = self.steps[at].constant() {
                let other = match self.steps[at] {
                    Map::Plus(_) => Some(Map::Plus(constant + 1)),
                    Map::Times(_) => Some(Map::Times(constant + 1)),
                    Map::Mod(_) => Some(Map::Mod(constant + 1)),
                    _ => None,
                };
                if let Some(other) = other {
                    let mut steps = self.steps.clone();
                    steps[at] = other;
                    all.push((
                        "wrong constant",
                        Self {
                            steps,
                            ..self.clone()
                        },
                    ));
                }
            }
            if at > 0 {
                let mut steps = self.steps.clone();
                steps.swap(at - 1, at);
                all.push((
                    "wrong order of steps",
                    Self {
                        steps,
                        ..self.clone()
                    },
                ));
            }
        }
        all.retain(|(_, chain)| chain.well_defined());
        all
    }
}

/// A missing pair of brackets: the last operation binds to a part of what it should.
fn without_brackets(chain: &Chain) -> Option<(String, String)> {
    let [.., before, last] = chain.steps[..] else {
        return None;
    };
    let weak = matches!(before, Map::Plus(_) | Map::Minus(_));
    let (Map::Times(_) | Map::Mod(_) | Map::Div(_)) = last else {
        return None;
    };
    if !weak || chain.steps.len() != 2 {
        return None;
    }
    let first = chain.nested(1);
    Some((format!("({first})"), first))
}

fn number_in_steps(draw: &mut Draw) -> Draft {
    let chain = Chain::draw(draw);
    let one = chain.join == Join::One;
    let high = draw.one(&[100, 1000, 1000, 10_000]);
    let low = if chain.signed { -high } else { 0 };
    let shape = if one {
        Shape::int("n", low, high)
    } else {
        Shape::Ints(vec![number("p", low, high), number("q", low, high)])
    };
    let mut draft = Draft::new(shape, &["math", "implementation"], 1).made_of(&chain.name());
    for (at, step) in chain.steps.iter().enumerate() {
        if let Some(constant) = step.constant() {
            draft = draft.constant(&format!("STEP{}", at + 1), constant);
        }
    }
    draft = draft.constant("HIGH", high);
    let steps: Vec<_> = chain
        .steps
        .iter()
        .map(|step| step.instruction("the result"))
        .collect();
    let then = steps.join(". Then ");
    let first = chain.join.words();
    let numbered: Vec<_> = std::iter::once(first.to_owned())
        .chain(steps.iter().cloned())
        .enumerate()
        .map(|(at, step)| format!("{}) {step}", at + 1))
        .collect();
    let given = if one {
        "a number n"
    } else {
        "two numbers p and q"
    };
    let right = chain.clone();
    draft = draft
        .story(&format!(
            "@NAME@ thinks of {given}. First {first}. Then {then}."
        ))
        .story(&format!(
            "A machine gets {given} and works in steps: {}.",
            numbered.join("; ")
        ))
        .story(&format!(
            "Given {given}, do the following steps in this order: {}.",
            numbered.join("; ")
        ))
        .asks("the final result")
        .asks("the number after the last step")
        .answer(move |input| right.of(input));
    for style in ["steps", "nested", "function"] {
        draft = draft.python(style, &chain.render(style));
    }
    for style in ["cpp-steps", "cpp-names"] {
        draft = draft.cpp(style, &chain.render(style));
    }
    for (kind, wrong) in chain.mistakes() {
        for language in [Language::Python3, Language::Cpp] {
            if language == Language::Cpp && draw.percent(50) {
                continue;
            }
            let style = match language {
                Language::Python3 => draw.one(&["steps", "nested", "function"]),
                Language::Cpp => draw.one(&["cpp-steps", "cpp-names"]),
            };
            let (from, to) = (chain.render(style), wrong.render(style));
            if from != to {
                let model = wrong.clone();
                draft = draft.wrong(
                    style,
                    kind,
                    Claim::WrongAnswer,
                    &[(&from, &to)],
                    Some(Box::new(move |input| model.of(input))),
                );
            }
        }
    }
    if let Some((from, to)) = without_brackets(&chain) {
        draft = draft.bug("nested", "forgot the brackets", &from, &to);
    }
    if !one {
        draft = draft.crash(
            "steps",
            "reads two numbers as one",
            "@READ@\n",
            "p = int(input())\nq = int(input())\n",
        );
    }
    overflow(draft, &chain, high)
}

/// `int` in place of `long long`, where the largest input shows it.
fn overflow(draft: Draft, chain: &Chain, high: i64) -> Draft {
    let largest = chain.apply(high, high);
    let growing = chain
        .steps
        .iter()
        .all(|step| matches!(step, Map::Square | Map::Times(_) | Map::Plus(_)));
    let joined = matches!(chain.join, Join::One | Join::Plus | Join::Times);
    if largest > i64::from(i32::MAX)
        && growing
        && joined
        && largest < 1 << 40
        && i64::from(largest as i32) != largest
    {
        let from = chain.render("cpp-steps");
        let to = from.replace("long long x = ", "int x = ");
        let input = if chain.join == Join::One {
            format!("{high}")
        } else {
            format!("{high} {high}")
        };
        return draft
            .must(input)
            .bug("cpp-steps", "integer overflow", &from, &to);
    }
    draft
}
