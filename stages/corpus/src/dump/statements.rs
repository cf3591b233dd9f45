//! The problems file of a dump: statements, samples and limits under names of the recipe's choice.
//!
//! Called by `dump` before it reads submissions. The parts of a statement that Codeforces keeps
//! apart (story, input, output, examples, note) are put together the way CodeContests'
//! descriptions are, so that both sources look alike to a model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use engine::BoundInput;
use serde::{Deserialize, Serialize};

use super::{What, name};
use crate::drops::Drops;
use crate::ingest::non_empty;
use crate::raw::{self, Cell, NotUtf8, Shape, Wanted};
use crate::schema::{Problem, TestCase};

/// Which column of the problems file holds what; all but the id are optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProblemColumns {
    /// Problem, as the submissions name it; if there is none, contest and index together.
    pub problem: Option<String>,
    /// Contest.
    pub contest: Option<String>,
    /// Letter of the problem in its contest.
    pub index: Option<String>,
    /// Title.
    pub name: Option<String>,
    /// Statement, or its story if the parts below are apart.
    pub description: Option<String>,
    /// Part "Input" of the statement.
    pub input_format: Option<String>,
    /// Part "Output" of the statement.
    pub output_format: Option<String>,
    /// Part "Note" of the statement.
    pub note: Option<String>,
    /// Public tests: list of structs of `input` and `output`.
    pub examples: Option<String>,
    /// Hidden tests: list of structs of `input` and `output`.
    pub tests: Option<String>,
    /// Rating.
    pub rating: Option<String>,
    /// List of topic tags.
    pub tags: Option<String>,
    /// Time limit in seconds.
    pub time_limit_s: Option<String>,
    /// Memory limit in MiB.
    pub memory_limit_mib: Option<String>,
}

impl ProblemColumns {
    fn wanted(&self) -> Vec<Wanted> {
        let tests = Shape::list(Shape::Struct(vec![
            ("input", Shape::Text),
            ("output", Shape::Text),
        ]));
        [
            (&self.problem, Shape::Text),
            (&self.contest, Shape::Text),
            (&self.index, Shape::Text),
            (&self.name, Shape::Text),
            (&self.description, Shape::Text),
            (&self.input_format, Shape::Text),
            (&self.output_format, Shape::Text),
            (&self.note, Shape::Text),
            (&self.examples, tests.clone()),
            (&self.tests, tests),
            (&self.rating, Shape::Integer),
            (&self.tags, Shape::list(Shape::Text)),
            (&self.time_limit_s, Shape::Real),
            (&self.memory_limit_mib, Shape::Real),
        ]
        .map(|(name, shape)| Wanted::new(name.as_deref(), shape))
        .to_vec()
    }
}

/// Reads all problems, by id.
pub(super) fn read(
    input: &BoundInput,
    what: &What,
    dropped: &mut Drops,
) -> Result<BTreeMap<String, Problem>> {
    let mut problems = BTreeMap::new();
    let wanted = what.problem_columns.wanted();
    for record in raw::records(&input.path, &input.label, &wanted)? {
        let record = record?;
        let place = || format!("problems file, row {}", record.row);
        match problem(record.cells, what) {
            Ok(None) => dropped.add("problem_without_id", place),
            Ok(Some(problem)) if what.require_statement && problem.description.is_empty() => {
                dropped.add("no_statement", place);
            }
            Ok(Some(problem)) if problems.contains_key(&problem.problem_id) => {
                dropped.add("duplicate_problem", place);
            }
            Ok(Some(problem)) => {
                problems.insert(problem.problem_id.clone(), problem);
            }
            Err(NotUtf8) => dropped.add("not_utf8_problem", place),
        }
    }
    Ok(problems)
}

/// A problem of which nothing but the name is known.
pub(super) fn without_statement(problem_id: String, name: String, what: &What) -> Problem {
    Problem {
        problem_id,
        name,
        source: what.source.clone(),
        split: what.split.to_string(),
        ..Problem::default()
    }
}

fn problem(cells: Vec<Cell>, what: &What) -> Result<Option<Problem>, NotUtf8> {
    let cells: [Cell; 14] = cells.try_into().expect("as many cells as columns wanted");
    let [
        id,
        contest,
        index,
        title,
        description,
        input,
        output,
        note,
        examples,
        hidden,
        rating,
        tags,
        time_limit,
        memory_limit,
    ] = cells;
    let (contest, index) = (non_empty(contest.text()?), non_empty(index.text()?));
    let Some(name) = name(non_empty(id.text()?), contest.as_deref(), index.as_deref()) else {
        return Ok(None);
    };
    let id = format!("{}/{name}", what.source);
    let title = non_empty(title.text()?).unwrap_or(name);
    let examples = tests(examples)?;
    let mut statement = description.text()?.unwrap_or_default().trim().to_owned();
    let mut part = |heading: &str, text: Option<String>| {
        if let Some(text) = non_empty(text) {
            // Writing to a String cannot fail.
            let _ = write!(statement, "\n\n{heading}\n\n{}", text.trim());
        }
    };
    part("Input", input.text()?);
    part("Output", output.text()?);
    part("Examples", examples_text(&examples));
    part("Note", note.text()?);
    Ok(Some(Problem {
        description: statement.trim().to_owned(),
        contest_id: contest.and_then(|contest| contest.trim().parse().ok()),
        index,
        rating: rating
            .integer()
            .filter(|&rating| rating != 0)
            .map(|rating| rating as i32),
        tags: tags.texts()?,
        time_limit_s: time_limit.real().filter(|&limit| limit > 0.0),
        memory_limit_bytes: memory_limit
            .real()
            .filter(|&limit| limit > 0.0)
            .map(|mib| (mib * f64::from(1 << 20)) as i64),
        public_tests: examples,
        private_tests: tests(hidden)?,
        ..without_statement(id, title, what)
    }))
}

fn examples_text(examples: &[TestCase]) -> Option<String> {
    let texts: Vec<String> = examples
        .iter()
        .map(|TestCase { input, output }| {
            format!(
                "Input\n\n{}\n\nOutput\n\n{}",
                input.trim_end(),
                output.trim_end()
            )
        })
        .collect();
    non_empty(Some(texts.join("\n\n")))
}

fn tests(cell: Cell) -> Result<Vec<TestCase>, NotUtf8> {
    let fields = cell.list().into_iter().filter_map(Cell::fields);
    fields
        .map(|[input, output]| {
            let input = input.text()?.unwrap_or_default();
            Ok(TestCase {
                input,
                output: output.text()?.unwrap_or_default(),
            })
        })
        .collect()
}
