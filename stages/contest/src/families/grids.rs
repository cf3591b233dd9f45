//! Families about grids of cells and matrices of numbers.

use crate::draw::Draw;
use crate::family::{Draft, Family, held_out, plain};
use crate::reader::Reader;
use crate::shape::Shape;

pub(super) const FAMILIES: &[Family] = &[
    plain("cells-with-neighbours", cells_with_neighbours),
    plain("fullest-line", fullest_line),
    plain("diagonals", diagonals),
    plain("turned-matrix", turned_matrix),
    held_out("border", border),
];

fn text(value: impl ToString) -> String {
    value.to_string()
}

/// A large grid in which about `percent` of the cells are of the first kind.
fn large_grid(cells: &str, percent: i64, draw: &mut Draw) -> String {
    let (h, w) = (draw.range(9, 12), draw.range(9, 12));
    let mut cell = || {
        let at = usize::from(!draw.percent(percent));
        &cells[at..=at]
    };
    let rows: Vec<String> = (0..h).map(|_| (0..w).map(|_| cell()).collect()).collect();
    format!("{h} {w}\n{}", rows.join("\n"))
}

/// The two kinds of cells, in either order.
fn two_kinds(cells: &'static str, draw: &mut Draw) -> (&'static str, &'static str) {
    if draw.percent(50) {
        (&cells[..1], &cells[1..])
    } else {
        (&cells[1..], &cells[..1])
    }
}

fn cells_with_neighbours(draw: &mut Draw) -> Draft {
    let cells = draw.one(&["#.", "*.", "XO", "TG", "01", "WB"]);
    let (a, other_kind) = two_kinds(cells, draw);
    let b = if draw.percent(50) { a } else { other_kind };
    let (words, op, other, low, high) = draw.one(&[
        ("at least", ">=", ">", 1, 3),
        ("exactly", "==", ">=", 1, 3),
        ("at most", "<=", "<", 1, 2),
    ]);
    let k = draw.range(low, high);
    let corners = draw.percent(35);
    let offsets: [(i64, i64); 4] = if corners {
        [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    } else {
        [(0, 1), (1, 0), (0, -1), (-1, 0)]
    };
    let pairs: Vec<_> = offsets.iter().map(|(x, y)| format!("({x}, {y})")).collect();
    let column = |of: fn(&(i64, i64)) -> i64| {
        offsets
            .iter()
            .map(|pair| text(of(pair)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let near = if corners {
        "g[i - 1][j - 1] + g[i - 1][j + 1] + g[i + 1][j - 1] + g[i + 1][j + 1]"
    } else {
        "g[i - 1][j] + g[i + 1][j] + g[i][j - 1] + g[i][j + 1]"
    };
    let fewer = near.rsplit_once(" + g").map_or("", |(head, _)| head);
    let (first, second) = (a.as_bytes()[0], b.as_bytes()[0]);
    let sparse = large_grid(cells, 35, draw);
    let half = large_grid(cells, 50, draw);
    let dense = large_grid(cells, 70, draw);
    Draft::new(Shape::Grid { side: 12, cells }, &["implementation", "matrices"], 3)
        .constant("A", a)
        .constant("B", b)
        .constant("WORDS", words)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("K", k)
        .constant("WHERE", if corners { "a corner, but no side" } else { "a side" })
        .constant("DIRS", pairs.join(", "))
        .constant("THREE", pairs[..3].join(", "))
        .constant("DX", column(|pair| pair.0))
        .constant("DY", column(|pair| pair.1))
        .constant("NEAR", near)
        .constant("FEWER", fewer)
        .story("Two cells of a grid are neighbours if they share @WHERE@. Count the cells '@A@' with @WORDS@ @K@ neighbours of kind '@B@'.")
        .story("@NAME@ marks every cell '@A@' of a map for which @WORDS@ @K@ neighbours are '@B@'. Neighbours are cells that share @WHERE@.")
        .asks("the number of such cells")
        .asks("how many cells '@A@' have @WORDS@ @K@ neighbours '@B@'")
        .answer(move |input| {
            let g = Reader::new(input).grid();
            let at = |i: i64, j: i64| g.get(i as usize).and_then(|row| row.get(j as usize)).copied();
            let mut found = 0;
            for i in 0..g.len() as i64 {
                for j in 0..g[0].len() as i64 {
                    let near = offsets.iter().filter(|(x, y)| at(i + x, j + y) == Some(second)).count() as i64;
                    let good = match op {
                        ">=" => near >= k,
                        "==" => near == k,
                        _ => near <= k,
                    };
                    found += i64::from(at(i, j) == Some(first) && good);
                }
            }
            text(found)
        })
        .must(sparse)
        .must(half)
        .must(dense)
        .python("loops", "@READ@\nans = 0\nfor i in range(h):\n    for j in range(w):\n        if g[i][j] != '@A@':\n            continue\n        cnt = 0\n        for x, y in [@DIRS@]:\n            x += i\n            y += j\n            if 0 <= x < h and 0 <= y < w and g[x][y] == '@B@':\n                cnt += 1\n        if cnt @OP@ @K@:\n            ans += 1\nprint(ans)")
        .python("padded", "@READ@\ng = [' ' + row + ' ' for row in g]\ng = [' ' * (w + 2)] + g + [' ' * (w + 2)]\nans = 0\nfor i in range(1, h + 1):\n    for j in range(1, w + 1):\n        near = @NEAR@\n        if g[i][j] == '@A@' and near.count('@B@') @OP@ @K@:\n            ans += 1\nprint(ans)")
        .python("function", "@READ@\ndef near(i, j):\n    cnt = 0\n    for di, dj in [@DIRS@]:\n        if 0 <= i + di < h and 0 <= j + dj < w:\n            if g[i + di][j + dj] == '@B@':\n                cnt += 1\n    return cnt\n\nans = 0\nfor i in range(h):\n    for j in range(w):\n        if g[i][j] == '@A@' and near(i, j) @OP@ @K@:\n            ans += 1\nprint(ans)")
        .cpp("cpp-arrays", "@READ@\nint dx[] = {@DX@}, dy[] = {@DY@};\nint ans = 0;\nfor (int i = 0; i < h; i++) {\n    for (int j = 0; j < w; j++) {\n        int cnt = 0;\n        for (int d = 0; d < 4; d++) {\n            int x = i + dx[d], y = j + dy[d];\n            if (x < 0 || y < 0 || x >= h || y >= w) continue;\n            if (g[x][y] == '@B@') cnt++;\n        }\n        if (g[i][j] == '@A@' && cnt @OP@ @K@) ans++;\n    }\n}\ncout << ans << endl;")
        .cpp("cpp-function", "int h, w;\nvector<string> g;\nchar at(int i, int j) {\n    if (i < 0 || i >= h || j < 0 || j >= w) return ' ';\n    return g[i][j];\n}\n---\ncin >> h >> w;\ng.resize(h);\nfor (auto &row : g) cin >> row;\nint dx[] = {@DX@}, dy[] = {@DY@};\nint ans = 0;\nfor (int i = 0; i < h; i++) {\n    for (int j = 0; j < w; j++) {\n        int cnt = 0;\n        for (int d = 0; d < 4; d++) cnt += at(i + dx[d], j + dy[d]) == '@B@';\n        if (at(i, j) == '@A@' && cnt @OP@ @K@) ans++;\n    }\n}\ncout << ans << endl;")
        .bug("loops", "wrong comparison", "cnt @OP@ @K@", "cnt @OTHER@ @K@")
        .bug("cpp-arrays", "wrong comparison", "cnt @OP@ @K@", "cnt @OTHER@ @K@")
        .bug("loops", "negative index", "0 <= x < h and 0 <= y < w", "x < h and y < w")
        .bug("function", "forgot a neighbour", "[@DIRS@]", "[@THREE@]")
        .bug("padded", "forgot a neighbour", "@NEAR@", "@FEWER@")
        .bug("function", "forgot a check", "g[i][j] == '@A@' and near", "near")
        .bug("cpp-function", "off by one", "d < 4", "d < 3")
        .bug("cpp-arrays", "wrong place of the initial value", "    for (int j = 0; j < w; j++) {\n        int cnt = 0;\n", "    int cnt = 0;\n    for (int j = 0; j < w; j++) {\n")
        .crash("loops", "index out of range", "0 <= x < h and 0 <= y < w", "0 <= x <= h and 0 <= y < w")
}

fn fullest_line(draw: &mut Draw) -> Draft {
    let cells = draw.one(&["#.", "*.", "XO", "TG", "01", "WB"]);
    let (a, other_kind) = two_kinds(cells, draw);
    let (rows, most, last) = (draw.percent(50), draw.percent(60), draw.percent(50));
    let number = draw.percent(65);
    let (line, other_line) = if rows {
        ("row", "column")
    } else {
        ("column", "row")
    };
    // The number of lines, of the cells of one, and a cell of line i.
    let (lines, length, cell) = if rows {
        ("h", "w", "g[i][j]")
    } else {
        ("w", "h", "g[j][i]")
    };
    let op = match (most, last && number) {
        (true, false) => ">",
        (true, true) => ">=",
        (false, false) => "<",
        (false, true) => "<=",
    };
    let opposite = if most { "<" } else { ">" };
    let tie = if op.len() == 2 {
        &op[..1]
    } else if most {
        ">="
    } else {
        "<="
    };
    let start = if most { "-1" } else { "1000" };
    let asks = match (number, last) {
        (false, _) => "how many '@A@' are in that @LINE@",
        (true, false) => {
            "the number of that @LINE@, counted from 1; if several fit, the first of them"
        }
        (true, true) => {
            "the number of that @LINE@, counted from 1; if several fit, the last of them"
        }
    };
    let first = a.as_bytes()[0];
    // A grid whose last line alone wins.
    let (winner, loser) = if most {
        (a, other_kind)
    } else {
        (other_kind, a)
    };
    let only_last = if rows {
        "3 2\nxx\nxx\n++"
    } else {
        "2 3\nxx+\nxx+"
    };
    let only_last = only_last.replace('x', loser).replace('+', winner);
    let narrow = "3 1\n#\n#\n."
        .replace('#', &cells[..1])
        .replace('.', &cells[1..]);
    let wide = "2 5\n##..#\n#.##."
        .replace('#', &cells[..1])
        .replace('.', &cells[1..]);
    let three = "3 2\n#.\n##\n.#"
        .replace('#', &cells[..1])
        .replace('.', &cells[1..]);
    let (half, dense) = (large_grid(cells, 50, draw), large_grid(cells, 75, draw));
    let draft = Draft::new(Shape::Grid { side: 12, cells }, &["implementation", "matrices"], 2)
        .constant("A", a)
        .constant("LINE", line)
        .constant("ACROSS", other_line)
        .constant("MOST", if most { "most" } else { "fewest" })
        .constant("F", if most { "max" } else { "min" })
        .constant("LINES", lines)
        .constant("LENGTH", length)
        .constant("CELL", cell)
        .constant("OP", op)
        .constant("OPPOSITE", opposite)
        .constant("TIE", tie)
        .constant("START", start)
        .constant("OUT", if number { "pos + 1" } else { "best" })
        .constant("WRONG", if number { "pos" } else { "pos + 1" })
        .constant("TIES", if number { if last { "last" } else { "first" } } else { "count" })
        .story("Which @LINE@ of the grid has the @MOST@ cells '@A@'?")
        .story("@NAME@ looks at a map with h rows and w columns and searches for the @LINE@ with the @MOST@ cells '@A@'.")
        .story("In every @LINE@ of a field the cells '@A@' are counted. The @LINE@ with the @MOST@ of them wins.")
        .asks(asks)
        .answer(move |input| {
            let g = Reader::new(input).grid();
            let counts: Vec<i64> = if rows {
                g.iter().map(|row| row.iter().map(|cell| i64::from(*cell == first)).sum()).collect()
            } else {
                (0..g[0].len()).map(|j| g.iter().filter(|row| row[j] == first).count() as i64).collect()
            };
            let best = if most { counts.iter().max() } else { counts.iter().min() };
            let best = *best.unwrap_or(&0);
            let mut places = (1..).zip(&counts).filter(|(_, count)| **count == best).map(|(at, _)| at);
            let place = if last { places.last() } else { places.next() };
            text(if number { place.unwrap_or(0) } else { best })
        })
        .must(only_last)
        .must(narrow)
        .must(wide)
        .must(three)
        .must(half)
        .must(dense)
        .python("loops", "@READ@\nbest = @START@\npos = 0\nfor i in range(@LINES@):\n    cnt = 0\n    for j in range(@LENGTH@):\n        if @CELL@ == '@A@':\n            cnt += 1\n    if cnt @OP@ best:\n        best = cnt\n        pos = i\nprint(@OUT@)")
        .python("list", "@READ@\ncounts = [sum(@CELL@ == '@A@' for j in range(@LENGTH@)) for i in range(@LINES@)]\nbest = @F@(counts)\npos = 0\nfor i in range(@LINES@):\n    if counts[i] @OP@ counts[pos]:\n        pos = i\nprint(@OUT@)")
        .python("count", "@READ@\nbest = @START@\npos = 0\nfor i in range(@LINES@):\n    line = [@CELL@ for j in range(@LENGTH@)]\n    x = line.count('@A@')\n    if x @OP@ best:\n        best, pos = x, i\nprint(@OUT@)")
        .cpp("cpp-loops", "@READ@\nint best = @START@, pos = 0;\nfor (int i = 0; i < @LINES@; i++) {\n    int cnt = 0;\n    for (int j = 0; j < @LENGTH@; j++)\n        if (@CELL@ == '@A@') cnt++;\n    if (cnt @OP@ best) {\n        best = cnt;\n        pos = i;\n    }\n}\ncout << @OUT@ << endl;")
        .cpp("cpp-vector", "@READ@\nvector<int> c(@LINES@, 0);\nfor (int i = 0; i < @LINES@; i++)\n    for (int j = 0; j < @LENGTH@; j++) c[i] += @CELL@ == '@A@';\nint pos = 0;\nfor (int i = 1; i < @LINES@; i++)\n    if (c[i] @OP@ c[pos]) pos = i;\nint best = c[pos];\ncout << @OUT@ << endl;")
        .bug("loops", "wrong comparison", "cnt @OP@ best", "cnt @OPPOSITE@ best")
        .bug("loops", "prints the wrong variable", "print(@OUT@)", "print(@WRONG@)")
        .bug("count", "off by one", "range(@LINES@):\n    line", "range(@LINES@ - 1):\n    line")
        .bug("cpp-vector", "wrong comparison", "c[i] @OP@ c[pos]", "c[i] @OPPOSITE@ c[pos]")
        .bug("count", "counts the other cells", "line.count('@A@')", "len(line) - line.count('@A@')")
        .bug("cpp-loops", "wrong place of the initial value", "for (int i = 0; i < @LINES@; i++) {\n    int cnt = 0;\n", "int cnt = 0;\nfor (int i = 0; i < @LINES@; i++) {\n")
        .bug("cpp-loops", "prints the wrong variable", "cout << @OUT@", "cout << @WRONG@")
        .crash("list", "index out of range", "range(@LINES@)]", "range(@LINES@ + 1)]");
    if !number {
        return draft;
    }
    draft
        .bug(
            "loops",
            "wrong one of several",
            "cnt @OP@ best",
            "cnt @TIE@ best",
        )
        .bug(
            "cpp-loops",
            "wrong one of several",
            "cnt @OP@ best",
            "cnt @TIE@ best",
        )
}

fn diagonals(draw: &mut Draw) -> Draft {
    let (p, q) = (draw.range(1, 9), draw.range(1, 9));
    let sign = draw.one(&[1, 1, -1]);
    let once = draw.percent(30);
    let signed = sign * q;
    // Either a weighted sum of both diagonals, or of their cells, each taken once.
    let (p, q, signed) = if once { (p, p, p) } else { (p, q, signed) };
    let asks = if once {
        "@P@ times the sum of all numbers that lie on a diagonal, each taken once"
    } else if sign > 0 {
        "@P@ times the sum of the main diagonal plus @Q@ times the sum of the other one"
    } else {
        "@P@ times the sum of the main diagonal minus @Q@ times the sum of the other one"
    };
    let centre = if once { p } else { 0 };
    let with = |code: &str| if once { code.to_owned() } else { String::new() };
    let python_once = with("if n % 2 == 1:\n    ans -= @P@ * g[n // 2][n // 2]\n");
    let cpp_once = with("if (n % 2 == 1) ans -= @P@ * g[n / 2][n / 2];\n");
    let draft = Draft::new(Shape::Matrix { side: 12, value: (-100, 100), square: true }, &["implementation", "matrices"], 2)
        .constant("P", p)
        .constant("Q", q)
        .constant("SIGN", if signed < 0 { "-" } else { "+" })
        .constant("OTHER", if signed < 0 { "+" } else { "-" })
        .constant("CENTRE", if once { "once" } else { "twice" })
        .story("A square table has a main diagonal, from the top left to the bottom right, and another one from the top right to the bottom left.")
        .story("@NAME@ draws both diagonals of a square table of numbers. The main one begins at the top left, the other one at the top right.")
        .asks(asks)
        .answer(move |input| {
            let mut reader = Reader::new(input);
            let n = reader.int();
            let g: Vec<Vec<i64>> = (0..n).map(|_| reader.ints(n)).collect();
            let n = n as usize;
            let main: i64 = (0..n).map(|i| g[i][i]).sum();
            let other: i64 = (0..n).map(|i| g[i][n - 1 - i]).sum();
            let middle = if n % 2 == 1 { centre * g[n / 2][n / 2] } else { 0 };
            text(p * main + signed * other - middle)
        })
        .must("1\n7")
        .must("2\n1 2\n5 9")
        .must("3\n1 2 3\n4 5 6\n7 8 11")
        .must("3\n90 1 0\n0 50 0\n-7 0 20")
        .python("loop", &"@READ@\nans = 0\nfor i in range(n):\n    ans += @P@ * g[i][i]\n    ans @SIGN@= @Q@ * g[i][n - 1 - i]\n@ONCE@print(ans)".replace("@ONCE@", &python_once))
        .python("sums", &"@READ@\nx = sum(g[i][i] for i in range(n))\ny = sum(g[i][-1 - i] for i in range(n))\nans = @P@ * x @SIGN@ @Q@ * y\n@ONCE@print(ans)".replace("@ONCE@", &python_once))
        .cpp("cpp-loop", &"@READ@\nint ans = 0;\nfor (int i = 0; i < n; i++) {\n    ans += @P@ * g[i][i];\n    ans @SIGN@= @Q@ * g[i][n - 1 - i];\n}\n@CPPONCE@cout << ans << endl;".replace("@CPPONCE@", &cpp_once))
        .cpp("cpp-two", &"@READ@\nint x = 0, y = 0;\nfor (int i = 0; i < n; i++) x += g[i][i];\nfor (int i = 0, j = n - 1; i < n; i++, j--) y += g[i][j];\nint ans = @P@ * x @SIGN@ @Q@ * y;\n@CPPONCE@cout << ans << endl;".replace("@CPPONCE@", &cpp_once))
        .bug("loop", "wrong sign", "ans @SIGN@= @Q@", "ans @OTHER@= @Q@")
        .bug("loop", "forgot a diagonal", "    ans @SIGN@= @Q@ * g[i][n - 1 - i]\n", "")
        .bug("sums", "off by one", "g[i][-1 - i]", "g[i][-i]")
        .bug("sums", "wrong variable", "@SIGN@ @Q@ * y", "@SIGN@ @Q@ * x")
        .bug("cpp-loop", "wrong index", "g[i][n - 1 - i]", "g[n - 1 - i][n - 1 - i]")
        .bug("cpp-two", "off by one", "i < n; i++) x", "i < n - 1; i++) x")
        .crash("loop", "index out of range", "n - 1 - i", "n - i");
    if !once {
        // With weights the centre counts for both diagonals.
        return draft
            .python("double", "@READ@\nans = 0\nfor i in range(n):\n    for j in range(n):\n        if i == j:\n            ans += @P@ * g[i][j]\n        if i + j == n - 1:\n            ans @SIGN@= @Q@ * g[i][j]\nprint(ans)")
            .bug("double", "forgot the centre", "        if i + j", "        elif i + j")
            .bug("double", "off by one", "n - 1", "n");
    }
    draft
        .python("double", "@READ@\nans = 0\nfor i in range(n):\n    for j in range(n):\n        if i == j or i + j == n - 1:\n            ans += g[i][j]\nprint(@P@ * ans)")
        .bug("double", "wrong condition", " or ", " and ")
        .bug("loop", "counts the centre twice", &python_once, "")
        .bug("cpp-loop", "counts the centre twice", &cpp_once, "")
        .crash("sums", "forgot to round", "g[n // 2]", "g[n / 2]")
        .bug("cpp-two", "wrong condition", "n % 2 == 1", "n % 2 == 0")
}

fn turned_matrix(draw: &mut Draw) -> Draft {
    // Words, output height and width, the cell at (i, j), where (i, j) goes, by slices.
    let turns = [
        (
            "is turned by 90 degrees clockwise",
            "w",
            "h",
            "g[h - 1 - j][i]",
            "[j][h - 1 - i]",
            "list(zip(*g[::-1]))",
        ),
        (
            "is turned by 90 degrees counterclockwise",
            "w",
            "h",
            "g[j][w - 1 - i]",
            "[w - 1 - j][i]",
            "list(zip(*g))[::-1]",
        ),
        (
            "is transposed: rows become columns",
            "w",
            "h",
            "g[j][i]",
            "[j][i]",
            "list(zip(*g))",
        ),
        (
            "is turned by 180 degrees",
            "h",
            "w",
            "g[h - 1 - i][w - 1 - j]",
            "[h - 1 - i][w - 1 - j]",
            "[row[::-1] for row in g[::-1]]",
        ),
        (
            "is mirrored from left to right",
            "h",
            "w",
            "g[i][w - 1 - j]",
            "[i][w - 1 - j]",
            "[row[::-1] for row in g]",
        ),
        (
            "is mirrored from top to bottom",
            "h",
            "w",
            "g[h - 1 - i][j]",
            "[h - 1 - i][j]",
            "g[::-1]",
        ),
    ];
    let at = draw.index(6);
    // The next turn with an output of the same size is what a wrong program does.
    let wrong = turns[if at < 3 {
        (at + 1) % 3
    } else {
        3 + (at + 1) % 3
    }];
    let (words, rows, columns, cell, to, slices) = turns[at];
    let (change, code, by): (_, _, fn(i64, i64) -> i64) = draw.one(&[
        (
            "every number grows by @K@",
            "+ @K@",
            (|x, k| x + k) as fn(i64, i64) -> i64,
        ),
        ("every number drops by @K@", "- @K@", |x, k| x - k),
        ("every number is multiplied by @K@", "* @K@", |x, k| x * k),
    ]);
    let k = draw.range(2, 9);
    Draft::new(Shape::Matrix { side: 8, value: (-50, 50), square: false }, &["implementation", "matrices"], 3)
        .constant("WORDS", words)
        .constant("CHANGE", change)
        .constant("ROWS", rows)
        .constant("COLS", columns)
        .constant("CELL", cell)
        .constant("TO", to)
        .constant("SLICES", slices)
        .constant("WRONGCELL", wrong.3)
        .constant("WRONGTO", wrong.4)
        .constant("WRONGSLICES", wrong.5)
        .constant("DO", code)
        .constant("K", k)
        .story("A table with h rows and w columns @WORDS@. After that @CHANGE@.")
        .story("@NAME@ has a table of numbers. First it @WORDS@, then @CHANGE@.")
        .asks("the new table, one row a line")
        .answer(move |input| {
            let g = Reader::new(input).matrix();
            let (h, w) = (g.len(), g[0].len());
            let (rows, columns) = if at < 3 { (w, h) } else { (h, w) };
            let cell = |i: usize, j: usize| match at {
                0 => g[h - 1 - j][i],
                1 => g[j][w - 1 - i],
                2 => g[j][i],
                3 => g[h - 1 - i][w - 1 - j],
                4 => g[i][w - 1 - j],
                _ => g[h - 1 - i][j],
            };
            let row = |i: usize| (0..columns).map(|j| text(by(cell(i, j), k))).collect::<Vec<_>>().join(" ");
            (0..rows).map(row).collect::<Vec<_>>().join("\n")
        })
        .must("2 3\n1 2 3\n4 5 6")
        .must("3 2\n1 -2\n3 40\n5 6")
        .must("1 4\n7 8 9 1")
        .must("3 1\n7\n8\n9")
        .must("2 2\n1 2\n3 4")
        .python("cells", "@READ@\nfor i in range(@ROWS@):\n    print(*[@CELL@ @DO@ for j in range(@COLS@)])")
        .python("slices", "@READ@\nfor row in @SLICES@:\n    print(*[x @DO@ for x in row])")
        .python("fill", "@READ@\nb = [[0] * @COLS@ for _ in range(@ROWS@)]\nfor i in range(h):\n    for j in range(w):\n        b@TO@ = g[i][j] @DO@\nfor row in b:\n    print(*row)")
        .cpp("cpp-cells", "@READ@\nfor (int i = 0; i < @ROWS@; i++) {\n    for (int j = 0; j < @COLS@; j++) {\n        if (j > 0) cout << \" \";\n        cout << @CELL@ @DO@;\n    }\n    cout << \"\\n\";\n}")
        .cpp("cpp-fill", "@READ@\nvector<vector<int>> b(@ROWS@, vector<int>(@COLS@));\nfor (int i = 0; i < h; i++)\n    for (int j = 0; j < w; j++)\n        b@TO@ = g[i][j] @DO@;\nfor (auto &row : b) {\n    for (int x : row) cout << x << \" \";\n    cout << endl;\n}")
        .bug("cells", "wrong turn", "@CELL@", "@WRONGCELL@")
        .bug("slices", "wrong turn", "@SLICES@", "@WRONGSLICES@")
        .bug("slices", "forgot to change the numbers", "x @DO@", "x")
        .bug("fill", "all rows are one list", "[[0] * @COLS@ for _ in range(@ROWS@)]", "[[0] * @COLS@] * @ROWS@")
        .bug("cpp-cells", "wrong turn", "@CELL@", "@WRONGCELL@")
        .bug("cpp-fill", "forgot to change the numbers", "g[i][j] @DO@", "g[i][j]")
        .bug("cells", "off by one", "range(@COLS@)", "range(@COLS@ - 1)")
        .crash("fill", "swapped height and width", "[[0] * @COLS@ for _ in range(@ROWS@)]", "[[0] * @ROWS@ for _ in range(@COLS@)]")
}

fn border(draw: &mut Draw) -> Draft {
    let (words, op, other) = draw.one(&[
        ("greater than", ">", "<"),
        ("at least", ">=", "<="),
        ("less than", "<", ">"),
        ("at most", "<=", ">="),
    ]);
    let k = draw.range(-20, 20);
    let sum = draw.percent(50);
    let near: Vec<String> = (-1..=1).map(|step| text(k + step)).collect();
    let near = near.join(" ");
    Draft::new(Shape::Matrix { side: 10, value: (-50, 50), square: false }, &["implementation", "matrices"], 2)
        .constant("WORDS", words)
        .constant("OP", op)
        .constant("OTHER", other)
        .constant("K", k)
        .constant("SUM", if sum { "sum" } else { "number" })
        .constant("ADD", if sum { "x" } else { "1" })
        .constant("PLUS", if sum { "g[i][j]" } else { "1" })
        .constant("WRONG", if sum { "1" } else { "x" })
        .constant("F", if sum { "sum" } else { "len" })
        .story("The border of a table are its first and last row and its first and last column. Take the numbers on the border which are @WORDS@ @K@.")
        .story("@NAME@ walks around a table along its border, the outermost cells, and notes each number that is @WORDS@ @K@.")
        .asks("the @SUM@ of those cells, each taken once")
        .answer(move |input| {
            let g = Reader::new(input).matrix();
            let (h, w) = (g.len(), g[0].len());
            let mut total = 0;
            for (i, row) in g.iter().enumerate() {
                for (j, x) in row.iter().enumerate() {
                    let good = match op {
                        ">" => *x > k,
                        ">=" => *x >= k,
                        "<" => *x < k,
                        _ => *x <= k,
                    };
                    if good && (i == 0 || j == 0 || i + 1 == h || j + 1 == w) {
                        total += if sum { *x } else { 1 };
                    }
                }
            }
            text(total)
        })
        .must(format!("3 3\n{near}\n{near}\n{near}"))
        .must(format!("1 3\n{near}"))
        .must("1 4\n-50 -40 40 50")
        .must("4 1\n-50\n-40\n40\n50")
        .must("3 4\n-50 50 -49 49\n48 47 -47 -48\n46 -46 45 -45")
        .must("4 3\n-50 50 -49\n49 48 47\n-47 -48 46\n-46 45 -45")
        .python("loops", "@READ@\nans = 0\nfor i in range(h):\n    for j in range(w):\n        if i == 0 or i == h - 1 or j == 0 or j == w - 1:\n            if g[i][j] @OP@ @K@:\n                ans += @PLUS@\nprint(ans)")
        .python("parts", "@READ@\nb = list(g[0])\nif h > 1:\n    b += g[-1]\nfor row in g[1:-1]:\n    b.append(row[0])\n    if w > 1:\n        b.append(row[-1])\nprint(@F@([x for x in b if x @OP@ @K@]))")
        .python("inside", "@READ@\nans = 0\nfor row in g:\n    for x in row:\n        if x @OP@ @K@:\n            ans += @ADD@\nfor row in g[1:-1]:\n    for x in row[1:-1]:\n        if x @OP@ @K@:\n            ans -= @ADD@\nprint(ans)")
        .cpp("cpp-loops", "@READ@\nint ans = 0;\nfor (int i = 0; i < h; i++) {\n    for (int j = 0; j < w; j++) {\n        bool edge = i == 0 || j == 0 || i == h - 1 || j == w - 1;\n        if (edge && g[i][j] @OP@ @K@) ans += @PLUS@;\n    }\n}\ncout << ans << endl;")
        .cpp("cpp-inside", "@READ@\nint ans = 0;\nfor (int i = 0; i < h; i++)\n    for (int j = 0; j < w; j++) {\n        if (i > 0 && i < h - 1 && j > 0 && j < w - 1) continue;\n        if (g[i][j] @OP@ @K@) ans += @PLUS@;\n    }\ncout << ans << endl;")
        .bug("loops", "forgot a side", " or j == w - 1", "")
        .bug("loops", "wrong comparison", "g[i][j] @OP@ @K@", "g[i][j] @OTHER@ @K@")
        .bug("loops", "off by one", "i == h - 1", "i == h")
        .bug("parts", "missing edge case", "if h > 1:\n    b += g[-1]\n", "b += g[-1]\n")
        .bug("parts", "counts the corners twice", "g[1:-1]", "g")
        .bug("inside", "off by one", "row[1:-1]", "row[1:]")
        .bug("cpp-loops", "forgot a side", "i == 0 || ", "")
        .bug("cpp-inside", "wrong condition", "i < h - 1 && j > 0", "i < h - 1 || j > 0")
        .crash("loops", "index out of range", "range(w)", "range(w + 1)")
}
