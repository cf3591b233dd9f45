//! Families that compute with numbers step by step: digits, powers, the clock.

use crate::Claim;
use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::{Shape, number};

pub(super) const FAMILIES: &[Family] = &[
    plain("digit-rounds", digit_rounds),
    plain("power-modulo", power_modulo),
    plain("other-base", other_base),
    plain("clock-after", clock_after),
    held_out("collatz-until", collatz_until),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn digit_rounds(draw: &mut Draw) -> Draft {
    let rounds = draw.range(1, 4);
    let (words, python, short, cpp, kind) = draw.one(&[
        (
            "the sum of its digits",
            "y += int(c)",
            "int(c)",
            "y += d",
            0,
        ),
        (
            "the sum of the squares of its digits",
            "y += int(c) ** 2",
            "int(c) ** 2",
            "y += d * d",
            1,
        ),
        (
            "the sum of the cubes of its digits",
            "y += int(c) ** 3",
            "int(c) ** 3",
            "y += d * d * d",
            2,
        ),
        (
            "the sum of its digits, each of them doubled",
            "y += 2 * int(c)",
            "2 * int(c)",
            "y += 2 * d",
            3,
        ),
    ]);
    Draft::new(Shape::int("n", 1, 1_000_000_000_000_000_000), &["math", "implementation"], 2)
        .constant("WORDS", words)
        .constant("K", rounds)
        .constant("BADK", rounds + 1)
        .constant("TIMES", if rounds == 1 { text("once") } else { format!("{rounds} times") })
        .constant("PY", python)
        .constant("PYD", python.replace("int(c)", "d"))
        .constant("SHORT", short)
        .constant("CPP", cpp)
        .story("@NAME@ replaces a number by @WORDS@. This is done exactly @TIMES@, starting with n. Which number comes out?")
        .story("One step replaces a number by @WORDS@. Do the step @TIMES@ and tell the result.")
        .asks("the number after @K@ step(s)")
        .asks("the final number")
        .answer(digit_steps(rounds, kind))
        .must("999999999999999999")
        .must("1000000000000000000")
        .must("7")
        .must("48")
        .must("2999")
        .python("str", "@READ@\nx = n\nfor i in range(@K@):\n    y = 0\n    for c in str(x):\n        @PY@\n    x = y\nprint(x)")
        .python("sum", "@READ@\nfor i in range(@K@):\n    n = sum(@SHORT@ for c in str(n))\nprint(n)")
        .python("modulo", "@READ@\nx = n\nfor i in range(@K@):\n    y = 0\n    while x > 0:\n        d = x % 10\n        @PYD@\n        x //= 10\n    x = y\nprint(x)")
        .cpp("cpp-loop", "@READ@\nlong long x = n;\nfor (int i = 0; i < @K@; i++) {\n    int y = 0;\n    while (x > 0) {\n        int d = x % 10;\n        @CPP@;\n        x /= 10;\n    }\n    x = y;\n}\ncout << x << endl;")
        .cpp("cpp-string", "string s;\ncin >> s;\nfor (int i = 0; i < @K@; i++) {\n    int y = 0;\n    for (char c : s) {\n        int d = c - '0';\n        @CPP@;\n    }\n    s = to_string(y);\n}\ncout << s << endl;")
        .bug_like("sum", "one step too many", "@K@", "@BADK@", digit_steps(rounds + 1, kind))
        .bug_like("str", "wrong indentation", "    x = y", "x = y", digit_steps(1, kind))
        .bug("modulo", "loses the first digit", "x > 0", "x > 9")
        .bug("cpp-loop", "loses the first digit", "x > 0", "x > 9")
        .bug("cpp-loop", "integer overflow", "long long x", "int x")
        .bug("cpp-string", "wrong digit value", "c - '0'", "c - '1'")
        .crash("sum", "number instead of digits", "str(n)", "n")
}

/// The number after some steps of one kind.
fn digit_steps(rounds: i64, kind: usize) -> impl Fn(&str) -> String {
    move |input| {
        let mut x = Reader::new(input).int();
        for _ in 0..rounds {
            let step = |c: u8| i64::from(c - b'0').pow([1, 2, 3, 1][kind]) * [1, 1, 1, 2][kind];
            x = text(x).bytes().map(step).sum();
        }
        text(x)
    }
}

fn power_modulo(draw: &mut Draw) -> Draft {
    let m = if draw.percent(30) {
        draw.one(&[1_000_000_007, 998_244_353, 1_000_000_009])
    } else {
        draw.range(100_000_000, 2_000_000_000)
    };
    let big = 1_000_000_000_000_000_000;
    Draft::new(Shape::Ints(vec![number("a", 1, big), number("b", 0, big)]), &["math", "number theory"], 3)
        .constant("M", m)
        .story("@NAME@ wants to know the b-th power of a. As it may be huge, only its remainder after division by @M@ is needed (the power with b = 0 is 1).")
        .story("Find a to the power b, modulo @M@. For b = 0 the answer is 1.")
        .asks("the remainder of a^b after division by @M@")
        .asks("a^b mod @M@")
        .answer(move |input| {
            let mut numbers = Reader::new(input).ints(2).into_iter();
            let (mut a, mut b) = (numbers.next().unwrap_or(0) % m, numbers.next().unwrap_or(0));
            let mut power = 1;
            while b > 0 {
                if b % 2 == 1 {
                    power = power * a % m;
                }
                a = a * a % m;
                b /= 2;
            }
            text(power)
        })
        .must("2 1000000000000000000")
        .must("5 0")
        .must("2 10")
        .must("3 1")
        .must("999999999999999999 5")
        .must("1000000000000000000 1000000000000000000")
        .python("pow", "@READ@\nprint(pow(a, b, @M@))")
        .python("loop", "@READ@\nans = 1\na %= @M@\nwhile b > 0:\n    if b % 2 == 1:\n        ans = ans * a % @M@\n    a = a * a % @M@\n    b //= 2\nprint(ans)")
        .python("recursive", "def power(a, b):\n    if b == 0:\n        return 1\n    half = power(a, b // 2)\n    if b % 2 == 0:\n        return half * half % @M@\n    return half * half * a % @M@\n\n@READ@\nprint(power(a, b))")
        .cpp("cpp-loop", "@READ@\nlong long ans = 1;\na %= @M@;\nwhile (b > 0) {\n    if (b % 2 == 1) ans = ans * a % @M@;\n    a = a * a % @M@;\n    b /= 2;\n}\ncout << ans << endl;")
        .cpp("cpp-recursive", "long long power(long long a, long long b) {\n    if (b == 0) return 1;\n    long long half = power(a, b / 2);\n    half = half * half % @M@;\n    if (b % 2 == 1) half = half * a % @M@;\n    return half;\n}\n---\n@READ@\ncout << power(a % @M@, b) << endl;")
        .bug("cpp-loop", "integer overflow", "a %= @M@;\n", "")
        .bug("cpp-loop", "forgot the remainder", "a = a * a % @M@", "a = a * a")
        .bug("cpp-recursive", "integer overflow", "a % @M@, b", "a, b")
        .bug("cpp-recursive", "integer overflow", "long long half", "int half")
        .bug("loop", "wrong condition", "b % 2 == 1", "b % 2 == 0")
        .bug("loop", "wrong initial value", "ans = 1", "ans = 0")
        .bug("loop", "stops too early", "b > 0", "b > 1")
        .bug("recursive", "wrong condition", "b % 2 == 0", "b % 2 == 1")
        .bug("pow", "swaps base and exponent", "a, b", "b, a")
        .crash("recursive", "no end of the recursion", "    if b == 0:\n        return 1\n", "")
        .slow("pow", "print(pow(a, b, @M@))", "ans = 1\nfor i in range(b):\n    ans = ans * a % @M@\nprint(ans)")
}

fn other_base(draw: &mut Draw) -> Draft {
    let base = draw.range(2, 9);
    let show = draw.index(4);
    let digit = draw.range(0, base - 1);
    let asks = [
        "n in base @B@",
        "the sum of the digits of n in base @B@",
        "the number of digits of n in base @B@",
        "how often the digit @D@ occurs in n, written in base @B@",
    ][show];
    let list = ["\"\".join(map(str, b))", "sum(b)", "len(b)", "b.count(@D@)"][show];
    let string = ["s", "sum(map(int, s))", "len(s)", "s.count(\"@D@\")"][show];
    let cpp = [
        "for (int x : b) cout << x;\ncout << endl;",
        "cout << accumulate(b.begin(), b.end(), 0) << endl;",
        "cout << b.size() << endl;",
        "cout << count(b.begin(), b.end(), @D@) << endl;",
    ][show];
    let cpp_string = [
        "cout << s << endl;",
        "int ans = 0;\nfor (char c : s) ans += c - '0';\ncout << ans << endl;",
        "cout << s.size() << endl;",
        "cout << count(s.begin(), s.end(), '@D@') << endl;",
    ][show];
    let draft = Draft::new(Shape::int("n", 0, 1_000_000_000_000_000_000), &["math", "implementation"], 2)
        .constant("ASK", asks)
        .constant("LIST", list)
        .constant("STRING", string)
        .constant("CLIST", cpp)
        .constant("CSTRING", cpp_string)
        .constant("B", base)
        .constant("D", if show == 3 { digit } else { 0 })
        .constant("BAD", if base == 2 { 3 } else { base - 1 })
        .story("On the planet of @NAME@ numbers are written in base @B@. Convert n and answer the question below.")
        .story("Write the decimal number n in base @B@ and find @ASK@.")
        .constant("ASK", asks)
        .constant("B", base)
        .constant("D", digit)
        .asks(asks)
        .answer(move |input| {
            let mut x = Reader::new(input).int();
            let mut digits = vec![x % base];
            while x >= base {
                x /= base;
                digits.push(x % base);
            }
            match show {
                0 => digits.iter().rev().map(ToString::to_string).collect(),
                1 => text(digits.iter().sum::<i64>()),
                2 => text(digits.len()),
                _ => text(digits.iter().filter(|x| **x == digit).count()),
            }
        })
        .must("0")
        .must("1")
        .must(text(base))
        .must(text(base * base + 1))
        .must(text(digit))
        .must(text(digit * base + base * base))
        .must("999999999999999999")
        .must("1000000000000000000")
        .python("list", "@READ@\nb = []\nwhile n > 0:\n    b.append(n % @B@)\n    n //= @B@\nif not b:\n    b = [0]\nb.reverse()\nprint(@LIST@)")
        .python("string", "@READ@\ns = str(n % @B@)\nwhile n >= @B@:\n    n //= @B@\n    s = str(n % @B@) + s\nprint(@STRING@)")
        .python("recursive", "def digits(x):\n    if x < @B@:\n        return [x]\n    return digits(x // @B@) + [x % @B@]\n\n@READ@\nb = digits(n)\nprint(@LIST@)")
        .cpp("cpp-vector", "@READ@\nlong long x = n;\nvector<int> b;\ndo {\n    b.push_back(x % @B@);\n    x /= @B@;\n} while (x > 0);\nreverse(b.begin(), b.end());\n@CLIST@")
        .cpp("cpp-string", "@READ@\nstring s;\nif (n == 0) s = \"0\";\nwhile (n > 0) {\n    s = char('0' + n % @B@) + s;\n    n /= @B@;\n}\n@CSTRING@")
        .bug("string", "wrong base", "n //= @B@", "n //= @BAD@")
        .bug("cpp-string", "wrong base", "n /= @B@", "n /= @BAD@")
        .bug("cpp-vector", "integer overflow", "long long x", "int x")
        .bug("recursive", "loses the last digits", " + [x % @B@]", "")
        .crash("recursive", "no end of the recursion", "    if x < @B@:\n        return [x]\n", "");
    let draft = if show == 0 {
        draft
            .bug("list", "forgot to reverse", "b.reverse()\n", "")
            .bug(
                "string",
                "wrong order",
                "str(n % @B@) + s",
                "s + str(n % @B@)",
            )
            .bug(
                "cpp-vector",
                "forgot to reverse",
                "reverse(b.begin(), b.end());\n",
                "",
            )
    } else {
        draft
    };
    if show == 1 || (show == 3 && digit > 0) {
        // The number 0 has no digits that could be missed.
        return draft;
    }
    draft
        .bug("list", "missing edge case", "if not b:\n    b = [0]\n", "")
        .bug(
            "cpp-string",
            "missing edge case",
            "if (n == 0) s = \"0\";\n",
            "",
        )
}

fn clock_after(draw: &mut Draw) -> Draft {
    let k = draw.range(1, 400) * 5 + draw.range(1, 4);
    let back = draw.percent(50);
    let padded = draw.percent(60);
    let (python, c_print) = if padded {
        ("\"%02d:%02d\" % (H, M)", "printf(\"%02d:%02d\\n\", H, M)")
    } else {
        ("H, M", "cout << H << \" \" << M << endl")
    };
    let by_t = |form: &str, hours: &str| form.replace('H', hours).replace('M', "t % 60");
    let low = |form: &str| form.replace('H', "h").replace('M', "m");
    let shape = Shape::Ints(vec![number("h", 0, 23), number("m", 0, 59)]);
    let draft = Draft::new(shape, &["math", "implementation"], 1)
        .constant("K", k)
        .constant("WORDS", if back { "earlier" } else { "later" })
        .constant("WAS", if back { "was it" } else { "will it be" })
        .constant("SIGN", if back { "-" } else { "+" })
        .constant("OTHER", if back { "+" } else { "-" })
        .constant("FORM", if padded { "as HH:MM, with two digits each" } else { "as hours and minutes, two numbers without leading zeros" })
        .constant("OUT", by_t(python, "t // 60"))
        .constant("LOW", low(python))
        .constant("COUT", by_t(c_print, "t / 60"))
        .constant("CLOW", low(c_print))
        .story("A 24-hour clock shows h hours and m minutes. What time @WAS@ @K@ minutes @WORDS@?")
        .story("@NAME@ looks at the clock: it is h:m (24 hours a day). Find the time @K@ minutes @WORDS@; days do not matter.")
        .asks("the time @FORM@")
        .asks("the time @K@ minutes @WORDS@ @FORM@")
        .answer(move |input| {
            let time = Reader::new(input).ints(2);
            let t = (time[0] * 60 + time[1] + if back { -k } else { k }).rem_euclid(1440);
            if padded { format!("{:02}:{:02}", t / 60, t % 60) } else { format!("{} {}", t / 60, t % 60) }
        })
        .must("0 0")
        .must("23 59")
        .must("12 30")
        .must(format!("5 {}", (60 - k % 60) % 60))
        .must(format!("{} {}", (if back { k + 61 } else { 1501 - k % 1440 }) / 60 % 24, (if back { k + 61 } else { 1501 - k % 1440 }) % 60))
        .python("minutes", "@READ@\nt = (h * 60 + m @SIGN@ @K@) % 1440\nprint(@OUT@)")
        .python("carry", "@READ@\nm = m @SIGN@ @K@\nh += m // 60\nm %= 60\nh %= 24\nprint(@LOW@)")
        .python("divmod", "@READ@\nt = h * 60 + m @SIGN@ @K@\nh, m = divmod(t % (24 * 60), 60)\nprint(@LOW@)")
        .cpp("cpp-modulo", "@READ@\nint t = ((h * 60 + m @SIGN@ @K@) % 1440 + 1440) % 1440;\n@COUT@;")
        .cpp("cpp-while", "@READ@\nm = m @SIGN@ @K@;\nwhile (m < 0) {\n    m += 60;\n    h--;\n}\nwhile (m >= 60) {\n    m -= 60;\n    h++;\n}\nh = (h % 24 + 24) % 24;\n@CLOW@;")
        .bug("minutes", "wrong direction", "@SIGN@", "@OTHER@")
        .bug("minutes", "forgot that the day ends", " % 1440", "")
        .bug("carry", "forgot that the day ends", "h %= 24\n", "")
        .bug("carry", "wrong order of statements", "h += m // 60\nm %= 60\n", "m %= 60\nh += m // 60\n")
        .bug("divmod", "wrong length of a day", "24 * 60", "12 * 60")
        .bug("cpp-modulo", "wrong length of an hour", "h * 60", "h * 100")
        .bug("cpp-while", "forgot that the day ends", "h = (h % 24 + 24) % 24;\n", "")
        .crash("minutes", "adds a number and a string", "@OUT@", "t // 60 + \":\" + t % 60");
    let draft = if padded {
        draft.bug("carry", "missing zeros", "@LOW@", "str(h) + \":\" + str(m)")
    } else {
        draft.bug("minutes", "wrong division", "@OUT@", "t / 60, t % 60")
    };
    if back {
        draft.bug("cpp-modulo", "negative remainder", " + 1440) % 1440", ")")
    } else {
        draft.bug("cpp-while", "wrong comparison", "m >= 60", "m > 60")
    }
}

/// Steps, or the largest value, until the number is at most `k` (or below it).
fn collatz(n: i64, k: i64, below: bool, steps: bool) -> String {
    let (mut x, mut count, mut most) = (n, 0, n);
    while if below { x >= k } else { x > k } {
        x = if x % 2 == 0 { x / 2 } else { 3 * x + 1 };
        count += 1;
        most = most.max(x);
    }
    text(if steps { count } else { most })
}

fn collatz_until(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 20);
    let steps = draw.percent(50);
    let (ask, init, bad, update, base, rest) = if steps {
        (
            "the number of steps",
            "0",
            "1",
            "ans += 1",
            "0",
            "1 + walk(y)",
        )
    } else {
        (
            "the largest value that appears (n counts, too)",
            "n",
            "0",
            "ans = max(ans, x)",
            "x",
            "max(x, walk(y))",
        )
    };
    let draft = Draft::new(Shape::int("n", 1, 1_000_000), &["math", "implementation"], 2)
        .constant("K", k)
        .constant("ASK", ask)
        .constant("INIT", init)
        .constant("BAD", bad)
        .constant("STEP", update)
        .constant("BASE", base)
        .constant("REST", rest)
        .story("@NAME@ starts with n. In each step an even number is halved, and an odd number x becomes 3x + 1. This ends as soon as the number is at most @K@.")
        .story("While x is greater than @K@ (at first x = n), replace x by x / 2 if it is even and by 3x + 1 if it is odd.")
        .asks(ask)
        .answer(move |input| collatz(Reader::new(input).int(), k, false, steps))
        .must("1")
        .must(text(k))
        .must(text(k + 1))
        .must("64")
        .must("27")
        .must("113383")
        .python("loop", "@READ@\nx = n\nans = @INIT@\nwhile x > @K@:\n    if x % 2 == 0:\n        x //= 2\n    else:\n        x = 3 * x + 1\n    @STEP@\nprint(ans)")
        .python("short", "@READ@\nx = n\nans = @INIT@\nwhile x > @K@:\n    x = 3 * x + 1 if x % 2 else x // 2\n    @STEP@\nprint(ans)")
        .python("recursive", "def walk(x):\n    if x <= @K@:\n        return @BASE@\n    y = x // 2 if x % 2 == 0 else 3 * x + 1\n    return @REST@\n\n@READ@\nprint(walk(n))")
        .cpp("cpp-loop", "@READ@\nlong long x = n, ans = @INIT@;\nwhile (x > @K@) {\n    if (x % 2 == 0) x /= 2;\n    else x = 3 * x + 1;\n    @CSTEP@;\n}\ncout << ans << endl;")
        .cpp("cpp-for", "@READ@\nlong long ans = @INIT@;\nfor (long long x = n; x > @K@;) {\n    x = x % 2 ? 3 * x + 1 : x / 2;\n    @CSTEP@;\n}\ncout << ans << endl;")
        .constant("CSTEP", if steps { "ans++" } else { "ans = max(ans, x)" })
        .bug_like("loop", "wrong comparison", "x > @K@", "x >= @K@", move |input| collatz(Reader::new(input).int(), k, true, steps))
        .bug_like("cpp-loop", "wrong comparison", "x > @K@", "x >= @K@", move |input| collatz(Reader::new(input).int(), k, true, steps))
        .bug("short", "wrong initial value", "ans = @INIT@", "ans = @BAD@")
        .wrong("cpp-for", "integer overflow", Claim::WrongAnswer, &[("long long ans", "int ans"), ("long long x", "int x")], None)
        .crash("recursive", "no end of the recursion", "    if x <= @K@:\n        return @BASE@\n", "");
    if steps {
        draft
            .bug("loop", "wrong indentation", "    @STEP@", "        @STEP@")
            .bug("recursive", "forgot to count", "@REST@", "walk(y)")
    } else {
        draft
            .bug("loop", "wrong division", "x //= 2", "x /= 2")
            .wrong(
                "cpp-loop",
                "prints the last value",
                Claim::WrongAnswer,
                &[("cout << ans", "cout << x")],
                None,
            )
    }
}
