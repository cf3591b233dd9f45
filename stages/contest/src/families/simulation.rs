//! Families that follow rules step by step: brackets, walks, accounts, queries.

use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::{Shape, number};

pub(super) const FAMILIES: &[Family] = &[
    plain("bracket-depth", bracket_depth),
    plain("walk-on-a-line", walk_on_a_line),
    plain("account", account),
    plain("charged-battery", charged_battery),
    held_out("elevator", elevator),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn bracket_depth(draw: &mut Draw) -> Draft {
    let (open, close) = draw.one(&[('(', ')'), ('<', '>'), ('[', ']'), ('{', '}')]);
    let letters = match open {
        '(' => "()",
        '<' => "<>",
        '[' => "[]",
        _ => "{}",
    };
    let shape = Shape::Word {
        length: (1, 30),
        letters,
        called: "brackets",
    };
    Draft::new(shape, &["strings", "data structures"], 2)
        .constant("O", open)
        .constant("C", close)
        .story("The string consists of the brackets @O@ and @C@. Is it a balanced sequence? If it is, how deep are the brackets nested at most?")
        .story("@NAME@ checks a string of brackets @O@ and @C@: every bracket needs a partner, and the deepest nesting is wanted.")
        .asks("the largest depth, or -1 if the brackets are not balanced")
        .answer(move |input| {
            let (mut depth, mut best) = (0_i64, 0);
            for c in Reader::new(input).word().chars() {
                depth += if c == open { 1 } else { -1 };
                best = best.max(depth);
                if depth < 0 {
                    return text(-1);
                }
            }
            text(if depth == 0 { best } else { -1 })
        })
        .special(move |draw, size| {
            // Balanced by construction, broken now and then.
            let pairs = crate::tests::count(1, 12, size, draw);
            let mut word: Vec<char> = Vec::new();
            let (mut opened, mut depth) = (0, 0);
            while opened < pairs || depth > 0 {
                if opened < pairs && (depth == 0 || draw.percent(55)) {
                    word.push(open);
                    opened += 1;
                    depth += 1;
                } else {
                    word.push(close);
                    depth -= 1;
                }
            }
            if draw.percent(25) {
                word.pop();
            }
            word.into_iter().collect()
        })
        .must(format!("{open}{open}{close}{close}{open}{close}"))
        .must(format!("{close}{open}"))
        .must(format!("{open}{open}{close}"))
        .must(format!("{open}{close}{open}{close}"))
        .must(format!("{open}{close}{close}{open}"))
        .python("depth", "@READ@\ndepth = 0\nbest = 0\nok = True\nfor c in s:\n    if c == '@O@':\n        depth += 1\n        best = max(best, depth)\n    else:\n        depth -= 1\n        if depth < 0:\n            ok = False\nif ok and depth == 0:\n    print(best)\nelse:\n    print(-1)")
        .python("stack", "@READ@\nstack = []\nbest = 0\nbad = 0\nfor c in s:\n    if c == '@O@':\n        stack.append(c)\n    elif stack:\n        stack.pop()\n    else:\n        bad += 1\n    best = max(best, len(stack))\nprint(-1 if bad or stack else best)")
        .cpp("cpp-depth", "@READ@\nint depth = 0, best = 0;\nbool ok = true;\nfor (char c : s) {\n    if (c == '@O@') depth++;\n    else depth--;\n    if (depth < 0) ok = false;\n    best = max(best, depth);\n}\nif (ok && depth == 0) cout << best << endl;\nelse cout << -1 << endl;")
        .cpp("cpp-early", "@READ@\nint depth = 0, best = 0;\nfor (char c : s) {\n    depth += c == '@O@' ? 1 : -1;\n    if (depth < 0) {\n        cout << -1 << endl;\n        return 0;\n    }\n    best = max(best, depth);\n}\ncout << (depth == 0 ? best : -1) << endl;")
        .bug("depth", "missing edge case", "if ok and depth == 0:", "if depth == 0:")
        .bug("depth", "missing edge case", "if ok and depth == 0:", "if ok:")
        .bug("stack", "forgot a check", "if bad or stack", "if bad")
        .bug("cpp-depth", "missing edge case", "ok && depth == 0", "depth == 0")
        .bug("cpp-early", "wrong comparison", "depth == 0 ? best", "depth >= 0 ? best")
        .bug("cpp-depth", "prints the wrong variable", "cout << best", "cout << depth")
        .crash("stack", "pops an empty stack", "    elif stack:\n        stack.pop()\n    else:\n        bad += 1\n", "    else:\n        stack.pop()\n")
}

fn walk_on_a_line(draw: &mut Draw) -> Draft {
    let (left, right) = (draw.range(1, 4), draw.range(1, 4));
    let start = draw.range(-5, 5);
    let shape = Shape::Word {
        length: (1, 40),
        letters: "LR",
        called: "letters L and R",
    };
    Draft::new(shape, &["implementation", "strings"], 2)
        .constant("S", start)
        .constant("X", left)
        .constant("Y", right)
        .story("A robot stands at position @S@. On L it moves @X@ to the left, on R it moves @Y@ to the right. How far from 0 does it get at most?")
        .story("@NAME@ walks along a line and begins at @S@. L means @X@ steps back, R means @Y@ steps forward. Look at the distance to 0 at all times, the beginning included.")
        .asks("the largest distance from position 0")
        .answer(move |input| {
            let (mut at, mut best) = (start, start.abs());
            for c in Reader::new(input).word().chars() {
                at += if c == 'L' { -left } else { right };
                best = best.max(at.abs());
            }
            text(best)
        })
        .must("LLLLLLLLLL")
        .must("RRRRRRRRRR")
        .must("RL")
        .must("LR")
        .must(if start > 0 { "LRLLRR" } else { "RRLLLL" })
        .python("loop", "@READ@\npos = @S@\nbest = abs(pos)\nfor c in s:\n    if c == 'L':\n        pos -= @X@\n    else:\n        pos += @Y@\n    best = max(best, abs(pos))\nprint(best)")
        .python("list", "@READ@\nplaces = [@S@]\nfor c in s:\n    step = -@X@ if c == 'L' else @Y@\n    places.append(places[-1] + step)\nprint(max(abs(p) for p in places))")
        .cpp("cpp-loop", "@READ@\nint pos = @S@;\nint best = abs(pos);\nfor (char c : s) {\n    if (c == 'L') pos -= @X@;\n    else pos += @Y@;\n    best = max(best, abs(pos));\n}\ncout << best << endl;")
        .cpp("cpp-index", "@READ@\nint pos = @S@, best = abs(@S@);\nfor (int i = 0; i < (int)s.size(); i++) {\n    pos += s[i] == 'L' ? -@X@ : @Y@;\n    if (abs(pos) > best) best = abs(pos);\n}\ncout << best << endl;")
        .bug("loop", "forgot the absolute value", "best = max(best, abs(pos))", "best = max(best, pos)")
        .bug("loop", "swapped directions", "        pos -= @X@\n    else:\n        pos += @Y@", "        pos += @X@\n    else:\n        pos -= @Y@")
        .bug("loop", "wrong place of the update", "    best = max(best, abs(pos))", "best = max(best, abs(pos))")
        .bug("cpp-loop", "prints the wrong variable", "cout << best", "cout << abs(pos)")
        .bug("cpp-index", "off by one", "int i = 0; i <", "int i = 1; i <")
        .crash("list", "wrong variable", "places[-1]", "places[len(places)]")
}

fn account(draw: &mut Draw) -> Draft {
    let start = draw.range(0, 50);
    let fee = draw.range(1, 9);
    let fees = draw.percent(50);
    let rule = if fees {
        format!("a payment that is not covered is refused and costs a fee of {fee}")
    } else {
        "a payment that is not covered is refused".to_owned()
    };
    let fee = if fees { fee } else { 0 };
    Draft::new(Shape::list(60, -60, 60), &["implementation"], 2)
        .constant("S", start)
        .constant("F", fee)
        .constant("RULE", rule)
        .story("An account begins with @S@. Then come n bookings: positive ones are deposits, negative ones payments; @RULE@.")
        .story("@NAME@ has @S@ coins. Each number is money earned (positive) or a price (negative); @RULE@. Zero changes nothing.")
        .asks("the balance at the end")
        .answer(move |input| {
            let mut balance = start;
            for x in Reader::new(input).list() {
                balance += if balance + x >= 0 || x >= 0 { x } else { -fee };
            }
            text(balance)
        })
        .must(format!("1\n{}", -start))
        .must(format!("2\n{} 5", -start - 1))
        .must("5\n-60 -60 60 -30 -30")
        .must("3\n10 20 30")
        .must("4\n-1 -2 60 -50")
        .python("loop", "@READ@\nbalance = @S@\nfor x in a:\n    if x >= 0 or balance + x >= 0:\n        balance += x\n    else:\n        balance -= @F@\nprint(balance)")
        .python("continue", "@READ@\nmoney = @S@\nfor x in a:\n    if x < 0 and money < -x:\n        money -= @F@\n        continue\n    money += x\nprint(money)")
        .cpp("cpp-loop", "@READ@\nint balance = @S@;\nfor (int x : a) {\n    if (x >= 0 || balance + x >= 0) balance += x;\n    else balance -= @F@;\n}\ncout << balance << endl;")
        .cpp("cpp-index", "@READ@\nint money = @S@;\nfor (int i = 0; i < n; i++) {\n    if (a[i] < 0 && money < -a[i]) {\n        money -= @F@;\n        continue;\n    }\n    money += a[i];\n}\ncout << money << endl;")
        .bug("loop", "wrong comparison", "balance + x >= 0", "balance + x > 0")
        .bug("loop", "forgot a case", "x >= 0 or balance + x >= 0", "x >= 0")
        .bug("continue", "wrong comparison", "money < -x", "money <= -x")
        .bug("cpp-loop", "forgot to refuse", "    if (x >= 0 || balance + x >= 0) balance += x;\n    else balance -= @F@;", "    balance += x;")
        .bug("cpp-index", "forgot to go on", "        continue;\n", "")
        .bug("cpp-loop", "wrong initial value", "int balance = @S@", "int balance = @S@ + 1")
}

fn charged_battery(draw: &mut Draw) -> Draft {
    let full = draw.range(20, 60);
    let cap = draw.percent(50);
    let (word, f, other) = if cap {
        ("never holds more than", "min", "max")
    } else {
        ("holds at most", "min", "max")
    };
    Draft::new(Shape::list_and(60, -20, 20, number("s", 0, 20)), &["implementation"], 2)
        .constant("FULL", full)
        .constant("WORD", word)
        .constant("MIN", f)
        .constant("MAX", other)
        .story("A battery has charge s at the start, @WORD@ @FULL@ and never goes below 0. Each of n numbers is added to the charge, which is then cut to these limits.")
        .story("@NAME@ watches a tank that @WORD@ @FULL@ litres. It starts with s litres; then n changes come, and the level always stays between 0 and @FULL@.")
        .asks("the level after all changes")
        .answer(move |input| {
            let (a, mut level) = Reader::new(input).list_and_one();
            for x in a {
                level = (level + x).clamp(0, full);
            }
            text(level)
        })
        .must("5 20\n20 20 20 20 -7")
        .must("5 0\n-20 -20 5 -3 -9")
        .must("6 3\n-9 20 20 20 20 -1")
        .must("6 3\n-20 4 -1 1 2 3")
        .python("clamp", "@READ@\nfor x in a:\n    s = @MAX@(0, @MIN@(@FULL@, s + x))\nprint(s)")
        .python("ifs", "@READ@\nfor x in a:\n    s += x\n    if s > @FULL@:\n        s = @FULL@\n    if s < 0:\n        s = 0\nprint(s)")
        .cpp("cpp-clamp", "@READ@\nfor (int x : a) s = @MAX@(0, @MIN@(@FULL@, s + x));\ncout << s << endl;")
        .cpp("cpp-ifs", "@READ@\nfor (int i = 0; i < n; i++) {\n    s += a[i];\n    if (s > @FULL@) s = @FULL@;\n    if (s < 0) s = 0;\n}\ncout << s << endl;")
        .bug("ifs", "missing edge case", "    if s < 0:\n        s = 0\n", "")
        .bug("ifs", "missing edge case", "    if s > @FULL@:\n        s = @FULL@\n", "")
        .bug("clamp", "wrong function", "@MAX@(0, @MIN@(@FULL@, s + x))", "@MIN@(@FULL@, s + x)")
        .bug("cpp-clamp", "wrong function", "@MAX@(0, @MIN@(@FULL@, s + x))", "@MAX@(0, s + x)")
        .bug("cpp-ifs", "off by one", "int i = 0;", "int i = 1;")
        .bug("cpp-ifs", "wrong limit", "s = @FULL@;", "s = 0;")
        .crash("ifs", "wrong reading", "    s += x\n", "    s += x[0]\n")
}

fn elevator(draw: &mut Draw) -> Draft {
    let (up, down) = (draw.range(1, 5), draw.range(1, 5));
    let first = draw.range(0, 5);
    Draft::new(Shape::list(40, 0, 50), &["implementation", "math"], 2)
        .constant("U", up)
        .constant("D", down)
        .constant("S", first)
        .story("An elevator starts at floor @S@ and visits n floors in the given order. Going up one floor takes @U@ seconds, going down one floor takes @D@ seconds.")
        .story("@NAME@ climbs between ledges: from height @S@ to each given height in turn. One metre up costs @U@, one metre down costs @D@.")
        .asks("the total cost of the way")
        .answer(move |input| {
            let (mut at, mut total) = (first, 0);
            for x in Reader::new(input).list() {
                total += if x > at { (x - at) * up } else { (at - x) * down };
                at = x;
            }
            text(total)
        })
        .must("3\n10 0 10")
        .must("2\n9 2")
        .must("4\n0 50 49 0")
        .must(format!("1\n{first}"))
        .python("loop", "@READ@\npos = @S@\ntotal = 0\nfor x in a:\n    if x > pos:\n        total += (x - pos) * @U@\n    else:\n        total += (pos - x) * @D@\n    pos = x\nprint(total)")
        .python("steps", "@READ@\na = [@S@] + a\ntotal = 0\nfor i in range(n):\n    d = a[i + 1] - a[i]\n    total += d * @U@ if d > 0 else -d * @D@\nprint(total)")
        .cpp("cpp-loop", "@READ@\nint pos = @S@, total = 0;\nfor (int x : a) {\n    if (x > pos) total += (x - pos) * @U@;\n    else total += (pos - x) * @D@;\n    pos = x;\n}\ncout << total << endl;")
        .cpp("cpp-last", "@READ@\nint last = @S@;\nlong long total = 0;\nfor (int i = 0; i < n; i++) {\n    int d = a[i] - last;\n    total += d > 0 ? d * @U@ : -d * @D@;\n    last = a[i];\n}\ncout << total << endl;")
        .bug("loop", "forgot an update", "    pos = x\n", "")
        .bug("loop", "wrong sign", "(pos - x) * @D@", "(x - pos) * @D@")
        .bug("cpp-loop", "forgot an update", "    pos = x;\n", "")
        .bug("cpp-last", "wrong sign", ": -d * @D@", ": d * @D@")
        .bug("cpp-last", "off by one", "int i = 0;", "int i = 1;")
        .crash("steps", "index out of range", "range(n)", "range(n + 1)")
}
