//! Families about lists of numbers: counting, sums, extremes, order.

use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::{Shape, number};

pub(super) const FAMILIES: &[Family] = &[
    plain("count-above", count_above),
    plain("sum-multiples", sum_multiples),
    plain("range-of-list", range_of_list),
    plain("second-largest", second_largest),
    plain("position-of-extreme", position_of_extreme),
    plain("longest-streak", longest_streak),
    plain("average-above", average_above),
    plain("every-kth-sum", every_kth_sum),
    held_out("pairs-with-sum", pairs_with_sum),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn count_above(draw: &mut Draw) -> Draft {
    let k = draw.range(-20, 60);
    let strict = draw.percent(50);
    let (words, compare, other) = if strict {
        ("greater than", ">", ">=")
    } else {
        ("at least", ">=", ">")
    };
    Draft::new(Shape::list(100, -1000, 1000), &["implementation"], 1)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("OP", compare)
        .constant("OTHER", other)
        .story("@NAME@ has a list of n integers. How many of them are @WORDS@ @K@?")
        .story("@NAME@ measured the temperature on n days. A day is warm if the value is @WORDS@ @K@. Count the warm days.")
        .story("Given n numbers, count those which are @WORDS@ @K@.")
        .asks("the number of values which are @WORDS@ @K@")
        .asks("how many numbers are @WORDS@ @K@")
        .answer(move |input| {
            let a = Reader::new(input).list();
            text(a.iter().filter(|x| if strict { **x > k } else { **x >= k }).count())
        })
        .must(format!("4\n{} {} {} 0", k, k + 1, k - 1))
        .python("loop", "@READ@\nans = 0\nfor x in a:\n    if x @OP@ @K@:\n        ans += 1\nprint(ans)")
        .python("sum", "@READ@\nprint(sum(1 for x in a if x @OP@ @K@))")
        .python("index", "@READ@\ncnt = 0\nfor i in range(n):\n    if a[i] @OP@ @K@:\n        cnt += 1\nprint(cnt)")
        .cpp("cpp-loop", "@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    if (a[i] @OP@ @K@) ans++;\n}\ncout << ans << endl;")
        .cpp("cpp-count", "@READ@\ncout << count_if(a.begin(), a.end(), [](int x) { return x @OP@ @K@; }) << endl;")
        .bug("loop", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-loop", "wrong comparison", "@OP@", "@OTHER@")
        .bug("index", "off by one", "range(n)", "range(1, n)")
        .bug("index", "off by one", "range(n)", "range(n - 1)")
        .bug("loop", "wrong initial value", "ans = 0", "ans = 1")
        .bug("sum", "wrong variable", "sum(1 ", "sum(x ")
        .bug("cpp-loop", "off by one", "i = 0; i < n", "i = 1; i < n")
        .crash("index", "index out of range", "range(n)", "range(n + 1)")
}

fn sum_multiples(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 13);
    Draft::new(Shape::list(100, -1_000_000_000, 1_000_000_000), &["math", "implementation"], 1)
        .constant("K", k)
        .story("@NAME@ wrote n integers on the board. Find the sum of those divisible by @K@.")
        .story("Only multiples of @K@ are lucky. @NAME@ wants to know the sum of all lucky numbers in a list.")
        .story("Given n integers, add up the ones that are divisible by @K@.")
        .asks("the sum of all multiples of @K@")
        .asks("the sum of the numbers divisible by @K@, or 0 if there are none")
        .answer(move |input| text(Reader::new(input).list().iter().filter(|x| *x % k == 0).sum::<i64>()))
        .special(move |draw, size| {
            let n = crate::tests::count(1, 20, size, draw);
            let a: Vec<_> = (0..n).map(|_| text(draw.range(-8, 9) * k + draw.range(0, 1))).collect();
            format!("{n}\n{}", a.join(" "))
        })
        .must(format!("3\n{0} {0} {0}", 1_000_000_000 / k * k))
        .must("1\n1")
        .python("loop", "@READ@\nans = 0\nfor x in a:\n    if x % @K@ == 0:\n        ans += x\nprint(ans)")
        .python("sum", "@READ@\nprint(sum(x for x in a if x % @K@ == 0))")
        .python("filter", "@READ@\nb = [x for x in a if x % @K@ == 0]\nprint(sum(b))")
        .cpp("cpp-loop", "@READ@\nlong long ans = 0;\nfor (int x : a) {\n    if (x % @K@ == 0) ans += x;\n}\ncout << ans << endl;")
        .cpp("cpp-index", "@READ@\nlong long ans = 0;\nfor (int i = 0; i < n; i++)\n    if (a[i] % @K@ == 0)\n        ans += a[i];\ncout << ans << endl;")
        .bug("loop", "counts instead of adding", "ans += x", "ans += 1")
        .bug("sum", "wrong condition", "== 0", "!= 0")
        .bug("cpp-loop", "integer overflow", "long long ans", "int ans")
        .bug("cpp-index", "integer overflow", "long long ans", "int ans")
        .bug("filter", "wrong function", "sum(b)", "len(b)")
        .bug("cpp-index", "off by one", "i < n", "i < n - 1")
        .crash("filter", "wrong division", "x % @K@", "x % (@K@ - @K@)")
}

fn range_of_list(draw: &mut Draw) -> Draft {
    let k = draw.range(1, 9);
    let (formula, asks, key) = draw.one(&[
        (
            "max(a) - min(a)",
            "the difference of the largest and the smallest value",
            0,
        ),
        (
            "max(a) + min(a)",
            "the sum of the largest and the smallest value",
            1,
        ),
        (
            "max(a) - min(a) + @K@",
            "the largest value minus the smallest value, plus @K@",
            2,
        ),
        (
            "@K@ * max(a) - min(a)",
            "@K@ times the largest value minus the smallest value",
            3,
        ),
        (
            "max(a) + @K@ * min(a)",
            "the largest value plus @K@ times the smallest value",
            4,
        ),
    ]);
    let split = formula.replace("max(a)", "hi").replace("min(a)", "lo");
    let iter = split.clone();
    Draft::new(Shape::list(100, -1000, 1000), &["implementation", "math"], 1)
        .constant("FORM", formula)
        .constant("SPLIT", split)
        .constant("ITER", iter)
        .constant("K", if key < 2 { 0 } else { k })
        .story("@NAME@ has n boards of different height. Compare the highest and the lowest one.")
        .story("Find the largest and the smallest of n numbers and combine them as described below.")
        .story("@NAME@ looks at the maximum and the minimum of a list.")
        .asks(asks)
        .answer(move |input| {
            let a = Reader::new(input).list();
            let (lo, hi) = (*a.iter().min().unwrap_or(&0), *a.iter().max().unwrap_or(&0));
            text(match key {
                0 => hi - lo,
                1 => hi + lo,
                2 => hi - lo + k,
                3 => k * hi - lo,
                _ => hi + k * lo,
            })
        })
        .must("4\n-5 -9 -3 -7")
        .must("3\n8 5 9")
        .python("builtin", "@READ@\nprint(@FORM@)")
        .python("sorted", "@READ@\na.sort()\nlo = a[0]\nhi = a[-1]\nprint(@SPLIT@)")
        .python("loop", "@READ@\nlo = a[0]\nhi = a[0]\nfor x in a:\n    if x < lo:\n        lo = x\n    if x > hi:\n        hi = x\nprint(@SPLIT@)")
        .cpp("cpp-sort", "@READ@\nsort(a.begin(), a.end());\nint lo = a[0], hi = a[n - 1];\ncout << @SPLIT@ << endl;")
        .cpp("cpp-loop", "@READ@\nint lo = a[0], hi = a[0];\nfor (int x : a) {\n    lo = min(lo, x);\n    hi = max(hi, x);\n}\ncout << @SPLIT@ << endl;")
        .bug("loop", "wrong initial value", "hi = a[0]", "hi = 0")
        .bug("loop", "wrong initial value", "lo = a[0]", "lo = 0")
        .bug("cpp-loop", "wrong initial value", "hi = a[0]", "hi = 0")
        .bug("sorted", "forgot to sort", "a.sort()\n", "")
        .bug("cpp-sort", "forgot to sort", "sort(a.begin(), a.end());\n", "")
        .bug("loop", "wrong comparison", "x > hi", "x < hi")
        .bug("sorted", "off by one", "a[0]", "a[1 % n]")
        .crash("sorted", "index out of range", "a[-1]", "a[n]")
}

fn second_largest(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 5);
    let largest = draw.percent(50);
    let (word, python, cpp) = if largest {
        ("largest", "b[-@K@]", "b[b.size() - @K@]")
    } else {
        ("smallest", "b[@K@ - 1]", "b[@K@ - 1]")
    };
    let (same, cpp_same) = if largest {
        ("a[-@K@]", "a[n - @K@]")
    } else {
        ("a[@K@ - 1]", "a[@K@ - 1]")
    };
    let (off, cpp_off) = if largest {
        ("b[-@K@ + 1]", "b[b.size() - @K@ + 1]")
    } else {
        ("b[@K@ - 2]", "b[@K@ - 2]")
    };
    let shape = Shape::List {
        n: (5, 60),
        value: (-1000, 1000),
        extra: Vec::new(),
    };
    Draft::new(shape, &["sortings"], 2)
        .constant("PY", python)
        .constant("CPP", cpp)
        .constant("SAME", same)
        .constant("CSAME", cpp_same)
        .constant("OFF", off)
        .constant("COFF", cpp_off)
        .constant("WORD", word)
        .constant("K", k)
        .story("@NAME@ removes repeated values from a list. Which is the @K@-th @WORD@ of the values that are left?")
        .story("Find the @K@-th @WORD@ among the different values of a list.")
        .asks("the @K@-th @WORD@ different value, or -1 if there are fewer than @K@ different values")
        .answer(move |input| {
            let mut a = Reader::new(input).list();
            a.sort_unstable();
            a.dedup();
            if largest {
                a.reverse();
            }
            a.get(k as usize - 1).map_or_else(|| text(-1), text)
        })
        .must("6\n1 2 2 1 1 2")
        .must({
            // Exactly k different values: the bound of the edge case.
            let a: Vec<_> = (0..7).map(|i| text(i % k)).collect();
            format!("7\n{}", a.join(" "))
        })
        .must("9\n5 5 4 4 3 3 2 2 1")
        .must("9\n1 1 2 2 3 3 4 4 5")
        .python("set", "@READ@\nb = sorted(set(a))\nif len(b) < @K@:\n    print(-1)\nelse:\n    print(@PY@)")
        .python("loop", "@READ@\na.sort()\nb = []\nfor x in a:\n    if x not in b:\n        b.append(x)\nprint(@PY@ if len(b) >= @K@ else -1)")
        .cpp("cpp-set", "@READ@\nset<int> t(a.begin(), a.end());\nvector<int> b(t.begin(), t.end());\nif (b.size() < @K@) cout << -1 << endl;\nelse cout << @CPP@ << endl;")
        .cpp("cpp-unique", "@READ@\nvector<int> b = a;\nsort(b.begin(), b.end());\nb.erase(unique(b.begin(), b.end()), b.end());\nif (b.size() < @K@) {\n    cout << -1 << endl;\n} else {\n    cout << @CPP@ << endl;\n}")
        .bug("set", "counts repeated values", "sorted(set(a))", "sorted(a)")
        .bug("set", "off by one", "@PY@", "@OFF@")
        .crash("set", "missing edge case", "len(b) < @K@", "len(a) < @K@")
        .bug("cpp-unique", "counts repeated values", "b.erase(unique(b.begin(), b.end()), b.end());\n", "")
        .bug("cpp-set", "off by one", "@CPP@", "@COFF@")
        .bug("loop", "wrong comparison", ">= @K@", "> @K@")
        .bug("loop", "wrong variable", "@PY@", "@SAME@")
        .bug("cpp-unique", "wrong default", "-1", "0")
}

fn position_of_extreme(draw: &mut Draw) -> Draft {
    let (big, first, base) = (draw.percent(50), draw.percent(50), draw.range(0, 1));
    let strict = if big { ">" } else { "<" };
    let loose = if big { ">=" } else { "<=" };
    let (op, other) = if first {
        (strict, loose)
    } else {
        (loose, strict)
    };
    Draft::new(Shape::list(100, -100, 100), &["implementation"], 1)
        .constant("WORD", if big { "largest" } else { "smallest" })
        .constant("WHICH", if first { "first" } else { "last" })
        .constant("BASE", base)
        .constant("OTHERBASE", 1 - base)
        .constant("FN", if big { "max" } else { "min" })
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("WRONG", if big { "<" } else { ">" })
        .constant("FIND", if first { "a.index(@FN@(a)) + @BASE@" } else { "n - 1 - a[::-1].index(@FN@(a)) + @BASE@" })
        .constant("FN", if big { "max" } else { "min" })
        .constant("BASE", base)
        .story("@NAME@ lined up n players. Find the position of the @WHICH@ player with the @WORD@ score. Positions are counted from @BASE@.")
        .story("Find where the @WORD@ value of a list occurs for the @WHICH@ time (positions start with @BASE@).")
        .asks("the position of the @WHICH@ occurrence of the @WORD@ value, counted from @BASE@")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let best = if big { a.iter().max() } else { a.iter().min() };
            let at = if first { a.iter().position(|x| Some(x) == best) } else { a.iter().rposition(|x| Some(x) == best) };
            text(at.unwrap_or(0) as i64 + base)
        })
        .must("5\n3 9 3 9 3")
        .must("5\n9 3 9 3 9")
        .must("4\n-5 -9 -2 -7")
        .must("4\n5 9 2 7")
        .python("index", "@READ@\nprint(@FIND@)")
        .python("loop", "@READ@\nbest = 0\nfor i in range(n):\n    if a[i] @OP@ a[best]:\n        best = i\nprint(best + @BASE@)")
        .python("two-values", "@READ@\nbest = a[0]\npos = 0\nfor i in range(n):\n    if a[i] @OP@ best:\n        best = a[i]\n        pos = i\nprint(pos + @BASE@)")
        .cpp("cpp-loop", "@READ@\nint best = 0;\nfor (int i = 0; i < n; i++) {\n    if (a[i] @OP@ a[best]) best = i;\n}\ncout << best + @BASE@ << endl;")
        .cpp("cpp-two", "@READ@\nint best = a[0], pos = 0;\nfor (int i = 1; i < n; i++) {\n    if (a[i] @OP@ best) {\n        best = a[i];\n        pos = i;\n    }\n}\ncout << pos + @BASE@ << endl;")
        .bug("loop", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-loop", "wrong comparison", "@OP@", "@OTHER@")
        .bug("loop", "off by one", "best + @BASE@", "best + @OTHERBASE@")
        .bug("cpp-two", "off by one", "pos + @BASE@", "pos + @OTHERBASE@")
        .bug("two-values", "wrong initial value", "best = a[0]", "best = 0")
        .bug("two-values", "forgot an update", "        best = a[i]\n", "")
        .bug("cpp-two", "wrong comparison", "@OP@", "@WRONG@")
        .bug("loop", "prints the value", "best + @BASE@", "a[best]")
}

fn longest_streak(draw: &mut Draw) -> Draft {
    let (words, python, bad) = draw.one(&[
        ("equal values", "a[i] == a[i - 1]", "a[i] != a[i - 1]"),
        (
            "strictly increasing values",
            "a[i] > a[i - 1]",
            "a[i] >= a[i - 1]",
        ),
        (
            "non-decreasing values",
            "a[i] >= a[i - 1]",
            "a[i] > a[i - 1]",
        ),
        (
            "strictly decreasing values",
            "a[i] < a[i - 1]",
            "a[i] <= a[i - 1]",
        ),
        (
            "values that grow by exactly 1 each",
            "a[i] == a[i - 1] + 1",
            "a[i] > a[i - 1]",
        ),
    ]);
    Draft::new(Shape::list(60, 1, 30), &["implementation", "two pointers"], 2)
        .constant("COND", python)
        .constant("BAD", bad)
        .constant("WORDS", words)
        .story("@NAME@ looks for the longest block of neighbouring @WORDS@ in a list.")
        .story("Given n numbers, find the length of the longest consecutive part that consists of @WORDS@.")
        .asks("the length of the longest run of @WORDS@")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let (mut best, mut now) = (1, 1);
            for pair in a.windows(2) {
                let (left, right) = (pair[0], pair[1]);
                let goes = match python {
                    "a[i] == a[i - 1]" => right == left,
                    "a[i] > a[i - 1]" => right > left,
                    "a[i] >= a[i - 1]" => right >= left,
                    "a[i] < a[i - 1]" => right < left,
                    _ => right == left + 1,
                };
                now = if goes { now + 1 } else { 1 };
                best = best.max(now);
            }
            text(best)
        })
        .special(|draw, size| {
            let n = crate::tests::count(2, 40, size, draw);
            let mut a = vec![draw.range(1, 9)];
            while a.len() < n as usize {
                let step = draw.one(&[0, 0, 1, 1, 1, -1, -1, 2]);
                a.push((a[a.len() - 1] + step).clamp(1, 30));
            }
            let a: Vec<_> = a.iter().map(text).collect();
            format!("{n}\n{}", a.join(" "))
        })
        .must("6\n9 2 5 5 5 5")
        .must("6\n9 2 4 5 6 7")
        .must("6\n1 2 9 7 5 4")
        .must("9\n1 1 2 3 4 4 3 2 1")
        .must("5\n1 3 5 7 9")
        .must("8\n3 4 1 2 8 8 8 9")
        .python("loop", "@READ@\nbest = 1\ncur = 1\nfor i in range(1, n):\n    if @COND@:\n        cur += 1\n    else:\n        cur = 1\n    best = max(best, cur)\nprint(best)")
        .python("while", "@READ@\nans = 0\ni = 0\nwhile i < n:\n    start = i\n    i += 1\n    while i < n and @COND@:\n        i += 1\n    ans = max(ans, i - start)\nprint(ans)")
        .python("dp", "@READ@\ndp = [1] * n\nfor i in range(1, n):\n    if @COND@:\n        dp[i] = dp[i - 1] + 1\nprint(max(dp))")
        .cpp("cpp-loop", "@READ@\nint best = 1, cur = 1;\nfor (int i = 1; i < n; i++) {\n    if (@COND@) cur++;\n    else cur = 1;\n    best = max(best, cur);\n}\ncout << best << endl;")
        .cpp("cpp-dp", "@READ@\nvector<int> dp(n, 1);\nfor (int i = 1; i < n; i++)\n    if (@COND@) dp[i] = dp[i - 1] + 1;\ncout << *max_element(dp.begin(), dp.end()) << endl;")
        .bug("loop", "wrong comparison", "@COND@", "@BAD@")
        .bug("cpp-loop", "wrong comparison", "@COND@", "@BAD@")
        .bug("loop", "wrong reset", "        cur = 1\n", "        cur = 0\n")
        .bug("loop", "wrong place of the update", "    else:\n        cur = 1\n    best = max(best, cur)\n", "    else:\n        best = max(best, cur)\n        cur = 1\n")
        .bug("dp", "prints the last value", "max(dp)", "dp[-1]")
        .bug("cpp-loop", "forgot to reset", "    else cur = 1;\n", "")
        .bug("cpp-dp", "wrong initial value", "dp(n, 1)", "dp(n, 0)")
        .bug("while", "off by one", "i - start", "i - start - 1")
}

fn average_above(draw: &mut Draw) -> Draft {
    let (words, op, other) = draw.one(&[
        ("greater than", ">", ">="),
        ("less than", "<", "<="),
        ("at least", ">=", ">"),
        ("at most", "<=", "<"),
    ]);
    Draft::new(Shape::list(100, 0, 1000), &["math"], 2)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("WORDS", words)
        .story("@NAME@ has the marks of n students. Count the students whose mark is @WORDS@ the average of all marks.")
        .story("Given n numbers, count those that are @WORDS@ their mean value.")
        .asks("how many values are @WORDS@ the average")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let (n, sum) = (a.len() as i64, a.iter().sum::<i64>());
            text(a.iter().filter(|x| match op {
                ">" => **x * n > sum,
                "<" => **x * n < sum,
                ">=" => **x * n >= sum,
                _ => **x * n <= sum,
            }).count())
        })
        .must("3\n1 2 3")
        .must("4\n0 0 1 1")
        .must("4\n1 1 1 2")
        .must("4\n1 2 2 2")
        .python("exact", "@READ@\ntotal = sum(a)\nans = 0\nfor x in a:\n    if x * n @OP@ total:\n        ans += 1\nprint(ans)")
        .python("short", "@READ@\nprint(sum(1 for x in a if x * len(a) @OP@ sum(a)))")
        .cpp("cpp-exact", "@READ@\nint sum = 0, ans = 0;\nfor (int x : a) sum += x;\nfor (int x : a)\n    if (x * n @OP@ sum) ans++;\ncout << ans << endl;")
        .cpp("cpp-accumulate", "@READ@\nlong long sum = accumulate(a.begin(), a.end(), 0LL);\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    if (1LL * a[i] * n @OP@ sum) ans++;\n}\ncout << ans << endl;")
        .bug("exact", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-exact", "wrong comparison", "@OP@", "@OTHER@")
        .wrong("exact", "integer division", crate::Claim::WrongAnswer, &[("x * n @OP@ total", "x @OP@ total // n")], Some(Box::new(move |input| {
            let a = Reader::new(input).list();
            let mean = a.iter().sum::<i64>() / a.len() as i64;
            text(a.iter().filter(|x| match op {
                ">" => **x > mean,
                "<" => **x < mean,
                ">=" => **x >= mean,
                _ => **x <= mean,
            }).count())
        })))
        .bug("exact", "wrong initial value", "ans = 0", "ans = 1")
        .bug("short", "wrong function", "sum(a)", "max(a)")
        .crash("short", "wrong reading", "x * len(a)", "x * len(x)")
}

fn every_kth_sum(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 6);
    let start = draw.range(1, k.min(3));
    Draft::new(Shape::list(100, -1000, 1000), &["implementation"], 1)
        .constant("K", k)
        .constant("S", start)
        .constant("FROM", start - 1)
        .story("@NAME@ walks along n coins and picks up coin number @S@ and then every @K@-th coin after it. What is the total value?")
        .story("Sum the elements of a list at positions @S@, @S@+@K@, @S@+2*@K@ and so on (positions count from 1).")
        .asks("the sum of every @K@-th element, starting with element @S@")
        .answer(move |input| {
            let a = Reader::new(input).list();
            text(a.iter().skip(start as usize - 1).step_by(k as usize).sum::<i64>())
        })
        .must("12\n1 2 4 8 16 32 64 128 256 512 999 7")
        .python("slice", "@READ@\nprint(sum(a[@FROM@::@K@]))")
        .python("range", "@READ@\nans = 0\nfor i in range(@FROM@, n, @K@):\n    ans += a[i]\nprint(ans)")
        .python("modulo", "@READ@\nans = 0\nfor i in range(n):\n    if i % @K@ == @FROM@:\n        ans += a[i]\nprint(ans)")
        .cpp("cpp-step", "@READ@\nint ans = 0;\nfor (int i = @FROM@; i < n; i += @K@) ans += a[i];\ncout << ans << endl;")
        .cpp("cpp-modulo", "@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    if (i % @K@ == @FROM@) ans += a[i];\n}\ncout << ans << endl;")
        .bug("slice", "off by one", "@FROM@", "@S@")
        .bug("range", "off by one", "@FROM@", "@S@")
        .bug("range", "wrong bound", "n, @K@", "n - 1, @K@")
        .bug("modulo", "wrong condition", "% @K@ == @FROM@", "% @K@ != @FROM@")
        .bug("range", "adds the index", "a[i]", "i")
        .bug("cpp-modulo", "off by one", "i % @K@", "(i + 1) % @K@")
        .bug("cpp-step", "forgot to add", "ans += a[i]", "ans = a[i]")
}

fn pairs_with_sum(draw: &mut Draw) -> Draft {
    let less = draw.percent(50);
    let (words, op, other) = if less {
        ("at most", "<=", "<")
    } else {
        ("exactly", "==", ">=")
    };
    Draft::new(Shape::list_and(40, 0, 50, number("t", 0, 100)), &["brute force"], 2)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("WORDS", words)
        .story("@NAME@ has n cards with numbers. How many pairs of cards have a sum of @WORDS@ t?")
        .story("Count the pairs i < j such that a_i + a_j is @WORDS@ t.")
        .asks("the number of pairs with a sum of @WORDS@ t")
        .answer(move |input| {
            let (a, t) = Reader::new(input).list_and_one();
            let mut count = 0;
            for i in 0..a.len() {
                for j in 0..i {
                    count += i32::from(if less { a[i] + a[j] <= t } else { a[i] + a[j] == t });
                }
            }
            text(count)
        })
        .must("4 6\n3 3 3 3")
        .must("5 6\n1 5 3 2 4")
        .must("3 4\n2 9 9")
        .python("loops", "@READ@\nans = 0\nfor i in range(n):\n    for j in range(i + 1, n):\n        if a[i] + a[j] @OP@ t:\n            ans += 1\nprint(ans)")
        .python("before", "@READ@\nans = 0\nfor i in range(n):\n    for j in range(i):\n        ans += a[i] + a[j] @OP@ t\nprint(ans)")
        .cpp("cpp-loops", "@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++)\n    for (int j = i + 1; j < n; j++)\n        if (a[i] + a[j] @OP@ t) ans++;\ncout << ans << endl;")
        .cpp("cpp-before", "@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    for (int j = 0; j < i; j++) {\n        if (a[i] + a[j] @OP@ t) ans++;\n    }\n}\ncout << ans << endl;")
        .bug("loops", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-loops", "wrong comparison", "@OP@", "@OTHER@")
        .bug("loops", "pairs an element with itself", "range(i + 1, n)", "range(i, n)")
        .bug("before", "counts pairs twice", "range(i)", "range(n)")
        .bug("cpp-loops", "off by one", "j = i + 1", "j = i + 2")
        .crash("loops", "index out of range", "range(i + 1, n)", "range(i + 1, n + 1)")
}
