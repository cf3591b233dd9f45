//! The store's promises: addresses by content, whole or nothing, refs that follow, garbage
//! that is garbage, corruption that is found.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Duration};
use store::{Address, Digest, Error, Finding, GcOptions, OutputRecord, Store, Trace, key_digest};

fn open(directory: &Path) -> Store {
    Store::open(directory.join("artifacts")).unwrap()
}

fn write(store: &Store, name: &str, text: &str) -> std::path::PathBuf {
    let path = store.tmp().join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(&path, text).unwrap();
    path
}

/// Publishes a text as the only output of a made-up stage.
fn commit(store: &Store, stage: &str, text: &str, parents: &[&Trace]) -> Trace {
    let (digest, bytes) = store.publish_file(&write(store, "text", text)).unwrap();
    let record = OutputRecord {
        address: Address::Object(digest),
        bytes,
        extension: "json".into(),
    };
    let document = json!({"stage": stage, "text": text});
    let trace = Trace {
        stage: stage.into(),
        key: key_digest(document.to_string().as_bytes()),
        document,
        outputs: BTreeMap::from([("out".to_owned(), record)]),
        metrics: BTreeMap::new(),
        parents: parents
            .iter()
            .map(|trace| (trace.stage.clone(), trace.id()))
            .collect(),
        code: BTreeMap::new(),
        platform: BTreeMap::new(),
        started: "2026-11-01T00:00:00Z".into(),
        wall_s: 2.0,
        resumed_from: Vec::new(),
        program: "test".into(),
    };
    store.commit(&trace).unwrap();
    trace
}

fn gc(store: &Store, delete: bool) -> store::GcReport {
    store
        .gc(&GcOptions {
            delete,
            keep_runs: 1,
            grace: Duration::ZERO,
        })
        .unwrap()
}

#[test]
fn equal_bytes_are_stored_once_and_read_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (a, bytes) = store.publish_file(&write(&store, "a", "hello")).unwrap();
    let (b, _) = store.publish_file(&write(&store, "b", "hello")).unwrap();
    assert_eq!((a, bytes), (b, 5));
    assert_eq!(a.to_string(), blake3::hash(b"hello").to_string());
    let path = store.object_path(a);
    assert!(fs_err::metadata(&path).unwrap().permissions().readonly());
    assert!(!store.tmp().join("a").exists() && !store.tmp().join("b").exists());
}

#[test]
fn a_cut_object_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (digest, _) = store.publish_file(&write(&store, "a", "hello")).unwrap();
    fs_err::remove_file(store.object_path(digest)).unwrap();
    fs_err::write(store.object_path(digest), "hel").unwrap();
    store.publish_file(&write(&store, "a", "hello")).unwrap();
    assert_eq!(
        fs_err::read_to_string(store.object_path(digest)).unwrap(),
        "hello"
    );
}

#[test]
fn a_trees_address_does_not_depend_on_the_order_of_writing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let make = |root: &str, names: [&str; 3]| {
        for name in names {
            write(&store, &format!("{root}/{name}"), name);
        }
        store.publish_tree(&store.tmp().join(root)).unwrap()
    };
    let one = make("one", ["b", "a", "sub/c"]);
    let two = make("two", ["sub/c", "a", "b"]);
    assert_eq!(one, two);
    let checkout = store.checkout(Address::Tree(one.0)).unwrap();
    assert_eq!(
        fs_err::read_to_string(checkout.join("sub/c")).unwrap(),
        "sub/c"
    );
    // Files and trees cannot be taken for each other.
    assert!(matches!(
        "b3t:00".parse::<Address>(),
        Err(Error::Address(_))
    ));
    assert_ne!(
        Address::Tree(one.0).to_string(),
        Address::Object(one.0).to_string()
    );
}

#[test]
fn a_linked_file_is_copied_not_moved() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let original = directory.path().join("mine.txt");
    fs_err::write(&original, "mine").unwrap();
    let link = store.tmp().join("link");
    std::os::unix::fs::symlink(&original, &link).unwrap();
    let (digest, _) = store.publish_file(&link).unwrap();
    assert_eq!(fs_err::read_to_string(&original).unwrap(), "mine");
    assert!(
        !fs_err::symlink_metadata(store.object_path(digest))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_trace_counts_only_if_its_objects_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let trace = commit(&store, "stage", "hello", &[]);
    assert!(store.complete_trace("stage", trace.key).unwrap().is_some());
    let path = store.object_path(trace.outputs["out"].address.digest());
    fs_err::remove_file(&path).unwrap();
    assert!(store.complete_trace("stage", trace.key).unwrap().is_none());
    fs_err::write(&path, "hell").unwrap();
    assert!(store.complete_trace("stage", trace.key).unwrap().is_none());
}

#[test]
fn refs_follow_and_forget_old_names() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut trace = commit(&store, "stage", "hello", &[]);
    store.link_refs("mini", "node", &trace).unwrap();
    let link = store.ref_dir("mini", "node").join("out.json");
    assert_eq!(fs_err::read_to_string(&link).unwrap(), "hello");
    assert!(std::fs::read_link(&link).unwrap().is_relative());
    let record = trace.outputs.remove("out").unwrap();
    trace.outputs.insert("other".into(), record);
    trace.key = key_digest(b"another");
    store.commit(&trace).unwrap();
    store.link_refs("mini", "node", &trace).unwrap();
    assert!(!link.is_symlink());
    assert!(store.ref_dir("mini", "node").join("other.json").exists());
    assert_eq!(
        store.linked().unwrap(),
        [("mini".to_owned(), "node".to_owned())]
    );
}

#[test]
fn a_files_digest_is_that_of_its_bytes_whatever_its_size() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for size in [0, 7, (1 << 20) - 1, 1 << 20, 4 << 20, (8 << 20) + 5] {
        let bytes: Vec<u8> = (0..size)
            .map(|place: u32| ((place * 31) >> 3) as u8)
            .collect();
        fs_err::write(&path, &bytes).unwrap();
        let wanted = (store::hash_bytes(&bytes), bytes.len() as u64);
        assert_eq!(store::hash_file(&path).unwrap(), wanted);
    }
}

/// Two runs of a recipe may link a node at the same time, and not mean the same by it.
#[test]
fn refs_may_be_made_by_two_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let one = commit(&store, "stage", "hello", &[]);
    let mut other = commit(&store, "another", "hello", &[]);
    let record = other.outputs.remove("out").unwrap();
    other.outputs.insert("other".into(), record);
    store.commit(&other).unwrap();
    std::thread::scope(|scope| {
        for traces in [[&one, &other], [&other, &one]] {
            let store = &store;
            scope.spawn(move || {
                for trace in traces.iter().cycle().take(400) {
                    store.link_refs("mini", "node", trace).unwrap();
                }
            });
        }
    });
    store.link_refs("mini", "node", &one).unwrap();
    let folder = store.ref_dir("mini", "node");
    assert_eq!(
        fs_err::read_to_string(folder.join("out.json")).unwrap(),
        "hello"
    );
    assert!(folder.join("trace.json").exists());
}

#[test]
fn gc_is_dry_and_keeps_what_roots_need() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let parent = commit(&store, "parent", "p", &[]);
    let child = commit(&store, "child", "c", &[&parent]);
    let old = commit(&store, "child", "old", &[&parent]);
    let pinned = commit(&store, "child", "pinned", &[]);
    store.link_refs("mini", "child", &child).unwrap();
    store
        .pin("keep", &BTreeMap::from([("child".to_owned(), pinned.id())]))
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    let dry = gc(&store, false);
    assert_eq!(dry.traces["child"], (1, 2.0));
    assert!(store.complete_trace("child", old.key).unwrap().is_some());
    let wet = gc(&store, true);
    assert_eq!((wet.files, wet.bytes), (dry.files, dry.bytes));
    for kept in [&parent, &child, &pinned] {
        assert!(
            store
                .complete_trace(&kept.stage, kept.key)
                .unwrap()
                .is_some()
        );
    }
    assert!(store.trace("child", old.key).unwrap().is_none());
    assert!(
        !store
            .object_path(old.outputs["out"].address.digest())
            .exists()
    );
    assert_eq!(gc(&store, true).files, 0);
}

#[test]
fn gc_spares_the_young() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let fresh = commit(&store, "stage", "fresh", &[]);
    let options = GcOptions {
        delete: true,
        keep_runs: 0,
        grace: Duration::from_hours(1),
    };
    store.gc(&options).unwrap();
    assert!(store.complete_trace("stage", fresh.key).unwrap().is_some());
}

#[test]
fn verify_finds_and_repairs_corruption() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let good = commit(&store, "stage", "good", &[]);
    let bad = commit(&store, "stage", "bad", &[]);
    let path = store.object_path(bad.outputs["out"].address.digest());
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, "bat").unwrap();
    // The length is right: only reading it tells.
    assert!(store.complete_trace("stage", bad.key).unwrap().is_some());
    let report = store.verify(false, |_| {}).unwrap();
    assert!(matches!(&report.findings[0], Finding::CorruptObject(found) if *found == path));
    assert!(matches!(&report.findings[1], Finding::BrokenTrace { id, .. } if *id == bad.id()));
    assert_eq!(report.findings.len(), 2);
    store.verify(true, |_| {}).unwrap();
    assert!(store.verify(false, |_| {}).unwrap().findings.is_empty());
    assert!(store.complete_trace("stage", good.key).unwrap().is_some());
    assert!(store.trace("stage", bad.key).unwrap().is_none());
}

#[test]
fn a_damaged_trace_is_named_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let trace = commit(&store, "stage", "text", &[]);
    let path = store
        .root()
        .join(format!("traces/stage/{}.json", trace.key));
    fs_err::write(&path, "{ \"stage\": ").unwrap();
    let error = store
        .complete_trace("stage", trace.key)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(path.to_str().unwrap()) && error.contains("--repair"),
        "{error}"
    );
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    fs_err::write(store.root().join("FORMAT"), "iota-store 9\n").unwrap();
    let error = Store::open(store.root()).unwrap_err().to_string();
    assert!(
        error.contains("iota-store 9") && error.contains("iota-store 1"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_is_there_whole_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let partial = store.partial(key_digest(b"k"));
    assert!(partial.latest().unwrap().is_none());
    for step in [5, 10, 15] {
        partial
            .checkpoint(step, |dir| -> Result<(), Error> {
                Ok(fs_err::write(dir.join("state"), step.to_string())?)
            })
            .unwrap();
    }
    let latest = partial.latest().unwrap().unwrap();
    assert_eq!(latest.step, 15);
    assert_eq!(
        fs_err::read_to_string(latest.dir.join("state")).unwrap(),
        "15"
    );
    let root = store.partial_dir(key_digest(b"k"));
    assert!(!root.join("step-00000005").exists() && root.join("step-00000010").exists());
    // A directory that LATEST does not name is not resumed from.
    fs_err::create_dir(root.join("step-00000099")).unwrap();
    assert_eq!(partial.latest().unwrap().unwrap().step, 15);
}

#[test]
fn a_second_locker_waits_and_is_told_for_whom() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key: Digest = key_digest(b"k");
    let first = store
        .lock_key(key, |_| panic!("free"), || false)
        .unwrap()
        .unwrap();
    assert!(store.key_is_locked(key));
    let mut told = None;
    let gave_up = store
        .lock_key(key, |holder| told = holder, || true)
        .unwrap();
    assert!(gave_up.is_none());
    assert_eq!(told.unwrap().pid, std::process::id());
    drop(first);
    assert!(
        store
            .lock_key(key, |_| panic!("free again"), || false)
            .unwrap()
            .is_some()
    );
}

#[test]
fn the_stat_index_rereads_what_may_have_changed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let path = directory.path().join("data.txt");
    fs_err::write(&path, "one").unwrap();
    let mut index = store.stat_index();
    let first = index.hash(&path).unwrap();
    index.save().unwrap();
    // Same length, within the clock's grain: must not be taken for unchanged.
    fs_err::write(&path, "two").unwrap();
    let mut index = store.stat_index();
    assert_ne!(index.hash(&path).unwrap(), first);
}
