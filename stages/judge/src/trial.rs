//! One program on the tests of one problem: compile, run, compare, and say what came of it.
//!
//! Called by `session.rs` from many threads; needs nothing but the sandbox, the suite and the
//! rules. The order of verdicts on one run (OLE, TLE, MLE, RE, WA, AC) is the sandbox's.
//!
//! Promises: the verdict is that of the lowest failing test, whether or not the others are
//! run. A run that ends close to its time limit is repeated and the median counts, because a
//! neighbour on the machine may cost a few per cent. How the program ended always counts: a
//! right output does not excuse a crash, unlike in the released CodeContests judge.

use crate::{
    checker::Checker,
    compare::{Match, compare},
    rules::{JudgeErrors, Mode, Rules},
    suite::Suite,
};
use anyhow::Context as _;
use corpus::schema::TestCase;
use sandbox::{Compiled, Error, Exit, Language, Limits, Outcome, Sandbox, Verdict};
use std::time::Instant;

/// A run this close to its limit (as a share of it) is repeated.
const NEAR_LIMIT: std::ops::RangeInclusive<f64> = 0.9..=1.1;
/// Tries before the judge's own failure is taken for final.
const ATTEMPTS: usize = 3;
/// Equal under no way of comparing.
const NONE: Match = Match {
    strict: false,
    code_contests: false,
    lenient: false,
};
/// Equal under every way of comparing.
const ALL: Match = Match {
    strict: true,
    code_contests: true,
    lenient: true,
};
/// Characters of a message that are kept.
const DETAIL_CHARS: usize = 400;

/// What came of a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    pub(crate) verdict: Verdict,
    pub(crate) compiled: bool,
    pub(crate) public_passed: bool,
    pub(crate) tests_passed: u32,
    pub(crate) tests_run: u32,
    pub(crate) failed_test: Option<i32>,
    pub(crate) detail: Option<String>,
    /// Whether all tests pass under each way of comparing.
    pub(crate) accepted: Match,
    /// The name of what it does on inputs without answers, if that was looked at.
    pub(crate) behaviour: Option<String>,
}

/// What a trial cost; for the log only.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Wall seconds until the program was compiled, waiting for a free worker included.
    pub(crate) compile_s: f64,
    /// Runs, repeated ones included.
    pub(crate) runs: u32,
    /// CPU seconds of all runs.
    pub(crate) cpu_s: f64,
    /// CPU seconds of the longest run.
    pub(crate) longest_cpu_s: f64,
    /// Largest memory of a run in bytes.
    pub(crate) memory_bytes: u64,
}

/// Judges programs; shared by threads.
pub(crate) struct Trials<'a> {
    /// Fails if the user asked to stop.
    pub(crate) stop: &'a (dyn Fn() -> anyhow::Result<()> + Sync),
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) rules: &'a Rules,
}

impl Trials<'_> {
    /// Compiles a source.
    ///
    /// # Errors
    /// If the judge failed and the rules want that to be fatal.
    pub(crate) fn compile(
        &self,
        language: Language,
        source: &str,
        cost: &mut Cost,
    ) -> anyhow::Result<Result<Compiled, Trial>> {
        let clock = Instant::now();
        let answer = persist(|| self.sandbox.compile(language, source.as_bytes()));
        cost.compile_s = clock.elapsed().as_secs_f64();
        Ok(match answer {
            Ok(Ok(program)) => Ok(program),
            Ok(Err(rejected)) => {
                let detail = first_lines(&rejected.message);
                Err(Trial::failed(Verdict::CompileError, detail))
            }
            Err(error @ Error::Toolchain { .. }) => return Err(error.into()),
            Err(error) => Err(self.judge_error(error.into()).context("while compiling")?),
        })
    }

    /// The limits of a program in a language.
    pub(crate) fn limits(&self, language_name: &str, suite: &Suite) -> Limits {
        let factor = self.rules.time_multiplier.get(language_name);
        Limits {
            cpu_s: suite
                .time_limit_s
                .unwrap_or(self.rules.default_time_limit_s)
                * factor.unwrap_or(&1.0),
            memory_bytes: suite
                .memory_limit_bytes
                .unwrap_or(self.rules.default_memory_limit_bytes),
            ..Limits::default()
        }
    }

    /// Runs a compiled program on the tests, in the given order of their numbers if there is one.
    ///
    /// # Errors
    /// If the user asked to stop, or the judge failed and the rules want that to be fatal.
    pub(crate) fn run(
        &self,
        program: &Compiled,
        language_name: &str,
        suite: &Suite,
        order: Option<&[usize]>,
        cost: &mut Cost,
    ) -> anyhow::Result<Trial> {
        let limits = self.limits(language_name, suite);
        let mut tally = Tally::new(self.rules.compare);
        for place in 0..suite.tests.len() {
            let number = order.map_or(place, |order| order[place]);
            let test = &suite.tests[number];
            (self.stop)()?;
            let seen = match self.test(program, test, &limits, suite.checker.as_ref(), cost) {
                Ok(seen) => seen,
                Err(error) => {
                    return self
                        .judge_error(error)
                        .with_context(|| format!("on test {number} (0 is the first public one)"));
                }
            };
            let is_public = number < suite.public;
            tally.add(number, is_public, seen.passed, seen.failure, || seen.words);
            if !self.rules.all_tests && tally.accepted == NONE {
                break;
            }
        }
        Ok(tally.into_trial(self.rules.all_tests))
    }

    /// Runs a program on one test and looks at what it wrote.
    ///
    /// # Errors
    /// If the sandbox or the checker failed.
    pub(crate) fn test(
        &self,
        program: &Compiled,
        test: &TestCase,
        limits: &Limits,
        checker: Option<&Checker>,
        cost: &mut Cost,
    ) -> anyhow::Result<Seen> {
        let outcome = self.measure(program, test.input.as_bytes(), limits, cost)?;
        let failure = outcome.failure();
        let mut words = explain(&outcome, limits);
        let expected = test.output.as_bytes();
        let passed = match (failure, checker) {
            (Some(_), _) => NONE,
            (None, None) => compare(&outcome.stdout, expected),
            (None, Some(checker)) => {
                let input = test.input.as_bytes();
                let opinion = checker.ask(self.sandbox, input, expected, &outcome.stdout)?;
                words = opinion.message.map(|text| cut(&text));
                if opinion.is_right { ALL } else { NONE }
            }
        };
        Ok(Seen {
            outcome,
            passed,
            failure,
            words,
        })
    }

    /// Runs once; three times, for the median, if the first ends close to the limit, and then
    /// while nothing else runs.
    pub(crate) fn measure(
        &self,
        program: &Compiled,
        input: &[u8],
        limits: &Limits,
        cost: &mut Cost,
    ) -> Result<Outcome, Error> {
        // Beyond the limit by as much as "close" means: an endless program is then not close.
        let room = Limits {
            cpu_s: limits.cpu_s * NEAR_LIMIT.end(),
            ..limits.clone()
        };
        let mut once = |is_alone: bool| -> Result<Outcome, Error> {
            let mut outcome = persist(|| {
                if is_alone {
                    self.sandbox.run_alone(program, input, &room)
                } else {
                    self.sandbox.run(program, input, &room)
                }
            })?;
            outcome.is_over_time = outcome.cpu_s > limits.cpu_s;
            cost.runs += 1;
            cost.cpu_s += outcome.cpu_s;
            cost.longest_cpu_s = cost.longest_cpu_s.max(outcome.cpu_s);
            cost.memory_bytes = cost.memory_bytes.max(outcome.memory_bytes);
            Ok(outcome)
        };
        let first = once(false)?;
        let is_stopped_far_out = first.stopped.is_some() && first.is_over_time;
        if is_stopped_far_out || !NEAR_LIMIT.contains(&(first.cpu_s / limits.cpu_s)) {
            return Ok(first);
        }
        let mut outcomes = [first, once(true)?, once(true)?];
        outcomes.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
        let [_, median, _] = outcomes;
        Ok(median)
    }

    pub(crate) fn judge_error(&self, error: anyhow::Error) -> anyhow::Result<Trial> {
        match self.rules.judge_errors {
            JudgeErrors::Record => {
                let detail = first_lines(&error.to_string());
                Ok(Trial::failed(Verdict::JudgeError, detail))
            }
            JudgeErrors::Fail => Err(error.context(format!(
                "the judge itself failed {ATTEMPTS} times on one program, so nothing is known \
                 about it; run again, or set rules.judge_errors = \"record\" to count it as JE"
            ))),
        }
    }
}

impl Trial {
    /// A program on which no test was run.
    pub(crate) fn failed(verdict: Verdict, detail: Option<String>) -> Self {
        Self {
            verdict,
            compiled: verdict != Verdict::CompileError,
            public_passed: false,
            tests_passed: 0,
            tests_run: 0,
            failed_test: None,
            detail,
            accepted: NONE,
            behaviour: None,
        }
    }
}

/// What one test showed of a program.
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    /// Under which ways of comparing the output is right.
    pub(crate) passed: Match,
    /// The verdict if the run did not end well.
    pub(crate) failure: Option<Verdict>,
    /// Why, or what the checker says.
    pub(crate) words: Option<String>,
}

/// What is known after some tests.
struct Tally {
    mode: Mode,
    accepted: Match,
    first_failure: Option<(usize, Verdict, Option<String>)>,
    /// Tests run before the first failure.
    passed_before: u32,
    public_passed: bool,
    passed: u32,
    run: u32,
}

impl Tally {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            accepted: ALL,
            first_failure: None,
            passed_before: 0,
            public_passed: true,
            passed: 0,
            run: 0,
        }
    }

    fn add(
        &mut self,
        number: usize,
        is_public: bool,
        passed: Match,
        failure: Option<Verdict>,
        explain: impl FnOnce() -> Option<String>,
    ) {
        self.accepted = Match {
            strict: self.accepted.strict && passed.strict,
            code_contests: self.accepted.code_contests && passed.code_contests,
            lenient: self.accepted.lenient && passed.lenient,
        };
        self.run += 1;
        if self.mode.of(passed) {
            self.passed += 1;
            return;
        }
        self.public_passed &= !is_public;
        if self.first_failure.is_none() {
            let verdict = failure.unwrap_or(Verdict::WrongAnswer);
            self.passed_before = self.run - 1;
            self.first_failure = Some((number, verdict, explain()));
        }
    }

    /// Tests after the first failure may have been run for the other ways of comparing; without
    /// `all_tests` they are not counted.
    fn into_trial(self, all_tests: bool) -> Trial {
        let Some((number, verdict, detail)) = self.first_failure else {
            return Trial {
                verdict: Verdict::Accepted,
                compiled: true,
                public_passed: true,
                tests_passed: self.passed,
                tests_run: self.run,
                failed_test: None,
                detail: None,
                accepted: self.accepted,
                behaviour: None,
            };
        };
        let until_failure = self.passed_before;
        Trial {
            verdict,
            compiled: true,
            public_passed: self.public_passed,
            tests_passed: if all_tests {
                self.passed
            } else {
                until_failure
            },
            tests_run: if all_tests {
                self.run
            } else {
                until_failure + 1
            },
            failed_test: Some(number as i32),
            detail,
            accepted: self.accepted,
            behaviour: None,
        }
    }
}

/// Tries again when the sandbox failed: a worker may have been lost to the machine's troubles.
fn persist<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match attempt() {
            Err(Error::WorkerLost { .. } | Error::Refused { .. } | Error::Io { .. })
                if tries < ATTEMPTS =>
            {
                tries += 1;
            }
            answer => return answer,
        }
    }
}

/// Why a run failed, in words that are the same every time; `None` for a wrong answer.
fn explain(outcome: &Outcome, limits: &Limits) -> Option<String> {
    Some(match outcome.failure()? {
        Verdict::OutputLimit => format!("more than {} bytes of output", limits.output_bytes),
        Verdict::TimeLimit if outcome.is_over_time => {
            format!("more than {} s of processor time", limits.cpu_s)
        }
        Verdict::TimeLimit => "did not end, though it used little processor time".to_owned(),
        Verdict::MemoryLimit => format!("more than {} bytes of memory", limits.memory_bytes),
        _ => {
            let end = match outcome.exit {
                Exit::Status(status) => format!("exit status {status}"),
                Exit::Signal(signal) => format!("killed by signal {signal}"),
            };
            match last_line(&outcome.stderr_head) {
                Some(line) => cut(&format!("{end}: {line}")),
                None => end,
            }
        }
    })
}

fn first_lines(text: &str) -> Option<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    (!lines.is_empty()).then(|| cut(&lines[..lines.len().min(4)].join("\n")))
}

fn last_line(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(without_addresses(line.trim()))
}

/// Replaces `0x7f...` by `0x...`: where something lies in memory is no part of a verdict.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("0x...");
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    text
}

fn cut(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .take(DETAIL_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(mode: Mode) -> Match {
        let mut accepted = NONE;
        match mode {
            Mode::Strict => accepted.strict = true,
            Mode::CodeContests => accepted.code_contests = true,
            Mode::Lenient => accepted.lenient = true,
        }
        accepted
    }

    fn tally(mode: Mode, tests: &[(bool, Match, Option<Verdict>)], all: bool) -> Trial {
        let mut tally = Tally::new(mode);
        for (number, &(is_public, passed, failure)) in tests.iter().enumerate() {
            tally.add(number, is_public, passed, failure, || None);
        }
        tally.into_trial(all)
    }

    #[test]
    fn the_verdict_is_that_of_the_lowest_failing_test() {
        let tests = [
            (true, ALL, None),
            (false, NONE, Some(Verdict::TimeLimit)),
            (false, ALL, None),
            (false, NONE, None),
        ];
        for (all, passed, run) in [(true, 2, 4), (false, 1, 2)] {
            let trial = tally(Mode::Strict, &tests, all);
            assert_eq!(trial.verdict, Verdict::TimeLimit);
            assert_eq!(trial.failed_test, Some(1));
            assert_eq!((trial.tests_passed, trial.tests_run), (passed, run));
            assert!(trial.public_passed);
            assert_eq!(trial.accepted, NONE);
        }
    }

    #[test]
    fn ways_of_comparing_are_followed_side_by_side() {
        // Right but for the case of letters: strict fails on the public test, lenient never.
        let mut folded = only(Mode::Lenient);
        folded.code_contests = true;
        let tests = [(true, folded, None), (false, ALL, None)];
        let strict = tally(Mode::Strict, &tests, false);
        assert_eq!(strict.verdict, Verdict::WrongAnswer);
        assert!(!strict.public_passed);
        assert_eq!((strict.tests_passed, strict.tests_run), (0, 1));
        assert_eq!(strict.accepted, folded);
        let lenient = tally(Mode::Lenient, &tests, false);
        assert_eq!(lenient.verdict, Verdict::Accepted);
        assert_eq!((lenient.tests_passed, lenient.tests_run), (2, 2));
        assert_eq!(lenient.accepted, folded);
    }

    #[test]
    fn details_hold_no_addresses_and_are_short() {
        assert_eq!(
            without_addresses("free(): 0x7ffe12 and 0xAB, no 0"),
            "free(): 0x... and 0x..., no 0"
        );
        assert_eq!(
            last_line(b"a\nValueError: b\n\n"),
            Some("ValueError: b".into())
        );
        assert_eq!(last_line(b" \n"), None);
        assert_eq!(cut(&"x".repeat(1000)).len(), DETAIL_CHARS);
        assert_eq!(first_lines("\n\n"), None);
    }
}
