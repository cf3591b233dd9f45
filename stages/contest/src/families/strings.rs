//! Families about the letters of one or two strings.

use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::{SMALL, Shape};
use crate::tests::{Size, count};

pub(super) const FAMILIES: &[Family] = &[
    plain("caesar-shift", caesar_shift),
    plain("letters-changed", letters_changed),
    plain("letters-removed", letters_removed),
    plain("palindrome-windows", palindrome_windows),
    plain("palindromic-end", palindromic_end),
    plain("run-length", run_length),
    plain("letter-frequency", letter_frequency),
    held_out("anagram-ignoring", anagram_ignoring),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn is_palindrome(word: &[u8]) -> bool {
    word.iter().eq(word.iter().rev())
}

/// Three or four different letters, or the vowels.
fn letter_set(draw: &mut Draw) -> String {
    if draw.percent(25) {
        return draw.one(&["aeiou", "aeiouy"]).to_owned();
    }
    let mut letters = SMALL.as_bytes().to_vec();
    draw.shuffle(&mut letters);
    letters.truncate(draw.range(3, 4) as usize);
    letters.sort_unstable();
    letters.into_iter().map(char::from).collect()
}

/// A word with about as many letters of a set as others.
fn word_with(set: &str, draw: &mut Draw, size: Size) -> String {
    let length = count(1, 60, size, draw);
    let mut one = || {
        let from = if draw.percent(50) { set } else { SMALL };
        draw.word(1, from)
    };
    (0..length).map(|_| one()).collect()
}

fn caesar_shift(draw: &mut Draw) -> Draft {
    // A shift by 13 either way is the same.
    let k = draw.range(1, 12);
    let back = draw.percent(50);
    let forward = if back { 26 - k } else { k };
    let (words, sign, other) = if back {
        ("back", "-", "+")
    } else {
        ("forward", "+", "-")
    };
    Draft::new(Shape::word(100), &["strings", "implementation"], 2)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("SIGN", sign)
        .constant("OTHER", other)
        .constant("FWD", forward)
        .constant("OUT", if back { "< 0" } else { ">= 26" })
        .constant("BADOUT", if back { "<= 0" } else { "> 26" })
        .constant("FIX", if back { "+=" } else { "-=" })
        .story("@NAME@ writes secret messages: every letter is moved @WORDS@ by @K@ places in the alphabet. The alphabet is a circle: z is followed by a.")
        .story("Move each letter of a string @WORDS@ by @K@ letters. After z comes a again, and before a comes z.")
        .story("A machine turns each letter @K@ steps @WORDS@ in the cyclic alphabet a, b, ..., z, a, ...")
        .asks("the changed string")
        .asks("the string after all letters were moved @WORDS@ by @K@")
        .answer(move |input| {
            let word = Reader::new(input).word();
            word.bytes().map(|c| char::from(b'a' + (c - b'a' + forward as u8) % 26)).collect()
        })
        .must(SMALL)
        .python("ord", "@READ@\nans = \"\"\nfor c in s:\n    ans += chr((ord(c) - 97 @SIGN@ @K@) % 26 + 97)\nprint(ans)")
        .python("alphabet", "@READ@\nabc = \"abcdefghijklmnopqrstuvwxyz\"\nans = \"\"\nfor c in s:\n    i = abc.index(c)\n    ans += abc[(i + @FWD@) % 26]\nprint(ans)")
        .python("join", "@READ@\nprint(\"\".join(chr((ord(c) - ord(\"a\") @SIGN@ @K@) % 26 + ord(\"a\")) for c in s))")
        .cpp("cpp-loop", "@READ@\nfor (char &c : s) c = 'a' + (c - 'a' + @FWD@) % 26;\ncout << s << endl;")
        .cpp("cpp-if", "@READ@\nstring ans;\nfor (char c : s) {\n    int x = c - 'a' @SIGN@ @K@;\n    if (x @OUT@) x @FIX@ 26;\n    ans += char('a' + x);\n}\ncout << ans << endl;")
        .bug("ord", "wrong direction", "@SIGN@", "@OTHER@")
        .bug("ord", "wrong modulus", "% 26", "% 25")
        .bug("join", "off by one", "@SIGN@ @K@", "@SIGN@ @K@ + 1")
        .bug("ord", "wrong letter code", "- 97", "- 65")
        .bug("cpp-loop", "wrong letter code", "(c - 'a'", "(c - 'A'")
        .bug("cpp-if", "wrong comparison", "@OUT@", "@BADOUT@")
        .bug("alphabet", "overwrites the answer", "ans += abc", "ans = abc")
        .crash("alphabet", "index out of range", " % 26", "")
}

fn letters_changed(draw: &mut Draw) -> Draft {
    let set = letter_set(draw);
    let (words, python, cpp, kind) = draw.one(&[
        ("replaced by '*'", "\"*\"", "'*'", 0),
        ("replaced by '-'", "\"-\"", "'-'", 1),
        ("replaced by '#'", "\"#\"", "'#'", 2),
        ("written twice", "c + c", "string(2, c)", 3),
        (
            "written as a capital letter",
            "c.upper()",
            "char(toupper(c))",
            4,
        ),
    ]);
    let (special_set, answer_set) = (set.clone(), set.clone());
    let first = &set[..1];
    Draft::new(Shape::word(100), &["strings", "implementation"], 1)
        .constant("SET", &set)
        .constant("LESS", &set[1..])
        .constant("FIRST", first)
        .constant("WORDS", words)
        .constant("DO", python)
        .constant("CDO", cpp)
        .story("@NAME@ copies a text by hand. Every letter among \"@SET@\" must be @WORDS@; all other letters stay.")
        .story("In a string, each of the letters \"@SET@\" has to be @WORDS@. Nothing else changes.")
        .story("The letters of \"@SET@\" are special to @NAME@. In the new string they are @WORDS@, the others are kept.")
        .asks("the new string")
        .asks("the string with these letters @WORDS@")
        .answer(move |input| {
            let change = |c: char| match kind {
                _ if !answer_set.contains(c) => text(c),
                0 => text("*"),
                1 => text("-"),
                2 => text("#"),
                3 => format!("{c}{c}"),
                _ => text(c.to_ascii_uppercase()),
            };
            Reader::new(input).word().chars().map(change).collect()
        })
        .special(move |draw, size| word_with(&special_set, draw, size))
        .must(format!("x{set}{set}q"))
        .must("@FIRST@")
        .python("loop", "@READ@\nans = \"\"\nfor c in s:\n    if c in \"@SET@\":\n        ans += @DO@\n    else:\n        ans += c\nprint(ans)")
        .python("join", "@READ@\nprint(\"\".join(@DO@ if c in \"@SET@\" else c for c in s))")
        .python("replace", "@READ@\nfor c in \"@SET@\":\n    s = s.replace(c, @DO@)\nprint(s)")
        .cpp("cpp-find", "@READ@\nstring ans, special = \"@SET@\";\nfor (char c : s) {\n    if (special.find(c) != string::npos) ans += @CDO@;\n    else ans += c;\n}\ncout << ans << endl;")
        .cpp("cpp-count", "@READ@\nstring ans, bad = \"@SET@\";\nfor (int i = 0; i < s.size(); i++) {\n    char c = s[i];\n    if (count(bad.begin(), bad.end(), c)) ans += @CDO@;\n    else ans += c;\n}\ncout << ans << endl;")
        .bug("loop", "forgot a letter", "@SET@", "@LESS@")
        .bug("cpp-find", "forgot a letter", "@SET@", "@LESS@")
        .bug("loop", "wrong condition", "if c in", "if c not in")
        .bug("loop", "drops the other letters", "    else:\n        ans += c\n", "")
        .bug("replace", "forgot to assign", "s = s.replace", "s.replace")
        .bug("cpp-count", "off by one", "int i = 0", "int i = 1")
        .bug("cpp-find", "wrong condition", "!= string::npos", "== string::npos")
        .crash("replace", "changes a string in place", "s = s.replace(c, @DO@)", "s[s.index(c)] = @DO@")
}

fn letters_removed(draw: &mut Draw) -> Draft {
    let set = letter_set(draw);
    let keep = draw.percent(40);
    let (words, test, other) = if keep {
        ("all letters except", "in", "not in")
    } else {
        ("all letters among", "not in", "in")
    };
    let empty = draw.one(&["EMPTY", "NOTHING", "-", "NONE"]);
    let (op, cop) = if keep { ("!=", "==") } else { ("==", "!=") };
    let (special_set, answer_set) = (set.clone(), set.clone());
    Draft::new(Shape::word(100), &["strings", "implementation"], 1)
        .constant("SET", &set)
        .constant("LESS", &set[..set.len() - 1])
        .constant("WORDS", words)
        .constant("IN", test)
        .constant("NOTIN", other)
        .constant("OP", op)
        .constant("COP", cop)
        .constant("EMPTY", empty)
        .story("@NAME@ erases @WORDS@ \"@SET@\" from a string. What is left?")
        .story("Remove @WORDS@ \"@SET@\" from the given string.")
        .story("A broken printer drops @WORDS@ \"@SET@\". Find the text that it prints.")
        .asks("what is left of the string, or \"@EMPTY@\" if no letter is left")
        .answer(move |input| {
            let word = Reader::new(input).word();
            let left: String = word.chars().filter(|c| answer_set.contains(*c) == keep).collect();
            if left.is_empty() { text(empty) } else { left }
        })
        .special(move |draw, size| word_with(&special_set, draw, size))
        .must(if keep { non_letters(&set) } else { set.clone() })
        .must(format!("b{set}xyz"))
        .python("loop", "@READ@\nans = \"\"\nfor c in s:\n    if c @IN@ \"@SET@\":\n        ans += c\nif ans == \"\":\n    print(\"@EMPTY@\")\nelse:\n    print(ans)")
        .python("join", "@READ@\nb = [c for c in s if c @IN@ \"@SET@\"]\nif b:\n    print(\"\".join(b))\nelse:\n    print(\"@EMPTY@\")")
        .python("or", "@READ@\nans = \"\".join(c for c in s if c @IN@ \"@SET@\")\nprint(ans or \"@EMPTY@\")")
        .cpp("cpp-find", "@READ@\nstring ans, letters = \"@SET@\";\nfor (char c : s) {\n    if (letters.find(c) @OP@ string::npos) ans += c;\n}\nif (ans.empty()) ans = \"@EMPTY@\";\ncout << ans << endl;")
        .cpp("cpp-count", "@READ@\nstring ans, letters = \"@SET@\";\nfor (int i = 0; i < s.size(); i++)\n    if (count(letters.begin(), letters.end(), s[i]) @COP@ 1) ans += s[i];\nif (ans == \"\") cout << \"@EMPTY@\" << endl;\nelse cout << ans << endl;")
        .bug("loop", "wrong condition", "@IN@", "@NOTIN@")
        .bug("join", "forgot a letter", "@SET@", "@LESS@")
        .bug("cpp-find", "forgot a letter", "@SET@", "@LESS@")
        .bug("or", "missing edge case", " or \"@EMPTY@\"", "")
        .bug("cpp-find", "missing edge case", "if (ans.empty()) ans = \"@EMPTY@\";\n", "")
        .bug("cpp-count", "wrong condition", "@COP@ 1", "@OP@ 1")
        .bug("loop", "prints the input", "print(ans)", "print(s)")
        .crash("join", "index out of range", "if b:", "if b[0]:")
}

/// Two letters outside a set.
fn non_letters(set: &str) -> String {
    SMALL
        .chars()
        .filter(|c| !set.contains(*c))
        .take(2)
        .collect()
}

fn palindrome_windows(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 7) as usize;
    let (letters, called) = draw.one(&[
        ("ab", "letters a and b"),
        ("abc", "letters a, b and c"),
        ("xyz", "letters x, y and z"),
        ("01", "digits 0 and 1"),
    ]);
    let (first, second) = (&letters[..1], &letters[1..2]);
    let mut inner = first.repeat(k);
    inner.replace_range(k - k / 2..=k - k / 2, second);
    let shape = Shape::Word {
        length: (1, 100),
        letters,
        called,
    };
    Draft::new(shape, &["strings", "brute force"], 2)
        .constant("K", k)
        .constant("LETTERS", letters)
        .story("A palindrome reads the same from both sides. How many places are there in s where a palindrome of length @K@ starts?")
        .story("@NAME@ slides a window of @K@ characters over a string of @LETTERS@ and counts the positions at which the window shows a palindrome.")
        .story("Count the substrings of length @K@ that are palindromes. Equal substrings at different positions count separately.")
        .asks("the number of palindromes of length exactly @K@ in s")
        .answer(move |input| text(Reader::new(input).word().as_bytes().windows(k).filter(|part| is_palindrome(part)).count()))
        .must(first.repeat(k))
        .must(first)
        .must(format!("{}{second}", first.repeat(k - 1)))
        .must(format!("{second}{}", first.repeat(k)))
        .must(inner)
        .python("slice", "@READ@\nans = 0\nfor i in range(len(s) - @K@ + 1):\n    p = s[i:i + @K@]\n    if p == p[::-1]:\n        ans += 1\nprint(ans)")
        .python("pairs", "@READ@\nans = 0\nfor i in range(len(s) - @K@ + 1):\n    ok = True\n    for j in range(@K@ // 2):\n        if s[i + j] != s[i + @K@ - 1 - j]:\n            ok = False\n    if ok:\n        ans += 1\nprint(ans)")
        .python("sum", "@READ@\nb = [s[i - @K@:i] for i in range(@K@, len(s) + 1)]\nprint(sum(1 for p in b if p == p[::-1]))")
        .cpp("cpp-substr", "@READ@\nint n = s.size(), ans = 0;\nfor (int i = 0; i + @K@ <= n; i++) {\n    string p = s.substr(i, @K@);\n    string q(p.rbegin(), p.rend());\n    if (p == q) ans++;\n}\ncout << ans << endl;")
        .cpp("cpp-pairs", "@READ@\nint n = s.size(), ans = 0;\nfor (int i = 0; i + @K@ <= n; i++) {\n    bool ok = true;\n    for (int j = 0; j < @K@ / 2; j++)\n        if (s[i + j] != s[i + @K@ - 1 - j]) ok = false;\n    if (ok) ans++;\n}\ncout << ans << endl;")
        .bug("slice", "off by one", "- @K@ + 1", "- @K@")
        .bug("slice", "wrong length", "i + @K@]", "i + @K@ - 1]")
        .bug("cpp-substr", "off by one", "<= n", "< n")
        .bug("cpp-pairs", "compares too little", "j < @K@ / 2", "j < @K@ / 2 - 1")
        .wrong("pairs", "forgot to reset", crate::Claim::WrongAnswer, &[("ans = 0\n", "ans = 0\nok = True\n"), ("    ok = True\n", "")], None)
        .bug("sum", "off by one", "range(@K@,", "range(@K@ + 1,")
        .bug("sum", "wrong condition", "p == p[::-1]", "p != p[::-1]")
        .crash("pairs", "index out of range", "len(s) - @K@ + 1", "len(s)")
}

fn palindromic_end(draw: &mut Draw) -> Draft {
    let prefix = draw.percent(50);
    let (what, by_k, by_p, cpp_k, cpp_p, asks) = draw.one(&[
        (
            0,
            "k",
            "len(p)",
            "k",
            "p.size()",
            "the length of the longest palindromic @END@",
        ),
        (
            1,
            "p",
            "p",
            "p",
            "p",
            "the longest @END@ that is a palindrome",
        ),
        (
            2,
            "len(s) - k",
            "len(s) - len(p)",
            "s.size() - k",
            "s.size() - p.size()",
            "how many letters are left when the longest palindromic @END@ is cut off",
        ),
    ]);
    let wrong = if what == 2 { "k" } else { "len(s) - k" };
    let sides = if prefix {
        [
            "prefix",
            "s[:k]",
            "s[-k:]",
            "s.substr(0, k)",
            "p = p[:-1]",
            "p = p[:-2]",
            "s[:i + 1]",
            "p.pop_back()",
            "p.erase(0, 1)",
        ]
    } else {
        [
            "suffix",
            "s[-k:]",
            "s[:k]",
            "s.substr(s.size() - k)",
            "p = p[1:]",
            "p = p[2:]",
            "s[i:]",
            "p.erase(0, 1)",
            "p.pop_back()",
        ]
    };
    let shape = Shape::Word {
        length: (1, 100),
        letters: "abc",
        called: "letters a, b and c",
    };
    Draft::new(shape, &["strings", "brute force"], 2)
        .constant("END", sides[0])
        .constant("PART", sides[1])
        .constant("OTHERPART", sides[2])
        .constant("CPART", sides[3])
        .constant("CUT", sides[4])
        .constant("CUTTWO", sides[5])
        .constant("IPART", sides[6])
        .constant("CCUT", sides[7])
        .constant("CWRONG", sides[8])
        .constant("BYK", by_k)
        .constant("BYP", by_p)
        .constant("CBYK", cpp_k)
        .constant("CBYP", cpp_p)
        .constant("WRONG", wrong)
        .story("A palindrome reads the same from both sides. Look for the longest @END@ of s which is a palindrome.")
        .story("@NAME@ likes palindromes. Which is the longest palindrome among the @END@es of a string (the whole string is one of them)?")
        .story("Every string has a palindromic @END@, for one letter is a palindrome. Consider the longest one.")
        .asks(asks)
        .answer(move |input| {
            let word = Reader::new(input).word();
            let part = |k: usize| if prefix { &word[..k] } else { &word[word.len() - k..] };
            let best = (1..=word.len()).rev().map(part).find(|part| is_palindrome(part.as_bytes())).unwrap_or("");
            match what {
                0 => text(best.len()),
                1 => best.to_owned(),
                _ => text(word.len() - best.len()),
            }
        })
        .special(move |draw, size| {
            let many = count(1, 20, size, draw);
            let half = draw.word(many, "abc");
            let back: String = half.chars().rev().skip(draw.index(2)).collect();
            let rest_length = draw.range(0, 6);
            let rest = draw.word(rest_length, "abc");
            if prefix { format!("{half}{back}{rest}") } else { format!("{rest}{half}{back}") }
        })
        .must("abcba")
        .must("ab")
        .must("aabccc")
        .must("aaabcc")
        .python("loop", "@READ@\nfor k in range(len(s), 0, -1):\n    p = @PART@\n    if p == p[::-1]:\n        print(@BYK@)\n        break")
        .python("while", "@READ@\np = s\nwhile p != p[::-1]:\n    @CUT@\nprint(@BYP@)")
        .python("best", "@READ@\nbest = \"\"\nfor i in range(len(s)):\n    p = @IPART@\n    if p == p[::-1] and len(p) > len(best):\n        best = p\np = best\nprint(@BYP@)")
        .cpp("cpp-loop", "@READ@\nfor (int k = s.size(); k > 0; k--) {\n    string p = @CPART@;\n    string q(p.rbegin(), p.rend());\n    if (p == q) {\n        cout << @CBYK@ << endl;\n        break;\n    }\n}")
        .cpp("cpp-while", "@READ@\nstring p = s;\nwhile (p != string(p.rbegin(), p.rend())) @CCUT@;\ncout << @CBYP@ << endl;")
        .bug("loop", "misses the whole string", "len(s), 0", "len(s) - 1, 0")
        .bug("loop", "wrong order", "range(len(s), 0, -1)", "range(1, len(s) + 1)")
        .bug("loop", "wrong end", "@PART@", "@OTHERPART@")
        .bug("while", "wrong step", "@CUT@", "@CUTTWO@")
        .bug("loop", "wrong output", "@BYK@", "@WRONG@")
        .bug("cpp-loop", "forgot to stop", "        break;\n", "")
        .bug("cpp-while", "wrong end", "@CCUT@", "@CWRONG@")
        .bug("best", "wrong comparison", "len(p) > len(best)", "len(p) < len(best)")
        .crash("loop", "index instead of a slice", "@PART@", "s[k]")
}

fn run_length(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 6);
    let number_first = draw.percent(50);
    let (words, example, pair, other, c_pair, c_other, last, c_last) = if number_first {
        (
            "the number and then the letter",
            "6z",
            "str(k) + s[i]",
            "s[i] + str(k)",
            "to_string(j - i) + s[i]",
            "s[i] + to_string(j - i)",
            "str(cnt) + s[i - 1]",
            "to_string(cnt) + s[i - 1]",
        )
    } else {
        (
            "the letter and then the number",
            "z6",
            "s[i] + str(k)",
            "str(k) + s[i]",
            "s[i] + to_string(j - i)",
            "to_string(j - i) + s[i]",
            "s[i - 1] + str(cnt)",
            "s[i - 1] + to_string(cnt)",
        )
    };
    Draft::new(Shape::word(100), &["strings", "two pointers"], 2)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("EX", example)
        .constant("PAIR", pair)
        .constant("OTHER", other)
        .constant("GPAIR", if number_first { "str(k) + c" } else { "c + str(k)" })
        .constant("CPAIR", c_pair)
        .constant("COTHER", c_other)
        .constant("LAST", last)
        .constant("CLAST", c_last)
        .story("@NAME@ shortens strings: a block of @K@ or more equal letters becomes @WORDS@ (zzzzzz becomes @EX@). Shorter blocks stay as they are.")
        .story("Compress a string. Each maximal run of at least @K@ equal letters is written as @WORDS@, so zzzzzz is @EX@; runs of fewer than @K@ letters do not change.")
        .asks("the compressed string")
        .asks("the shortened string")
        .answer(move |input| {
            let word = Reader::new(input).word().as_bytes();
            let mut short = String::new();
            for block in word.chunk_by(|left, right| left == right) {
                let (letter, many) = (char::from(block[0]), block.len());
                let part = match (many as i64 >= k, number_first) {
                    (true, true) => text(many) + &text(letter),
                    (true, false) => text(letter) + &text(many),
                    _ => text(letter).repeat(many),
                };
                short.push_str(&part);
            }
            short
        })
        .special(|draw, size| {
            let blocks = count(1, 16, size, draw);
            let mut block = || {
                let many = draw.range(1, 6) as usize;
                draw.word(1, "abcx").repeat(many)
            };
            (0..blocks).map(|_| block()).collect()
        })
        .must(format!("{}{}{}", "a".repeat(k as usize), "b".repeat(k as usize - 1), "a".repeat(k as usize + 1)))
        .must("b".repeat(12))
        .python("while", "@READ@\nans = \"\"\ni = 0\nwhile i < len(s):\n    j = i\n    while j < len(s) and s[j] == s[i]:\n        j += 1\n    k = j - i\n    if k >= @K@:\n        ans += @PAIR@\n    else:\n        ans += s[i] * k\n    i = j\nprint(ans)")
        .python("groupby", "from itertools import groupby\n@READ@\nans = \"\"\nfor c, g in groupby(s):\n    k = len(list(g))\n    if k >= @K@:\n        ans += @GPAIR@\n    else:\n        ans += c * k\nprint(ans)")
        .python("count", "@READ@\nans = \"\"\ncnt = 1\nfor i in range(1, len(s) + 1):\n    if i < len(s) and s[i] == s[i - 1]:\n        cnt += 1\n    else:\n        ans += @LAST@ if cnt >= @K@ else s[i - 1] * cnt\n        cnt = 1\nprint(ans)")
        .cpp("cpp-while", "@READ@\nstring ans;\nint n = s.size(), i = 0;\nwhile (i < n) {\n    int j = i;\n    while (j < n && s[j] == s[i]) j++;\n    if (j - i >= @K@) ans += @CPAIR@;\n    else ans += string(j - i, s[i]);\n    i = j;\n}\ncout << ans << endl;")
        .cpp("cpp-count", "@READ@\nstring ans;\nint cnt = 1;\nfor (int i = 1; i <= s.size(); i++) {\n    if (i < s.size() && s[i] == s[i - 1]) {\n        cnt++;\n    } else {\n        if (cnt >= @K@) ans += @CLAST@;\n        else ans += string(cnt, s[i - 1]);\n        cnt = 1;\n    }\n}\ncout << ans << endl;")
        .bug("while", "wrong comparison", "k >= @K@", "k > @K@")
        .bug("cpp-while", "wrong comparison", ">= @K@", "> @K@")
        .bug("while", "wrong order", "@PAIR@", "@OTHER@")
        .bug("cpp-while", "wrong order", "@CPAIR@", "@COTHER@")
        .bug("groupby", "counts all occurrences", "len(list(g))", "s.count(c)")
        .bug("count", "loses the last block", "len(s) + 1", "len(s)")
        .bug("count", "forgot to reset", "        cnt = 1\n", "")
        .bug("cpp-count", "forgot to reset", "        cnt = 1;\n", "")
        .bug("cpp-count", "wrong initial value", "int cnt = 1", "int cnt = 0")
        .crash("count", "index out of range", "i < len(s) and ", "")
        .crash("while", "index out of range", "j < len(s) and ", "")
}

fn letter_frequency(draw: &mut Draw) -> Draft {
    let most = draw.percent(50);
    let tie = draw.index(3);
    let with_count = draw.percent(50);
    let ties = [
        "the one that comes first in s",
        "the smallest one in the alphabet",
        "the largest one in the alphabet",
    ];
    let orders = ["s", "sorted(s)", "sorted(s, reverse=True)"];
    let keys = ["cnt", "sorted(cnt)", "sorted(cnt, reverse=True)"];
    let sorts = [
        "",
        "sort(s.begin(), s.end());\n",
        "sort(s.rbegin(), s.rend());\n",
    ];
    let (op, loose, function) = if most {
        (">", ">=", "max")
    } else {
        ("<", "<=", "min")
    };
    Draft::new(Shape::word(100), &["strings", "implementation"], 2)
        .constant("WORD", if most { "most" } else { "least" })
        .constant("TIE", ties[tie])
        .constant("ASK", if with_count { "that letter and the number of its occurrences" } else { "that letter" })
        .constant("ORDER", orders[tie])
        .constant("BADORDER", orders[(tie + 1) % 3])
        .constant("KEYS", keys[tie])
        .constant("BADKEYS", keys[(tie + 1) % 3])
        .constant("SORT", sorts[tie])
        .constant("OP", op)
        .constant("LOOSE", loose)
        .constant("WRONG", if most { "<" } else { ">" })
        .constant("FN", function)
        .constant("BADFN", if most { "min" } else { "max" })
        .constant("OUT", if with_count { "best, s.count(best)" } else { "best" })
        .constant("KOUT", if with_count { "c, best" } else { "c" })
        .constant("COUT", if with_count { "best << \" \" << cnt[best - 'a']" } else { "best" })
        .story("Which letter occurs @WORD@ often in s? Letters that do not occur do not count. If there are several, take @TIE@.")
        .story("@NAME@ counts the letters of a string and looks for the @WORD@ frequent letter in it. Among equal ones, choose @TIE@.")
        .asks("@ASK@")
        .answer(move |input| {
            let word = Reader::new(input).word();
            let mut letters: Vec<char> = word.chars().collect();
            match tie {
                0 => {}
                1 => letters.sort_unstable(),
                _ => letters.sort_unstable_by(|left, right| right.cmp(left)),
            }
            let many = |c: char| word.matches(c).count();
            let mut best = letters[0];
            for &c in &letters {
                if if most { many(c) > many(best) } else { many(c) < many(best) } {
                    best = c;
                }
            }
            if with_count { format!("{best} {}", many(best)) } else { text(best) }
        })
        .special(|draw, size| {
            let letters = draw.word(4, SMALL);
            let many = count(2, 60, size, draw);
            draw.word(many, &letters)
        })
        .must("ab")
        .must("ba")
        .must("bcabcaxx")
        .must("cbacbaxyx")
        .must("zzy")
        .python("best", "@READ@\nbest = \"\"\nfor c in @ORDER@:\n    if best == \"\" or s.count(c) @OP@ s.count(best):\n        best = c\nprint(@OUT@)")
        .python("dict", "@READ@\ncnt = {}\nfor c in s:\n    cnt[c] = cnt.get(c, 0) + 1\nbest = @FN@(cnt.values())\nfor c in @KEYS@:\n    if cnt[c] == best:\n        print(@KOUT@)\n        break")
        .python("key", "@READ@\nbest = @FN@(@ORDER@, key=s.count)\nprint(@OUT@)")
        .cpp("cpp-array", "@READ@\nvector<int> cnt(26);\nfor (char c : s) cnt[c - 'a']++;\n@SORT@char best = s[0];\nfor (char c : s)\n    if (cnt[c - 'a'] @OP@ cnt[best - 'a']) best = c;\ncout << @COUT@ << endl;")
        .cpp("cpp-map", "@READ@\nmap<int, int> cnt;\nfor (int i = 0; i < s.size(); i++) cnt[s[i] - 'a']++;\n@SORT@char best = s[0];\nfor (int i = 1; i < s.size(); i++) {\n    if (cnt[s[i] - 'a'] @OP@ cnt[best - 'a']) best = s[i];\n}\ncout << @COUT@ << endl;")
        .bug("best", "wrong comparison", "@OP@", "@WRONG@")
        .bug("best", "wrong choice among equals", "@OP@", "@LOOSE@")
        .bug("cpp-array", "wrong choice among equals", "@OP@", "@LOOSE@")
        .bug("key", "wrong choice among equals", "@ORDER@", "@BADORDER@")
        .bug("dict", "wrong choice among equals", "@KEYS@", "@BADKEYS@")
        .bug("dict", "wrong extreme", "@FN@", "@BADFN@")
        .bug("dict", "forgot to stop", "        break", "")
        .bug("cpp-map", "off by one", "int i = 0", "int i = 1")
        .bug("key", "wrong output", "print(@OUT@)", "print(s.count(best))")
        .crash("dict", "missing key", "cnt.get(c, 0) + 1", "cnt[c] + 1")
}

fn anagram_ignoring(draw: &mut Draw) -> Draft {
    let ignored = draw.one(&["a", "b", "c", "d", "e"]);
    let (yes, no) = draw.one(&[
        ("YES", "NO"),
        ("Yes", "No"),
        ("yes", "no"),
        ("SAME", "DIFFERENT"),
    ]);
    let other = if ignored == "a" { "b" } else { "a" };
    Draft::new(Shape::TwoWords { length: 40, letters: "abcde" }, &["strings", "sortings"], 2)
        .constant("L", ignored)
        .constant("YES", yes)
        .constant("NO", no)
        .story("Two strings are anagrams if one is a reordering of the other. Here the letter '@L@' is ignored: remove it from both strings first. Are they anagrams then?")
        .story("@NAME@ erases every '@L@' from s and from t. Can the remaining letters of s be rearranged to get what remains of t?")
        .asks("@YES@ if the rest of s is an anagram of the rest of t, otherwise @NO@")
        .asks("\"@YES@\" or \"@NO@\"")
        .answer(move |input| {
            let words = Reader::new(input).words();
            let sorted = |word: &str| {
                let mut letters: Vec<char> = word.chars().filter(|c| !ignored.contains(*c)).collect();
                letters.sort_unstable();
                letters
            };
            text(if sorted(words[0]) == sorted(words[1]) { yes } else { no })
        })
        .special(move |draw, size| {
            let many = count(1, 30, size, draw);
            let first = draw.word(many, "abcde");
            let mut letters: Vec<char> = first.chars().collect();
            letters.extend(ignored.repeat(draw.index(3)).chars());
            if draw.percent(40) {
                let at = draw.index(letters.len());
                letters[at] = draw.one(&['a', 'b', 'c', 'd', 'e']);
            }
            draw.shuffle(&mut letters);
            format!("{first}\n{}", letters.iter().collect::<String>())
        })
        .must(format!("{other}x{ignored}y\n{ignored}{ignored}yx{other}"))
        .must(format!("{other}{other}z\n{other}zz"))
        .must(format!("{other}z\n{other}zz"))
        .must(format!("{other}zz{ignored}\n{other}z"))
        .must(format!("{other}zy\n{other}z{ignored}"))
        .must(format!("z{ignored}{other}\nz{other}"))
        .must(format!("z{other}\nz{ignored}{other}"))
        .python("sorted", "@READ@\ns = s.replace(\"@L@\", \"\")\nt = t.replace(\"@L@\", \"\")\nif sorted(s) == sorted(t):\n    print(\"@YES@\")\nelse:\n    print(\"@NO@\")")
        .python("count", "@READ@\nok = True\nfor c in \"abcdefghijklmnopqrstuvwxyz\":\n    if c != \"@L@\" and s.count(c) != t.count(c):\n        ok = False\nprint(\"@YES@\" if ok else \"@NO@\")")
        .python("remove", "@READ@\nb = [c for c in t if c != \"@L@\"]\nok = True\nfor c in s:\n    if c != \"@L@\":\n        if c in b:\n            b.remove(c)\n        else:\n            ok = False\nif b:\n    ok = False\nprint(\"@YES@\" if ok else \"@NO@\")")
        .cpp("cpp-sort", "@READ@\ns.erase(remove(s.begin(), s.end(), '@L@'), s.end());\nt.erase(remove(t.begin(), t.end(), '@L@'), t.end());\nsort(s.begin(), s.end());\nsort(t.begin(), t.end());\ncout << (s == t ? \"@YES@\" : \"@NO@\") << endl;")
        .cpp("cpp-count", "@READ@\nvector<int> cnt(26);\nfor (char c : s) cnt[c - 'a']++;\nfor (char c : t) cnt[c - 'a']--;\ncnt['@L@' - 'a'] = 0;\nbool ok = true;\nfor (int x : cnt)\n    if (x != 0) ok = false;\nif (ok) cout << \"@YES@\" << endl;\nelse cout << \"@NO@\" << endl;")
        .bug("sorted", "compares sets", "sorted(s) == sorted(t)", "set(s) == set(t)")
        .bug("sorted", "forgot to remove", "t = t.replace(\"@L@\", \"\")\n", "")
        .bug("sorted", "compares lengths", "sorted(s) == sorted(t)", "len(s) == len(t)")
        .bug("sorted", "forgot to sort", "sorted(s) == sorted(t)", "s == t")
        .bug("count", "forgot to remove", "c != \"@L@\" and ", "")
        .bug("cpp-sort", "forgot to sort", "sort(t.begin(), t.end());\n", "")
        .bug("cpp-count", "wrong comparison", "x != 0", "x > 0")
        .bug("remove", "ignores what is left", "if b:\n    ok = False\n", "")
        .crash("remove", "removes what is not there", "        if c in b:\n            b.remove(c)\n        else:\n            ok = False\n", "        b.remove(c)\n")
}
