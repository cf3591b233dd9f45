//! The code that reads an input, in the styles that people use.
//!
//! Every program of a family has a line `@READ@`; `source.rs` puts one of these pieces
//! there. After it Python has the names of the shape (`n`, `a`, `s`, ...) and C++ too, with
//! `vector<T> a`, where `T` is `int` unless the bounds need more.

use crate::draw::Draw;
use crate::shape::{Number, Shape};

impl Shape {
    /// Python code that reads this shape.
    pub fn python(&self, draw: &mut Draw) -> String {
        match self {
            Self::Ints(numbers) => python_numbers(numbers, draw),
            Self::List { extra, .. } => {
                let mut head = vec![Number { name: "n", low: 1, high: 1 }];
                head.extend(extra);
                let names: Vec<_> = head.iter().map(|number| number.name).collect();
                match draw.range(0, 9) {
                    0 | 1 => format!(
                        "import sys\ndata = list(map(int, sys.stdin.read().split()))\n{}\na = data[{}:]",
                        assign(&names, "data"),
                        names.len()
                    ),
                    2 | 3 => format!(
                        "{}\na = [int(x) for x in input().split()]",
                        python_numbers(&head, draw)
                    ),
                    4 => format!(
                        "import sys\ninput = sys.stdin.readline\n{}\na = list(map(int, input().split()))",
                        python_numbers(&head, draw)
                    ),
                    _ => format!(
                        "{}\na = list(map(int, input().split()))",
                        python_numbers(&head, draw)
                    ),
                }
            }
            Self::TwoLists { .. } => draw
                .one(&[
                    "n = int(input())\na = list(map(int, input().split()))\nb = list(map(int, input().split()))",
                    "n = int(input())\na = [int(x) for x in input().split()]\nb = [int(x) for x in input().split()]",
                    "import sys\ndata = list(map(int, sys.stdin.read().split()))\nn = data[0]\na = data[1:n + 1]\nb = data[n + 1:]",
                ])
                .to_owned(),
            Self::Word { .. } => {
                draw.one(&["s = input()", "s = input().strip()", "s = input().strip()", "import sys\ns = sys.stdin.readline().strip()"]).to_owned()
            }
            Self::TwoWords { .. } => draw
                .one(&["s = input()\nt = input()", "s = input().strip()\nt = input().strip()", "import sys\ns, t = sys.stdin.read().split()"])
                .to_owned(),
            Self::Sentence { .. } => {
                draw.one(&["words = input().split()", "words = input().split()", "import sys\nwords = sys.stdin.read().split()"]).to_owned()
            }
            Self::Words { .. } => draw
                .one(&[
                    "n = int(input())\nwords = [input() for _ in range(n)]",
                    "n = int(input())\nwords = [input().strip() for _ in range(n)]",
                    "n = int(input())\nwords = []\nfor _ in range(n):\n    words.append(input().strip())",
                    "import sys\nwords = sys.stdin.read().split()[1:]\nn = len(words)",
                ])
                .to_owned(),
            Self::Grid { .. } => draw
                .one(&[
                    "h, w = map(int, input().split())\ng = [input() for _ in range(h)]",
                    "h, w = map(int, input().split())\ng = [input().strip() for i in range(h)]",
                    "h, w = map(int, input().split())\ng = []\nfor _ in range(h):\n    g.append(input())",
                ])
                .to_owned(),
            Self::Matrix { square, .. } => {
                let (head, rows) =
                    if *square { ("n = int(input())", "n") } else { ("h, w = map(int, input().split())", "h") };
                draw.one(&[
                    "HEAD\ng = [list(map(int, input().split())) for _ in range(ROWS)]",
                    "HEAD\ng = []\nfor _ in range(ROWS):\n    g.append(list(map(int, input().split())))",
                ])
                .replace("HEAD", head)
                .replace("ROWS", rows)
            }
            Self::Pairs { .. } => draw
                .one(&[
                    "n = int(input())\np = [tuple(map(int, input().split())) for _ in range(n)]",
                    "n = int(input())\np = []\nfor _ in range(n):\n    x, y = map(int, input().split())\n    p.append((x, y))",
                    "import sys\ndata = list(map(int, sys.stdin.read().split()))\nn = data[0]\np = list(zip(data[1::2], data[2::2]))",
                ])
                .to_owned(),
        }
    }

    /// C++ code that reads this shape.
    pub fn cpp(&self, draw: &mut Draw) -> String {
        match self {
            Self::Ints(numbers) => cpp_numbers(numbers),
            Self::List { value, extra, .. } => {
                let mut head = vec![Number { name: "n", low: 1, high: 1 }];
                head.extend(extra);
                format!("{}\n{}", cpp_numbers(&head), cpp_list("a", cpp_type(value.0, value.1), draw))
            }
            Self::TwoLists { value, .. } => {
                let kind = cpp_type(value.0, value.1);
                draw.one(&[
                    "int n;\ncin >> n;\nvector<T> a(n), b(n);\nfor (auto &x : a) cin >> x;\nfor (auto &x : b) cin >> x;",
                    "int n;\ncin >> n;\nvector<T> a(n), b(n);\nfor (int i = 0; i < n; i++) cin >> a[i];\nfor (int i = 0; i < n; i++) cin >> b[i];",
                ])
                .replace("<T>", &format!("<{kind}>"))
            }
            Self::Word { .. } => "string s;\ncin >> s;".to_owned(),
            Self::TwoWords { .. } => "string s, t;\ncin >> s >> t;".to_owned(),
            Self::Sentence { .. } => {
                "vector<string> words;\nstring w;\nwhile (cin >> w) words.push_back(w);".to_owned()
            }
            Self::Words { .. } => draw
                .one(&[
                    "int n;\ncin >> n;\nvector<string> words(n);\nfor (auto &w : words) cin >> w;",
                    "int n;\ncin >> n;\nvector<string> words(n);\nfor (int i = 0; i < n; i++) cin >> words[i];",
                ])
                .to_owned(),
            Self::Grid { .. } => draw
                .one(&[
                    "int h, w;\ncin >> h >> w;\nvector<string> g(h);\nfor (auto &row : g) cin >> row;",
                    "int h, w;\ncin >> h >> w;\nvector<string> g(h);\nfor (int i = 0; i < h; i++) cin >> g[i];",
                ])
                .to_owned(),
            Self::Matrix { value, square, .. } => {
                let kind = cpp_type(value.0, value.1);
                let (head, rows, columns) =
                    if *square { ("int n;\ncin >> n;", "n", "n") } else { ("int h, w;\ncin >> h >> w;", "h", "w") };
                draw.one(&[
                    "HEAD\nvector<vector<T>> g(ROWS, vector<T>(COLUMNS));\nfor (auto &row : g)\n    for (auto &x : row) cin >> x;",
                    "HEAD\nvector<vector<T>> g(ROWS, vector<T>(COLUMNS));\nfor (int i = 0; i < ROWS; i++)\n    for (int j = 0; j < COLUMNS; j++) cin >> g[i][j];",
                ])
                .replace("HEAD", head)
                .replace("<T>", &format!("<{kind}>"))
                .replace("ROWS", rows)
                .replace("COLUMNS", columns)
            }
            Self::Pairs { value, .. } => draw
                .one(&[
                    "int n;\ncin >> n;\nvector<pair<T, T>> p(n);\nfor (auto &x : p) cin >> x.first >> x.second;",
                    "int n;\ncin >> n;\nvector<pair<T, T>> p(n);\nfor (int i = 0; i < n; i++) cin >> p[i].first >> p[i].second;",
                ])
                .replace("<T, T>", &format!("<{0}, {0}>", cpp_type(value.0, value.1))),
        }
    }
}

fn assign(names: &[&str], from: &str) -> String {
    if let [one] = names {
        return format!("{one} = {from}[0]");
    }
    format!("{} = {from}[:{}]", names.join(", "), names.len())
}

fn python_numbers(numbers: &[Number], draw: &mut Draw) -> String {
    let names: Vec<_> = numbers.iter().map(|number| number.name).collect();
    if let [one] = names[..] {
        return format!("{one} = int(input())");
    }
    if draw.percent(25) {
        format!("{} = [int(x) for x in input().split()]", names.join(", "))
    } else {
        format!("{} = map(int, input().split())", names.join(", "))
    }
}

fn cpp_numbers(numbers: &[Number]) -> String {
    let names: Vec<_> = numbers.iter().map(|number| number.name).collect();
    let kind = if numbers
        .iter()
        .any(|number| cpp_type(number.low, number.high) != "int")
    {
        "long long"
    } else {
        "int"
    };
    format!(
        "{kind} {};\ncin >> {};",
        names.join(", "),
        names.join(" >> ")
    )
}

fn cpp_list(name: &str, kind: &str, draw: &mut Draw) -> String {
    draw.one(&[
        "vector<T> NAME(n);\nfor (auto &x : NAME) cin >> x;",
        "vector<T> NAME(n);\nfor (int i = 0; i < n; i++) cin >> NAME[i];",
        "vector<T> NAME(n);\nfor (int i = 0; i < n; i++) {\n    cin >> NAME[i];\n}",
    ])
    .replace("<T>", &format!("<{kind}>"))
    .replace("NAME", name)
}

/// `int` where every value fits.
pub(crate) fn cpp_type(low: i64, high: i64) -> &'static str {
    if low >= i64::from(i32::MIN) && high <= i64::from(i32::MAX) {
        "int"
    } else {
        "long long"
    }
}
