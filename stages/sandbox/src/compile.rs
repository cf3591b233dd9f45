//! From a source to a program: through the compiler in a container, once per source.
//!
//! Called by `Sandbox::compile`. Identical sources of a session are compiled once, also
//! when asked for at the same time; programs are kept up to a number of bytes, errors
//! always. A compiler that dies or exceeds its limits rejects the program.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    Error, Exit, Language, Sandbox,
    sandbox::{Program, RawDone},
};

/// Bytes of compiler messages that are kept.
const MESSAGE_BYTES: usize = 4 << 10;

/// A program ready to run; cheap to clone.
#[derive(Clone, Debug)]
pub struct Compiled(pub(crate) Arc<Program>);

impl Compiled {
    /// The language of the source.
    pub fn language(&self) -> Language {
        self.0.language
    }

    /// Hash of what is run (for Python of the source): equal programs behave equally.
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }
}

/// The compiler rejected a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// The first lines of what the compiler said.
    pub message: String,
}

type Answer = Result<Compiled, CompileError>;
type Slot = Arc<Mutex<Option<Answer>>>;

/// Answers by the hash of language and source.
#[derive(Default)]
pub(crate) struct Cache {
    slots: BTreeMap<[u8; 32], Slot>,
    /// Programs in the order they were made, with their sizes.
    kept: VecDeque<([u8; 32], u64)>,
    kept_bytes: u64,
}

impl Sandbox {
    /// Makes a program of a source; identical sources are compiled once.
    ///
    /// # Errors
    /// The outer error says that the sandbox failed, the inner one that the source is no program.
    pub fn compile(&self, language: Language, source: &[u8]) -> Result<Answer, Error> {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(format!("{language:?}\0").as_bytes())
            .update(source);
        let key = *hasher.finalize().as_bytes();
        let slot = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cache.slots.entry(key).or_default())
        };
        // Whoever asks for the same source meanwhile waits here for the first answer.
        let mut answer = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answer.as_ref() {
            return Ok(answer.clone());
        }
        let fresh = self.compile_afresh(language, source)?;
        *answer = Some(fresh.clone());
        drop(answer);
        if let Ok(compiled) = &fresh {
            self.keep(key, compiled.0.bytes);
        }
        Ok(fresh)
    }

    fn keep(&self, key: [u8; 32], bytes: u64) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.kept.push_back((key, bytes));
        cache.kept_bytes += bytes;
        while cache.kept_bytes > self.program_cache_bytes {
            let Some((oldest, bytes)) = cache.kept.pop_front() else {
                break;
            };
            cache.kept_bytes -= bytes;
            cache.slots.remove(&oldest);
        }
    }

    fn compile_afresh(&self, language: Language, source: &[u8]) -> Result<Answer, Error> {
        let missing = |reason: &str| Error::Toolchain {
            language,
            reason: reason.to_owned(),
        };
        match language {
            Language::Cpp | Language::C => {
                let gnu = if language == Language::Cpp {
                    &self.tools.cpp
                } else {
                    &self.tools.c
                };
                let gnu = gnu
                    .as_ref()
                    .ok_or_else(|| missing("no compiler that links a program was found"))?;
                let done = gnu.compile(self, language, source, &[])?;
                match done.collected {
                    Some(executable) if done.outcome.exit == Exit::Status(0) => Ok(Ok(Compiled(
                        Arc::new(Program::executable(language, executable)?),
                    ))),
                    _ => Ok(Err(rejection(&done))),
                }
            }
            Language::Python3 => {
                let python = self
                    .tools
                    .python
                    .as_ref()
                    .ok_or_else(|| missing("no python3 was found"))?;
                let done = python.check(self, source)?;
                if done.outcome.exit == Exit::Status(0) {
                    let program = Program::script(language, source, python.command())?;
                    Ok(Ok(Compiled(Arc::new(program))))
                } else {
                    Ok(Err(rejection(&done)))
                }
            }
            Language::Python2 | Language::Java => Err(missing("this language has no runner")),
        }
    }
}

fn rejection(done: &RawDone) -> CompileError {
    let outcome = &done.outcome;
    let mut message = match (outcome.stopped, outcome.exit) {
        (Some(stopped), _) => format!("the compiler was stopped: {stopped:?} limit\n"),
        (None, Exit::Signal(signal)) => format!("the compiler was killed by signal {signal}\n"),
        (None, Exit::Status(_)) => String::new(),
    };
    message.push_str(&String::from_utf8_lossy(&outcome.stderr_head));
    let end = message.floor_char_boundary(MESSAGE_BYTES);
    message.truncate(end);
    CompileError { message }
}
