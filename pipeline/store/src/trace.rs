//! The record of one finished stage: what was asked (the key document), what came out, and
//! where, when and by which code. Its appearance on disk is the commit.
//!
//! Pretty-printed JSON with sorted keys: `jq` is the query language. Times, host and code
//! fingerprints live here and never in hashed content.

use crate::{Address, Digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One output of a finished stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Where it lies.
    pub address: Address,
    /// Its size; for a directory the sum of its files.
    pub bytes: u64,
    /// The extension its ref gets: `parquet`, `json`, `md`, or empty for a directory.
    pub extension: String,
}

/// The record of one finished stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// The stage's name.
    pub stage: String,
    /// The digest of `document`.
    pub key: Digest,
    /// The key document, verbatim.
    pub document: serde_json::Value,
    /// What came out, by output name.
    pub outputs: BTreeMap<String, OutputRecord>,
    /// Summary numbers the stage reported.
    pub metrics: BTreeMap<String, f64>,
    /// Which trace (`stage/key`) produced each input; inputs from files are absent.
    pub parents: BTreeMap<String, String>,
    /// Fingerprints of the source files that decide the result, by path.
    pub code: BTreeMap<String, String>,
    /// Host, operating system, processor, and the device that computed where a stage has a choice.
    pub platform: BTreeMap<String, String>,
    /// When the stage began (RFC 3339).
    pub started: String,
    /// Wall time of the last run in seconds; a resumed run counts from its resumption.
    pub wall_s: f64,
    /// Checkpoints from which the run was resumed, oldest first.
    pub resumed_from: Vec<String>,
    /// The program's version.
    pub program: String,
}

impl Trace {
    /// `stage/key`, the name under which children record this trace.
    pub fn id(&self) -> String {
        format!("{}/{}", self.stage, self.key)
    }

    /// Every address the trace keeps alive: its outputs.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.outputs.values().map(|output| output.address)
    }
}
