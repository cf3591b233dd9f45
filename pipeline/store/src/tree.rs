//! Directory artifacts: a sorted manifest of the files in them, itself addressed by hash.
//!
//! Written by `object::publish_tree`, read by whoever checks a tree out. The manifest's
//! bytes are canonical (sorted by path, one line an entry), so equal directories have equal
//! addresses whatever order they were written in.

use crate::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One file of a directory artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the directory, with `/` between the parts.
    pub path: String,
    /// The digest of its bytes.
    pub b3: Digest,
    /// How many bytes.
    pub bytes: u64,
}

/// The files of a directory artifact, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest {
    /// The entries.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// A manifest of these entries.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Self { entries }
    }

    /// The canonical bytes that are hashed and stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from("[\n");
        for (index, entry) in self.entries.iter().enumerate() {
            let line = serde_json::to_string(entry).expect("an entry is plain data");
            text.push_str(&line);
            text.push_str(if index + 1 < self.entries.len() {
                ",\n"
            } else {
                "\n"
            });
        }
        text.push_str("]\n");
        text.into_bytes()
    }

    /// The address of the directory.
    pub fn digest(&self) -> Digest {
        Digest::tree(&self.to_bytes())
    }

    /// The sum of the files' sizes.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

/// The files below `root` as (relative path, full path), sorted.
pub(crate) fn files_below(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut stack = vec![root.to_path_buf()];
    while let Some(directory) = stack.pop() {
        for entry in fs_err::read_dir(&directory)? {
            let path = entry?.path();
            // Follows links: a stage may link an input's file into its output.
            let meta = fs_err::metadata(&path)?;
            if meta.is_dir() {
                stack.push(path);
            } else if meta.is_file() {
                let relative = path.strip_prefix(root).expect("found below root");
                let name = relative.to_str().ok_or_else(|| Error::Name(path.clone()))?;
                found.push((name.to_owned(), path));
            } else {
                return Err(Error::Special(path));
            }
        }
    }
    found.sort();
    Ok(found)
}
