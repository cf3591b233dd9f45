//! Stage `split`: one table of problems for each split, with a limit.
//!
//! Sampling and judging want the test problems, reinforcement learning the training problems; this
//! stage hands each its own table.
//!
//! Promises: rows keep their order; under a limit, the problems that stay are those with the
//! smallest random number keyed by seed and id, so that a larger limit only adds problems.
//!
//! | input | schema | output | schema |
//! |---|---|---|---|
//! | `problems` (many) | `schema::Problem` | `train`, `valid`, `test` | `schema::Problem` |

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use engine::rng::{self, Rng as _};
use engine::{BoundInput, Ctx, Input, NoHow, Output, Stage};
use serde::{Deserialize, Serialize};

use crate::schema::{Problem, Split as SplitName};
use crate::solution::text_number;
use crate::table::{Table, TableWriter};

/// The stage.
pub struct Split;

/// Settings of `split`: the most problems of each split; 0 = all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Most training problems.
    pub train: u64,
    /// Most validation problems.
    pub valid: u64,
    /// Most test problems.
    pub test: u64,
    /// Leave out problems that have no tests: they can be neither rewarded nor judged.
    pub require_tests: bool,
}

crate::table! {
    /// What decides whether a problem stays.
    struct Head in "problems" {
        problem_id: String,
        split: String,
    }
}

impl Stage for Split {
    const NAME: &'static str = "split";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Takes problems apart into train, valid and test.";
    const INPUTS: &'static [Input] = &[Input::table("problems").many()];
    const OUTPUTS: &'static [Output] = &[
        Output::table("train"),
        Output::table("valid"),
        Output::table("test"),
    ];
    const SOURCES: &'static [&'static str] = &[
        "corpus/src/split.rs",
        "corpus/src/schema.rs",
        "corpus/src/column.rs",
        "corpus/src/table.rs",
    ];
    type What = What;
    type How = NoHow;

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let splits = [
            (SplitName::Train, what.train),
            (SplitName::Valid, what.valid),
            (SplitName::Test, what.test),
        ];
        let most = thresholds(what, ctx, splits)?;
        let mut writers = BTreeMap::new();
        for (split, _) in splits {
            writers.insert(
                split.as_str(),
                TableWriter::create(&ctx.output(split.as_str()))?,
            );
        }
        let mut seen = BTreeSet::new();
        for BoundInput { path, label } in ctx.inputs("problems") {
            let table = Table::<Problem>::open(&path, &label)?;
            for (row, problem) in table.rows()?.enumerate() {
                ctx.check_cancelled()?;
                let problem = problem?;
                let Some(writer) = writers.get_mut(problem.split.as_str()) else {
                    anyhow::bail!(
                        "row {row} of {label} has split `{}`; it must be train, valid or test",
                        problem.split
                    );
                };
                let stays = priority(ctx, &problem.problem_id) <= most[problem.split.as_str()];
                let tested = !what.require_tests || has_tests(&problem);
                if stays && tested && seen.insert(problem.problem_id.clone()) {
                    writer.push(problem)?;
                }
            }
        }
        for (split, writer) in writers {
            ctx.metric(split, writer.finish()? as f64);
        }
        Ok(())
    }
}

fn has_tests(problem: &Problem) -> bool {
    [
        &problem.public_tests,
        &problem.private_tests,
        &problem.generated_tests,
    ]
    .iter()
    .any(|tests| !tests.is_empty())
}

fn priority(ctx: &Ctx, problem_id: &str) -> u64 {
    rng::rng(ctx.seed(), "split", text_number(problem_id)).next_u64()
}

/// The largest priority that stays, for each split.
fn thresholds(
    what: &What,
    ctx: &Ctx,
    splits: [(SplitName, u64); 3],
) -> Result<BTreeMap<&'static str, u64>> {
    let mut priorities: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for BoundInput { path, label } in ctx.inputs("problems") {
        // Problems without tests must not count towards the limit, and only the full row tells.
        let heads: Box<dyn Iterator<Item = Result<Head>>> = if what.require_tests {
            let rows = Table::<Problem>::open(&path, &label)?.rows()?;
            Box::new(
                rows.filter(|row| row.as_ref().map_or(true, has_tests))
                    .map(|row| {
                        row.map(|row| Head {
                            problem_id: row.problem_id,
                            split: row.split,
                        })
                    }),
            )
        } else {
            Box::new(Table::<Head>::open(&path, &label)?.rows()?)
        };
        for head in heads {
            let head = head?;
            if let Some((split, _)) = splits
                .iter()
                .find(|(split, _)| split.as_str() == head.split)
            {
                let priority = priority(ctx, &head.problem_id);
                priorities
                    .entry(split.as_str())
                    .or_default()
                    .insert(priority);
            }
        }
    }
    let most = splits.map(|(split, limit)| {
        let most = match limit.checked_sub(1) {
            None => u64::MAX,
            Some(last) => priorities
                .get(split.as_str())
                .and_then(|all| all.iter().nth(last as usize))
                .copied()
                .unwrap_or(u64::MAX),
        };
        (split.as_str(), most)
    });
    Ok(most.into_iter().collect())
}
