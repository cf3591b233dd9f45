//! The tests of a problem: inputs from its shape, outputs from its reference.
//!
//! Called by `lib.rs`. Public tests are small, private ones middling, generated ones hold
//! the edges (one element, all equal, sorted, extreme values, largest size) and whatever
//! the family insists on. Every test input occurs once.

use std::collections::BTreeSet;

use crate::draw::Draw;
use crate::family::Draft;
use crate::shape::{Number, SMALL, Shape};

/// How large an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As in a statement's example.
    Tiny,
    /// Up to about ten elements.
    Small,
    /// Up to about thirty elements.
    Medium,
    /// Up to the bounds.
    Large,
}

/// How the values of an input are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    Random,
    Few,
    Equal,
    Ascending,
    Descending,
    Extreme,
    One,
}

/// Input and output of one test.
pub type Test = (String, String);

/// The three groups of tests.
pub struct Tests {
    /// Shown to contestants; the first is the statement's example.
    pub public: Vec<Test>,
    /// Kept back.
    pub private: Vec<Test>,
    /// Kept back as well; the edges.
    pub generated: Vec<Test>,
}

const PRIVATE: [(Size, Flavour); 6] = [
    (Size::Small, Flavour::Random),
    (Size::Medium, Flavour::Random),
    (Size::Small, Flavour::Few),
    (Size::Small, Flavour::Ascending),
    (Size::Medium, Flavour::Descending),
    (Size::Small, Flavour::Random),
];
const GENERATED: [(Size, Flavour); 12] = [
    (Size::Medium, Flavour::Few),
    (Size::Large, Flavour::Random),
    (Size::Large, Flavour::Extreme),
    (Size::Small, Flavour::Equal),
    (Size::Tiny, Flavour::One),
    (Size::Large, Flavour::Ascending),
    (Size::Large, Flavour::One),
    (Size::Medium, Flavour::Random),
    (Size::Small, Flavour::Extreme),
    (Size::Large, Flavour::Few),
    (Size::Large, Flavour::Equal),
    (Size::Tiny, Flavour::Random),
];

/// Chooses the tests of a draft: about `count`, plus those that the family insists on.
pub fn choose(draft: &Draft, count: usize, draw: &mut Draw) -> Tests {
    let mut seen = BTreeSet::new();
    let mut public: Vec<Test> = Vec::new();
    let publics = if draw.percent(35) { 3 } else { 2 };
    for number in 0..publics {
        // An example whose answer is new says more than one whose answer is not.
        let mut best: Option<Test> = None;
        for attempt in 0..12 {
            let input = input(draft, number + attempt, Size::Tiny, Flavour::Random, draw);
            if seen.contains(&input) {
                continue;
            }
            let output = output(draft, &input);
            let new = public.iter().all(|test| test.1 != output) && output.trim() != "0";
            if best.is_none() || new {
                best = Some((input, output));
            }
            if new {
                break;
            }
        }
        if let Some(test) = best {
            seen.insert(test.0.clone());
            public.push(test);
        }
    }
    let privates = count / 3;
    let mut group = |plan: &[(Size, Flavour)], many: usize, draw: &mut Draw| {
        let mut tests = Vec::new();
        for number in 0..many {
            let (size, flavour) = plan[number % plan.len()];
            for attempt in 0..4 {
                let input = input(draft, number + attempt, size, flavour, draw);
                if seen.insert(input.clone()) {
                    let output = output(draft, &input);
                    tests.push((input, output));
                    break;
                }
            }
        }
        tests
    };
    let private = group(&PRIVATE, privates, draw);
    let mut generated = group(&GENERATED, count.saturating_sub(privates + publics), draw);
    for input in &draft.must {
        let mut input = draft.fill(input);
        if !input.ends_with('\n') {
            input.push('\n');
        }
        if seen.insert(input.clone()) {
            let output = output(draft, &input);
            generated.push((input, output));
        }
    }
    Tests {
        public,
        private,
        generated,
    }
}

/// Looks for an input on which `model` differs from the reference.
pub fn telling(draft: &Draft, model: &dyn Fn(&str) -> String, draw: &mut Draw) -> Option<Test> {
    let plans: Vec<_> = GENERATED.iter().chain(&PRIVATE).collect();
    for attempt in 0..240 {
        let (size, flavour) = *plans[attempt % plans.len()];
        let input = input(draft, attempt, size, flavour, draw);
        let output = output(draft, &input);
        if model(&input).trim_end() != output.trim_end() {
            return Some((input, output));
        }
    }
    None
}

fn output(draft: &Draft, input: &str) -> String {
    let mut output = (draft.answer)(input).trim_end().to_owned();
    output.push('\n');
    output
}

fn input(draft: &Draft, number: usize, size: Size, flavour: Flavour, draw: &mut Draw) -> String {
    let mut text = match &draft.special {
        Some(special) if number.is_multiple_of(2) => special(draw, size),
        _ => by_shape(&draft.shape, size, flavour, draw),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A count within `1..=most`, smaller for smaller sizes.
pub fn count(low: i64, most: i64, size: Size, draw: &mut Draw) -> i64 {
    match size {
        Size::Tiny => draw.range(most.min(low.max(3)), most.min(low.max(6))),
        Size::Small => draw.range(most.min(low.max(2)), most.min(low.max(10))),
        Size::Medium => draw.range(most.min(low.max(8)), most.min(low.max(30))),
        Size::Large => draw.range(low.max(most - most / 4), most),
    }
}

/// The part of `low..=high` that an input of this size uses.
fn window(low: i64, high: i64, size: Size) -> (i64, i64) {
    let reach = match size {
        Size::Tiny => 12,
        Size::Small => 60,
        Size::Medium => 1000.min(high.max(-low)),
        Size::Large => return (low, high),
    };
    let from = low.max(-reach);
    let to = high.min(reach);
    if from <= to && to - from >= 4.min(high - low) {
        (from, to)
    } else if low > 0 {
        (low, high.min(low + 2 * reach))
    } else {
        (low.max(high - 2 * reach), high)
    }
}

fn values(
    many: i64,
    bounds: (i64, i64),
    size: Size,
    flavour: Flavour,
    draw: &mut Draw,
) -> Vec<i64> {
    let (low, high) = window(bounds.0, bounds.1, size);
    let mut values: Vec<i64> = match flavour {
        Flavour::Equal => vec![draw.range(low, high); many as usize],
        Flavour::Few => {
            let choices: Vec<_> = (0..3).map(|_| draw.range(low, high)).collect();
            (0..many).map(|_| draw.one(&choices)).collect()
        }
        Flavour::Extreme => {
            let choices = [bounds.0, bounds.1, bounds.1, (bounds.1 - 1).max(bounds.0)];
            (0..many).map(|_| draw.one(&choices)).collect()
        }
        _ => (0..many).map(|_| draw.range(low, high)).collect(),
    };
    if flavour == Flavour::Ascending {
        values.sort_unstable();
    }
    if flavour == Flavour::Descending {
        values.sort_unstable_by(|left, right| right.cmp(left));
    }
    values
}

fn line(values: &[i64]) -> String {
    let words: Vec<_> = values.iter().map(ToString::to_string).collect();
    words.join(" ")
}

fn single(number: Number, size: Size, flavour: Flavour, draw: &mut Draw) -> i64 {
    values(1, (number.low, number.high), size, flavour, draw)[0]
}

fn letters(length: i64, from: &str, flavour: Flavour, draw: &mut Draw) -> String {
    let alphabet = match flavour {
        Flavour::Few | Flavour::Extreme => draw.word(3, from),
        Flavour::Equal => draw.word(1, from),
        _ => from.to_owned(),
    };
    let mut word: Vec<u8> = draw.word(length, &alphabet).into_bytes();
    if flavour == Flavour::Ascending {
        word.sort_unstable();
    }
    String::from_utf8(word).expect("the alphabets are ASCII")
}

fn by_shape(shape: &Shape, size: Size, flavour: Flavour, draw: &mut Draw) -> String {
    let many = |low: i64, most: i64, draw: &mut Draw| match flavour {
        Flavour::One => low,
        _ => count(low, most, size, draw),
    };
    match shape {
        Shape::Ints(numbers) => {
            let one: Vec<_> = numbers
                .iter()
                .map(|number| match flavour {
                    Flavour::One => number.low,
                    _ => single(*number, size, flavour, draw),
                })
                .collect();
            line(&one)
        }
        Shape::List { n, value, extra } => {
            let n = many(n.0, n.1, draw);
            let mut head = vec![n];
            for number in extra {
                let most = if number.name == "k" {
                    number.high.min(n)
                } else {
                    number.high
                };
                let most = most.max(number.low);
                head.push(single(
                    Number {
                        high: most,
                        ..*number
                    },
                    size,
                    Flavour::Random,
                    draw,
                ));
            }
            format!(
                "{}\n{}",
                line(&head),
                line(&values(n, *value, size, flavour, draw))
            )
        }
        Shape::TwoLists { n, value } => {
            let n = many(1, *n, draw);
            let a = values(n, *value, size, flavour, draw);
            let b = values(n, *value, size, flavour, draw);
            format!("{n}\n{}\n{}", line(&a), line(&b))
        }
        Shape::Word {
            length,
            letters: from,
            ..
        } => {
            let length = many(length.0, length.1, draw);
            letters(length, from, flavour, draw)
        }
        Shape::TwoWords {
            length,
            letters: from,
        } => {
            let first = many(1, *length, draw);
            let second = if draw.percent(50) {
                first
            } else {
                many(1, *length, draw)
            };
            let s = letters(first, from, flavour, draw);
            let t = letters(second, from, flavour, draw);
            format!("{s}\n{t}")
        }
        Shape::Sentence { words, length } => {
            let words = sentence(many(1, *words, draw), *length, SMALL, flavour, draw);
            words.join(" ")
        }
        Shape::Words { n, length, letters } => {
            let words = sentence(many(1, *n, draw), *length, letters, flavour, draw);
            format!("{}\n{}", words.len(), words.join("\n"))
        }
        Shape::Grid { side, cells } => {
            let side = (*side).min(if size == Size::Tiny { 5 } else { *side });
            let h = many(1, side, draw);
            let w = many(1, side, draw);
            let dense = draw.range(20, 80);
            let mut rows = vec![format!("{h} {w}")];
            for _ in 0..h {
                let second = |draw: &mut Draw| usize::from(draw.percent(dense));
                let cell = |at: usize| if flavour == Flavour::Equal { 0 } else { at };
                rows.push(
                    (0..w)
                        .map(|_| {
                            let at = cell(second(draw));
                            &cells[at..=at]
                        })
                        .collect(),
                );
            }
            rows.join("\n")
        }
        Shape::Matrix {
            side,
            value,
            square,
        } => {
            let side = (*side).min(if size == Size::Tiny { 4 } else { *side });
            let h = many(1, side, draw);
            let w = if *square { h } else { many(1, side, draw) };
            let mut rows = vec![if *square {
                h.to_string()
            } else {
                format!("{h} {w}")
            }];
            for _ in 0..h {
                rows.push(line(&values(w, *value, size, flavour, draw)));
            }
            rows.join("\n")
        }
        Shape::Pairs {
            n, value, ordered, ..
        } => {
            let n = many(1, *n, draw);
            let mut rows = vec![n.to_string()];
            for _ in 0..n {
                let mut pair = values(2, *value, size, flavour, draw);
                if *ordered {
                    pair.sort_unstable();
                }
                rows.push(line(&pair));
            }
            rows.join("\n")
        }
    }
}

fn sentence(many: i64, length: i64, from: &str, flavour: Flavour, draw: &mut Draw) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for _ in 0..many {
        let repeat = match flavour {
            Flavour::Few => 60,
            Flavour::Equal => 100,
            _ => 15,
        };
        let word = if !words.is_empty() && draw.percent(repeat) {
            words[draw.index(words.len())].clone()
        } else {
            let length = draw.range(1, length);
            letters(length, from, Flavour::Random, draw)
        };
        words.push(word);
    }
    words
}
