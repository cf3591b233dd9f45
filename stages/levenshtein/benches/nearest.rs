//! How fast distances are, on one core.
//!
//! `cargo bench -p iota -p levenshtein` prints a table over synthetic groups; `scripts/bench-levenshtein`
//! starts this program with `--serve FILE` and asks it in turns with RapidFuzz.
//!
//! Promises: medians of several rounds; texts are prepared within the time that is measured.
#![allow(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

use levenshtein::{Candidates, Instructions, Symbols, Unit, distance_within};
use serde_json::{Value, json};

const ROUNDS: usize = 7;

struct Group {
    queries: Vec<String>,
    candidates: Vec<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        serve(&read(&arguments[at + 1]));
    } else {
        table();
    }
}

fn read(path: &str) -> Vec<Group> {
    let text = fs_err::read(path).expect("the file of groups");
    let groups: Value = serde_json::from_slice(&text).expect("groups as JSON");
    let texts = |group: &Value, key: &str| -> Vec<String> {
        let texts = group[key].as_array().expect("a list of texts").iter();
        texts
            .map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    };
    let groups = groups.as_array().expect("a list of groups").iter();
    groups
        .map(|group| Group {
            queries: texts(group, "queries"),
            candidates: texts(group, "candidates"),
        })
        .collect()
}

fn symbols(texts: &[String]) -> Vec<Symbols> {
    texts
        .iter()
        .map(|text| Symbols::new(text, Unit::Chars))
        .collect()
}

/// The nearest candidate of every query, as index and distance.
fn nearest(groups: &[Group], instructions: Instructions) -> Vec<(u32, u32)> {
    let mut answers = Vec::new();
    for group in groups {
        let texts = symbols(&group.candidates);
        let candidates = Candidates::new(&texts);
        let mut search = candidates.search_with(instructions);
        for query in symbols(&group.queries) {
            let found = search.nearest(&query).expect("there are candidates");
            answers.push((found.index, found.distance));
        }
    }
    answers
}

/// All distances; their sum.
fn distances(groups: &[Group], instructions: Instructions) -> u64 {
    let mut sum = 0;
    for group in groups {
        let texts = symbols(&group.candidates);
        let candidates = Candidates::new(&texts);
        let mut search = candidates.search_with(instructions);
        for query in symbols(&group.queries) {
            sum += search
                .distances(&query)
                .into_iter()
                .map(u64::from)
                .sum::<u64>();
        }
    }
    sum
}

/// Answers lines `nearest` and `distances` with one round each, as JSON.
fn serve(groups: &[Group]) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let start = Instant::now();
        let answer = match line.trim() {
            "nearest" => json!(nearest(groups, Instructions::best())),
            "distances" => json!(distances(groups, Instructions::best())),
            other => panic!("unknown request {other:?}"),
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({ "seconds": seconds, "answer": answer }));
    }
}

/// Numbers that look random.
struct Noise(u64);

impl Noise {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below as u64) as usize
    }
}

/// A group of 100 and 200 programs of 800 to 2,000 characters, most of them edits of twelve.
fn synthetic(noise: &mut Noise) -> Group {
    const LINES: [&str; 12] = [
        "for (int i = 0; i < n; ++i) {\n",
        "  if (a[i] > best) best = a[i];\n",
        "cin >> x >> y;\n",
        "vector<long long> dp(n + 1, 0);\n",
        "return 0;\n",
        "while (lo < hi) {\n",
        "mid = (lo + hi) / 2;\n",
        "} else {\n",
        "}\n",
        "ans = (ans + dp[i]) % MOD;\n",
        "// комментарий\n",
        "cout << ans << '\\n';\n",
    ];
    let program = |noise: &mut Noise| -> Vec<char> {
        let lines = 40 + noise.below(41);
        let text: String = (0..lines)
            .map(|_| LINES[noise.below(LINES.len())])
            .collect();
        text.chars().take(2000).collect()
    };
    let first: Vec<Vec<char>> = (0..12).map(|_| program(noise)).collect();
    let edit = |noise: &mut Noise| -> String {
        let mut text = first[noise.below(first.len())].clone();
        let most = if noise.below(2) == 0 { 400 } else { 30 };
        for _ in 0..=noise.below(most) {
            let at = noise.below(text.len());
            let symbol = b"abcxyz019 ();"[noise.below(13)] as char;
            match noise.below(3) {
                0 => text[at] = symbol,
                1 => text.insert(at, symbol),
                _ => drop(text.remove(at)),
            }
        }
        text.into_iter().collect()
    };
    let queries = (0..100).map(|_| edit(noise)).collect();
    let candidates = (0..200)
        .map(|_| match noise.below(5) {
            0 => program(noise).into_iter().collect(),
            _ => edit(noise),
        })
        .collect();
    Group {
        queries,
        candidates,
    }
}

fn median(mut round: impl FnMut()) -> f64 {
    round();
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_unstable_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}

fn table() {
    let mut noise = Noise(5);
    let groups: Vec<Group> = (0..2).map(|_| synthetic(&mut noise)).collect();
    let count = |texts: &[String]| {
        texts
            .iter()
            .map(|text| text.chars().count() as f64)
            .sum::<f64>()
    };
    let pairs: f64 = groups
        .iter()
        .map(|group| (group.queries.len() * group.candidates.len()) as f64)
        .sum();
    let cells: f64 = groups
        .iter()
        .map(|group| count(&group.queries) * count(&group.candidates))
        .sum();
    println!("{pairs} pairs, {:.0} cells a pair", cells / pairs);
    println!("| instructions | all distances, 10⁹ cells/s | nearest, pairs/s |");
    println!("|---|---:|---:|");
    for kind in Instructions::ALL
        .into_iter()
        .filter(|kind| kind.available())
    {
        let all = median(|| {
            black_box(distances(&groups, kind));
        });
        let near = median(|| drop(black_box(nearest(&groups, kind))));
        println!(
            "| {kind:?} | {:.1} | {:.0} |",
            cells / all / 1e9,
            pairs / near
        );
    }
    let (a, b) = (symbols(&groups[0].queries), symbols(&groups[0].candidates));
    let single = median(|| {
        for (a, b) in a.iter().zip(&b) {
            black_box(distance_within(a, b, usize::MAX));
        }
    });
    println!(
        "one pair alone, no bound: {:.1} µs",
        single / a.len() as f64 * 1e6
    );
    #[cfg(target_arch = "x86_64")]
    limit();
}

/// What the core can do at most: logical and arithmetic operations on 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "intrinsics")]
fn limit() {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_andnot_si256, _mm256_set1_epi64x, _mm256_xor_si256,
    };
    const CHAINS: usize = 10;
    const STEPS: u32 = 2_000_000;
    /// Operations of the kernel for 64 rows of four texts: 18 of the formulas, 2 to bring four
    /// rows of words into one register.
    const OPERATIONS: f64 = 20.0;

    #[target_feature(enable = "avx2")]
    fn chains(start: i64) -> [__m256i; CHAINS] {
        let mut values: [__m256i; CHAINS] =
            std::array::from_fn(|n| _mm256_set1_epi64x(start + n as i64));
        let other = _mm256_set1_epi64x(start ^ 0x5555);
        for _ in 0..STEPS {
            for value in &mut values {
                *value = _mm256_add_epi64(*value, other);
                *value = _mm256_xor_si256(*value, other);
                *value = _mm256_andnot_si256(*value, other);
            }
        }
        values
    }
    if !Instructions::Avx2.available() {
        return;
    }
    let seconds = median(|| {
        // SAFETY: the processor has AVX2.
        black_box(unsafe { chains(black_box(3)) });
    });
    let operations = 3.0 * CHAINS as f64 * f64::from(STEPS) / seconds;
    println!(
        "256-bit operations: {:.1}·10⁹/s, so at most {:.0}·10⁹ cells/s",
        operations / 1e9,
        operations / OPERATIONS * 256.0 / 1e9
    );
}
