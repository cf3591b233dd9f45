//! Does the engine run what it must and nothing else: cutoff, return, resume, refusal.
#![allow(clippy::unwrap_used, missing_docs)]

mod fake;

use engine::{Error, plan::State, why::Reason};
use fake::{chain, recipe, registry, registry_with, run_all, run_with, store};

#[test]
fn the_second_run_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let recipe = recipe(&chain("three", "")).unwrap();
    assert_eq!(run_all(&recipe, &store).unwrap(), ["a", "b", "join"]);
    assert!(run_all(&recipe, &store).unwrap().is_empty());
    let line = store.ref_dir("test", "join").join("line/line.txt");
    assert_eq!(fs_err::read_to_string(line).unwrap(), "one-two-three");
}

#[test]
fn equal_content_stops_a_change_early() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    run_all(&recipe(&chain("three", "")).unwrap(), &store).unwrap();
    // Another text, the same words: `join` must not run.
    let changed = recipe(&chain("three x", "")).unwrap();
    assert_eq!(run_all(&changed, &store).unwrap(), ["b"]);
}

#[test]
fn going_back_runs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let (a, b) = (
        recipe(&chain("three", "")).unwrap(),
        recipe(&chain("four", "")).unwrap(),
    );
    run_all(&a, &store).unwrap();
    assert_eq!(run_all(&b, &store).unwrap(), ["b", "join"]);
    assert!(run_all(&a, &store).unwrap().is_empty());
    let line = store.ref_dir("test", "join").join("line/line.txt");
    assert_eq!(fs_err::read_to_string(line).unwrap(), "one-two-three");
}

#[test]
fn how_is_not_in_the_key_and_a_stopped_stage_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let stopping = recipe(&chain("three", "how = { stop_after = 2 }")).unwrap();
    assert!(matches!(
        run_all(&stopping, &store),
        Err(Error::Interrupted)
    ));
    let going = recipe(&chain("three", "")).unwrap();
    let steps = engine::plan::plan(&going, &[], &store, &registry()).unwrap();
    assert!(matches!(&steps[2].state, State::Resume(_, place) if place == "at step 2"));
    assert_eq!(run_all(&going, &store).unwrap(), ["join"]);
    let trace = store.linked_trace("test", "join").unwrap().unwrap();
    assert_eq!(trace.resumed_from, ["step 2"]);
    let line = store.ref_dir("test", "join").join("line/line.txt");
    assert_eq!(fs_err::read_to_string(line).unwrap(), "one-two-three");
    assert!(!store.partial_dir(trace.key).exists());
}

#[test]
fn another_setting_never_resumes_foreign_work() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let stopping = recipe(&chain("three", "how = { stop_after = 2 }")).unwrap();
    assert!(run_all(&stopping, &store).is_err());
    let other = recipe(&chain("three", "").replace("\"-\"", "\"+\"")).unwrap();
    run_all(&other, &store).unwrap();
    let trace = store.linked_trace("test", "join").unwrap().unwrap();
    assert!(trace.resumed_from.is_empty());
}

#[test]
fn a_lost_object_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let recipe = recipe(&chain("three", "")).unwrap();
    run_all(&recipe, &store).unwrap();
    let trace = store.linked_trace("test", "b").unwrap().unwrap();
    fs_err::remove_file(store.object_path(trace.outputs["words"].address.digest())).unwrap();
    assert_eq!(run_all(&recipe, &store).unwrap(), ["b"]);
}

#[test]
fn a_failed_stage_records_nothing_and_names_itself() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let failing = recipe(&chain("three", "").replace("[b]", "[b]\nfail = true")).unwrap();
    let error = run_all(&failing, &store).unwrap_err();
    assert!(
        matches!(&error, Error::Stage { node, .. } if node == "b"),
        "{error}"
    );
    assert!(store.linked_trace("test", "b").unwrap().is_none());
    assert!(store.linked_trace("test", "a").unwrap().is_some());
}

#[test]
fn an_unreadable_output_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let bad = recipe("[words]\ntext = \"x\"\nnonsense = true\n").unwrap();
    let error = run_all(&bad, &store).unwrap_err();
    assert!(matches!(error, Error::BadOutput { .. }), "{error}");
    assert!(store.traces("words").unwrap().is_empty());
}

#[test]
fn changed_source_text_is_told_and_strict_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let recipe = recipe(&chain("three", "")).unwrap();
    run_all(&recipe, &store).unwrap();
    let changed = registry_with(&[("fake/words.rs", "1"), ("fake/join.rs", "2")]);
    let steps = engine::plan::plan(&recipe, &[], &store, &changed).unwrap();
    assert_eq!(steps[2].code_changed, ["fake/join.rs"]);
    assert!(
        run_with(&recipe, &store, &changed, false, &[])
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        run_with(&recipe, &store, &changed, true, &[]).unwrap(),
        ["join"]
    );
}

#[test]
fn force_runs_one_node() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let recipe = recipe(&chain("three", "")).unwrap();
    run_all(&recipe, &store).unwrap();
    assert_eq!(
        run_with(&recipe, &store, &registry(), false, &["a"]).unwrap(),
        ["a"]
    );
}

#[test]
fn why_names_the_setting_and_the_node_behind_an_input() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    run_all(&recipe(&chain("three", "")).unwrap(), &store).unwrap();
    let changed = recipe(&chain("four", "")).unwrap();
    let steps = engine::plan::plan(&changed, &[], &store, &registry()).unwrap();
    assert_eq!(steps[2].state.word(), "maybe");
    let reasons = engine::why::why(&changed, &steps, "join", &store).unwrap();
    assert_eq!(reasons["join"], [Reason::Upstream { node: "b".into() }]);
    assert_eq!(
        reasons["b"],
        [Reason::Setting {
            path: "what.text".into(),
            old: "three".into(),
            new: "four".into()
        }]
    );
}

#[test]
fn files_are_known_by_content() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let (first, second) = (
        directory.path().join("first.txt"),
        directory.path().join("second.txt"),
    );
    fs_err::write(&first, "hello").unwrap();
    fs_err::write(&second, "hello").unwrap();
    let text = |path: &std::path::Path| {
        format!(
            "[words]\ntext = \"x\"\ninputs = {{ more = \"file:{}\" }}\n",
            path.display()
        )
    };
    assert_eq!(
        run_all(&recipe(&text(&first)).unwrap(), &store).unwrap(),
        ["words"]
    );
    // The same bytes elsewhere are the same input.
    assert!(
        run_all(&recipe(&text(&second)).unwrap(), &store)
            .unwrap()
            .is_empty()
    );
    fs_err::write(&second, "world").unwrap();
    assert_eq!(
        run_all(&recipe(&text(&second)).unwrap(), &store).unwrap(),
        ["words"]
    );
    fs_err::remove_file(&second).unwrap();
    let error = run_all(&recipe(&text(&second)).unwrap(), &store).unwrap_err();
    assert!(matches!(error, Error::MissingData { .. }), "{error}");
}
