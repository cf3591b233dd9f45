//! The Parquet writer and reader: same bytes, bounded batches, clear errors.
#![allow(clippy::unwrap_used)]

mod scene;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, LargeStringArray, RecordBatch, StringArray};
use corpus::schema::{Problem, Sample, Solution, TestCase};
use corpus::table::{self, Row as _, Table, TableWriter};
use scene::{Scene, problem, solution, with_column, write_batch};

fn full_problem() -> Problem {
    let test = |text: &str| TestCase {
        input: text.to_owned(),
        output: format!("{text}\n"),
    };
    Problem {
        contest_id: Some(1),
        index: Some("A".to_owned()),
        rating: Some(-3),
        tags: vec!["dp".to_owned(), "é".to_owned()],
        difficulty: 7,
        time_limit_s: Some(2.5),
        memory_limit_bytes: Some(1 << 40),
        public_tests: vec![test("1"), test("")],
        generated_tests: vec![test("3")],
        input_file: Some("in.txt".to_owned()),
        ..problem("x/1", "train", "Statement")
    }
}

#[test]
fn every_column_comes_back() {
    let scene = Scene::new();
    let rows = vec![full_problem(), problem("x/2", "test", "")];
    table::write(&scene.path("t"), rows.clone()).unwrap();
    assert_eq!(table::read::<Problem>(&scene.path("t"), "t").unwrap(), rows);
}

#[test]
fn same_rows_same_bytes_and_any_range() {
    let scene = Scene::new();
    // Several batches, and text that makes more than one row group.
    let row = |i: usize| {
        let noise = blake3::hash(&i.to_le_bytes()).to_hex().repeat(120);
        solution("x/1", &format!("{i} {noise}"), i.is_multiple_of(2), "x")
    };
    for name in ["a", "b"] {
        let mut writer = TableWriter::<Solution>::create(&scene.path(name)).unwrap();
        for i in 0..10_000 {
            writer.push(row(i)).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), 10_000);
    }
    assert_eq!(
        fs_err::read(scene.path("a")).unwrap(),
        fs_err::read(scene.path("b")).unwrap()
    );
    let table = Table::<Solution>::open(&scene.path("a"), "a").unwrap();
    assert_eq!(table.len(), 10_000);
    for (start, end) in [(0, 3), (4_090, 4_100), (9_998, 20_000), (5, 5)] {
        let rows: Vec<Solution> = table
            .range(start, end)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let wanted: Vec<Solution> = (start as usize..end.min(10_000) as usize)
            .map(row)
            .collect();
        assert_eq!(rows, wanted);
    }
}

#[test]
fn errors_name_file_column_and_row() {
    let scene = Scene::new();
    let path = scene.path("t");
    let message = || {
        Table::<Solution>::open(&path, "mine")
            .err()
            .map(|e| format!("{e:#}"))
            .unwrap()
    };
    let good = Solution::to_batch(&[
        solution("x/1", "a", true, "x"),
        solution("x/1", "b", true, "x"),
    ]);

    write_batch(&path, &with_column(&good, "language", None));
    assert!(message().contains("mine"), "{}", message());
    assert!(message().contains("no column `language`"), "{}", message());

    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    write_batch(&path, &with_column(&good, "source", Some(numbers)));
    assert!(
        message().contains("column `source` of mine"),
        "{}",
        message()
    );
    assert!(
        message().contains("Int32") && message().contains("LargeUtf8"),
        "{}",
        message()
    );

    let nulls: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("a"), None]));
    write_batch(&path, &with_column(&good, "source", Some(nulls)));
    let error = table::read::<Solution>(&path, "mine").unwrap_err();
    assert!(
        format!("{error:#}").contains("`source` of mine is null in row 1"),
        "{error:#}"
    );

    write_batch(&path, &good);
    let whole = fs_err::read(&path).unwrap();
    fs_err::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(
        message().contains("mine") && message().contains("cut off"),
        "{}",
        message()
    );
    fs_err::write(&path, "problem,solution\n1,2\n").unwrap();
    assert!(
        message().contains("not a complete Parquet file"),
        "{}",
        message()
    );
    fs_err::write(&path, "").unwrap();
    assert!(
        message().contains("not a complete Parquet file"),
        "{}",
        message()
    );
}

#[test]
fn tables_of_other_writers_are_read() {
    let scene = Scene::new();
    let good = Solution::to_batch(&[solution("x/1", "a", true, "x")]);
    let column: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let batch = with_column(&good, "source", Some(column));
    // An extra column is no harm.
    let mut columns: Vec<(String, ArrayRef)> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| (field.name().clone(), Arc::clone(array)))
        .collect();
    columns.insert(0, ("note".to_owned(), Arc::new(Int32Array::from(vec![1]))));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write_batch(&scene.path("t"), &batch);
    let rows: Vec<Solution> = table::read(&scene.path("t"), "t").unwrap();
    assert_eq!(rows, [solution("x/1", "a", true, "x")]);
}

#[test]
fn empty_tables_have_columns() {
    let scene = Scene::new();
    assert_eq!(table::write::<Sample>(&scene.path("t"), []).unwrap(), 0);
    let table = Table::<Sample>::open(&scene.path("t"), "t").unwrap();
    assert!(table.is_empty());
    assert_eq!(table.rows().unwrap().count(), 0);
}
