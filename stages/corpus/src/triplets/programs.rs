//! The programs of one problem, wherever there is room for them.
//!
//! Read from the tables by `triplets` for every part it compares (`pair.rs`), and for every problem
//! whose triplets are written. Texts beyond a few megabytes go to a file in the scratch directory
//! and come back one by one.
//!
//! Promises: memory is bounded by a batch of the table and some 40 bytes a program. The texts are
//! those a model will read (`prompt::completion`).

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err::{File, OpenOptions};
use rayon::prelude::*;

use crate::language::Language;
use crate::lexemes;
use crate::prompt;
use crate::schema::Solution;
use crate::solution::{id_number, text_number};

/// Texts in memory before they go to the file, in bytes.
const IN_MEMORY: usize = 4 << 20;
/// Rows that are prepared at a time, on all cores.
const BATCH: usize = 256;

/// Whether programs are to be compared or only copied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Compare,
    Copy,
}

/// What is known of a program without its text.
pub(super) struct Program {
    /// Its id as a number, for draws.
    pub(super) id: u64,
    pub(super) correct: bool,
    /// Which of the problem's languages.
    pub(super) language: u16,
    /// What programs have in common that differ in white space and comments only; 0 if it was read
    /// to be copied.
    pub(super) form: u64,
    /// Bytes of its text.
    pub(super) length: u32,
    /// Where its id stands, and after that its text.
    start: u64,
    id_length: u32,
}

/// All programs of a problem, in the order of their rows.
pub(super) struct Programs {
    rows: Vec<Program>,
    languages: Vec<String>,
    /// What came last, ...
    tail: Vec<u8>,
    /// ... and what came before it, if that was much.
    file: Option<File>,
    in_file: u64,
}

impl Programs {
    /// Reads the rows of a problem; `scratch` is the name of a file that does not exist.
    pub(super) fn read(
        rows: impl Iterator<Item = Result<Solution>>,
        purpose: Purpose,
        scratch: &Path,
    ) -> Result<Self> {
        let mut programs = Self {
            rows: Vec::new(),
            languages: Vec::new(),
            tail: Vec::new(),
            file: None,
            in_file: 0,
        };
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let batch: Vec<Solution> = rows.by_ref().take(BATCH).collect::<Result<_>>()?;
            let prepared: Vec<(u64, String)> = batch
                .par_iter()
                .map(|row| {
                    let language = Language::from_name(&row.language);
                    let form = match purpose {
                        Purpose::Compare => text_number(&lexemes::form(&row.source, language)),
                        Purpose::Copy => 0,
                    };
                    (form, prompt::completion(&row.source))
                })
                .collect();
            for (row, (form, text)) in batch.iter().zip(prepared) {
                programs.add(row, form, &text);
            }
            if programs.tail.len() >= IN_MEMORY {
                programs.spill(scratch).with_context(|| {
                    format!(
                        "cannot keep the programs of {} in {}; is the disk full?",
                        batch[0].problem_id,
                        scratch.display()
                    )
                })?;
            }
        }
        Ok(programs)
    }

    fn add(&mut self, row: &Solution, form: u64, text: &str) {
        let known = self.languages.iter().position(|name| *name == row.language);
        let language = known.unwrap_or_else(|| {
            self.languages.push(row.language.clone());
            self.languages.len() - 1
        });
        self.rows.push(Program {
            id: id_number(&row.solution_id),
            correct: row.correct,
            language: language as u16,
            form,
            length: text.len() as u32,
            start: self.in_file + self.tail.len() as u64,
            id_length: row.solution_id.len() as u32,
        });
        self.tail.extend_from_slice(row.solution_id.as_bytes());
        self.tail.extend_from_slice(text.as_bytes());
    }

    fn spill(&mut self, scratch: &Path) -> Result<()> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(scratch)?;
            // What has no name is gone with the process, however that ends.
            fs_err::remove_file(scratch)?;
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("was just made");
        file.write_all(&self.tail)?;
        self.in_file += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    /// Number of programs.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What is known of the program in a row.
    pub(super) fn get(&self, row: usize) -> &Program {
        &self.rows[row]
    }

    /// The name of the language of the program in a row.
    pub(super) fn language(&self, row: usize) -> &str {
        &self.languages[self.rows[row].language as usize]
    }

    /// The text of the program in a row.
    pub(super) fn text(&self, row: usize) -> Result<String> {
        let program = &self.rows[row];
        let start = program.start + u64::from(program.id_length);
        self.piece(start, program.length as usize)
    }

    /// The id of the program in a row.
    pub(super) fn id(&self, row: usize) -> Result<String> {
        let program = &self.rows[row];
        self.piece(program.start, program.id_length as usize)
    }

    fn piece(&self, start: u64, length: usize) -> Result<String> {
        let bytes = if let Some(start) = start.checked_sub(self.in_file) {
            let start = start as usize;
            self.tail[start..start + length].to_vec()
        } else {
            let file = self.file.as_ref().expect("something was written to it");
            let mut bytes = vec![0; length];
            let read = file.file().read_exact_at(&mut bytes, start);
            read.context("cannot read programs back from the scratch directory")?;
            bytes
        };
        String::from_utf8(bytes).context("programs in the scratch directory were changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solution::new_solution;

    #[test]
    fn texts_come_back_from_memory_and_disk() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        // Over twice what stays in memory, so that some is in the file and some is not.
        let text = |row: usize| format!("{row}\n{}é", "x = 1\n".repeat(1300 + row % 7));
        let rows: Vec<Solution> = (0..1200)
            .map(|row| {
                let language = [Language::Cpp, Language::Python3][row % 2];
                new_solution("p", language, text(row) + "\r\n\n", row % 3 == 0, "test")
            })
            .collect();
        for purpose in [Purpose::Compare, Purpose::Copy] {
            let given = rows.iter().cloned().map(Ok);
            let scratch = folder.path().join("programs");
            let read = Programs::read(given, purpose, &scratch).expect("reads");
            assert!(read.file.is_some() && !read.tail.is_empty() && !scratch.exists());
            assert_eq!(read.len(), rows.len());
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(read.text(number).expect("is there"), text(number));
                assert_eq!(read.id(number).expect("is there"), row.solution_id);
                assert_eq!(read.language(number), row.language);
                let program = read.get(number);
                assert_eq!(program.correct, row.correct);
                assert_eq!(program.length as usize, text(number).len());
                assert_eq!(program.form != 0, purpose == Purpose::Compare);
            }
        }
    }
}
