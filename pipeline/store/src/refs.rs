//! Names for people: `refs/<recipe>/<node>/<output>.parquet` and friends, runs and pins.
//!
//! Links are relative and replaced in one step, so that a reader never sees half a change
//! and the whole store can be moved. `trace.json` beside the outputs is a link to the trace
//! and the root from which `gc` finds what is in use.

use crate::{
    Digest, Error, Result, Store, Trace,
    disk::{relative, remove, symlink, write_atomic},
    fault,
};
use std::{collections::BTreeMap, path::PathBuf};

impl Store {
    /// The directory of one node's links.
    pub fn ref_dir(&self, recipe: &str, node: &str) -> PathBuf {
        self.root().join("refs").join(recipe).join(node)
    }

    /// Points a node's links at a trace's outputs. Touches the disk only where a link differs.
    pub fn link_refs(&self, recipe: &str, node: &str, trace: &Trace) -> Result<()> {
        let directory = self.ref_dir(recipe, node);
        let to = relative(&directory, &self.trace_path(&trace.stage, trace.key));
        let link = directory.join("trace.json");
        let unchanged = std::fs::read_link(&link).is_ok_and(|old| old == to);
        if !unchanged {
            // A node that now means another stage may have links with other names.
            if let Ok(entries) = fs_err::read_dir(&directory) {
                for entry in entries {
                    let name = entry?.file_name();
                    let known = trace.outputs.iter().any(|(output, record)| {
                        name.to_str() == Some(&file_name(output, &record.extension))
                    });
                    if !known && name != "trace.json" {
                        remove(&directory.join(name))?;
                    }
                }
            }
        }
        for (output, record) in &trace.outputs {
            let link = directory.join(file_name(output, &record.extension));
            let target = self.checkout(record.address)?;
            symlink(&relative(&directory, &target), &link, &self.tmp())?;
        }
        if !unchanged {
            symlink(&to, &link, &self.tmp())?;
            fault::point("refs.linked");
        }
        Ok(())
    }

    /// The trace that a node's links point at.
    pub fn linked_trace(&self, recipe: &str, node: &str) -> Result<Option<Trace>> {
        let path = self.ref_dir(recipe, node).join("trace.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| Error::Record { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every (recipe, node) that has links, sorted.
    pub fn linked(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for recipe in names(&self.root().join("refs"))? {
            for node in names(&self.root().join("refs").join(&recipe))? {
                if self.ref_dir(&recipe, &node).join("trace.json").is_symlink() {
                    found.push((recipe.clone(), node));
                }
            }
        }
        Ok(found)
    }

    /// Records which keys a run used, so that `gc` keeps the last runs whole.
    pub fn record_run(
        &self,
        recipe: &str,
        time: &str,
        keys: &BTreeMap<String, String>,
    ) -> Result<()> {
        let path = self
            .root()
            .join("runs")
            .join(recipe)
            .join(format!("{time}.json"));
        let bytes = serde_json::to_vec_pretty(keys).expect("a map of strings");
        write_atomic(&path, &bytes, &self.tmp(), || {})
    }

    /// Pins the traces that a node's links point at under a name that `gc` respects.
    pub fn pin(&self, name: &str, keys: &BTreeMap<String, String>) -> Result<()> {
        check_name(name, "pin")?;
        let path = self.root().join("pins").join(format!("{name}.json"));
        let bytes = serde_json::to_vec_pretty(keys).expect("a map of strings");
        write_atomic(&path, &bytes, &self.tmp(), || {})
    }

    /// Removes a pin; says whether there was one.
    pub fn unpin(&self, name: &str) -> Result<bool> {
        check_name(name, "pin")?;
        let path = self.root().join("pins").join(format!("{name}.json"));
        let existed = path.exists();
        remove(&path)?;
        Ok(existed)
    }

    /// Where a key's half-done work lies.
    pub fn partial_dir(&self, key: Digest) -> PathBuf {
        self.root().join("partial").join(key.to_string())
    }
}

fn file_name(output: &str, extension: &str) -> String {
    if extension.is_empty() {
        output.to_owned()
    } else {
        format!("{output}.{extension}")
    }
}

pub(crate) fn check_name(name: &str, what: &'static str) -> Result<()> {
    let good = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
        });
    if good {
        Ok(())
    } else {
        Err(Error::BadName(name.to_owned(), what))
    }
}

/// The names in a directory, sorted; none if it is not there. Hidden names are left out.
pub(crate) fn names(directory: &std::path::Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match fs_err::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
        Ok(entries) => {
            for entry in entries {
                if let Ok(name) = entry?.file_name().into_string()
                    && !name.starts_with('.')
                {
                    names.push(name);
                }
            }
        }
    }
    names.sort();
    Ok(names)
}
