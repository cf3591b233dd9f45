//! Many programs on many problems: threads, the sandbox, resumable pieces, identical programs.
//!
//! Shared by the stages `judge` and `verify`: reads `problems` and a table of programs, leaves a
//! `Judged` row for every program in the shards of the run, in the order of the table of
//! programs. Wall and CPU times go to `timings.csv` in the log folder and nowhere else.
//!
//! Promises: a shard covers whole problems, and programs of half-done ones are in a journal, so
//! a run that was stopped repeats at most the programs it was at. Programs of one problem with the same text, and those that compile to
//! the same bytes, are run once. Nothing depends on the number of threads.

use crate::{
    behaviour,
    checker::{self, Checker},
    journal::{self, Finished, Journal},
    order::Order,
    rules::{How, Rules},
    suite::{Suite, SuiteRow, Unjudgeable},
    trial::{Cost, Trial, Trials},
};
use anyhow::{Context as _, bail, ensure};
use corpus::{
    schema::Verdict,
    table::{self, Row, Table},
};
use engine::{Ctx, Progress, Shards};
use rayon::iter::{IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use sandbox::{Compiled, Language, Sandbox};
use std::{
    collections::BTreeMap,
    io::Write as _,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

/// At most this many shards, however many problems there are.
const MOST_SHARDS: usize = 1024;

corpus::table! {
    struct ProblemId in "problems" {
        problem_id: String,
    }
}

corpus::table! {
    /// A program and what came of it; the row of a shard.
    pub(crate) struct Judged in "judged" {
        pub(crate) problem_id: String,
        pub(crate) program: String,
        /// `judged`, `no_tests`, `named_files` or `not_runnable`; below `judged` nothing counts.
        pub(crate) standing: String,
        /// Its verdict was found with another program of the same problem.
        pub(crate) is_duplicate: bool,
        pub(crate) verdict: String,
        pub(crate) compiled: bool,
        pub(crate) public_passed: bool,
        pub(crate) tests_passed: u32,
        pub(crate) tests_run: u32,
        pub(crate) failed_test: Option<i32>,
        pub(crate) detail: Option<String>,
        pub(crate) accepted_strict: bool,
        pub(crate) accepted_code_contests: bool,
        pub(crate) accepted_lenient: bool,
        /// What it does on inputs without answers, if that was looked at.
        pub(crate) behaviour: Option<String>,
        /// The layers under which it was run.
        pub(crate) isolation: String,
    }
}

impl Judged {
    /// Whether it was judged at all.
    pub(crate) fn is_judged(&self) -> bool {
        self.standing == JUDGED
    }

    /// The row for the table of verdicts.
    pub(crate) fn into_verdict(self) -> Verdict {
        Verdict {
            problem_id: self.problem_id,
            program: self.program,
            verdict: self.verdict,
            compiled: self.compiled,
            public_passed: self.public_passed,
            tests_passed: self.tests_passed,
            tests_run: self.tests_run,
            failed_test: self.failed_test,
            detail: self.detail,
        }
    }
}

/// The optional input with a checker for each problem that has many right answers.
pub(crate) const CHECKERS: &str = "checkers";

/// `Judged::standing` of a program that was run.
pub(crate) const JUDGED: &str = "judged";
/// ... of one whose problem has no tests.
pub(crate) const NO_TESTS: &str = "no_tests";
/// ... of one whose problem wants files instead of standard input and output.
pub(crate) const NAMED_FILES: &str = "named_files";
/// ... of one in a language that the sandbox does not run.
pub(crate) const NOT_RUNNABLE: &str = "not_runnable";

/// A row of a table of programs.
pub(crate) trait Program: Row + Sync {
    /// Its name within the problem.
    fn name(&self) -> String;
    /// Its language as the table writes it.
    fn language(&self) -> &str;
    /// Its text.
    fn source(&self) -> &str;
}

/// The programs of one problem.
struct Work {
    problem_id: String,
    problem_row: u64,
    programs: Range<u64>,
}

/// Judges every program of a table; the rows are then read with [`for_each_judged`].
pub(crate) fn judge_all<P: Program>(
    ctx: &Ctx,
    programs_port: &str,
    rules: &Rules,
    how: &How,
) -> anyhow::Result<Shards> {
    let programs = Table::<P>::open(ctx.input(programs_port)?, &ctx.label(programs_port))?;
    let problems = Table::<SuiteRow>::open(ctx.input("problems")?, &ctx.label("problems"))?;
    let works = works(ctx, programs_port)?;
    let per_shard = works.len().div_ceil(MOST_SHARDS).max(1);
    let blocks: Vec<&[Work]> = works.chunks(per_shard).collect();
    let shards = ctx.shards(blocks.len())?;
    let missing = shards.missing();
    if missing.is_empty() {
        return Ok(shards);
    }

    let options = how.sandbox_options(rules);
    let sandbox = Sandbox::new(&options).context("cannot start the sandbox")?;
    let isolation = sandbox.isolation().to_string();
    ctx.info(format!("programs run under {isolation}"));
    if how.unsafe_mode {
        ctx.warn("unsafe_mode is on: programs may run without isolation");
    }
    let log = TimingLog::open(ctx.log_dir())?;
    let left = missing.iter().flat_map(|&index| blocks[index]);
    let total = left
        .map(|work| work.programs.end - work.programs.start)
        .sum();
    let progress = ctx.progress("judge", "programs", Some(total));
    let stop = || ctx.check_cancelled();
    let session = Session {
        ctx,
        checkers: ctx.input_optional(CHECKERS),
        trials: Trials {
            stop: &stop,
            sandbox: &sandbox,
            rules,
        },
        isolation: &isolation,
        log: &log,
        progress: &progress,
    };
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(options.workers)
        .build()
        .context("cannot start the judging threads")?;
    threads.install(|| {
        missing.into_par_iter().try_for_each(|index| {
            ctx.check_cancelled()?;
            let mut rows = Vec::new();
            let journal = Journal::open(&shards.path(index))?;
            for work in blocks[index] {
                rows.extend(session.problem(work, &problems, &programs, &journal)?);
            }
            shards.write(index, |path| table::write(path, rows).map(|_| ()))
        })
    })?;
    Ok(shards)
}

/// Visits the rows of all shards, in the order of the table of programs.
pub(crate) fn for_each_judged(
    shards: &Shards,
    mut visit: impl FnMut(Judged) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for index in 0..shards.count() {
        let shard = Table::<Judged>::open(&shards.path(index), "a shard of this run")?;
        for row in shard.rows()? {
            visit(row?)?;
        }
    }
    Ok(())
}

/// The row of every problem in the table of problems.
pub(crate) fn problem_rows(ctx: &Ctx) -> anyhow::Result<BTreeMap<String, u64>> {
    let problems = Table::<ProblemId>::open(ctx.input("problems")?, &ctx.label("problems"))?;
    let mut rows = BTreeMap::new();
    for (number, row) in (0..).zip(problems.rows()?) {
        let problem_id = row?.problem_id;
        if let Some(first) = rows.insert(problem_id.clone(), number) {
            bail!(
                "problem `{problem_id}` stands twice in {}, in rows {first} and {number}; \
                 problem_id must be unique",
                ctx.label("problems")
            );
        }
    }
    Ok(rows)
}

/// Which rows of the table of programs belong to which problem.
fn works(ctx: &Ctx, programs_port: &str) -> anyhow::Result<Vec<Work>> {
    let label = ctx.label(programs_port);
    let problem_rows = problem_rows(ctx)?;
    let mut works: Vec<Work> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let ids = Table::<ProblemId>::open(ctx.input(programs_port)?, &label)?;
    for (number, row) in (0..).zip(ids.rows()?) {
        let problem_id = row?.problem_id;
        if let Some(last) = works.last_mut()
            && last.problem_id == problem_id
        {
            last.programs.end = number + 1;
            continue;
        }
        let Some(&problem_row) = problem_rows.get(&problem_id) else {
            bail!(
                "row {number} of {label} is for problem `{problem_id}`, which is not in {}; \
                 bind the table of problems that the programs were made for",
                ctx.label("problems")
            );
        };
        ensure!(
            seen.insert(problem_id.clone()),
            "the rows of problem `{problem_id}` in {label} are not adjacent (again in row \
             {number}); sort the table by problem_id"
        );
        works.push(Work {
            problem_id,
            problem_row,
            programs: number..number + 1,
        });
    }
    Ok(works)
}

struct Session<'a> {
    ctx: &'a Ctx<'a>,
    /// A folder with a checker for each problem that needs one.
    checkers: Option<&'a Path>,
    trials: Trials<'a>,
    isolation: &'a str,
    log: &'a TimingLog,
    progress: &'a Progress<'a>,
}

/// Trials by what was compiled; the lock of a slot is held while its program runs.
type ByBinary = Mutex<BTreeMap<[u8; 32], Arc<OnceLock<Trial>>>>;

/// Programs of the same language and text, by their place in the problem.
struct Same<'a> {
    language_name: &'a str,
    language: Language,
    source: &'a str,
    places: Vec<usize>,
}

impl Session<'_> {
    fn problem<P: Program>(
        &self,
        work: &Work,
        problems: &Table<SuiteRow>,
        programs: &Table<P>,
        journal: &Journal,
    ) -> anyhow::Result<Vec<Judged>> {
        let mut row = problems.range(work.problem_row, work.problem_row + 1)?;
        let row = row.next().context("the table of problems lost a row")??;
        ensure!(row.problem_id == work.problem_id, "rows are read by number");
        let programs: Vec<P> = programs
            .range(work.programs.start, work.programs.end)?
            .collect::<Result<_, _>>()?;
        let blank = |standing: &str, program: &P| Judged {
            problem_id: work.problem_id.clone(),
            program: program.name(),
            standing: standing.to_owned(),
            is_duplicate: false,
            verdict: String::new(),
            compiled: false,
            public_passed: false,
            tests_passed: 0,
            tests_run: 0,
            failed_test: None,
            detail: None,
            accepted_strict: false,
            accepted_code_contests: false,
            accepted_lenient: false,
            behaviour: None,
            isolation: String::new(),
        };
        let mut suite = match Suite::new(row) {
            Ok(suite) => suite,
            Err(reason) => {
                let standing = match reason {
                    Unjudgeable::NoTests => NO_TESTS,
                    Unjudgeable::NamedFiles => NAMED_FILES,
                };
                self.progress.inc(programs.len() as u64);
                return Ok(programs.iter().map(|p| blank(standing, p)).collect());
            }
        };

        if let Some(folder) = self.checkers
            && let Some(path) = checker::of_problem(folder, &work.problem_id)
        {
            let checker = Checker::load(self.trials.sandbox, &path, Vec::new());
            suite.checker = Some(checker.with_context(|| work.problem_id.clone())?);
        }
        let rules = self.trials.rules;
        let tried = (rules.cluster_inputs > 0).then(|| {
            let public = &suite.tests[..suite.public];
            behaviour::inputs(&work.problem_id, public, rules.cluster_inputs)
        });
        let groups = same_programs(&programs, rules);
        let by_binary = ByBinary::default();
        let resumed = |same: &Same| {
            let key = journal::key(&work.problem_id, same.language_name, same.source);
            journal.find(&key)
        };
        for finished in groups.iter().filter_map(resumed) {
            if let Some(digest) = finished.digest {
                let slot = OnceLock::from(finished.trial.clone());
                let mut slots = by_binary.lock().expect("no panic inside");
                slots.insert(digest, Arc::new(slot));
            }
        }
        let mut order = Order::new(&suite, rules.test_order);
        let mut trials: Vec<(&Same, Trial, bool)> = Vec::new();
        for batch in order.batches(&groups) {
            let numbers = order.numbers();
            let done: Vec<(&Same, Trial, bool)> = batch
                .par_iter()
                .map(|same| {
                    if let Some(finished) = resumed(same) {
                        self.progress.inc(same.places.len() as u64);
                        return Ok((same, finished.trial.clone(), finished.is_duplicate));
                    }
                    self.ctx.check_cancelled()?;
                    let first = programs[same.places[0]].name();
                    let mut cost = Cost::default();
                    let finished = self
                        .program(
                            same,
                            &suite,
                            tried.as_deref(),
                            numbers,
                            &by_binary,
                            &mut cost,
                        )
                        .with_context(|| format!("{first} of {}", work.problem_id))?;
                    let key = journal::key(&work.problem_id, same.language_name, same.source);
                    journal.note(key, &finished)?;
                    let Finished {
                        trial,
                        is_duplicate,
                        ..
                    } = finished;
                    self.log
                        .write(&work.problem_id, &first, same, &trial, cost)?;
                    self.progress.inc(same.places.len() as u64);
                    Ok((same, trial, is_duplicate))
                })
                .collect::<anyhow::Result<_>>()?;
            order.learn(done.iter().map(|(_, trial, _)| trial));
            trials.extend(done);
        }

        let mut rows: Vec<Judged> = programs
            .iter()
            .map(|program| blank(NOT_RUNNABLE, program))
            .collect();
        let judged: usize = groups.iter().map(|same| same.places.len()).sum();
        self.progress.inc((programs.len() - judged) as u64);
        for (same, trial, is_duplicate) in trials {
            for (copy, &place) in same.places.iter().enumerate() {
                let row = &mut rows[place];
                JUDGED.clone_into(&mut row.standing);
                row.is_duplicate = copy > 0 || is_duplicate;
                trial.verdict.code().clone_into(&mut row.verdict);
                row.compiled = trial.compiled;
                row.public_passed = trial.public_passed;
                row.tests_passed = trial.tests_passed;
                row.tests_run = trial.tests_run;
                row.failed_test = trial.failed_test;
                row.detail.clone_from(&trial.detail);
                row.accepted_strict = trial.accepted.strict;
                row.accepted_code_contests = trial.accepted.code_contests;
                row.accepted_lenient = trial.accepted.lenient;
                row.behaviour.clone_from(&trial.behaviour);
                self.isolation.clone_into(&mut row.isolation);
            }
        }
        Ok(rows)
    }

    /// Judges one text; says whether another one had compiled to the same bytes.
    fn program(
        &self,
        same: &Same,
        suite: &Suite,
        tried: Option<&[String]>,
        order: Option<&[usize]>,
        by_binary: &ByBinary,
        cost: &mut Cost,
    ) -> anyhow::Result<Finished> {
        let program = match self.trials.compile(same.language, same.source, cost)? {
            Ok(program) => program,
            Err(trial) => {
                return Ok(Finished {
                    trial,
                    is_duplicate: false,
                    digest: None,
                });
            }
        };
        let slot = {
            let mut slots = by_binary.lock().expect("no panic inside");
            Arc::clone(slots.entry(program.digest()).or_default())
        };
        let mut failure = None;
        let mut is_first = false;
        // Whoever compiled to the same bytes meanwhile waits here for the first to end.
        let trial = slot.get_or_init(|| {
            is_first = true;
            let run = self
                .trials
                .run(&program, same.language_name, suite, order, cost)
                .and_then(|trial| self.with_behaviour(trial, &program, same, suite, tried, cost));
            run.unwrap_or_else(|error| {
                failure = Some(error);
                Trial::failed(sandbox::Verdict::JudgeError, None)
            })
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(Finished {
                trial: trial.clone(),
                is_duplicate: !is_first,
                digest: Some(program.digest()),
            }),
        }
    }
}

impl Session<'_> {
    /// Adds what the program does on inputs without answers, if it passes the public tests.
    fn with_behaviour(
        &self,
        mut trial: Trial,
        program: &Compiled,
        same: &Same,
        suite: &Suite,
        inputs: Option<&[String]>,
        cost: &mut Cost,
    ) -> anyhow::Result<Trial> {
        if let Some(inputs) = inputs.filter(|_| trial.public_passed) {
            let limits = self.trials.limits(same.language_name, suite);
            match behaviour::behaviour(&self.trials, program, &limits, inputs, cost) {
                Ok(name) => trial.behaviour = Some(name),
                Err(error) => return self.trials.judge_error(error.into()),
            }
        }
        Ok(trial)
    }
}

/// Groups programs that are equal but for blanks at the very end, in order of appearance.
fn same_programs<'a, P: Program>(programs: &'a [P], rules: &Rules) -> Vec<Same<'a>> {
    let mut groups: Vec<Same> = Vec::new();
    let mut index = BTreeMap::new();
    for (place, program) in programs.iter().enumerate() {
        let Some(language) = rules.language(program.language()) else {
            continue;
        };
        let source = program.source().trim_end();
        let group = *index
            .entry((program.language(), source))
            .or_insert_with(|| {
                groups.push(Same {
                    language_name: program.language(),
                    language,
                    source,
                    places: Vec::new(),
                });
                groups.len() - 1
            });
        groups[group].places.push(place);
    }
    groups
}

/// What each program cost, one line each, in the order in which they end.
struct TimingLog(Mutex<std::io::BufWriter<fs_err::File>>);

impl TimingLog {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("timings.csv");
        let is_new = !path.exists();
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        let mut writer = std::io::BufWriter::new(file);
        if is_new {
            writeln!(
                writer,
                "problem_id,program,language,copies,verdict,compile_wall_s,runs,cpu_s,longest_cpu_s,memory_bytes"
            )?;
        }
        Ok(Self(Mutex::new(writer)))
    }

    fn write(
        &self,
        problem_id: &str,
        program: &str,
        same: &Same,
        trial: &Trial,
        cost: Cost,
    ) -> anyhow::Result<()> {
        let mut writer = self.0.lock().expect("no panic inside");
        let quoted = problem_id.replace('"', "\"\"");
        writeln!(
            writer,
            "\"{quoted}\",{program},{},{},{},{:.4},{},{:.4},{:.4},{}",
            same.language_name,
            same.places.len(),
            trial.verdict.code(),
            cost.compile_s,
            cost.runs,
            cost.cpu_s,
            cost.longest_cpu_s,
            cost.memory_bytes
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    corpus::table! {
        struct Text in "texts" {
            language: String,
            text: String,
        }
    }

    impl Program for Text {
        fn name(&self) -> String {
            self.text.clone()
        }
        fn language(&self) -> &str {
            &self.language
        }
        fn source(&self) -> &str {
            &self.text
        }
    }

    #[test]
    fn only_equal_text_in_one_language_is_the_same_program() {
        let programs: Vec<Text> = [
            ("cpp", "int a;"),
            ("c", "int a;"),
            ("java", "int a;"),
            ("cpp", "int a;\n\n"),
            ("cpp", "int  a;"),
            ("cpp", " int a;"),
        ]
        .map(|(language, text)| Text {
            language: language.into(),
            text: text.into(),
        })
        .into();
        let groups = same_programs(&programs, &Rules::default());
        let places: Vec<_> = groups.iter().map(|same| same.places.clone()).collect();
        assert_eq!(places, [vec![0, 3], vec![1], vec![4], vec![5]]);
    }
}
