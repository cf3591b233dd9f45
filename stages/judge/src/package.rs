//! Judging for people: one's own program on a problem, or a whole Kattis problem package, whose
//! accepted submissions must pass and whose others must fail.
//!
//! Behind `iota judge`. A problem is a Kattis package, a folder of `*.in` with `*.ans` or `*.out`,
//! or a row of a table of problems (`FILE.parquet#ID`). Same sandbox, limits and comparison as
//! the stage `judge`; nothing is printed here. Interactive problems are not judged.

use crate::{
    checker::{Checker, Opinion},
    kattis::{self, Manifest},
    program_file::ProgramFile,
    rules::{Commands, How, JudgeErrors, Mode, Rules},
    suite::{Suite, SuiteRow},
    trial::{Cost, Trials},
};
use anyhow::{Context as _, bail, ensure};
use corpus::{schema::TestCase, table::Table};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use sandbox::{CommandLanguage, Compiled, Limits, Sandbox, Verdict};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// CPU seconds where neither the problem nor its accepted submissions give a limit.
const DEFAULT_LIMIT_S: f64 = 10.0;
/// CPU seconds that accepted submissions may take while the limit is looked for.
const GENEROUS_LIMIT_S: f64 = 60.0;
/// Kattis: the limit is so many times the slowest accepted submission, at least a second.
const DEFAULT_MULTIPLIER: f64 = 5.0;
/// Kattis: memory of a package that says nothing.
const PACKAGE_MEMORY_BYTES: u64 = 2 << 30;

/// What overrides the problem's own word.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// CPU seconds of a test.
    pub time_limit_s: Option<f64>,
    /// Bytes of memory of a test.
    pub memory_limit_bytes: Option<u64>,
    /// How outputs are compared; by default as the problem says, else leniently.
    pub compare: Option<Mode>,
    /// A checker: a source file or a folder with one.
    pub checker: Option<PathBuf>,
    /// The language of programs, where the suffix does not tell.
    pub language: Option<String>,
    /// Run all tests even after a failed one.
    pub all_tests: bool,
    /// How the machine is used.
    pub how: How,
}

/// A problem and what decides about it.
#[derive(Debug)]
pub struct Problem {
    /// The package's folder, the folder of tests, or the row's id.
    pub name: String,
    tests: Vec<NamedTest>,
    time_limit_s: Option<f64>,
    time_multiplier: f64,
    memory_limit_bytes: u64,
    decides: Decides,
    submissions: Vec<Submission>,
}

#[derive(Debug)]
struct NamedTest {
    name: String,
    case: TestCase,
    /// Flags of the validator, where this test's group has its own.
    flags: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Decides {
    /// One of the judge's ways of comparing.
    Comparing(Mode),
    /// The default validator of Kattis with these flags.
    Validator(Vec<String>),
    /// A program with these flags.
    Program(PathBuf, Vec<String>),
}

/// What is expected of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: somebody's own program.
    Anything,
    /// All tests pass.
    Accepted,
    /// Some test fails, by this verdict if one is named.
    Failure(Option<Verdict>),
}

/// A program to judge.
#[derive(Clone, Debug)]
struct Submission {
    path: PathBuf,
    expected: Expected,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// Its name: the file's path without suffix, or its number.
    pub name: String,
    /// The verdict on it.
    pub verdict: Verdict,
    /// CPU seconds.
    pub cpu_s: f64,
    /// Wall seconds.
    pub wall_s: f64,
    /// Peak memory in bytes.
    pub memory_bytes: u64,
    /// Why it failed, or the checker's words.
    pub words: Option<String>,
}

/// What came of one program.
#[derive(Clone, Debug)]
pub struct ProgramReport {
    /// Its file.
    pub path: PathBuf,
    /// Its language.
    pub language: String,
    /// What was expected.
    pub expected: Expected,
    /// The verdict of the first failed test, or of compiling; `None` if it cannot be run here.
    pub verdict: Option<Verdict>,
    /// The compiler's words, or why it cannot be run.
    pub words: Option<String>,
    /// The tests that were run.
    pub tests: Vec<TestReport>,
}

impl ProgramReport {
    /// Whether it did what was expected; `None` if that is not known.
    pub fn is_as_expected(&self) -> Option<bool> {
        let is_accepted = self.verdict? == Verdict::Accepted;
        Some(match self.expected {
            Expected::Anything | Expected::Accepted => is_accepted,
            Expected::Failure(_) => !is_accepted && self.verdict != Some(Verdict::JudgeError),
        })
    }
}

/// What came of all.
#[derive(Clone, Debug)]
pub struct Report {
    /// CPU seconds of a test.
    pub time_limit_s: f64,
    /// Bytes of memory of a test.
    pub memory_limit_bytes: u64,
    /// What decides whether an output is right, in words.
    pub decides: String,
    /// The layers under which programs ran, memory's measure among them.
    pub isolation: String,
    /// Tests of the problem.
    pub tests: usize,
    /// The programs.
    pub programs: Vec<ProgramReport>,
}

impl Problem {
    /// Reads a problem: a Kattis package, a folder of tests, or `FILE.parquet#ID`.
    ///
    /// # Errors
    /// It is none of these, has no tests, or one of its files cannot be read as UTF-8 text.
    pub fn read(place: &str) -> anyhow::Result<Self> {
        let problem = match place.split_once('#') {
            Some((file, id)) => Self::row(Path::new(file), id)?,
            None if Path::new(place).join("problem.yaml").is_file() => {
                Self::package(Path::new(place))?
            }
            None if Path::new(place).is_dir() => Self::folder(Path::new(place))?,
            None => bail!(
                "{place} is neither a problem package (a folder with problem.yaml), nor a folder \
                 of tests (*.in with *.ans or *.out), nor FILE.parquet#PROBLEM_ID"
            ),
        };
        ensure!(
            !problem.tests.is_empty(),
            "{place} has no tests: pairs of files NAME.in and NAME.ans (or NAME.out)"
        );
        Ok(problem)
    }

    fn package(folder: &Path) -> anyhow::Result<Self> {
        let manifest = Manifest::read(folder)?;
        let data = folder.join("data");
        let mut tests = Vec::new();
        for group in ["sample", "secret"] {
            if data.join(group).is_dir() {
                tests.extend(tests_of(&data, &data.join(group))?);
            }
        }
        let decides = match &manifest.validator {
            Some(path) => Decides::Program(path.clone(), manifest.flags.clone()),
            None => Decides::Validator(manifest.flags.clone()),
        };
        Ok(Self {
            name: folder.display().to_string(),
            tests,
            time_limit_s: manifest.time_limit_s,
            time_multiplier: manifest.time_multiplier.unwrap_or(DEFAULT_MULTIPLIER),
            memory_limit_bytes: manifest.memory_limit_bytes.unwrap_or(PACKAGE_MEMORY_BYTES),
            decides,
            submissions: submissions(&folder.join("submissions"))?,
        })
    }

    fn folder(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            name: folder.display().to_string(),
            tests: tests_of(folder, folder)?,
            time_limit_s: None,
            time_multiplier: DEFAULT_MULTIPLIER,
            memory_limit_bytes: Rules::default().default_memory_limit_bytes,
            decides: Decides::Comparing(Mode::Lenient),
            submissions: Vec::new(),
        })
    }

    fn row(file: &Path, id: &str) -> anyhow::Result<Self> {
        let table = Table::<SuiteRow>::open(file, &file.display().to_string())?;
        for row in table.rows()? {
            let row = row?;
            if row.problem_id != id {
                continue;
            }
            let suite = Suite::new(row)
                .map_err(|reason| anyhow::anyhow!("{id} cannot be judged: {reason:?}"))?;
            let name = |number: usize| {
                let kind = if number < suite.public {
                    "public"
                } else {
                    "hidden"
                };
                format!("{kind}/{number}")
            };
            return Ok(Self {
                name: id.to_owned(),
                time_limit_s: suite.time_limit_s.or(Some(DEFAULT_LIMIT_S)),
                time_multiplier: DEFAULT_MULTIPLIER,
                memory_limit_bytes: suite
                    .memory_limit_bytes
                    .unwrap_or(Rules::default().default_memory_limit_bytes),
                tests: suite
                    .tests
                    .iter()
                    .enumerate()
                    .map(|(number, case)| NamedTest {
                        name: name(number),
                        case: case.clone(),
                        flags: None,
                    })
                    .collect(),
                decides: Decides::Comparing(Mode::Lenient),
                submissions: Vec::new(),
            });
        }
        bail!("{} has no problem `{id}`", file.display())
    }

    /// Judges `programs`, or the package's own submissions if there are none; `done` hears of
    /// each as it ends, in no order.
    ///
    /// # Errors
    /// A program cannot be read, the sandbox cannot be started, or a setting is out of range.
    pub fn judge(
        &self,
        programs: &[PathBuf],
        settings: &Settings,
        stop: &(dyn Fn() -> anyhow::Result<()> + Sync),
        done: &(dyn Fn(&ProgramReport) + Sync),
    ) -> anyhow::Result<Report> {
        let own = programs.iter().map(|path| Submission {
            path: path.clone(),
            expected: Expected::Anything,
        });
        let submissions: Vec<Submission> = if programs.is_empty() {
            self.submissions.clone()
        } else {
            own.collect()
        };
        ensure!(
            !submissions.is_empty(),
            "{} has no submissions; name a program: iota judge FILE --problem {}",
            self.name,
            self.name
        );
        if let Some(limit) = settings.time_limit_s {
            ensure!(
                limit > 0.0 && limit <= 600.0,
                "a time limit is above 0 and at most 600 seconds, not {limit}"
            );
        }
        let mut files = Vec::new();
        for submission in &submissions {
            let file = ProgramFile::read(&submission.path, settings.language.as_deref())?;
            files.push((submission, file));
        }
        let rules = Rules {
            compare: settings.compare.unwrap_or(Mode::Lenient),
            judge_errors: JudgeErrors::Record,
            languages: presets(files.iter().map(|(_, file)| file.language.as_str())),
            ..Rules::default()
        };
        let options = settings.how.sandbox_options(&rules);
        let sandbox = Sandbox::new(&options).context("cannot start the sandbox")?;
        let decides = self.decides(settings);
        let checker = match &decides {
            Decides::Program(path, flags) => Some(Checker::load(&sandbox, path, flags.clone())?),
            _ => None,
        };
        let session = Session {
            problem: self,
            trials: Trials {
                stop,
                sandbox: &sandbox,
                rules: &rules,
            },
            decides: &decides,
            checker: checker.as_ref(),
            all_tests: settings.all_tests,
        };
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(options.workers)
            .build()
            .context("cannot start the judging threads")?;
        let memory_bytes = settings
            .memory_limit_bytes
            .unwrap_or(self.memory_limit_bytes);
        let limits = |cpu_s| Limits {
            cpu_s,
            memory_bytes,
            ..Limits::default()
        };
        let one = |limits: &Limits, (submission, file): &(&Submission, ProgramFile)| {
            let report = session.program(submission, file, limits)?;
            done(&report);
            Ok(report)
        };
        let given = settings.time_limit_s.or(self.time_limit_s);
        let (is_first, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(submission, _)| {
            given.is_none() && submission.expected == Expected::Accepted
        });
        threads.install(|| {
            // Accepted submissions tell the limit, and are judged by it afterwards.
            let generous = limits(GENEROUS_LIMIT_S);
            let mut reports: Vec<ProgramReport> = is_first
                .par_iter()
                .map(|file| one(&generous, file))
                .collect::<anyhow::Result<_>>()?;
            let slowest = reports.iter().flat_map(|report| &report.tests);
            let slowest_s = slowest.map(|test| test.cpu_s).fold(0.0, f64::max);
            let limit_s = given.unwrap_or(if reports.is_empty() {
                DEFAULT_LIMIT_S
            } else {
                (slowest_s * self.time_multiplier).ceil().max(1.0)
            });
            let judged: Vec<ProgramReport> = rest
                .par_iter()
                .map(|file| one(&limits(limit_s), file))
                .collect::<anyhow::Result<_>>()?;
            reports.extend(judged);
            reports.sort_by(|one, other| one.path.cmp(&other.path));
            Ok(Report {
                time_limit_s: limit_s,
                memory_limit_bytes: memory_bytes,
                decides: match &decides {
                    Decides::Comparing(mode) => format!("comparing, {}", mode.name()),
                    Decides::Validator(flags) => format!("default validator {}", flags.join(" "))
                        .trim()
                        .to_owned(),
                    Decides::Program(path, _) => format!("checker {}", path.display()),
                },
                isolation: sandbox.isolation().to_string(),
                tests: self.tests.len(),
                programs: reports,
            })
        })
    }

    fn decides(&self, settings: &Settings) -> Decides {
        match (&settings.checker, settings.compare, &self.decides) {
            (Some(path), _, _) => Decides::Program(path.clone(), Vec::new()),
            (None, Some(mode), _) => Decides::Comparing(mode),
            (None, None, own) => own.clone(),
        }
    }
}

/// Presets for the languages that the sandbox does not know by itself.
fn presets<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, Commands> {
    names
        .filter(|name| CommandLanguage::PRESETS.contains(name))
        .map(|name| (name.to_owned(), Commands::default()))
        .collect()
}

fn tests_of(root: &Path, folder: &Path) -> anyhow::Result<Vec<NamedTest>> {
    let mut tests = Vec::new();
    for (input, answer) in kattis::tests_below(folder)? {
        let text = |path: &Path| -> anyhow::Result<String> {
            let bytes = fs_err::read(path)?;
            String::from_utf8(bytes)
                .map_err(|_| anyhow::anyhow!("{} is not UTF-8 text", path.display()))
        };
        let name = input
            .strip_prefix(root)
            .unwrap_or(&input)
            .with_extension("");
        // The nearest folder that has flags; above `data` nothing is said about tests.
        let mut flags = None;
        for group in input.ancestors().skip(1) {
            flags = flags.or(kattis::group_flags(group)?);
            if group == root {
                break;
            }
        }
        tests.push(NamedTest {
            name: name.display().to_string(),
            case: TestCase {
                input: text(&input)?,
                output: text(&answer)?,
            },
            flags,
        });
    }
    Ok(tests)
}

fn submissions(folder: &Path) -> anyhow::Result<Vec<Submission>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for group in fs_err::read_dir(folder)? {
        let group = group?.path();
        if !group.is_dir() {
            continue;
        }
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        let expected = match name.as_ref() {
            "accepted" => Expected::Accepted,
            "wrong_answer" => Expected::Failure(Some(Verdict::WrongAnswer)),
            "time_limit_exceeded" => Expected::Failure(Some(Verdict::TimeLimit)),
            "run_time_error" | "runtime_error" => Expected::Failure(Some(Verdict::RuntimeError)),
            _ => Expected::Failure(None),
        };
        for entry in fs_err::read_dir(&group)? {
            found.push(Submission {
                path: entry?.path(),
                expected,
            });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

struct Session<'a> {
    problem: &'a Problem,
    trials: Trials<'a>,
    decides: &'a Decides,
    checker: Option<&'a Checker>,
    all_tests: bool,
}

impl Session<'_> {
    fn program(
        &self,
        submission: &Submission,
        file: &ProgramFile,
        limits: &Limits,
    ) -> anyhow::Result<ProgramReport> {
        let mut report = ProgramReport {
            path: submission.path.clone(),
            language: file.language.clone(),
            expected: submission.expected,
            verdict: None,
            words: None,
            tests: Vec::new(),
        };
        let Some(language) = self.trials.rules.language(&file.language) else {
            report.words = Some(format!("programs in {} cannot be run here", file.language));
            return Ok(report);
        };
        (self.trials.stop)()?;
        let program = match file.compile(self.trials.sandbox, language) {
            Ok(Ok(program)) => program,
            Ok(Err(rejected)) => {
                report.verdict = Some(Verdict::CompileError);
                report.words = Some(rejected.message);
                return Ok(report);
            }
            Err(error) => {
                report.words = Some(error.to_string());
                return Ok(report);
            }
        };
        for test in &self.problem.tests {
            (self.trials.stop)()?;
            let row = self.test(&program, test, limits);
            let is_passed = row.verdict == Verdict::Accepted;
            if !is_passed && report.verdict.is_none() {
                report.verdict = Some(row.verdict);
                report.words.clone_from(&row.words);
            }
            report.tests.push(row);
            if !is_passed && !self.all_tests {
                break;
            }
        }
        report.verdict = report.verdict.or(Some(Verdict::Accepted));
        Ok(report)
    }

    fn test(&self, program: &Compiled, test: &NamedTest, limits: &Limits) -> TestReport {
        self.try_test(program, test, limits)
            .unwrap_or_else(|error| TestReport {
                name: test.name.clone(),
                verdict: Verdict::JudgeError,
                cpu_s: 0.0,
                wall_s: 0.0,
                memory_bytes: 0,
                words: Some(format!("{error:#}")),
            })
    }

    fn try_test(
        &self,
        program: &Compiled,
        test: &NamedTest,
        limits: &Limits,
    ) -> anyhow::Result<TestReport> {
        let mut cost = Cost::default();
        let seen = self
            .trials
            .test(program, &test.case, limits, None, &mut cost)?;
        let expected = test.case.output.as_bytes();
        let stdout = &seen.outcome.stdout;
        let opinion = match (seen.failure, self.decides, self.checker) {
            (Some(_), _, _) => None,
            (None, Decides::Comparing(mode), _) => Some(Opinion {
                is_right: mode.of(seen.passed),
                message: None,
            }),
            (None, Decides::Program(..), Some(checker)) => {
                let flagged = test.flags.clone().map(|flags| checker.with_flags(flags));
                let checker = flagged.as_ref().unwrap_or(checker);
                let input = test.case.input.as_bytes();
                Some(checker.ask(self.trials.sandbox, input, expected, stdout)?)
            }
            (None, Decides::Validator(flags), _) => {
                let flags = test.flags.as_ref().unwrap_or(flags);
                Some(Opinion {
                    is_right: kattis::accepts(flags, stdout, expected)?,
                    message: None,
                })
            }
            (None, Decides::Program(..), None) => bail!("the checker was not compiled"),
        };
        let (verdict, words) = match opinion {
            None => (seen.failure.unwrap_or(Verdict::JudgeError), seen.words),
            Some(opinion) if opinion.is_right => (Verdict::Accepted, opinion.message),
            Some(opinion) => (Verdict::WrongAnswer, opinion.message),
        };
        Ok(TestReport {
            name: test.name.clone(),
            verdict,
            cpu_s: seen.outcome.cpu_s,
            wall_s: seen.outcome.wall_s,
            memory_bytes: seen.outcome.memory_bytes,
            words,
        })
    }
}
