//! What an input is bound to: another node's output, or files of the user's.
//!
//! In a recipe `"mix.samples"` is output `samples` of node `mix`, `"mix"` its only output,
//! and `"file:data/raw/*.parquet"` files or a directory, relative to the working directory.
//! Files are known to keys by their content alone: moving one changes nothing.

use std::path::{Path, PathBuf};

/// What an input is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An output of another node.
    Node {
        /// The node.
        node: String,
        /// Its output.
        output: String,
    },
    /// Files or a directory of the user's; `*` in the last part matches several.
    Files(String),
}

impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node { node, output } => write!(f, "{node}.{output}"),
            Self::Files(pattern) => write!(f, "file:{pattern}"),
        }
    }
}

/// One artifact an input is bound to, as a stage sees it.
#[derive(Clone, Debug)]
pub struct BoundInput {
    /// The file or directory to read.
    pub path: PathBuf,
    /// What to call it in messages: `mix.samples`, or the file's name.
    pub label: String,
}

/// The files a pattern matches, sorted by name; empty if there are none.
pub(crate) fn expand(pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if !name.contains('*') {
        return Ok(if path.exists() {
            vec![path.to_path_buf()]
        } else {
            Vec::new()
        });
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs_err::read_dir(parent)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|candidate| matches(name, candidate))
        {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_any_characters() {
        assert!(matches("*.parquet", "train-00.parquet"));
        assert!(matches("train-*-of-*.parquet", "train-01-of-39.parquet"));
        assert!(!matches("train-*.parquet", "test-01.parquet"));
        assert!(!matches("a*a", "a"));
        assert!(matches("plain", "plain"));
        assert!(!matches("plain", "plainer"));
    }
}
