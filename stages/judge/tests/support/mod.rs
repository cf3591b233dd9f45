//! Small tables and a way to run recipes over them, for the stages' tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use corpus::{
    schema::{Generation, Problem, Solution, TestCase},
    table::{self, Row, Table},
};
use engine::{
    Error, Registry, define,
    event::{Event, Sink},
    run::{Options, Summary, run},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use store::Store;

/// A folder with tables and a store.
pub struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

/// Remembers what was said, and stops the run after some progress.
struct Listener<'a> {
    said: Mutex<Vec<String>>,
    stop_after: Option<u64>,
    cancel: &'a AtomicBool,
}

impl Sink for Listener<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Info { text, .. } | Event::Warning { text, .. } => {
                self.said.lock().unwrap().push(text);
            }
            Event::Progress { done, .. } if self.stop_after.is_some_and(|after| done >= after) => {
                self.cancel.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("artifacts")).unwrap();
        Self { folder, store }
    }

    /// Writes an input table; returns how a recipe names it.
    pub fn table<R: Row>(&self, name: &str, rows: Vec<R>) -> String {
        let path = self.folder.path().join(format!("{name}.parquet"));
        table::write(&path, rows).unwrap();
        format!("file:{}", path.display())
    }

    /// Writes an input of text; returns how a recipe names it.
    pub fn text(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        format!("file:{}", path.display())
    }

    pub fn run(&self, recipe: &str) -> Result<Summary, Error> {
        self.run_until(recipe, None)
    }

    /// Runs a recipe; it is interrupted once so much is seen to be done.
    pub fn run_until(&self, recipe: &str, stop_after: Option<u64>) -> Result<Summary, Error> {
        let path = self.folder.path().join("recipe.toml");
        fs_err::write(&path, recipe).unwrap();
        let registry = Registry::new(
            vec![
                define::<judge::judge::Judge>(),
                define::<judge::verify::Verify>(),
                define::<judge::attempts::Attempts>(),
                define::<judge::report::Report>(),
                define::<Grading>(),
            ],
            &[],
        );
        let recipe = engine::recipe::load(path.to_str().unwrap(), &[], &registry, &[])?;
        let cancel = AtomicBool::new(false);
        let listener = Listener {
            said: Mutex::default(),
            stop_after,
            cancel: &cancel,
        };
        let options = Options {
            force: BTreeSet::new(),
            strict: false,
            keep_going: false,
            follows: false,
            sink: &listener,
            cancel: &cancel,
            program: "test".into(),
        };
        run(&recipe, &[], &self.store, &registry, &options)
    }

    /// Where an output of a finished run lies.
    pub fn output(&self, summary: &Summary, node: &str, output: &str) -> PathBuf {
        let address = summary.traces[node].outputs[output].address;
        self.store.checkout(address).unwrap()
    }

    pub fn rows<R: Row>(&self, summary: &Summary, node: &str, output: &str) -> Vec<R> {
        rows(&self.output(summary, node, output))
    }

    /// The text of all logs of what things cost.
    pub fn timings(&self, node: &str) -> String {
        let mut text = String::new();
        let mut folders = vec![self.folder.path().join("artifacts/logs")];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.ends_with("timings.csv") && path.to_string_lossy().contains(node) {
                    text += &fs_err::read_to_string(path).unwrap();
                }
            }
        }
        text
    }

    pub fn json(&self, summary: &Summary, node: &str, output: &str) -> serde_json::Value {
        let text = fs_err::read_to_string(self.output(summary, node, output)).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

pub fn rows<R: Row>(path: &Path) -> Vec<R> {
    let table = Table::<R>::open(path, "the output").unwrap();
    table.rows().unwrap().collect::<Result<_, _>>().unwrap()
}

pub fn tests(pairs: &[(&str, &str)]) -> Vec<TestCase> {
    let test = |(input, output): &(&str, &str)| TestCase {
        input: (*input).into(),
        output: (*output).into(),
    };
    pairs.iter().map(test).collect()
}

/// A problem of the test split with one second and 256 MiB.
pub fn problem(id: &str, public: &[(&str, &str)], private: &[(&str, &str)]) -> Problem {
    Problem {
        problem_id: id.into(),
        name: id.into(),
        source: "contest".into(),
        split: "test".into(),
        description: String::new(),
        contest_id: None,
        index: None,
        rating: None,
        tags: Vec::new(),
        difficulty: 0,
        time_limit_s: Some(1.0),
        memory_limit_bytes: Some(256 << 20),
        public_tests: tests(public),
        private_tests: tests(private),
        generated_tests: Vec::new(),
        input_file: None,
        output_file: None,
    }
}

pub fn generation(problem: &str, sample: u32, language: &str, text: &str) -> Generation {
    Generation {
        problem_id: problem.into(),
        sample,
        language: language.into(),
        text: text.into(),
        token_ids: vec![1, 2],
        log_prob: -1.0,
        finish: "stop".into(),
    }
}

pub fn solution(problem: &str, id: &str, language: &str, source: &str, correct: bool) -> Solution {
    Solution {
        solution_id: id.into(),
        problem_id: problem.into(),
        language: language.into(),
        source: source.into(),
        correct,
        origin: "contest".into(),
        claim: None,
    }
}

/// Grades programs as a training stage does, and writes what came of them.
pub struct Grading;

/// Programs to grade: problem, language, text.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Programs {
    programs: Vec<(String, String, String)>,
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nothing {}

impl engine::Stage for Grading {
    const NAME: &'static str = "grading";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Grades programs";
    const INPUTS: &'static [engine::Input] = &[engine::Input::table("problems")];
    const OUTPUTS: &'static [engine::Output] = &[engine::Output::json("grades")];
    const SOURCES: &'static [&'static str] = &[];
    type What = Programs;
    type How = Nothing;

    fn check(_: &Programs) -> Result<(), engine::Invalid> {
        Ok(())
    }

    fn run(what: &Programs, _: &Nothing, ctx: &engine::Ctx) -> anyhow::Result<()> {
        let grader = judge::grade::Grader::open(ctx)?;
        let programs: Vec<_> = what
            .programs
            .iter()
            .map(|(problem, language, text)| (problem.as_str(), language.as_str(), text.as_str()))
            .collect();
        let grades: Vec<_> = grader
            .grade(&programs, ctx)?
            .into_iter()
            .map(|grade| (grade.compiles, grade.public_tests, grade.all_tests))
            .collect();
        fs_err::write(ctx.output("grades"), serde_json::to_vec(&grades)?)?;
        Ok(())
    }
}

/// The error of a run and all its causes.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
