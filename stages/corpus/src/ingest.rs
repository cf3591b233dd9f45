//! Stage `ingest`: CodeContests' Parquet files become `problems` and `solutions`.
//!
//! Reads files with the columns of the Hugging Face dataset `deepmind/code_contests` (nested
//! tests and solutions, integer codes for languages, limits in seconds and nanoseconds). Called
//! once per collection; what it writes is read by `decontaminate`, `mix`, `triplets` and the judge.
//!
//! Promises: streamed, one batch of rows in memory; order of files and rows kept, a problem's
//! solutions adjacent. Dirty rows are dropped, counted and reported (`dropped.<reason>`); what is
//! wrong with a whole file is one error. Absent on purpose: any judgement whether a "correct"
//! solution is correct (stage `verify` runs it).
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `files`, `valid`, `test` | CodeContests | `problems` | `schema::Problem` |
//! | | | `solutions` | `schema::Solution` |
//! | | | `report` | counts and drops by reason |

use std::collections::BTreeSet;

use anyhow::Result;
use engine::{BoundInput, Ctx, Input, Invalid, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::language::Language;
use crate::raw::{self, Cell, NotUtf8, Record, Shape, Wanted};
use crate::schema::{Problem, Solution, Split, TestCase};
use crate::solution::new_solution;
use crate::table::TableWriter;

/// The stage.
pub struct Ingest;

/// Settings of `ingest`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Name of the collection: column `source` and first part of every problem id.
    pub source: String,
    /// Split of the problems in `files`; those of `valid` and `test` are known.
    pub split: Split,
    /// Drop problems without any test. Off for statements that are only to be excluded.
    pub require_tests: bool,
}

impl Default for What {
    fn default() -> Self {
        Self {
            source: "codecontests".to_owned(),
            split: Split::Train,
            require_tests: true,
        }
    }
}

#[derive(Default, Serialize)]
struct Report {
    rows: u64,
    problems: u64,
    correct_solutions: u64,
    wrong_solutions: u64,
    dropped: Drops,
}

impl Stage for Ingest {
    const NAME: &'static str = "ingest";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Reads CodeContests' Parquet files into problems and solutions.";
    const INPUTS: &'static [Input] = &[
        Input::any("files").many(),
        Input::any("valid").optional(),
        Input::any("test").optional(),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::table("problems"),
        Output::table("solutions"),
        Output::json("report"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/ingest.rs",
        "corpus/src/raw.rs",
        "corpus/src/raw",
        "corpus/src/solution.rs",
        "corpus/src/language.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        check_source(&what.source)
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let mut ingest = Writing {
            what,
            problems: TableWriter::create(&ctx.output("problems"))?,
            solutions: TableWriter::create(&ctx.output("solutions"))?,
            report: Report::default(),
            seen: BTreeSet::new(),
        };
        let progress = ctx.progress("ingest", "problems", None);
        let ports = [
            ("files", what.split),
            ("valid", Split::Valid),
            ("test", Split::Test),
        ];
        for (port, split) in ports {
            for BoundInput { path, label } in ctx.inputs(port) {
                for record in raw::records(&path, &label, &wanted())? {
                    ctx.check_cancelled()?;
                    ingest.record(record?, split)?;
                    progress.inc(1);
                }
            }
        }
        let Writing {
            problems,
            solutions,
            report,
            ..
        } = ingest;
        problems.finish()?;
        solutions.finish()?;
        ctx.metric("problems", report.problems as f64);
        ctx.metric("correct_solutions", report.correct_solutions as f64);
        ctx.metric("wrong_solutions", report.wrong_solutions as f64);
        report.dropped.report(ctx);
        write_json(&ctx.output("report"), &report)
    }
}

/// The name of a collection becomes part of ids, so it must not look like a path.
pub(crate) fn check_source(source: &str) -> Result<(), Invalid> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    Invalid::unless(
        !source.is_empty() && source.chars().all(fine),
        "source",
        "must be a word of letters, digits, `-` and `_`: it is the first part of every problem id",
    )
}

/// CodeContests' columns, in the order in which `problem` takes them.
fn wanted() -> Vec<Wanted> {
    let tests = Shape::Struct(vec![
        ("input", Shape::list(Shape::Text)),
        ("output", Shape::list(Shape::Text)),
    ]);
    let solutions = Shape::Struct(vec![
        ("language", Shape::list(Shape::Integer)),
        ("solution", Shape::list(Shape::Text)),
    ]);
    let duration = Shape::Struct(vec![("seconds", Shape::Integer), ("nanos", Shape::Integer)]);
    [
        ("name", Shape::Text),
        ("description", Shape::Text),
        ("public_tests", tests.clone()),
        ("private_tests", tests.clone()),
        ("generated_tests", tests),
        ("difficulty", Shape::Integer),
        ("solutions", solutions.clone()),
        ("incorrect_solutions", solutions),
        ("cf_contest_id", Shape::Integer),
        ("cf_index", Shape::Text),
        ("cf_rating", Shape::Integer),
        ("cf_tags", Shape::list(Shape::Text)),
        ("time_limit", duration),
        ("memory_limit_bytes", Shape::Integer),
        ("input_file", Shape::Text),
        ("output_file", Shape::Text),
    ]
    .map(|(column, shape)| Wanted::new(Some(column), shape))
    .to_vec()
}

/// Why a problem is dropped.
struct Reason(&'static str);

impl From<NotUtf8> for Reason {
    fn from(_: NotUtf8) -> Self {
        Self("not_utf8")
    }
}

/// A problem and its submissions, right ones and wrong ones.
type Row = (Problem, [Vec<(i64, Cell)>; 2]);

struct Writing<'a> {
    what: &'a What,
    problems: TableWriter<Problem>,
    solutions: TableWriter<Solution>,
    report: Report,
    seen: BTreeSet<String>,
}

impl Writing<'_> {
    fn record(&mut self, record: Record, split: Split) -> Result<()> {
        let place = format!("row {}, {split}", record.row);
        self.report.rows += 1;
        let dropped = &mut self.report.dropped;
        let (problem, submissions) = match row(record, self.what, split) {
            Ok(row) => row,
            Err(Reason(reason)) => {
                dropped.add(reason, || place);
                return Ok(());
            }
        };
        if !self.seen.insert(problem.problem_id.clone()) {
            dropped.add("duplicate_problem", || problem.problem_id);
            return Ok(());
        }
        let mut ids = BTreeSet::new();
        for (submissions, correct) in submissions.into_iter().zip([true, false]) {
            for (number, (code, source)) in submissions.into_iter().enumerate() {
                let which = if correct {
                    "solution"
                } else {
                    "incorrect solution"
                };
                let place = || format!("{}, {which} {number}", problem.problem_id);
                let Some(language) = Language::from_code(code) else {
                    dropped.add("unknown_language", place);
                    continue;
                };
                let source = match source.text() {
                    Ok(Some(source)) if !source.trim().is_empty() => source,
                    Ok(_) => {
                        dropped.add("empty_solution", place);
                        continue;
                    }
                    Err(NotUtf8) => {
                        dropped.add("not_utf8_solution", place);
                        continue;
                    }
                };
                let solution = new_solution(
                    &problem.problem_id,
                    language,
                    source,
                    correct,
                    &self.what.source,
                );
                if !ids.insert(solution.solution_id.clone()) {
                    dropped.add("duplicate_solution", place);
                    continue;
                }
                let counted = if correct {
                    &mut self.report.correct_solutions
                } else {
                    &mut self.report.wrong_solutions
                };
                *counted += 1;
                self.solutions.push(solution)?;
            }
        }
        self.report.problems += 1;
        self.problems.push(problem)
    }
}

fn row(record: Record, what: &What, split: Split) -> Result<Row, Reason> {
    let cells: [Cell; 16] = record
        .cells
        .try_into()
        .expect("as many cells as columns wanted");
    let [
        name,
        description,
        public,
        private,
        generated,
        difficulty,
        solutions,
        incorrect,
        contest_id,
        index,
        rating,
        tags,
        time_limit,
        memory_limit,
        input_file,
        output_file,
    ] = cells;
    let name = non_empty(name.text()?).ok_or(Reason("no_name"))?;
    let problem = Problem {
        problem_id: format!("{}/{name}", what.source),
        name,
        source: what.source.clone(),
        split: split.to_string(),
        description: non_empty(description.text()?).ok_or(Reason("no_statement"))?,
        // 0 and "" stand for "unknown" in this collection.
        contest_id: contest_id.integer().filter(|&id| id != 0),
        index: non_empty(index.text()?),
        rating: rating
            .integer()
            .filter(|&rating| rating != 0)
            .map(|rating| rating as i32),
        tags: tags
            .texts()?
            .into_iter()
            .filter(|tag| !tag.is_empty())
            .collect(),
        difficulty: difficulty.integer().unwrap_or(0),
        time_limit_s: time_limit.fields().and_then(seconds),
        memory_limit_bytes: memory_limit.integer().filter(|&bytes| bytes > 0),
        public_tests: tests(public)?,
        private_tests: tests(private)?,
        generated_tests: tests(generated)?,
        input_file: non_empty(input_file.text()?),
        output_file: non_empty(output_file.text()?),
    };
    let counts = [
        &problem.public_tests,
        &problem.private_tests,
        &problem.generated_tests,
    ];
    if what.require_tests && counts.iter().all(|tests| tests.is_empty()) {
        return Err(Reason("no_tests"));
    }
    Ok((problem, [submissions(solutions)?, submissions(incorrect)?]))
}

pub(crate) fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn seconds([seconds, nanos]: [Cell; 2]) -> Option<f64> {
    let limit = seconds.integer()? as f64 + nanos.integer().unwrap_or(0) as f64 * 1e-9;
    (limit > 0.0).then_some(limit)
}

fn tests(cell: Cell) -> Result<Vec<TestCase>, Reason> {
    let Some([inputs, outputs]) = cell.fields() else {
        return Ok(Vec::new());
    };
    let (inputs, outputs) = (inputs.texts()?, outputs.texts()?);
    if inputs.len() != outputs.len() {
        return Err(Reason("uneven_tests"));
    }
    let pairs = inputs.into_iter().zip(outputs);
    Ok(pairs
        .map(|(input, output)| TestCase { input, output })
        .collect())
}

fn submissions(cell: Cell) -> Result<Vec<(i64, Cell)>, Reason> {
    let Some([languages, sources]) = cell.fields() else {
        return Ok(Vec::new());
    };
    let (languages, sources) = (languages.list(), sources.list());
    if languages.len() != sources.len() {
        return Err(Reason("uneven_solutions"));
    }
    // A null code is an unknown language.
    let codes = languages.iter().map(|code| code.integer().unwrap_or(0));
    Ok(codes.zip(sources).collect())
}
