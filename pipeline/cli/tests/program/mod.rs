//! Drives the built program: runs it in a store of its own, waits, kills, reads traces.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// A store in a temporary directory and the program that works on it.
pub struct Program {
    pub directory: tempfile::TempDir,
}

impl Program {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A copy of another program's store.
    pub fn copy_of(other: &Self) -> Self {
        let new = Self::new();
        let status = Command::new("cp")
            .arg("-a")
            .arg(other.artifacts())
            .arg(new.artifacts())
            .status()
            .unwrap();
        assert!(status.success());
        new
    }

    pub fn artifacts(&self) -> PathBuf {
        self.directory.path().join("artifacts")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iota"));
        command
            .args(args)
            .env("IOTA_ARTIFACTS", self.artifacts())
            .env("IOTA_RECIPE", "tiny")
            .env("IOTA_DEVICE", "cpu")
            .env_remove("IOTA_FAULT")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs and expects success; what it printed to stdout.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}\n{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs with a crash at a fault point; says whether the point was reached.
    pub fn crash(&self, args: &[&str], fault: &str) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let output = self
            .command(args)
            .env("IOTA_FAULT", fault)
            .output()
            .unwrap();
        output.status.signal() == Some(9)
    }

    /// The address of every output, by `node/output`.
    pub fn digests(&self) -> BTreeMap<String, String> {
        digests(&self.succeed(&["ls", "--json"]))
    }
}

/// The address of every output, by `node/output`, from `iota ls --json`.
pub fn digests(listing: &str) -> BTreeMap<String, String> {
    listing
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            (
                format!("{}/{}", text("node"), text("output")),
                text("address"),
            )
        })
        .collect()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
