//! A full disk: one clear error, nothing half-made, and the same command goes on when there
//! is room. The small disk is a tmpfs in a mount namespace of the test's own.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::Program;
use std::{path::Path, process::Command};

/// Runs a script with a small disk at `$DISK`; its stdout.
fn with_small_disk(script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-ec", script])
        .env("DISK", directory.path())
        .env("IOTA", env!("CARGO_BIN_EXE_iota"))
        .env("IOTA_RECIPE", "tiny")
        .env_remove("IOTA_FAULT")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let whole = Program::new();
    whole.succeed(&["run", "split", "--quiet"]);
    let wanted = whole.digests();
    // Too small for the first stage, for its objects, for what follows.
    for kib in [8, 24, 64] {
        let printed = with_small_disk(&format!(
            r#"
            mount -t tmpfs -o size={kib}k tmpfs "$DISK"
            export IOTA_ARTIFACTS="$DISK/artifacts"
            if "$IOTA" run split --quiet 2>"$DISK/../said.$$"; then echo "it fitted"; fi
            cat "$DISK/../said.$$"; rm "$DISK/../said.$$"
            echo =====
            mount -o remount,size=8m "$DISK"
            "$IOTA" verify >/dev/null
            "$IOTA" run split --quiet
            "$IOTA" verify >/dev/null
            "$IOTA" ls --json
            "#
        ));
        let (said, listing) = printed.split_once("=====\n").unwrap();
        assert!(said.contains("the disk is full"), "{kib} KiB: {said}");
        assert!(
            said.contains("No space left on device"),
            "{kib} KiB: {said}"
        );
        assert_eq!(program::digests(listing), wanted, "{kib} KiB");
    }
}

#[test]
fn a_disk_that_fills_while_sampling_keeps_the_finished_shards() {
    let whole = Program::new();
    whole.succeed(&["run", "split", "--quiet"]);
    let problems = whole.artifacts().join("refs/tiny/split/test.parquet");
    let model = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../stages/model/tests/fixtures/models/llama_ds");
    let recipe = whole.directory.path().join("many.toml");
    let text = format!(
        "seed = 3\n[sample]\ninputs = {{ model = \"file:{}\", problems = \"file:{}\" }}\n\
         samples = 2000\nmax_new_tokens = 12\ntemperature = 1.0\n",
        fs_err::canonicalize(model).unwrap().display(),
        fs_err::canonicalize(problems).unwrap().display()
    );
    fs_err::write(&recipe, text).unwrap();
    let recipe = recipe.display();
    let list = ["ls", "--json", "--recipe", &recipe.to_string()].map(str::to_owned);
    whole.succeed(&["run", "--quiet", "--recipe", &recipe.to_string()]);
    let wanted = program::digests(&whole.succeed(&list.each_ref().map(String::as_str)));
    // Name, inode and time of every shard, after the first full disk and after the second.
    let printed = with_small_disk(&format!(
        r#"
        export IOTA_ARTIFACTS="$DISK/artifacts"
        sample() {{ "$IOTA" run --quiet --recipe "{recipe}" 2>"$DISK/../said.$$"; }}
        shards() {{ find "$DISK/artifacts/partial" -path '*/shards/*' -type f -printf '%f %i %T@\n'; }}
        mount -t tmpfs -o size=256k tmpfs "$DISK"
        for size in 320k 16m; do
            if sample; then echo "it fitted"; fi
            cat "$DISK/../said.$$"
            echo =====
            shards
            echo =====
            mount -o remount,size=$size "$DISK"
        done
        sample
        rm "$DISK/../said.$$"
        "$IOTA" verify >/dev/null
        "$IOTA" ls --json --recipe "{recipe}"
        "#
    ));
    let parts: Vec<&str> = printed.split("=====\n").collect();
    let [said, first, again, second, listing] = parts[..] else {
        panic!("{printed}");
    };
    for said in [said, again] {
        assert!(said.contains("the disk is full"), "{said}");
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines(first), lines(second));
    assert!(!first.is_empty() && first.len() < second.len(), "{printed}");
    // Nothing is drawn twice: what was there was not written again.
    assert!(
        first.iter().all(|shard| second.contains(shard)),
        "{printed}"
    );
    assert_eq!(program::digests(listing), wanted);
}
