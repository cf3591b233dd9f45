//! Drives `iota-inspect` from outside, on two small tables in the form our stages write.
//!
//! The fixtures were made with pyarrow (`fixtures/make.py`), so what is expected here was
//! worked out by hand and not by polars. Nothing here links polars.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The samples under a name without extension, as objects of the store have.
struct Object(tempfile::TempDir);

impl Object {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("3fe2"), bytes).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("3fe2")
    }
}

fn samples() -> Vec<u8> {
    fs_err::read(fixture("samples.parquet")).unwrap()
}

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iota-inspect"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a query over `samples` (an object without extension) and `problems`.
fn sql(query: &str, more: &[&str]) -> Output {
    let object = Object::new(&samples());
    let tables = [
        format!("samples={}", object.path().display()),
        format!("problems={}", fixture("problems.parquet").display()),
    ];
    let mut arguments = vec!["sql", query, "--table", &tables[0], "--table", &tables[1]];
    arguments.extend(more);
    inspect(&arguments)
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(output.stdout.is_empty());
    text(&output.stderr)
}

#[test]
fn a_query_over_one_table() {
    let output = sql(
        "select language, count(*) as programs, avg(prompt_tokens) as tokens
         from samples group by language order by language",
        &["--json"],
    );
    assert_eq!(
        rows(&output),
        [
            json!({"language": "cpp", "programs": 2, "tokens": 20.0}),
            json!({"language": "python3", "programs": 2, "tokens": 30.0}),
        ]
    );
}

#[test]
fn columns_keep_their_order() {
    let output = sql(
        "select prompt_tokens, correct, language from samples limit 1",
        &["--json"],
    );
    assert_eq!(
        text(&output.stdout),
        "{\"prompt_tokens\":10,\"correct\":true,\"language\":\"cpp\"}\n"
    );
}

#[test]
fn a_query_joins_tables() {
    let output = sql(
        "select s.problem_id, p.rating from samples s join problems p
         on s.problem_id = p.problem_id where s.correct order by s.prompt_tokens",
        &["--json"],
    );
    assert_eq!(
        rows(&output),
        [
            json!({"problem_id": "sum", "rating": 800}),
            json!({"problem_id": "max", "rating": null}),
            json!({"problem_id": "echo", "rating": 1200}),
        ]
    );
}

#[test]
fn json_holds_whole_values() {
    let output = sql(
        "select completion, normalised_distance from samples order by prompt_tokens",
        &["--json"],
    );
    let rows = rows(&output);
    assert_eq!(rows[1]["completion"], "print('é')\n");
    assert_eq!(rows[2]["completion"], "x".repeat(300));
    assert_eq!(rows[3]["completion"], Value::Null);
    // JSON has no NaN.
    assert_eq!(rows[2]["normalised_distance"], Value::Null);
}

#[test]
fn json_holds_nested_values() {
    let output = sql("select tags, public_tests from problems", &["--json"]);
    let rows = rows(&output);
    assert_eq!(rows[2]["tags"], json!(["strings", "easy"]));
    assert_eq!(rows[2]["public_tests"], json!([]));
    assert_eq!(
        rows[1]["public_tests"],
        json!([{"input": "2\n1 2\n", "output": "2\n"}, {"input": "1\n-5\n", "output": "-5\n"}])
    );
}

#[test]
fn people_see_cut_cells_and_a_count() {
    let output = sql("select completion, prompt_tokens from samples", &[]);
    let table = text(&output.stdout);
    assert!(output.status.success());
    assert!(table.contains("int main() {}\\n"), "{table}");
    assert!(
        table.contains("xxx…") && !table.contains(&"x".repeat(60)),
        "{table}"
    );
    assert_eq!(text(&output.stderr), "4 rows\n");
}

#[test]
fn rows_are_limited_and_that_is_said() {
    let output = sql("select problem_id from samples", &["--rows", "3"]);
    assert!(text(&output.stderr).starts_with("the first 3 rows"));
    let output = sql("select problem_id from samples", &["--rows", "3", "--json"]);
    assert_eq!(rows(&output).len(), 3);
    let output = sql("select problem_id from samples", &["--rows", "4"]);
    assert_eq!(text(&output.stderr), "4 rows\n");
}

#[test]
fn an_unknown_table_is_answered_with_those_there_are() {
    let said = failure(&sql("select * from sample", &[]));
    assert!(said.contains("'sample'"), "{said}");
    assert!(
        said.contains("help: the tables are problems, samples"),
        "{said}"
    );
}

#[test]
fn an_unknown_column_is_answered_with_those_there_are() {
    let said = failure(&sql("select tokens from samples", &[]));
    assert!(said.contains("tokens"), "{said}");
    assert!(
        said.contains(r#"valid columns: ["problem_id", "language", "completion""#),
        "{said}"
    );
    assert!(!said.contains("Resolved plan"), "{said}");
}

#[test]
fn bad_sql_is_one_line() {
    let said = failure(&sql("selec language from samples", &[]));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: "), "{said}");
    let said = failure(&sql("select 1; select 2", &[]));
    assert!(said.contains("only one"), "{said}");
}

#[test]
fn a_broken_table_stops_only_its_own_queries() {
    let whole = samples();
    let cut = Object::new(&whole[..whole.len() / 2]);
    let broken = format!("broken={}", cut.path().display());
    let output = sql(
        "select count(*) as n from samples",
        &["--json", "--table", &broken],
    );
    assert_eq!(rows(&output), [json!({"n": 4})]);
    let said = failure(&sql("select * from broken", &["--table", &broken]));
    assert!(
        said.contains("table `broken`") && said.contains("cut off"),
        "{said}"
    );
}

#[test]
fn files_that_are_no_tables_are_named() {
    for (bytes, why) in [
        (&b"{\"a\": 1}\n{\"a\": 2}\n"[..], "not a Parquet file"),
        (&b"PA"[..], "too short"),
        (&b""[..], "too short"),
        (&b"PAR1 and then nothing"[..], "cut off"),
        (&b"PAR1\xff\xff\xff\x7fPAR1"[..], "cannot read"),
    ] {
        let object = Object::new(bytes);
        let path = object.path().display().to_string();
        let said = failure(&inspect(&["show", &path]));
        assert!(said.contains(why) && said.contains(&path), "{said}");
    }
    let said = failure(&inspect(&["show", "/nowhere/at/all.parquet"]));
    assert!(said.contains("/nowhere/at/all.parquet"), "{said}");
}

#[test]
fn a_table_argument_without_a_path_is_a_usage_error() {
    let output = inspect(&["sql", "select 1", "--table", "samples"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("NAME=PATH"));
}

#[test]
fn show_measures_every_column() {
    let object = Object::new(&samples());
    let path = object.path().display().to_string();
    let output = inspect(&["show", &path, "--json", "--rows", "1"]);
    let found = &rows(&output)[0];
    assert_eq!(found["v"], 1);
    assert_eq!(found["rows"], 4);
    assert_eq!(found["head"].as_array().unwrap().len(), 1);
    let column = |name: &str| {
        let columns = found["columns"].as_array().unwrap();
        columns
            .iter()
            .find(|column| column["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        column("problem_id"),
        json!({"name": "problem_id", "type": "str", "nulls": 0, "unique": 3,
               "min_length": 3, "mean_length": 3.25, "max_length": 4})
    );
    // Characters and not bytes; a null has no length.
    assert_eq!(column("completion")["nulls"], 1);
    assert_eq!(column("completion")["min_length"], 11);
    assert_eq!(column("completion")["max_length"], 300);
    assert_eq!(
        column("prompt_tokens"),
        json!({"name": "prompt_tokens", "type": "u32", "nulls": 0, "unique": 4,
               "min": 10, "mean": 25.0, "max": 40})
    );
    assert_eq!(column("correct")["mean"], 0.75);
}

#[test]
fn show_measures_lists_by_their_items() {
    let path = fixture("problems.parquet").display().to_string();
    let found = &rows(&inspect(&["show", &path, "--json"]))[0];
    let tests = found["columns"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        tests,
        json!({"name": "public_tests", "type": "list[struct[input, output]]", "nulls": 0,
               "min_length": 0, "mean_length": 1.0, "max_length": 2})
    );
}

#[test]
fn show_prints_for_people() {
    let path = fixture("samples.parquet").display().to_string();
    let output = inspect(&["show", &path, "--rows", "2"]);
    let shown = text(&output.stdout);
    assert!(shown.starts_with("4 rows, 6 columns, "), "{shown}");
    assert!(shown.contains("11 chars"), "{shown}");
    assert!(shown.contains("row 1\n  problem_id"), "{shown}");
    assert!(!shown.contains("row 2"), "{shown}");
    assert!(output.stderr.is_empty());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    use std::process::Stdio;
    let path = fixture("samples.parquet").display().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_iota-inspect"))
        .args(["show", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}
