//! Runs small recipes in a store of their own, for the tests of this folder.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{
    ArrayRef, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields};
use corpus::schema::{Problem, Solution};
use corpus::table::Row;
use engine::event::Silent;
use engine::run::{Options, Summary};
use engine::{Recipe, Registry, define};
use store::Store;

pub(crate) struct Scene {
    pub directory: tempfile::TempDir,
    pub store: Store,
}

pub(crate) fn sample(split: &str) -> String {
    format!(
        "file:{}/../../data/sample/{split}.parquet",
        env!("CARGO_MANIFEST_DIR")
    )
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `file:` and the path, as it stands in a recipe.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("file:{}", self.path(name).display())
    }

    pub(crate) fn run(&self, recipe: &str) -> Result<Done<'_>, String> {
        let registry = Registry::new(
            vec![
                define::<corpus::ingest::Ingest>(),
                define::<corpus::dump::Dump>(),
                define::<corpus::decontaminate::Decontaminate>(),
                define::<corpus::split::Split>(),
                define::<corpus::tokenizer::Tokenizer>(),
                define::<corpus::mix::Mix>(),
                define::<corpus::triplets::Triplets>(),
            ],
            &[],
        );
        let path = self.path("recipe.toml");
        fs_err::write(&path, recipe).unwrap();
        let recipe = engine::recipe::load(path.to_str().unwrap(), &[], &registry, &[])
            .map_err(|error| chain(&error))?;
        self.run_recipe(&recipe, &registry)
    }

    fn run_recipe(&self, recipe: &Recipe, registry: &Registry) -> Result<Done<'_>, String> {
        let options = Options {
            force: BTreeSet::new(),
            strict: false,
            keep_going: false,
            follows: false,
            sink: &Silent,
            cancel: &AtomicBool::new(false),
            program: "test".to_owned(),
        };
        let summary = engine::run::run(recipe, &[], &self.store, registry, &options)
            .map_err(|error| chain(&error))?;
        Ok(Done {
            scene: self,
            summary,
        })
    }
}

/// All causes of an error in one text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

pub(crate) struct Done<'a> {
    scene: &'a Scene,
    pub summary: Summary,
}

impl Done<'_> {
    /// Path of an output.
    pub(crate) fn path(&self, node: &str, output: &str) -> PathBuf {
        let address = self.summary.traces[node].outputs[output].address;
        self.scene.store.checkout(address).unwrap()
    }

    pub(crate) fn rows<R: Row>(&self, node: &str, output: &str) -> Vec<R> {
        corpus::table::read(&self.path(node, output), "an output").unwrap()
    }

    pub(crate) fn metric(&self, node: &str, name: &str) -> f64 {
        *self.summary.traces[node]
            .metrics
            .get(name)
            .unwrap_or_else(|| {
                panic!(
                    "{node} has no metric {name}: {:?}",
                    self.summary.traces[node].metrics
                )
            })
    }

    /// A metric that is a whole number.
    pub(crate) fn count(&self, node: &str, name: &str) -> u64 {
        self.metric(node, name) as u64
    }
}

/// Language code and program.
type Submission = (i64, Option<&'static str>);

/// A row in CodeContests' columns, as far as tests vary it.
#[derive(Clone)]
pub(crate) struct Raw {
    pub name: Option<&'static str>,
    pub description: &'static str,
    pub tests: Vec<(&'static str, &'static str)>,
    pub solutions: Vec<Submission>,
    pub incorrect: Vec<Submission>,
    pub contest_id: i64,
    pub time_limit: Option<(i64, i64)>,
}

impl Raw {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name: Some(name),
            description: "Add two numbers that are given to you on one line of the input.",
            tests: vec![("1 2", "3")],
            solutions: vec![(3, Some("print(3)"))],
            incorrect: vec![(3, Some("print(4)"))],
            contest_id: 0,
            time_limit: Some((2, 500_000_000)),
        }
    }
}

fn list(of: ArrayRef, lengths: impl Iterator<Item = usize>) -> ArrayRef {
    let field = Arc::new(Field::new("element", of.data_type().clone(), true));
    Arc::new(ListArray::new(
        field,
        OffsetBuffer::from_lengths(lengths),
        of,
        None,
    ))
}

fn group(fields: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> ArrayRef {
    let types: Fields = fields
        .iter()
        .map(|(name, a)| Field::new(*name, a.data_type().clone(), true))
        .collect();
    let arrays = fields.into_iter().map(|(_, array)| array).collect();
    Arc::new(StructArray::new(types, arrays, nulls))
}

/// The rows as a batch with all of CodeContests' columns.
pub(crate) fn code_contests(rows: &[Raw]) -> RecordBatch {
    let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let numbers = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value; rows.len()])) };
    let tests = |used: bool| {
        let all = || {
            rows.iter()
                .flat_map(|row| row.tests.iter().filter(|_| used))
        };
        let lengths = || {
            rows.iter()
                .map(|row| if used { row.tests.len() } else { 0 })
        };
        let side = |f: fn(&(&'static str, &'static str)) -> &'static str| {
            list(texts(all().map(|test| Some(f(test))).collect()), lengths())
        };
        group(
            vec![("input", side(|t| t.0)), ("output", side(|t| t.1))],
            None,
        )
    };
    let solutions = |of: fn(&Raw) -> &Vec<Submission>| {
        let lengths = || rows.iter().map(|row| of(row).len());
        let codes: Vec<i64> = rows
            .iter()
            .flat_map(|row| of(row).iter().map(|s| s.0))
            .collect();
        let sources = rows
            .iter()
            .flat_map(|row| of(row).iter().map(|s| s.1))
            .collect();
        let codes = list(Arc::new(Int64Array::from(codes)), lengths());
        group(
            vec![
                ("language", codes),
                ("solution", list(texts(sources), lengths())),
            ],
            None,
        )
    };
    let limits = |f: fn((i64, i64)) -> i64| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| row.time_limit.map(f))
                .collect::<Int64Array>(),
        )
    };
    let known = rows
        .iter()
        .map(|row| row.time_limit.is_some())
        .collect::<NullBuffer>();
    let no_texts = || texts(vec![Some(""); rows.len()]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", texts(rows.iter().map(|row| row.name).collect())),
        (
            "description",
            texts(rows.iter().map(|row| Some(row.description)).collect()),
        ),
        ("public_tests", tests(true)),
        ("private_tests", tests(false)),
        ("generated_tests", tests(false)),
        ("source", numbers(2)),
        ("difficulty", numbers(7)),
        ("solutions", solutions(|row| &row.solutions)),
        ("incorrect_solutions", solutions(|row| &row.incorrect)),
        (
            "cf_contest_id",
            Arc::new(
                rows.iter()
                    .map(|row| Some(row.contest_id))
                    .collect::<Int64Array>(),
            ),
        ),
        ("cf_index", texts(vec![Some("A"); rows.len()])),
        (
            "cf_points",
            Arc::new(Float32Array::from(vec![0.0; rows.len()])),
        ),
        (
            "cf_rating",
            Arc::new(Int32Array::from(vec![800; rows.len()])),
        ),
        (
            "cf_tags",
            list(
                texts(vec![Some("math"); rows.len()]),
                std::iter::repeat_n(1, rows.len()),
            ),
        ),
        ("untranslated_description", no_texts()),
        (
            "time_limit",
            group(
                vec![("seconds", limits(|l| l.0)), ("nanos", limits(|l| l.1))],
                Some(known),
            ),
        ),
        ("memory_limit_bytes", numbers(256_000_000)),
        ("input_file", no_texts()),
        ("output_file", no_texts()),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// Writes a batch the way any writer of Parquet files does.
pub(crate) fn write_batch(path: &Path, batch: &RecordBatch) {
    let file = fs_err::File::create(path).unwrap().into_file();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// The same batch with one column replaced, or taken away.
pub(crate) fn with_column(
    batch: &RecordBatch,
    name: &str,
    column: Option<ArrayRef>,
) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter_map(|(field, array)| match &column {
            _ if field.name() != name => Some((field.name().clone(), Arc::clone(array), true)),
            Some(column) => Some((name.to_owned(), Arc::clone(column), true)),
            None => None,
        });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A problem of our own tables.
pub(crate) fn problem(id: &str, split: &str, description: &str) -> Problem {
    Problem {
        problem_id: id.to_owned(),
        name: id.to_owned(),
        source: "test".to_owned(),
        split: split.to_owned(),
        description: description.to_owned(),
        ..Problem::default()
    }
}

pub(crate) fn solution(problem: &str, source: &str, correct: bool, origin: &str) -> Solution {
    corpus::solution::new_solution(
        problem,
        corpus::language::Language::Python3,
        source.to_owned(),
        correct,
        origin,
    )
}

/// Writes tables of `problems` training problems with `correct` and `wrong` programs each.
pub(crate) fn write_tables(
    scene: &Scene,
    name: &str,
    problems: usize,
    correct: usize,
    wrong: usize,
) {
    let id = |p: usize| format!("{name}/{p}");
    let statements = (0..problems).map(|p| {
        problem(
            &id(p),
            "train",
            &format!("{name}: print the number {p} and {} more.", p * p),
        )
    });
    corpus::table::write(&scene.path(&format!("{name}.problems")), statements).unwrap();
    let programs = (0..problems).flat_map(|p| {
        let right = (0..correct)
            .map(move |i| solution(&id(p), &format!("x = {i}\nprint({p}, x)\n"), true, name));
        let wrong = (0..wrong)
            .map(move |i| solution(&id(p), &format!("x = {}\nprint(x)\n", i * 37), false, name));
        right.chain(wrong)
    });
    corpus::table::write(&scene.path(&format!("{name}.solutions")), programs).unwrap();
}

/// `problems = [..], solutions = [..]` of the tables of these names.
pub(crate) fn tables(scene: &Scene, names: &[&str]) -> String {
    let list = |kind: &str| {
        let files: Vec<_> = names
            .iter()
            .map(|name| format!("\"{}\"", scene.file(&format!("{name}.{kind}"))))
            .collect();
        files.join(", ")
    };
    format!(
        "problems = [{}], solutions = [{}]",
        list("problems"),
        list("solutions")
    )
}
