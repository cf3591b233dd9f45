//! What `triplets` has to do: groups of rows, chosen queries, shards.
//!
//! Made before any program text is read, from ids, languages and the column `correct` alone. The
//! same inputs and settings give the same plan, so that a run that goes on after an interruption
//! finds the shards that it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Result, ensure};
use engine::rng::{self, Rng as _};
use engine::{BoundInput, Ctx};

use super::What;
use crate::drops::Drops;
use crate::language::Language;
use crate::schema::Solution;
use crate::solution::id_number;
use crate::statements::Statements;
use crate::table::{Rows, Table};

/// Shards that the work is cut into, roughly.
const SHARDS: u64 = 64;
/// Most rows of a shard that has more than one group.
const SHARD_ROWS: u64 = 16_384;
/// Most rows of groups that are computed side by side: bounds memory.
const ROWS_AT_A_TIME: u64 = 4096;
/// Pairs from which on a problem is worth being cut into several shards: some seconds of a core.
const PART_PAIRS: u64 = 1 << 24;

crate::table! {
    /// A solution without its text.
    struct Head in "solutions" {
        solution_id: String,
        problem_id: String,
        language: String,
        correct: bool,
    }
}

/// The adjacent rows of one problem in one table.
pub(super) struct Group {
    pub(super) problem_id: String,
    pub(super) table: usize,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Rows (from `start`) of correct solutions to find wrong ones for.
    pub(super) queries: Vec<u32>,
    /// Pairs to compare.
    cost: u64,
}

/// Some of the correct solutions of a group, with all its wrong ones.
pub(super) struct Part {
    pub(super) group: usize,
    /// Rows (from the group's start) of correct solutions to find wrong ones for.
    pub(super) queries: Vec<u32>,
    /// Pairs to compare.
    pub(super) cost: u64,
    /// Whether it is the group's first.
    pub(super) first: bool,
}

/// Parts that are computed together.
pub(super) struct Shard {
    pub(super) parts: Range<usize>,
    /// Pairs to compare.
    pub(super) cost: u64,
}

pub(super) struct Plan {
    pub(super) tables: Vec<Table<Solution>>,
    pub(super) groups: Vec<Group>,
    pub(super) parts: Vec<Part>,
    pub(super) shards: Vec<Shard>,
}

/// A correct solution with a wrong one to go with, before the cap.
struct Query {
    row: u32,
    priority: u64,
}

impl Plan {
    pub(super) fn read(
        what: &What,
        ctx: &Ctx,
        statements: &Statements,
        dropped: &mut Drops,
    ) -> Result<Self> {
        let mut tables = Vec::new();
        let mut found: Vec<(Group, Vec<Query>)> = Vec::new();
        let mut seen = BTreeSet::new();
        for (number, BoundInput { path, label }) in ctx.inputs("solutions").iter().enumerate() {
            let heads = Table::<Head>::open(path, label)?;
            let progress = ctx.progress(label, "solutions", Some(heads.len()));
            let mut group: Vec<Head> = Vec::new();
            let mut start = 0;
            // One row more than there are ends the last group.
            for head in heads.rows()?.map(Some).chain([None]) {
                ctx.check_cancelled()?;
                progress.inc(1);
                let head = head.transpose()?;
                let same = match (&head, group.first()) {
                    (Some(head), Some(first)) => head.problem_id == first.problem_id,
                    (_, None) => true,
                    (None, _) => false,
                };
                if !same {
                    let end = start + group.len() as u64;
                    let problem = group[0].problem_id.clone();
                    let queries = queries(&group, what, ctx.seed(), statements, dropped);
                    ensure!(
                        seen.insert((number, problem)),
                        "the rows of problem {} are not adjacent in {label} (again at row {start}): \
                         sort the table by problem_id",
                        group[0].problem_id
                    );
                    if let Some((queries, cost)) = queries {
                        let group = Group {
                            problem_id: group[0].problem_id.clone(),
                            table: number,
                            start,
                            end,
                            queries: Vec::new(),
                            cost,
                        };
                        found.push((group, queries));
                    }
                    start = end;
                    group.clear();
                }
                group.extend(head);
            }
            tables.push(Table::open(path, label)?);
        }
        let groups = cap(found, what, dropped);
        let total: u64 = groups.iter().map(|group| group.cost).sum();
        let share = total / SHARDS + 1;
        let parts = part(&groups, share.max(PART_PAIRS));
        let shards = cut(&groups, &parts, share);
        Ok(Self {
            tables,
            groups,
            parts,
            shards,
        })
    }

    /// All solutions of a group, read one after the other.
    pub(super) fn rows(&self, group: usize) -> Result<Rows<Solution>> {
        let group = &self.groups[group];
        self.tables[group.table].range(group.start, group.end)
    }

    /// The parts of a shard in runs that are computed side by side: large ones alone.
    pub(super) fn side_by_side(&self, shard: &Shard) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let (mut start, mut rows) = (shard.parts.start, 0);
        for number in shard.parts.clone() {
            let group = &self.groups[self.parts[number].group];
            let length = group.end - group.start;
            if number > start && rows + length > ROWS_AT_A_TIME {
                runs.push(start..number);
                (start, rows) = (number, 0);
            }
            rows += length;
        }
        runs.push(start..shard.parts.end);
        runs
    }
}

/// The correct solutions of a problem that have a wrong one in their language, and the number of
/// pairs to compare.
fn queries(
    group: &[Head],
    what: &What,
    seed: u64,
    statements: &Statements,
    dropped: &mut Drops,
) -> Option<(Vec<Query>, u64)> {
    if let Err(reason) = statements.trainable(&group[0].problem_id) {
        dropped.add_many(reason, group.len() as u64, || group[0].problem_id.clone());
        return None;
    }
    let mut wrong: BTreeMap<&str, u64> = BTreeMap::new();
    let used = |head: &Head| {
        let language = Language::from_name(&head.language);
        language.is_some_and(|language| what.languages.contains(&language))
    };
    for head in group.iter().filter(|head| !head.correct && used(head)) {
        *wrong.entry(&head.language).or_default() += 1;
    }
    let mut by_language: BTreeMap<&str, Vec<Query>> = BTreeMap::new();
    for (row, head) in group.iter().enumerate().filter(|(_, head)| head.correct) {
        if !used(head) {
            dropped.add("other_language", || head.solution_id.clone());
        } else if what.same_language && !wrong.contains_key(&head.language.as_str())
            || wrong.is_empty()
        {
            dropped.add("no_wrong_solution", || head.solution_id.clone());
        } else {
            let id = id_number(&head.solution_id);
            let priority = rng::rng(seed, "triplets.choice", id).next_u64();
            by_language.entry(&head.language).or_default().push(Query {
                row: row as u32,
                priority,
            });
        }
    }
    let mut all = Vec::new();
    let mut cost = 0;
    for (language, mut queries) in by_language {
        let most = what.correct_per_problem as usize;
        if most > 0 && queries.len() > most {
            queries.sort_unstable_by_key(|query| (query.priority, query.row));
            let over = queries.len() - most;
            dropped.add_many("over_correct_per_problem", over as u64, || {
                group[0].problem_id.clone()
            });
            queries.truncate(most);
        }
        let against = if what.same_language {
            wrong[language]
        } else {
            wrong.values().sum()
        };
        cost += queries.len() as u64 * against;
        all.extend(queries);
    }
    all.sort_unstable_by_key(|query| query.row);
    (!all.is_empty()).then_some((all, cost))
}

/// Keeps as many queries as give the wanted number of triplets, those of lowest priority.
fn cap(found: Vec<(Group, Vec<Query>)>, what: &What, dropped: &mut Drops) -> Vec<Group> {
    let (nearest, random) = what.chances();
    let all: usize = found.iter().map(|(_, queries)| queries.len()).sum();
    let wanted = (what.triplets as f64 / (nearest + random)).ceil() as usize;
    let mut most = u64::MAX;
    if what.triplets > 0 && wanted < all {
        let mut priorities: Vec<u64> = found
            .iter()
            .flat_map(|(_, queries)| queries.iter().map(|q| q.priority))
            .collect();
        most = *priorities.select_nth_unstable(wanted.max(1) - 1).1;
        dropped.add_many("over_cap", (all - wanted) as u64, || {
            format!("{wanted} wanted")
        });
    }
    let kept = found.into_iter().filter_map(|(mut group, queries)| {
        let kept = queries
            .iter()
            .filter(|query| query.priority <= most)
            .map(|query| query.row);
        let all = queries.len() as u64;
        group.queries = kept.collect();
        group.cost = group.cost * group.queries.len() as u64 / all;
        (!group.queries.is_empty()).then_some(group)
    });
    kept.collect()
}

/// Cuts groups that cost much more than `share` into parts of about that cost.
fn part(groups: &[Group], share: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let count = group.cost.div_ceil(share).max(1) as usize;
        let size = group.queries.len().div_ceil(count);
        for (index, queries) in group.queries.chunks(size).enumerate() {
            parts.push(Part {
                group: number,
                queries: queries.to_vec(),
                cost: group.cost * queries.len() as u64 / group.queries.len() as u64,
                first: index == 0,
            });
        }
    }
    parts
}

/// Gathers parts into shards of similar cost.
fn cut(groups: &[Group], parts: &[Part], share: u64) -> Vec<Shard> {
    let mut shards = Vec::new();
    let (mut start, mut cost, mut rows) = (0, 0, 0);
    for (number, part) in parts.iter().enumerate() {
        let group = &groups[part.group];
        let length = group.end - group.start;
        if number > start && (cost >= share || rows + length > SHARD_ROWS) {
            shards.push(Shard {
                parts: start..number,
                cost,
            });
            (start, cost, rows) = (number, 0, 0);
        }
        cost += part.cost;
        rows += length;
    }
    if start < parts.len() {
        shards.push(Shard {
            parts: start..parts.len(),
            cost,
        });
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(queries: u32, cost: u64) -> Group {
        Group {
            problem_id: String::new(),
            table: 0,
            start: 0,
            end: 100,
            queries: (0..queries).collect(),
            cost,
        }
    }

    #[test]
    fn large_problems_are_cut_and_nothing_is_lost() {
        let groups = [group(3, 30), group(10, 1000), group(1, 500), group(4, 90)];
        let parts = part(&groups, 100);
        let sizes: Vec<_> = parts
            .iter()
            .map(|part| (part.group, part.queries.len()))
            .collect();
        let large = (0..10).map(|_| (1, 1));
        let wanted: Vec<_> = [(0, 3)]
            .into_iter()
            .chain(large)
            .chain([(2, 1), (3, 4)])
            .collect();
        assert_eq!(sizes, wanted);
        assert_eq!(parts.iter().filter(|part| part.first).count(), groups.len());
        assert_eq!(parts.iter().map(|part| part.cost).sum::<u64>(), 1620);
        let shards = cut(&groups, &parts, 100);
        let mut next = 0;
        for shard in &shards {
            assert_eq!(shard.parts.start, next);
            next = shard.parts.end;
        }
        assert_eq!(next, parts.len());
        assert!(shards.iter().all(|shard| shard.cost <= 500));
    }
}
