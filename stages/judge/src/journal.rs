//! What came of each program of a half-done shard, so that an interrupted run repeats no program
//! that it had finished.
//!
//! Written by `session.rs` beside the shards of the run, a JSON line for each program as it ends;
//! read when the shard is taken up again, then superseded by the shard. A line that was cut
//! short by a kill is left out.

use crate::{compare::Match, trial::Trial};
use anyhow::Context as _;
use sandbox::Verdict;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

const VERDICTS: [Verdict; 8] = [
    Verdict::CompileError,
    Verdict::JudgeError,
    Verdict::OutputLimit,
    Verdict::TimeLimit,
    Verdict::MemoryLimit,
    Verdict::RuntimeError,
    Verdict::WrongAnswer,
    Verdict::Accepted,
];

/// A finished program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) trial: Trial,
    /// Another program had compiled to the same.
    pub(crate) is_duplicate: bool,
    /// What it compiled to; `None` if it did not.
    pub(crate) digest: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    program: String,
    digest: Option<[u8; 32]>,
    is_duplicate: bool,
    verdict: String,
    compiled: bool,
    public_passed: bool,
    tests_passed: u32,
    tests_run: u32,
    failed_test: Option<i32>,
    detail: Option<String>,
    accepted: [bool; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behaviour: Option<String>,
}

/// The name of a program in a journal: problem, language and text.
pub(crate) fn key(problem_id: &str, language: &str, source: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [problem_id, language, source] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The journal of one shard.
pub(crate) struct Journal {
    finished: BTreeMap<String, Finished>,
    file: Mutex<fs_err::File>,
}

impl Journal {
    /// Opens the journal of the shard that is to lie at `shard`.
    pub(crate) fn open(shard: &Path) -> anyhow::Result<Self> {
        let path = place(shard).context("a shard lies in a folder of shards")?;
        let mut finished = BTreeMap::new();
        let mut is_cut = false;
        if path.exists() {
            let text = fs_err::read_to_string(&path)?;
            is_cut = !text.is_empty() && !text.ends_with('\n');
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            finished = lines.filter_map(entry).collect();
        }
        fs_err::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        if is_cut {
            file.write_all(b"\n")?;
        }
        Ok(Self {
            finished,
            file: Mutex::new(file),
        })
    }

    /// What came of a program, if it had finished.
    pub(crate) fn find(&self, key: &str) -> Option<&Finished> {
        self.finished.get(key)
    }

    /// Notes a program that has finished.
    pub(crate) fn note(&self, key: String, finished: &Finished) -> anyhow::Result<()> {
        let trial = &finished.trial;
        let line = Line {
            program: key,
            digest: finished.digest,
            is_duplicate: finished.is_duplicate,
            verdict: trial.verdict.code().to_owned(),
            compiled: trial.compiled,
            public_passed: trial.public_passed,
            tests_passed: trial.tests_passed,
            tests_run: trial.tests_run,
            failed_test: trial.failed_test,
            detail: trial.detail.clone(),
            accepted: [
                trial.accepted.strict,
                trial.accepted.code_contests,
                trial.accepted.lenient,
            ],
            behaviour: trial.behaviour.clone(),
        };
        let text = serde_json::to_string(&line)? + "\n";
        // One write a line: lines of several threads never mix.
        let mut file = self.file.lock().expect("no panic inside");
        Ok(file.write_all(text.as_bytes())?)
    }
}

/// `.../shards/000007` has its journal in `.../journal/000007`.
fn place(shard: &Path) -> Option<PathBuf> {
    let run = shard.parent()?.parent()?;
    Some(run.join("journal").join(shard.file_name()?))
}

fn entry(line: Line) -> Option<(String, Finished)> {
    let verdict = VERDICTS
        .into_iter()
        .find(|verdict| verdict.code() == line.verdict)?;
    let [strict, code_contests, lenient] = line.accepted;
    let trial = Trial {
        verdict,
        compiled: line.compiled,
        public_passed: line.public_passed,
        tests_passed: line.tests_passed,
        tests_run: line.tests_run,
        failed_test: line.failed_test,
        detail: line.detail,
        accepted: Match {
            strict,
            code_contests,
            lenient,
        },
        behaviour: line.behaviour,
    };
    let finished = Finished {
        trial,
        is_duplicate: line.is_duplicate,
        digest: line.digest,
    };
    Some((line.program, finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_found_again_but_for_a_cut_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let shard = folder.path().join("shards/000003");
        let finished = |verdict, digest| Finished {
            trial: Trial::failed(verdict, Some("why\n".into())),
            is_duplicate: true,
            digest,
        };
        let first = finished(Verdict::CompileError, None);
        let second = finished(Verdict::WrongAnswer, Some([7; 32]));
        let names = [key("p", "cpp", "a"), key("p", "c", "a")];
        assert_ne!(names[0], names[1]);
        {
            let journal = Journal::open(&shard).expect("opened");
            assert_eq!(journal.find(&names[0]), None);
            journal.note(names[0].clone(), &first).expect("noted");
            journal.note(names[1].clone(), &second).expect("noted");
        }
        let path = folder.path().join("journal/000003");
        let text = fs_err::read_to_string(&path).expect("text");
        fs_err::write(&path, &text[..text.len() - 5]).expect("written");
        {
            let journal = Journal::open(&shard).expect("opened");
            assert_eq!(journal.find(&names[0]), Some(&first));
            assert_eq!(journal.find(&names[1]), None);
            journal.note(names[1].clone(), &second).expect("noted");
        }
        let journal = Journal::open(&shard).expect("opened");
        assert_eq!(journal.find(&names[1]), Some(&second));
    }
}
