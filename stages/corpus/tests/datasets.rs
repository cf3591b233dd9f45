//! From problems and solutions to samples and triplets.
#![allow(clippy::unwrap_used)]

mod scene;

use std::collections::BTreeMap;

use corpus::decontaminate::DroppedProblem;
use corpus::schema::{Problem, Sample};
use corpus::table;
use scene::{Scene, problem, sample, solution, tables, write_tables};

const MIX: &str = "tokenizer = \"tokenizer\"";

fn mix(scene: &Scene, keys: &str) -> String {
    let inputs = tables(scene, &["curated"]);
    let problems = inputs.split("],").next().unwrap().to_owned();
    let problems = format!("{problems}, \"{}\"]", scene.file("dumped.problems"));
    format!(
        "seed = 3
[tokenizer]
inputs = {{ {inputs} }}
vocabulary = 300
[mix]
inputs = {{ {problems}, solutions = [\"{}\"], dump = \"{}\", {MIX} }}
{keys}
",
        scene.file("curated.solutions"),
        scene.file("dumped.solutions")
    )
}

fn by_origin(samples: &[Sample]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for sample in samples {
        *counts.entry(sample.origin.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn mix_keeps_the_ratio_and_the_cap() {
    let scene = Scene::new();
    write_tables(&scene, "curated", 4, 30, 2);
    write_tables(&scene, "dumped", 3, 20, 2);
    let all = |keys: &str| -> Vec<Sample> {
        scene
            .run(&mix(&scene, keys))
            .unwrap()
            .rows("mix", "samples")
    };
    assert_eq!(
        by_origin(&all("")),
        BTreeMap::from([("curated", 60), ("dumped", 60)])
    );
    let quarter = all("dump_share = 0.25\nsamples = 80");
    assert_eq!(
        by_origin(&quarter),
        BTreeMap::from([("curated", 60), ("dumped", 20)])
    );
    assert_eq!(
        by_origin(&all("dump_share = 0.0")),
        BTreeMap::from([("curated", 120)])
    );
    assert_eq!(
        by_origin(&all("dump_share = 1.0")),
        BTreeMap::from([("dumped", 60)])
    );

    // Shuffled, without duplicates, wrong ones left out; a smaller cap takes a part of a larger one.
    let many = all("samples = 100");
    let few = all("samples = 40");
    let ids = |samples: &[Sample]| -> Vec<String> {
        samples
            .iter()
            .map(|sample| sample.solution_id.clone())
            .collect()
    };
    let (many, few) = (ids(&many), ids(&few));
    assert!(few.iter().all(|id| many.contains(id)));
    let order: Vec<_> = many.iter().filter(|id| few.contains(id)).collect();
    assert_eq!(order, few.iter().collect::<Vec<_>>());
    let mut sorted = many.clone();
    sorted.sort();
    assert_ne!(many, sorted);
    sorted.dedup();
    assert_eq!(sorted.len(), 100);
}

#[test]
fn mix_measures_and_cuts() {
    let scene = Scene::new();
    write_tables(&scene, "curated", 2, 10, 1);
    write_tables(&scene, "dumped", 1, 1, 1);
    let done = scene.run(&mix(&scene, "dump_share = 0.0")).unwrap();
    let samples: Vec<Sample> = done.rows("mix", "samples");
    assert_eq!(samples.len(), 20);
    let folder = done.path("tokenizer", "tokenizer");
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    for sample in &samples {
        let prompt = tokenizer.encode(sample.prompt.as_str(), true).unwrap();
        assert_eq!(prompt.get_ids()[0], 1, "begins with <|bos|>");
        assert_eq!(prompt.len() as u32, sample.prompt_tokens);
        let completion = tokenizer.encode(sample.completion.as_str(), false).unwrap();
        assert_eq!(completion.len() as u32 + 1, sample.completion_tokens);
        assert!(sample.prompt.ends_with("\n\n### Python 3\n"));
    }
    let mut lengths: Vec<u32> = samples
        .iter()
        .map(|s| s.prompt_tokens + s.completion_tokens)
        .collect();
    lengths.sort_unstable();
    assert_eq!(
        done.count("mix", "p99_tokens"),
        u64::from(*lengths.last().unwrap())
    );
    let mean = f64::from(lengths.iter().sum::<u32>()) / 20.0;
    assert!((done.metric("mix", "mean_tokens") - mean).abs() < 1e-9);

    let longest = lengths[19];
    let cut = format!("dump_share = 0.0\nmax_tokens = {}", longest - 1);
    let done = scene.run(&mix(&scene, &cut)).unwrap();
    let left = lengths.iter().filter(|&&length| length < longest).count();
    assert_eq!(done.count("mix", "samples"), left as u64);
    assert_eq!(done.count("mix", "dropped.too_long"), (20 - left) as u64);
}

#[test]
fn mix_tells_hints_where_asked_and_leaves_some_out() {
    let scene = Scene::new();
    write_tables(&scene, "curated", 3, 20, 1);
    write_tables(&scene, "dumped", 1, 1, 1);
    let path = scene.path("curated.problems");
    let mut problems: Vec<Problem> = table::read(&path, "problems").unwrap();
    for (problem, rating) in problems.iter_mut().zip([1100, 1200, 1300]) {
        problem.rating = Some(rating);
        problem.tags = vec!["dp".into(), "math".into()];
    }
    table::write(&path, problems).unwrap();
    let run = |keys: &str| {
        let done = scene.run(&mix(&scene, &format!("dump_share = 0.0\n{keys}")));
        let done = done.unwrap();
        let samples: Vec<Sample> = done.rows("mix", "samples");
        let address = done.summary.traces["mix"].outputs["samples"].address;
        (samples, done.path("tokenizer", "tokenizer"), address)
    };
    let (plain, folder, address) = run("");
    assert_eq!(run("hints = { dropped = 0.1 }").2, address);
    let (told, ..) = run("hints = { rating = true, tags = true }");
    let tokenizer = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    let mut kinds = BTreeMap::new();
    for (plain, told) in plain.iter().zip(&told) {
        assert_eq!(told.solution_id, plain.solution_id);
        let number: i32 = told
            .problem_id
            .strip_prefix("curated/")
            .unwrap()
            .parse()
            .unwrap();
        let rating = format!("### Rating {}\n", 1100 + 100 * number);
        let lines: Vec<&str> = told.prompt.lines().collect();
        let tags = lines.iter().find(|line| line.starts_with("### Tags "));
        // Without its hints it is the prompt there was.
        let without: String = told
            .prompt
            .lines()
            .filter(|line| !line.starts_with("### Rating") && !line.starts_with("### Tags"))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(without, plain.prompt);
        let ids = tokenizer.encode(told.prompt.as_str(), true).unwrap();
        assert_eq!(ids.len() as u32, told.prompt_tokens);
        let kind = (told.prompt.contains(&rating), tags.map_or("", |tags| tags));
        assert_eq!(kind.0, told.prompt.contains("### Rating"));
        *kinds.entry(kind).or_insert(0) += 1;
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    assert!(kinds.contains_key(&(true, "### Tags dp, math")));
}

#[test]
fn mix_leaves_out_copies_and_other_splits() {
    let scene = Scene::new();
    let rows = [
        solution("a/1", "x = 1\r\n\r\nprint(x)  \r\n", true, "curated"),
        solution("a/1", "x = 1\nprint(x)", true, "curated"),
        solution("a/2", "print(2)", true, "curated"),
        solution("a/3", "print(3)", true, "curated"),
        solution("a/9", "print(9)", true, "curated"),
    ];
    table::write(&scene.path("curated.solutions"), rows).unwrap();
    // The same Codeforces problem under two ids: one program for both is a copy.
    let numbered = |id: &str| Problem {
        contest_id: Some(5),
        index: Some("A".to_owned()),
        ..problem(id, "train", "One.")
    };
    let problems = [
        numbered("a/1"),
        problem("a/2", "test", "Two."),
        problem("a/3", "valid", "3"),
    ];
    table::write(&scene.path("curated.problems"), problems).unwrap();
    table::write(&scene.path("dumped.problems"), [numbered("b/1")]).unwrap();
    let copies = [solution("b/1", "x = 1\nprint(x)\n", true, "dumped")];
    table::write(&scene.path("dumped.solutions"), copies).unwrap();
    let done = scene.run(&mix(&scene, "dump_share = 0.0")).unwrap();
    assert_eq!(done.count("mix", "dropped.duplicate_solution"), 2);
    assert_eq!(done.count("mix", "dropped.problem_not_in_train"), 2);
    assert_eq!(done.count("mix", "dropped.problem_not_given"), 1);
    let samples: Vec<Sample> = done.rows("mix", "samples");
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].completion, "x = 1\n\nprint(x)");
}

#[test]
fn a_broken_tokenizer_is_a_clear_error() {
    let scene = Scene::new();
    write_tables(&scene, "curated", 1, 1, 1);
    fs_err::create_dir(scene.path("model")).unwrap();
    let recipe = format!(
        "[mix]\ninputs = {{ {}, tokenizer = \"{}\" }}\n",
        tables(&scene, &["curated"]),
        scene.file("model")
    );
    for text in ["{ \"version\": \"1.0\", \"model\": ", "{}", ""] {
        fs_err::write(scene.path("model").join("tokenizer.json"), text).unwrap();
        let message = scene.run(&recipe).err().unwrap();
        assert!(
            message.contains("not a tokenizer that can be read"),
            "{message}"
        );
    }
    fs_err::remove_file(scene.path("model").join("tokenizer.json")).unwrap();
    fs_err::write(scene.path("model").join("config.json"), "{}").unwrap();
    let message = scene.run(&recipe).err().unwrap();
    assert!(message.contains("no readable tokenizer.json"), "{message}");
}

#[test]
fn the_tokenizer_is_the_same_every_time_and_loses_nothing() {
    let recipe = |scene: &Scene| {
        format!(
            "[tokenizer]\ninputs = {{ {} }}\nvocabulary = 400\n",
            tables(scene, &["curated"])
        )
    };
    let mut texts = Vec::new();
    for _ in 0..3 {
        let scene = Scene::new();
        write_tables(&scene, "curated", 5, 20, 1);
        let done = scene.run(&recipe(&scene)).unwrap();
        let folder = done.path("tokenizer", "tokenizer");
        texts.push(fs_err::read_to_string(folder.join("tokenizer.json")).unwrap());
        assert!(folder.join("tokenizer_config.json").exists());
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
    let tokenizer = tokenizers::Tokenizer::from_bytes(texts[0].as_bytes()).unwrap();
    for (id, token) in ["<|pad|>", "<|bos|>", "<|eos|>"].into_iter().enumerate() {
        assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
    }
    for text in [
        "print(1)\n",
        "\tif a:\n    é日\u{1F600}\r\n\0",
        " two  blanks ",
        "",
    ] {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(ids.get_ids(), false).unwrap(), text);
    }
}

#[test]
fn test_problems_are_excluded() {
    let story = "Polycarp has a string of letters and wants to make it a palindrome by removing \
                 as few letters as possible so tell him how many he has to remove in the end";
    let near = story.replace("Polycarp", "Vasya").replace("in the end", "");
    let scene = Scene::new();
    let contest = |mut row: Problem, contest: i64| {
        row.contest_id = Some(contest);
        row
    };
    let rows = [
        contest(problem("a/same contest", "train", "Something else."), 77),
        contest(
            problem(
                "a/fine",
                "train",
                "Count the words of a text that has no blanks.",
            ),
            78,
        ),
        problem(
            "a/copy",
            "train",
            &format!("  {}\n\nExample\n\n1", story.to_uppercase()),
        ),
        problem("a/near", "train", &near),
        problem("a/silent", "train", ""),
        problem("a/valid", "valid", story),
        problem("a/fine", "train", "A second row of the same problem."),
    ];
    table::write(&scene.path("problems"), rows).unwrap();
    let test = [
        contest(problem("t/1", "test", story), 77),
        problem("t/2", "test", ""),
    ];
    table::write(&scene.path("test"), test).unwrap();
    let recipe = |keys: &str| {
        format!(
            "[decontaminate]\ninputs = {{ problems = [\"{}\"], test = \"{}\" }}\n{keys}",
            scene.file("problems"),
            scene.file("test")
        )
    };
    let done = scene.run(&recipe("")).unwrap();
    let kept: Vec<Problem> = done.rows("decontaminate", "problems");
    let kept: Vec<_> = kept.iter().map(|row| row.problem_id.as_str()).collect();
    assert_eq!(kept, ["a/fine", "a/silent", "a/valid"]);
    let dropped: Vec<DroppedProblem> = done.rows("decontaminate", "dropped");
    let reasons: Vec<_> = dropped
        .iter()
        .map(|row| {
            (
                row.problem_id.as_str(),
                row.test_problem_id.as_str(),
                row.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        reasons,
        [
            ("a/same contest", "t/1", "contest"),
            ("a/copy", "t/1", "identical_statement"),
            ("a/near", "t/1", "similar_statement"),
        ]
    );
    assert!(dropped[2].similarity > 0.5 && dropped[2].similarity < 1.0);
    let sketched = scene.run(&recipe("sketch_hashes = 1024")).unwrap();
    let estimated: Vec<DroppedProblem> = sketched.rows("decontaminate", "dropped");
    assert_eq!(estimated.len(), 3);
    assert!((estimated[2].similarity - dropped[2].similarity).abs() < 0.07);

    let done = scene
        .run(&recipe("threshold = 1.0\nexclude_contests = false"))
        .unwrap();
    assert_eq!(
        done.rows::<DroppedProblem>("decontaminate", "dropped")
            .len(),
        1
    );
}

#[test]
fn the_sample_holds_a_test_problem_under_another_name() {
    let scene = Scene::new();
    let recipe = format!(
        "[ingest]
inputs = {{ files = [\"{}\"], valid = \"{}\", test = \"{}\" }}
[decontaminate]
inputs = {{ problems = [\"ingest.problems\"] }}
[split]
inputs = {{ problems = [\"decontaminate.problems\"] }}
test = 2
",
        sample("train"),
        sample("valid"),
        sample("test")
    );
    let done = scene.run(&recipe).unwrap();
    let dropped: Vec<DroppedProblem> = done.rows("decontaminate", "dropped");
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].problem_id, "codecontests/627_A. XOR Equation");
    assert_eq!(
        dropped[0].test_problem_id,
        "codecontests/634_B. XOR Equation"
    );
    let count = |output: &str| done.rows::<Problem>("split", output).len();
    assert_eq!((count("train"), count("valid"), count("test")), (9, 1, 2));
    assert!(
        done.rows::<Problem>("split", "test")
            .iter()
            .all(|row| row.split == "test")
    );
}
