//! Which source text a result was made by.
//!
//! Recorded in the trace and compared on a hit, never part of the key: a changed comment
//! must not re-run a week of training, a changed formula should be noticed. The hashes are
//! made at build time with comments and blanks taken out.

use std::collections::BTreeMap;

/// Source path to hash of its text.
pub type Fingerprint = BTreeMap<String, String>;

/// The entries of `code` that lie at or below one of `sources`.
pub(crate) fn fingerprint(sources: &[&str], code: &[(&str, &str)]) -> Fingerprint {
    code.iter()
        .filter(|(path, _)| {
            sources.iter().any(|source| {
                path.strip_prefix(source).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || source.ends_with('/')
                })
            })
        })
        .map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned()))
        .collect()
}

/// The paths in which two fingerprints differ.
pub(crate) fn changed(old: &Fingerprint, new: &Fingerprint) -> Vec<String> {
    let mut paths: Vec<String> = old
        .iter()
        .filter(|(path, hash)| new.get(*path) != Some(hash))
        .map(|(path, _)| path.clone())
        .chain(new.keys().filter(|path| !old.contains_key(*path)).cloned())
        .collect();
    paths.sort();
    paths
}
