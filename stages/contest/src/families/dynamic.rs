//! Families whose answer grows from smaller answers: small dynamic programs.

use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::Shape;

pub(super) const FAMILIES: &[Family] = &[
    plain("stairs", stairs),
    plain("best-block", best_block),
    plain("recurrence", recurrence),
    plain("fewest-coins", fewest_coins),
    plain("no-two-neighbours", no_two_neighbours),
    held_out("longest-increasing", longest_increasing),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn stairs(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 4);
    Draft::new(Shape::int("n", 1, 30), &["dp"], 2)
        .constant("K", k)
        .constant("MORE", k + 1)
        .story("@NAME@ climbs a staircase of n steps and takes 1 to @K@ steps at a time. In how many ways can the top be reached?")
        .story("In how many ways can n be written as an ordered sum of numbers from 1 to @K@?")
        .story("A frog jumps forward by at most @K@ cells. Count the ways to get from cell 0 to cell n.")
        .asks("the number of ways")
        .answer(move |input| {
            let n = Reader::new(input).int() as usize;
            let mut ways = vec![1_i64];
            for i in 1..=n {
                ways.push((1..=k as usize).filter(|step| *step <= i).map(|step| ways[i - step]).sum());
            }
            text(ways[n])
        })
        .must("1")
        .must("5")
        .must("12")
        .must("30")
        .python("dp", "@READ@\ndp = [0] * (n + 1)\ndp[0] = 1\nfor i in range(1, n + 1):\n    for j in range(1, @K@ + 1):\n        if j <= i:\n            dp[i] += dp[i - j]\nprint(dp[n])")
        .python("sum", "@READ@\nways = [1]\nfor i in range(n):\n    ways.append(sum(ways[-@K@:]))\nprint(ways[n])")
        .python("forward", "@READ@\ndp = [0] * (n + 10)\ndp[0] = 1\nfor i in range(n):\n    for j in range(1, @MORE@):\n        dp[i + j] += dp[i]\nprint(dp[n])")
        .cpp("cpp-dp", "@READ@\nvector<long long> dp(n + 1, 0);\ndp[0] = 1;\nfor (int i = 1; i <= n; i++)\n    for (int j = 1; j <= @K@ && j <= i; j++)\n        dp[i] += dp[i - j];\ncout << dp[n] << endl;")
        .cpp("cpp-forward", "@READ@\nvector<long long> dp(n + 10, 0);\ndp[0] = 1;\nfor (int i = 0; i < n; i++) {\n    for (int j = 1; j <= @K@; j++) dp[i + j] += dp[i];\n}\ncout << dp[n] << endl;")
        .bug("dp", "off by one", "range(1, @K@ + 1)", "range(1, @K@)")
        .bug("dp", "wrong initial value", "dp[0] = 1", "dp[0] = 2")
        .bug("forward", "off by one", "range(1, @MORE@)", "range(2, @MORE@)")
        .bug("cpp-dp", "off by one", "j <= @K@", "j < @K@")
        .bug("cpp-forward", "off by one", "dp[n]", "dp[n + 1]")
        .crash("sum", "index out of range", "ways[n]", "ways[n + 1]")
        .crash("dp", "array too short", "[0] * (n + 1)", "[0] * n")
}

fn best_block(draw: &mut Draw) -> Draft {
    let largest = draw.percent(60);
    let (word, fun, sign) = if largest {
        ("largest", "max", 1)
    } else {
        ("smallest", "min", -1)
    };
    let other = if largest { "min" } else { "max" };
    Draft::new(Shape::list(60, -100, 100), &["dp"], 2)
        .constant("WORD", word)
        .constant("F", fun)
        .constant("OTHER", other)
        .story("@NAME@ picks a non-empty block of neighbouring days. What is the @WORD@ sum of their balances?")
        .story("Find the @WORD@ sum of a non-empty contiguous part of the list.")
        .asks("the @WORD@ sum of a contiguous part")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let mut best = i64::MIN;
            for start in 0..a.len() {
                let mut sum = 0;
                for x in &a[start..] {
                    sum += sign * x;
                    best = best.max(sum);
                }
            }
            text(sign * best)
        })
        .must("3\n-5 -2 -9")
        .must("3\n5 2 9")
        .must("8\n3 -5 7 8 -2 6 -20 1")
        .must("8\n-3 5 -7 -8 2 -6 20 -1")
        .python("kadane", "@READ@\nbest = a[0]\ncur = a[0]\nfor x in a[1:]:\n    cur = @F@(x, cur + x)\n    best = @F@(best, cur)\nprint(best)")
        .python("loops", "@READ@\nbest = a[0]\nfor i in range(n):\n    total = 0\n    for j in range(i, n):\n        total += a[j]\n        best = @F@(best, total)\nprint(best)")
        .cpp("cpp-kadane", "@READ@\nint best = a[0], cur = a[0];\nfor (int i = 1; i < n; i++) {\n    cur = @F@(a[i], cur + a[i]);\n    best = @F@(best, cur);\n}\ncout << best << endl;")
        .cpp("cpp-loops", "@READ@\nint best = a[0];\nfor (int i = 0; i < n; i++) {\n    int sum = 0;\n    for (int j = i; j < n; j++) {\n        sum += a[j];\n        best = @F@(best, sum);\n    }\n}\ncout << best << endl;")
        .bug("kadane", "wrong initial value", "best = a[0]", "best = 0")
        .bug("kadane", "wrong function", "best = @F@(best, cur)", "best = @OTHER@(best, cur)")
        .bug("kadane", "prints the last value", "print(best)", "print(cur)")
        .bug("loops", "forgot to reset", "    total = 0\n    for j in range(i, n):\n        total += a[j]", "    total = a[i]\n    for j in range(i, n):\n        total += a[j]")
        .bug("cpp-loops", "off by one", "int j = i", "int j = i + 1")
        .bug("cpp-kadane", "wrong function", "cur = @F@(a[i], cur + a[i])", "cur = @F@(a[i], cur)")
        .crash("loops", "index out of range", "range(i, n)", "range(i, n + 1)")
}

fn recurrence(draw: &mut Draw) -> Draft {
    let (first, second) = (draw.range(0, 3), draw.range(1, 5));
    let (p, q, m) = (draw.range(1, 4), draw.range(1, 4), draw.range(50, 997));
    Draft::new(Shape::int("n", 1, 1000), &["dp", "math"], 2)
        .constant("A", first)
        .constant("B", second)
        .constant("P", p)
        .constant("Q", q)
        .constant("M", m)
        .story("A sequence begins with f(1) = @A@ and f(2) = @B@. After that f(i) = @P@ * f(i-1) + @Q@ * f(i-2), taken modulo @M@.")
        .story("@NAME@ plays with numbers: f(1) = @A@, f(2) = @B@, and each next one is @P@ times the last plus @Q@ times the one before it, modulo @M@.")
        .asks("f(n)")
        .answer(move |input| {
            let n = Reader::new(input).int();
            let (mut x, mut y) = (first, second);
            for _ in 1..n {
                (x, y) = (y, (p * y + q * x) % m);
            }
            text(x)
        })
        .must("1")
        .must("2")
        .must("3")
        .must("4")
        .must("1000")
        .must("777")
        .python("pair", "@READ@\nx, y = @A@, @B@\nfor i in range(n - 1):\n    x, y = y, (@P@ * y + @Q@ * x) % @M@\nprint(x)")
        .python("list", "@READ@\nf = [0, @A@, @B@]\nfor i in range(3, n + 1):\n    f.append((@P@ * f[i - 1] + @Q@ * f[i - 2]) % @M@)\nprint(f[n])")
        .cpp("cpp-pair", "@READ@\nint x = @A@, y = @B@;\nfor (int i = 1; i < n; i++) {\n    int z = (@P@ * y + @Q@ * x) % @M@;\n    x = y;\n    y = z;\n}\ncout << x << endl;")
        .cpp("cpp-list", "@READ@\nvector<long long> f(n + 3);\nf[1] = @A@;\nf[2] = @B@;\nfor (int i = 3; i <= n; i++) f[i] = (@P@ * f[i - 1] + @Q@ * f[i - 2]) % @M@;\ncout << f[n] << endl;")
        .bug_like("pair", "off by one", "range(n - 1)", "range(n)", move |input| {
            let n = Reader::new(input).int();
            let (mut x, mut y) = (first, second);
            for _ in 0..n {
                (x, y) = (y, (p * y + q * x) % m);
            }
            text(x)
        })
        .bug_like("cpp-list", "off by one", "f[n] <<", "f[n + 1] <<", move |input| {
            let n = Reader::new(input).int() as usize;
            let mut f = vec![0; n + 3];
            (f[1], f[2]) = (first, second);
            for i in 3..=n {
                f[i] = (p * f[i - 1] + q * f[i - 2]) % m;
            }
            text(f[n + 1])
        })
        .bug_like("list", "forgot the modulus", "f.append((@P@ * f[i - 1] + @Q@ * f[i - 2]) % @M@)", "f.append(@P@ * f[i - 1] + @Q@ * f[i - 2])", move |input| {
            // What it prints first differs where the value passes the modulus.
            let n = Reader::new(input).int();
            let (mut x, mut y) = (f64::from(first as i32), f64::from(second as i32));
            for _ in 1..n {
                (x, y) = (y, p as f64 * y + q as f64 * x);
            }
            if x < m as f64 { text(x as i64) } else { "larger".to_owned() }
        })
        .bug_like("cpp-pair", "wrong order of updates", "    x = y;\n    y = z;\n", "    y = z;\n    x = y;\n", move |input| {
            let n = Reader::new(input).int();
            let (mut x, mut y) = (first, second);
            for _ in 1..n {
                y = (p * y + q * x) % m;
                x = y;
            }
            text(x)
        })
        .crash("list", "index out of range", "f[n]", "f[n + 2]")
}

fn fewest_coins(draw: &mut Draw) -> Draft {
    let small = draw.range(2, 5);
    let middle = draw.range(small + 1, 9);
    let large = draw.range(middle + 1, 15);
    let coins = [1, small, middle, large];
    Draft::new(Shape::int("n", 1, 200), &["dp", "greedy"], 3)
        .constant("C", "1, ".to_owned() + &format!("{small}, {middle}, {large}"))
        .story("@NAME@ pays n cents with coins of @C@ cents. What is the smallest number of coins?")
        .story("Write n as a sum of as few numbers as possible, each being one of @C@.")
        .asks("the smallest number of coins")
        .answer(move |input| {
            let n = Reader::new(input).int() as usize;
            let mut least = vec![0_i64];
            for i in 1..=n {
                let before = coins.iter().filter(|coin| **coin as usize <= i).map(|coin| least[i - *coin as usize]);
                least.push(before.min().unwrap_or(0) + 1);
            }
            text(least[n])
        })
        .must("1")
        .must(text(2 * middle))
        .must(text(large - 1))
        .must(text(large))
        .must(text(3 * large + 1))
        .must("200")
        .python("dp", "@READ@\ndp = [0] + [1000] * n\nfor i in range(1, n + 1):\n    for c in [@C@]:\n        if c <= i:\n            dp[i] = min(dp[i], dp[i - c] + 1)\nprint(dp[n])")
        .python("short", "@READ@\ncoins = [@C@]\nbest = [0]\nfor i in range(1, n + 1):\n    best.append(min(best[i - c] for c in coins if c <= i) + 1)\nprint(best[n])")
        .cpp("cpp-dp", "@READ@\nvector<int> dp(n + 1, 1000);\ndp[0] = 0;\nfor (int i = 1; i <= n; i++)\n    for (int c : {@C@})\n        if (c <= i) dp[i] = min(dp[i], dp[i - c] + 1);\ncout << dp[n] << endl;")
        .cpp("cpp-coins", "@READ@\nint coins[] = {@C@};\nvector<int> dp(n + 1, 1000);\ndp[0] = 0;\nfor (int c : coins) {\n    for (int i = c; i <= n; i++) dp[i] = min(dp[i], dp[i - c] + 1);\n}\ncout << dp[n] << endl;")
        .bug("dp", "wrong initial value", "[0] + [1000]", "[1] + [1000]")
        .bug("dp", "forgot to count", "dp[i - c] + 1", "dp[i - c]")
        .bug("cpp-dp", "wrong comparison", "c <= i)", "c < i)")
        .bug("cpp-coins", "off by one", "int i = c;", "int i = c + 1;")
        .bug("short", "off by one", "best[n]", "best[n - 1]")
        .crash("dp", "array too short", "[1000] * n", "[1000] * (n - 1)")
}

fn no_two_neighbours(draw: &mut Draw) -> Draft {
    let gap = draw.range(1, 3);
    Draft::new(Shape::list(40, 1, 100), &["dp"], 3)
        .constant("G", gap)
        .constant("STEP", gap + 1)
        .story("@NAME@ collects coins from a row of n boxes. After opening a box, the next @G@ boxes must stay closed. How many coins can be collected at most?")
        .story("Choose elements with a sum as large as possible; between two chosen ones there must be at least @G@ others.")
        .asks("the largest sum")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let mut best = vec![0; a.len() + 1];
            for i in 1..=a.len() {
                let before = i.saturating_sub(gap as usize + 1);
                best[i] = best[i - 1].max(best[before] + a[i - 1]);
            }
            text(best[a.len()])
        })
        .must("1\n7")
        .must("4\n9 1 1 9")
        .must("6\n5 5 5 5 5 5")
        .must("8\n1 9 8 1 7 7 2 9")
        .must("9\n1 2 3 4 5 6 7 8 9")
        .python("dp", "@READ@\ndp = [0] * (n + 1)\nfor i in range(1, n + 1):\n    dp[i] = max(dp[i - 1], dp[max(0, i - @STEP@)] + a[i - 1])\nprint(dp[n])")
        .python("append", "@READ@\nbest = [0]\nfor i in range(n):\n    before = best[i - @G@] if i >= @G@ else 0\n    best.append(max(best[-1], before + a[i]))\nprint(best[-1])")
        .cpp("cpp-dp", "@READ@\nvector<int> dp(n + 1, 0);\nfor (int i = 1; i <= n; i++) {\n    dp[i] = max(dp[i - 1], dp[max(0, i - @STEP@)] + a[i - 1]);\n}\ncout << dp[n] << endl;")
        .cpp("cpp-if", "@READ@\nvector<int> dp(n + 1, 0);\nfor (int i = 1; i <= n; i++) {\n    int before = i > @G@ ? dp[i - @STEP@] : 0;\n    dp[i] = max(dp[i - 1], before + a[i - 1]);\n}\ncout << dp[n] << endl;")
        .bug("dp", "off by one", "i - @STEP@", "i - @G@")
        .bug("append", "forgot a case", "max(best[-1], before + a[i])", "before + a[i]")
        .bug("cpp-dp", "off by one", "i - @STEP@", "i - @G@")
        .bug("cpp-dp", "wrong function", "dp[i] = max(dp[i - 1]", "dp[i] = min(dp[i - 1]")
        .crash("dp", "index out of range", "a[i - 1]", "a[i]")
}

fn longest_increasing(draw: &mut Draw) -> Draft {
    let (words, op, other) = draw.one(&[
        ("strictly increasing", "<", "<="),
        ("non-decreasing", "<=", "<"),
        ("strictly decreasing", ">", ">="),
        ("non-increasing", ">=", ">"),
    ]);
    Draft::new(Shape::list(30, 1, 20), &["dp"], 3)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("WORDS", words)
        .story("@NAME@ crosses out some of n numbers so that the rest is @WORDS@. How many numbers can stay?")
        .story("Find the length of the longest @WORDS@ subsequence.")
        .asks("the length of the longest @WORDS@ subsequence")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let mut best = vec![1; a.len()];
            for i in 0..a.len() {
                for j in 0..i {
                    let goes = match op {
                        "<" => a[j] < a[i],
                        "<=" => a[j] <= a[i],
                        ">" => a[j] > a[i],
                        _ => a[j] >= a[i],
                    };
                    if goes {
                        best[i] = best[i].max(best[j] + 1);
                    }
                }
            }
            text(best.iter().max().copied().unwrap_or(0))
        })
        .must("5\n4 4 4 4 4")
        .must("6\n1 5 2 3 9 4")
        .must("6\n9 5 8 7 1 6")
        .must("7\n3 3 2 2 5 5 1")
        .python("dp", "@READ@\ndp = [1] * n\nfor i in range(n):\n    for j in range(i):\n        if a[j] @OP@ a[i]:\n            dp[i] = max(dp[i], dp[j] + 1)\nprint(max(dp))")
        .python("list", "@READ@\nbest = []\nfor i in range(n):\n    before = [best[j] for j in range(i) if a[j] @OP@ a[i]]\n    best.append(1 + max(before, default=0))\nprint(max(best))")
        .cpp("cpp-dp", "@READ@\nvector<int> dp(n, 1);\nfor (int i = 0; i < n; i++)\n    for (int j = 0; j < i; j++)\n        if (a[j] @OP@ a[i]) dp[i] = max(dp[i], dp[j] + 1);\ncout << *max_element(dp.begin(), dp.end()) << endl;")
        .cpp("cpp-best", "@READ@\nvector<int> dp(n, 1);\nint best = 1;\nfor (int i = 1; i < n; i++) {\n    for (int j = 0; j < i; j++) {\n        if (a[j] @OP@ a[i]) dp[i] = max(dp[i], dp[j] + 1);\n    }\n    best = max(best, dp[i]);\n}\ncout << best << endl;")
        .bug("dp", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-dp", "wrong comparison", "@OP@", "@OTHER@")
        .bug("dp", "prints the last value", "max(dp))", "dp[-1])")
        .bug("list", "wrong initial value", "1 + max(before", "max(before")
        .bug("cpp-best", "forgot to count", "dp[j] + 1", "dp[j]")
        .crash("list", "missing edge case", "max(before, default=0)", "max(before)")
}
