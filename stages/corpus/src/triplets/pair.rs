//! Which wrong programs go with the correct ones of one problem.
//!
//! Called by `triplets` for every part of a shard, on all cores. Comparisons are made between
//! completions, that is between what a model will read. What comes out are row numbers: texts are
//! put in when the table is written.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use engine::{Ctx, Progress, rng};
use levenshtein::{Candidates, Search, Symbols, distance_within};
use rayon::prelude::*;

use super::What;
use super::plan::Part;
use crate::language::Language;
use crate::lexemes;
use crate::prompt;
use crate::schema::Solution;
use crate::solution::{id_number, text_number};

/// Values of the column `kind`.
pub(super) const NEAREST: &str = "nearest";
pub(super) const RANDOM: &str = "random";

/// Why a program gives no triplet.
pub(super) const REASONS: [&str; 6] = [
    "same_as_correct",
    "duplicate_solution",
    "empty_solution",
    "too_long",
    "no_other_wrong_solution",
    "over_distance",
];

crate::table! {
    /// A triplet by rows of its problem, or how many programs were left out for a reason.
    pub(super) struct Found in "found triplets" {
        /// Number of the part in the plan.
        pub(super) part: u32,
        /// `nearest`, `random` or a reason.
        pub(super) kind: String,
        /// Row of the correct program within the problem.
        pub(super) chosen: u32,
        /// Row of the wrong one.
        pub(super) rejected: u32,
        /// Their distance; for a reason, how many programs.
        pub(super) distance: u32,
        /// Symbols of the longer program.
        pub(super) longer: u32,
    }
}

/// The wrong solutions that may go with a correct one.
#[derive(Default)]
struct Wrong {
    rows: Vec<u32>,
    symbols: Vec<Symbols>,
}

/// A program that is compared.
fn symbols(row: &Solution, what: &What) -> Result<Symbols, &'static str> {
    let text = prompt::completion(&row.source);
    if text.is_empty() {
        return Err("empty_solution");
    }
    if what.max_length > 0 && text.len() as u64 > what.max_length {
        return Err("too_long");
    }
    Ok(Symbols::new(&text, what.unit))
}

/// Triplets in the order of the part's queries, nearest before random; then the reasons.
pub(super) fn find(
    number: u32,
    part: &Part,
    rows: &[Solution],
    what: &What,
    ctx: &Ctx,
    progress: &Progress,
) -> Result<Vec<Found>> {
    let mut dropped: BTreeMap<&'static str, u32> = BTreeMap::new();
    // Of a problem in several parts, the first counts what is left out of all.
    let mut drop_wrong = |reason: &'static str| {
        if part.first {
            *dropped.entry(reason).or_default() += 1;
        }
    };
    let forms: Vec<u64> = rows
        .par_iter()
        .map(|row| {
            text_number(&lexemes::form(
                &row.source,
                Language::from_name(&row.language),
            ))
        })
        .collect();
    let key = |row: usize| (rows[row].language.as_str(), forms[row]);
    let correct: BTreeSet<_> = (0..rows.len())
        .filter(|&row| rows[row].correct)
        .map(key)
        .collect();
    let pool = |language: &str| -> String {
        if what.same_language {
            language.to_owned()
        } else {
            String::new()
        }
    };
    let mut pools: BTreeMap<String, Wrong> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (row, solution) in rows.iter().enumerate().filter(|(_, row)| !row.correct) {
        let language = Language::from_name(&solution.language);
        if !language.is_some_and(|language| what.languages.contains(&language)) {
            continue;
        }
        if correct.contains(&key(row)) {
            drop_wrong("same_as_correct");
            continue;
        }
        if what.deduplicate && !seen.insert(key(row)) {
            drop_wrong("duplicate_solution");
            continue;
        }
        match symbols(solution, what) {
            Ok(symbols) => {
                let wrong = pools.entry(pool(&solution.language)).or_default();
                wrong.rows.push(row as u32);
                wrong.symbols.push(symbols);
            }
            Err(reason) => drop_wrong(reason),
        }
    }
    // A correct program that repeats an earlier one, in whatever part that is.
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<u32> = (0..rows.len())
        .filter(|&row| rows[row].correct && !seen.insert(key(row)) && what.deduplicate)
        .map(|row| row as u32)
        .collect();

    let candidates: BTreeMap<&str, (Candidates, &Wrong)> = pools
        .iter()
        .map(|(name, wrong)| (name.as_str(), (Candidates::new(&wrong.symbols), wrong)))
        .collect();
    let cost = part.cost / part.queries.len().max(1) as u64;
    let found: Vec<Result<Vec<Found>, &'static str>> = part
        .queries
        .par_iter()
        .map_init(BTreeMap::<String, Search>::new, |searches, &query| {
            if ctx.cancelled() {
                return Ok(Vec::new());
            }
            progress.inc(cost);
            if repeated.contains(&query) {
                return Err("duplicate_solution");
            }
            let chosen = &rows[query as usize];
            let name = pool(&chosen.language);
            let Some((candidates, wrong)) = candidates.get(name.as_str()) else {
                return Err("no_other_wrong_solution");
            };
            let symbols = symbols(chosen, what)?;
            let search = searches.entry(name).or_insert_with(|| candidates.search());
            draw(chosen, &symbols, wrong, search, what, ctx.seed()).map(|drawn| {
                let found = drawn.into_iter().map(|(kind, index, distance)| Found {
                    part: number,
                    kind: kind.to_owned(),
                    chosen: query,
                    rejected: wrong.rows[index],
                    distance,
                    longer: symbols.len().max(wrong.symbols[index].len()) as u32,
                });
                found.collect()
            })
        })
        .collect();
    ctx.check_cancelled()?;
    let mut all = Vec::new();
    for found in found {
        match found {
            Ok(found) => all.extend(found),
            Err(reason) => *dropped.entry(reason).or_default() += 1,
        }
    }
    all.extend(dropped.into_iter().map(|(reason, count)| Found {
        part: number,
        kind: reason.to_owned(),
        chosen: 0,
        rejected: 0,
        distance: count,
        longer: 0,
    }));
    Ok(all)
}

/// Kind, index and distance of the wrong solutions for one correct one.
fn draw(
    chosen: &Solution,
    symbols: &Symbols,
    wrong: &Wrong,
    search: &mut Search,
    what: &What,
    seed: u64,
) -> Result<Vec<(&'static str, usize, u32)>, &'static str> {
    let (nearest_chance, random_chance) = what.chances();
    let mut rng = rng::rng(seed, "triplets.pair", id_number(&chosen.solution_id));
    // All draws in a fixed order, used or not.
    let mut happens =
        |chance: f64| (rng::below(&mut rng, 1 << 53) as f64) < chance * 2_f64.powi(53);
    let (wants_nearest, wants_random) = (happens(nearest_chance), happens(random_chance));
    let mut drawn = Vec::new();
    if wants_nearest {
        let most = if what.max_distance == 0 {
            u32::MAX
        } else {
            what.max_distance as u32
        };
        for found in search.nearest_few(symbols, what.nearest as usize, most) {
            drawn.push((NEAREST, found.index as usize, found.distance));
        }
    }
    let over = wants_nearest && drawn.is_empty();
    // Not a nearest one again: that would be the same triplet twice.
    let mut taken: Vec<usize> = drawn.iter().map(|&(_, index, _)| index).collect();
    taken.sort_unstable();
    let left = wrong.rows.len() - taken.len();
    if wants_random && left > 0 {
        let mut index = rng::below(&mut rng, left as u64) as usize;
        for taken in taken {
            index += usize::from(index >= taken);
        }
        let distance = distance_within(symbols, &wrong.symbols[index], usize::MAX);
        drawn.push((RANDOM, index, distance.expect("no bound") as u32));
    }
    if drawn.is_empty() && over {
        return Err("over_distance");
    }
    Ok(drawn)
}
