//! The tests and limits of one problem, in the order in which they are run.
//!
//! Read from the table `problems` by `session.rs`, one problem at a time; used by `trial.rs`.
//!
//! Promises: public tests first, then private, then generated, each in the table's order, so
//! that the number of a test means the same in every run, in whatever order they are run
//! (`Rules::test_order`).

use crate::checker::Checker;
use corpus::{schema::TestCase, table};

table! {
    /// What the judge needs of a problem.
    pub(crate) struct SuiteRow in "problems" {
        pub(crate) problem_id: String,
        pub(crate) time_limit_s: Option<f64>,
        pub(crate) memory_limit_bytes: Option<i64>,
        pub(crate) public_tests: Vec<TestCase>,
        pub(crate) private_tests: Vec<TestCase>,
        pub(crate) generated_tests: Vec<TestCase>,
        pub(crate) input_file: Option<String>,
        pub(crate) output_file: Option<String>,
    }
}

/// Why a problem cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unjudgeable {
    /// It has no test at all.
    NoTests,
    /// Its programs read or write named files, which the sandbox does not offer.
    NamedFiles,
}

/// The tests of a problem and its own limits.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Public, private, generated.
    pub(crate) tests: Vec<TestCase>,
    /// How many of them are public.
    pub(crate) public: usize,
    /// The problem's time limit, if it has one.
    pub(crate) time_limit_s: Option<f64>,
    /// The problem's memory limit, if it has one.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// What decides whether an output is right, if it is not comparing.
    pub(crate) checker: Option<Checker>,
}

impl Suite {
    /// The suite of a problem, or why there is none.
    pub(crate) fn new(row: SuiteRow) -> Result<Self, Unjudgeable> {
        let named = |file: &Option<String>| file.as_ref().is_some_and(|name| !name.is_empty());
        let public = row.public_tests.len();
        let mut tests = row.public_tests;
        tests.extend(row.private_tests);
        tests.extend(row.generated_tests);
        if tests.is_empty() {
            return Err(Unjudgeable::NoTests);
        }
        if named(&row.input_file) || named(&row.output_file) {
            return Err(Unjudgeable::NamedFiles);
        }
        Ok(Self {
            tests,
            public,
            // The data sets write "unknown" as null and as 0.
            time_limit_s: row.time_limit_s.filter(|limit| *limit > 0.0),
            memory_limit_bytes: row
                .memory_limit_bytes
                .filter(|limit| *limit > 0)
                .map(|limit| limit as u64),
            checker: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(names: &[&str]) -> Vec<TestCase> {
        let test = |name: &&str| TestCase {
            input: (*name).to_owned(),
            output: String::new(),
        };
        names.iter().map(test).collect()
    }

    fn row() -> SuiteRow {
        SuiteRow {
            problem_id: "contest/a".into(),
            time_limit_s: Some(0.0),
            memory_limit_bytes: Some(0),
            public_tests: tests(&["p1"]),
            private_tests: tests(&["h1", "h2"]),
            generated_tests: tests(&["g1"]),
            input_file: Some(String::new()),
            output_file: None,
        }
    }

    #[test]
    fn tests_are_numbered_public_private_generated() {
        let suite = Suite::new(row()).expect("it has tests");
        let inputs: Vec<_> = suite.tests.iter().map(|test| test.input.as_str()).collect();
        assert_eq!(inputs, ["p1", "h1", "h2", "g1"]);
        assert_eq!(suite.public, 1);
        assert_eq!((suite.time_limit_s, suite.memory_limit_bytes), (None, None));
    }

    #[test]
    fn what_cannot_be_judged_says_why() {
        let mut without = row();
        without.public_tests.clear();
        without.private_tests.clear();
        without.generated_tests.clear();
        assert_eq!(Suite::new(without).err(), Some(Unjudgeable::NoTests));
        let mut named = row();
        named.output_file = Some("out.txt".into());
        assert_eq!(Suite::new(named).err(), Some(Unjudgeable::NamedFiles));
    }
}
