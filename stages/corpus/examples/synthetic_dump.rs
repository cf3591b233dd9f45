//! Writes a dump of submissions of any size, to try the data stages at scale.
//!
//! `synthetic_dump SOLUTIONS SEED FOLDER` writes `problems.parquet` and `solutions.parquet`, as
//! `ingest` would, and `scale.toml`, a recipe over them. An example and not a command: nobody who
//! uses iota needs it.
//!
//! Promises: the same bytes for the same arguments. Distributions are after CodeContests': the
//! number of submissions a problem has a long tail, so have lengths (median about 900 symbols);
//! one in three is correct; authors share a few approaches, rename and move things, and send several
//! attempts that differ by a few edits. The programs are in no language: they do not compile.
#![allow(clippy::print_stdout, reason = "a program that says what it wrote")]

use std::path::Path;

use anyhow::{Context as _, Result};
use corpus::language::Language;
use corpus::schema::{Problem, Solution};
use corpus::solution::new_solution;
use corpus::table::TableWriter;
use engine::rng::{self, ChaCha12Rng, below};

/// Mean number of submissions a problem.
const MEAN_SUBMISSIONS: f64 = 1000.0;

const WORDS: [&str; 40] = [
    "array",
    "number",
    "string",
    "graph",
    "vertex",
    "edge",
    "query",
    "sum",
    "maximum",
    "minimum",
    "path",
    "tree",
    "cost",
    "game",
    "player",
    "board",
    "cell",
    "row",
    "column",
    "digit",
    "prime",
    "divisor",
    "segment",
    "point",
    "line",
    "interval",
    "city",
    "road",
    "robot",
    "card",
    "coin",
    "letter",
    "word",
    "pair",
    "group",
    "time",
    "second",
    "value",
    "index",
    "operation",
];

const LINES: [&str; 24] = [
    "for (int I = 0; I < N; ++I) {",
    "}",
    "if (A[I] > B) B = A[I];",
    "cin >> N >> M;",
    "vector<long long> A(N + 1, K);",
    "while (L < R) {",
    "int C = (L + R) / 2;",
    "} else {",
    "B = (B + A[I]) % M;",
    "cout << B << '\\n';",
    "sort(A.begin(), A.end());",
    "B += A[I] * K;",
    "if (C == K) return B;",
    "map<int, int> C;",
    "++C[A[I]];",
    "long long B = K;",
    "L = C + 1;",
    "A.push_back(B - K);",
    "// комментарий",
    "swap(A[I], A[N - I]);",
    "if (I % K == 0) continue;",
    "scanf(\"%d\", &A[I]);",
    "B ^= A[I];",
    "#define REP(I, N) for (int I = 0; I < N; I++)",
];

/// Numbers of one stream.
struct Draw(ChaCha12Rng);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        below(&mut self.0, most as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (below(&mut self.0, 1 << 53) as f64 + 0.5) / 2_f64.powi(53)
    }

    /// Log-normal with median 1.
    fn tail(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        (sigma * radius * (std::f64::consts::TAU * self.unit()).cos()).exp()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn approach(&mut self) -> Vec<usize> {
        let lines = ((42.0 * self.tail(0.7)) as usize).clamp(3, 2500);
        (0..lines).map(|_| self.below(LINES.len())).collect()
    }

    /// An approach in an author's words.
    fn written(&mut self, approach: &[usize]) -> String {
        let mut lines = approach.to_vec();
        for _ in 0..lines.len() / 4 {
            let at = self.below(lines.len());
            match self.below(3) {
                0 => lines[at] = self.below(LINES.len()),
                1 => lines.insert(at, self.below(LINES.len())),
                _ if lines.len() > 3 => drop(lines.remove(at)),
                _ => {}
            }
        }
        let names: Vec<&str> = (0..8).map(|_| *self.pick(&WORDS)).collect();
        let indent = *self.pick(&["", "  ", "    ", "\t"]);
        let short = self.below(3) > 0;
        let mut text = String::new();
        for line in lines {
            text.push_str(indent);
            for symbol in LINES[line].chars() {
                match "ABCIKLMN".find(symbol) {
                    Some(4) => text.push_str(&self.below(100).to_string()),
                    Some(name) if !short => text.push_str(names[name]),
                    Some(_) => text.push(symbol.to_ascii_lowercase()),
                    None => text.push(symbol),
                }
            }
            text.push('\n');
        }
        text
    }

    /// The next attempt: a few symbols or a line changed.
    fn edited(&mut self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for _ in 0..=self.below(6) {
            let at = self.below(lines.len());
            match self.below(4) {
                0 => lines.insert(at, format!("if (x{} == 0) return;", self.below(10))),
                1 if lines.len() > 3 => drop(lines.remove(at)),
                _ => {
                    lines[at].push_str(self.pick::<&str>(&[" + 1", " - 1", " // ?", ";", " <= n"]));
                }
            }
        }
        lines.join("\n") + "\n"
    }
}

fn problem(number: usize, draw: &mut Draw) -> Problem {
    let words: Vec<&str> = (0..150 + draw.below(200))
        .map(|_| *draw.pick(&WORDS))
        .collect();
    Problem {
        problem_id: format!("synthetic/{number:06}"),
        name: format!("{number}. {}", words[0]),
        source: "synthetic".to_owned(),
        split: "train".to_owned(),
        description: words.join(" "),
        ..Problem::default()
    }
}

/// The submissions to one problem, as they came in.
fn solutions(problem_id: &str, count: usize, draw: &mut Draw) -> Vec<Solution> {
    let approaches: Vec<Vec<usize>> = (0..2 + count / 40).map(|_| draw.approach()).collect();
    let mut rows = Vec::with_capacity(count + 8);
    while rows.len() < count {
        let language = match draw.below(10) {
            0..6 => Language::Cpp,
            6..9 => Language::Python3,
            _ => Language::Java,
        };
        let approach = draw.pick(&approaches).clone();
        let mut text = draw.written(&approach);
        // Two wrong ones for a correct one, on the average; a third of the authors give up.
        for _ in 0..draw.below(4) {
            rows.push(new_solution(
                problem_id,
                language,
                text.clone(),
                false,
                "synthetic",
            ));
            text = draw.edited(&text);
        }
        if draw.below(3) > 0 {
            rows.push(new_solution(problem_id, language, text, true, "synthetic"));
        }
    }
    rows.truncate(count);
    rows
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wanted, seed, folder] = &arguments[..] else {
        anyhow::bail!("usage: synthetic_dump SOLUTIONS SEED FOLDER");
    };
    let wanted: usize = wanted.parse().context("SOLUTIONS is no number")?;
    let seed: u64 = seed.parse().context("SEED is no number")?;
    let folder = Path::new(folder);
    fs_err::create_dir_all(folder)?;
    let mut problems = TableWriter::create(&folder.join("problems.parquet"))?;
    let mut all = TableWriter::create(&folder.join("solutions.parquet"))?;
    let (mut written, mut number) = (0, 0);
    while written < wanted {
        let mut draw = Draw(rng::rng(seed, "synthetic", number as u64));
        let row = problem(number, &mut draw);
        // The mean of the log-normal is exp(sigma^2 / 2) times its median.
        let count = (MEAN_SUBMISSIONS / 1.65 * draw.tail(1.0)) as usize;
        let count = count.clamp(2, 50_000).min(wanted - written);
        for solution in solutions(&row.problem_id, count, &mut draw) {
            all.push(solution)?;
        }
        problems.push(row)?;
        written += count;
        number += 1;
    }
    problems.finish()?;
    all.finish()?;
    let here = fs_err::canonicalize(folder)?;
    let file = |name: &str| format!("\"file:{}\"", here.join(name).display());
    let recipe = format!(
        "about = \"a synthetic dump of {wanted} submissions\"\nseed = {seed}\n\n\
         [triplets]\ninputs = {{ problems = [{0}], solutions = [{1}] }}\n\n\
         [tokenizer]\ninputs = {{ problems = [{0}], solutions = [{1}] }}\n\n\
         [mix]\ninputs = {{ problems = [{0}], solutions = [{1}], tokenizer = \"tokenizer\" }}\n",
        file("problems.parquet"),
        file("solutions.parquet"),
    );
    fs_err::write(folder.join("scale.toml"), recipe)?;
    println!(
        "{written} solutions of {number} problems in {}",
        here.display()
    );
    Ok(())
}
