//! pass@k against HumanEval's estimator and exact rationals.
//!
//! `fixtures/pass_at_k.json` holds `[n, c, k, HumanEval's value in f64, the exact rational as
//! f64]` and a benchmark of 165 problems; the first was made by HumanEval's own function.

use judge::score::pass_at_k;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    rows: Vec<(u64, u64, u64, f64, f64)>,
    benchmark: Benchmark,
}

#[derive(Deserialize)]
struct Benchmark {
    n: u64,
    correct_counts: Vec<u64>,
    mean: std::collections::BTreeMap<String, f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/pass_at_k.json")).expect("the fixture is JSON")
}

#[test]
fn single_values() {
    let fixture = fixture();
    assert!(fixture.rows.len() > 600);
    for (n, c, k, peer, exact) in fixture.rows {
        let ours = pass_at_k(n, c, k).expect("k is at most n");
        assert!(
            (ours - exact).abs() < 1e-12,
            "n={n} c={c} k={k}: {ours} != {exact}"
        );
        assert!(
            (ours - peer).abs() < 1e-12,
            "n={n} c={c} k={k}: {ours} != {peer}"
        );
    }
}

#[test]
fn mean_over_a_benchmark() {
    let Benchmark {
        n,
        correct_counts,
        mean,
    } = fixture().benchmark;
    assert_eq!(mean.len(), 4);
    for (name, wanted) in mean {
        let k: u64 = name.trim_start_matches("pass@").parse().expect("pass@<k>");
        let sum: f64 = correct_counts
            .iter()
            .map(|&c| pass_at_k(n, c, k).expect("k is at most n"))
            .sum();
        let ours = sum / correct_counts.len() as f64;
        assert!((ours - wanted).abs() < 1e-12, "{name}: {ours} != {wanted}");
    }
}
