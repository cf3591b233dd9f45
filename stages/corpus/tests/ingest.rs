//! Stages `ingest` and `dump` on good and on dirty data.
#![allow(clippy::unwrap_used)]

mod scene;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use corpus::schema::{Problem, Solution};
use scene::{Raw, Scene, code_contests, sample, with_column, write_batch};

fn ingest(scene: &Scene, keys: &str) -> String {
    format!(
        "[ingest]\ninputs = {{ files = [\"{}\"] }}\n{keys}",
        scene.file("raw.parquet")
    )
}

#[test]
fn the_sample_is_read() {
    let scene = Scene::new();
    let recipe = format!(
        "[ingest]\ninputs = {{ files = [\"{}\"], valid = \"{}\", test = \"{}\" }}\n",
        sample("train"),
        sample("valid"),
        sample("test")
    );
    let done = scene.run(&recipe).unwrap();
    let problems: Vec<Problem> = done.rows("ingest", "problems");
    let splits = |split: &str| problems.iter().filter(|p| p.split == split).count();
    assert_eq!(
        (splits("train"), splits("valid"), splits("test")),
        (10, 1, 3)
    );
    let game = &problems[0];
    assert_eq!(game.problem_id, "codecontests/1141_A. Game 23");
    assert_eq!(
        (game.contest_id, game.rating, game.time_limit_s),
        (Some(1141), None, None)
    );
    assert_eq!((game.public_tests.len(), game.private_tests.len()), (3, 7));
    assert_eq!(game.public_tests[0].input.trim(), "42 42");
    assert!(game.tags.contains(&"math".to_owned()));
    let solutions: Vec<Solution> = done.rows("ingest", "solutions");
    assert_eq!(solutions.len(), 14);
    assert!(
        solutions
            .iter()
            .all(|s| s.correct && s.language == "python3")
    );
}

#[test]
fn dirty_rows_are_counted() {
    let scene = Scene::new();
    let rows = [
        Raw {
            solutions: vec![
                (3, Some("print(3)")),
                (3, Some("print(3)")),
                (3, Some("  \n")),
                (3, None),
                (0, Some("program")),
                (9, Some("program")),
                (2, Some("int main() {}")),
            ],
            ..Raw::new("good")
        },
        Raw::new("good"),
        Raw {
            tests: vec![],
            ..Raw::new("untested")
        },
        Raw {
            description: " ",
            ..Raw::new("silent")
        },
        Raw {
            name: None,
            ..Raw::new("")
        },
        Raw {
            time_limit: None,
            contest_id: 7,
            ..Raw::new("unlimited")
        },
    ];
    write_batch(&scene.path("raw.parquet"), &code_contests(&rows));
    let done = scene.run(&ingest(&scene, "")).unwrap();
    for (reason, count) in [
        ("duplicate_solution", 1),
        ("empty_solution", 2),
        ("unknown_language", 2),
        ("duplicate_problem", 1),
        ("no_tests", 1),
        ("no_statement", 1),
        ("no_name", 1),
    ] {
        assert_eq!(
            done.count("ingest", &format!("dropped.{reason}")),
            count,
            "{reason}"
        );
    }
    let problems: Vec<Problem> = done.rows("ingest", "problems");
    let names: Vec<_> = problems.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["good", "unlimited"]);
    assert_eq!(problems[0].time_limit_s, Some(2.5));
    assert_eq!(
        (problems[1].time_limit_s, problems[1].contest_id),
        (None, Some(7))
    );
    let solutions: Vec<Solution> = done.rows("ingest", "solutions");
    let languages: Vec<_> = solutions
        .iter()
        .map(|s| (s.language.as_str(), s.correct))
        .collect();
    let pair = [("python3", true), ("python3", false)];
    assert_eq!(
        languages,
        [
            ("python3", true),
            ("cpp", true),
            ("python3", false),
            pair[0],
            pair[1]
        ]
    );
    let report = fs_err::read_to_string(done.path("ingest", "report")).unwrap();
    assert!(report.contains("codecontests/good, solution 1"), "{report}");

    let done = scene.run(&ingest(&scene, "require_tests = false")).unwrap();
    assert_eq!(done.rows::<Problem>("ingest", "problems").len(), 3);
}

/// Writes a Parquet file whose column is declared as a string but holds other bytes, which
/// Arrow's own writer refuses to do.
fn write_broken_text(path: &std::path::Path, values: &[&[u8]]) {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message schema { REQUIRED BYTE_ARRAY id (UTF8); REQUIRED BYTE_ARRAY code (UTF8);
                  REQUIRED BYTE_ARRAY verdict (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = fs_err::File::create(path).unwrap().into_file();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let constant = |text: &'static [u8]| vec![ByteArray::from(text.to_vec()); values.len()];
    let codes = values
        .iter()
        .map(|value| ByteArray::from(value.to_vec()))
        .collect();
    for column in [constant(b"p"), codes, constant(b"OK")] {
        let mut writer = group.next_column().unwrap().unwrap();
        writer
            .typed::<ByteArrayType>()
            .write_batch(&column, None, None)
            .unwrap();
        writer.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn dump(scene: &Scene, columns: &str, keys: &str) -> String {
    format!(
        "[dump]\ninputs = {{ submissions = [\"{}\"] }}\ncolumns = {{ {columns} }}\n{keys}\n",
        scene.file("dump")
    )
}

const SINGLE: &str = r#"problem = "id", source = "code", verdict = "verdict""#;
const PYTHON: &str = "language = \"python3\"\nrequire_statement = false";

#[test]
fn text_that_is_not_utf8_is_counted() {
    let scene = Scene::new();
    write_broken_text(
        &scene.path("dump"),
        &[b"print(1)", b"print('\xff')", b"print(2)"],
    );
    let done = scene.run(&dump(&scene, SINGLE, PYTHON)).unwrap();
    assert_eq!(done.count("dump", "dropped.not_utf8_solution"), 1);
    assert_eq!(done.rows::<Solution>("dump", "solutions").len(), 2);

    // The same in a column of plain bytes, and in JSON lines.
    let rows: Vec<&[u8]> = vec![b"print(1)", b"\xc3"];
    let text: ArrayRef = Arc::new(StringArray::from(vec!["p", "p"]));
    let ok: ArrayRef = Arc::new(StringArray::from(vec!["OK", "OK"]));
    let code: ArrayRef = Arc::new(BinaryArray::from(rows));
    let batch =
        RecordBatch::try_from_iter([("id", text), ("code", code), ("verdict", ok)]).unwrap();
    write_batch(&scene.path("dump"), &batch);
    let done = scene.run(&dump(&scene, SINGLE, PYTHON)).unwrap();
    assert_eq!(done.count("dump", "dropped.not_utf8_solution"), 1);

    let mut lines = b"{\"id\":\"p\",\"code\":\"a\",\"verdict\":\"OK\"}\n".to_vec();
    lines.extend_from_slice(b"{\"id\":\"p\",\"code\":\"\xff\",\"verdict\":\"OK\"}\n");
    // Half of a surrogate pair, and a whole one.
    lines.extend_from_slice(b"{\"id\":\"p\",\"code\":\"\\ud800\",\"verdict\":\"OK\"}\n");
    lines.extend_from_slice(b"{\"id\":\"p\",\"code\":\"\\ud83d\\ude00\",\"verdict\":\"OK\"}\n");
    fs_err::write(scene.path("dump"), lines).unwrap();
    let done = scene.run(&dump(&scene, SINGLE, PYTHON)).unwrap();
    assert_eq!(done.count("dump", "dropped.not_utf8"), 2);
    let solutions = done.rows::<Solution>("dump", "solutions");
    let sources: Vec<&str> = solutions.iter().map(|row| row.source.as_str()).collect();
    assert_eq!(sources, ["a", "\u{1F600}"]);
}

#[test]
fn broken_files_are_one_clear_error() {
    let scene = Scene::new();
    let raw = scene.path("raw.parquet");
    let good = code_contests(&[Raw::new("a"), Raw::new("b")]);
    let error = || scene.run(&ingest(&scene, "")).err().unwrap();

    write_batch(&raw, &with_column(&good, "solutions", None));
    let message = error();
    assert!(message.contains("raw.parquet"), "{message}");
    assert!(message.contains("no column `solutions`"), "{message}");

    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    write_batch(&raw, &with_column(&good, "public_tests", Some(numbers)));
    let message = error();
    assert!(
        message.contains("`public_tests`") && message.contains("Int64"),
        "{message}"
    );
    assert!(message.contains("struct<input: list<text>"), "{message}");

    write_batch(&raw, &good);
    let whole = fs_err::read(&raw).unwrap();
    fs_err::write(&raw, &whole[..whole.len() - 100]).unwrap();
    let message = error();
    assert!(
        message.contains("raw.parquet") && message.contains("cut off"),
        "{message}"
    );

    fs_err::write(
        scene.path("dump"),
        "{\"id\": 1, \"code\": \"a\", \"verdict\": \"OK\"}\n{\"id\": 2,",
    )
    .unwrap();
    let message = scene.run(&dump(&scene, SINGLE, PYTHON)).err().unwrap();
    assert!(
        message.contains("line 2") && message.contains("cut off"),
        "{message}"
    );
    let message = scene
        .run(&dump(&scene, &SINGLE.replace("code", "kode"), PYTHON))
        .err()
        .unwrap();
    assert!(
        message.contains("no column `kode`") && message.contains("id"),
        "{message}"
    );
}

#[test]
fn submissions_of_a_dump() {
    let scene = Scene::new();
    let lines = [
        r#"{"contest":1,"index":"B","lang":"GNU C++17 (64)","code":"b","verdict":"OK"}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":"a","verdict":"WRONG_ANSWER"}"#,
        r#"{"contest":1,"index":"B","lang":"Java 11","code":"c","verdict":"TIME_LIMIT_EXCEEDED"}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":"a2","verdict":"ok"}"#,
        r#"{"contest":1,"index":"A","lang":"Befunge","code":"a3","verdict":"OK"}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":"a4","verdict":"SKIPPED"}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":"a5","verdict":null}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":null,"verdict":"OK"}"#,
        r#"{"contest":null,"index":"A","lang":"PyPy 3","code":"a6","verdict":"OK"}"#,
        r#"{"contest":1,"index":"Z","lang":"PyPy 3","code":"z","verdict":"OK"}"#,
        r#"{"contest":1,"index":"A","lang":"PyPy 3","code":"a2","verdict":"OK"}"#,
    ];
    fs_err::write(scene.path("dump"), lines.join("\n")).unwrap();
    let problems = [
        r#"{"contest":1,"index":"A","title":"Sum","text":"Add.","in":"Two numbers.","out":"Their sum.","limit":1.5,"examples":[{"input":"1 2\n","output":"3\n"}]}"#,
        r#"{"contest":1,"index":"B","title":"Max","text":"Compare.","in":"Two.","out":"One.","limit":2,"examples":null}"#,
        r#"{"contest":1,"index":"C","title":"Nothing","text":null,"in":null,"out":null,"limit":null,"examples":null}"#,
    ];
    fs_err::write(scene.path("problems"), problems.join("\n")).unwrap();
    let recipe = format!(
        "[dump]
inputs = {{ submissions = [\"{}\"], problems = \"{}\" }}
columns = {{ contest = \"contest\", index = \"index\", language = \"lang\", source = \"code\", verdict = \"verdict\" }}
problem_columns = {{ contest = \"contest\", index = \"index\", name = \"title\", description = \"text\", input_format = \"in\", output_format = \"out\", time_limit_s = \"limit\", examples = \"examples\" }}
",
        scene.file("dump"),
        scene.file("problems")
    );
    let done = scene.run(&recipe).unwrap();
    for reason in [
        "unknown_language",
        "undecided",
        "no_verdict",
        "empty_solution",
        "no_problem",
        "unknown_problem",
        "duplicate_solution",
        "no_statement",
    ] {
        assert_eq!(
            done.count("dump", &format!("dropped.{reason}")),
            1,
            "{reason}"
        );
    }
    let problems: Vec<Problem> = done.rows("dump", "problems");
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].problem_id, "dump/1A");
    assert_eq!(
        problems[0].description,
        "Add.\n\nInput\n\nTwo numbers.\n\nOutput\n\nTheir sum.\n\nExamples\n\nInput\n\n1 2\n\nOutput\n\n3"
    );
    assert_eq!(
        (problems[0].contest_id, problems[0].time_limit_s),
        (Some(1), Some(1.5))
    );
    let solutions: Vec<Solution> = done.rows("dump", "solutions");
    let rows: Vec<_> = solutions
        .iter()
        .map(|s| {
            (
                s.problem_id.as_str(),
                s.source.as_str(),
                s.correct,
                s.claim.as_deref().unwrap(),
            )
        })
        .collect();
    // Grouped by problem, within it in the order of the dump.
    assert_eq!(
        rows,
        [
            ("dump/1A", "a", false, "WRONG_ANSWER"),
            ("dump/1A", "a2", true, "ok"),
            ("dump/1B", "b", true, "OK"),
            ("dump/1B", "c", false, "TIME_LIMIT_EXCEEDED"),
        ]
    );
}

#[test]
fn pairs_of_a_dump_and_settings_that_do_not_fit() {
    let scene = Scene::new();
    let line = r#"{"task":"t","good":"a","bad":"b"}"#;
    fs_err::write(scene.path("dump"), line).unwrap();
    let columns = r#"problem = "task", correct = "good", incorrect = "bad""#;
    let done = scene.run(&dump(&scene, columns, PYTHON)).unwrap();
    let solutions: Vec<Solution> = done.rows("dump", "solutions");
    let rows: Vec<_> = solutions
        .iter()
        .map(|s| (s.source.as_str(), s.correct))
        .collect();
    assert_eq!(rows, [("a", true), ("b", false)]);
    assert_eq!(done.rows::<Problem>("dump", "problems")[0].name, "t");

    for (columns, keys, word) in [
        (r#"problem = "task", correct = "good""#, PYTHON, "incorrect"),
        (r#"correct = "good", incorrect = "bad""#, PYTHON, "problem"),
        (columns, "require_statement = false", "language"),
        (columns, "language = \"python3\"", "require_statement"),
    ] {
        let message = scene.run(&dump(&scene, columns, keys)).err().unwrap();
        assert!(message.contains(word), "{message}");
    }
}
