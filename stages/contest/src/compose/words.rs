//! Composed problems about a line of words: choose words, change them, then print.
//!
//! `text.rs` has what these problems share with those about letters.

use super::endings::ENDS;
use super::reduce::draw_default;
use super::text::{Change, Keep, Select};
use crate::draw::Draw;
use crate::family::{Draft, Family, composed};
use crate::shape::Shape;
use crate::tests;

pub(super) const FAMILIES: &[Family] = &[composed("words-select", words_select)];

/// Words whose length compares to `k`.
fn length(op: &'static str, k: usize) -> Keep {
    let (name, words) = match op {
        ">" => ("longer", format!("the words with more than {k} letters")),
        ">=" => ("at-least", format!("the words with at least {k} letters")),
        "<" => ("shorter", format!("the words with fewer than {k} letters")),
        "<=" => ("at-most", format!("the words with at most {k} letters")),
        "==" => ("exactly", format!("the words with exactly {k} letters")),
        _ => ("not-exactly", format!("the words whose length is not {k}")),
    };
    let keeps = move |x: &str, _| match op {
        ">" => x.len() > k,
        ">=" => x.len() >= k,
        "<" => x.len() < k,
        "<=" => x.len() <= k,
        "==" => x.len() == k,
        _ => x.len() != k,
    };
    Keep::new(
        name,
        words,
        format!("len(#) {op} {k}"),
        format!("#.size() {op} {k}"),
        keeps,
    )
    .about(k)
}

fn starts(c: char, yes: bool) -> Keep {
    let (name, words, op) = if yes {
        ("starts", "begin", "==")
    } else {
        ("not-starts", "do not begin", "!=")
    };
    let words = format!("the words that {words} with '{c}'");
    let keeps = move |x: &str, _| x.starts_with(c) == yes;
    Keep::new(
        name,
        words,
        format!("#[0] {op} \"{c}\""),
        format!("#[0] {op} '{c}'"),
        keeps,
    )
    .about(c)
}

fn ends(c: char) -> Keep {
    let words = format!("the words that end with '{c}'");
    let keeps = move |x: &str, _| x.ends_with(c);
    Keep::new(
        "ends",
        words,
        format!("#[-1] == \"{c}\""),
        format!("#.back() == '{c}'"),
        keeps,
    )
    .about(c)
}

fn contains(c: char, yes: bool) -> Keep {
    let (name, words, python, cpp) = if yes {
        ("contains", "contain", "in", "!=")
    } else {
        ("lacks", "do not contain", "not in", "==")
    };
    let words = format!("the words that {words} the letter '{c}'");
    let keeps = move |x: &str, _| x.contains(c) == yes;
    let (python, cpp) = (
        format!("\"{c}\" {python} #"),
        format!("#.find('{c}') {cpp} string::npos"),
    );
    Keep::new(name, words, python, cpp, keeps).about(c)
}

fn parity(even: bool) -> Keep {
    let (name, word, rest) = if even {
        ("even-length", "even", 0)
    } else {
        ("odd-length", "odd", 1)
    };
    let words = format!("the words with an {word} number of letters");
    let (python, cpp) = (
        format!("len(#) % 2 == {rest}"),
        format!("#.size() % 2 == {rest}"),
    );
    Keep::new(name, words, python, cpp, move |x, _| x.len() % 2 == rest)
}

fn same_ends() -> Keep {
    let keeps = |x: &str, _| x.as_bytes().first() == x.as_bytes().last();
    Keep::new(
        "same-ends",
        "the words whose first and last letter are equal",
        "#[0] == #[-1]",
        "#[0] == #.back()",
        keeps,
    )
}

fn palindrome() -> Keep {
    let keeps = |x: &str, _| x.bytes().eq(x.bytes().rev());
    Keep::new(
        "palindrome",
        "the words that read the same backwards",
        "# == #[::-1]",
        "# == string(#.rbegin(), #.rend())",
        keeps,
    )
}

fn places(even: bool) -> Keep {
    let (name, word, rest) = if even {
        ("even-places", "even", 1)
    } else {
        ("odd-places", "odd", 0)
    };
    let words = format!("the words at {word} positions (counted from 1)");
    let code = format!("i % 2 == {rest}");
    Keep::new(name, words, code.clone(), code, move |_, i| i % 2 == rest)
}

fn everything() -> Keep {
    Keep::new("all", "all words", "", "", |_, _| true)
}

fn draw_keep(draw: &mut Draw) -> (Keep, Vec<(&'static str, Keep)>) {
    let c = char::from(draw.range(i64::from(b'a'), i64::from(b't')) as u8);
    let k = draw.range(2, 6) as usize;
    let strict = "wrong comparison";
    let condition = "wrong condition";
    match draw.range(0, 14) {
        0 => (
            length(">", k),
            vec![(strict, length(">=", k)), (strict, length("<", k))],
        ),
        1 => (
            length(">=", k),
            vec![(strict, length(">", k)), (strict, length("<=", k))],
        ),
        2 => (
            length("<", k),
            vec![(strict, length("<=", k)), (strict, length(">", k))],
        ),
        3 => (
            length("<=", k),
            vec![(strict, length("<", k)), (strict, length(">=", k))],
        ),
        4 => (
            length("==", k),
            vec![(strict, length(">=", k)), (condition, length("!=", k))],
        ),
        5 => (
            starts(c, true),
            vec![
                ("looks at the wrong end", ends(c)),
                (condition, contains(c, true)),
            ],
        ),
        6 => (
            starts(c, false),
            vec![
                (condition, starts(c, true)),
                (condition, contains(c, false)),
            ],
        ),
        7 => (
            ends(c),
            vec![
                ("looks at the wrong end", starts(c, true)),
                (condition, contains(c, true)),
            ],
        ),
        8 => (
            contains(c, true),
            vec![
                ("looks at the first letter only", starts(c, true)),
                (condition, contains(c, false)),
            ],
        ),
        9 => (
            contains(c, false),
            vec![
                ("looks at the first letter only", starts(c, false)),
                (condition, contains(c, true)),
            ],
        ),
        10 => (parity(draw.percent(50)), Vec::new()),
        11 => (same_ends(), vec![(condition, palindrome())]),
        12 => (palindrome(), vec![(condition, same_ends())]),
        13 => {
            let even = draw.percent(50);
            (places(even), vec![("off by one", places(!even))])
        }
        _ => (everything(), Vec::new()),
    }
}

fn draw_change(draw: &mut Draw) -> (Change, Vec<(&'static str, Change)>) {
    let forgot = || ("forgot a step", Change::none());
    let first = || {
        let change = |x: &str| x[..1].to_owned();
        Change::new(
            "first-letter",
            "replace EACH by its first letter",
            "#[0]",
            "string(1, #[0])",
            change,
        )
    };
    let last = || {
        let change = |x: &str| x[x.len() - 1..].to_owned();
        Change::new(
            "last-letter",
            "replace EACH by its last letter",
            "#[-1]",
            "string(1, #.back())",
            change,
        )
    };
    let prefix = |k: usize| {
        let words = format!("keep only the first {k} letters of EACH (all if it is shorter)");
        let change = move |x: &str| x[..k.min(x.len())].to_owned();
        Change::new(
            "prefix",
            words,
            format!("#[:{k}]"),
            format!("#.substr(0, {k})"),
            change,
        )
    };
    let turned = || {
        let change = |x: &str| x.chars().rev().collect();
        Change::new(
            "turned",
            "write EACH backwards",
            "#[::-1]",
            "string(#.rbegin(), #.rend())",
            change,
        )
    };
    let twice = || {
        Change::new(
            "twice",
            "write EACH twice without a space",
            "# + #",
            "# + #",
            |x| x.repeat(2),
        )
    };
    match draw.range(0, 9) {
        0..=3 => (Change::none(), Vec::new()),
        4 => (first(), vec![forgot(), ("takes the last letter", last())]),
        5 => (last(), vec![forgot(), ("takes the first letter", first())]),
        6 => {
            let k = draw.range(2, 4) as usize;
            (
                prefix(k),
                vec![
                    forgot(),
                    ("off by one", prefix(k - 1)),
                    ("off by one", prefix(k + 1)),
                ],
            )
        }
        7 | 8 => (turned(), vec![forgot()]),
        _ => (twice(), vec![forgot()]),
    }
}

fn items(input: &str) -> Vec<String> {
    input.split_whitespace().map(str::to_owned).collect()
}

fn words_select(draw: &mut Draw) -> Draft {
    let (keep, other_keeps) = draw_keep(draw);
    let (change, other_changes) = draw_change(draw);
    let plain = change.words.is_empty();
    let (finish, slip, other) = loop {
        let (finish, slip, other) = draw.one(&ENDS);
        let letters = change.name.ends_with("letter");
        let by_length = ["total", "longest", "shortest"].contains(&finish.name);
        let dull = match change.name {
            "same" => keep.name == "all" && finish.name == "first",
            // Their length is always the same, or that of the word itself.
            "turned" => by_length && finish.name == "total" || finish.name == "count",
            _ => finish.name == "count" || by_length && letters,
        };
        if !dull {
            break (finish, slip, other);
        }
    };
    let default = (finish.needs_default && keep.name != "all" && keep.name != "odd-places")
        .then(|| draw_default(draw));
    let clause = default.map_or_else(String::new, |word| format!(", or {word} if there are none"));
    let these = keep.words.clone();
    let shape = Shape::Sentence {
        words: 15,
        length: 8,
    };
    let mut draft = Draft::new(shape, &["strings"], if plain { 1 } else { 2 });
    if plain {
        let goal = finish.words.replace("ITEMS", &these);
        draft = draft
            .story(&format!(
                "@NAME@ reads a line of words and is interested in {these}."
            ))
            .story(&format!("Given a line of words, find {goal}."))
            .story(&format!("@NAME@ wrote a line of words. Look at {these}."))
            .asks(&format!("{goal}{clause}"));
    } else {
        let all = change.words.replace("EACH", "each of them");
        draft = draft
            .story(&format!(
                "@NAME@ takes {these} from a line of words. The next step is to {all}."
            ))
            .story(&format!(
                "Given a line of words, do two steps. Step 1: take {these}. Step 2: {all}."
            ))
            .asks(&format!(
                "{}{clause}",
                finish.words.replace("ITEMS", "the resulting words")
            ));
        if change.name == "prefix" {
            draft = draft.constant("PREFIX", &change.python);
        }
    }
    let select = Select {
        over: "words",
        item: "string",
        keep: keep.clone(),
        change,
        finish: finish.clone(),
        default,
        skip_first: false,
        skip_last: false,
    };
    let mut mistakes = Vec::new();
    for (kind, keep) in other_keeps {
        mistakes.push((
            kind,
            Select {
                keep,
                ..select.clone()
            },
        ));
    }
    if keep.name.ends_with("length") {
        let keep = parity(keep.name != "even-length");
        mistakes.push((
            "wrong condition",
            Select {
                keep,
                ..select.clone()
            },
        ));
    }
    for (kind, change) in other_changes {
        mistakes.push((
            kind,
            Select {
                change,
                ..select.clone()
            },
        ));
    }
    mistakes.push((
        slip,
        Select {
            finish: other.clone(),
            ..select.clone()
        },
    ));
    if keep.name != "all" {
        mistakes.push((
            "forgot the filter",
            Select {
                keep: everything(),
                ..select.clone()
            },
        ));
    }
    let wanted = keep
        .constant
        .filter(|c| c.bytes().all(|c| c.is_ascii_lowercase()))
        .unwrap_or_else(|| "a".to_owned());
    draft = draft.special(move |draw, size| {
        let many = tests::count(1, 8, size, draw);
        let alphabet = format!("{wanted}{wanted}{}", draw.word(3, "abdeinorstu"));
        let words = (0..many).map(|_| {
            let length = draw.range(1, 7);
            let mut word = draw.word(length, &alphabet);
            if draw.percent(20) {
                word.extend(word.clone().chars().rev().skip(1));
            }
            word.truncate(8);
            word
        });
        words.collect::<Vec<_>>().join(" ")
    });
    select.finish(draft, items, mistakes, draw)
}
