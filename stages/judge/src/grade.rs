//! Programs fresh from a model, graded while it trains: does it compile, how many public tests
//! does it pass, does it pass them all.
//!
//! A door for a training stage that rewards what programs do. Same sandbox, comparison and
//! limits as the stage `judge`, by its default rules. Tests are read problem by problem when
//! they are needed; nothing is written.

use crate::{
    rules::{How, Rules},
    session::problem_rows,
    suite::{Suite, SuiteRow},
    trial::{Cost, Trials},
};
use anyhow::Context as _;
use corpus::table::Table;
use engine::Ctx;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use sandbox::Sandbox;
use std::collections::BTreeMap;

/// What came of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grade {
    /// Whether it compiles.
    pub compiles: bool,
    /// Share of the public tests it passes; 1 if there are none.
    pub public_tests: f64,
    /// Whether it passes all tests.
    pub all_tests: bool,
}

/// Grades programs for the problems of a table.
pub struct Grader {
    sandbox: Sandbox,
    problems: Table<SuiteRow>,
    rows: BTreeMap<String, u64>,
    threads: rayon::ThreadPool,
}

impl Grader {
    /// Reads where problems are in the table bound to `problems`, and starts the sandbox.
    ///
    /// # Errors
    /// The table cannot be read, or programs cannot be isolated here.
    pub fn open(ctx: &Ctx) -> anyhow::Result<Self> {
        let problems = Table::<SuiteRow>::open(ctx.input("problems")?, &ctx.label("problems"))?;
        let options = How::default().sandbox_options(&Rules::default());
        Ok(Self {
            threads: rayon::ThreadPoolBuilder::new()
                .num_threads(options.workers)
                .build()
                .context("cannot start the judging threads")?,
            sandbox: Sandbox::new(&options).context("cannot start the sandbox")?,
            problems,
            rows: problem_rows(ctx)?,
        })
    }

    /// Grades programs, each a problem's id, a language and a text; answers in their order.
    ///
    /// # Errors
    /// A problem is not in the table or has no tests, the judge itself failed, or the user asked
    /// to stop.
    pub fn grade(&self, programs: &[(&str, &str, &str)], ctx: &Ctx) -> anyhow::Result<Vec<Grade>> {
        self.threads.install(|| {
            programs
                .par_iter()
                .map(|&(problem_id, language, source)| {
                    self.one(problem_id, language, source, ctx)
                        .with_context(|| format!("grading a program for {problem_id}"))
                })
                .collect()
        })
    }

    fn one(
        &self,
        problem_id: &str,
        language_name: &str,
        source: &str,
        ctx: &Ctx,
    ) -> anyhow::Result<Grade> {
        ctx.check_cancelled()?;
        let suite = self.suite(problem_id)?;
        let language = Rules::default()
            .language(language_name)
            .with_context(|| format!("programs in {language_name} cannot be run"))?;
        let rules = Rules::default();
        let all = Rules {
            all_tests: true,
            ..Rules::default()
        };
        let stop = || ctx.check_cancelled();
        let trials = |rules| Trials {
            stop: &stop,
            sandbox: &self.sandbox,
            rules,
        };
        let mut cost = Cost::default();
        let Ok(program) = trials(&rules).compile(language, source, &mut cost)? else {
            return Ok(Grade::default());
        };
        let public = Suite {
            tests: suite.tests[..suite.public].to_vec(),
            ..suite
        };
        let seen = trials(&all).run(&program, language_name, &public, None, &mut cost)?;
        let public_tests = if public.tests.is_empty() {
            1.0
        } else {
            f64::from(seen.tests_passed) / public.tests.len() as f64
        };
        let all_tests = seen.failed_test.is_none() && {
            let hidden = Suite {
                tests: suite.tests[suite.public..].to_vec(),
                public: 0,
                ..public
            };
            let trial = trials(&rules).run(&program, language_name, &hidden, None, &mut cost)?;
            trial.failed_test.is_none()
        };
        Ok(Grade {
            compiles: true,
            public_tests,
            all_tests,
        })
    }

    fn suite(&self, problem_id: &str) -> anyhow::Result<Suite> {
        let &number = self
            .rows
            .get(problem_id)
            .context("it is not in the table of problems")?;
        let mut rows = self.problems.range(number, number + 1)?;
        let row = rows.next().context("the table of problems lost a row")??;
        Suite::new(row).map_err(|reason| anyhow::anyhow!("it cannot be judged: {reason:?}"))
    }
}
