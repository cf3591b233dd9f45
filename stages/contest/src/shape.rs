//! The shapes that an input can have, and everything that follows from a shape.
//!
//! A family names a shape; from it come the "Input" section of the statement (here), the
//! reading code in two languages and several styles (`reading.rs`) and the inputs
//! themselves (`tests.rs`). One shape serves many families on purpose: reading is the
//! sub-skill that they share.

use crate::draw::Draw;

/// Name and bounds of one number of the input.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// Name in the statement and in the programs.
    pub name: &'static str,
    /// Smallest value.
    pub low: i64,
    /// Largest value.
    pub high: i64,
}

/// Shorthand for a [`Number`].
pub const fn number(name: &'static str, low: i64, high: i64) -> Number {
    Number { name, low, high }
}

/// What the input looks like.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Some numbers on one line.
    Ints(Vec<Number>),
    /// `n` and further numbers on the first line, `n` numbers on the second (`a`).
    List {
        /// Bounds of the length.
        n: (i64, i64),
        /// Bounds of the elements.
        value: (i64, i64),
        /// Numbers after `n` on the first line.
        extra: Vec<Number>,
    },
    /// `n`, then two lines of `n` numbers (`a`, `b`).
    TwoLists {
        /// Largest length.
        n: i64,
        /// Bounds of the elements.
        value: (i64, i64),
    },
    /// One word (`s`).
    Word {
        /// Bounds of the length.
        length: (i64, i64),
        /// Letters it is made of.
        letters: &'static str,
        /// How the statement calls these letters.
        called: &'static str,
    },
    /// Two words on two lines (`s`, `t`).
    TwoWords {
        /// Largest length.
        length: i64,
        /// Letters they are made of.
        letters: &'static str,
    },
    /// One line of words (`words`).
    Sentence {
        /// Largest number of words.
        words: i64,
        /// Largest length of a word.
        length: i64,
    },
    /// `n`, then `n` words, one a line (`words`).
    Words {
        /// Largest number of words.
        n: i64,
        /// Largest length of a word.
        length: i64,
        /// Letters they are made of.
        letters: &'static str,
    },
    /// Height `h`, width `w`, then rows of cells (`g`).
    Grid {
        /// Largest height and width.
        side: i64,
        /// The two kinds of cells.
        cells: &'static str,
    },
    /// Height `h`, width `w`, then rows of numbers (`g`).
    Matrix {
        /// Largest height and width.
        side: i64,
        /// Bounds of the elements.
        value: (i64, i64),
        /// Height and width are one number `n`.
        square: bool,
    },
    /// `n`, then `n` lines with two numbers (`p`).
    Pairs {
        /// Largest number of pairs.
        n: i64,
        /// Bounds of the numbers.
        value: (i64, i64),
        /// Names of the two numbers.
        names: (&'static str, &'static str),
        /// The first is never larger than the second.
        ordered: bool,
    },
}

impl Shape {
    /// A list with `n` on the line before it.
    pub fn list(n: i64, low: i64, high: i64) -> Self {
        Self::List {
            n: (1, n),
            value: (low, high),
            extra: Vec::new(),
        }
    }

    /// A list with `n` and one more number on the line before it.
    pub fn list_and(n: i64, low: i64, high: i64, extra: Number) -> Self {
        Self::List {
            n: (1, n),
            value: (low, high),
            extra: vec![extra],
        }
    }

    /// One number.
    pub fn int(name: &'static str, low: i64, high: i64) -> Self {
        Self::Ints(vec![number(name, low, high)])
    }

    /// A word of small letters.
    pub fn word(length: i64) -> Self {
        Self::Word {
            length: (1, length),
            letters: SMALL,
            called: "lowercase letters",
        }
    }

    /// The "Input" section of the statement, in one of several phrasings.
    pub fn input_text(&self, draw: &mut Draw) -> String {
        match self {
            Self::Ints(numbers) if numbers.len() == 1 => {
                let one = &numbers[0];
                let bounds = bounds(one.name, one.low, one.high);
                draw.one(&[
                    "The only line contains one integer NAME (BOUNDS).",
                    "The input is a single integer NAME (BOUNDS).",
                    "One line with an integer NAME, BOUNDS.",
                ])
                .replace("NAME", one.name)
                .replace("BOUNDS", &bounds)
            }
            Self::Ints(numbers) => {
                let names: Vec<_> = numbers.iter().map(|number| number.name).collect();
                draw.one(&[
                    "The only line contains integers NAMES (BOUNDS).",
                    "One line with integers NAMES, BOUNDS.",
                    "You are given NAMES on one line (BOUNDS).",
                ])
                .replace("NAMES", &joined(&names))
                .replace("BOUNDS", &bounds_of(numbers))
            }
            Self::List { n, value, extra } => {
                let mut head = vec![number("n", n.0, n.1)];
                head.extend(extra);
                let names: Vec<_> = head.iter().map(|number| number.name).collect();
                let template = if extra.is_empty() {
                    draw.one(&[
                        "The first line contains an integer n (HEAD). The second line contains n integers a_1, ..., a_n (VALUE).",
                        "The first line has n (HEAD), the second line has n integers a_i (VALUE).",
                        "Line one: n, HEAD. Line two: n integers, VALUE.",
                    ])
                } else {
                    draw.one(&[
                        "The first line contains integers NAMES (HEAD). The second line contains n integers a_1, ..., a_n (VALUE).",
                        "The first line has NAMES (HEAD), the second line has n integers a_i (VALUE).",
                        "Line one: NAMES, HEAD. Line two: n integers, VALUE.",
                    ])
                };
                template
                    .replace("NAMES", &joined(&names))
                    .replace("HEAD", &bounds_of(&head))
                    .replace("VALUE", &bounds("a_i", value.0, value.1))
            }
            Self::TwoLists { n, value } => draw
                .one(&[
                    "The first line contains n (HEAD). The second line contains a_1, ..., a_n and the third b_1, ..., b_n (VALUE).",
                    "Line one: n, HEAD. Then two lines with n integers each, a_i and b_i, VALUE.",
                ])
                .replace("HEAD", &bounds("n", 1, *n))
                .replace("VALUE", &bounds("a_i, b_i", value.0, value.1)),
            Self::Word { length, called, .. } => draw
                .one(&[
                    "The only line contains a string s of CALLED (BOUNDS).",
                    "One line with the string s, CALLED only, BOUNDS.",
                    "The input is one string s, made of CALLED (BOUNDS).",
                ])
                .replace("CALLED", called)
                .replace("BOUNDS", &bounds("|s|", length.0, length.1)),
            Self::TwoWords { length, .. } => draw
                .one(&[
                    "The first line contains the string s, the second the string t (BOUNDS, lowercase letters).",
                    "Two lines with the strings s and t, lowercase letters, BOUNDS.",
                ])
                .replace("BOUNDS", &bounds("|s|, |t|", 1, *length)),
            Self::Sentence { words, .. } => draw
                .one(&[
                    "One line with at most COUNT words, separated by single spaces.",
                    "The only line contains words of lowercase letters with one space between them (at most COUNT words).",
                ])
                .replace("COUNT", &words.to_string()),
            Self::Words { n, .. } => draw
                .one(&[
                    "The first line contains n (BOUNDS). Each of the next n lines contains one word.",
                    "Line one: n, BOUNDS. Then n lines with one word each.",
                ])
                .replace("BOUNDS", &bounds("n", 1, *n)),
            Self::Grid { side, cells } => draw
                .one(&[
                    "The first line contains h and w (BOUNDS). Each of the next h lines contains w characters, CELLS.",
                    "Line one: height h and width w, BOUNDS. Then h rows of w cells, CELLS.",
                ])
                .replace("BOUNDS", &bounds("h, w", 1, *side))
                .replace("CELLS", &format!("'{}' or '{}'", &cells[..1], &cells[1..2])),
            Self::Matrix { side, value, square } => {
                let template = if *square {
                    draw.one(&[
                        "The first line contains n (HEAD). Each of the next n lines contains n integers (VALUE).",
                        "Line one: n, HEAD. Then n rows of n integers, VALUE.",
                    ])
                } else {
                    draw.one(&[
                        "The first line contains h and w (HEAD). Each of the next h lines contains w integers (VALUE).",
                        "Line one: height h and width w, HEAD. Then h rows of w integers, VALUE.",
                    ])
                };
                let sides = if *square { "n" } else { "h, w" };
                template
                    .replace("HEAD", &bounds(sides, 1, *side))
                    .replace("VALUE", &bounds("a_ij", value.0, value.1))
            }
            Self::Pairs { n, value, names, ordered } => {
                let both = if *ordered {
                    format!("{} <= {} <= {} <= {}", value.0, names.0, names.1, value.1)
                } else {
                    bounds(&format!("{}, {}", names.0, names.1), value.0, value.1)
                };
                draw.one(&[
                    "The first line contains n (HEAD). Each of the next n lines contains two integers L and R (VALUE).",
                    "Line one: n, HEAD. Then n lines with L and R, VALUE.",
                ])
                .replace("L and R", &format!("{} and {}", names.0, names.1))
                .replace("HEAD", &bounds("n", 1, *n))
                .replace("VALUE", &both)
            }
        }
    }
}

/// The small letters.
pub const SMALL: &str = "abcdefghijklmnopqrstuvwxyz";

fn bounds(name: &str, low: i64, high: i64) -> String {
    format!("{} <= {name} <= {}", plain(low), plain(high))
}

/// Large powers of ten are written as people write them.
fn plain(value: i64) -> String {
    let size = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    match size.checked_ilog10() {
        Some(exponent) if exponent >= 5 && size == 10_u64.pow(exponent) => {
            format!("{sign}10^{exponent}")
        }
        _ => value.to_string(),
    }
}

fn bounds_of(numbers: &[Number]) -> String {
    let all: Vec<_> = numbers
        .iter()
        .map(|number| bounds(number.name, number.low, number.high))
        .collect();
    all.join(", ")
}

fn joined(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}
