//! Lets the judge run a training stage's programs: `train` and `judge` never see each other,
//! and meet here, where stages are registered.

use engine::Ctx;
use judge::grade::Grader;
use train::ppo::execution::{Execution, Program, Ran};

/// The judge as `ppo` sees it.
pub(crate) struct Judge(Grader);

impl Execution for Judge {
    fn open(ctx: &Ctx) -> anyhow::Result<Self> {
        Grader::open(ctx).map(Self)
    }

    fn run(&self, programs: &[Program<'_>], ctx: &Ctx) -> anyhow::Result<Vec<Ran>> {
        let programs: Vec<_> = programs
            .iter()
            .map(|program| (program.problem_id, program.language, program.source))
            .collect();
        let grades = self.0.grade(&programs, ctx)?;
        let ran = grades.into_iter().map(|grade| Ran {
            compiles: grade.compiles,
            public_tests: grade.public_tests,
            all_tests: grade.all_tests,
        });
        Ok(ran.collect())
    }
}
