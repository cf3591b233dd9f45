//! The stage `report` on small tables of verdicts.
#![allow(clippy::unwrap_used)]

mod support;

use corpus::schema::Verdict;
use support::{Bench, chain, problem};

fn verdict(problem: &str, program: usize, verdict: &str, public_passed: bool) -> Verdict {
    Verdict {
        problem_id: problem.into(),
        program: program.to_string(),
        verdict: verdict.into(),
        compiled: verdict != "CE",
        public_passed,
        tests_passed: 0,
        tests_run: 0,
        failed_test: None,
        detail: None,
    }
}

/// Ten samples: the first `solved` are right, `public` pass the public tests, the last
/// `broken` do not compile.
fn ten(problem: &str, solved: usize, public: usize, broken: usize) -> Vec<Verdict> {
    (0..10)
        .map(|i| match i {
            i if i < solved => verdict(problem, i, "AC", true),
            i if i < public => verdict(problem, i, "WA", true),
            i if i >= 10 - broken => verdict(problem, i, "CE", false),
            i => verdict(problem, i, "TLE", false),
        })
        .collect()
}

/// Two models on problems a, b and c; the second has no samples for c.
struct Case {
    bench: Bench,
    problems: String,
    verdicts: [String; 2],
    judged: [String; 2],
}

fn case() -> Case {
    let bench = Bench::new();
    let mut problems = ["a", "b", "c", "unasked"]
        .map(|id| problem(id, &[("1", "1")], &[]))
        .to_vec();
    problems.push(problem("untested", &[], &[]));
    let mut train = problem("train", &[("1", "1")], &[]);
    train.split = "train".into();
    problems.push(train);
    let problems = bench.table("problems", problems);
    let first = [
        ten("a", 1, 2, 0),
        ten("b", 0, 1, 5),
        ten("c", 2, 2, 0),
        ten("train", 9, 9, 0),
    ];
    let second = [ten("a", 0, 0, 0), ten("b", 5, 5, 0)];
    let verdicts = [
        bench.table("first", first.concat()),
        bench.table("second", second.concat()),
    ];
    let judged = [0, 1].map(|i: usize| {
        let path = verdicts[i].trim_start_matches("file:");
        let mut summary = judge::judge::Summary {
            verdicts: blake3::hash(&fs_err::read(path).unwrap())
                .to_hex()
                .to_string(),
            ..Default::default()
        };
        summary.isolation.insert("pid+net".into());
        let text = serde_json::to_string(&summary).unwrap();
        bench.text(["first.json", "second.json"][i], &text)
    });
    Case {
        bench,
        problems,
        verdicts,
        judged,
    }
}

impl Case {
    fn recipe(&self, judged: &[&String], settings: &str) -> String {
        format!(
            "[report]\ninputs = {{ problems = \"{}\", verdicts = {:?}, judged = {:?} }}\n{settings}\n",
            self.problems, self.verdicts, judged
        )
    }
}

const SETTINGS: &str = "rows = [\"sft\", \"ppo\"]\npass_at = [1, 10, 11]\nn_at_k = [[2, 10]]";

fn near(value: &serde_json::Value, wanted: f64) {
    let found = value.as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-12, "{found} != {wanted}");
}

#[test]
fn numbers_are_those_of_the_counts() {
    let case = case();
    // The judge's reports may come in any order.
    let recipe = case.recipe(&[&case.judged[1], &case.judged[0]], SETTINGS);
    let summary = case.bench.run(&recipe).unwrap();
    let report = case.bench.json(&summary, "report", "report");
    assert_eq!(report["problems"], serde_json::json!(["a", "b", "c"]));
    assert_eq!(
        report["problems_not_sampled"],
        serde_json::json!(["unasked"])
    );
    assert_eq!(
        report["problems_without_tests"],
        serde_json::json!(["untested"])
    );
    let (sft, ppo) = (&report["rows"][0], &report["rows"][1]);
    assert_eq!(
        (sft["solved"].as_u64(), ppo["solved"].as_u64()),
        (Some(2), Some(1))
    );
    assert_eq!(sft["samples"], 30, "the train split is no part of it");
    near(&sft["compile_rate"], 25.0 / 30.0);
    near(&sft["pass_at"]["1"]["value"], (0.1 + 0.0 + 0.2) / 3.0);
    near(&sft["pass_at"]["10"]["value"], 2.0 / 3.0);
    assert!(sft["pass_at"]["11"].is_null());
    // a: one of two filtered samples is right, both are submitted; b: none; c: both right.
    near(&sft["n_at_k"]["2@10"]["value"], 2.0 / 3.0);
    assert_eq!(ppo["problems_without_samples"], serde_json::json!(["c"]));
    near(&ppo["pass_at"]["1"]["value"], 0.5 / 3.0);
    assert_eq!(
        report["paired"][0]["only_first"],
        serde_json::json!(["a", "c"])
    );
    assert_eq!(report["paired"][0]["only_this"], serde_json::json!(["b"]));
    near(&report["paired"][0]["p_value"], 1.0);
}

#[test]
fn every_row_names_the_verdicts_it_was_made_of() {
    let case = case();
    let summary = case
        .bench
        .run(&case.recipe(&[&case.judged[0], &case.judged[1]], SETTINGS))
        .unwrap();
    let text = fs_err::read_to_string(case.bench.output(&summary, "report", "table")).unwrap();
    for (name, path) in ["sft", "ppo"].iter().zip(&case.verdicts) {
        let bytes = fs_err::read(path.trim_start_matches("file:")).unwrap();
        let wanted = format!("- {name}: verdicts `b3:{}`", blake3::hash(&bytes).to_hex());
        assert!(text.contains(&wanted), "{text}");
    }
    assert!(text.contains("| sft | **2** ("), "{text}");
    assert!(text.contains("| a | 1/10 | 0/10 |"), "{text}");
    assert!(text.contains("| c | 2/10 | 0/0 |"), "{text}");
    assert!(text.contains("\n  - pid+net\n"), "{text}");
    assert!(
        text.contains("*IotaCode with PPO*, reported by the paper, 165 problems | 25 | 40.3 %")
    );
    // Every line of a table has as many cells as its head.
    for block in text.split("\n\n").filter(|block| block.starts_with('|')) {
        let cells: Vec<usize> = block
            .lines()
            .map(|line| line.matches('|').count())
            .collect();
        assert!(cells.iter().all(|count| *count == cells[0]), "{block}");
    }
}

corpus::table! {
    struct Metric in "metrics" {
        step: i64,
        name: String,
        value: f64,
    }
}

#[test]
fn the_page_holds_the_table_and_the_curves() {
    let case = case();
    let points = [(1, 0.5), (2, 0.25), (3, f64::NAN), (4, 0.75)].map(|(step, value)| Metric {
        step,
        name: "objective/kl".into(),
        value,
    });
    let metrics = case.bench.table("metrics", points.to_vec());
    let both = [&case.judged[0], &case.judged[1]];
    let recipe = |curves: &str| {
        let bound = format!("judged = {both:?}, metrics = [\"{metrics}\"]");
        let recipe = case.recipe(&both, &format!("{SETTINGS}\nagainst = \"ppo\"\n{curves}"));
        recipe.replace(&format!("judged = {both:?}"), &bound)
    };
    let summary = case.bench.run(&recipe("curves = [\"<ppo>\"]")).unwrap();
    let page = fs_err::read_to_string(case.bench.output(&summary, "report", "page")).unwrap();
    assert!(
        page.contains("<td>sft</td>") && page.contains("Against ppo"),
        "{page}"
    );
    assert!(page.contains("<summary>&lt;ppo&gt;</summary>"), "{page}");
    let (_, after) = page.split_once("objective/kl</figcaption><svg").unwrap();
    let (line, _) = after.split_once("\"/>").unwrap();
    let (_, points) = line.split_once("points=\"").unwrap();
    assert_eq!(
        points.split(' ').count(),
        3,
        "what is no number has no place: {points}"
    );
    let report = case.bench.json(&summary, "report", "report");
    let paired = &report["paired"][0];
    assert_eq!(
        (&report["against"], &paired["name"]),
        (&"ppo".into(), &"sft".into())
    );
    // a: 0.1 against 0, b: 0 against 0.5; the other row has no samples for c.
    near(&paired["right_share"]["mean"], (0.1 - 0.5) / 2.0);

    let text = chain(&case.bench.run(&recipe("curves = []")).unwrap_err());
    assert!(text.contains("inputs.metrics has 1"), "{text}");
}

#[test]
fn rows_and_tables_must_match() {
    let case = case();
    let refused = |judged: &[&String], settings: &str, words: &str| {
        let text = chain(&case.bench.run(&case.recipe(judged, settings)).unwrap_err());
        assert!(text.contains(words), "{text}");
    };
    let both = [&case.judged[0], &case.judged[1]];
    refused(&both, "rows = [\"sft\"]", "has 2 tables");
    refused(&both, "rows = [\"sft\", \"sft\"]", "must name each table");
    refused(
        &both,
        "rows = [\"sft\", \"ppo\"]\nagainst = \"dpo\"",
        "must be one of rows",
    );
    refused(
        &both,
        "rows = [\"sft\", \"ppo\"]\nsplit = \"valid\"",
        "no problem in split `valid`",
    );
    refused(
        &both[..1],
        SETTINGS,
        "no input of `judged` is for the verdicts of",
    );
}

#[test]
fn submissions_are_chosen_by_clusters_where_the_judge_found_them() {
    use judge::clusters::Cluster;
    let case = case();
    let path = case.judged[0].trim_start_matches("file:");
    let text = fs_err::read_to_string(path).unwrap();
    let mut summary: judge::judge::Summary = serde_json::from_str(&text).unwrap();
    summary.rules.cluster_inputs = 50;
    let cluster = |samples, solved| Cluster { samples, solved };
    summary
        .clusters
        .insert("a".into(), vec![cluster(1, 1), cluster(1, 0)]);
    summary.clusters.insert("b".into(), vec![cluster(1, 0)]);
    summary.clusters.insert("c".into(), vec![cluster(2, 2)]);
    let text = serde_json::to_string(&summary).unwrap();
    let clustered = case.bench.text("clustered.json", &text);
    let settings = SETTINGS.replace("[[2, 10]]", "[[1, 10], [2, 10], [2, 11]]");
    let recipe = case.recipe(&[&clustered, &case.judged[1]], &settings);
    let summary = case.bench.run(&recipe).unwrap();
    let report = case.bench.json(&summary, "report", "report");
    let found = &report["rows"][0]["n_at_k_clustered"];
    near(&found["2@10"]["value"], 2.0 / 3.0);
    // Which of the two clusters of `a` comes first is left to chance.
    let first = found["1@10"]["value"].as_f64().unwrap();
    assert!((first - 0.5).abs() < 0.05, "{first}");
    assert!(found["2@11"].is_null());
    assert!(report["rows"][1].get("n_at_k_clustered").is_none());
    let table = fs_err::read_to_string(case.bench.output(&summary, "report", "table")).unwrap();
    assert!(table.contains("2@10, clustered"), "{table}");
    assert!(table.contains("are one cluster"), "{table}");
}
