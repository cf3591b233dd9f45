//! Composed problems about two lists: choose positions, combine a_i and b_i, finish.
//!
//! The ends are those of the problems about one list (`end.rs`).

use super::end::{End, Order};
use super::reduce::{Ending, Reduce, draw_default, indent};
use crate::draw::Draw;
use crate::family::{Draft, Family, composed};
use crate::reader::Reader;
use crate::shape::Shape;
use crate::{Claim, tests};

pub(super) const FAMILIES: &[Family] = &[composed("two-lists-combine", two_lists_combine)];

/// Which positions are looked at.
#[derive(Clone, Copy, PartialEq)]
enum Choose {
    All,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    Different,
    EvenSum,
    OddSum,
    SumAbove(i64),
    SumAtLeast(i64),
    BothAbove(i64),
    OneAbove(i64),
}

impl Choose {
    fn draw(draw: &mut Draw) -> Self {
        match draw.range(0, 12) {
            0..=2 => Self::All,
            3 => Self::Less,
            4 => Self::AtMost,
            5 => Self::Greater,
            6 => Self::AtLeast,
            7 => Self::Different,
            8 => Self::EvenSum,
            9 => Self::OddSum,
            10 => Self::SumAbove(draw.range(5, 40)),
            11 => Self::BothAbove(draw.range(1, 8)),
            _ => Self::OneAbove(draw.range(5, 20)),
        }
    }

    /// Name, words, condition.
    fn parts(self, x: &str, y: &str) -> (&'static str, String, String) {
        let (name, words, code) = match self {
            Self::All => return ("all", "all positions i".to_owned(), String::new()),
            Self::Less => ("less", "a_i < b_i".to_owned(), format!("{x} < {y}")),
            Self::AtMost => ("at-most", "a_i <= b_i".to_owned(), format!("{x} <= {y}")),
            Self::Greater => ("greater", "a_i > b_i".to_owned(), format!("{x} > {y}")),
            Self::AtLeast => ("at-least", "a_i >= b_i".to_owned(), format!("{x} >= {y}")),
            Self::Equal => ("equal", "a_i = b_i".to_owned(), format!("{x} == {y}")),
            Self::Different => (
                "different",
                "a_i and b_i are different".to_owned(),
                format!("{x} != {y}"),
            ),
            Self::EvenSum => (
                "even-sum",
                "a_i + b_i is even".to_owned(),
                format!("({x} + {y}) % 2 == 0"),
            ),
            Self::OddSum => (
                "odd-sum",
                "a_i + b_i is odd".to_owned(),
                format!("({x} + {y}) % 2 != 0"),
            ),
            Self::SumAbove(k) => (
                "sum-above",
                format!("a_i + b_i > {k}"),
                format!("{x} + {y} > {k}"),
            ),
            Self::SumAtLeast(k) => (
                "sum-at-least",
                format!("a_i + b_i >= {k}"),
                format!("{x} + {y} >= {k}"),
            ),
            Self::BothAbove(k) => (
                "both-above",
                format!("a_i and b_i are both greater than {k}"),
                format!("{x} > {k} && {y} > {k}"),
            ),
            Self::OneAbove(k) => (
                "one-above",
                format!("a_i or b_i (or both) is greater than {k}"),
                format!("{x} > {k} || {y} > {k}"),
            ),
        };
        (name, format!("the positions i where {words}"), code)
    }

    fn constant(self) -> Option<i64> {
        match self {
            Self::SumAbove(k) | Self::SumAtLeast(k) | Self::BothAbove(k) | Self::OneAbove(k) => {
                Some(k)
            }
            _ => None,
        }
    }

    fn keeps(self, x: i64, y: i64) -> bool {
        match self {
            Self::All => true,
            Self::Less => x < y,
            Self::AtMost => x <= y,
            Self::Greater => x > y,
            Self::AtLeast => x >= y,
            Self::Equal => x == y,
            Self::Different => x != y,
            Self::EvenSum => (x + y) % 2 == 0,
            Self::OddSum => (x + y) % 2 != 0,
            Self::SumAbove(k) => x + y > k,
            Self::SumAtLeast(k) => x + y >= k,
            Self::BothAbove(k) => x > k && y > k,
            Self::OneAbove(k) => x > k || y > k,
        }
    }

    fn mistakes(self) -> Vec<Self> {
        match self {
            Self::All | Self::Equal | Self::SumAtLeast(_) => Vec::new(),
            Self::Less => vec![Self::AtMost, Self::Greater],
            Self::AtMost => vec![Self::Less, Self::AtLeast],
            Self::Greater => vec![Self::AtLeast, Self::Less],
            Self::AtLeast => vec![Self::Greater, Self::AtMost],
            Self::Different => vec![Self::Equal, Self::Less],
            Self::EvenSum => vec![Self::OddSum],
            Self::OddSum => vec![Self::EvenSum],
            Self::SumAbove(k) => vec![Self::SumAtLeast(k)],
            Self::BothAbove(k) => vec![Self::OneAbove(k), Self::SumAbove(k)],
            Self::OneAbove(k) => vec![Self::BothAbove(k), Self::SumAbove(k)],
        }
    }
}

/// What is made of a_i and b_i.
#[derive(Clone, Copy, PartialEq)]
enum Combine {
    Plus,
    Minus,
    Back,
    Times,
    Distance,
    Max,
    Min,
    Weighted(i64),
    First,
    Second,
}

impl Combine {
    fn draw(draw: &mut Draw) -> Self {
        let k = draw.range(2, 9);
        draw.one(&[
            Self::Plus,
            Self::Minus,
            Self::Back,
            Self::Times,
            Self::Distance,
            Self::Max,
            Self::Min,
            Self::Weighted(k),
            Self::Weighted(k),
            Self::First,
            Self::Second,
        ])
    }

    /// Name, words, value.
    fn parts(self, x: &str, y: &str) -> (&'static str, String, String) {
        let (name, words, code) = match self {
            Self::Plus => ("plus", "a_i + b_i", format!("{x} + {y}")),
            Self::Minus => ("minus", "a_i - b_i", format!("{x} - {y}")),
            Self::Back => ("back", "b_i - a_i", format!("{y} - {x}")),
            Self::Times => ("times", "a_i * b_i", format!("{x} * {y}")),
            Self::Distance => ("distance", "|a_i - b_i|", format!("abs({x} - {y})")),
            Self::Max => ("max", "max(a_i, b_i)", format!("max({x}, {y})")),
            Self::Min => ("min", "min(a_i, b_i)", format!("min({x}, {y})")),
            Self::Weighted(k) => {
                return (
                    "weighted",
                    format!("{k} * a_i + b_i"),
                    format!("{k} * {x} + {y}"),
                );
            }
            Self::First => ("first", "a_i", x.to_owned()),
            Self::Second => ("second", "b_i", y.to_owned()),
        };
        (name, words.to_owned(), code)
    }

    fn apply(self, x: i64, y: i64) -> i64 {
        match self {
            Self::Plus => x + y,
            Self::Minus => x - y,
            Self::Back => y - x,
            Self::Times => x * y,
            Self::Distance => (x - y).abs(),
            Self::Max => x.max(y),
            Self::Min => x.min(y),
            Self::Weighted(k) => k * x + y,
            Self::First => x,
            Self::Second => y,
        }
    }

    fn mistakes(self) -> Vec<(&'static str, Self)> {
        match self {
            Self::Plus => vec![
                ("wrong operator", Self::Minus),
                ("wrong operator", Self::Times),
            ],
            Self::Minus => vec![
                ("wrong order of operands", Self::Back),
                ("takes the distance", Self::Distance),
            ],
            Self::Back => vec![
                ("wrong order of operands", Self::Minus),
                ("takes the distance", Self::Distance),
            ],
            Self::Times => vec![("wrong operator", Self::Plus)],
            Self::Distance => vec![("forgot the absolute value", Self::Minus)],
            Self::Max => vec![
                ("takes the minimum", Self::Min),
                ("wrong variable", Self::First),
            ],
            Self::Min => vec![
                ("takes the maximum", Self::Max),
                ("wrong variable", Self::Second),
            ],
            Self::Weighted(_) => vec![("forgot the factor", Self::Plus)],
            Self::First => vec![("wrong variable", Self::Second)],
            Self::Second => vec![("wrong variable", Self::First)],
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Pairs {
    choose: Choose,
    combine: Combine,
    end: End,
    skip_first: bool,
    skip_last: bool,
}

impl Pairs {
    fn of(self, input: &str) -> String {
        let mut reader = Reader::new(input);
        let a = reader.list();
        let b = reader.ints(a.len() as i64);
        let end = a.len() - usize::from(self.skip_last);
        let all = a[..end].iter().zip(&b).skip(usize::from(self.skip_first));
        let kept = all.filter(|(x, y)| self.choose.keeps(**x, **y));
        self.end
            .of(kept.map(|(x, y)| self.combine.apply(*x, *y)).collect())
    }

    fn render(self, style: &str) -> String {
        let (x, y) = if style.ends_with("zip") {
            ("p", "q")
        } else {
            ("a[i]", "b[i]")
        };
        let (_, _, condition) = self.choose.parts(x, y);
        let (_, _, value) = self.combine.parts(x, y);
        let (first, last) = (
            i64::from(self.skip_first),
            if self.skip_last { " - 1" } else { "" },
        );
        let head = format!("for (int i = {first}; i < n{last}; i++)");
        if style.starts_with("cpp") {
            let vector = style == "cpp-vector";
            let steps = if vector {
                End::Print(Order::AsIs, None)
            } else {
                self.end
            };
            let steps = steps.cpp_steps(&value, "int");
            let after = if vector {
                self.end.cpp_list("int")
            } else {
                steps.after
            };
            let step = listed(&steps.within, &value);
            let body = if condition.is_empty() {
                step
            } else {
                format!("if ({condition}) {{\n{}\n}}", indent(&step))
            };
            let (before, after) = (listed(&steps.before, ""), listed(&after, ""));
            return format!(
                "@READ@\n{before}\n{head} {{\n{}\n}}\n{after}",
                indent(&body)
            );
        }
        let condition = condition.replace("&&", "and").replace("||", "or");
        let from = if self.skip_first { "1, " } else { "" };
        let each = if style.ends_with("zip") {
            "for p, q in zip(a, b)".to_owned()
        } else {
            format!("for i in range({from}n{last})")
        };
        if style.starts_with("list") {
            let tail = if condition.is_empty() {
                String::new()
            } else {
                format!(" if {condition}")
            };
            return format!(
                "@READ@\nc = [{value} {each}{tail}]\n{}",
                listed(&self.end.python_list(false), "")
            );
        }
        let steps = self.end.python_steps(&value);
        let step = listed(&steps.within, &value);
        let body = if condition.is_empty() {
            step
        } else {
            format!("if {condition}:\n{}", indent(&step))
        };
        let (before, after) = (listed(&steps.before, ""), listed(&steps.after, ""));
        format!("@READ@\n{before}\n{each}:\n{}\n{after}", indent(&body))
    }
}

/// The list that an end calls `b` is `c` here; `value` is not touched.
fn listed(code: &str, value: &str) -> String {
    let mark = "\u{0}";
    let marked = if value.is_empty() {
        code.to_owned()
    } else {
        code.replace(value, mark)
    };
    let mut new = String::new();
    let mut word = String::new();
    for character in marked.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || character == '_' {
            word.push(character);
        } else {
            new.push_str(if word == "b" { "c" } else { &word });
            word.clear();
            new.push(character);
        }
    }
    new.pop();
    new.replace(mark, value)
}

fn two_lists_combine(draw: &mut Draw) -> Draft {
    let choose = Choose::draw(draw);
    let combine = loop {
        let combine = Combine::draw(draw);
        let same = matches!(
            combine,
            Combine::First | Combine::Second | Combine::Max | Combine::Min | Combine::Distance
        );
        let compares = matches!(
            choose,
            Choose::Less | Choose::AtMost | Choose::Greater | Choose::AtLeast
        );
        let copies = choose == Choose::All && matches!(combine, Combine::First | Combine::Second);
        let redundant = compares && same && draw.percent(70);
        if !copies && !redundant {
            break combine;
        }
    };
    let signed = draw.percent(40);
    let default = (choose != Choose::All).then(|| draw_default(draw));
    let (end, name) = if draw.percent(30) {
        let k = draw.range(2, 4) as usize;
        let order = draw.one(&[
            Order::AsIs,
            Order::Reversed,
            Order::Sorted,
            Order::Descending,
            Order::Distinct,
            Order::First(k),
        ]);
        (End::Print(order, default), order.name())
    } else {
        let reduce = loop {
            let reduce = Reduce::draw(draw);
            let dull = match reduce {
                Reduce::Count | Reduce::First | Reduce::Last => choose == Choose::All,
                Reduce::Average => {
                    signed
                        || matches!(
                            combine,
                            Combine::Minus | Combine::Back | Combine::Distance | Combine::Plus
                        )
                }
                _ => false,
            };
            if !dull {
                break reduce;
            }
        };
        (
            End::Reduce(Ending::draw(reduce, choose != Choose::All, draw)),
            reduce.name(),
        )
    };
    // How many positions there are does not depend on the values.
    let counts = matches!(end, End::Reduce(ending) if ending.reduce == Reduce::Count);
    let combine = if counts { Combine::Plus } else { combine };
    let pairs = Pairs {
        choose,
        combine,
        end,
        skip_first: false,
        skip_last: false,
    };
    let ((choose_name, places, _), (combine_name, value, _)) =
        (choose.parts("x", "y"), combine.parts("x", "y"));
    let (goal, clause) = match end {
        End::Reduce(_) if counts => (
            format!("the number of {}", places.trim_start_matches("the ")),
            String::new(),
        ),
        End::Reduce(ending) => (
            ending
                .reduce
                .words(&format!("the values {value} over {places}")),
            ending.clause("there are none"),
        ),
        End::Print(order, default) => {
            let clause =
                default.map_or_else(String::new, |word| format!(", or {word} if there are none"));
            let goal = order.words(&format!("the values {value} over {places}"));
            (format!("{goal}, separated by spaces"), clause)
        }
    };
    let tags = ["implementation"];
    let low = if signed { -100 } else { 0 };
    let mut draft = Draft::new(
        Shape::TwoLists {
            n: 40,
            value: (low, 100),
        },
        &tags,
        1 + i64::from(choose != Choose::All),
    )
    .made_of(&format!("{choose_name}>{combine_name}>{name}"))
    .asks(&format!("{goal}{clause}"))
    .story(&format!(
        "Two lists a and b have n integers each. Look at {places}."
    ))
    .story("@NAME@ has two rows of n cards and compares them position by position.");
    if !counts {
        draft = draft
            .story(&format!("Given two lists a and b of n integers, take {places} and write down {value} for each of them."))
            .story(&format!("@NAME@ plays n rounds and gets a_i and b_i points in round i. Take {places} and compute {value} there."));
    }
    if let Some(k) = choose.constant() {
        draft = draft.constant("CHOOSE", k);
    }
    if let Combine::Weighted(k) = combine {
        draft = draft.constant("FACTOR", k);
    }
    match end {
        End::Reduce(Ending {
            default: Some(word),
            ..
        })
        | End::Print(_, Some(word)) => draft = draft.constant("NOTHING", word),
        _ => {}
    }
    if let End::Print(Order::First(k), _) = end {
        draft = draft.constant("MANY", k);
    }
    let mut styles = vec!["loop-index", "loop-zip", "cpp-loop"];
    styles.push(draw.one(&["list-zip", "list-index"]));
    if matches!(end, End::Reduce(_)) {
        styles.push("cpp-vector");
    }
    for style in &styles {
        let source = pairs.render(style);
        draft = if style.starts_with("cpp") {
            draft.cpp(style, &source)
        } else {
            draft.python(style, &source)
        };
    }
    let middle = choose.constant().unwrap_or(5);
    draft = draft
        .answer(move |input| pairs.of(input))
        .special(move |draw, size| {
            let n = tests::count(1, 12, size, draw);
            let mut line = || {
                let all: Vec<_> = (0..n)
                    .map(|_| (middle + draw.range(-3, 3)).max(low).to_string())
                    .collect();
                all.join(" ")
            };
            format!("{n}\n{}\n{}", line(), line())
        });
    for (kind, wrong) in mistakes(pairs) {
        for cpp in [false, true] {
            if cpp && draw.percent(50) {
                continue;
            }
            let skips = wrong.skip_first || wrong.skip_last;
            let loops = matches!(wrong.end, End::Reduce(ending) if ending.reduce.loop_only());
            let fits = |style: &&&str| {
                style.starts_with("cpp") == cpp
                    && (!skips || cpp || **style == "loop-index")
                    && (!loops || style.contains("loop"))
            };
            let fitting: Vec<_> = styles.iter().filter(fits).collect();
            if fitting.is_empty() {
                continue;
            }
            let style = fitting[draw.index(fitting.len())];
            let (right, source) = (pairs.render(style), wrong.render(style));
            if right != source {
                let model = move |input: &str| wrong.of(input);
                draft = draft.wrong(
                    style,
                    kind,
                    Claim::WrongAnswer,
                    &[(&right, &source)],
                    Some(Box::new(model)),
                );
            }
        }
    }
    let breaks = matches!(end, End::Reduce(ending) if ending.reduce == Reduce::First);
    if breaks {
        draft
    } else {
        draft.crash(
            "loop-index",
            "index out of range",
            "range(n)",
            "range(n + 1)",
        )
    }
}

fn mistakes(pairs: Pairs) -> Vec<(&'static str, Pairs)> {
    let mut all = Vec::new();
    for choose in pairs.choose.mistakes() {
        all.push(("wrong comparison", Pairs { choose, ..pairs }));
    }
    if pairs.choose != Choose::All {
        all.push((
            "forgot the condition",
            Pairs {
                choose: Choose::All,
                ..pairs
            },
        ));
    }
    for (kind, combine) in pairs.combine.mistakes() {
        all.push((kind, Pairs { combine, ..pairs }));
    }
    for (kind, end) in pairs.end.mistakes() {
        all.push((kind, Pairs { end, ..pairs }));
    }
    let brittle = matches!(pairs.end, End::Reduce(ending) if ending.reduce.needs_default() && ending.default.is_none());
    if !brittle {
        all.push((
            "off by one",
            Pairs {
                skip_first: true,
                ..pairs
            },
        ));
        all.push((
            "off by one",
            Pairs {
                skip_last: true,
                ..pairs
            },
        ));
    }
    all
}
