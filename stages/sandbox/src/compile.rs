//! From a source to a program: through the compiler in a container, once per source.
//!
//! Called by `Sandbox::compile`. Sources of a session are compiled once if they are equal, also
//! when asked for at the same time, or differ in blanks and comments only, and linked once if
//! they have the same assembly; programs are kept up to a number of bytes, errors always, each
//! with its own words. A compiler that dies or exceeds its limits rejects the program.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    CommandLanguage, Error, Exit, Language, Outcome, Sandbox,
    command::ARTIFACT,
    memory_file,
    normal_form::normal_form,
    sandbox::{Program, Raw, RawDone},
    toolchain::compile_limits,
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
    /// Programs by the hash of their source's normal form, and of their assembly.
    alike: BTreeMap<[u8; 32], Weak<Program>>,
    /// Programs in the order they were made, with their sizes.
    kept: VecDeque<([u8; 32], u64)>,
    kept_bytes: u64,
    pub(crate) counts: CompileCounts,
}

/// How many sources became programs how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileCounts {
    /// Sources asked for.
    pub asked: u64,
    /// Equal to another one, byte for byte.
    pub same_bytes: u64,
    /// Equal to another one but for blanks and comments.
    pub same_tokens: u64,
    /// Compiled to the assembly of another one: not assembled and linked again.
    pub same_assembly: u64,
}

fn hash_of(kind: &str, language: Language, text: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(format!("{kind}\0{language:?}\0").as_bytes())
        .update(text);
    *hasher.finalize().as_bytes()
}

impl Sandbox {
    /// Makes a program of a source; identical sources are compiled once.
    ///
    /// # Errors
    /// The outer error says that the sandbox failed, the inner one that the source is no program.
    pub fn compile(&self, language: Language, source: &[u8]) -> Result<Answer, Error> {
        self.compile_files(language, source, &[])
    }

    /// As `compile`, with more files beside the source: headers, and for C and C++ sources.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_files(
        &self,
        language: Language,
        source: &[u8],
        others: &[(&str, &[u8])],
    ) -> Result<Answer, Error> {
        let mut text = source.to_vec();
        for (name, content) in others {
            text.extend_from_slice(format!("\0{name}\0{}\0", content.len()).as_bytes());
            text.extend_from_slice(content);
        }
        let key = hash_of("source", language, &text);
        let slot = {
            let mut cache = self.cache();
            cache.counts.asked += 1;
            Arc::clone(cache.slots.entry(key).or_default())
        };
        // Whoever asks for the same source meanwhile waits here for the first answer.
        let mut answer = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answer.as_ref() {
            self.cache().counts.same_bytes += 1;
            return Ok(answer.clone());
        }
        let is_simple = others.is_empty() && matches!(language, Language::Cpp | Language::C);
        let form = is_simple.then(|| normal_form(source)).flatten();
        let form = form.map(|form| hash_of("tokens", language, &form));
        if let Some(twin) = form.and_then(|form| self.alike(form)) {
            self.cache().counts.same_tokens += 1;
            *answer = Some(Ok(twin.clone()));
            return Ok(Ok(twin));
        }
        let fresh = self.compile_afresh(language, source, others)?;
        *answer = Some(fresh.clone());
        drop(answer);
        if let Ok(compiled) = &fresh {
            if let Some(form) = form {
                let program = Arc::downgrade(&compiled.0);
                self.cache().alike.insert(form, program);
            }
            self.keep(key, compiled.0.bytes);
        }
        Ok(fresh)
    }

    /// How often a compilation was spared so far.
    pub fn compile_counts(&self) -> CompileCounts {
        self.cache().counts
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alike(&self, hash: [u8; 32]) -> Option<Compiled> {
        let program = self.cache().alike.get(&hash)?.upgrade()?;
        Some(Compiled(program))
    }

    fn keep(&self, key: [u8; 32], bytes: u64) {
        let mut cache = self.cache();
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

    fn compile_afresh(
        &self,
        language: Language,
        source: &[u8],
        others: &[(&str, &[u8])],
    ) -> Result<Answer, Error> {
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
                let gnu = gnu.as_ref().ok_or_else(|| {
                    missing(
                        "no compiler that links a program was found; install g++ (on Debian: \
                         apt-get install g++)",
                    )
                })?;
                if !others.is_empty() {
                    let done = gnu.compile(self, language, source, &[], others)?;
                    return accepted(language, done);
                }
                let done = gnu.assembly(self, language, source)?;
                let Some(file) = done.collected.filter(|_| is_well(&done.outcome)) else {
                    return Ok(Err(rejection(&done.outcome)));
                };
                let mut assembly = Vec::new();
                File::from(file)
                    .read_to_end(&mut assembly)
                    .map_err(Error::io("reading the compiler's output"))?;
                let hash = hash_of("assembly", language, &assembly);
                if let Some(twin) = self.alike(hash) {
                    self.cache().counts.same_assembly += 1;
                    return Ok(Ok(twin));
                }
                let answer = accepted(language, gnu.link(self, &assembly)?)?;
                if let Ok(compiled) = &answer {
                    let program = Arc::downgrade(&compiled.0);
                    self.cache().alike.insert(hash, program);
                }
                Ok(answer)
            }
            Language::Python3 => {
                let python = self.tools.python.as_ref().ok_or_else(|| {
                    missing("no python3 was found (on Debian: apt-get install python3)")
                })?;
                let done = python.check(self, source)?;
                if is_well(&done.outcome) {
                    let program = Program::script(language, source, python.command())?;
                    Ok(Ok(Compiled(Arc::new(program))))
                } else {
                    Ok(Err(rejection(&done.outcome)))
                }
            }
            Language::Command(place) => {
                let commands = self
                    .languages
                    .get(usize::from(place))
                    .ok_or_else(|| missing("it is not in Options::languages"))?;
                self.compile_by_command(language, commands, source, others)
            }
            Language::Python2 | Language::Java => Err(missing("this language has no runner")),
        }
    }

    fn compile_by_command(
        &self,
        language: Language,
        commands: &CommandLanguage,
        source: &[u8],
        others: &[(&str, &[u8])],
    ) -> Result<Answer, Error> {
        let missing = |reason: String| Error::Toolchain {
            language,
            reason: format!("{}: {reason}", commands.name),
        };
        let name = commands.source_name(source);
        if !commands.run.is_empty() {
            // Said at once, not with the first test.
            commands.run_command(&name, 1 << 30).map_err(missing)?;
        }
        if commands.compile.is_empty() {
            let file = memory_file::sealed(source).map_err(Error::io("keeping a script"))?;
            let program = Program::of_command(language, commands, file, &name)?;
            return Ok(Ok(Compiled(Arc::new(program))));
        }
        let files: Vec<(&str, &[u8])> = [(name.as_str(), source)]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        let done = self.run_raw(Raw {
            address_slack_bytes: commands.address_slack_bytes,
            interpreter_arguments: 0,
            arguments: commands.compile_command(source).map_err(missing)?,
            files: &files,
            collect: ARTIFACT,
            limits: &compile_limits(),
        })?;
        match done.collected {
            Some(file) if is_well(&done.outcome) => {
                let program = Program::of_command(language, commands, file, ARTIFACT)?;
                Ok(Ok(Compiled(Arc::new(program))))
            }
            _ => Ok(Err(rejection(&done.outcome))),
        }
    }
}

fn is_well(outcome: &Outcome) -> bool {
    outcome.exit == Exit::Status(0)
}

/// The program that a linker made, if it made one.
fn accepted(language: Language, done: RawDone) -> Result<Answer, Error> {
    match done.collected {
        Some(executable) if is_well(&done.outcome) => {
            let program = Program::executable(language, executable)?;
            Ok(Ok(Compiled(Arc::new(program))))
        }
        _ => Ok(Err(rejection(&done.outcome))),
    }
}

fn rejection(outcome: &Outcome) -> CompileError {
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
