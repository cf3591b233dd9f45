//! A program that lies in a file or a folder: its language, its text, what lies beside it.
//!
//! Used for checkers and by `package.rs`; the language is guessed by the suffix of the file.

use anyhow::{Context as _, ensure};
use sandbox::{CompileError, Compiled, Language, Sandbox};
use std::path::{Path, PathBuf};

/// Suffixes and the names of their languages.
const SUFFIXES: [(&str, &str); 10] = [
    ("cpp", "cpp"),
    ("cc", "cpp"),
    ("cxx", "cpp"),
    ("c++", "cpp"),
    ("C", "cpp"),
    ("c", "c"),
    ("py", "python3"),
    ("py3", "python3"),
    ("java", "java"),
    ("rs", "rust"),
];

/// More files than this in one folder are no program.
const MOST_FILES: usize = 33;

/// A program's text and the files beside it.
pub(crate) struct ProgramFile {
    /// The name of its language, as in tables.
    pub(crate) language: String,
    source: Vec<u8>,
    others: Vec<(String, Vec<u8>)>,
}

impl ProgramFile {
    /// Reads a source, or a folder with sources and headers; `language` if it is not guessed.
    pub(crate) fn read(path: &Path, language: Option<&str>) -> anyhow::Result<Self> {
        let (main, others) = if path.is_dir() {
            main_of(path)?
        } else {
            (path.to_owned(), Vec::new())
        };
        let source = fs_err::read(&main)?;
        let language = match language {
            Some(name) => name.to_owned(),
            None => guess(&main, &source)?,
        };
        let mut beside = Vec::new();
        for other in others {
            let name = other.file_name().unwrap_or_default();
            beside.push((name.to_string_lossy().into_owned(), fs_err::read(&other)?));
        }
        Ok(Self {
            language,
            source,
            others: beside,
        })
    }

    /// Compiles it.
    pub(crate) fn compile(
        &self,
        sandbox: &Sandbox,
        language: Language,
    ) -> Result<Result<Compiled, CompileError>, sandbox::Error> {
        let others: Vec<(&str, &[u8])> = self
            .others
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        sandbox.compile_files(language, &self.source, &others)
    }
}

/// The language a suffix stands for.
fn by_suffix(path: &Path) -> Option<&'static str> {
    let suffix = path.extension()?.to_str()?;
    let found = SUFFIXES.iter().find(|(other, _)| *other == suffix);
    found.map(|(_, language)| *language)
}

fn guess(path: &Path, source: &[u8]) -> anyhow::Result<String> {
    let name = by_suffix(path).with_context(|| {
        let known: Vec<&str> = SUFFIXES.iter().map(|(suffix, _)| *suffix).collect();
        format!(
            "the language of {} cannot be told by its suffix (known: {}); name it",
            path.display(),
            known.join(", ")
        )
    })?;
    let first = source.split(|&byte| byte == b'\n').next().unwrap_or(b"");
    let is_python_2 = first.starts_with(b"#!") && first.windows(7).any(|part| part == b"python2");
    Ok(if is_python_2 { "python2" } else { name }.to_owned())
}

/// The source to begin with and what lies beside it.
fn main_of(folder: &Path) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    // Build scripts have no suffix.
    files.retain(|file| file.is_file() && file.extension().is_some());
    files.sort();
    let is_source = |file: &&PathBuf| by_suffix(file).is_some();
    let is_main = |file: &&PathBuf| file.file_stem().is_some_and(|stem| stem == "main");
    let mut sources = files.iter().filter(is_source);
    let main = sources
        .clone()
        .find(is_main)
        .or_else(|| sources.next())
        .cloned()
        .with_context(|| format!("{} has no source in a known language", folder.display()))?;
    let count = files.len();
    ensure!(
        count <= MOST_FILES,
        "{} has {count} files; at most {MOST_FILES} make a program",
        folder.display()
    );
    Ok((
        main.clone(),
        files.into_iter().filter(|file| *file != main).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_tells_the_language() {
        let told = |name: &str, text: &str| guess(Path::new(name), text.as_bytes()).ok();
        assert_eq!(told("a/b.cc", "").as_deref(), Some("cpp"));
        assert_eq!(told("b.c", "").as_deref(), Some("c"));
        assert_eq!(told("b.py", "print(1)").as_deref(), Some("python3"));
        assert_eq!(
            told("b.py", "#!/usr/bin/env python2\nprint 1").as_deref(),
            Some("python2")
        );
        assert_eq!(told("b.hs", ""), None);
        assert_eq!(told("b", ""), None);
    }
}
