//! The stage `attempts`: which judged programs become right and wrong solutions.
#![allow(clippy::unwrap_used)]

mod support;

use corpus::schema::{Generation, Problem, Solution, Verdict};
use corpus::solution::solution_id;
use support::{Bench, chain, generation, problem};

fn of_split(id: &str, split: &str) -> Problem {
    Problem {
        split: split.into(),
        ..problem(id, &[], &[])
    }
}

fn verdict(problem: &str, sample: u32, verdict: &str) -> Verdict {
    Verdict {
        problem_id: problem.into(),
        program: sample.to_string(),
        verdict: verdict.into(),
        compiled: true,
        public_passed: true,
        tests_passed: 0,
        tests_run: 0,
        failed_test: None,
        detail: None,
    }
}

fn recipe(bench: &Bench, problem: Problem, rows: Vec<Generation>, found: Vec<Verdict>) -> String {
    format!(
        "[attempts]\ninputs = {{ problems = \"{}\", generations = \"{}\", verdicts = \"{}\" }}\n",
        bench.table("problems", vec![problem]),
        bench.table("generations", rows),
        bench.table("verdicts", found),
    )
}

#[test]
fn accepted_is_right_and_what_says_nothing_is_left_out() {
    let bench = Bench::new();
    let mut rows: Vec<Generation> = (0..)
        .zip(["a", "b", "c", "a", "d", "e", "f"])
        .map(|(sample, text)| generation("p", sample, "python3", text))
        .collect();
    rows[4].finish = "length".into();
    // In another order than the programs; nothing about sample 6.
    let mut found: Vec<Verdict> = (0..)
        .zip(["AC", "WA", "RE", "AC", "WA", "JE"])
        .map(|(sample, word)| verdict("p", sample, word))
        .collect();
    found.reverse();
    let recipe = recipe(&bench, of_split("p", "train"), rows, found);
    let summary = bench.run(&recipe).unwrap();
    let solutions: Vec<Solution> = bench.rows(&summary, "attempts", "solutions");
    let brief: Vec<(&str, bool, &str)> = solutions
        .iter()
        .map(|row| (&*row.source, row.correct, row.claim.as_deref().unwrap()))
        .collect();
    assert_eq!(
        brief,
        [("a", true, "AC"), ("b", false, "WA"), ("c", false, "RE")]
    );
    assert_eq!(solutions[1].solution_id, solution_id("p", "python3", "b"));
    assert_eq!(solutions[1].origin, "sample");
}

#[test]
fn programs_for_other_problems_than_those_of_training_are_refused() {
    for (split, wanted) in [("test", "of split test"), ("valid", "of split valid")] {
        let bench = Bench::new();
        let rows = vec![generation("p", 0, "python3", "a")];
        let recipe = recipe(
            &bench,
            of_split("p", split),
            rows,
            vec![verdict("p", 0, "AC")],
        );
        let message = chain(&bench.run(&recipe).unwrap_err());
        assert!(message.contains(wanted), "{message}");
        assert!(message.contains("bind `sample`"), "{message}");
    }
    let bench = Bench::new();
    let rows = vec![generation("q", 0, "python3", "a")];
    let recipe = recipe(
        &bench,
        of_split("p", "train"),
        rows,
        vec![verdict("q", 0, "AC")],
    );
    let message = chain(&bench.run(&recipe).unwrap_err());
    assert!(message.contains("for q, which is not in"), "{message}");
}
