//! Families about divisibility: common divisors, primes, divisors.

use crate::draw::Draw;
use crate::family::{Draft, Family, plain};
use crate::reader::Reader;
use crate::shape::Shape;
use crate::tests::{Size, count};

pub(super) const FAMILIES: &[Family] = &[
    plain("gcd-of-list", gcd_of_list),
    plain("primes-up-to", primes_up_to),
    plain("divisors-with", divisors_with),
    plain("next-prime", next_prime),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn is_prime(n: i64) -> bool {
    n > 1 && (2..=n).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

fn gcd_of_list(draw: &mut Draw) -> Draft {
    let lcm = draw.percent(50);
    let k = draw.range(1, 12);
    let (words, ask, start, python, cpp) = if lcm {
        (
            "smallest positive number that is divisible by each of them",
            "least common multiple",
            1,
            "ans = ans * x // gcd(ans, x)",
            "ans = ans / gcd(ans, x) * x",
        )
    } else {
        (
            "largest number that divides each of them",
            "greatest common divisor",
            0,
            "ans = gcd(ans, x)",
            "ans = gcd(ans, x)",
        )
    };
    let (wrong, c_wrong) = if lcm {
        ("ans = ans * x", "ans = ans * x")
    } else {
        ("ans = min(ans, x)", "ans = min(ans, x)")
    };
    let shape = Shape::List {
        n: (1, 8),
        value: (1, if lcm { 40 } else { 1_000_000 }),
        extra: Vec::new(),
    };
    let draft = Draft::new(shape, &["math", "number theory"], 2)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("ASK", ask)
        .constant("START", start)
        .constant("PY", python)
        .constant("CPP", cpp)
        .constant("WRONG", wrong)
        .constant("CWRONG", c_wrong)
        .story("@NAME@ adds @K@ to each of n numbers. Find the @WORDS@ then.")
        .story("Given n integers, increase every one of them by @K@. What is the @ASK@ of the new numbers?")
        .asks("the @ASK@ of a_1 + @K@, ..., a_n + @K@")
        .asks("the @ASK@ of the increased numbers")
        .answer(move |input| {
            let a = Reader::new(input).list();
            text(a.iter().map(|x| x + k).fold(start, |ans, x| if lcm { ans / gcd(ans, x) * x } else { gcd(ans, x) }))
        })
        .special(move |draw, size| {
            let n = count(2, 8, size, draw);
            let step = draw.range(k / 2 + 1, 14.max(k));
            let most = if lcm { 40 } else { 1000 };
            let mut one = || text((draw.range(2, most / step + 1) * step - k).clamp(1, most));
            let a: Vec<_> = (0..n).map(|_| one()).collect();
            format!("{n}\n{}", a.join(" "))
        })
        .must("1\n7")
        .must(format!("3\n{} {} {}", 30 - k, 20 - k, 24 - k))
        .must(format!("4\n{} {} {} {}", 24 - k, 24 - k, 36 - k, 18 - k))
        .must(if lcm { format!("8\n{} {} {} {} {} {} 40 39", 37 - k, 41 - k, 29 - k, 31 - k, 23 - k, 19 - k) } else { text("2\n1000000 999999") })
        .python("loop", "from math import gcd\n@READ@\nans = @START@\nfor x in a:\n    x += @K@\n    @PY@\nprint(ans)")
        .python("list", "import math\n@READ@\nb = [x + @K@ for x in a]\nans = b[0]\nfor x in b[1:]:\n    @MATH@\nprint(ans)")
        .constant("MATH", python.replace("gcd", "math.gcd"))
        .python("euclid", "def gcd(x, y):\n    while y:\n        x, y = y, x % y\n    return x\n\n@READ@\nans = @START@\nfor i in range(n):\n    x = a[i] + @K@\n    @PY@\nprint(ans)")
        .cpp("cpp-std", "@READ@\nlong long ans = @START@;\nfor (long long x : a) {\n    x += @K@;\n    @CPP@;\n}\ncout << ans << endl;")
        .cpp("cpp-euclid", "long long gcd(long long x, long long y) {\n    return y == 0 ? x : gcd(y, x % y);\n}\n---\n@READ@\nlong long ans = @START@;\nfor (int i = 0; i < n; i++) {\n    long long x = a[i] + @K@;\n    @CPP@;\n}\ncout << ans << endl;")
        .bug("loop", "forgot to add", "    x += @K@\n", "")
        .bug("list", "forgot to add", "x + @K@", "x")
        .bug("loop", "wrong formula", "@PY@", "@WRONG@")
        .bug("euclid", "stops too early", "    while y:", "    if y:")
        .bug("cpp-std", "wrong formula", "@CPP@", "@CWRONG@")
        .bug("euclid", "off by one", "range(n)", "range(n - 1)");
    if lcm {
        draft
            .crash("euclid", "division by zero", "while y:", "while x:")
            .bug("cpp-std", "integer overflow", "long long ans", "int ans")
            .bug(
                "cpp-euclid",
                "wrong initial value",
                "ans = @START@",
                "ans = 0",
            )
    } else {
        draft
            .bug(
                "cpp-euclid",
                "wrong initial value",
                "ans = @START@",
                "ans = 1",
            )
            .crash("list", "index out of range", "b[0]", "b[n]")
    }
}

fn primes_up_to(draw: &mut Draw) -> Draft {
    let (modulus, rest) = draw.one(&[
        (3, 1),
        (3, 2),
        (4, 1),
        (4, 3),
        (5, 1),
        (5, 2),
        (5, 3),
        (5, 4),
        (6, 1),
        (6, 5),
        (8, 3),
        (8, 5),
        (10, 1),
        (10, 3),
        (10, 7),
        (10, 9),
    ]);
    let adds = draw.percent(50);
    let (ask, python, value, cpp) = if adds {
        ("the sum of these primes", "ans += x", "x", "ans += x")
    } else {
        ("the number of these primes", "ans += 1", "1", "ans++")
    };
    let primes: Vec<i64> = (2..200)
        .filter(|x| is_prime(*x) && x % modulus == rest)
        .collect();
    let squares = primes_squared(modulus).contains(&rest);
    let draft = Draft::new(Shape::int("n", 1, 100_000), &["math", "number theory"], 3)
        .constant("M", modulus)
        .constant("R", rest)
        .constant("ASK", ask)
        .constant("ADD", python)
        .constant("VALUE", value)
        .constant("CADD", cpp)
        .story("@NAME@ collects primes p <= n with p mod @M@ = @R@, i.e. with remainder @R@ after division by @M@.")
        .story("Consider all primes from 2 to n (inclusive) that leave the remainder @R@ when divided by @M@.")
        .asks(ask)
        .answer(move |input| {
            let n = Reader::new(input).int();
            let primes = (2..=n).filter(|x| x % modulus == rest && is_prime(*x));
            text(if adds { primes.sum() } else { primes.count() as i64 })
        })
        .special(move |draw, size| match size {
            Size::Tiny => text(draw.range(modulus + rest, 90)),
            _ => text(draw.range(50, 3000)),
        })
        .must("1")
        .must("100000")
        .must(text(primes[0]))
        .must(text(primes[4]))
        .must("121")
        .python("trial", "@READ@\nans = 0\nfor x in range(2, n + 1):\n    if x % @M@ != @R@:\n        continue\n    prime = True\n    d = 2\n    while d * d <= x:\n        if x % d == 0:\n            prime = False\n            break\n        d += 1\n    if prime:\n        @ADD@\nprint(ans)")
        .python("sieve", "@READ@\nprime = [True] * (n + 1)\nans = 0\nfor x in range(2, n + 1):\n    if prime[x]:\n        if x % @M@ == @R@:\n            @ADD@\n        for y in range(2 * x, n + 1, x):\n            prime[y] = False\nprint(ans)")
        .python("function", "def is_prime(x):\n    d = 2\n    while d * d <= x:\n        if x % d == 0:\n            return False\n        d += 1\n    return True\n\n@READ@\nprint(sum(@VALUE@ for x in range(2, n + 1) if x % @M@ == @R@ and is_prime(x)))")
        .cpp("cpp-trial", "bool is_prime(int x) {\n    for (int d = 2; d * d <= x; d++)\n        if (x % d == 0) return false;\n    return x > 1;\n}\n---\n@READ@\nlong long ans = 0;\nfor (int x = 1; x <= n; x++) {\n    if (x % @M@ == @R@ && is_prime(x)) @CADD@;\n}\ncout << ans << endl;")
        .cpp("cpp-sieve", "@READ@\nvector<bool> bad(n + 1);\nlong long ans = 0;\nfor (int x = 2; x <= n; x++) {\n    if (bad[x]) continue;\n    if (x % @M@ == @R@) @CADD@;\n    for (int y = 2 * x; y <= n; y += x) bad[y] = true;\n}\ncout << ans << endl;")
        .bug("sieve", "off by one", "range(2, n + 1)", "range(2, n)")
        .bug("cpp-sieve", "off by one", "x <= n", "x < n")
        .bug("trial", "wrong condition", "!= @R@", "== @R@")
        .bug("cpp-sieve", "wrong step of the multiples", "y += x", "y += 2 * x")
        .bug("function", "forgot the remainder", "x % @M@ == @R@ and ", "")
        .crash("sieve", "index out of range", "(n + 1)\n", "n\n")
        .slow("function", "d * d <= x", "d < x");
    if squares {
        draft
            .bug("trial", "squares of primes pass", "d * d <= x", "d * d < x")
            .bug(
                "cpp-trial",
                "squares of primes pass",
                "d * d <= x",
                "d * d < x",
            )
    } else {
        draft
    }
}

/// The remainders that squares of primes leave.
fn primes_squared(modulus: i64) -> Vec<i64> {
    (2..50)
        .filter(|p| is_prime(*p))
        .map(|p| p * p % modulus)
        .collect()
}

fn divisors_with(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 30);
    let (words, op, kind) = draw.one(&[
        ("greater than @K@", "> @K@", 0),
        ("divisible by @K@", "% @K@ == 0", 1),
        ("not divisible by @K@", "% @K@ != 0", 2),
        ("less than @K@", "< @K@", 3),
    ]);
    let adds = draw.percent(40);
    let (ask, by_d, by_e) = if adds {
        ("sum", "d", "n // d")
    } else {
        ("number", "1", "1")
    };
    Draft::new(Shape::int("n", 1, 100_000_000_000), &["math", "number theory"], 3)
        .constant("ASK", ask)
        .constant("WORDS", words)
        .constant("OP", op)
        .constant("BYD", by_d)
        .constant("BYE", by_e)
        .constant("CBYE", by_e.replace("//", "/"))
        .constant("K", k)
        .constant("WRONG", ["< @K@", "% @K@ != 0", "% @K@ == 0", "> @K@"][kind].replace("@K@", &text(k)))
        .story("@NAME@ writes down all positive divisors of n which are @WORDS@.")
        .story("A divisor of n is good if it is @WORDS@. The numbers 1 and n are divisors, too.")
        .asks("the @ASK@ of the positive divisors of n that are @WORDS@")
        .asks("the @ASK@ of these divisors (0 if there are none)")
        .answer(move |input| {
            let n = Reader::new(input).int();
            let good = |d: i64| match kind {
                0 => d > k,
                1 => d % k == 0,
                2 => d % k != 0,
                _ => d < k,
            };
            let mut sum = 0;
            for d in (1..).take_while(|d| d * d <= n).filter(|d| n % d == 0) {
                for d in if d * d == n { vec![d] } else { vec![d, n / d] } {
                    sum += if good(d) { if adds { d } else { 1 } } else { 0 };
                }
            }
            text(sum)
        })
        .special(move |draw, size| {
            let mut n = if draw.percent(50) { k } else { 1 };
            let factors = count(1, 8, size, draw);
            for _ in 0..factors {
                n *= draw.one(&[2, 2, 2, 3, 3, 5, 7]);
            }
            text(n)
        })
        .must("1")
        .must(text(k * k))
        .must(text(4 * k * k))
        .must(text(36 * (k + 1) * (k + 1)))
        .must(text(12 * k))
        .must("100000000000")
        .must("99999999977")
        .python("root", "@READ@\nans = 0\nd = 1\nwhile d * d <= n:\n    if n % d == 0:\n        if d @OP@:\n            ans += @BYD@\n        if d * d != n and n // d @OP@:\n            ans += @BYE@\n    d += 1\nprint(ans)")
        .python("set", "@READ@\nb = set()\nd = 1\nwhile d * d <= n:\n    if n % d == 0:\n        b.add(d)\n        b.add(n // d)\n    d += 1\nprint(sum(@BYD@ for d in b if d @OP@))")
        .python("list", "@READ@\nb = []\nfor d in range(1, int(n ** 0.5) + 1):\n    if n % d == 0:\n        b.append(d)\n        if d != n // d:\n            b.append(n // d)\nans = 0\nfor d in b:\n    if d @OP@:\n        ans += @BYD@\nprint(ans)")
        .cpp("cpp-root", "@READ@\nlong long ans = 0;\nfor (long long d = 1; d * d <= n; d++) {\n    if (n % d != 0) continue;\n    if (d @OP@) ans += @BYD@;\n    if (d * d != n && n / d @OP@) ans += @CBYE@;\n}\ncout << ans << endl;")
        .cpp("cpp-set", "@READ@\nset<long long> b;\nfor (long long i = 1; i * i <= n; i++) {\n    if (n % i == 0) {\n        b.insert(i);\n        b.insert(n / i);\n    }\n}\nlong long ans = 0;\nfor (long long d : b)\n    if (d @OP@) ans += @BYD@;\ncout << ans << endl;")
        .bug_like("root", "misses square roots", "d * d <= n", "d * d < n", divisors_without_root(kind, k, adds))
        .bug("root", "wrong condition", "d @OP@:", "d @WRONG@:")
        .bug("cpp-root", "wrong condition", "(d @OP@)", "(d @WRONG@)")
        .bug("list", "wrong initial value", "ans = 0", "ans = 1")
        .bug("set", "wrong condition", "@OP@", "@WRONG@")
        .crash("list", "division by zero", "range(1, ", "range(0, ")
        .slow("set", "d * d <= n", "d <= n")
}

/// What is printed if the square root of `n` is never looked at.
fn divisors_without_root(kind: usize, k: i64, adds: bool) -> impl Fn(&str) -> String {
    move |input| {
        let n = Reader::new(input).int();
        let good = |d: i64| [d > k, d % k == 0, d % k != 0, d < k][kind];
        let small = (1..).take_while(|d| d * d < n).filter(|d| n % d == 0);
        let all = small.flat_map(|d| [d, n / d]).filter(|d| good(*d));
        text(all.map(|d| if adds { d } else { 1 }).sum::<i64>())
    }
}

fn next_prime(draw: &mut Draw) -> Draft {
    let k = draw.range(1, 9);
    let strict = draw.percent(50);
    let (words, start, other) = if strict {
        ("greater than n", "n + 1", "n")
    } else {
        ("not less than n", "n", "n + 1")
    };
    Draft::new(Shape::int("n", 0, 1_000_000_000), &["math", "number theory"], 3)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("START", start)
        .constant("OTHER", other)
        .constant("TH", match k { 1 => text("first"), 2 => text("second"), 3 => text("third"), _ => format!("{k}-th") })
        .story("@NAME@ lists all primes which are @WORDS@ in increasing order. What is the @TH@ number of this list?")
        .story("Find the @TH@ prime number that is @WORDS@. (1 is not a prime.)")
        .asks("the @TH@ prime which is @WORDS@")
        .asks("the @TH@ of these primes")
        .answer(move |input| {
            let n = Reader::new(input).int();
            let primes = (n + i64::from(strict)..).filter(|x| is_prime(*x));
            text(primes.take(k as usize).last().unwrap_or(0))
        })
        .special(|draw, _| text(draw.range(0, 120)))
        .must("0")
        .must("2")
        .must("7")
        .must("120")
        .must("999999937")
        .must("1000000000")
        .python("function", "def is_prime(x):\n    if x < 2:\n        return False\n    d = 2\n    while d * d <= x:\n        if x % d == 0:\n            return False\n        d += 1\n    return True\n\n@READ@\nx = @START@\ncnt = 0\nwhile True:\n    if is_prime(x):\n        cnt += 1\n        if cnt == @K@:\n            break\n    x += 1\nprint(x)")
        .python("list", "@READ@\nb = []\nx = max(2, @START@)\nwhile len(b) < @K@:\n    if all(x % d != 0 for d in range(2, int(x ** 0.5) + 1)):\n        b.append(x)\n    x += 1\nprint(b[-1])")
        .cpp("cpp-while", "bool is_prime(int x) {\n    if (x < 2) return false;\n    for (int d = 2; d * d <= x; d++)\n        if (x % d == 0) return false;\n    return true;\n}\n---\n@READ@\nint x = @START@, cnt = 0;\nwhile (true) {\n    if (is_prime(x)) cnt++;\n    if (cnt == @K@) break;\n    x++;\n}\ncout << x << endl;")
        .cpp("cpp-for", "@READ@\nint left = @K@;\nfor (int x = max(2, @START@); left > 0; x++) {\n    bool prime = true;\n    for (int d = 2; d * d <= x && prime; d++)\n        if (x % d == 0) prime = false;\n    if (!prime) continue;\n    left--;\n    if (left == 0) cout << x << endl;\n}")
        .bug("function", "wrong start", "x = @START@", "x = @OTHER@")
        .bug("cpp-while", "wrong start", "x = @START@", "x = @OTHER@")
        .bug("function", "takes 1 for a prime", "    if x < 2:\n        return False\n", "")
        .bug("list", "takes 1 for a prime", "max(2, @START@)", "max(1, @START@)")
        .bug("function", "squares of primes pass", "d * d <= x", "d * d < x")
        .bug("cpp-for", "squares of primes pass", "d * d <= x", "d * d < x")
        .bug("list", "off by one", "< @K@", "<= @K@")
        .crash("list", "index out of range", "b[-1]", "b[@K@]")
        .slow("function", "d * d <= x", "d < x")
}
