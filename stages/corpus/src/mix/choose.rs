//! Which solutions become samples.
//!
//! Called by `mix`. First pass: every solution that may be used becomes a candidate with a random
//! priority keyed by its id. Then candidates are measured in order of priority until enough of
//! them are short enough: with a cap of a million out of twenty, the rest is never tokenised.
//!
//! Promises: the choice is that of measuring everything and taking the first by priority.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use engine::rng::{self, Rng as _};
use engine::{BoundInput, Ctx};
use rayon::prelude::*;

use super::{Asking, Solutions, What};
use crate::drops::Drops;
use crate::language::Language;
use crate::prompt::{self, Hints};
use crate::schema::Solution;
use crate::solution::{id_number, text_number};
use crate::statements::Statements;

/// Solutions tokenised at a time, on all cores.
const BATCH: usize = 1024;

/// A table of solutions and the side its rows are on.
pub(super) struct Source {
    table: Solutions,
    side: usize,
}

const CURATED: usize = 0;
const DUMP: usize = 1;

/// Opens all tables of solutions.
pub(super) fn tables(ctx: &Ctx) -> Result<Vec<Source>> {
    let mut tables = Vec::new();
    for (port, side) in [("solutions", CURATED), ("dump", DUMP)] {
        for BoundInput { path, label } in ctx.inputs(port) {
            tables.push(Source {
                table: Solutions::open(&path, &label)?,
                side,
            });
        }
    }
    Ok(tables)
}

/// Where a row stands: ordered as the tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    table: u32,
    row: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    priority: u64,
    place: Place,
}

/// A candidate that is short enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    place: Place,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
}

/// The candidates of both sides, by priority.
pub(super) struct Pools {
    sides: [Vec<Candidate>; 2],
    dump_bound: bool,
    /// Lengths of all that were measured, in tokens.
    pub(super) measured: Vec<u32>,
}

impl Pools {
    /// First pass: all solutions that may be used.
    pub(super) fn read(
        what: &What,
        ctx: &Ctx,
        statements: &Statements,
        tables: &[Source],
        dropped: &mut Drops,
    ) -> Result<Self> {
        let mut sides = [Vec::new(), Vec::new()];
        let mut seen = BTreeSet::new();
        let total = tables.iter().map(|source| source.table.len()).sum();
        let progress = ctx.progress("choose", "solutions", Some(total));
        for (number, source) in tables.iter().enumerate() {
            let mut rows = source.table.rows()?;
            let mut first = 0;
            loop {
                ctx.check_cancelled()?;
                let batch: Vec<Solution> = rows.by_ref().take(BATCH).collect::<Result<_>>()?;
                if batch.is_empty() {
                    break;
                }
                let identities: Vec<_> = batch
                    .par_iter()
                    .map(|row| row.correct.then(|| identity(row, what, statements)))
                    .collect();
                progress.inc(batch.len() as u64);
                for (row, (solution, identity)) in (first..).zip(batch.iter().zip(identities)) {
                    let Some(identity) = identity else { continue };
                    let new = identity.and_then(|identity| {
                        let new = seen.insert(identity);
                        new.then_some(()).ok_or("duplicate_solution")
                    });
                    if let Err(reason) = new {
                        dropped.add(reason, || solution.solution_id.clone());
                        continue;
                    }
                    let id = id_number(&solution.solution_id);
                    let priority = rng::rng(ctx.seed(), "mix.choice", id).next_u64();
                    let place = Place {
                        table: number as u32,
                        row,
                    };
                    sides[source.side].push(Candidate { priority, place });
                }
                first += batch.len() as u64;
            }
        }
        for side in &mut sides {
            side.sort_unstable();
        }
        let dump_bound = tables.iter().any(|source| source.side == DUMP);
        Ok(Self {
            sides,
            dump_bound,
            measured: Vec::new(),
        })
    }

    pub(super) fn candidates(&self) -> usize {
        self.sides.iter().map(Vec::len).sum()
    }

    /// Second pass: the samples, in the order of the tables.
    pub(super) fn choose(
        &mut self,
        what: &What,
        ctx: &Ctx,
        asking: &Asking<'_>,
        tables: &[Source],
        dropped: &mut Drops,
    ) -> Result<Vec<Choice>> {
        let share = if self.dump_bound {
            what.dump_share
        } else {
            0.0
        };
        let mut measure = Measure {
            what,
            ctx,
            asking,
            tables,
            prompts: BTreeMap::new(),
            measured: &mut self.measured,
            dropped,
        };
        let cap = if what.samples == 0 {
            f64::MAX
        } else {
            what.samples as f64
        };
        let from_dump = measure.first(&self.sides[DUMP], (cap * share).round() as usize)?;
        let curated = cap - (cap * share).round();
        let curated = measure.first(&self.sides[CURATED], curated as usize)?;
        let (curated_count, dump_count) = balance(curated.len(), from_dump.len(), share);
        let surplus = (curated.len() - curated_count) + (from_dump.len() - dump_count);
        dropped.add_many("over_share", surplus as u64, || {
            "the scarcer side decides".to_owned()
        });
        let mut chosen: Vec<Choice> = curated[..curated_count].to_vec();
        chosen.extend_from_slice(&from_dump[..dump_count]);
        chosen.sort_unstable_by_key(|choice| choice.place);
        Ok(chosen)
    }
}

/// How many of each side keep the share of the dump, the scarcer side used up.
fn balance(curated: usize, dump: usize, share: f64) -> (usize, usize) {
    if share <= 0.0 {
        return (curated, 0);
    }
    if share >= 1.0 {
        return (0, dump);
    }
    let total = (curated as f64 / (1.0 - share)).min(dump as f64 / share);
    // The small addition takes back what division and multiplication lost.
    let count = |part: f64, most: usize| ((total * part + 1e-6).floor() as usize).min(most);
    (count(1.0 - share, curated), count(share, dump))
}

/// What copies of a solution have in common, if it may be used.
fn identity(
    solution: &Solution,
    what: &What,
    statements: &Statements,
) -> Result<u64, &'static str> {
    let statement = statements.trainable(&solution.problem_id)?;
    let language = Language::from_name(&solution.language);
    if !language.is_some_and(|language| what.languages.contains(&language)) {
        return Err("other_language");
    }
    let source = prompt::normalised(&solution.source);
    if source.is_empty() {
        return Err("empty_solution");
    }
    let identity = statement.identity();
    Ok(text_number(&format!(
        "{identity}\0{}\0{source}",
        solution.language
    )))
}

/// A solution to be measured.
struct Waiting {
    place: Place,
    completion: String,
    prompt: Asked,
}

/// Problem, hints and language, which make a prompt.
type Asked = (String, Hints, String);

struct Measure<'a, 'b> {
    what: &'a What,
    ctx: &'a Ctx<'b>,
    asking: &'a Asking<'a>,
    tables: &'a [Source],
    /// Lengths of prompts.
    prompts: BTreeMap<Asked, u32>,
    measured: &'a mut Vec<u32>,
    dropped: &'a mut Drops,
}

impl Measure<'_, '_> {
    /// The first `wanted` candidates that are short enough.
    fn first(&mut self, pool: &[Candidate], wanted: usize) -> Result<Vec<Choice>> {
        let mut found = Vec::new();
        let mut rest = pool;
        while found.len() < wanted && !rest.is_empty() {
            // A few more than are missing, since some will be too long.
            let missing = wanted - found.len();
            let (now, later) =
                rest.split_at(rest.len().min(missing.saturating_add(missing / 32 + 64)));
            let measured = self.lengths(now)?;
            for candidate in now {
                let found_at =
                    measured.binary_search_by_key(&candidate.place, |choice| choice.place);
                let choice = measured[found_at.expect("all were measured")];
                let length = choice.prompt_tokens + choice.completion_tokens;
                if found.len() == wanted {
                    break;
                }
                self.measured.push(length);
                if u64::from(length) > self.what.max_tokens {
                    self.dropped.add("too_long", || format!("{length} tokens"));
                } else {
                    found.push(choice);
                }
            }
            rest = later;
        }
        Ok(found)
    }

    /// Tokens of prompt and completion of each candidate, in the order of the tables.
    fn lengths(&mut self, candidates: &[Candidate]) -> Result<Vec<Choice>> {
        let mut choices: Vec<Choice> = candidates
            .iter()
            .map(|c| Choice {
                place: c.place,
                prompt_tokens: 0,
                completion_tokens: 0,
            })
            .collect();
        choices.sort_unstable_by_key(|choice| choice.place);
        let mut lengths = Vec::with_capacity(choices.len());
        let mut waiting: Vec<Waiting> = Vec::new();
        let asking = self.asking;
        let mut flush = |waiting: &mut Vec<Waiting>| {
            // Prompts are shared by the solutions of a problem: each is counted once.
            let new: BTreeSet<&Asked> = waiting.iter().map(|one| &one.prompt).collect();
            let new: Vec<&Asked> = new
                .into_iter()
                .filter(|key| !self.prompts.contains_key(*key))
                .collect();
            let counts: Vec<u32> = new
                .par_iter()
                .map(|(problem, hints, language)| {
                    let statement = asking.statements.get(problem).expect("checked as usable");
                    let language = Language::from_name(language).expect("checked as usable");
                    asking.counter.prompt(&statement.prompt(hints, language))
                })
                .collect::<Result<_>>()?;
            let new: Vec<Asked> = new.into_iter().cloned().collect();
            self.prompts.extend(new.into_iter().zip(counts));
            let texts: Vec<String> = waiting
                .iter_mut()
                .map(|one| std::mem::take(&mut one.completion))
                .collect();
            let counts = asking.counter.completions(&texts)?;
            for (one, count) in waiting.drain(..).zip(counts) {
                lengths.push(Choice {
                    place: one.place,
                    prompt_tokens: self.prompts[&one.prompt],
                    completion_tokens: count,
                });
            }
            anyhow::Ok(())
        };
        visit(
            self.ctx,
            "measure",
            self.tables,
            &choices,
            |choice, solution| {
                waiting.push(Waiting {
                    place: choice.place,
                    completion: prompt::completion(&solution.source),
                    prompt: (
                        solution.problem_id.clone(),
                        asking.hints(&solution),
                        solution.language,
                    ),
                });
                if waiting.len() == BATCH {
                    flush(&mut waiting)?;
                }
                Ok(())
            },
        )?;
        flush(&mut waiting)?;
        Ok(lengths)
    }
}

/// Streams the tables and hands over the rows that are listed (in order).
pub(super) fn visit(
    ctx: &Ctx,
    label: &str,
    tables: &[Source],
    choices: &[Choice],
    mut each: impl FnMut(Choice, Solution) -> Result<()>,
) -> Result<()> {
    let progress = ctx.progress(label, "solutions", Some(choices.len() as u64));
    let mut rest = choices.iter().peekable();
    for (number, source) in tables.iter().enumerate() {
        if rest
            .peek()
            .is_none_or(|choice| choice.place.table != number as u32)
        {
            continue;
        }
        for (row, solution) in source.table.rows()?.enumerate() {
            let solution = solution?;
            let place = Place {
                table: number as u32,
                row: row as u64,
            };
            if let Some(&choice) = rest.next_if(|choice| choice.place == place) {
                ctx.check_cancelled()?;
                progress.inc(1);
                each(choice, solution)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::balance;

    #[test]
    fn the_scarcer_side_decides() {
        assert_eq!(balance(100, 40, 0.5), (40, 40));
        assert_eq!(balance(30, 400, 0.5), (30, 30));
        assert_eq!(balance(100, 100, 0.1), (100, 11));
        assert_eq!(balance(9, 1, 0.1), (9, 1));
        assert_eq!(balance(10, 20, 0.0), (10, 0));
        assert_eq!(balance(10, 20, 1.0), (0, 20));
        assert_eq!(balance(0, 20, 0.3), (0, 0));
    }
}
