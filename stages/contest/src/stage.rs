//! Stage `contest`: the embedded contest as tables.
//!
//! Wraps [`crate::generate`]; called by the engine. Downstream nothing can tell these tables
//! from ingested ones. Whether every program does what it claims is decided by stage
//! `verify`, not here.
//!
//! | output | columns |
//! |---|---|
//! | `problems` | `corpus::schema::Problem`, source `contest` |
//! | `solutions` | `corpus::schema::Solution`, `claim` = style, or the error's kind |

use corpus::{language, schema, solution::new_solution, table::TableWriter};
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};

/// The embedded contest.
#[derive(Clone, Copy, Debug)]
pub struct Contest;

/// What is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Number of problems over all splits.
    pub problems: usize,
    /// Share of constants and compositions that are held out for the test split.
    pub test_share: f64,
    /// Tests of a problem, before those that its family adds.
    pub tests_per_problem: usize,
    /// Right programs of a problem, at most.
    pub solutions_per_problem: usize,
    /// Wrong programs of a problem, at most.
    pub incorrect_per_problem: usize,
    /// Wrong programs of a problem that the table calls right, at most: labels of collected data
    /// come from few tests. AlphaCode's authors found that of the solved problems of CodeContests
    /// without their added tests 62 % were solved by wrong programs (their Table 2).
    pub mislabelled_per_problem: usize,
    /// Languages of the programs: `python3`, `cpp`.
    pub languages: Vec<crate::Language>,
    /// Families to draw from, such as `filter-map-reduce`; empty means all. Few families make
    /// a narrow task, one that a very small model can learn in minutes.
    pub families: Vec<String>,
}

impl Default for What {
    fn default() -> Self {
        let options = crate::Options::default();
        Self {
            problems: options.problems,
            test_share: options.test_share,
            tests_per_problem: options.tests_per_problem,
            solutions_per_problem: options.solutions_per_problem,
            incorrect_per_problem: options.incorrect_per_problem,
            mislabelled_per_problem: 0,
            languages: options.languages,
            families: options.families,
        }
    }
}

impl Stage for Contest {
    const NAME: &'static str = "contest";
    /// 1: first. 2: families can be chosen; list problems have misread programs.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "Makes the embedded contest: small problems by rule.";
    const INPUTS: &'static [Input] = &[];
    const OUTPUTS: &'static [Output] = &[Output::table("problems"), Output::table("solutions")];
    const SOURCES: &'static [&'static str] = &["contest/src"];
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        Invalid::unless(what.problems > 0, "problems", "must be at least 1")?;
        Invalid::unless(
            (0.0..=0.5).contains(&what.test_share),
            "test_share",
            "must be between 0 and 0.5: what is held out cannot be learnt from",
        )?;
        Invalid::unless(
            what.tests_per_problem >= 3,
            "tests_per_problem",
            "must be at least 3",
        )?;
        Invalid::unless(
            what.mislabelled_per_problem <= what.incorrect_per_problem,
            "mislabelled_per_problem",
            "must be at most incorrect_per_problem: these are some of them",
        )?;
        let known = crate::families();
        let name = |name: &&String| known.iter().any(|family| family.name == name.as_str());
        match what.families.iter().find(|wanted| !name(wanted)) {
            None => Ok(()),
            Some(unknown) => Err(Invalid::new(
                "families",
                format!(
                    "names `{unknown}`; the families are {}",
                    known
                        .iter()
                        .map(|family| family.name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )),
        }
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> anyhow::Result<()> {
        let made = crate::generate(&crate::Options {
            seed: ctx.seed(),
            problems: what.problems,
            test_share: what.test_share,
            tests_per_problem: what.tests_per_problem,
            solutions_per_problem: what.solutions_per_problem,
            incorrect_per_problem: what.incorrect_per_problem,
            languages: what.languages.clone(),
            families: what.families.clone(),
        });
        let progress = ctx.progress("problems", "problems", Some(made.len() as u64));
        let mut problems = TableWriter::create(&ctx.output("problems"))?;
        let mut solutions = TableWriter::create(&ctx.output("solutions"))?;
        let (mut right, mut wrong, mut mislabelled) = (0_u32, 0_u32, 0_u32);
        let mut by_split = std::collections::BTreeMap::new();
        for problem in made {
            ctx.check_cancelled()?;
            for (solution, correct) in labelled(&problem, what.mislabelled_per_problem) {
                *(if correct { &mut right } else { &mut wrong }) += 1;
                mislabelled += u32::from(correct && solution.claim != crate::Claim::Accepted);
                solutions.push(solution_row(&problem.name, solution, correct))?;
            }
            *by_split.entry(split_name(problem.split)).or_insert(0_u32) += 1;
            problems.push(problem_row(problem))?;
            progress.inc(1);
        }
        ctx.metric("problems", problems.finish()? as f64);
        solutions.finish()?;
        for (split, count) in by_split {
            ctx.metric(&format!("problems.{split}"), f64::from(count));
        }
        ctx.metric("solutions.right", f64::from(right));
        ctx.metric("solutions.wrong", f64::from(wrong));
        ctx.metric("solutions.mislabelled", f64::from(mislabelled));
        Ok(())
    }
}

/// The programs of a problem, each with what the table calls it: `mislabelled` wrong ones are
/// called right. They are in random order, so that the first are as good as any.
fn labelled(
    problem: &crate::Problem,
    mislabelled: usize,
) -> impl Iterator<Item = (&crate::Solution, bool)> {
    let wrong = problem.incorrect.iter().enumerate();
    problem
        .solutions
        .iter()
        .map(|solution| (solution, true))
        .chain(wrong.map(move |(number, solution)| (solution, number < mislabelled)))
}

fn split_name(split: crate::Split) -> &'static str {
    match split {
        crate::Split::Train => "train",
        crate::Split::Valid => "valid",
        crate::Split::Test => "test",
    }
}

fn solution_row(problem: &str, solution: &crate::Solution, correct: bool) -> schema::Solution {
    let language = match solution.language {
        crate::Language::Python3 => language::Language::Python3,
        crate::Language::Cpp => language::Language::Cpp,
    };
    schema::Solution {
        claim: Some(solution.style.clone()),
        ..new_solution(
            problem,
            language,
            solution.source.clone(),
            correct,
            "contest",
        )
    }
}

fn problem_row(problem: crate::Problem) -> schema::Problem {
    let tests = |tests: Vec<crate::tests::Test>| {
        tests
            .into_iter()
            .map(|test| schema::TestCase {
                input: test.0,
                output: test.1,
            })
            .collect()
    };
    schema::Problem {
        problem_id: problem.name.clone(),
        name: problem.name,
        source: "contest".to_owned(),
        split: split_name(problem.split).to_owned(),
        description: problem.description,
        contest_id: None,
        index: None,
        rating: None,
        tags: problem.tags,
        difficulty: problem.difficulty,
        time_limit_s: Some(problem.time_limit_s),
        memory_limit_bytes: Some(problem.memory_limit_bytes),
        public_tests: tests(problem.public_tests),
        private_tests: tests(problem.private_tests),
        generated_tests: tests(problem.generated_tests),
        input_file: None,
        output_file: None,
    }
}

#[cfg(test)]
mod tests {
    use super::labelled;
    use crate::{Claim, Options, generate};

    #[test]
    fn so_many_wrong_programs_of_a_problem_are_called_right() {
        let problems = generate(&Options {
            problems: 30,
            incorrect_per_problem: 3,
            ..Options::default()
        });
        for problem in &problems {
            let count = |mislabelled, right| {
                labelled(problem, mislabelled)
                    .filter(|(solution, correct)| {
                        (solution.claim == Claim::Accepted, *correct) == (right, true)
                    })
                    .count()
            };
            assert_eq!(count(0, false), 0);
            assert_eq!(count(1, false), problem.incorrect.len().min(1));
            assert_eq!(count(1, true), problem.solutions.len());
            let order = |mislabelled| labelled(problem, mislabelled).map(|(program, _)| program);
            assert!(order(0).eq(order(2)), "labels change, and nothing else");
        }
    }
}
