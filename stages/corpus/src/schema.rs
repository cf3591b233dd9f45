//! The tables that stages hand to each other: one struct per table, one field per column.
//!
//! This is the contract of the pipeline. A stage that reads fewer columns declares its own
//! struct with `table!`, naming only the fields it needs: the others are not even decoded.
//!
//! Promises: columns in the order of the fields, strings `LargeUtf8`, a column is nullable
//! exactly when its field is an `Option`. Verdicts hold no times: an artifact must be the same on
//! every machine, so wall times live in the logs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::table;

/// One test of a problem: what the program reads and what it should print.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TestCase {
    /// Standard input of the program.
    pub input: String,
    /// Expected standard output.
    pub output: String,
}

/// Which part of the data a problem belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Problems that models are trained on.
    Train,
    /// Problems that settings are chosen on.
    Valid,
    /// Problems that results are reported on.
    Test,
}

impl Split {
    /// The word that stands in the column `split`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

table! {
    /// A programming-contest problem with its tests; by default nothing is known of it.
    #[derive(Default)]
    pub struct Problem in "problems" {
        /// Unique over all sources: `<source>/<name>`.
        pub problem_id: String,
        /// Title as the source gives it.
        pub name: String,
        /// Where it comes from: `codecontests`, `dump`, `contest`, `kattis`, ...
        pub source: String,
        /// `train`, `valid` or `test`.
        pub split: String,
        /// Statement in plain text; empty when the source has none.
        pub description: String,
        /// Codeforces contest, where known.
        pub contest_id: Option<i64>,
        /// Letter of the problem within its contest, where known.
        pub index: Option<String>,
        /// Codeforces rating, where known.
        pub rating: Option<i32>,
        /// Topic tags.
        pub tags: Vec<String>,
        /// CodeContests difficulty code; 0 = unknown.
        pub difficulty: i64,
        /// Time limit of one test in seconds, where known.
        pub time_limit_s: Option<f64>,
        /// Memory limit in bytes, where known.
        pub memory_limit_bytes: Option<i64>,
        /// Tests shown in the statement.
        pub public_tests: Vec<TestCase>,
        /// Hidden tests of the contest.
        pub private_tests: Vec<TestCase>,
        /// Tests made by mutation of inputs (AlphaCode, section 3.2.1).
        pub generated_tests: Vec<TestCase>,
        /// File the program must read instead of standard input.
        pub input_file: Option<String>,
        /// File the program must write instead of standard output.
        pub output_file: Option<String>,
    }
}

table! {
    /// One submission to a problem.
    pub struct Solution in "solutions" {
        /// First 16 hex digits of BLAKE3 over problem, language and source text.
        pub solution_id: String,
        /// Problem it was submitted to; all rows of a problem are adjacent.
        pub problem_id: String,
        /// `cpp`, `python3`, `python2`, `java`, ... (see `language.rs`).
        pub language: String,
        /// Program text.
        pub source: String,
        /// Whether the source of the data calls it correct.
        pub correct: bool,
        /// Where it comes from, as in `problems.source`.
        pub origin: String,
        /// The dump's verdict or the kind of error, where known.
        pub claim: Option<String>,
    }
}

table! {
    /// One example for supervised fine-tuning.
    pub struct Sample in "samples" {
        /// Problem of the example.
        pub problem_id: String,
        /// Solution of the example.
        pub solution_id: String,
        /// Where the solution comes from.
        pub origin: String,
        /// Language of the solution.
        pub language: String,
        /// Text before the answer (see `prompt.rs`).
        pub prompt: String,
        /// Program text; the end-of-sequence token is not part of the text.
        pub completion: String,
        /// Tokens of the prompt, with the beginning-of-sequence token if there is one.
        pub prompt_tokens: u32,
        /// Tokens of the completion, with the end-of-sequence token.
        pub completion_tokens: u32,
    }
}

table! {
    /// A right and a wrong solution of one problem (paper, section 2).
    pub struct Triplet in "triplets" {
        /// Problem of both solutions.
        pub problem_id: String,
        /// Language of both solutions.
        pub language: String,
        /// Text before the answer (see `prompt.rs`).
        pub prompt: String,
        /// Correct program.
        pub chosen: String,
        /// Wrong program.
        pub rejected: String,
        /// `nearest` by edit distance or `random`.
        pub kind: String,
        /// Levenshtein distance of the two programs.
        pub distance: u32,
        /// Distance divided by the length of the longer program.
        pub normalised_distance: f64,
        /// Solution id of the correct program.
        pub chosen_id: String,
        /// Solution id of the wrong program.
        pub rejected_id: String,
    }
}

table! {
    /// A program sampled from a model.
    pub struct Generation in "generations" {
        /// Problem that was asked.
        pub problem_id: String,
        /// Number of the sample within the problem, from 0.
        pub sample: u32,
        /// Language that was asked for.
        pub language: String,
        /// Decoded program text.
        pub text: String,
        /// Sampled token ids.
        pub token_ids: Vec<u32>,
        /// Sum of the log probabilities of the sampled tokens.
        pub log_prob: f64,
        /// `stop` at the end-of-sequence token or `length` at the limit.
        pub finish: String,
    }
}

table! {
    /// What the judge found out about one program.
    pub struct Verdict in "verdicts" {
        /// Problem the program was run on.
        pub problem_id: String,
        /// Sample number or solution id.
        pub program: String,
        /// `AC`, `WA`, `RE`, `TLE`, `MLE`, `OLE`, `CE` or `JE` (the judge itself failed).
        pub verdict: String,
        /// Whether it compiled (for Python: parsed).
        pub compiled: bool,
        /// Whether all public tests passed.
        pub public_passed: bool,
        /// Tests passed.
        pub tests_passed: u32,
        /// Tests run.
        pub tests_run: u32,
        /// Number of the first failed test, over public, private, generated in this order.
        pub failed_test: Option<i32>,
        /// First lines of the compiler's or program's message.
        pub detail: Option<String>,
    }
}
