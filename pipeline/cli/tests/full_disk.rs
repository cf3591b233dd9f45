//! A full disk: one clear error, nothing half-made, and the same command goes on when there
//! is room. The small disk is a tmpfs in a mount namespace of the test's own.
#![allow(clippy::unwrap_used, missing_docs)]

mod program;

use program::Program;
use std::process::Command;

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
