//! Fake stages for the engine's tests: they count words, join texts, and can be told to
//! fail, stop half-way or write nonsense. Included by the other test files with `mod fake`.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use engine::{
    Ctx, Error, Input, Invalid, NoHow, Output, Recipe, Registry, Stage, define,
    event::{Event, Sink},
    run,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, atomic::AtomicBool},
};
use store::Store;

/// Writes the lines of a text, some of them, as JSON.
pub struct Words;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordsWhat {
    pub text: String,
    #[serde(default = "two")]
    pub least: usize,
    #[serde(default)]
    pub fail: bool,
    #[serde(default)]
    pub nonsense: bool,
}

fn two() -> usize {
    2
}

impl Stage for Words {
    const NAME: &'static str = "words";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "words of a text that are long enough";
    const INPUTS: &'static [Input] = &[Input::any("more").optional()];
    const OUTPUTS: &'static [Output] = &[Output::json("words")];
    const SOURCES: &'static [&'static str] = &["fake/words.rs"];
    const SEEDED: bool = false;
    type What = WordsWhat;
    type How = NoHow;

    fn check(what: &WordsWhat) -> Result<(), Invalid> {
        Invalid::unless(what.least < 100, "least", "must be below 100")
    }

    fn run(what: &WordsWhat, _how: &NoHow, ctx: &Ctx) -> anyhow::Result<()> {
        anyhow::ensure!(!what.fail, "told to fail");
        if what.nonsense {
            fs_err::write(ctx.output("words"), "{")?;
            return Ok(());
        }
        let mut text = what.text.clone();
        if let Some(more) = ctx.input_optional("more") {
            text.push(' ');
            text.push_str(&fs_err::read_to_string(more)?);
        }
        let words: Vec<&str> = text
            .split_whitespace()
            .filter(|word| word.len() >= what.least)
            .collect();
        ctx.metric("words", words.len() as f64);
        fs_err::write(ctx.output("words"), serde_json::to_string(&words)?)?;
        Ok(())
    }
}

/// Joins lists of words into a directory, step by step, with a checkpoint after each.
pub struct Join;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinWhat {
    pub glue: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinHow {
    /// Stop as a signal would after this many steps.
    pub stop_after: u64,
}

impl Stage for Join {
    const NAME: &'static str = "join";
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "words in one line";
    const INPUTS: &'static [Input] = &[Input::json("words").many()];
    const OUTPUTS: &'static [Output] = &[Output::tree("line"), Output::json("count")];
    const SOURCES: &'static [&'static str] = &["fake/join.rs"];
    type What = JoinWhat;
    type How = JoinHow;

    fn run(what: &JoinWhat, how: &JoinHow, ctx: &Ctx) -> anyhow::Result<()> {
        let mut words: Vec<String> = Vec::new();
        for input in ctx.inputs("words") {
            words.extend(serde_json::from_slice::<Vec<String>>(&fs_err::read(
                input.path,
            )?)?);
        }
        let (mut done, mut line) = match ctx.resume()? {
            Some(checkpoint) => (
                checkpoint.step,
                fs_err::read_to_string(checkpoint.dir.join("line"))?,
            ),
            None => (0, String::new()),
        };
        let progress = ctx.progress("join", "words", Some(words.len() as u64));
        for word in words.iter().skip(done as usize) {
            if !line.is_empty() {
                line.push_str(&what.glue);
            }
            line.push_str(word);
            done += 1;
            progress.inc(1);
            ctx.checkpoint(done, |dir| Ok(fs_err::write(dir.join("line"), &line)?))?;
            if how.stop_after == done {
                return Err(engine::Interrupted.into());
            }
        }
        fs_err::write(ctx.output("line").join("line.txt"), &line)?;
        fs_err::write(ctx.output("count"), done.to_string())?;
        Ok(())
    }
}

/// Remembers events.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Event>>);

impl Sink for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// The nodes that ran, in order.
    pub fn ran(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Finished { node, .. } => Some(node.clone()),
                _ => None,
            })
            .collect()
    }
}

pub fn registry() -> Registry {
    registry_with(&[("fake/words.rs", "1"), ("fake/join.rs", "1")])
}

pub fn registry_with(code: &'static [(&'static str, &'static str)]) -> Registry {
    Registry::new(vec![define::<Words>(), define::<Join>()], code)
}

pub fn recipe(text: &str) -> Result<Recipe, Error> {
    recipe_set(text, &[])
}

pub fn recipe_set(text: &str, overrides: &[&str]) -> Result<Recipe, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    fs_err::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    engine::recipe::load(path.to_str().unwrap(), &overrides, &registry(), &[])
}

pub fn store(directory: &Path) -> Store {
    Store::open(directory.join("artifacts")).unwrap()
}

/// Runs everything; the nodes that ran, or the error.
pub fn run_all(recipe: &Recipe, store: &Store) -> Result<Vec<String>, Error> {
    run_with(recipe, store, &registry(), false, &[])
}

pub fn run_with(
    recipe: &Recipe,
    store: &Store,
    registry: &Registry,
    strict: bool,
    force: &[&str],
) -> Result<Vec<String>, Error> {
    let recorder = Recorder::default();
    let options = run::Options {
        force: force
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        strict,
        keep_going: false,
        follows: false,
        sink: &recorder,
        cancel: &AtomicBool::new(false),
        program: "test".into(),
    };
    run::run(recipe, &[], store, registry, &options)?;
    Ok(recorder.ran())
}

/// Two lists of words joined; the text of `b` is a parameter.
pub fn chain(b: &str, extra: &str) -> String {
    format!(
        "seed = 1\n[a]\nstage = \"words\"\ntext = \"one two\"\n[b]\nstage = \"words\"\ntext = \"{b}\"\n\
         [join]\ninputs = {{ words = [\"a\", \"b.words\"] }}\nglue = \"-\"\n{extra}"
    )
}
