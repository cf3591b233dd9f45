//! Families whose point is what is printed: tables, patterns, rounded numbers.

use crate::Claim;
use crate::draw::Draw;
use crate::family::{Draft, Family, plain};
use crate::reader::Reader;
use crate::shape::Shape;

pub(super) const FAMILIES: &[Family] = &[
    plain("fizz-buzz", fizz_buzz),
    plain("pattern", pattern),
    plain("product-table", product_table),
    plain("packing-price", packing_price),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn fizz_buzz(draw: &mut Draw) -> Draft {
    let a = draw.range(2, 6);
    let b = a + draw.range(1, 4);
    let (first, second) = draw.one(&[
        ("Fizz", "Buzz"),
        ("tick", "tock"),
        ("ping", "pong"),
        ("A", "B"),
        ("red", "blue"),
    ]);
    // Of the numbers that both divide, the least.
    let both = (1..=b).map(|x| x * a).find(|x| x % b == 0).unwrap_or(a * b);
    Draft::new(Shape::int("n", 1, 60), &["implementation"], 1)
        .constant("A", a)
        .constant("B", b)
        .constant("FIRST", first)
        .constant("SECOND", second)
        .story("@NAME@ counts from 1 to n, but says \"@FIRST@\" instead of multiples of @A@, \"@SECOND@\" instead of multiples of @B@, and \"@FIRST@@SECOND@\" instead of numbers that are both.")
        .story("For every i from 1 to n there is a line: @FIRST@@SECOND@ if i is divisible by @A@ and by @B@, @FIRST@ if only by @A@, @SECOND@ if only by @B@, otherwise i itself.")
        .asks("n lines")
        .asks("the n lines for 1, 2, ..., n")
        .answer(move |input| {
            let line = |i: i64| match (i % a == 0, i % b == 0) {
                (true, true) => format!("{first}{second}"),
                (true, false) => text(first),
                (false, true) => text(second),
                _ => text(i),
            };
            (1..=Reader::new(input).int()).map(|i| line(i) + "\n").collect()
        })
        .must(text(both))
        .must("1")
        .must("60")
        .python("elif", "@READ@\nfor i in range(1, n + 1):\n    if i % @A@ == 0 and i % @B@ == 0:\n        print(\"@FIRST@@SECOND@\")\n    elif i % @A@ == 0:\n        print(\"@FIRST@\")\n    elif i % @B@ == 0:\n        print(\"@SECOND@\")\n    else:\n        print(i)")
        .python("concat", "@READ@\nfor i in range(1, n + 1):\n    s = \"\"\n    if i % @A@ == 0:\n        s += \"@FIRST@\"\n    if i % @B@ == 0:\n        s += \"@SECOND@\"\n    print(s or i)")
        .python("list", "@READ@\nb = [str(i) for i in range(n + 1)]\nfor i in range(0, n + 1, @A@):\n    b[i] = \"@FIRST@\"\nfor i in range(0, n + 1, @B@):\n    if i % @A@ == 0:\n        b[i] += \"@SECOND@\"\n    else:\n        b[i] = \"@SECOND@\"\nprint(\"\\n\".join(b[1:]))")
        .cpp("cpp-else", "@READ@\nfor (int i = 1; i <= n; i++) {\n    if (i % @A@ == 0 && i % @B@ == 0) cout << \"@FIRST@@SECOND@\" << endl;\n    else if (i % @A@ == 0) cout << \"@FIRST@\" << endl;\n    else if (i % @B@ == 0) cout << \"@SECOND@\" << endl;\n    else cout << i << endl;\n}")
        .cpp("cpp-string", "@READ@\nfor (int i = 1; i <= n; i++) {\n    string s;\n    if (i % @A@ == 0) s += \"@FIRST@\";\n    if (i % @B@ == 0) s += \"@SECOND@\";\n    if (s.empty()) s = to_string(i);\n    cout << s << \"\\n\";\n}")
        .bug("elif", "wrong logical operator", "and", "or")
        .bug("elif", "off by one", "n + 1", "n")
        .bug("concat", "missing case", "    if i % @B@ == 0:\n        s +=", "    elif i % @B@ == 0:\n        s +=")
        .bug("concat", "wrong start", "range(1, n + 1)", "range(n + 1)")
        .bug("list", "overwrites a word", "b[i] += ", "b[i] = ")
        .bug("cpp-else", "wrong logical operator", "&&", "||")
        .bug("cpp-string", "missing case", "    if (i % @B@", "    else if (i % @B@")
        .bug("cpp-else", "off by one", "i <= n", "i < n")
        .crash("list", "index out of range", "range(0, n + 1, @A@)", "range(0, n + @A@ + 1, @A@)")
        .crash("concat", "adds a number to a string", "s += \"@SECOND@\"\n    print(s or i)", "s += \"@SECOND@\"\n    print(s + i)")
}

fn pattern(draw: &mut Draw) -> Draft {
    let c = draw.one(&["#", "*", "x", "o", "+"]);
    let k = draw.range(2, 4);
    // The lengths of the two parts of line i = 1, ..., n: dots, then characters, then dots.
    let (words, left, middle, kind) = draw.one(&[
        ("@K@ * i times '@C@'", "0", "@K@ * i", 0),
        (
            "n - i dots and then @K@ * i times '@C@'",
            "n - i",
            "@K@ * i",
            1,
        ),
        ("@K@ * (n - i + 1) times '@C@'", "0", "@K@ * (n - i + 1)", 2),
        ("i dots and then @K@ times '@C@'", "i", "@K@", 3),
        (
            "i - 1 dots and then n - i + @K@ times '@C@'",
            "i - 1",
            "n - i + @K@",
            4,
        ),
        ("@K@ * i dots and then i times '@C@'", "@K@ * i", "i", 5),
        (
            "n - i dots and then i + @K@ times '@C@'",
            "n - i",
            "i + @K@",
            6,
        ),
    ]);
    let python = if left == "0" {
        format!("\"@C@\" * ({middle})")
    } else {
        format!("\".\" * ({left}) + \"@C@\" * ({middle})")
    };
    let cpp = if left == "0" {
        format!("string({middle}, '@C@')")
    } else {
        format!("string({left}, '.') + string({middle}, '@C@')")
    };
    let (dots, inner) = (
        if left == "0" {
            String::new()
        } else {
            format!("    for j in range({left}):\n        s += \".\"\n")
        },
        middle,
    );
    let c_dots = if left == "0" {
        String::new()
    } else {
        format!("    for (int j = 0; j < {left}; j++) cout << '.';\n")
    };
    Draft::new(Shape::int("n", 1, 15), &["implementation"], 1)
        .constant("WORDS", words)
        .constant("PY", python)
        .constant("CPP", cpp)
        .constant("DOTS", dots)
        .constant("CDOTS", c_dots)
        .constant("INNER", inner)
        .constant("K", k)
        .constant("C", c)
        .story("@NAME@ draws a picture of n lines. Line i (from 1 to n) consists of @WORDS@.")
        .story("Print a pattern with n lines. In line number i, counted from 1, there are @WORDS@.")
        .asks("the n lines")
        .asks("the picture")
        .constant("WORDS", words)
        .constant("K", k)
        .constant("C", c)
        .answer(move |input| {
            let n = Reader::new(input).int();
            let mut picture = String::new();
            for i in 1..=n {
                let left = [0, n - i, 0, i, i - 1, k * i, n - i][kind];
                let middle = [k * i, k * i, k * (n - i + 1), k, n - i + k, i, i + k][kind];
                picture += &".".repeat(left as usize);
                picture += &c.repeat(middle as usize);
                picture.push('\n');
            }
            picture
        })
        .must("1")
        .must("2")
        .must("15")
        .python("repeat", "@READ@\nfor i in range(1, n + 1):\n    print(@PY@)")
        .python("loops", "@READ@\nfor i in range(1, n + 1):\n    s = \"\"\n@DOTS@    for j in range(@INNER@):\n        s += \"@C@\"\n    print(s)")
        .python("list", "@READ@\nb = []\nfor i in range(1, n + 1):\n    b.append(@PY@)\nprint(\"\\n\".join(b))")
        .cpp("cpp-string", "@READ@\nfor (int i = 1; i <= n; i++) {\n    cout << @CPP@ << endl;\n}")
        .cpp("cpp-loops", "@READ@\nfor (int i = 1; i <= n; i++) {\n@CDOTS@    for (int j = 0; j < @INNER@; j++) cout << '@C@';\n    cout << endl;\n}")
        .bug("repeat", "off by one", "n + 1", "n")
        .bug("list", "wrong start", "range(1, n + 1)", "range(n)")
        .bug("loops", "one character too many", "range(@INNER@)", "range(@INNER@ + 1)")
        .bug("loops", "wrong indentation", "    print(s)", "print(s)")
        .bug("cpp-string", "off by one", "i <= n", "i < n")
        .bug("cpp-loops", "one character too many", "j < @INNER@", "j <= @INNER@")
        .bug("cpp-loops", "forgot to end the line", "    cout << endl;\n", "")
        .crash("repeat", "repeats with a float", "print(@PY@)", "print(\"@C@\" * (i / 1))")
}

fn product_table(draw: &mut Draw) -> Draft {
    let columns = draw.range(2, 6);
    let c = draw.range(1, 9);
    let (words, form, kind) = draw.one(&[
        ("i * j + @C@", "i * j + @C@", 0),
        ("i + @C@ * j", "i + @C@ * j", 1),
        ("@C@ * i + j", "@C@ * i + j", 2),
        ("i * i + @C@ * j", "i * i + @C@ * j", 3),
    ]);
    Draft::new(Shape::int("n", 1, 20), &["implementation"], 1)
        .constant("FORM", form)
        .constant("K", columns)
        .constant("C", c)
        .story("@NAME@ fills a table with n rows and @K@ columns. The cell in row i and column j (both counted from 1) contains WORDS.".replace("WORDS", words).as_str())
        .story("Row i of a table has the values WORDS for j = 1, ..., @K@. The table has rows 1 to n.".replace("WORDS", words).as_str())
        .asks("n lines with @K@ numbers each")
        .asks("the table, one row per line, with spaces between the numbers")
        .answer(move |input| {
            let cell = |i: i64, j: i64| [i * j + c, i + c * j, c * i + j, i * i + c * j][kind];
            let row = |i: i64| (1..=columns).map(|j| text(cell(i, j))).collect::<Vec<_>>().join(" ") + "\n";
            (1..=Reader::new(input).int()).map(row).collect()
        })
        .must("1")
        .must("2")
        .must("20")
        .python("join", "@READ@\nfor i in range(1, n + 1):\n    print(\" \".join(str(@FORM@) for j in range(1, @K@ + 1)))")
        .python("star", "@READ@\nfor i in range(1, n + 1):\n    row = []\n    for j in range(1, @K@ + 1):\n        row.append(@FORM@)\n    print(*row)")
        .python("end", "@READ@\nfor i in range(1, n + 1):\n    for j in range(1, @K@ + 1):\n        print(@FORM@, end=\" \")\n    print()")
        .cpp("cpp-loops", "@READ@\nfor (int i = 1; i <= n; i++) {\n    for (int j = 1; j <= @K@; j++) {\n        if (j > 1) cout << \" \";\n        cout << @FORM@;\n    }\n    cout << endl;\n}")
        .cpp("cpp-table", "@READ@\nvector<vector<int>> g(n + 1, vector<int>(@K@ + 1));\nfor (int i = 1; i <= n; i++)\n    for (int j = 1; j <= @K@; j++) g[i][j] = @FORM@;\nfor (int i = 1; i <= n; i++) {\n    for (int j = 1; j <= @K@; j++) cout << g[i][j] << ' ';\n    cout << endl;\n}")
        .bug("join", "off by one", "@K@ + 1", "@K@")
        .bug("join", "wrong start", "range(1, n + 1)", "range(n)")
        .bug("star", "wrong start of the columns", "range(1, @K@ + 1)", "range(@K@)")
        .bug("star", "forgot to empty the row", "for i in range(1, n + 1):\n    row = []\n", "row = []\nfor i in range(1, n + 1):\n")
        .bug("end", "missing separator", "end=\" \"", "end=\"\"")
        .bug("cpp-loops", "off by one", "j <= @K@", "j < @K@")
        .bug("cpp-loops", "missing separator", "        if (j > 1) cout << \" \";\n", "")
        .bug("cpp-table", "off by one", "i = 1; i <= n", "i = 1; i < n")
        .crash("join", "joins numbers", "str(@FORM@)", "@FORM@")
}

fn packing_price(draw: &mut Draw) -> Draft {
    let k = draw.range(3, 40);
    let price = draw.range(2, 99);
    let (words, python, divmod, cpp, kind) = draw.one(&[
        (
            "All items must be packed; the last box may be partly empty",
            "(n + @K@ - 1) // @K@",
            "q + (r > 0)",
            "(n + @K@ - 1) / @K@",
            0,
        ),
        (
            "Only full boxes are sold; items that are left over are not packed",
            "n // @K@",
            "q",
            "n / @K@",
            1,
        ),
        (
            "A partly filled box counts if it is at least half full; otherwise its items stay",
            "(2 * n + @K@) // (2 * @K@)",
            "q + (2 * r >= @K@)",
            "(2 * n + @K@) / (2 * @K@)",
            2,
        ),
    ]);
    let wrong = ["n // @K@", "(n + @K@ - 1) // @K@", "n // @K@"][kind];
    let draft = Draft::new(Shape::int("n", 1, 100_000_000_000_000_000), &["math"], 2)
        .constant("WORDS", words)
        .constant("FORM", python)
        .constant("WRONG", wrong)
        .constant("CWRONG", wrong.replace("//", "/"))
        .constant("BYQ", divmod)
        .constant("CFORM", cpp)
        .constant("P", price)
        .constant("K", k)
        .story("@NAME@ has n items; a box holds @K@ of them and costs @P@ coins. @WORDS@. How much do the boxes cost?")
        .story("Boxes hold @K@ items each, there are n items, and each box that is used costs @P@. @WORDS@. Find the total price.")
        .asks("the total price of the boxes")
        .asks("the price of all boxes that are used")
        .constant("K", k)
        .answer(move |input| {
            let n = Reader::new(input).int();
            let (full, left) = (n / k, n % k);
            let boxes = full + [i64::from(left > 0), 0, i64::from(2 * left >= k)][kind];
            text(boxes * price)
        })
        .special(move |draw, size| {
            let full = crate::tests::count(1, 100, size, draw);
            text((full * k + draw.one(&[-1, 0, 1, k / 2, (k + 1) / 2, k / 2 - 1])).max(1))
        })
        .must("1")
        .must(text(k))
        .must(text(k + 1))
        .must(text(7 * k - 1))
        .must(text(5 * k + (k + 1) / 2))
        .must("100000000000000000")
        .must("99999999999999999")
        .must(text(99_999_999_999_999_999 / k * k + 1))
        .must(text(99_999_999_999_999_999 / k * k - 1))
        .python("formula", "@READ@\nprint(@FORM@ * @P@)")
        .python("divmod", "@READ@\nq, r = divmod(n, @K@)\nboxes = @BYQ@\nprint(boxes * @P@)")
        .python("steps", "@READ@\nboxes = @FORM@\nans = boxes * @P@\nprint(ans)")
        .cpp("cpp-formula", "@READ@\ncout << @CFORM@ * @P@ << endl;")
        .cpp("cpp-steps", "@READ@\nlong long q = n / @K@, r = n % @K@;\nlong long boxes = @BYQ@;\ncout << boxes * @P@ << endl;")
        .bug("steps", "wrong rounding", "@FORM@", "@WRONG@")
        .bug("cpp-formula", "wrong rounding", "@CFORM@", "@CWRONG@")
        .bug("formula", "forgot the price", " * @P@", "")
        .bug("steps", "division with fractions", "@FORM@", "n / @K@")
        .bug("cpp-steps", "integer overflow", "long long boxes", "int boxes")
        .bug("cpp-steps", "integer overflow", "long long q", "int q")
        .crash("divmod", "wrong unpacking", "q, r = divmod(n, @K@)", "q, r = n // @K@")
        .bug("divmod", "swaps quotient and remainder", "q, r", "r, q");
    match kind {
        0 => draft
            .bug("formula", "off by one", "@FORM@", "(n // @K@ + 1)")
            .wrong(
                "steps",
                "floating point",
                Claim::WrongAnswer,
                &[
                    ("@READ@", "from math import ceil\n@READ@"),
                    ("@FORM@", "ceil(n / @K@)"),
                ],
                None,
            ),
        1 => draft.bug("formula", "off by one", "@FORM@", "(n // @K@ + 1)"),
        _ => draft.bug(
            "divmod",
            "wrong comparison",
            "@BYQ@",
            "q + (2 * r > @K@ + 1)",
        ),
    }
}
