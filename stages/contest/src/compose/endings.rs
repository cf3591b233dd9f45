//! The ends of the problems about a line of words: what is printed of the chosen words.
//!
//! Drawn by `words.rs`, rendered by `text.rs`.

use super::text::{Finish, chosen};

const JOINED: Finish = Finish {
    name: "joined",
    words: "ITEMS in the given order, separated by spaces",
    python: ["b = []", "b.append($)", ""],
    python_result: ["\" \".join(b)", "not b"],
    list: "\" \".join(b)",
    cpp: ["string ans;", "ans += $ + \" \";", ""],
    cpp_after: "",
    cpp_result: ["ans", "ans.empty()"],
    of: |items| chosen(items).map(|all| all.join(" ")),
    needs_default: true,
};

const BACKWARDS: Finish = Finish {
    name: "backwards",
    words: "ITEMS in reverse order (the last one first), separated by spaces",
    python_result: ["\" \".join(b[::-1])", "not b"],
    list: "\" \".join(b[::-1])",
    cpp: ["string ans;", "ans = $ + \" \" + ans;", ""],
    of: |items| {
        let mut all = chosen(items)?;
        all.reverse();
        Some(all.join(" "))
    },
    ..JOINED
};

const SORTED: Finish = Finish {
    name: "sorted",
    words: "ITEMS in alphabetical order, separated by spaces",
    python_result: ["\" \".join(sorted(b))", "not b"],
    list: "\" \".join(sorted(b))",
    cpp: ["vector<string> b;", "b.push_back($);", ""],
    cpp_after: "sort(b.begin(), b.end());\nstring ans;\nfor (auto &y : b) ans += y + \" \";\n",
    of: |items| {
        let mut all = chosen(items)?;
        all.sort_unstable();
        Some(all.join(" "))
    },
    ..JOINED
};

const GLUED: Finish = Finish {
    name: "glued",
    words: "ITEMS in the given order, written without spaces between them",
    python: ["ans = \"\"", "ans += $", ""],
    python_result: ["ans", "not ans"],
    list: "\"\".join(b)",
    cpp: ["string ans;", "ans += $;", ""],
    of: |items| chosen(items).map(|all| all.concat()),
    ..JOINED
};

const COUNT: Finish = Finish {
    name: "count",
    words: "the number of ITEMS",
    python: ["ans = 0", "ans += 1", ""],
    python_result: ["ans", ""],
    list: "len(b)",
    cpp: ["int ans = 0;", "ans++;", ""],
    of: |items| Some(chosen(items).map_or(0, |all| all.len()).to_string()),
    needs_default: false,
    ..JOINED
};

const TOTAL: Finish = Finish {
    name: "total",
    words: "the total number of letters in ITEMS",
    python: ["ans = 0", "ans += len($)", ""],
    list: "sum(len(y) for y in b)",
    cpp: ["int ans = 0;", "string y = $;\nans += y.size();", ""],
    of: |items| Some(chosen(items).unwrap_or_default().concat().len().to_string()),
    ..COUNT
};

const DISTINCT: Finish = Finish {
    name: "distinct",
    words: "how many different words there are among ITEMS",
    python: ["seen = set()", "seen.add($)", ""],
    python_result: ["len(seen)", ""],
    list: "len(set(b))",
    cpp: ["set<string> seen;", "seen.insert($);", ""],
    cpp_result: ["seen.size()", ""],
    of: |items| {
        let mut all = chosen(items).unwrap_or_default();
        all.sort_unstable();
        all.dedup();
        Some(all.len().to_string())
    },
    ..COUNT
};

const LONGEST: Finish = Finish {
    name: "longest",
    words: "the longest of ITEMS (the first one, if several are longest)",
    python: [
        "best = \"\"",
        "y = $\nif len(y) > len(best):\n    best = y",
        "",
    ],
    python_result: ["best", "best == \"\""],
    list: "max(b, key=len)",
    cpp: [
        "string best;",
        "string y = $;\nif (y.size() > best.size()) best = y;",
        "",
    ],
    cpp_result: ["best", "best.empty()"],
    of: |items| {
        let all = chosen(items)?;
        let most = all.iter().map(|word| word.len()).max()?;
        all.iter()
            .find(|word| word.len() == most)
            .map(ToString::to_string)
    },
    ..JOINED
};

const LAST_LONGEST: Finish = Finish {
    python: [
        "best = \"\"",
        "y = $\nif len(y) >= len(best):\n    best = y",
        "",
    ],
    list: "max(b[::-1], key=len)",
    cpp: [
        "string best;",
        "string y = $;\nif (y.size() >= best.size()) best = y;",
        "",
    ],
    of: |items| {
        chosen(items)?
            .iter()
            .max_by_key(|word| word.len())
            .map(ToString::to_string)
    },
    ..LONGEST
};

const SHORTEST: Finish = Finish {
    name: "shortest",
    words: "the shortest of ITEMS (the first one, if several are shortest)",
    python: [
        "best = \"\"",
        "y = $\nif best == \"\" or len(y) < len(best):\n    best = y",
        "",
    ],
    list: "min(b, key=len)",
    cpp: [
        "string best;",
        "string y = $;\nif (best.empty() || y.size() < best.size()) best = y;",
        "",
    ],
    of: |items| {
        chosen(items)?
            .iter()
            .min_by_key(|word| word.len())
            .map(ToString::to_string)
    },
    ..LONGEST
};

const SMALLEST: Finish = Finish {
    name: "smallest",
    words: "the one of ITEMS that comes first in the alphabet",
    python: [
        "best = \"\"",
        "y = $\nif best == \"\" or y < best:\n    best = y",
        "",
    ],
    list: "min(b)",
    cpp: [
        "string best;",
        "string y = $;\nif (best.empty() || y < best) best = y;",
        "",
    ],
    of: |items| chosen(items)?.iter().min().map(ToString::to_string),
    ..LONGEST
};

const FIRST: Finish = Finish {
    name: "first",
    words: "the first of ITEMS",
    python: ["best = \"\"", "best = $\nbreak", ""],
    list: "b[0]",
    cpp: ["string best;", "best = $;\nbreak;", ""],
    of: |items| chosen(items)?.first().map(ToString::to_string),
    ..LONGEST
};

const LAST: Finish = Finish {
    name: "last",
    words: "the last of ITEMS",
    python: ["best = \"\"", "best = $", ""],
    list: "b[-1]",
    cpp: ["string best;", "best = $;", ""],
    of: |items| chosen(items)?.last().map(ToString::to_string),
    ..LONGEST
};

/// The end, an error, and the end that the error makes of it.
pub(super) const ENDS: [(&Finish, &str, &Finish); 12] = [
    (&JOINED, "wrong order", &BACKWARDS),
    (&BACKWARDS, "forgot to reverse", &JOINED),
    (&SORTED, "forgot to sort", &JOINED),
    (&GLUED, "separates by spaces", &JOINED),
    (&TOTAL, "counts instead of adding", &COUNT),
    (&DISTINCT, "counts repeated words", &COUNT),
    (&SMALLEST, "compares lengths", &SHORTEST),
    (&FIRST, "takes the last", &LAST),
    (&LAST, "takes the first", &FIRST),
    (&COUNT, "counts letters instead of words", &TOTAL),
    (&LONGEST, "wrong comparison", &LAST_LONGEST),
    (&SHORTEST, "takes the longest", &LONGEST),
];
