//! Sampling through the engine: what must not matter does not.
#![allow(clippy::unwrap_used)]

use super::Sample;
use super::requests::Asked;
use corpus::schema::Generation;
use engine::event::{Event, Sink};
use engine::{Error, Registry, define, recipe, run};
use model::checkpoint::Checkpoint;
use model::config::Config;
use model::parameters::Parameters;
use model::tokenizer::{SpecialTokens, train_byte_level_bpe};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{Address, Store};

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "vocab_size": 259, "hidden_size": 16,
    "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 96, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2}"#;

/// A model that writes nonsense, and three problems, of which one cannot be asked.
pub(super) fn world(root: &Path) {
    let texts = ["abc"].into_iter();
    let bytes = train_byte_level_bpe(texts, 259, &SpecialTokens::default()).unwrap();
    let config = Config::from_json(CONFIG).unwrap();
    let parameters = Parameters::init(&config, 3);
    Checkpoint { config, parameters }
        .save(&root.join("model"), None)
        .unwrap();
    fs_err::write(root.join("model/tokenizer.json"), bytes).unwrap();
    let problem = |id: &str, split: &str, description: String| Asked {
        problem_id: id.into(),
        name: id.into(),
        split: split.into(),
        description,
    };
    let rows = [
        problem("a", "test", "Add.".into()),
        problem("b", "train", "Not this one.".into()),
        problem("c", "test", "long ".repeat(50)),
        problem("d", "test", "Multiply.".into()),
    ];
    corpus::table::write(&root.join("problems.parquet"), rows).unwrap();
}

/// Cancels as soon as something is done.
#[derive(Default)]
struct Canceller(AtomicBool);

impl Sink for Canceller {
    fn event(&self, event: Event) {
        if let Event::Progress { done: 1.., .. } = event {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

pub(super) fn sample(
    root: &Path,
    store: &str,
    settings: &str,
    sink: &dyn Sink,
    cancel: &AtomicBool,
) -> Result<(Address, Vec<Generation>), Error> {
    let defaults = [
        format!(
            "inputs = {{ model = \"file:{0}/model\", problems = \"file:{0}/problems.parquet\" }}",
            root.display()
        ),
        "languages = [\"python3\", \"cpp\"]".to_owned(),
        "temperature = 1.0".to_owned(),
        "max_new_tokens = 6".to_owned(),
    ];
    let given = |line: &str| {
        let name = line.split(' ').next().unwrap();
        settings.lines().any(|line| line.starts_with(name))
    };
    let defaults: Vec<String> = defaults.into_iter().filter(|line| !given(line)).collect();
    let text = format!("seed = 5\n[sample]\n{}\n{settings}\n", defaults.join("\n"));
    let path = root.join(format!("{store}.toml"));
    fs_err::write(&path, text).unwrap();
    let registry = Registry::new(vec![define::<Sample>()], &[]);
    let recipe = recipe::load(path.to_str().unwrap(), &[], &registry, &[])?;
    let options = run::Options {
        force: BTreeSet::new(),
        strict: false,
        keep_going: false,
        follows: false,
        sink,
        cancel,
        program: "test".into(),
    };
    let opened = Store::open(root.join(store)).unwrap();
    let summary = run::run(&recipe, &[], &opened, &registry, &options)?;
    let address = summary.traces["sample"].outputs["generations"].address;
    let rows = corpus::table::read(&opened.checkout(address).unwrap(), "generations").unwrap();
    Ok((address, rows))
}

pub(super) fn quietly(root: &Path, store: &str, settings: &str) -> (Address, Vec<Generation>) {
    let cancel = AtomicBool::new(false);
    sample(root, store, settings, &engine::event::Silent, &cancel).unwrap()
}

#[test]
fn more_samples_only_add() {
    let directory = tempfile::tempdir().unwrap();
    world(directory.path());
    let (_, few) = quietly(directory.path(), "few", "samples = 3");
    let (_, many) = quietly(directory.path(), "many", "samples = 8");
    let ids: Vec<(&str, u32)> = few
        .iter()
        .map(|row| (row.problem_id.as_str(), row.sample))
        .collect();
    assert_eq!(
        ids,
        [
            ("a", 0),
            ("a", 1),
            ("a", 2),
            ("c", 0),
            ("c", 1),
            ("c", 2),
            ("d", 0),
            ("d", 1),
            ("d", 2)
        ]
    );
    let common: Vec<&Generation> = many.iter().filter(|row| row.sample < 3).collect();
    assert_eq!(few.iter().collect::<Vec<_>>(), common);
    assert!(
        few.iter()
            .all(|row| (row.language == "cpp") == (row.sample == 1))
    );
    // The problem whose prompt is too long has its rows, without answers.
    assert!(
        few.iter()
            .all(|row| row.token_ids.is_empty() == (row.problem_id == "c"))
    );
    let distinct: BTreeSet<&[u32]> = many.iter().map(|row| row.token_ids.as_slice()).collect();
    assert!(distinct.len() > 12, "random numbers repeat");
    for row in few.iter().filter(|row| row.problem_id != "c") {
        let stopped = row.token_ids.last() == Some(&2);
        assert_eq!(row.finish, if stopped { "stop" } else { "length" });
        assert!(row.log_prob < 0.0 && row.token_ids.len() <= 6);
    }
}

#[test]
fn random_hints_change_what_is_asked_and_more_samples_only_add() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    let hints = "hints = { from = \"random\", tags = [\"dp\", \"math\"], ratings = [800, 900] }";
    let draw =
        |store: &str, samples: u64| quietly(root, store, &format!("samples = {samples}\n{hints}"));
    let (few, many) = (draw("few", 3).1, draw("many", 8).1);
    let common: Vec<&Generation> = many.iter().filter(|row| row.sample < 3).collect();
    assert_eq!(few.iter().collect::<Vec<_>>(), common);
    let (_, plain) = quietly(root, "plain", "samples = 8");
    let answered = plain.iter().filter(|row| !row.token_ids.is_empty());
    // What a short prompt leaves room for, a longer one may not.
    assert!(answered.count() > 0 && plain.len() == many.len());
    assert_ne!(plain, many);
    // What is given has to be in the table.
    let given = "samples = 3\nhints = { from = \"given\" }";
    let cancel = AtomicBool::new(false);
    let error = sample(root, "given", given, &engine::event::Silent, &cancel).unwrap_err();
    assert!(
        format!("{error:?}").contains("no column `rating`"),
        "{error:?}"
    );
}

#[test]
fn threads_slots_and_interruptions_change_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    world(directory.path());
    // Several shards, of several units each.
    let settings = "samples = 900\n[sample.how]\n";
    let (whole, rows) = quietly(directory.path(), "whole", &format!("{settings}threads = 1"));
    assert_eq!(rows.len(), 2700);
    let how = format!("{settings}threads = 3\nslots_per_thread = 7\ncache_mb = 0");
    assert_eq!(quietly(directory.path(), "other", &how).0, whole);
    let canceller = Canceller::default();
    let cut = sample(directory.path(), "cut", settings, &canceller, &canceller.0);
    assert!(matches!(&cut, Err(Error::Interrupted)) || cut.is_ok());
    assert_eq!(quietly(directory.path(), "cut", settings).0, whole);
}

#[test]
fn earlier_samples_are_taken_over_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    let earlier = |address: &Address| {
        let path = Store::open(root.join("few"))
            .unwrap()
            .checkout(*address)
            .unwrap();
        format!(
            "inputs = {{ model = \"file:{0}/model\", problems = \"file:{0}/problems.parquet\", \
             earlier = \"file:{1}\" }}",
            root.display(),
            path.display()
        )
    };
    let (few, _) = quietly(root, "few", "samples = 3");
    let (many, _) = quietly(root, "many", "samples = 8");
    let inputs = earlier(&few);
    assert_eq!(
        quietly(root, "grown", &format!("samples = 8\n{inputs}")).0,
        many
    );
    // Fewer than there are: the first of them.
    let (two, _) = quietly(root, "two", "samples = 2");
    assert_eq!(
        quietly(root, "cut", &format!("samples = 2\n{inputs}")).0,
        two
    );
    let fails = |store: &str, settings: &str| {
        let cancel = AtomicBool::new(false);
        let settings = format!("{settings}\n{inputs}");
        let error = sample(root, store, &settings, &engine::event::Silent, &cancel).unwrap_err();
        format!("{error:?}")
    };
    assert!(fails("hot", "samples = 8\ntemperature = 0.5").contains("has another program"));
    assert!(fails("cpp", "samples = 8\nlanguages = [\"cpp\"]").contains("the same `languages`"));
    assert!(fails("first", "samples = 8\nmax_problems = 1").contains("no such problem"));
}

#[test]
fn stop_strings_are_not_part_of_a_program() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    world(root);
    let (_, free) = quietly(root, "free", "samples = 6");
    let (_, cut) = quietly(
        root,
        "cut",
        "samples = 6\nstop = [\"e\", \"t\", \"a\", \"1\", \"(\"]",
    );
    for (free, cut) in free.iter().zip(&cut) {
        let end = free
            .text
            .find(['e', 't', 'a', '1', '('])
            .unwrap_or(free.text.len());
        assert_eq!(cut.text, free.text[..end]);
        assert!(free.token_ids.starts_with(&cut.token_ids));
    }
}
