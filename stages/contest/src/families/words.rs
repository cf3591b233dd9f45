//! Families about words: the longest one, acronyms, order, repeated words.

use crate::draw::Draw;
use crate::family::{Draft, Family, plain};
use crate::reader::Reader;
use crate::shape::{SMALL, Shape};
use crate::tests::count;

pub(super) const FAMILIES: &[Family] = &[
    plain("longest-word", longest_word),
    plain("acronym", acronym),
    plain("rearranged-words", rearranged_words),
    plain("repeated-words", repeated_words),
];

const SENTENCE: Shape = Shape::Sentence {
    words: 20,
    length: 8,
};

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn longest_word(draw: &mut Draw) -> Draft {
    let (long, first) = (draw.percent(50), draw.percent(50));
    let what = draw.index(3);
    let (strict, loose, function) = if long {
        (">", ">=", "max")
    } else {
        ("<", "<=", "min")
    };
    let (op, other) = if first {
        (strict, loose)
    } else {
        (loose, strict)
    };
    let key = match (first, long) {
        (true, _) => "len(words[i])",
        (false, true) => "(len(words[i]), i)",
        (false, false) => "(len(words[i]), -i)",
    };
    let (out, c_out, asks) = [
        ("words[best]", "words[best]", "the @WORD@ word"),
        (
            "best + 1",
            "best + 1",
            "the position of the @WORD@ word, counted from 1",
        ),
        (
            "words[best], len(words[best])",
            "words[best] << \" \" << words[best].size()",
            "the @WORD@ word and its length",
        ),
    ][what];
    Draft::new(SENTENCE, &["strings", "implementation"], 1)
        .constant("OUT", out)
        .constant("COUT", c_out)
        .constant("WORD", if long { "longest" } else { "shortest" })
        .constant("WHICH", if first { "first" } else { "last" })
        .constant("FIND", if first { "b.index(@FN@(b))" } else { "len(b) - 1 - b[::-1].index(@FN@(b))" })
        .constant("FN", function)
        .constant("BADFN", if long { "min" } else { "max" })
        .constant("KEY", key)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("WRONG", if long { "<" } else { ">" })
        .story("@NAME@ reads a sentence and looks for its @WORD@ word. If there are several, the @WHICH@ of them counts.")
        .story("Find the @WORD@ word of a line. Among words of the same length take the @WHICH@ one.")
        .story("Which is the @WORD@ word of a sentence? If more than one word has this length, choose the @WHICH@ such word.")
        .asks(asks)
        .answer(move |input| {
            let words = Reader::new(input).words();
            let mut best = 0;
            for (at, word) in words.iter().enumerate() {
                let (now, then) = (word.len(), words[best].len());
                let better = if long { now > then } else { now < then };
                if better || (!first && now == then) {
                    best = at;
                }
            }
            match what {
                0 => text(words[best]),
                1 => text(best + 1),
                _ => format!("{} {}", words[best], words[best].len()),
            }
        })
        .must("ab cd ef")
        .must("b aa")
        .must("bb a")
        .must("a ccc bb")
        .must("ccc a bb")
        .must("aa bb c")
        .must("c b aa")
        .must("aa b c dd")
        .must("a bb cc d")
        .python("loop", "@READ@\nbest = 0\nfor i in range(len(words)):\n    if len(words[i]) @OP@ len(words[best]):\n        best = i\nprint(@OUT@)")
        .python("lengths", "@READ@\nb = [len(w) for w in words]\nbest = @FIND@\nprint(@OUT@)")
        .python("key", "@READ@\nbest = @FN@(range(len(words)), key=lambda i: @KEY@)\nprint(@OUT@)")
        .cpp("cpp-loop", "@READ@\nint best = 0;\nfor (int i = 1; i < words.size(); i++) {\n    if (words[i].size() @OP@ words[best].size()) best = i;\n}\ncout << @COUT@ << endl;")
        .cpp("cpp-length", "@READ@\nint best = 0, len = words[0].size();\nfor (int i = 1; i < words.size(); i++) {\n    int x = words[i].size();\n    if (x @OP@ len) {\n        len = x;\n        best = i;\n    }\n}\ncout << @COUT@ << endl;")
        .bug("loop", "wrong choice among equals", "@OP@", "@OTHER@")
        .bug("cpp-loop", "wrong choice among equals", "@OP@", "@OTHER@")
        .bug("loop", "wrong comparison", "@OP@", "@WRONG@")
        .bug("loop", "compares the words, not their lengths", "len(words[i]) @OP@ len(words[best])", "words[i] @OP@ words[best]")
        .bug("cpp-loop", "misses the last word", "i < words.size()", "i + 1 < words.size()")
        .bug("cpp-length", "forgot an update", "        len = x;\n", "")
        .bug("key", "wrong extreme", "@FN@", "@BADFN@")
        .crash("loop", "index out of range", "len(words)", "len(words) + 1")
}

fn acronym(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 6) as usize;
    let upper = draw.percent(60);
    let (which, asks, python, wrong, cpp, c_wrong) = draw.one(&[
        (0, "first", "w[0]", "w[-1]", "x[0]", "x.back()"),
        (1, "last", "w[-1]", "w[0]", "x.back()", "x[0]"),
        (2, "second", "w[1]", "w[0]", "x[1]", "x[0]"),
    ]);
    let draft = Draft::new(SENTENCE, &["strings", "implementation"], 1)
        .constant("K", k)
        .constant("LETTER", asks)
        .constant("CASE", if upper { "capital" } else { "small" })
        .constant("PICK", format!("{python}{}", if upper { ".upper()" } else { "" }))
        .constant("WRONG", format!("{wrong}{}", if upper { ".upper()" } else { "" }))
        .constant("SMALL", format!("{python}{}", if upper { "" } else { ".upper()" }))
        .constant("CPICK", if upper { format!("char(toupper({cpp}))") } else { text(cpp) })
        .constant("CWRONG", if upper { format!("char(toupper({c_wrong}))") } else { text(c_wrong) })
        .story("@NAME@ makes an abbreviation: the @LETTER@ letters of all words with at least @K@ letters, in @CASE@ letters. Shorter words are skipped.")
        .story("An acronym is built from a sentence. Words of fewer than @K@ letters are left out; of every other word, the @LETTER@ letter is taken and written as a @CASE@ letter.")
        .asks("the abbreviation, or \"-\" if all words are too short")
        .asks("the joined letters (\"-\" if there is none)")
        .answer(move |input| {
            let mut short = String::new();
            for word in Reader::new(input).words() {
                if word.len() >= k {
                    let at = [0, word.len() - 1, 1][which];
                    short.push(char::from(word.as_bytes()[at]));
                }
            }
            if short.is_empty() {
                short.push('-');
            }
            if upper { short.to_uppercase() } else { short }
        })
        .special(move |draw, size| {
            let many = count(2, 20, size, draw);
            let mut word = || {
                let length = draw.range((k as i64 - 2).max(1), k as i64 + 2);
                draw.word(length, SMALL)
            };
            let words: Vec<_> = (0..many).map(|_| word()).collect();
            words.join(" ")
        })
        .must(format!("{} {} {}", &SMALL[1..k], &SMALL[2..k + 2], &SMALL[3..k + 4]))
        .must(&SMALL[1..k])
        .must(&SMALL[2..k + 2])
        .must("x b")
        .python("loop", "@READ@\nans = \"\"\nfor w in words:\n    if len(w) >= @K@:\n        ans += @PICK@\nif ans == \"\":\n    ans = \"-\"\nprint(ans)")
        .python("join", "@READ@\nb = [@PICK@ for w in words if len(w) >= @K@]\nprint(\"\".join(b) or \"-\")")
        .python("index", "@READ@\nans = \"\"\nfor i in range(len(words)):\n    w = words[i]\n    if len(w) < @K@:\n        continue\n    ans += @PICK@\nprint(ans if ans else \"-\")")
        .cpp("cpp-loop", "@READ@\nstring ans;\nfor (string x : words) {\n    if (x.size() >= @K@) ans += @CPICK@;\n}\nif (ans.empty()) ans = \"-\";\ncout << ans << endl;")
        .cpp("cpp-index", "@READ@\nstring ans = \"\";\nfor (int i = 0; i < words.size(); i++) {\n    string x = words[i];\n    if (x.size() < @K@) continue;\n    ans += @CPICK@;\n}\nif (ans == \"\") cout << \"-\" << endl;\nelse cout << ans << endl;")
        .bug("loop", "wrong comparison", ">= @K@", "> @K@")
        .bug("cpp-loop", "wrong comparison", ">= @K@", "> @K@")
        .bug("index", "wrong comparison", "< @K@", "<= @K@")
        .bug("loop", "wrong letter", "@PICK@", "@WRONG@")
        .bug("cpp-index", "wrong letter", "@CPICK@", "@CWRONG@")
        .bug("loop", "wrong case", "@PICK@", "@SMALL@")
        .bug("join", "missing edge case", " or \"-\"", "")
        .bug("cpp-index", "stops instead of skipping", "continue", "break")
        .crash("index", "index out of range", "len(words)", "len(words) + 1");
    match (which, k) {
        (2, 2) => draft.crash("join", "missing length check", " if len(w) >= @K@", ""),
        // Some short words would crash it, others only be counted.
        (2, _) => draft.bug("join", "off by one", ">= @K@", ">= @K@ - 1"),
        _ => draft.bug("join", "missing length check", " if len(w) >= @K@", ""),
    }
}

fn rearranged_words(draw: &mut Draw) -> Draft {
    let order = draw.index(3);
    let change = draw.index(3);
    let separator = draw.one(&["-", "_", "+", ",", "/", "."]);
    let orders = [
        "in reversed order",
        "in alphabetical order",
        "in reversed alphabetical order",
    ];
    let sorts = [
        "words[::-1]",
        "sorted(words)",
        "sorted(words, reverse=True)",
    ];
    let in_place = [
        "words.reverse()",
        "words.sort()",
        "words.sort(reverse=True)",
    ];
    let cpp = [
        "reverse(words.begin(), words.end())",
        "sort(words.begin(), words.end())",
        "sort(words.rbegin(), words.rend())",
    ];
    let (words, python, c_part) = [
        ("", "w", "w"),
        (
            ", each of them written backwards",
            "w[::-1]",
            "string(w.rbegin(), w.rend())",
        ),
        (
            ", each of them doubled (go becomes gogo)",
            "w * 2",
            "w << w",
        ),
    ][change];
    let draft = Draft::new(SENTENCE, &["strings", "sortings"], 1)
        .constant("SEP", separator)
        .constant("ORDER", orders[order])
        .constant("CHANGE", words)
        .constant("SORT", sorts[order])
        .constant("BADSORT", sorts[(order + 1) % 3])
        .constant("INPLACE", in_place[order])
        .constant("CSORT", cpp[order])
        .constant("CBADSORT", cpp[(order + 2) % 3])
        .constant("DO", python)
        .constant("CDO", c_part)
        .story("@NAME@ rewrites a sentence: the words are put @ORDER@@CHANGE@, and joined with the character '@SEP@'.")
        .story("Take the words of a line @ORDER@@CHANGE@. Put one '@SEP@' between neighbouring words.")
        .asks("the words @ORDER@@CHANGE@, with '@SEP@' between them")
        .asks("the new line")
        .answer(move |input| {
            let mut words = Reader::new(input).words();
            if order > 0 {
                words.sort_unstable();
            }
            if order != 1 {
                words.reverse();
            }
            let changed: Vec<String> = words
                .iter()
                .map(|word| match change {
                    0 => text(word),
                    1 => word.chars().rev().collect(),
                    _ => word.repeat(2),
                })
                .collect();
            changed.join(separator)
        })
        .must("beta alpha delta")
        .must("one")
        .must("za ab mm by")
        .must("ab ca")
        .python("list", "@READ@\nb = @SORT@\nb = [@DO@ for w in b]\nprint(\"@SEP@\".join(b))")
        .python("in-place", "@READ@\n@INPLACE@\nans = \"\"\nfor w in words:\n    if ans != \"\":\n        ans += \"@SEP@\"\n    ans += @DO@\nprint(ans)")
        .python("short", "@READ@\nprint(\"@SEP@\".join(@DO@ for w in @SORT@))")
        .cpp("cpp-index", "@READ@\n@CSORT@;\nfor (int i = 0; i < words.size(); i++) {\n    string w = words[i];\n    if (i > 0) cout << '@SEP@';\n    cout << @CDO@;\n}\ncout << endl;")
        .cpp("cpp-first", "@READ@\n@CSORT@;\nbool first = true;\nfor (auto w : words) {\n    if (!first) cout << \"@SEP@\";\n    first = false;\n    cout << @CDO@;\n}\ncout << endl;")
        .bug("in-place", "forgot the order", "@INPLACE@\n", "")
        .bug("short", "wrong order", "@SORT@", "@BADSORT@")
        .bug("cpp-first", "wrong order", "@CSORT@", "@CBADSORT@")
        .bug("in-place", "missing separator", "    if ans != \"\":\n        ans += \"@SEP@\"\n", "")
        .bug("in-place", "overwrites the answer", "ans += @DO@", "ans = @DO@")
        .bug("cpp-index", "wrong separators", "    if (i > 0) cout << '@SEP@';\n    cout << @CDO@;\n", "    cout << @CDO@ << '@SEP@';\n")
        .bug("cpp-index", "off by one", "i < words.size()", "i + 1 < words.size()")
        .crash("in-place", "uses the result of an in-place change", "@INPLACE@", "words = @INPLACE@");
    match (change, order) {
        (0, _) => draft,
        (1, 1 | 2) => draft
            .bug(
                "list",
                "forgot to change the words",
                "b = [@DO@ for w in b]\n",
                "",
            )
            .bug(
                "list",
                "changes before sorting",
                "b = @SORT@\nb = [@DO@ for w in b]\n",
                "words = [@DO@ for w in words]\nb = @SORT@\n",
            ),
        _ => draft.bug(
            "list",
            "forgot to change the words",
            "b = [@DO@ for w in b]\n",
            "",
        ),
    }
}

fn repeated_words(draw: &mut Draw) -> Draft {
    let exactly = draw.percent(50);
    let k = draw.range(2, 5) as usize;
    let (words, op, other) = if exactly {
        ("exactly", "==", ">=")
    } else {
        ("at least", ">=", ">")
    };
    let show = draw.index(3);
    // Number of such words, the first of them in the alphabet, or their total length.
    let asks = [
        "the number of different words that occur @WORDS@ @K@ times",
        "the word with @WORDS@ @K@ occurrences that is the first in the alphabet, or NONE if there is no such word",
        "the total length of the different words that occur @WORDS@ @K@ times",
    ][show];
    let python = [
        "len(b)",
        "min(b) if b else \"NONE\"",
        "sum(len(w) for w in b)",
    ][show];
    let wrong = [
        "sum(len(w) for w in b)",
        "max(b) if b else \"NONE\"",
        "len(b)",
    ][show];
    let (start, step, end) = [
        ("int ans = 0;", "ans++", "ans"),
        (
            "string ans = \"NONE\";",
            "if (ans == \"NONE\") ans = x.first",
            "ans",
        ),
        ("int ans = 0;", "ans += x.first.size()", "ans"),
    ][show];
    let (first, second, third) = (
        "ba\n".repeat(k),
        "ab\n".repeat(k - 1),
        "abc\n".repeat(k + 1),
    );
    Draft::new(Shape::Words { n: 40, length: 3, letters: "ab" }, &["data structures", "strings"], 2)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("SHOW", python)
        .constant("WRONG", wrong)
        .constant("START", start)
        .constant("STEP", step)
        .constant("END", end)
        .story("@NAME@ has a list of n words, some of them more than once. The words that occur @WORDS@ @K@ times are of interest.")
        .story("There are n votes, each for one name. A name is on the final list if it has @WORDS@ @K@ votes.")
        .story("In a list of n words, look at those which appear @WORDS@ @K@ times.")
        .asks(asks)
        .answer(move |input| {
            let mut words = Reader::new(input).words();
            words.remove(0);
            words.sort_unstable();
            let blocks = words.chunk_by(|left, right| left == right);
            let good = |block: &&[&str]| if exactly { block.len() == k } else { block.len() >= k };
            let good: Vec<&str> = blocks.filter(good).map(|block| block[0]).collect();
            match show {
                0 => text(good.len()),
                1 => text(good.first().unwrap_or(&"NONE")),
                _ => text(good.iter().map(|word| word.len()).sum::<usize>()),
            }
        })
        .special(|draw, size| {
            let names: Vec<_> = (1..5).map(|length| draw.word(length.min(3), "ab")).collect();
            let many = count(4, 30, size, draw);
            let words: Vec<_> = (0..many).map(|_| names[draw.index(4)].as_str()).collect();
            format!("{many}\n{}", words.join("\n"))
        })
        .must(format!("{}\n{first}{second}{third}", 3 * k))
        .must(format!("{k}\n{first}"))
        .must(format!("{}\n{second}", k - 1))
        .must(format!("{}\n{third}", k + 1))
        .must(format!("{}\n{first}{}", 2 * k, "bb\n".repeat(k)))
        .python("set", "@READ@\nb = [w for w in set(words) if words.count(w) @OP@ @K@]\nprint(@SHOW@)")
        .python("dict", "@READ@\ncnt = {}\nfor w in words:\n    if w in cnt:\n        cnt[w] += 1\n    else:\n        cnt[w] = 1\nb = []\nfor w in cnt:\n    if cnt[w] @OP@ @K@:\n        b.append(w)\nprint(@SHOW@)")
        .python("counter", "from collections import Counter\n@READ@\ncnt = Counter(words)\nb = [w for w, c in cnt.items() if c @OP@ @K@]\nprint(@SHOW@)")
        .cpp("cpp-map", "@READ@\nmap<string, int> cnt;\nfor (int i = 0; i < n; i++) cnt[words[i]]++;\n@START@\nfor (auto x : cnt) {\n    if (x.second @OP@ @K@) @STEP@;\n}\ncout << @END@ << endl;")
        .cpp("cpp-set", "@READ@\nset<string> names(words.begin(), words.end());\nmap<string, int> cnt;\nfor (auto &name : names) cnt[name] = count(words.begin(), words.end(), name);\n@START@\nfor (auto x : cnt)\n    if (x.second @OP@ @K@) @STEP@;\ncout << @END@ << endl;")
        .bug("set", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-map", "wrong comparison", "@OP@", "@OTHER@")
        .bug("dict", "wrong initial value", "cnt[w] = 1", "cnt[w] = 0")
        .bug("dict", "never counts", "cnt[w] += 1", "cnt[w] = 1")
        .bug("counter", "wrong output", "@SHOW@", "@WRONG@")
        .bug("cpp-map", "off by one", "int i = 0", "int i = 1")
        .crash("dict", "missing key", "    if w in cnt:\n        cnt[w] += 1\n    else:\n        cnt[w] = 1\n", "    cnt[w] += 1\n")
}
