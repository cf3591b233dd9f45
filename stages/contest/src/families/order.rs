//! Families about order: sorting, ranks, inversions, and intervals on a line.

use crate::draw::Draw;
use crate::family::{Draft, Family, plain};
use crate::reader::Reader;
use crate::shape::{Shape, number};

pub(super) const FAMILIES: &[Family] = &[
    plain("sort-by-key", sort_by_key),
    plain("kth-in-order", kth_in_order),
    plain("covered-length", covered_length),
    plain("busiest-moment", busiest_moment),
    plain("inversions", inversions),
    plain("out-of-place", out_of_place),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn spaced(values: &[i64]) -> String {
    values
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the values are compared by: words, code with `x`, and the rule.
struct Key {
    words: String,
    code: String,
    remainder: bool,
    by: i64,
}

impl Key {
    fn new(draw: &mut Draw) -> Self {
        let remainder = draw.percent(60);
        let by = if remainder {
            draw.range(3, 12)
        } else {
            draw.range(10, 90)
        };
        let (words, code) = match (remainder, by) {
            (true, 10) => ("last digit".to_owned(), "x % 10".to_owned()),
            (true, _) => (format!("remainder modulo {by}"), format!("x % {by}")),
            (false, _) => (format!("distance to {by}"), format!("abs(x - {by})")),
        };
        Self {
            words,
            code,
            remainder,
            by,
        }
    }

    fn of(&self, x: i64) -> i64 {
        if self.remainder {
            x % self.by
        } else {
            (x - self.by).abs()
        }
    }

    /// Values of which several have the same key.
    fn equals(&self) -> Vec<i64> {
        let by = self.by;
        if self.remainder {
            vec![by + 1, 1, 2 * by + 1, by - 1, by, 2, by + 2, 1, 0]
        } else {
            vec![
                by + 1,
                by - 1,
                by,
                by + 7,
                by - 7,
                0,
                by + 3,
                by - 3,
                by - 1,
                by + 1,
                2 * by,
            ]
        }
    }
}

fn sort_by_key(draw: &mut Draw) -> Draft {
    let key = Key::new(draw);
    let descending = draw.percent(40);
    let sign = if descending { "-" } else { "" };
    // What decides between equal keys: 0 input order, 1 the smaller, 2 the larger value.
    let tie = draw.one(&[0, 1, 1, 2]);
    let full = if descending && key.remainder {
        format!("-({})", key.code)
    } else {
        format!("{sign}{}", key.code)
    };
    let (second, back) = [("i", "a[y]"), ("a[i]", "y"), ("-a[i]", "-y")][tie];
    let equals = key.equals();
    let reversed: Vec<_> = equals.iter().rev().copied().collect();
    Draft::new(Shape::list(40, 0, 200), &["sortings"], 3)
        .constant("WORDS", &key.words)
        .constant("DOWN", if descending { "descending" } else { "ascending" })
        .constant("TIES", ["keep their order of the input", "are sorted ascending", "are sorted descending"][tie])
        .constant("KEY", &full)
        .constant("TIE", ["", ", x", ", -x"][tie])
        .constant("NOTIE", [", x", "", ", x"][tie])
        .constant("OPPOSITE", if descending { key.code.clone() } else { format!("-({})", key.code) })
        .constant("LEFT", full.replace('x', "u"))
        .constant("RIGHT", full.replace('x', "v"))
        .constant("LESS", ["false", "u < v", "u > v"][tie])
        .constant("SECOND", second)
        .constant("BACK", back)
        .story("@NAME@ sorts n numbers by their @WORDS@ in @DOWN@ order. Numbers that agree in it @TIES@.")
        .story("Sort a list in @DOWN@ order of the @WORDS@ of the numbers; those with the same @WORDS@ @TIES@.")
        .asks("the sorted list")
        .answer(move |input| {
            let mut a = Reader::new(input).list();
            a.sort_by_key(|x| {
                let first = if descending { -key.of(*x) } else { key.of(*x) };
                (first, [0, *x, -*x][tie])
            });
            spaced(&a)
        })
        .must(format!("{}\n{}", equals.len(), spaced(&equals)))
        .must(format!("{}\n{}", reversed.len(), spaced(&reversed)))
        .python("lambda", "@READ@\na.sort(key=lambda x: (@KEY@@TIE@))\nprint(*a)")
        .python("function", "@READ@\ndef key(x):\n    return (@KEY@@TIE@)\n\nb = sorted(a, key=key)\nprint(*b)")
        .python("bubble", "@READ@\ndef key(x):\n    return (@KEY@@TIE@)\n\nfor k in range(n):\n    for i in range(n - 1):\n        if key(a[i]) > key(a[i + 1]):\n            a[i], a[i + 1] = a[i + 1], a[i]\nprint(*a)")
        .cpp("cpp-bubble", "bool before(int u, int v) {\n    int left = @LEFT@, right = @RIGHT@;\n    if (left != right) return left < right;\n    return @LESS@;\n}\n---\n@READ@\nfor (int k = 0; k < n; k++)\n    for (int i = 0; i + 1 < n; i++)\n        if (before(a[i + 1], a[i])) swap(a[i], a[i + 1]);\nfor (int x : a) cout << x << \" \";\ncout << endl;")
        .cpp("cpp-pairs", "@READ@\nvector<pair<int, int>> b;\nfor (int i = 0; i < n; i++) {\n    int x = a[i];\n    b.push_back({@KEY@, @SECOND@});\n}\nsort(b.begin(), b.end());\nfor (int i = 0; i < n; i++) {\n    int y = b[i].second;\n    cout << @BACK@ << (i + 1 < n ? ' ' : '\\n');\n}")
        .bug("lambda", "wrong order", "(@KEY@@TIE@)", "(@OPPOSITE@@TIE@)")
        .bug("lambda", "wrong order of equal ones", "(@KEY@@TIE@)", "(@KEY@@NOTIE@)")
        .bug("function", "forgot the key", "sorted(a, key=key)", "sorted(a)")
        .bug("function", "prints the wrong list", "print(*b)", "print(*a)")
        .bug("function", "wrong format of the output", "print(*b)", "print(b)")
        .bug("bubble", "off by one", "range(n - 1)", "range(n - 2)")
        .bug("cpp-bubble", "wrong order", "return left < right", "return left > right")
        .bug("cpp-bubble", "too few rounds", "int k = 0; k < n", "int k = 0; k < 1")
        .bug("cpp-pairs", "forgot to sort", "sort(b.begin(), b.end());\n", "")
        .crash("bubble", "index out of range", "range(n - 1)", "range(n)")
}

fn kth_in_order(draw: &mut Draw) -> Draft {
    let key = Key::new(draw);
    let (largest, different) = (draw.percent(50), draw.percent(50));
    let keys = key.equals();
    let many = keys.len();
    let most: i64 = keys.iter().map(|x| key.of(*x)).max().unwrap_or(0);
    let (order, other) = if largest {
        ("b.sort(reverse=True)\n", "b.sort()\n")
    } else {
        ("b.sort()\n", "b.sort(reverse=True)\n")
    };
    Draft::new(Shape::list_and(50, 0, 200, number("k", 1, 50)), &["sortings"], 3)
        .constant("WORDS", &key.words)
        .constant("END", if largest { "largest" } else { "smallest" })
        .constant("EACH", if different { "Equal results count only once" } else { "Equal results count as often as they occur" })
        .constant("CODE", &key.code)
        .constant("CPPKEY", if largest { format!("-({})", key.code) } else { key.code.clone() })
        .constant("SIGN", if largest { "-" } else { "" })
        .constant("ALL", if different { "set" } else { "list" })
        .constant("OTHER", if different { "list" } else { "set" })
        .constant("STEP", if different { "1" } else { "q.second" })
        .constant("OTHERSTEP", if different { "q.second" } else { "1" })
        .constant("F", if largest { "max" } else { "min" })
        .constant("G", if largest { "min" } else { "max" })
        .story("@NAME@ writes down the @WORDS@ of each of n numbers. What is the k-th @END@ result? @EACH@.")
        .story("Replace every number by its @WORDS@ and find the k-th @END@ result. @EACH@.")
        .asks("the k-th @END@ result, or -1 if there are fewer than k")
        .answer(move |input| {
            let (a, k) = Reader::new(input).list_and_one();
            let mut b: Vec<_> = a.iter().map(|x| key.of(*x)).collect();
            b.sort_unstable();
            if different {
                b.dedup();
            }
            if largest {
                b.reverse();
            }
            text(b.get(k as usize - 1).copied().unwrap_or(-1))
        })
        .must(format!("{many} 1\n{}", spaced(&keys)))
        .must(format!("{many} 2\n{}", spaced(&keys)))
        .must(format!("{many} 3\n{}", spaced(&keys)))
        .must(format!("{many} {many}\n{}", spaced(&keys)))
        .must("3 1\n1 2 4")
        .must("3 3\n5 5 5")
        .must("2 3\n5 80")
        .must("1 50\n7")
        .python("sort", &"@READ@\nb = list(@ALL@(@CODE@ for x in a))\n@ORDER@if k <= len(b):\n    print(b[k - 1])\nelse:\n    print(-1)".replace("@ORDER@", order))
        .python("sorted", &format!("@READ@\nb = sorted(@ALL@([@CODE@ for x in a])){}\nprint(b[k - 1] if k <= len(b) else -1)", if largest { "[::-1]" } else { "" }))
        .python("rounds", if different {
            "@READ@\nb = [@CODE@ for x in a]\nans = -1\nfor i in range(k):\n    if not b:\n        ans = -1\n        break\n    ans = @F@(b)\n    b = [x for x in b if x != ans]\nprint(ans)"
        } else {
            "@READ@\nb = [@CODE@ for x in a]\nans = -1\nfor i in range(k):\n    if not b:\n        ans = -1\n        break\n    ans = @F@(b)\n    b.remove(ans)\nprint(ans)"
        })
        .cpp("cpp-map", "@READ@\nmap<int, int> b;\nfor (int x : a) b[@CPPKEY@]++;\nint ans = -1, i = 0;\nfor (auto &q : b) {\n    i += @STEP@;\n    if (i >= k) {\n        ans = @SIGN@q.first;\n        break;\n    }\n}\ncout << ans << endl;")
        .cpp("cpp-sort", if different {
            "@READ@\nvector<int> b;\nfor (int x : a) b.push_back(@CPPKEY@);\nsort(b.begin(), b.end());\nb.erase(unique(b.begin(), b.end()), b.end());\nif (k <= (int)b.size()) cout << @SIGN@b[k - 1] << endl;\nelse cout << -1 << endl;"
        } else {
            "@READ@\nvector<int> b;\nfor (int x : a) b.push_back(@CPPKEY@);\nsort(b.begin(), b.end());\nif (k <= (int)b.size()) cout << @SIGN@b[k - 1] << endl;\nelse cout << -1 << endl;"
        })
        .bug("sort", "wrong order", order, other)
        .bug("sort", "equal results", "@ALL@(", "@OTHER@(")
        .bug("sort", "off by one", "k <= len(b)", "k < len(b)")
        .bug("sorted", "off by one", "b[k - 1]", "b[k - 2]")
        .bug("rounds", "wrong function", "@F@(b)", "@G@(b)")
        .bug("cpp-map", "equal results", "@STEP@", "@OTHERSTEP@")
        .bug("cpp-map", "off by one", "i >= k", "i > k")
        .bug("cpp-sort", "forgot to sort", "sort(b.begin(), b.end());\n", "")
        .bug("cpp-sort", "forgot the key", "b.push_back(@CPPKEY@)", "b.push_back(x)")
        .crash("rounds", "missing edge case", "    if not b:\n        ans = -1\n        break\n", "")
        .must(format!("4 2\n{} 1 2 0", most.max(100)))
}

fn covered_length(draw: &mut Draw) -> Draft {
    let more = draw.range(0, 6);
    let price = draw.range(1, 9);
    let add = if more > 0 {
        format!(" + {more}")
    } else {
        String::new()
    };
    let wrong = format!(" + {}", more + 1);
    let rule = match (more, price) {
        (0, 1) => "It is on from time l to time r".to_owned(),
        (0, _) => format!("It is on from l to r, and each second with light costs {price}"),
        (_, 1) => format!("It is on from l to r and then for {more} seconds more"),
        _ => format!(
            "It is on from l to r and then for {more} seconds more; each second with light costs {price}"
        ),
    };
    Draft::new(
        Shape::Pairs { n: 30, value: (0, 100), names: ("l", "r"), ordered: true },
        &["sortings", "greedy"],
        3,
    )
    .constant("ADD", &add)
    .constant("WRONG", &wrong)
    .constant("C", price)
    .constant("RULE", rule)
    .constant("SIZE", 101 + more)
    .story("n people switch on a lamp in a hall, each once. @RULE@. Several lamps at once count as light once.")
    .story("@NAME@ has n lamps; each one is used once. @RULE@. Seconds with several lamps are not counted twice.")
    .asks(if price == 1 { "the total time with light" } else { "the total cost of the light" })
    .answer(move |input| {
        let mut on = [false; 120];
        for (l, r) in Reader::new(input).pairs() {
            for second in l..r + more {
                on[second as usize] = true;
            }
        }
        text(on.iter().filter(|on| **on).count() as i64 * price)
    })
    .must("2\n10 40\n20 30")
    .must("3\n50 60\n10 20\n15 30")
    .must("2\n5 9\n90 100")
    .must("3\n40 50\n10 80\n70 71")
    .must("2\n0 10\n0 10")
    .must("2\n0 1\n99 100")
    .must("3\n60 70\n0 100\n20 30")
    .python("set", "@READ@\ns = set()\nfor l, r in p:\n    for x in range(l, r@ADD@):\n        s.add(x)\nprint(len(s) * @C@)")
    .python("sweep", "@READ@\np.sort()\ntotal = 0\nend = 0\nfor l, r in p:\n    stop = r@ADD@\n    if stop > end:\n        total += stop - max(l, end)\n        end = stop\nprint(total * @C@)")
    .python("marks", "@READ@\non = [0] * @SIZE@\nfor l, r in p:\n    for i in range(l, r@ADD@):\n        on[i] = 1\nprint(sum(on) * @C@)")
    .cpp("cpp-marks", "@READ@\nvector<int> on(200, 0);\nfor (auto &q : p)\n    for (int t = q.first; t < q.second@ADD@; t++) on[t] = 1;\nint ans = 0;\nfor (int x : on) ans += x;\ncout << ans * @C@ << endl;")
    .cpp("cpp-sweep", "@READ@\nsort(p.begin(), p.end());\nint total = 0, last = 0;\nfor (auto &q : p) {\n    int l = max(q.first, last), r = q.second@ADD@;\n    if (r > l) total += r - l;\n    last = max(last, r);\n}\ncout << total * @C@ << endl;")
    .bug("set", "off by one", "range(l, r@ADD@)", "range(l, r@WRONG@)")
    .bug("sweep", "forgot to sort", "p.sort()\n", "")
    .bug("sweep", "counts common parts twice", "max(l, end)", "l")
    .bug("sweep", "wrong place of the update", "        end = stop\n", "    end = stop\n")
    .bug("marks", "counts common parts twice", "on[i] = 1", "on[i] += 1")
    .bug("cpp-marks", "off by one", "t = q.first", "t = q.first + 1")
    .bug("cpp-sweep", "forgot to sort", "sort(p.begin(), p.end());\n", "")
    .bug("cpp-sweep", "wrong update", "last = max(last, r)", "last = r")
    .crash("marks", "array too short", "[0] * @SIZE@", "[0] * (n + 1)")
}

fn busiest_moment(draw: &mut Draw) -> Draft {
    let (from, to) = (draw.range(0, 15), draw.range(33, 48));
    let closed = draw.percent(50);
    let (words, op, other, add, wrong) = if closed {
        ("is still there at time r", "<=", "<", " + 1", "")
    } else {
        ("is gone at time r", "<", "<=", "", " + 1")
    };
    let middle = from + 10;
    Draft::new(
        Shape::Pairs { n: 30, value: (0, 50), names: ("l", "r"), ordered: true },
        &["implementation", "brute force"],
        3,
    )
    .constant("FROM", from)
    .constant("TO", to)
    .constant("END", to + 1)
    .constant("WORDS", words)
    .constant("OP", op)
    .constant("OTHER", other)
    .constant("ADD", add)
    .constant("WRONG", wrong)
    .story("Each of n guests arrives at time l and leaves at time r; a guest is there at time l and @WORDS@. @NAME@ looks at the whole times from @FROM@ to @TO@, both included.")
    .story("A library counts its n readers at all whole times from @FROM@ to @TO@ inclusive. A reader comes at time l, is there at l and @WORDS@.")
    .asks("the largest number that is there at one of these times")
    .answer(move |input| {
        let p = Reader::new(input).pairs();
        let there = |t: i64| p.iter().filter(|(l, r)| *l <= t && (t < *r || closed && t == *r)).count();
        text((from..=to).map(there).max().unwrap_or(0))
    })
    .must(format!("2\n{} {middle}\n{middle} {to}", from + 1))
    .must(format!("3\n{} {middle}\n{middle} {to}\n{middle} {to}", from + 1))
    .must(format!("1\n{middle} {middle}"))
    .must(format!("2\n{from} {from}\n{from} {}", from + 1))
    .must(format!("1\n{to} 50"))
    .must(format!("2\n{to} {to}\n{to} 50"))
    .must(format!("3\n{0} {0}\n{0} {0}\n{1} {2}", from, middle, middle + 1))
    .must(format!("3\n{} {}\n{from} {middle}\n{} {middle}", from + 1, from + 3, from + 2))
    .must("3\n49 50\n50 50\n50 50")
    .python("times", "@READ@\nbest = 0\nfor t in range(@FROM@, @END@):\n    cnt = 0\n    for l, r in p:\n        if l <= t @OP@ r:\n            cnt += 1\n    best = max(best, cnt)\nprint(best)")
    .python("short", "@READ@\nprint(max(sum(l <= t @OP@ r for l, r in p) for t in range(@FROM@, @END@)))")
    .python("marks", "@READ@\nc = [0] * 60\nfor l, r in p:\n    for t in range(l, r@ADD@):\n        c[t] += 1\nprint(max(c[@FROM@:@END@]))")
    .python("steps", "@READ@\nd = [0] * 60\nfor l, r in p:\n    d[l] += 1\n    d[r@ADD@] -= 1\nbest = 0\ncur = 0\nfor t in range(@END@):\n    cur += d[t]\n    if t >= @FROM@:\n        best = max(best, cur)\nprint(best)")
    .cpp("cpp-times", "@READ@\nint best = 0;\nfor (int t = @FROM@; t <= @TO@; t++) {\n    int cnt = 0;\n    for (auto &q : p)\n        if (q.first <= t && t @OP@ q.second) cnt++;\n    best = max(best, cnt);\n}\ncout << best << endl;")
    .cpp("cpp-steps", "@READ@\nvector<int> d(60, 0);\nfor (auto &q : p) {\n    d[q.first]++;\n    d[q.second@ADD@]--;\n}\nint best = 0, cur = 0;\nfor (int t = 0; t <= @TO@; t++) {\n    cur += d[t];\n    if (t >= @FROM@) best = max(best, cur);\n}\ncout << best << endl;")
    .bug("times", "wrong comparison", "t @OP@ r", "t @OTHER@ r")
    .bug("short", "wrong comparison", "l <= t", "l < t")
    .bug("times", "off by one", "range(@FROM@, @END@)", "range(@FROM@, @TO@)")
    .bug("times", "wrong place of the initial value", "for t in range(@FROM@, @END@):\n    cnt = 0\n", "cnt = 0\nfor t in range(@FROM@, @END@):\n")
    .bug("marks", "off by one", "r@ADD@", "r@WRONG@")
    .bug("steps", "prints the last value", "print(best)", "print(cur)")
    .bug("steps", "forgot the limits", "t >= @FROM@", "t > @FROM@")
    .bug("cpp-times", "wrong comparison", "t @OP@ q", "t @OTHER@ q")
    .bug("cpp-steps", "off by one", "q.second@ADD@", "q.second@WRONG@")
    .crash("marks", "array too short", "[0] * 60", "[0] * (n + 1)")
    .must("2\n20 30\n28 40")
}

fn inversions(draw: &mut Draw) -> Draft {
    let k = draw.range(2, 9);
    let times = draw.percent(40);
    let strict = draw.percent(50);
    let down = draw.percent(60);
    let (op, other, side, wrong_side) = if strict {
        (">", ">=", "right", "left")
    } else {
        (">=", ">", "left", "right")
    };
    let of = |x: &str| {
        if times {
            format!("{k} * {x}")
        } else {
            format!("{x} + {k}")
        }
    };
    let (left, right) = if down {
        ("a[i]", "a[j]")
    } else {
        ("a[j]", "a[i]")
    };
    let amount = if times {
        format!("{k} times as large as")
    } else {
        format!("larger by {k} than")
    };
    let compare = if strict {
        if times {
            format!("more than {amount}")
        } else {
            format!("larger by more than {k} than")
        }
    } else if times {
        format!("at least {amount}")
    } else {
        format!("larger by at least {k} than")
    };
    let near = if times {
        vec![4 * k, 4, 4 * k + 1, 3, 4, 4 * k, 5, 1]
    } else {
        vec![5 + k, 5, 6 + k, 5, 5 + k, 4, 2, 30]
    };
    let reversed: Vec<_> = near.iter().rev().copied().collect();
    let draft = Draft::new(Shape::list(40, 1, 100), &["brute force", "implementation"], 2)
        .constant("K", k)
        .constant("WORDS", compare)
        .constant("ONE", if down { "an earlier" } else { "a later" })
        .constant("TWO", if down { "a later" } else { "an earlier" })
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("LEFT", left)
        .constant("RIGHT", of(right))
        .constant("PLAIN", right)
        .constant("SIDE", side)
        .constant("WRONGSIDE", wrong_side)
        .constant("OF", of("x"))
        .story("Count the pairs in a list where @ONE@ number is @WORDS@ @TWO@ one.")
        .story("@NAME@ compares all pairs of days. A pair is counted if the value of @ONE@ day is @WORDS@ the value of @TWO@ day.")
        .asks("the number of such pairs")
        .answer(move |input| {
            let a = Reader::new(input).list();
            let mut pairs = 0;
            for j in 0..a.len() {
                for i in 0..j {
                    let (large, small) = if down { (a[i], a[j]) } else { (a[j], a[i]) };
                    let limit = if times { k * small } else { small + k };
                    pairs += i64::from(large > limit || !strict && large == limit);
                }
            }
            text(pairs)
        })
        .must(format!("8\n{}", spaced(&near)))
        .must(format!("8\n{}", spaced(&reversed)))
        .must("4\n100 1 50 1")
        .must("4\n1 50 1 100")
        .must("2\n100 1")
        .must("2\n1 100")
        .python("loops", "@READ@\nans = 0\nfor i in range(n):\n    for j in range(i + 1, n):\n        if @LEFT@ @OP@ @RIGHT@:\n            ans += 1\nprint(ans)")
        .python("sum", "@READ@\nprint(sum(1 for j in range(n) for i in range(j) if @LEFT@ @OP@ @RIGHT@))")
        .cpp("cpp-loops", "@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++)\n    for (int j = i + 1; j < n; j++)\n        if (@LEFT@ @OP@ @RIGHT@) ans++;\ncout << ans << endl;")
        .cpp("cpp-before", "@READ@\nlong long cnt = 0;\nfor (int j = 1; j < n; j++) {\n    for (int i = 0; i < j; i++) {\n        if (@LEFT@ @OP@ @RIGHT@) cnt++;\n    }\n}\ncout << cnt << endl;")
        .bug("loops", "wrong comparison", "@OP@", "@OTHER@")
        .bug("loops", "counts pairs in both orders", "range(i + 1, n)", "range(n)")
        .bug("sum", "forgot the constant", "@RIGHT@", "@PLAIN@")
        .bug("loops", "forgot to look further", "            ans += 1\n", "            ans += 1\n            break\n")
        .bug("cpp-loops", "wrong comparison", "@OP@", "@OTHER@")
        .bug("cpp-loops", "only neighbours", "j < n", "j < n && j < i + 2")
        .bug("cpp-before", "off by one", "int i = 0;", "int i = 1;")
        .crash("loops", "index out of range", "range(i + 1, n)", "range(i + 1, n + 1)");
    // Values before, kept sorted: the search needs the later value as the bound.
    let draft = if down {
        draft.python("bisect", "from bisect import bisect_@SIDE@, insort\n@READ@\nseen = []\nans = 0\nfor x in a:\n    ans += len(seen) - bisect_@SIDE@(seen, @OF@)\n    insort(seen, x)\nprint(ans)")
    } else {
        draft.python("bisect", "from bisect import bisect_@SIDE@, insort\n@READ@\nseen = []\nans = 0\nfor x in a[::-1]:\n    ans += len(seen) - bisect_@SIDE@(seen, @OF@)\n    insort(seen, x)\nprint(ans)")
    };
    draft
        .wrong(
            "bisect",
            "wrong search",
            crate::Claim::WrongAnswer,
            &[
                ("bisect_@SIDE@, ", "bisect_@WRONGSIDE@, "),
                ("bisect_@SIDE@(", "bisect_@WRONGSIDE@("),
            ],
            None,
        )
        .bug("bisect", "counts the other side", "len(seen) - ", "")
        .bug(
            "bisect",
            "not sorted any more",
            "insort(seen, x)",
            "seen.append(x)",
        )
}

/// Number or sum of the differences above `k` between a list and the sorted list.
fn far_sum(input: &str, down: bool, k: i64, sum: bool) -> String {
    let a = Reader::new(input).list();
    let mut b = a.clone();
    b.sort_unstable();
    if down {
        b.reverse();
    }
    let far = a
        .iter()
        .zip(&b)
        .map(|(x, y)| (x - y).abs())
        .filter(|d| *d > k);
    text(if sum {
        far.sum::<i64>()
    } else {
        far.count() as i64
    })
}

fn out_of_place(draw: &mut Draw) -> Draft {
    let k = draw.range(0, 25);
    let down = draw.percent(50);
    let sum = draw.percent(40);
    let words = match k {
        0 => "differs from".to_owned(),
        _ => format!("differs by more than {k} from"),
    };
    let by = k + 3;
    Draft::new(Shape::list(60, 1, 100), &["sortings", "implementation"], 2)
        .constant("K", k)
        .constant("WORDS", words)
        .constant("DOWN", if down { "descending" } else { "ascending" })
        .constant("REVERSE", if down { ", reverse=True" } else { "" })
        .constant("WRONG", if down { "" } else { ", reverse=True" })
        .constant("BEGIN", if down { "rbegin" } else { "begin" })
        .constant("LAST", if down { "rend" } else { "end" })
        .constant("OP", if down { "<" } else { ">" })
        .constant("AGAINST", if down { ">" } else { "<" })
        .constant("ONE", if sum { "d" } else { "1" })
        .constant("TWO", if sum { "1" } else { "d" })
        .constant("SHORT", if sum { "abs(x - y)" } else { "1" })
        .story("n children stand in a line and are then sorted by height in @DOWN@ order. Look at the places where the height before @WORDS@ the height after.")
        .story("@NAME@ compares a list with the same list in @DOWN@ order, place by place. A place is noted if its old value @WORDS@ its new value.")
        .asks(if sum { "the sum of the absolute differences at these places" } else { "the number of these places" })
        .answer(move |input| far_sum(input, down, k, sum))
        .must(format!("2\n1 {}", 1 + k))
        .must(format!("2\n{} 1", 1 + k))
        .must(format!("2\n1 {}", 1 + by))
        .must(format!("2\n{} 1", 1 + by))
        .must("6\n90 1 60 2 40 100")
        .must("6\n1 100 30 60 99 2")
        .must("7\n100 60 1 50 2 99 55")
        .python("sorted", "@READ@\nb = sorted(a@REVERSE@)\nans = 0\nfor i in range(n):\n    d = abs(a[i] - b[i])\n    if d > @K@:\n        ans += @ONE@\nprint(ans)")
        .python("zip", "@READ@\nb = sorted(a@REVERSE@)\nprint(sum(@SHORT@ for x, y in zip(a, b) if abs(x - y) > @K@))")
        .python("by-hand", "@READ@\nb = a[:]\nfor i in range(n):\n    for j in range(i + 1, n):\n        if b[i] @OP@ b[j]:\n            b[i], b[j] = b[j], b[i]\nans = 0\nfor i in range(n):\n    d = abs(a[i] - b[i])\n    if d > @K@:\n        ans += @ONE@\nprint(ans)")
        .cpp("cpp-sort", "@READ@\nvector<int> b = a;\nsort(b.@BEGIN@(), b.@LAST@());\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    int d = abs(a[i] - b[i]);\n    if (d > @K@) ans += @ONE@;\n}\ncout << ans << endl;")
        .cpp("cpp-hand", "@READ@\nvector<int> b(a);\nfor (int i = 0; i < n; i++)\n    for (int j = 0; j + 1 < n; j++)\n        if (b[j] @OP@ b[j + 1]) swap(b[j], b[j + 1]);\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    int d = abs(b[i] - a[i]);\n    if (d > @K@) ans += @ONE@;\n}\ncout << ans << endl;")
        .bug("sorted", "wrong order", "a@REVERSE@", "a@WRONG@")
        .bug("sorted", "forgot the absolute value", "abs(a[i] - b[i])", "a[i] - b[i]")
        .bug("sorted", "wrong variable", "ans += @ONE@", "ans += @TWO@")
        .bug("by-hand", "two names for one list", "b = a[:]", "b = a")
        .bug("by-hand", "wrong order", "b[i] @OP@ b[j]", "b[i] @AGAINST@ b[j]")
        .bug("zip", "wrong comparison", "> @K@", "< @K@")
        .bug_like("cpp-sort", "wrong comparison", "d > @K@", "d >= @K@", move |input| far_sum(input, down, k - 1, sum))
        .bug_like("sorted", "wrong comparison", "d > @K@", "d >= @K@", move |input| far_sum(input, down, k - 1, sum))
        .bug("cpp-sort", "off by one", "int i = 0;", "int i = 1;")
        .bug("cpp-hand", "too few rounds", "for (int i = 0; i < n; i++)\n    for", "for (int i = 0; i < 1; i++)\n    for")
        .crash("by-hand", "index out of range", "range(i + 1, n)", "range(i + 1, n + 1)")
}
