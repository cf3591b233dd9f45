//! The embedded contest: a data set of small contest problems, made by rules.
//!
//! [`generate`] walks over the families (`families/`, `compose/`), draws a
//! [`family::Draft`] per attempt, decides its split (`split.rs`), writes its statement
//! (`statement.rs`), its programs (`source.rs`) and its tests (`tests.rs`). It stands in
//! for a CodeContests row wherever a small model must learn within minutes.
//!
//! Promise: the problems are a function of [`Options`]; the reference answers are computed
//! in Rust, apart from the Python and C++ programs. What a program claims is not run here:
//! `examples/check.rs` does that, and a later stage judges every program.

pub mod compose;
pub mod draw;
pub mod families;
pub mod family;
pub mod reader;
mod reading;
pub mod shape;
mod source;
mod split;
mod stage;
mod statement;
pub mod tests;

use std::collections::{BTreeMap, BTreeSet};

use draw::Draw;
use family::{Draft, Family};
use serde::{Deserialize, Serialize};
use source::Look;
pub use stage::Contest;

/// What to make.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Number of problems over all splits; fewer come if the families run out.
    pub problems: usize,
    /// Share of constants and compositions that are held out.
    pub test_share: f64,
    /// Tests of a problem, before those that its family adds.
    pub tests_per_problem: usize,
    /// Right programs of a problem, at most.
    pub solutions_per_problem: usize,
    /// Wrong programs of a problem, at most.
    pub incorrect_per_problem: usize,
    /// Languages of the programs.
    pub languages: Vec<Language>,
    /// The families to draw from, by name; all if empty.
    pub families: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            problems: 600,
            test_share: 0.1,
            tests_per_problem: 15,
            solutions_per_problem: 8,
            incorrect_per_problem: 6,
            languages: vec![Language::Python3, Language::Cpp],
            families: Vec::new(),
        }
    }
}

/// Where a problem belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Split {
    /// For learning.
    Train,
    /// For choosing.
    Valid,
    /// For the final measurement.
    Test,
}

/// The languages of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python 3.
    Python3,
    /// C++17.
    Cpp,
}

/// What a judge says about a program: for a wrong one, on the first test that it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Claim {
    /// Passes all tests.
    Accepted,
    /// Prints something else.
    WrongAnswer,
    /// Runs longer than the limit.
    TimeLimit,
    /// Ends with an error.
    RuntimeError,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Solution {
    /// Its language.
    pub language: Language,
    /// Its text.
    pub source: String,
    /// The style of a right program, the error of a wrong one.
    pub style: String,
    /// What a judge says.
    pub claim: Claim,
}

/// One problem, with the information of a CodeContests row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Such as `contest/filter-map-reduce/0137`.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Its parts, if it is composed, and its constants.
    pub key: String,
    /// Its split.
    pub split: Split,
    /// Story, Input, Output, Examples.
    pub description: String,
    /// Small tests; the first is the example.
    pub public_tests: Vec<tests::Test>,
    /// Middling tests.
    pub private_tests: Vec<tests::Test>,
    /// Edges.
    pub generated_tests: Vec<tests::Test>,
    /// Right programs.
    pub solutions: Vec<Solution>,
    /// Wrong programs.
    pub incorrect: Vec<Solution>,
    /// CPU seconds.
    pub time_limit_s: f64,
    /// Bytes.
    pub memory_limit_bytes: i64,
    /// Topics.
    pub tags: Vec<String>,
    /// 1 (reading and printing) to 5.
    pub difficulty: i64,
}

const MEMORY_LIMIT_BYTES: i64 = 256 << 20;

/// All families, plain ones first.
pub fn families() -> Vec<Family> {
    let mut all = families::all();
    all.extend(compose::all());
    all
}

/// Makes the problems, family by family.
pub fn generate(options: &Options) -> Vec<Problem> {
    let mut families = families();
    if !options.families.is_empty() {
        families.retain(|family| options.families.iter().any(|name| name == family.name));
    }
    let weights: usize = families.iter().map(|family| family.weight).sum();
    let unit = options.problems as f64 / weights.max(1) as f64;
    let mut problems = Vec::new();
    let mut left = options.problems;
    let mut weights_left = weights;
    for family in &families {
        // A family that runs out leaves its part to those after it, the composed ones last.
        let fair = left as f64 / weights_left.max(1) as f64;
        let quota = (fair.max(unit) * family.weight as f64).round() as usize;
        let made = of_family(options, family, quota.min(left));
        left -= made.len();
        weights_left -= family.weight;
        problems.extend(made);
    }
    problems
}

/// Makes at most `quota` problems of one family.
pub fn of_family(options: &Options, family: &Family, quota: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut per_key: BTreeMap<String, usize> = BTreeMap::new();
    let mut texts = BTreeSet::new();
    // Problems with the same constants differ in their words only: two are enough.
    let most_per_key = if family.weight > 1 { 1 } else { 2 };
    for attempt in 0..quota * 6 {
        if problems.len() == quota {
            break;
        }
        let mut draw = Draw::new(options.seed, family.name, attempt);
        let draft = (family.make)(&mut draw);
        let text = statement::text(&draft, &mut draw.child("statement"));
        let same = per_key.entry(draft.key()).or_default();
        if *same >= most_per_key || !texts.insert(text.clone()) {
            continue;
        }
        *same += 1;
        problems.push(finish(
            options,
            family,
            &draft,
            &text,
            &draw,
            problems.len(),
        ));
    }
    problems
}

fn finish(
    options: &Options,
    family: &Family,
    draft: &Draft,
    text: &str,
    draw: &Draw,
    number: usize,
) -> Problem {
    let mut tests = tests::choose(draft, options.tests_per_problem, &mut draw.child("tests"));
    let (solutions, looks) = right_programs(options, draft, draw);
    let mut incorrect = Vec::new();
    let mut order: Vec<_> = draft.bugs.iter().collect();
    draw.child("order").shuffle(&mut order);
    for bug in order {
        if incorrect.len() == options.incorrect_per_problem {
            break;
        }
        if let Some(model) = &bug.model {
            let all = tests
                .public
                .iter()
                .chain(&tests.private)
                .chain(&tests.generated);
            let told = all
                .into_iter()
                .any(|test| model(&test.0).trim_end() != test.1.trim_end());
            if !told {
                let mut draw = draw.child(&format!("telling {} {}", bug.style, bug.kind));
                match tests::telling(draft, model, &mut draw) {
                    Some(test) => tests.generated.push(test),
                    // On no input that was tried is it wrong: not a wrong program here.
                    None => continue,
                }
            }
        }
        let at = draft
            .programs
            .iter()
            .position(|program| program.style == bug.style);
        let at = at.expect("Draft::wrong checks the style");
        let program = &draft.programs[at];
        if !options.languages.contains(&program.language) {
            continue;
        }
        let mut raw = program.source.clone();
        for (from, to) in &bug.edits {
            raw = raw.replacen(from, to, 1);
        }
        let solution = Solution {
            language: program.language,
            source: looks[at].finish(draft, program.language, &raw),
            style: bug.kind.to_owned(),
            claim: bug.claim,
        };
        if !incorrect
            .iter()
            .any(|other: &Solution| other.source == solution.source)
        {
            incorrect.push(solution);
        }
    }
    Problem {
        name: format!("contest/{}/{number:04}", family.name),
        family: family.name.to_owned(),
        key: draft.key(),
        split: split::of(options, family, draft),
        description: statement::with_example(text, &tests.public[0]),
        public_tests: tests.public,
        private_tests: tests.private,
        generated_tests: tests.generated,
        solutions,
        incorrect,
        time_limit_s: draft.time_limit_s,
        memory_limit_bytes: MEMORY_LIMIT_BYTES,
        tags: draft.tags.iter().map(ToString::to_string).collect(),
        difficulty: draft.difficulty,
    }
}

/// Every right program once, then again in other looks; and the first looks of each.
/// The languages take turns, so that a limit does not cut one of them off.
fn right_programs(options: &Options, draft: &Draft, draw: &Draw) -> (Vec<Solution>, Vec<Look>) {
    let look = |at: usize, round: usize| {
        let program = &draft.programs[at];
        let mut draw = draw.child(&format!("look {} {round}", program.style));
        Look::new(draft, program, &mut draw)
    };
    let looks: Vec<_> = (0..draft.programs.len()).map(|at| look(at, 0)).collect();
    let mut turns: Vec<usize> = (0..draft.programs.len())
        .filter(|at| options.languages.contains(&draft.programs[*at].language))
        .collect();
    turns.sort_by_key(|at| {
        let language = draft.programs[*at].language;
        let before = draft.programs[..*at].iter();
        before.filter(|other| other.language == language).count()
    });
    let mut solutions: Vec<Solution> = Vec::new();
    for round in 0..3 {
        for at in &turns {
            let program = &draft.programs[*at];
            let source = look(*at, round).finish(draft, program.language, &program.source);
            let full = solutions.len() >= options.solutions_per_problem;
            if !full && !solutions.iter().any(|other| other.source == source) {
                solutions.push(Solution {
                    language: program.language,
                    source,
                    style: program.style.clone(),
                    claim: Claim::Accepted,
                });
            }
        }
    }
    (solutions, looks)
}
