//! What holds for every problem of the embedded contest, whatever its family.
//!
//! Rust only: that the programs do what they claim is checked by `examples/check`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use contest::{Claim, Language, Options, Problem, Split, families, generate};

fn some() -> Vec<Problem> {
    generate(&Options {
        problems: 400,
        ..Options::default()
    })
}

/// The statement without its example, which is drawn apart from it.
fn task(problem: &Problem) -> &str {
    problem
        .description
        .split("\n\nExamples\n\n")
        .next()
        .unwrap()
}

#[test]
fn the_seed_decides_everything() {
    let digest = |seed| {
        let made = generate(&Options {
            seed,
            problems: 150,
            ..Options::default()
        });
        blake3::hash(format!("{made:?}").as_bytes())
    };
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3), digest(4));
}

#[test]
fn every_family_takes_part_and_no_problem_comes_twice() {
    let made = some();
    let mut names = BTreeSet::new();
    let mut tasks = BTreeSet::new();
    for problem in &made {
        assert!(names.insert(&problem.name), "{} occurs twice", problem.name);
        assert!(
            tasks.insert(task(problem)),
            "{} repeats a statement",
            problem.name
        );
    }
    let present: BTreeSet<_> = made.iter().map(|problem| problem.family.as_str()).collect();
    let all: BTreeSet<_> = families().iter().map(|family| family.name).collect();
    assert_eq!(present, all);
    assert_eq!(all.len(), families().len(), "two families share a name");
}

#[test]
fn what_is_held_out_occurs_in_the_test_split_only() {
    let made = some();
    let mut splits: BTreeMap<(&str, &str), Split> = BTreeMap::new();
    for problem in &made {
        let split = splits
            .entry((&problem.family, &problem.key))
            .or_insert(problem.split);
        assert_eq!(*split, problem.split, "{} [{}]", problem.name, problem.key);
    }
    for family in families().iter().filter(|family| family.held_out) {
        let of = made.iter().filter(|problem| problem.family == family.name);
        assert!(of.clone().count() > 0);
        assert!(
            of.clone().all(|problem| problem.split == Split::Test),
            "{}",
            family.name
        );
    }
    for split in [Split::Train, Split::Valid, Split::Test] {
        let share = made.iter().filter(|problem| problem.split == split).count();
        assert!(share * 50 > made.len(), "{split:?} has {share} problems");
    }
}

#[test]
fn every_problem_is_complete_and_short() {
    for problem in some() {
        let name = &problem.name;
        let words = problem.description.split_whitespace().count();
        assert!(words <= 160, "{name}: {words} words");
        assert!(
            !problem.description.contains('@'),
            "{name}: a placeholder is left"
        );
        let example = &problem.public_tests[0];
        assert!(
            problem.description.ends_with(&example.1),
            "{name}: its example is another"
        );
        for language in [Language::Python3, Language::Cpp] {
            let right = problem
                .solutions
                .iter()
                .filter(|one| one.language == language);
            assert!(right.count() >= 2, "{name}: too few in {language:?}");
        }
        assert!(
            problem.incorrect.len() >= 3,
            "{name}: {} wrong",
            problem.incorrect.len()
        );
        assert!(
            problem
                .solutions
                .iter()
                .all(|one| one.claim == Claim::Accepted)
        );
        assert!(
            problem
                .incorrect
                .iter()
                .all(|one| one.claim != Claim::Accepted)
        );
        let right: BTreeSet<_> = problem.solutions.iter().map(|one| &one.source).collect();
        for one in &problem.incorrect {
            assert!(
                !right.contains(&one.source),
                "{name}: `{}` changes nothing",
                one.style
            );
        }
        let tests = [
            &problem.public_tests,
            &problem.private_tests,
            &problem.generated_tests,
        ];
        let inputs: Vec<_> = tests.into_iter().flatten().map(|test| &test.0).collect();
        assert_eq!(
            inputs.iter().collect::<BTreeSet<_>>().len(),
            inputs.len(),
            "{name}"
        );
        assert!(inputs.len() >= 6, "{name}: {} tests", inputs.len());
        assert!(
            inputs.iter().all(|input| input.len() < 100_000),
            "{name}: a test is large"
        );
        let outputs = tests.into_iter().flatten().map(|test| &test.1);
        assert!(
            outputs.collect::<BTreeSet<_>>().len() > 1,
            "{name}: one output fits all"
        );
    }
}
