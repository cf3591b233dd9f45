//! The pool of workers and the two things it does: run a program, run a tool.
//!
//! Public door of the crate, with `compile`. Calls may come from any number of threads;
//! each takes a free worker or waits for one. A worker that was lost is replaced.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError, RwLock},
    time::Duration,
};

use fs_err as fs;

use crate::{
    CommandLanguage, Compiled, Error, Isolation, Language, Limits, Options, Outcome,
    compile::Cache,
    memory_file,
    message::{Request, Setup},
    toolchain::{self, Gnu, HEADERS, Python},
    worker::Worker,
};

const STDERR_HEAD_BYTES: u64 = 64 << 10;
/// Runs of a tool that slept, before that counts.
const TOOL_ATTEMPTS: usize = 3;

/// Runs untrusted programs, several at a time.
pub struct Sandbox {
    binary: PathBuf,
    setup: Setup,
    start_timeout: Duration,
    isolation: Isolation,
    /// Free workers; `None` stands for one to be started anew.
    free: Mutex<Vec<Option<Worker>>>,
    freed: Condvar,
    /// Fresh files for outputs, made while a program runs.
    spare: Mutex<Vec<[File; 2]>>,
    /// Read by whoever runs something, written by what must run alone.
    together: RwLock<()>,
    pub(crate) languages: Vec<CommandLanguage>,
    pub(crate) cache: Mutex<Cache>,
    pub(crate) program_cache_bytes: u64,
    pub(crate) tools: Tools,
}

/// The toolchains found on this machine.
#[derive(Default)]
pub(crate) struct Tools {
    pub(crate) cpp: Option<Gnu>,
    pub(crate) c: Option<Gnu>,
    pub(crate) python: Option<Python>,
}

/// A program that can be run any number of times.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) language: Language,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
    /// The executable, or the script.
    content: OwnedFd,
    form: Form,
}

/// How a program is run.
#[derive(Debug)]
enum Form {
    /// It is executed.
    Executable,
    /// The command of an interpreter that may be kept warm.
    Interpreter(Vec<Vec<u8>>),
    /// A command of `Options::languages`, and the name of the program's file.
    Command(CommandLanguage, String),
}

impl Program {
    pub(crate) fn executable(language: Language, file: OwnedFd) -> Result<Program, Error> {
        let keep = Error::io("keeping a compiled program");
        let (content, bytes) = memory_file::sealed_copy(File::from(file)).map_err(keep)?;
        let mut hasher = blake3::Hasher::new();
        let reread =
            memory_file::reopen(&content).map_err(Error::io("reading a compiled program"))?;
        hasher
            .update_reader(File::from(reread))
            .map_err(Error::io("reading a compiled program"))?;
        Ok(Program {
            language,
            digest: *hasher.finalize().as_bytes(),
            bytes,
            content,
            form: Form::Executable,
        })
    }

    pub(crate) fn script(
        language: Language,
        source: &[u8],
        interpreter: Vec<Vec<u8>>,
    ) -> Result<Program, Error> {
        Ok(Program {
            language,
            digest: *blake3::hash(source).as_bytes(),
            bytes: source.len() as u64,
            content: memory_file::sealed(source).map_err(Error::io("keeping a script"))?,
            form: Form::Interpreter(interpreter),
        })
    }

    /// The program of a command language: what its compiler made, or the source.
    pub(crate) fn of_command(
        language: Language,
        commands: &CommandLanguage,
        file: OwnedFd,
        name: &str,
    ) -> Result<Program, Error> {
        let mut program = Program::executable(language, file)?;
        if !commands.run.is_empty() {
            program.form = Form::Command(commands.clone(), name.to_owned());
        }
        Ok(program)
    }
}

/// A run beyond standard input and output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errand<'a> {
    /// Arguments after the program's name.
    pub arguments: &'a [&'a str],
    /// Files in the working folder: name and content.
    pub files: &'a [(&'a str, &'a [u8])],
    /// A file of the working folder to hand back, if the program makes it.
    pub collect: &'a str,
}

/// A tool to run with files of its own.
pub(crate) struct Raw<'a> {
    /// As in `Request`.
    pub(crate) interpreter_arguments: usize,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    pub(crate) collect: &'a str,
    pub(crate) address_slack_bytes: u64,
    pub(crate) limits: &'a Limits,
}

/// A tool's run and the file it was asked for.
pub(crate) struct RawDone {
    pub(crate) outcome: Outcome,
    pub(crate) collected: Option<OwnedFd>,
}

impl Sandbox {
    /// Starts the workers, proves their isolation and looks for toolchains.
    ///
    /// # Errors
    /// If no container can be built, or one is weaker than the minimum, unless
    /// `Options::unsafe_mode` accepts that.
    pub fn new(options: &Options) -> Result<Sandbox, Error> {
        let binary = options
            .launcher
            .clone()
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let python = toolchain::find_python(options);
        // Without a place for it the header is left out: slower, not wrong.
        let cache_dir = options.cache_dir.as_deref();
        let headers = cache_dir.and_then(|folder| headers_folder(folder).ok());
        let mut shown: Vec<(PathBuf, PathBuf)> = Vec::new();
        if let Some(python) = &python {
            shown.extend(
                python
                    .folders
                    .iter()
                    .map(|folder| (folder.clone(), folder.clone())),
            );
        }
        shown.extend(
            headers
                .iter()
                .map(|folder| (folder.clone(), PathBuf::from(HEADERS))),
        );
        let tools = options
            .languages
            .iter()
            .flat_map(|language| &language.shown);
        for folder in tools {
            let pair = (folder.clone(), folder.clone());
            if !shown.contains(&pair) {
                shown.push(pair);
            }
        }
        let flat = shown.iter().flat_map(|(source, target)| [source, target]);
        let mut setup = Setup {
            is_bare: !options.use_namespaces,
            shown: flat
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .collect(),
        };
        let start = |setup: &Setup| Worker::start(&binary, setup, options.start_timeout);
        let (first, isolation) = match start(&setup) {
            Err(refused @ Error::Container { .. }) if !setup.is_bare => {
                setup.is_bare = true;
                match start(&setup) {
                    Ok(weaker) if weaker.1.missing().is_empty() || options.unsafe_mode => weaker,
                    _ => return Err(refused),
                }
            }
            other => other?,
        };
        let missing = isolation.missing();
        if !missing.is_empty() && !options.unsafe_mode {
            return Err(Error::TooWeak {
                missing: missing.join(", "),
                have: isolation.to_string(),
            });
        }
        let mut workers = vec![Some(first)];
        for _ in 1..options.workers.max(1) {
            workers.push(Some(start(&setup)?.0));
        }
        let mut sandbox = Sandbox {
            binary,
            setup,
            start_timeout: options.start_timeout,
            isolation,
            free: Mutex::new(workers),
            freed: Condvar::new(),
            spare: Mutex::default(),
            together: RwLock::default(),
            languages: options.languages.clone(),
            cache: Mutex::default(),
            program_cache_bytes: options.program_cache_bytes,
            tools: Tools {
                python,
                ..Tools::default()
            },
        };
        let cpp = Gnu::find(&sandbox, Language::Cpp)?;
        let cpp = match (cpp, &headers) {
            (Some(gnu), Some(folder)) => Some(gnu.with_header(&sandbox, folder)?),
            (found, _) => found,
        };
        let c = Gnu::find(&sandbox, Language::C)?;
        sandbox.tools = Tools {
            cpp,
            c,
            ..sandbox.tools
        };
        Ok(sandbox)
    }

    /// The layers proved in the first container; the others are built alike.
    pub fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// Whether programs run without namespaces.
    pub(crate) fn is_bare(&self) -> bool {
        self.setup.is_bare
    }

    /// The languages made and run by commands.
    pub fn command_languages(&self) -> &[CommandLanguage] {
        &self.languages
    }

    /// Whether C++ sources are compiled with a precompiled header.
    pub fn has_precompiled_header(&self) -> bool {
        self.tools.cpp.as_ref().is_some_and(Gnu::has_header)
    }

    /// Runs a program once with `stdin` as its input.
    ///
    /// # Errors
    /// If the sandbox failed; nothing is known about the program then.
    pub fn run(&self, program: &Compiled, stdin: &[u8], limits: &Limits) -> Result<Outcome, Error> {
        self.run_program(&program.0, stdin, limits)
    }

    /// As `run`, while nothing else of this sandbox runs: for a time that lies near its limit.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_alone(
        &self,
        program: &Compiled,
        stdin: &[u8],
        limits: &Limits,
    ) -> Result<Outcome, Error> {
        let _alone = self
            .together
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (request, content) = self.request(&program.0, limits, &Errand::default())?;
        Ok(self.execute_now(&request, stdin, &content)?.outcome)
    }

    /// Runs a program with arguments and files of its own; also what it left in a file.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_errand(
        &self,
        program: &Compiled,
        stdin: &[u8],
        limits: &Limits,
        errand: &Errand<'_>,
    ) -> Result<(Outcome, Option<Vec<u8>>), Error> {
        const COLLECTED_BYTES: u64 = 64 << 10;
        let (request, contents) = self.request(&program.0, limits, errand)?;
        let done = self.execute(&request, stdin, &contents)?;
        let collected = match done.collected {
            Some(file) => {
                let head = memory_file::read_head(&File::from(file), COLLECTED_BYTES);
                Some(head.map_err(Error::io("reading a file of the program"))?.0)
            }
            None => None,
        };
        Ok((done.outcome, collected))
    }

    pub(crate) fn run_program(
        &self,
        program: &Program,
        stdin: &[u8],
        limits: &Limits,
    ) -> Result<Outcome, Error> {
        let (request, contents) = self.request(program, limits, &Errand::default())?;
        Ok(self.execute(&request, stdin, &contents)?.outcome)
    }

    /// The request of a run and its descriptors.
    fn request(
        &self,
        program: &Program,
        limits: &Limits,
        errand: &Errand<'_>,
    ) -> Result<(Request, Vec<OwnedFd>), Error> {
        let content = program.content.try_clone();
        let mut contents = vec![content.map_err(Error::io("opening the program"))?];
        let row = program.language.row();
        let mut request = Request {
            arguments: vec![b"main".to_vec()],
            interpreter_arguments: 0,
            is_executable_sent: true,
            files: Vec::new(),
            collect: errand.collect.as_bytes().to_vec(),
            address_slack_bytes: row.address_slack_bytes,
            is_grouped: true,
            limits: limits.clone(),
        };
        if let Language::Command(place) = program.language
            && let Some(commands) = self.languages.get(usize::from(place))
        {
            request.address_slack_bytes = commands.address_slack_bytes;
        }
        match &program.form {
            Form::Executable => {}
            Form::Interpreter(command) => {
                let name = row.source_name.as_bytes().to_vec();
                request.arguments.clone_from(command);
                request.arguments.push(name.clone());
                request.interpreter_arguments = command.len();
                request.is_executable_sent = false;
                request.files = vec![name];
            }
            Form::Command(commands, name) => {
                request.arguments =
                    commands
                        .run_command(name, limits.memory_bytes)
                        .map_err(|reason| Error::Toolchain {
                            language: program.language,
                            reason: format!("{}: {reason}", commands.name),
                        })?;
                request.is_executable_sent = false;
                request.files = vec![name.as_bytes().to_vec()];
            }
        }
        let more = errand.arguments.iter().map(|text| text.as_bytes().to_vec());
        request.arguments.extend(more);
        for (name, content) in errand.files {
            request.files.push(name.as_bytes().to_vec());
            contents.push(memory_file::sealed(content).map_err(Error::io("keeping a file"))?);
        }
        Ok((request, contents))
    }

    pub(crate) fn run_raw(&self, raw: Raw<'_>) -> Result<RawDone, Error> {
        let mut contents = Vec::new();
        for (_, content) in raw.files {
            contents.push(memory_file::sealed(content).map_err(Error::io("keeping a source"))?);
        }
        let request = Request {
            arguments: raw.arguments,
            interpreter_arguments: raw.interpreter_arguments,
            is_executable_sent: false,
            files: raw
                .files
                .iter()
                .map(|(name, _)| name.as_bytes().to_vec())
                .collect(),
            collect: raw.collect.as_bytes().to_vec(),
            address_slack_bytes: raw.address_slack_bytes.max(512 << 20),
            is_grouped: false,
            limits: raw.limits.clone(),
        };
        let mut done = self.execute(&request, b"", &contents)?;
        // A tool waits for nothing: whatever put it to sleep was not its source.
        for _ in 1..TOOL_ATTEMPTS {
            if !done.outcome.is_idle {
                break;
            }
            done = self.execute(&request, b"", &contents)?;
        }
        Ok(done)
    }

    fn execute(
        &self,
        request: &Request,
        stdin: &[u8],
        contents: &[OwnedFd],
    ) -> Result<RawDone, Error> {
        let _together = self.together.read().unwrap_or_else(PoisonError::into_inner);
        self.execute_now(request, stdin, contents)
    }

    fn execute_now(
        &self,
        request: &Request,
        stdin: &[u8],
        contents: &[OwnedFd],
    ) -> Result<RawDone, Error> {
        let stdin = memory_file::input(stdin).map_err(Error::io("preparing the input"))?;
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = spare().pop();
        let [stdout, stderr] = match kept {
            Some(outputs) => outputs,
            None => outputs().map_err(Error::io("preparing the output"))?,
        };
        let meanwhile = || {
            // A failure shows when they are needed.
            if let Ok(outputs) = outputs() {
                spare().push(outputs);
            }
        };
        let mut descriptors: Vec<BorrowedFd<'_>> =
            vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        descriptors.extend(contents.iter().map(AsFd::as_fd));
        let (measured, collected) =
            self.with_worker(|worker| worker.run(request, &descriptors, meanwhile))?;
        let limits = &request.limits;
        let reading = "reading what the program wrote";
        let (stdout, stdout_bytes) =
            memory_file::read_head(&stdout, limits.output_bytes).map_err(Error::io(reading))?;
        let (stderr_head, stderr_bytes) =
            memory_file::read_head(&stderr, STDERR_HEAD_BYTES).map_err(Error::io(reading))?;
        let outcome = Outcome {
            exit: measured.exit,
            stopped: measured.stopped,
            cpu_s: measured.cpu_ns as f64 / 1e9,
            wall_s: measured.wall_ns as f64 / 1e9,
            memory_bytes: measured.memory_bytes,
            memory_measure: self.isolation.memory_measure(),
            stdout,
            stderr_head,
            is_over_time: false,
            is_idle: false,
            is_over_memory: false,
            is_over_output: false,
        };
        let outcome = outcome.flagged(limits, stdout_bytes.max(stderr_bytes));
        Ok(RawDone { outcome, collected })
    }

    fn with_worker<T>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let place = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(place) = free.pop() {
                    break place;
                }
                free = self
                    .freed
                    .wait(free)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        let started = match place {
            Some(worker) => Ok(worker),
            None => self.start_again(),
        };
        let (worker, result) = match started {
            Ok(mut worker) => {
                let result = work(&mut worker);
                let is_lost = matches!(result, Err(Error::WorkerLost { .. }));
                ((!is_lost).then_some(worker), result)
            }
            Err(error) => (None, Err(error)),
        };
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(worker);
        self.freed.notify_one();
        result
    }

    fn start_again(&self) -> Result<Worker, Error> {
        let (worker, isolation) = Worker::start(&self.binary, &self.setup, self.start_timeout)?;
        if isolation == self.isolation {
            Ok(worker)
        } else {
            Err(Error::TooWeak {
                missing: format!("{} as at the start", self.isolation),
                have: isolation.to_string(),
            })
        }
    }
}

/// Where a run writes: standard output and standard error.
fn outputs() -> std::io::Result<[File; 2]> {
    Ok([memory_file::output()?, memory_file::output()?])
}

fn headers_folder(cache: &Path) -> Result<PathBuf, Error> {
    use std::os::unix::fs::PermissionsExt;
    let folder = cache.join("headers");
    let making = || Error::io(format!("making {}", folder.display()));
    fs::create_dir_all(&folder).map_err(making())?;
    fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).map_err(making())?;
    fs::canonicalize(&folder).map_err(making())
}
