//! Stage `dump`: a dump of submissions with metadata becomes `problems` and `solutions`.
//!
//! Reads Parquet files or JSON lines whose columns the recipe names, because every dump names them
//! differently: one row a submission with its verdict, or one row a pair of a right and a wrong
//! program. Statements come from a second file where there is one (`dump/statements.rs`). The
//! paper's second source, Codeforces submissions, comes in this way (section 2).
//!
//! Promises: streamed; solutions are sorted by problem on disk, so that a problem's rows are
//! adjacent whatever the dump's order. Dirty rows are dropped, counted and reported.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `submissions` | `columns` | `problems` | `schema::Problem` |
//! | `problems` (optional) | `problem_columns` | `solutions` | `schema::Solution` |
//! | | | `report` | counts and drops by reason |

mod statements;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use engine::{BoundInput, Ctx, Input, Invalid, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};

use crate::drops::{Drops, write_json};
use crate::ingest::{check_source, non_empty};
use crate::language::Language;
use crate::raw::{self, Cell, NotUtf8, Record, Shape, Wanted};
use crate::schema::{Problem, Solution, Split};
use crate::solution::{id_number, new_solution};
use crate::sort::Sorter;
use crate::table::TableWriter;

pub use statements::ProblemColumns;

/// The stage.
pub struct Dump;

/// Settings of `dump`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Name of the dump: column `source` and first part of every problem id.
    pub source: String,
    /// Split of its problems.
    pub split: Split,
    /// Names of the columns of the submissions.
    pub columns: Columns,
    /// Names of the columns of the problems file.
    pub problem_columns: ProblemColumns,
    /// Language of all programs, for dumps without such a column.
    pub language: Option<Language>,
    /// Verdicts that mean "correct", in any case.
    pub accepted: Vec<String>,
    /// Verdicts that say nothing about the program, in any case: such rows are dropped.
    pub undecided: Vec<String>,
    /// Drop problems without a statement, and their submissions.
    pub require_statement: bool,
}

/// Which column of a dump holds what. Either `source` and `verdict` or the pair is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Problem; if there is none, contest and index together name it.
    pub problem: Option<String>,
    /// Contest.
    pub contest: Option<String>,
    /// Letter of the problem in its contest.
    pub index: Option<String>,
    /// Language or compiler.
    pub language: Option<String>,
    /// Program text.
    pub source: Option<String>,
    /// Verdict: text, or a column of true and false.
    pub verdict: Option<String>,
    /// Pair form: right program.
    pub correct: Option<String>,
    /// Pair form: wrong program.
    pub incorrect: Option<String>,
}

impl Default for What {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            source: "dump".to_owned(),
            split: Split::Train,
            columns: Columns::default(),
            problem_columns: ProblemColumns::default(),
            language: None,
            accepted: words(&["OK", "AC", "ACCEPTED"]),
            undecided: words(&[
                "SKIPPED",
                "TESTING",
                "CRASHED",
                "INPUT_PREPARATION_CRASHED",
                "SECURITY_VIOLATED",
                "FAILED",
            ]),
            require_statement: true,
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

impl Stage for Dump {
    const NAME: &'static str = "dump";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "Reads a dump of submissions with metadata into problems and solutions.";
    const INPUTS: &'static [Input] = &[
        Input::any("submissions").many(),
        Input::any("problems").optional(),
    ];
    const OUTPUTS: &'static [Output] = &[
        Output::table("problems"),
        Output::table("solutions"),
        Output::json("report"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/dump.rs",
        "corpus/src/dump",
        "corpus/src/raw.rs",
        "corpus/src/raw",
        "corpus/src/solution.rs",
        "corpus/src/sort.rs",
        "corpus/src/language.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    const SEEDED: bool = false;
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        check_source(&what.source)?;
        let columns = &what.columns;
        Invalid::unless(
            columns.problem.is_some() || columns.contest.is_some() && columns.index.is_some(),
            "columns",
            "must name `problem`, or `contest` and `index`: otherwise no submission has a problem",
        )?;
        let single = columns.source.is_some() && columns.verdict.is_some();
        let pair = columns.correct.is_some() && columns.incorrect.is_some();
        let one = columns.source.is_some() || columns.verdict.is_some();
        let either = columns.correct.is_some() || columns.incorrect.is_some();
        Invalid::unless(
            single && !either || pair && !one,
            "columns",
            "must name either `source` and `verdict` (one submission a row) or `correct` and \
             `incorrect` (a pair a row)",
        )?;
        Invalid::unless(
            columns.language.is_some() != what.language.is_some(),
            "language",
            "either `columns.language` names the column, or `language` is that of all programs",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let mut report = Report::default();
        let statements = match ctx.inputs("problems").first() {
            Some(input) => Some(statements::read(input, what, &mut report.dropped)?),
            None => None,
        };
        ensure!(
            statements.is_some() || !what.require_statement,
            "this dump has no statements: bind the input `problems` to a file of them, or set \
             `require_statement = false` to ask problems by their names"
        );
        let mut reading = Reading {
            what,
            statements,
            found: BTreeMap::new(),
            seen: BTreeSet::new(),
            solutions: Sorter::new(ctx.scratch(), |row: &Solution| row.problem_id.clone()),
            report,
        };
        let progress = ctx.progress("dump", "submissions", None);
        for BoundInput { path, label } in ctx.inputs("submissions") {
            for record in raw::records(&path, &label, &what.columns.wanted())? {
                ctx.check_cancelled()?;
                reading.record(record?)?;
                progress.inc(1);
            }
        }
        let Reading {
            statements,
            found,
            solutions,
            mut report,
            ..
        } = reading;
        let mut problems = TableWriter::create(&ctx.output("problems"))?;
        for problem in statements.unwrap_or(found).into_values() {
            problems.push(problem)?;
        }
        report.problems = problems.finish()?;
        let mut sorted = TableWriter::create(&ctx.output("solutions"))?;
        solutions.finish(|row| sorted.push(row))?;
        sorted.finish()?;
        ctx.metric("problems", report.problems as f64);
        ctx.metric("correct_solutions", report.correct_solutions as f64);
        ctx.metric("wrong_solutions", report.wrong_solutions as f64);
        report.dropped.report(ctx);
        write_json(&ctx.output("report"), &report)
    }
}

impl Columns {
    /// The columns to read, in the order in which `Reading::record` takes them.
    fn wanted(&self) -> Vec<Wanted> {
        [
            &self.problem,
            &self.contest,
            &self.index,
            &self.language,
            &self.source,
            &self.verdict,
            &self.correct,
            &self.incorrect,
        ]
        .map(|name| Wanted::new(name.as_deref(), Shape::Text))
        .to_vec()
    }
}

struct Reading<'a, F: Fn(&Solution) -> String> {
    what: &'a What,
    /// Problems of the problems file, by id.
    statements: Option<BTreeMap<String, Problem>>,
    /// Without such a file: problems that submissions name.
    found: BTreeMap<String, Problem>,
    seen: BTreeSet<u64>,
    solutions: Sorter<Solution, String, F>,
    report: Report,
}

impl<F: Fn(&Solution) -> String> Reading<'_, F> {
    fn record(&mut self, record: Record) -> Result<()> {
        self.report.rows += 1;
        let place = format!("row {}", record.row);
        let mut drop = |reason| self.report.dropped.add(reason, || place.clone());
        let cells: [Cell; 8] = record
            .cells
            .try_into()
            .expect("as many cells as columns wanted");
        let [
            problem,
            contest,
            index,
            language,
            source,
            verdict,
            correct,
            incorrect,
        ] = cells;
        let texts = [problem, contest, index, language, verdict].map(Cell::text);
        if texts.contains(&Err(NotUtf8)) {
            drop("not_utf8");
            return Ok(());
        }
        let [problem, contest, index, language, verdict] =
            texts.map(|text| non_empty(text.unwrap_or_default()));
        let Some(name) = name(problem, contest.as_deref(), index.as_deref()) else {
            drop("no_problem");
            return Ok(());
        };
        let problem_id = format!("{}/{name}", self.what.source);
        if let Some(statements) = &self.statements
            && !statements.contains_key(&problem_id)
        {
            drop("unknown_problem");
            return Ok(());
        }
        let language = match (self.what.language, &language) {
            (Some(language), _) => Some(language),
            (None, Some(text)) => Language::from_compiler(text),
            (None, None) => None,
        };
        let Some(language) = language else {
            drop("unknown_language");
            return Ok(());
        };
        let submissions = if self.what.columns.correct.is_some() {
            vec![(correct, true, None), (incorrect, false, None)]
        } else {
            let Some(verdict) = verdict else {
                drop("no_verdict");
                return Ok(());
            };
            let among = |words: &[String]| words.iter().any(|w| w.eq_ignore_ascii_case(&verdict));
            if among(&self.what.undecided) {
                drop("undecided");
                return Ok(());
            }
            let accepted = among(&self.what.accepted) || verdict == "true";
            vec![(source, accepted, Some(verdict))]
        };
        for (source, correct, claim) in submissions {
            let source = match source.text() {
                Ok(Some(source)) if !source.trim().is_empty() => source,
                Ok(_) => {
                    drop("empty_solution");
                    continue;
                }
                Err(NotUtf8) => {
                    drop("not_utf8_solution");
                    continue;
                }
            };
            let mut solution =
                new_solution(&problem_id, language, source, correct, &self.what.source);
            if !self.seen.insert(id_number(&solution.solution_id)) {
                drop("duplicate_solution");
                continue;
            }
            solution.claim = claim;
            if correct {
                self.report.correct_solutions += 1;
            } else {
                self.report.wrong_solutions += 1;
            }
            self.solutions.push(solution)?;
        }
        if self.statements.is_none() {
            self.found.entry(problem_id.clone()).or_insert_with(|| {
                let mut problem = statements::without_statement(problem_id, name, self.what);
                problem.contest_id = contest.and_then(|contest| contest.trim().parse().ok());
                problem.index = index;
                problem
            });
        }
        Ok(())
    }
}

/// What the dump calls a problem: its own id, or contest and index together.
fn name(problem: Option<String>, contest: Option<&str>, index: Option<&str>) -> Option<String> {
    problem.or_else(|| Some(format!("{}{}", contest?.trim(), index?.trim())))
}
