//! Composed string problems: choose letters, change them, then count or print them.
//!
//! `text.rs` has what these problems share with those about words.

use super::reduce::draw_default;
use super::text::{Change, Finish, Keep, Select, chosen};
use crate::draw::Draw;
use crate::family::{Draft, Family, composed};
use crate::shape::{SMALL, Shape};
use crate::tests;

pub(super) const FAMILIES: &[Family] = &[composed("letters-filter-count", letters_filter_count)];

fn among(letters: &str) -> Keep {
    let quoted: Vec<_> = letters.chars().map(|c| format!("'{c}'")).collect();
    let words = format!(
        "the letters {} and {}",
        quoted[..quoted.len() - 1].join(", "),
        quoted[quoted.len() - 1]
    );
    let all = letters.to_owned();
    Keep::new(
        "among",
        words,
        format!("# in \"{letters}\""),
        format!("string(\"{letters}\").find(#) != string::npos"),
        move |x, _| all.contains(x),
    )
    .about(letters)
}

fn vowels(words: &str, letters: &'static str) -> Keep {
    let cpp: Vec<_> = letters.chars().map(|c| format!("# == '{c}'")).collect();
    Keep::new(
        "vowels",
        words,
        format!("# in \"{letters}\""),
        cpp.join(" || "),
        move |x, _| letters.contains(x),
    )
}

fn consonants() -> Keep {
    Keep::new(
        "consonants",
        "the consonants (letters other than a, e, i, o, u)",
        "# not in \"aeiou\"",
        "string(\"aeiou\").find(#) == string::npos",
        |x, _| !"aeiou".contains(x),
    )
}

/// Letters in a certain order to `c`.
fn compared(op: &'static str, c: char) -> Keep {
    let (name, words) = match op {
        ">" => (
            "after",
            format!("the letters that come after '{c}' in the alphabet"),
        ),
        ">=" => ("from", format!("the letters from '{c}' to 'z'")),
        "<" => (
            "before",
            format!("the letters that come before '{c}' in the alphabet"),
        ),
        "<=" => ("up-to", format!("the letters from 'a' to '{c}'")),
        "==" => ("equal", format!("the letters equal to '{c}'")),
        _ => ("except", format!("all letters except '{c}'")),
    };
    let keeps = move |x: &str, _| {
        let x = char::from(x.as_bytes()[0]);
        match op {
            ">" => x > c,
            ">=" => x >= c,
            "<" => x < c,
            "<=" => x <= c,
            "==" => x == c,
            _ => x != c,
        }
    };
    Keep::new(
        name,
        words,
        format!("# {op} \"{c}\""),
        format!("# {op} '{c}'"),
        keeps,
    )
    .about(c)
}

fn places(even: bool) -> Keep {
    let (name, words, rest) = if even {
        ("even-places", "even", 1)
    } else {
        ("odd-places", "odd", 0)
    };
    Keep::new(
        name,
        format!("the letters at {words} positions (counted from 1)"),
        format!("i % 2 == {rest}"),
        format!("i % 2 == {rest}"),
        move |_, i| i % 2 == rest,
    )
}

/// A condition and its mistakes.
fn draw_keep(draw: &mut Draw) -> (Keep, Vec<(&'static str, Keep)>) {
    let c = char::from(draw.range(i64::from(b'c'), i64::from(b'w')) as u8);
    let strict = "wrong comparison";
    let proper = "the vowels (a, e, i, o, u)";
    match draw.range(0, 10) {
        0 => (
            vowels(proper, "aeiou"),
            vec![
                ("forgot a case", vowels("", "aeio")),
                ("wrong condition", consonants()),
            ],
        ),
        1 => (consonants(), vec![("wrong condition", vowels("", "aeiou"))]),
        2 => (
            compared(">", c),
            vec![(strict, compared(">=", c)), (strict, compared("<", c))],
        ),
        3 => (
            compared(">=", c),
            vec![(strict, compared(">", c)), (strict, compared("<=", c))],
        ),
        4 => (
            compared("<", c),
            vec![(strict, compared("<=", c)), (strict, compared(">", c))],
        ),
        5 => (
            compared("<=", c),
            vec![(strict, compared("<", c)), (strict, compared(">=", c))],
        ),
        6 => (
            compared("==", c),
            vec![("wrong condition", compared("!=", c))],
        ),
        7 => (
            compared("!=", c),
            vec![("wrong condition", compared("==", c))],
        ),
        8 => {
            let mut letters = SMALL.as_bytes().to_vec();
            draw.shuffle(&mut letters);
            let mut three = String::from_utf8_lossy(&letters[..3]).into_owned();
            let two = among(&three[..2]);
            three.push(char::from(letters[3]));
            let right = among(&three);
            (
                right,
                vec![
                    ("forgot a case", two),
                    ("forgot a case", among(&three[1..])),
                ],
            )
        }
        9 => (places(true), vec![("off by one", places(false))]),
        _ => (places(false), vec![("off by one", places(true))]),
    }
}

fn shift(by: u8, wraps: bool) -> Change {
    let change = move |x: &str| {
        let new = x.as_bytes()[0] + by;
        char::from(if wraps { (new - b'a') % 26 + b'a' } else { new }).to_string()
    };
    let (python, cpp) = if wraps {
        (
            format!("chr((ord(#) - 97 + {by}) % 26 + 97)"),
            format!("(char)((# - 'a' + {by}) % 26 + 'a')"),
        )
    } else {
        (format!("chr(ord(#) + {by})"), format!("(char)(# + {by})"))
    };
    let s = if by == 1 { "" } else { "s" };
    let words =
        format!("replace EACH by the letter {by} place{s} later in the alphabet (after z comes a)");
    Change::new("shift", words, python, cpp, change)
}

fn draw_change(draw: &mut Draw) -> (Change, Vec<(&'static str, Change)>) {
    let forgot = || ("forgot a step", Change::none());
    let upper = || {
        Change::new(
            "upper",
            "turn EACH into an uppercase letter",
            "#.upper()",
            "(char)toupper(#)",
            str::to_uppercase,
        )
    };
    let repeat = |many: usize| {
        let words = format!(
            "write EACH {} times",
            if many == 2 {
                "two".to_owned()
            } else {
                many.to_string()
            }
        );
        Change::new(
            "repeat",
            words,
            format!("# * {many}"),
            format!("string({many}, #)"),
            move |x| x.repeat(many),
        )
    };
    match draw.range(0, 6) {
        0..=2 => (Change::none(), Vec::new()),
        3 => (upper(), vec![forgot()]),
        4 => {
            let by = draw.range(1, 5) as u8;
            let wrong = vec![
                forgot(),
                ("forgot to wrap around", shift(by, false)),
                ("off by one", shift(by + 1, true)),
            ];
            (shift(by, true), wrong)
        }
        5 => (repeat(2), vec![forgot(), ("off by one", repeat(3))]),
        _ => {
            let (sign, python) =
                draw.one(&[("*", "'*'"), ("#", "'_'"), (".", "'.'"), ("-", "'-'")]);
            let sign = if sign == "#" { "_" } else { sign };
            let words = format!("replace EACH by the character {sign}");
            let change = Change::new("cover", words, python, python, move |_| sign.to_owned());
            (change, vec![forgot()])
        }
    }
}

const STRING: [&str; 2] = ["ans", "not ans"];
const CPP_STRING: [&str; 2] = ["ans", "ans.empty()"];

const KEPT: Finish = Finish {
    name: "kept",
    words: "the string of ITEMS, in the given order",
    python: ["ans = \"\"", "ans += $", ""],
    python_result: STRING,
    list: "\"\".join(b)",
    cpp: ["string ans;", "ans += $;", ""],
    cpp_after: "",
    cpp_result: CPP_STRING,
    of: |items| chosen(items).map(|all| all.concat()),
    needs_default: true,
};

const REVERSED: Finish = Finish {
    name: "reversed",
    words: "the string of ITEMS in reverse order",
    python: ["ans = \"\"", "ans = $ + ans", ""],
    list: "\"\".join(b[::-1])",
    cpp: ["string ans;", "ans = $ + ans;", ""],
    of: |items| {
        let mut all = chosen(items)?;
        all.reverse();
        Some(all.concat())
    },
    ..KEPT
};

const SORTED: Finish = Finish {
    name: "sorted",
    words: "the string of ITEMS in alphabetical order",
    python: ["b = []", "b.append($)", ""],
    python_result: ["\"\".join(sorted(b))", "not b"],
    list: "\"\".join(sorted(b))",
    cpp_after: "sort(ans.begin(), ans.end());\n",
    of: |items| {
        let mut all = chosen(items)?;
        all.sort_unstable();
        Some(all.concat())
    },
    ..KEPT
};

const COUNT: Finish = Finish {
    name: "count",
    words: "the number of ITEMS",
    python: ["ans = 0", "ans += 1", ""],
    list: "len(b)",
    cpp: ["int ans = 0;", "ans++;", ""],
    of: |items| Some(chosen(items).map_or(0, |all| all.len()).to_string()),
    needs_default: false,
    ..KEPT
};

const DISTINCT: Finish = Finish {
    name: "distinct",
    words: "how many different letters there are among ITEMS",
    python: ["seen = set()", "seen.add($)", ""],
    python_result: ["len(seen)", ""],
    list: "len(set(b))",
    cpp: ["set<char> seen;", "seen.insert($);", ""],
    cpp_result: ["seen.size()", ""],
    of: |items| {
        let mut all = chosen(items).unwrap_or_default();
        all.sort_unstable();
        all.dedup();
        Some(all.len().to_string())
    },
    needs_default: false,
    ..KEPT
};

const IN_PLACE: Finish = Finish {
    name: "in-place",
    words: "the whole string after this",
    python: ["ans = \"\"", "ans += $", "ans += #"],
    list: "",
    cpp: ["string ans;", "ans += $;", "ans += #;"],
    of: |items| {
        Some(
            items
                .iter()
                .map(|(old, new)| new.as_ref().unwrap_or(old).as_str())
                .collect(),
        )
    },
    needs_default: false,
    ..KEPT
};

fn items(input: &str) -> Vec<String> {
    input.trim().chars().map(String::from).collect()
}

fn letters_filter_count(draw: &mut Draw) -> Draft {
    let (keep, other_keeps) = draw_keep(draw);
    let (change, other_changes) = draw_change(draw);
    let plain = change.words.is_empty();
    let (finish, slip, other) = if plain {
        draw.one(&[
            (&COUNT, "counts every letter once", &DISTINCT),
            (&KEPT, "wrong order", &REVERSED),
            (&REVERSED, "forgot to reverse", &KEPT),
            (&SORTED, "forgot to sort", &KEPT),
            (&DISTINCT, "counts repeated letters", &COUNT),
        ])
    } else if change.name == "cover" {
        (&IN_PLACE, "drops the other letters", &KEPT)
    } else {
        draw.one(&[
            (&IN_PLACE, "drops the other letters", &KEPT),
            (&IN_PLACE, "drops the other letters", &KEPT),
            (&KEPT, "keeps the other letters", &IN_PLACE),
            (&REVERSED, "forgot to reverse", &KEPT),
            (&SORTED, "forgot to sort", &KEPT),
        ])
    };
    let default = finish.needs_default.then(|| draw_default(draw));
    let clause = default.map_or_else(String::new, |word| format!(", or {word} if there are none"));
    let these = keep.words.clone();
    let mut draft = Draft::new(Shape::word(50), &["strings"], if plain { 1 } else { 2 });
    if plain {
        let goal = finish.words.replace("ITEMS", &these);
        draft = draft
            .story(&format!(
                "@NAME@ has a string s and is interested in {these} only."
            ))
            .story(&format!("Given a string s, find {goal}."))
            .story(&format!(
                "@NAME@ reads a string letter by letter and picks out {these}."
            ))
            .asks(&format!("{goal}{clause}"));
    } else {
        let all = change.words.replace("EACH", "each of them");
        let drop = if finish.name == "in-place" {
            "leave all other letters as they are"
        } else {
            "drop all other letters"
        };
        draft = draft
            .story(&format!(
                "@NAME@ takes {these} of a string s. Then @NAME@ decides to {all}, and to {drop}."
            ))
            .story(&format!(
                "Given a string s, look at {these}: {all}, and {drop}."
            ))
            .asks(&format!(
                "{}{clause}",
                finish.words.replace("ITEMS", "the changed letters")
            ));
        if let Some(by) = all
            .split("letter ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
        {
            draft = draft.constant("BY", by);
        }
        if change.name == "cover" {
            draft = draft.constant("SIGN", &change.python);
        }
    }
    let select = Select {
        over: "s",
        item: "char",
        keep: keep.clone(),
        change: change.clone(),
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
    let edge = keep.constant.clone().unwrap_or_else(|| "aeiou".to_owned());
    draft = draft.special(move |draw, size| {
        let length = tests::count(1, 24, size, draw);
        let mut near = edge.clone();
        for letter in edge.bytes() {
            near.push(char::from((letter - 1).max(b'a')));
            near.push(char::from((letter + 1).min(b'z')));
        }
        near.push_str("aez");
        near.push(char::from(draw.range(97, 122) as u8));
        draw.word(length, &near)
    });
    draft = draft
        .must("z")
        .must("a")
        .must("zyaz")
        .must("bcdfg")
        .must("aeoiuue");
    select.finish(draft, items, mistakes, draw)
}
