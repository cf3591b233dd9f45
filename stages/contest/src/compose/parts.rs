//! The parts of the composed list problems: conditions on numbers, changes of numbers.
//!
//! Each part knows its words, its Python and C++ code over a variable, its meaning in
//! Rust, and the part that a careless writer puts in its place. `lists.rs` and `chain.rs`
//! put parts together; `reduce.rs` has the parts that end a problem.

use crate::draw::Draw;

/// Which numbers are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Filter {
    All,
    Even,
    Odd,
    /// `x % 2 == 1`, which in C++ misses the negative odd numbers: only an error.
    OddNaive,
    Positive,
    Negative,
    Above(i64),
    AtLeast(i64),
    Below(i64),
    AtMost(i64),
    Multiple(i64),
    NotMultiple(i64),
    Between(i64, i64),
    Inside(i64, i64),
    EndsWith(i64),
    Not(i64),
    EvenPlaces,
    OddPlaces,
}

impl Filter {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        let k = draw.range(-5, 30);
        let low = draw.range(-5, 12);
        match draw.range(0, 16) {
            0 | 1 => Self::All,
            2 => Self::Even,
            3 => Self::Odd,
            4 => Self::Positive,
            5 => Self::Negative,
            6 => Self::Above(k),
            7 => Self::AtLeast(k),
            8 => Self::Below(k + 3),
            9 => Self::AtMost(k + 3),
            10 => Self::Multiple(draw.range(3, 7)),
            11 => Self::NotMultiple(draw.range(3, 7)),
            12 => Self::Between(low, low + draw.range(4, 20)),
            13 => Self::Inside(low, low + draw.range(5, 20)),
            14 => Self::EndsWith(draw.range(0, 9)),
            15 => Self::EvenPlaces,
            _ => Self::OddPlaces,
        }
    }

    /// Its name without constants, for the composition.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Even => "even",
            Self::Odd | Self::OddNaive => "odd",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Above(_) => "above",
            Self::AtLeast(_) => "at-least",
            Self::Below(_) => "below",
            Self::AtMost(_) => "at-most",
            Self::Multiple(_) => "multiple",
            Self::NotMultiple(_) => "not-multiple",
            Self::Between(..) => "between",
            Self::Inside(..) => "inside",
            Self::EndsWith(_) => "ends-with",
            Self::Not(_) => "not",
            Self::EvenPlaces => "even-places",
            Self::OddPlaces => "odd-places",
        }
    }

    /// The numbers that it lets through.
    pub(super) fn words(self) -> String {
        match self {
            Self::All => "all numbers".to_owned(),
            Self::Even => "the even numbers".to_owned(),
            Self::Odd | Self::OddNaive => "the odd numbers".to_owned(),
            Self::Positive => "the positive numbers".to_owned(),
            Self::Negative => "the negative numbers".to_owned(),
            Self::Above(k) => format!("the numbers greater than {k}"),
            Self::AtLeast(k) => format!("the numbers that are at least {k}"),
            Self::Below(k) => format!("the numbers less than {k}"),
            Self::AtMost(k) => format!("the numbers that are at most {k}"),
            Self::Multiple(k) => format!("the numbers divisible by {k}"),
            Self::NotMultiple(k) => format!("the numbers not divisible by {k}"),
            Self::Between(low, high) => format!("the numbers from {low} to {high} (inclusive)"),
            Self::Inside(low, high) => {
                format!("the numbers greater than {low} and less than {high}")
            }
            Self::EndsWith(d) => format!("the numbers whose last digit is {d}"),
            Self::Not(k) => format!("the numbers different from {k}"),
            Self::EvenPlaces => "the numbers at even positions (counted from 1)".to_owned(),
            Self::OddPlaces => "the numbers at odd positions (counted from 1)".to_owned(),
        }
    }

    /// Its constants, for the problem's key.
    pub(super) fn constant(self) -> Option<String> {
        match self {
            Self::Above(k)
            | Self::AtLeast(k)
            | Self::Below(k)
            | Self::AtMost(k)
            | Self::Multiple(k)
            | Self::NotMultiple(k)
            | Self::EndsWith(k)
            | Self::Not(k) => Some(k.to_string()),
            Self::Between(low, high) | Self::Inside(low, high) => Some(format!("{low},{high}")),
            _ => None,
        }
    }

    /// The condition in Python; `None` where every number of [`Filter::start`] passes.
    pub(super) fn python(self, x: &str) -> Option<String> {
        Some(match self {
            Self::Odd => format!("{x} % 2 == 1"),
            Self::Between(low, high) => format!("{low} <= {x} <= {high}"),
            Self::Inside(low, high) => format!("{low} < {x} < {high}"),
            _ => return self.cpp(x),
        })
    }

    /// The condition in C++.
    pub(super) fn cpp(self, x: &str) -> Option<String> {
        Some(match self {
            Self::All | Self::EvenPlaces | Self::OddPlaces => return None,
            Self::Even => format!("{x} % 2 == 0"),
            Self::Odd => format!("{x} % 2 != 0"),
            Self::OddNaive => format!("{x} % 2 == 1"),
            Self::Positive => format!("{x} > 0"),
            Self::Negative => format!("{x} < 0"),
            Self::Above(k) => format!("{x} > {k}"),
            Self::AtLeast(k) => format!("{x} >= {k}"),
            Self::Below(k) => format!("{x} < {k}"),
            Self::AtMost(k) => format!("{x} <= {k}"),
            Self::Multiple(k) => format!("{x} % {k} == 0"),
            Self::NotMultiple(k) => format!("{x} % {k} != 0"),
            Self::Between(low, high) => format!("{x} >= {low} && {x} <= {high}"),
            Self::Inside(low, high) => format!("{x} > {low} && {x} < {high}"),
            Self::EndsWith(d) => format!("{x} % 10 == {d}"),
            Self::Not(k) => format!("{x} != {k}"),
        })
    }

    /// First index and step of the positions that it looks at.
    pub(super) fn start(self) -> (usize, usize) {
        match self {
            Self::EvenPlaces => (1, 2),
            Self::OddPlaces => (0, 2),
            _ => (0, 1),
        }
    }

    pub(super) fn keeps(self, x: i64) -> bool {
        match self {
            Self::All | Self::EvenPlaces | Self::OddPlaces => true,
            Self::Even => x % 2 == 0,
            Self::Odd => x % 2 != 0,
            Self::OddNaive => x % 2 == 1,
            Self::Positive => x > 0,
            Self::Negative => x < 0,
            Self::Above(k) => x > k,
            Self::AtLeast(k) => x >= k,
            Self::Below(k) => x < k,
            Self::AtMost(k) => x <= k,
            Self::Multiple(k) => x % k == 0,
            Self::NotMultiple(k) => x % k != 0,
            Self::Between(low, high) => x >= low && x <= high,
            Self::Inside(low, high) => x > low && x < high,
            Self::EndsWith(d) => x % 10 == d,
            Self::Not(k) => x != k,
        }
    }

    /// Nothing may be left: a list has at least one number.
    pub(super) fn may_be_empty(self) -> bool {
        !matches!(self, Self::All | Self::OddPlaces)
    }

    /// It makes sense for numbers from 0 on, and not below.
    pub(super) fn needs_natural(self) -> bool {
        matches!(self, Self::EndsWith(_))
    }

    /// It makes sense only where negative numbers occur.
    pub(super) fn needs_signed(self) -> bool {
        match self {
            Self::Positive | Self::Negative => true,
            Self::Above(k) | Self::AtLeast(k) | Self::Below(k) | Self::AtMost(k) => k < 2,
            Self::Between(low, _) | Self::Inside(low, _) => low < 1,
            _ => false,
        }
    }

    /// What is written in its place by mistake.
    pub(super) fn mistakes(self) -> Vec<(&'static str, Self)> {
        let strict = "wrong comparison";
        match self {
            Self::All => vec![("ignores a number", Self::Not(0))],
            Self::Even => vec![("wrong condition", Self::Odd)],
            Self::Odd => vec![("wrong condition", Self::Even)],
            Self::Positive => vec![(strict, Self::AtLeast(0)), (strict, Self::Negative)],
            Self::Negative => vec![(strict, Self::AtMost(0)), (strict, Self::Positive)],
            Self::Above(k) => vec![(strict, Self::AtLeast(k)), (strict, Self::Below(k))],
            Self::AtLeast(k) => vec![(strict, Self::Above(k)), (strict, Self::AtMost(k))],
            Self::Below(k) => vec![(strict, Self::AtMost(k)), (strict, Self::Above(k))],
            Self::AtMost(k) => vec![(strict, Self::Below(k)), (strict, Self::AtLeast(k))],
            Self::Multiple(k) => vec![("wrong condition", Self::NotMultiple(k))],
            Self::NotMultiple(k) => vec![("wrong condition", Self::Multiple(k))],
            Self::Between(low, high) => vec![(strict, Self::Inside(low, high))],
            Self::Inside(low, high) => vec![(strict, Self::Between(low, high))],
            Self::EndsWith(d) => vec![("wrong condition", Self::Multiple(d.max(2)))],
            Self::Not(_) | Self::OddNaive => Vec::new(),
            Self::EvenPlaces => vec![("off by one", Self::OddPlaces)],
            Self::OddPlaces => vec![("off by one", Self::EvenPlaces)],
        }
    }

    /// A number about which writers and tests should care.
    pub(super) fn edge(self, draw: &mut Draw) -> i64 {
        match self {
            Self::Above(k)
            | Self::AtLeast(k)
            | Self::Below(k)
            | Self::AtMost(k)
            | Self::Not(k)
            | Self::Between(k, _)
            | Self::Inside(k, _)
                if draw.percent(60) =>
            {
                k + draw.range(-1, 1)
            }
            Self::Between(_, k) | Self::Inside(_, k) => k + draw.range(-1, 1),
            Self::Multiple(k) | Self::NotMultiple(k) => k * draw.range(-4, 8),
            Self::EndsWith(d) => 10 * draw.range(0, 30) + d,
            _ => draw.range(-9, 20),
        }
    }
}

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Map {
    Same,
    Square,
    Abs,
    Plus(i64),
    Minus(i64),
    Times(i64),
    From(i64),
    Distance(i64),
    DigitSum,
    LastDigit,
    Mod(i64),
    Div(i64),
    AtLeast(i64),
    AtMost(i64),
}

/// The C++ function behind [`Map::DigitSum`].
pub(super) const DIGIT_SUM: &str = "int digitSum(long long x) {\n    int total = 0;\n    while (x > 0) {\n        total += x % 10;\n        x /= 10;\n    }\n    return total;\n}\n---\n";

impl Map {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        match draw.range(0, 14) {
            0 | 1 => Self::Same,
            2 => Self::Square,
            3 => Self::Abs,
            4 => Self::Plus(draw.range(1, 20)),
            5 => Self::Minus(draw.range(1, 20)),
            6 => Self::Times(draw.range(2, 9)),
            7 => Self::From(draw.range(5, 50)),
            8 => Self::Distance(draw.range(2, 20)),
            9 => Self::DigitSum,
            10 => Self::LastDigit,
            11 => Self::Mod(draw.range(4, 9)),
            12 => Self::Div(draw.range(2, 5)),
            13 => Self::AtLeast(draw.range(2, 15)),
            _ => Self::AtMost(draw.range(5, 25)),
        }
    }

    /// Its name without constants, for the composition.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Square => "square",
            Self::Abs => "abs",
            Self::Plus(_) => "plus",
            Self::Minus(_) => "minus",
            Self::Times(_) => "times",
            Self::From(_) => "from",
            Self::Distance(_) => "distance",
            Self::DigitSum => "digit-sum",
            Self::LastDigit => "last-digit",
            Self::Mod(_) => "mod",
            Self::Div(_) => "div",
            Self::AtLeast(_) => "raise-to",
            Self::AtMost(_) => "lower-to",
        }
    }

    /// Its constant, for the problem's key.
    pub(super) fn constant(self) -> Option<i64> {
        match self {
            Self::Plus(k)
            | Self::Minus(k)
            | Self::Times(k)
            | Self::From(k)
            | Self::Distance(k)
            | Self::Mod(k)
            | Self::Div(k)
            | Self::AtLeast(k)
            | Self::AtMost(k) => Some(k),
            _ => None,
        }
    }

    /// What to do with `each` ("each number", "it"), as an instruction.
    pub(super) fn instruction(self, each: &str) -> String {
        match self {
            Self::Same => format!("leave {each} as it is"),
            Self::Square => format!("replace {each} by its square"),
            Self::Abs => format!("replace {each} by its absolute value"),
            Self::Plus(k) => format!("add {k} to {each}"),
            Self::Minus(k) => format!("subtract {k} from {each}"),
            Self::Times(k) => format!("multiply {each} by {k}"),
            Self::From(k) => format!("replace {each}, call it x, by {k} - x"),
            Self::Distance(k) => format!("replace {each}, call it x, by |x - {k}|"),
            Self::DigitSum => format!("replace {each} by the sum of its digits"),
            Self::LastDigit => format!("replace {each} by its last digit"),
            Self::Mod(k) => format!("replace {each} by its remainder modulo {k}"),
            Self::Div(k) => format!("divide {each} by {k}, rounding down"),
            Self::AtLeast(k) => format!("replace {each} by {k} if it is less than {k}"),
            Self::AtMost(k) => format!("replace {each} by {k} if it is greater than {k}"),
        }
    }

    /// The new values of `these` ("the even numbers").
    pub(super) fn of(self, these: &str) -> String {
        match self {
            Self::Same => these.to_owned(),
            Self::Square => format!("the squares of {these}"),
            Self::Abs => format!("the absolute values of {these}"),
            Self::Plus(k) => format!("the values x + {k} for {these}"),
            Self::Minus(k) => format!("the values x - {k} for {these}"),
            Self::Times(k) => format!("the values {k} * x for {these}"),
            Self::From(k) => format!("the values {k} - x for {these}"),
            Self::Distance(k) => format!("the values |x - {k}| for {these}"),
            Self::DigitSum => format!("the digit sums of {these}"),
            Self::LastDigit => format!("the last digits of {these}"),
            Self::Mod(k) => format!("the remainders modulo {k} of {these}"),
            Self::Div(k) => format!("the values x / {k} (rounded down) for {these}"),
            Self::AtLeast(k) => format!("the values max(x, {k}) for {these}"),
            Self::AtMost(k) => format!("the values min(x, {k}) for {these}"),
        }
    }

    pub(super) fn python(self, x: &str) -> String {
        match self {
            Self::DigitSum => format!("sum(int(d) for d in str({x}))"),
            Self::Div(k) => format!("{x} // {k}"),
            Self::AtLeast(k) => format!("max({x}, {k})"),
            Self::AtMost(k) => format!("min({x}, {k})"),
            _ => self.cpp(x, ""),
        }
    }

    /// `suffix` is `LL` where `x` is a `long long`.
    pub(super) fn cpp(self, x: &str, suffix: &str) -> String {
        match self {
            Self::Same => x.to_owned(),
            Self::Square => format!("{x} * {x}"),
            Self::Abs => format!("abs({x})"),
            Self::Plus(k) => format!("{x} + {k}"),
            Self::Minus(k) => format!("{x} - {k}"),
            Self::Times(k) => format!("{x} * {k}"),
            Self::From(k) => format!("{k} - {x}"),
            Self::Distance(k) => format!("abs({x} - {k})"),
            Self::DigitSum => format!("digitSum({x})"),
            Self::LastDigit => format!("{x} % 10"),
            Self::Mod(k) => format!("{x} % {k}"),
            Self::Div(k) => format!("{x} / {k}"),
            Self::AtLeast(k) => format!("max({x}, {k}{suffix})"),
            Self::AtMost(k) => format!("min({x}, {k}{suffix})"),
        }
    }

    pub(super) fn apply(self, x: i64) -> i64 {
        match self {
            Self::Same => x,
            Self::Square => x * x,
            Self::Abs => x.abs(),
            Self::Plus(k) => x + k,
            Self::Minus(k) => x - k,
            Self::Times(k) => x * k,
            Self::From(k) => k - x,
            Self::Distance(k) => (x - k).abs(),
            Self::DigitSum => x.to_string().bytes().map(|d| i64::from(d - b'0')).sum(),
            Self::LastDigit => x % 10,
            Self::Mod(k) => x % k,
            Self::Div(k) => x / k,
            Self::AtLeast(k) => x.max(k),
            Self::AtMost(k) => x.min(k),
        }
    }

    /// It makes sense for numbers from 0 on, and the languages differ below.
    pub(super) fn needs_natural(self) -> bool {
        matches!(
            self,
            Self::DigitSum | Self::LastDigit | Self::Mod(_) | Self::Div(_)
        )
    }

    /// It makes sense only where negative numbers occur.
    pub(super) fn needs_signed(self) -> bool {
        self == Self::Abs
    }

    /// It keeps numbers from 0 on in that range.
    pub(super) fn stays_natural(self) -> bool {
        !matches!(self, Self::Minus(_) | Self::From(_))
    }

    /// What is written in its place by mistake.
    pub(super) fn mistakes(self) -> Vec<(&'static str, Self)> {
        let mut all = vec![("forgot a step", Self::Same)];
        all.extend(match self {
            Self::Same => return vec![("wrong value", Self::Plus(1))],
            Self::Square => Some(("doubles instead of squaring", Self::Times(2))),
            Self::Plus(k) => Some(("wrong operator", Self::Minus(k))),
            Self::Minus(k) | Self::Times(k) => Some(("wrong operator", Self::Plus(k))),
            Self::From(k) => Some(("wrong order of operands", Self::Minus(k))),
            Self::Distance(k) => Some(("forgot the absolute value", Self::Minus(k))),
            Self::DigitSum => Some(("takes the last digit only", Self::LastDigit)),
            Self::LastDigit => Some(("wrong operator", Self::Div(10))),
            Self::Mod(k) => Some(("wrong operator", Self::Div(k))),
            Self::Div(k) => Some(("wrong operator", Self::Mod(k))),
            Self::AtLeast(k) => Some(("takes the minimum", Self::AtMost(k))),
            Self::AtMost(k) => Some(("takes the maximum", Self::AtLeast(k))),
            Self::Abs => None,
        });
        all
    }
}
