//! Which wrong programs go with the correct ones of one problem.
//!
//! Called by `triplets` for every part of a shard, on all cores. Comparisons are made between
//! completions, that is between what a model will read. What comes out are row numbers: texts are
//! put in when the table is written.
//!
//! Promises: the texts of a few megabytes of correct and of wrong programs are in memory at a time,
//! however many there are: wrong ones are asked tile by tile, each with the best of those before, the
//! most promising of all tiles among these.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use engine::rng::ChaCha12Rng;
use engine::{Ctx, Progress, rng};
use levenshtein::{Candidates, Match, Search, Symbols, distance_within};
use rayon::prelude::*;

use super::What;
use super::plan::Part;
use super::programs::Programs;
use crate::language::Language;

/// Texts that are compared with each other at a time, in bytes on either side.
const TILE_BYTES: u64 = 4 << 20;
/// Programs that bound the distance of the nearest, at least.
const PROMISING: usize = 4;

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

/// Triplets in the order of the part's queries, nearest before random; then the reasons.
pub(super) fn find(
    number: u32,
    part: &Part,
    programs: &Programs,
    what: &What,
    ctx: &Ctx,
    progress: &Progress,
) -> Result<Vec<Found>> {
    let mut dropped: BTreeMap<&'static str, u32> = BTreeMap::new();
    let key = |row: usize| (programs.get(row).language, programs.get(row).form);
    let pool = |row: usize| {
        if what.same_language {
            programs.get(row).language
        } else {
            0
        }
    };
    let wrong = wrong(programs, what, key, pool, |reason| {
        // Of a problem in several parts, the first counts what is left out of all.
        if part.first {
            *dropped.entry(reason).or_default() += 1;
        }
    });
    // A correct program that repeats an earlier one, in whatever part that is.
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<u32> = (0..programs.len())
        .filter(|&row| programs.get(row).correct && !seen.insert(key(row)) && what.deduplicate)
        .map(|row| row as u32)
        .collect();

    let cost = part.cost / part.queries.len().max(1) as u64;
    let mut found: Vec<Answer> = Vec::with_capacity(part.queries.len());
    // For each pool, where its queries stand in the part.
    let mut asked: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (place, &query) in part.queries.iter().enumerate() {
        let row = query as usize;
        let reason = if repeated.contains(&query) {
            Some("duplicate_solution")
        } else if wrong.contains_key(&pool(row)) {
            unusable(programs.get(row).length, what)
        } else {
            Some("no_other_wrong_solution")
        };
        if let Some(reason) = reason {
            progress.inc(cost);
            found.push(Err(reason));
        } else {
            asked.entry(pool(row)).or_default().push(place);
            found.push(Ok(Vec::new()));
        }
    }
    let length = |row: u32| u64::from(programs.get(row as usize).length);
    for (pool, places) in asked {
        let wrong = &wrong[&pool];
        let group = Group {
            programs,
            wrong,
            tiles: tiles(wrong, |&row| length(row)),
            what,
        };
        for places in tiles(&places, |&place| length(part.queries[place])) {
            let queries: Vec<u32> = places.iter().map(|&place| part.queries[place]).collect();
            let answers = group.answers(&queries, ctx, || progress.inc(cost))?;
            for (&place, answer) in places.iter().zip(answers) {
                found[place] = answer;
            }
        }
    }
    let mut all = Vec::new();
    for (&query, found) in part.queries.iter().zip(found) {
        match found {
            Ok(drawn) => all.extend(drawn.into_iter().map(|drawn| Found {
                part: number,
                kind: drawn.kind.to_owned(),
                chosen: query,
                rejected: drawn.row,
                distance: drawn.distance,
                longer: drawn.longer,
            })),
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

/// The wrong programs that may go with correct ones of each pool, in the order of their rows.
fn wrong<K: Ord>(
    programs: &Programs,
    what: &What,
    key: impl Fn(usize) -> K,
    pool: impl Fn(usize) -> u16,
    mut dropped: impl FnMut(&'static str),
) -> BTreeMap<u16, Vec<u32>> {
    let correct: BTreeSet<K> = (0..programs.len())
        .filter(|&row| programs.get(row).correct)
        .map(&key)
        .collect();
    let mut pools: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in (0..programs.len()).filter(|&row| !programs.get(row).correct) {
        let language = Language::from_name(programs.language(row));
        if !language.is_some_and(|language| what.languages.contains(&language)) {
            continue;
        }
        let reason = if correct.contains(&key(row)) {
            Some("same_as_correct")
        } else if what.deduplicate && !seen.insert(key(row)) {
            Some("duplicate_solution")
        } else {
            unusable(programs.get(row).length, what)
        };
        match reason {
            Some(reason) => dropped(reason),
            None => pools.entry(pool(row)).or_default().push(row as u32),
        }
    }
    pools
}

/// Why a program of so many bytes is not compared.
fn unusable(bytes: u32, what: &What) -> Option<&'static str> {
    if bytes == 0 {
        return Some("empty_solution");
    }
    (what.max_length > 0 && u64::from(bytes) > what.max_length).then_some("too_long")
}

/// Cuts a list into runs of at most `TILE_BYTES`, or of one.
fn tiles<T>(items: &[T], length: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut tiles = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (number, item) in items.iter().enumerate() {
        let length = length(item);
        if number > start && bytes + length > TILE_BYTES {
            tiles.push(&items[start..number]);
            (start, bytes) = (number, 0);
        }
        bytes += length;
    }
    if start < items.len() {
        tiles.push(&items[start..]);
    }
    tiles
}

/// The wrong programs that go with a correct one, or why there are none.
type Answer = Result<Vec<Drawn>, &'static str>;

/// A wrong program for a correct one.
struct Drawn {
    kind: &'static str,
    row: u32,
    distance: u32,
    longer: u32,
}

/// The wrong programs of a pool.
struct Group<'a> {
    programs: &'a Programs,
    /// Their rows, ...
    wrong: &'a [u32],
    /// ... and the same in pieces.
    tiles: Vec<&'a [u32]>,
    what: &'a What,
}

/// A correct program that looks for wrong ones.
struct Query {
    symbols: Symbols,
    rng: ChaCha12Rng,
    wants_nearest: bool,
    wants_random: bool,
    /// No larger distance is possible for the nearest, or wanted.
    most: u32,
    /// Distance and number (among `Group::wrong`) of the nearest so far, ascending.
    nearest: Vec<(u32, usize)>,
}

impl Query {
    /// Keeps the `count` nearest of those so far and of a tile whose first program has the number
    /// `first`.
    fn keep(&mut self, found: &[Match], first: usize, count: usize) {
        let found = found.iter();
        self.nearest
            .extend(found.map(|found| (found.distance, first + found.index as usize)));
        self.nearest.sort_unstable();
        self.nearest.truncate(count);
    }
}

impl Group<'_> {
    /// What goes with each query; `done` is called for each.
    fn answers(&self, queries: &[u32], ctx: &Ctx, done: impl Fn() + Sync) -> Result<Vec<Answer>> {
        let mut asked: Vec<Query> = queries
            .par_iter()
            .map(|&row| self.query(row, ctx.seed()))
            .collect::<Result<_>>()?;
        if self.tiles.len() > 1 {
            self.bound(&mut asked, ctx)?;
        }
        let last = self.wrong.len() - self.tiles.last().map_or(0, |tile| tile.len());
        self.each_tile(&mut asked, ctx, |query, search, first| {
            if query.wants_nearest {
                self.ask(query, search, first);
            }
            if first == last {
                done();
            }
        })?;
        asked
            .into_par_iter()
            .map(|query| self.draw(query))
            .collect()
    }

    /// Hands every query the programs of one tile after the other, with the number of the tile's
    /// first one.
    fn each_tile(
        &self,
        asked: &mut [Query],
        ctx: &Ctx,
        each: impl Fn(&mut Query, &mut Search, usize) + Sync,
    ) -> Result<()> {
        let mut first = 0;
        for tile in &self.tiles {
            let symbols: Vec<Symbols> = tile
                .par_iter()
                .map(|&row| self.symbols(row))
                .collect::<Result<_>>()?;
            let candidates = Candidates::new(&symbols);
            asked.par_iter_mut().for_each_init(
                || candidates.search(),
                |search, query| {
                    if !ctx.cancelled() {
                        each(query, search, first);
                    }
                },
            );
            ctx.check_cancelled()?;
            first += tile.len();
        }
        Ok(())
    }

    /// Bounds how far the nearest are by the programs that look most alike, in whatever tile: with
    /// such a bound, most of the others need no comparison.
    fn bound(&self, asked: &mut [Query], ctx: &Ctx) -> Result<()> {
        let count = self.what.nearest as usize;
        let few = count.max(PROMISING);
        self.each_tile(asked, ctx, |query, search, first| {
            if query.wants_nearest {
                let found = search.promising(&query.symbols, few);
                query.keep(&found, first, few);
            }
        })?;
        asked.par_iter_mut().try_for_each(|query| {
            let mut distances: Vec<u32> = Vec::new();
            for (_, number) in std::mem::take(&mut query.nearest) {
                let symbols = self.symbols(self.wrong[number])?;
                let most = query.most as usize;
                if let Some(distance) = distance_within(&query.symbols, &symbols, most) {
                    distances.push(distance as u32);
                    distances.sort_unstable();
                    query.most = distances.get(count - 1).map_or(query.most, |most| *most);
                }
            }
            Ok(())
        })
    }

    fn symbols(&self, row: u32) -> Result<Symbols> {
        let text = self.programs.text(row as usize)?;
        Ok(Symbols::new(&text, self.what.unit))
    }

    fn query(&self, row: u32, seed: u64) -> Result<Query> {
        let (nearest_chance, random_chance) = self.what.chances();
        let mut rng = rng::rng(seed, "triplets.pair", self.programs.get(row as usize).id);
        // All draws in a fixed order, used or not.
        let mut happens =
            |chance: f64| (rng::below(&mut rng, 1 << 53) as f64) < chance * 2_f64.powi(53);
        let (wants_nearest, wants_random) = (happens(nearest_chance), happens(random_chance));
        Ok(Query {
            symbols: self.symbols(row)?,
            rng,
            wants_nearest,
            wants_random,
            most: match self.what.max_distance {
                0 => u32::MAX,
                most => most as u32,
            },
            nearest: Vec::new(),
        })
    }

    /// Asks a tile whose first program has the number `first`.
    fn ask(&self, query: &mut Query, search: &mut Search, first: usize) {
        let count = self.what.nearest as usize;
        let mut most = query.most;
        if query.nearest.len() == count {
            // As near is not enough: what came before wins.
            match query.nearest[count - 1].0.checked_sub(1) {
                Some(nearer) => most = most.min(nearer),
                None => return,
            }
        }
        let found = search.nearest_few(&query.symbols, count, most);
        query.keep(found, first, count);
    }

    fn draw(&self, mut query: Query) -> Result<Answer> {
        let length = query.symbols.len();
        let mut drawn: Vec<Drawn> = Vec::new();
        for &(distance, number) in &query.nearest {
            let row = self.wrong[number];
            drawn.push(Drawn {
                kind: NEAREST,
                row,
                distance,
                longer: length.max(self.symbols(row)?.len()) as u32,
            });
        }
        let over = query.wants_nearest && drawn.is_empty();
        // Not a nearest one again: that would be the same triplet twice.
        let mut taken: Vec<usize> = query.nearest.iter().map(|&(_, number)| number).collect();
        taken.sort_unstable();
        let left = self.wrong.len() - taken.len();
        if query.wants_random && left > 0 {
            let mut number = rng::below(&mut query.rng, left as u64) as usize;
            for taken in taken {
                number += usize::from(number >= taken);
            }
            let row = self.wrong[number];
            let symbols = self.symbols(row)?;
            let distance = distance_within(&query.symbols, &symbols, usize::MAX);
            drawn.push(Drawn {
                kind: RANDOM,
                row,
                distance: distance.expect("no bound") as u32,
                longer: length.max(symbols.len()) as u32,
            });
        }
        Ok(if drawn.is_empty() && over {
            Err("over_distance")
        } else {
            Ok(drawn)
        })
    }
}
