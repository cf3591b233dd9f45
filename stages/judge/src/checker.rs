//! Checkers for problems with many right answers: programs that are given a test's input, the
//! expected answer and what a program wrote, by the convention of Kattis output validators.
//!
//! `checker input answer folder/ [flags] < output` ends with 42 for a right output and with 43
//! for a wrong one; `judgemessage.txt` in the folder may say why. Anything else is a failure
//! of the checker and says nothing about the program. Checkers run in the sandbox too.
//! Used by `trial.rs` for problems that the input `checkers` of a stage has one for, and by
//! `package.rs`. Deliberately absent: interactive problems.

use crate::{program_file::ProgramFile, rules::Rules};
use anyhow::{Context as _, bail};
use sandbox::{Compiled, Errand, Exit, Limits, Sandbox};
use std::path::{Path, PathBuf};

/// Exit status of a checker for a right output.
const RIGHT: i32 = 42;
/// ... and for a wrong one.
const WRONG: i32 = 43;
/// The file that may say why.
const MESSAGE: &str = "judgemessage.txt";

/// A compiled checker and its flags.
#[derive(Clone, Debug)]
pub struct Checker {
    program: Compiled,
    flags: Vec<String>,
}

/// What a checker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Whether the output is right.
    pub is_right: bool,
    /// Its words, if it has any.
    pub message: Option<String>,
}

impl Checker {
    /// Compiles the checker at `path`: a source, or a folder with one and its headers.
    ///
    /// # Errors
    /// There is no source in a language that runs here, or it does not compile.
    pub fn load(sandbox: &Sandbox, path: &Path, flags: Vec<String>) -> anyhow::Result<Self> {
        let name = || format!("the checker {}", path.display());
        let file = ProgramFile::read(path, None).with_context(name)?;
        let Some(language) = Rules::default().language(&file.language) else {
            bail!(
                "{} is in {}; write it in C++, C or Python",
                name(),
                file.language
            );
        };
        match file.compile(sandbox, language).with_context(name)? {
            Ok(program) => Ok(Self { program, flags }),
            Err(rejected) => bail!("{} does not compile:\n{rejected}", name()),
        }
    }

    /// The same checker with other flags.
    #[must_use]
    pub fn with_flags(&self, flags: Vec<String>) -> Self {
        Self {
            program: self.program.clone(),
            flags,
        }
    }

    /// Asks whether `output` answers `input`.
    ///
    /// # Errors
    /// The sandbox or the checker failed.
    pub fn ask(
        &self,
        sandbox: &Sandbox,
        input: &[u8],
        expected: &[u8],
        output: &[u8],
    ) -> anyhow::Result<Opinion> {
        let limits = Limits {
            cpu_s: 30.0,
            memory_bytes: 2 << 30,
            ..Limits::default()
        };
        let mut arguments = vec!["input", "answer", "./"];
        arguments.extend(self.flags.iter().map(String::as_str));
        let errand = Errand {
            arguments: &arguments,
            files: &[("input", input), ("answer", expected)],
            collect: MESSAGE,
        };
        let (outcome, message) = sandbox.run_errand(&self.program, output, &limits, &errand)?;
        let is_right = match outcome.exit {
            _ if outcome.is_over_time || outcome.is_idle => bail!("the checker ran out of time"),
            Exit::Status(RIGHT) => true,
            Exit::Status(WRONG) => false,
            other => {
                let words = String::from_utf8_lossy(&outcome.stderr_head);
                let last = words.lines().last().unwrap_or_default();
                bail!("the checker ended with {other:?} instead of 42 or 43: {last}")
            }
        };
        let message = message.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        Ok(Opinion {
            is_right,
            message: message.filter(|text| !text.is_empty()),
        })
    }
}

/// Where the checker of a problem lies in a folder of checkers: `ID.cpp`, `ID.py`, or a folder `ID`.
pub(crate) fn of_problem(folder: &Path, problem_id: &str) -> Option<PathBuf> {
    let is_plain = problem_id
        .split('/')
        .all(|part| part != ".." && !part.is_empty());
    let places = ["", ".cpp", ".cc", ".c", ".py"];
    let mut found = places
        .iter()
        .map(|suffix| folder.join(format!("{problem_id}{suffix}")));
    is_plain.then(|| found.find(|path| path.exists())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkers_are_found_by_the_problems_id() {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::create_dir_all(folder.path().join("kattis/b")).expect("made");
        fs_err::write(folder.path().join("kattis/a.py"), "").expect("written");
        let found = |id: &str| of_problem(folder.path(), id);
        assert!(found("kattis/a").is_some_and(|path| path.ends_with("kattis/a.py")));
        assert!(found("kattis/b").is_some_and(|path| path.is_dir()));
        assert_eq!(found("kattis/c"), None);
        assert_eq!(found("../x"), None);
        assert_eq!(found(""), None);
    }
}
