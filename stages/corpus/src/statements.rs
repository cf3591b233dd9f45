//! What `mix`, `triplets` and `tokenizer` need of the problems: the text to ask, by id.
//!
//! Promises: only training problems are asked; a problem known as test or valid is told apart from
//! an unknown one, so that reports can say why a solution was not used. Held in memory: some 25,000
//! statements of 2 kB in the paper's case.

use std::collections::BTreeMap;

use anyhow::Result;
use engine::BoundInput;

use crate::language::Language;
use crate::prompt::{self, Hints};
use crate::schema::Split;
use crate::table::Table;

crate::table! {
    /// The columns that make a prompt.
    pub struct Statement in "problems" {
        /// Problem.
        pub problem_id: String,
        /// Title.
        pub name: String,
        /// `train`, `valid` or `test`.
        pub split: String,
        /// Statement.
        pub description: String,
        /// Codeforces contest.
        pub contest_id: Option<i64>,
        /// Letter of the problem in its contest.
        pub index: Option<String>,
    }
}

impl Statement {
    /// The prompt for a language.
    pub fn prompt(&self, hints: &Hints, language: Language) -> String {
        prompt::prompt(&self.name, &self.description, hints, language)
    }

    /// What two copies of the problem in different sources have in common, if that is known: the
    /// contest and the letter; otherwise its id.
    pub(crate) fn identity(&self) -> String {
        match (self.contest_id, &self.index) {
            (Some(contest), Some(index)) => format!("{contest}{}", index.to_uppercase()),
            _ => self.problem_id.clone(),
        }
    }
}

/// Statements by problem id.
pub struct Statements(BTreeMap<String, Statement>);

impl Statements {
    /// Reads all problem tables; the first row of an id counts.
    pub fn read(inputs: &[BoundInput]) -> Result<Self> {
        let mut statements = BTreeMap::new();
        for BoundInput { path, label } in inputs {
            for row in Table::<Statement>::open(path, label)?.rows()? {
                let row = row?;
                statements.entry(row.problem_id.clone()).or_insert(row);
            }
        }
        Ok(Self(statements))
    }

    /// The problem, whatever its split.
    pub fn get(&self, problem_id: &str) -> Option<&Statement> {
        self.0.get(problem_id)
    }

    /// The problem if it may be trained on, else why not.
    pub(crate) fn trainable(&self, problem_id: &str) -> Result<&Statement, &'static str> {
        match self.0.get(problem_id) {
            None => Err("problem_not_given"),
            Some(row) if row.split != Split::Train.as_str() => Err("problem_not_in_train"),
            Some(row) => Ok(row),
        }
    }

    /// All problems, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Statement> {
        self.0.values()
    }
}
