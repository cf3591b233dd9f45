//! A tiny world for the tests of training: a tokenizer, a table of samples, a store, and runs
//! of real recipes in it. Included by the other test files with `mod tiny`.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use corpus::schema::{Problem, Sample, Triplet};
use engine::event::{Event, Sink};
use engine::run::{self, Summary};
use engine::{Error, Registry, define, recipe};
use model::tokenizer::{SpecialTokens, Tokenizer, train_byte_level_bpe};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Store;

/// A directory with everything in it.
pub struct World {
    pub root: PathBuf,
}

/// Prompt and completion of example `index`.
pub fn example(index: usize) -> (String, String) {
    let k = index * 3 + 1;
    let prompt = format!("Read a number and print it plus {k}.\n\n### Python 3\n");
    (prompt, format!("a = int(input())\nprint(a + {k})"))
}

/// The right program of example `index`, and one that takes away.
pub fn triplet(index: usize) -> Triplet {
    let (prompt, chosen) = example(index);
    Triplet {
        problem_id: format!("made/{}", index / 2),
        language: "python3".into(),
        prompt,
        rejected: chosen.replace('+', "-"),
        chosen,
        kind: "nearest".into(),
        distance: 1,
        normalised_distance: 0.04,
        chosen_id: format!("right/{index}"),
        rejected_id: format!("wrong/{index}"),
    }
}

fn problem(index: usize) -> Problem {
    Problem {
        problem_id: format!("made/{index}"),
        name: "Plus".into(),
        source: "made".into(),
        split: if index == 0 { "test" } else { "train" }.into(),
        description: format!("Read a number and print it plus {}.", index * 6 + 1),
        ..Problem::default()
    }
}

impl World {
    /// A new one below `root` with `examples` examples.
    pub fn new(root: &Path, examples: usize) -> Self {
        let world = Self {
            root: root.to_owned(),
        };
        world.tokenizer("tokenizer", 280);
        let tokenizer = Tokenizer::load(&root.join("tokenizer/tokenizer.json")).unwrap();
        let rows = (0..examples).map(|index| {
            let (prompt, completion) = example(index);
            Sample {
                problem_id: format!("made/{}", index / 2),
                solution_id: format!("{index}"),
                origin: "made".into(),
                language: "python3".into(),
                prompt_tokens: tokenizer.encode(&prompt).unwrap().len() as u32,
                completion_tokens: tokenizer.encode(&completion).unwrap().len() as u32 + 1,
                prompt,
                completion,
            }
        });
        corpus::table::write(&root.join("samples.parquet"), rows).unwrap();
        let triplets = (0..examples).map(triplet);
        corpus::table::write(&root.join("triplets.parquet"), triplets).unwrap();
        let problems = (0..examples / 2).map(problem);
        corpus::table::write(&root.join("problems.parquet"), problems).unwrap();
        world
    }

    /// Trains a tokenizer into folder `name`.
    pub fn tokenizer(&self, name: &str, vocabulary: usize) {
        let texts = (0..40).map(|index| {
            let (prompt, completion) = example(index);
            prompt + &completion
        });
        let bytes = train_byte_level_bpe(texts, vocabulary, &SpecialTokens::default()).unwrap();
        fs_err::create_dir_all(self.root.join(name)).unwrap();
        fs_err::write(self.root.join(name).join("tokenizer.json"), bytes).unwrap();
    }

    /// The bound form of a file of this world.
    pub fn file(&self, name: &str) -> String {
        format!("\"file:{}\"", self.root.join(name).display())
    }

    /// A recipe of `init` and one training node with these settings.
    pub fn recipe(&self, stage: &str, settings: &str) -> String {
        format!(
            "seed = 7\n[init]\ninputs = {{ tokenizer = {} }}\nhidden_size = 32\nlayers = 2\nheads = 2\n\
             context = 128\n[{stage}]\ninputs = {{ model = \"init.model\", samples = {} }}\n{settings}\n",
            self.file("tokenizer"),
            self.file("samples.parquet"),
        )
    }

    /// A recipe of `init` and a training node on pairs.
    pub fn pairs_recipe(&self, stage: &str, settings: &str) -> String {
        self.recipe(stage, settings)
            .replace("samples = ", "triplets = ")
            .replace("samples.parquet", "triplets.parquet")
    }

    /// A recipe of `init`, a reward model and `ppo`.
    pub fn ppo_recipe(&self, settings: &str) -> String {
        let reward = self.pairs_recipe("reward", "max_steps = 2\nvalidation_share = 0.2");
        format!(
            "{reward}\n[ppo]\ninputs = {{ model = \"init.model\", reward = \"reward.model\", \
             problems = {} }}\n{settings}\n",
            self.file("problems.parquet")
        )
    }

    pub fn store(&self, name: &str) -> Store {
        Store::open(self.root.join(name)).unwrap()
    }

    /// Runs a recipe in a store of its own name.
    pub fn run(&self, store: &str, text: &str) -> Result<Summary, Error> {
        self.run_with(store, text, &Listener::default())
    }

    pub fn run_with(&self, store: &str, text: &str, listener: &Listener) -> Result<Summary, Error> {
        let path = self.root.join(format!("{store}.toml"));
        fs_err::write(&path, text).unwrap();
        let registry = Registry::new(
            vec![
                define::<train::init::Init>(),
                define::<train::adapt::Adapt>(),
                define::<train::sft::Sft>(),
                define::<train::reward::Reward>(),
                define::<train::dpo::Dpo>(),
                define::<train::orpo::Orpo>(),
                define::<train::ppo::Ppo<Lengths>>(),
            ],
            &[],
        );
        let recipe = recipe::load(path.to_str().unwrap(), &[], &registry, &[])?;
        let options = run::Options {
            force: BTreeSet::new(),
            strict: false,
            keep_going: false,
            follows: false,
            sink: listener,
            cancel: &listener.cancel,
            program: "test".into(),
        };
        run::run(&recipe, &[], &self.store(store), &registry, &options)
    }

    /// The linked output of a node.
    pub fn output(&self, store: &str, node: &str, output: &str) -> PathBuf {
        self.root
            .join(store)
            .join("refs")
            .join(store)
            .join(node)
            .join(output)
    }
}

/// Remembers what is said, and cancels when it hears something.
#[derive(Default)]
pub struct Listener {
    pub heard: Mutex<Vec<String>>,
    pub cancel_at: Option<String>,
    pub cancel: AtomicBool,
}

impl Listener {
    pub fn cancelling_at(text: &str) -> Self {
        Self {
            cancel_at: Some(text.to_owned()),
            ..Self::default()
        }
    }
}

impl Sink for Listener {
    fn event(&self, event: Event) {
        if let Event::Info { text, .. } | Event::Warning { text, .. } = event {
            if self
                .cancel_at
                .as_ref()
                .is_some_and(|wanted| text.contains(wanted))
            {
                self.cancel.store(true, Ordering::Relaxed);
            }
            self.heard.lock().unwrap().push(text);
        }
    }
}

/// An error with all its causes.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// In place of a judge: programs of even length compile.
struct Lengths;

impl train::ppo::execution::Execution for Lengths {
    fn open(_: &engine::Ctx) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn run(
        &self,
        programs: &[train::ppo::execution::Program<'_>],
        _: &engine::Ctx,
    ) -> anyhow::Result<Vec<train::ppo::execution::Ran>> {
        let ran = programs.iter().map(|program| {
            let length = program.source.len();
            train::ppo::execution::Ran {
                compiles: length.is_multiple_of(2),
                public_tests: (length % 5) as f64 / 4.0,
                all_tests: length.is_multiple_of(4),
            }
        });
        Ok(ran.collect())
    }
}
