//! Asks which of many texts are nearest to one.
//!
//! Made by `Candidates::search`, one a thread. Few candidates are first tried one by one for a near
//! one (`few.rs`). Else every candidate is bounded from below (`bound.rs`); those that promise most
//! are compared within a narrow band, which bounds the answer from above; then all that could still
//! be in the answer are compared exactly, several at a time, in the order of promise and with the
//! bound of what was found so far.
//!
//! Promises: exact. The order of visits depends on the instructions, the answer does not.
#![expect(
    unsafe_code,
    reason = "histograms are compared by the widest instructions"
)]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instructions that were chosen"
)]

use crate::best::{Best, Match};
use crate::bound::{self, Histogram};
use crate::candidates::{Candidates, Tables};
use crate::few::{FEW_EDITS, MOST_EDITS};
use crate::kernel::{self, Aim, Lane, OVER};
use crate::lanes::{Instructions, Lanes};
use crate::pair::{between_ends, distance_within, few_within};
use crate::pattern::Pattern;
use crate::symbols::{Symbols, Values};

/// Half a band that finds near texts at once and bounds far ones.
const NARROW: u32 = 64;

/// Symbols between common ends that are compared without further ado.
const SHORT: usize = 192;

/// Texts that are compared in turn rather than at a time: lanes would be empty.
const ALONE: usize = 3;

/// Diagonals that are computed besides those that matter, because blocks have 64 rows and are begun
/// and ended a stretch of columns at a time.
const AT_A_TIME: i64 = 128;
/// The same for one text, where blocks come by four and are a column behind each other; and a
/// twentieth of all that (measured, as the constant).
const IN_TURN: i64 = 320;

/// Candidates that are first tried one by one: for more, bounds from below are worth their making.
const FEW_TEXTS: usize = 32;

/// A candidate that may be in the answer.
#[derive(Clone, Copy)]
struct Open {
    /// Least distance possible.
    least: u32,
    text: u32,
}

/// Asks candidates; keeps its memory from one query to the next.
pub struct Search<'a> {
    candidates: &'a Candidates<'a>,
    instructions: Instructions,
    pattern: Pattern,
    state: Vec<u64>,
    open: Vec<Open>,
    best: Best,
}

impl<'a> Search<'a> {
    pub(crate) fn new(candidates: &'a Candidates<'a>, instructions: Instructions) -> Self {
        Self {
            candidates,
            instructions,
            pattern: Pattern::default(),
            state: Vec::new(),
            open: Vec::new(),
            best: Best::default(),
        }
    }

    /// The nearest candidate; the one of lowest index among equally near ones.
    pub fn nearest(&mut self, query: &Symbols) -> Option<Match> {
        self.nearest_few(query, 1, u32::MAX).first().copied()
    }

    /// The `count` nearest candidates at most `most` away, nearest first, lowest index first among
    /// equally near ones.
    pub fn nearest_few(&mut self, query: &Symbols, count: usize, most: u32) -> &[Match] {
        self.best.reset(count, most);
        if count == 0 || self.candidates.is_empty() {
            return &self.best.matches;
        }
        if self.candidates.texts.len() <= FEW_TEXTS {
            if self.few_edits(query) {
                return &self.best.matches;
            }
            self.best.reset(count, most);
        }
        self.open(query, most);
        self.edits_of_one_place(query);
        if self.open.is_empty() {
            return &self.best.matches;
        }
        if query.is_empty() || !self.prepare(query) {
            self.one_by_one(query);
            return &self.best.matches;
        }
        self.bound_from_above(query.len());
        let best = &self.best;
        self.open.retain(|open| open.least <= best.most);
        // Blocks that triple: most promising first, yet texts of similar length side by side.
        self.open
            .sort_unstable_by_key(|open| (open.least, open.text));
        let open = std::mem::take(&mut self.open);
        let (mut start, mut size) = (0, self.instructions.lanes());
        let mut block: Vec<Open> = Vec::new();
        while start < open.len() {
            let end = open.len().min(start + size);
            block.clear();
            block.extend_from_slice(&open[start..end]);
            // The candidates' own order is that of their lengths.
            block.sort_unstable_by_key(|open| open.text);
            self.compare(&block, query);
            (start, size) = (end, size * 3);
        }
        self.open = open;
        &self.best.matches
    }

    /// The `count` candidates that may be nearest by how often symbols occur, most promising first.
    /// What stands for their distances are bounds from below.
    pub fn promising(&mut self, query: &Symbols, count: usize) -> Vec<Match> {
        self.open(query, u32::MAX);
        let few = self.most_promising_first(count);
        let found = self.open[..few].iter().map(|open| Match {
            distance: open.least,
            index: self.candidates.texts[open.text as usize].indices[0],
        });
        found.collect()
    }

    /// The distances to all candidates, in their order: nothing is left out.
    pub fn distances(&mut self, query: &Symbols) -> Vec<u32> {
        let mut all = vec![0; self.candidates.len()];
        let candidates = self.candidates;
        let tables = candidates.tables();
        let mut put = |text: usize, distance: u32| {
            for &index in &candidates.texts[text].indices {
                all[index as usize] = distance;
            }
        };
        let prepared = !query.is_empty() && self.prepare(query);
        let mut batch: Vec<(usize, Lane)> = Vec::new();
        for (number, text) in candidates.texts.iter().enumerate() {
            let start = tables.starts[number].filter(|_| prepared && text.length > 0);
            if let Some(start) = start {
                let lane = Lane {
                    start,
                    length: text.length,
                    most: text.length.max(query.len()) as u32,
                };
                batch.push((number, lane));
            } else {
                let found = distance_within(query, text.symbols, usize::MAX);
                put(number, found.expect("no bound") as u32);
            }
        }
        for batch in batch.chunks(self.instructions.lanes()) {
            let lanes: Vec<Lane> = batch.iter().map(|&(_, lane)| lane).collect();
            let found = self.kernel(&lanes, Aim::Upper);
            for (&(number, _), distance) in batch.iter().zip(found) {
                put(number, distance);
            }
        }
        all
    }

    /// Compares the candidates one by one as far as few edits lead; whether that is the answer.
    fn few_edits(&mut self, query: &Symbols) -> bool {
        let candidates = self.candidates;
        // Edits that are looked for.
        let mut most = self.best.most.min(MOST_EDITS as u32);
        self.open.clear();
        for (number, text) in candidates.texts.iter().enumerate() {
            let longer = text.length.abs_diff(query.len());
            if longer <= most as usize {
                self.open.push(Open {
                    // Not the least distance, but what promises a small one soonest.
                    least: (between_ends(query, text.symbols) + longer) as u32,
                    text: number as u32,
                });
            }
        }
        self.open
            .sort_unstable_by_key(|open| (open.least, open.text));
        let promising = self.best.count.saturating_add(7);
        for number in 0..self.open.len() {
            let is_full = self.best.matches.len() == self.best.count;
            if number >= promising && !is_full {
                most = most.min(FEW_EDITS as u32);
            }
            let number = self.open[number].text;
            let text = &candidates.texts[number as usize];
            if let Some(bound) = self.best.most_for(text.indices[0])
                && let Some(distance) = few_within(query, text.symbols, bound.min(most) as usize)
            {
                self.found(number, distance as u32);
            }
        }
        let last = self.best.matches.last();
        let last = last.filter(|_| self.best.matches.len() == self.best.count);
        self.best.most <= most || last.is_some_and(|last| last.distance <= most)
    }

    /// Bounds all candidates from below.
    fn open(&mut self, query: &Symbols, most: u32) {
        let length = query.len();
        let texts = &self.candidates.texts;
        let Tables { histograms, .. } = self.candidates.tables();
        // Texts are sorted by length: those that are much too short or long stand at the ends.
        let (short, long) = (
            length.saturating_sub(most as usize),
            length.saturating_add(most as usize),
        );
        let from = texts.partition_point(|text| text.length < short);
        let to = texts.partition_point(|text| text.length <= long);
        self.open.clear();
        differences(
            self.instructions,
            &query.histogram(),
            &histograms[from..to],
            |number, difference| {
                let text = from + number;
                let least = bound::least(difference, texts[text].length.abs_diff(length) as u32);
                if least <= most {
                    self.open.push(Open {
                        least,
                        text: text as u32,
                    });
                }
            },
        );
    }

    /// Compares the most promising candidates if they differ from the query in one short stretch, as
    /// a corrected program does: then that is quicker than making the query a pattern.
    fn edits_of_one_place(&mut self, query: &Symbols) {
        let few = self.most_promising_first(self.best.count.saturating_add(1));
        let mut number = 0;
        while number < few {
            let text = self.open[number].text;
            let symbols = self.candidates.texts[text as usize].symbols;
            let mut known = false;
            if between_ends(query, symbols) <= SHORT {
                let most = self.best.most as usize;
                known = true;
                if let Some(distance) = distance_within(query, symbols, most) {
                    self.found(text, distance as u32);
                }
            }
            // Marked by a bound that nothing reaches.
            if known {
                self.open[number].least = u32::MAX;
            }
            number += 1;
        }
        let best = &mut self.best;
        if let Some(last) = best
            .matches
            .last()
            .filter(|_| best.matches.len() == best.count)
        {
            best.most = best.most.min(last.distance);
        }
        let most = best.most;
        self.open
            .retain(|open| open.least <= most && open.least < u32::MAX);
    }

    /// Makes the query the pattern; false if that would take too much memory.
    fn prepare(&mut self, query: &Symbols) -> bool {
        let alphabet = &self.candidates.tables().alphabet;
        let (codes, rows) = (alphabet.codes(), query.len());
        if !Pattern::fits(codes, rows) {
            return false;
        }
        match &query.values {
            Values::Narrow(values) => {
                let page = alphabet.narrow();
                let symbols = values.iter().map(|&value| page[value as usize]);
                self.pattern.set(codes, symbols, rows);
            }
            Values::Wide(values) => self.pattern.set(codes, alphabet.wide(values), rows),
        }
        true
    }

    fn one_by_one(&mut self, query: &Symbols) {
        self.open
            .sort_unstable_by_key(|open| (open.least, open.text));
        for open in std::mem::take(&mut self.open) {
            self.alone(open, query);
        }
    }

    /// Compares one candidate, without tables.
    fn alone(&mut self, open: Open, query: &Symbols) {
        let text = &self.candidates.texts[open.text as usize];
        let Some(most) = self.best.most_for(text.indices[0]) else {
            return;
        };
        if open.least <= most
            && let Some(distance) = distance_within(query, text.symbols, most as usize)
        {
            self.found(open.text, distance as u32);
        }
    }

    fn found(&mut self, text: u32, distance: u32) {
        for &index in &self.candidates.texts[text as usize].indices {
            // Copies come in the order of their index: after one too many, all are.
            let before = self.best.most_for(index);
            if before.is_none_or(|most| distance > most) {
                break;
            }
            self.best.add(Match { distance, index });
        }
    }

    /// One text alone has its blocks in the lanes.
    fn kernel(&mut self, lanes: &[Lane], aim: Aim) -> [u32; crate::lanes::MOST_LANES] {
        let (pattern, codes) = (&self.pattern, &self.candidates.tables().codes);
        if let [lane] = *lanes {
            let mut found = [OVER; crate::lanes::MOST_LANES];
            let state = &mut self.state;
            found[0] = kernel::distance(self.instructions, pattern, codes, lane, aim, state);
            return found;
        }
        kernel::distances(
            self.instructions,
            pattern,
            codes,
            lanes,
            aim,
            &mut self.state,
        )
    }

    /// Puts the `few` most promising candidates first, in order; fewer if there are fewer.
    fn most_promising_first(&mut self, few: usize) -> usize {
        let key = |open: &Open| (open.least, open.text);
        let few = few.min(self.open.len());
        if few < self.open.len() {
            self.open
                .select_nth_unstable_by_key(few.saturating_sub(1), key);
        }
        self.open[..few].sort_unstable_by_key(key);
        few
    }

    /// Compares the most promising candidates within a narrow band: several at a time exactly, where
    /// some may be that near; else no more than the answer has, for an upper bound of the distance
    /// of the last one in the answer.
    fn bound_from_above(&mut self, length: usize) {
        let lanes = self.instructions.lanes();
        let few = self.best.count.div_ceil(lanes).saturating_mul(lanes);
        let few = self.most_promising_first(few);
        let near = self.open[..few].partition_point(|open| open.least <= NARROW);
        let mut uppers = Vec::with_capacity(few);
        let mut exact = vec![false; few];
        let mut start = 0;
        while start < few.min(self.best.count.max(near)) {
            // Bands of far texts, wide as these differ in length, would together be wider still.
            let end = if start < near {
                near.min(start + lanes)
            } else {
                start + 1
            };
            let batch: Vec<(usize, Lane)> = (start..end)
                .filter_map(|number| Some((number, self.narrow(self.open[number], length)?)))
                .collect();
            start = end;
            let all: Vec<Lane> = batch.iter().map(|&(_, lane)| lane).collect();
            if all.is_empty() {
                continue;
            }
            let found = self.kernel(&all, Aim::Upper);
            for (&(number, lane), upper) in batch.iter().zip(found) {
                let text = self.open[number].text;
                uppers.push(upper);
                if upper <= lane.most {
                    exact[number] = true;
                    self.found(text, upper);
                }
            }
        }
        uppers.sort_unstable();
        if let Some(&upper) = uppers.get(self.best.count - 1) {
            self.best.most = self.best.most.min(upper);
        }
        // What is known exactly is not compared again.
        let mut number = 0;
        self.open.retain(|_| {
            number += 1;
            !exact.get(number - 1).copied().unwrap_or(false)
        });
    }

    /// A candidate with a narrow band; none if it has to be compared without tables.
    fn narrow(&self, open: Open, length: usize) -> Option<Lane> {
        let text = &self.candidates.texts[open.text as usize];
        let start = self.candidates.tables().starts[open.text as usize];
        Some(Lane {
            start: start.filter(|_| text.length > 0)?,
            length: text.length,
            most: text.length.abs_diff(length) as u32 + NARROW,
        })
    }

    /// Compares candidates one after the other, most promising first and each with the bound of those
    /// before.
    fn in_turn(&mut self, batch: &mut [(Open, Lane)]) {
        batch.sort_unstable_by_key(|(open, _)| (open.least, open.text));
        for &mut (open, lane) in batch {
            let index = self.candidates.texts[open.text as usize].indices[0];
            let most = self.best.most_for(index);
            let Some(most) = most.filter(|&most| open.least <= most) else {
                continue;
            };
            let [distance, ..] = self.kernel(&[Lane { most, ..lane }], Aim::Exact);
            if distance != OVER {
                self.found(open.text, distance);
            }
        }
    }

    /// Whether candidates cost less in turn than at a time, as some long ones of unlike lengths do:
    /// lanes compute all columns of the longest one, and all diagonals that any of them needs.
    fn are_unlike(&self, batch: &[(Open, Lane)], rows: usize) -> bool {
        let (mut over, mut under, mut longest, mut in_turn) = (0, 0, 0, 0);
        for (_, lane) in batch {
            let (above, below) = lane.diagonals(rows as i64);
            (over, under) = (over.max(above), under.max(below));
            longest = longest.max(lane.length as i64);
            in_turn += lane.length as i64 * (i64::from(lane.most) + IN_TURN);
        }
        let lanes = self.instructions.lanes() as i64;
        in_turn * 21 / 20 < lanes * longest * (over + under + AT_A_TIME)
    }

    /// Compares candidates, several at a time where that is worth it.
    fn compare(&mut self, block: &[Open], query: &Symbols) {
        let mut batch: Vec<(Open, Lane)> = Vec::with_capacity(self.instructions.lanes());
        for (number, open) in block.iter().enumerate() {
            let text = &self.candidates.texts[open.text as usize];
            let start = self.candidates.tables().starts[open.text as usize];
            match start.filter(|_| text.length > 0) {
                None => self.alone(*open, query),
                Some(start) => {
                    let most = self.best.most_for(text.indices[0]);
                    if let Some(most) = most.filter(|&most| open.least <= most) {
                        let length = text.length;
                        batch.push((
                            *open,
                            Lane {
                                start,
                                length,
                                most,
                            },
                        ));
                    }
                }
            }
            let full = batch.len() == self.instructions.lanes();
            if (full || number + 1 == block.len()) && !batch.is_empty() {
                if batch.len() <= ALONE || self.are_unlike(&batch, query.len()) {
                    self.in_turn(&mut batch);
                } else {
                    self.at_a_time(&batch);
                }
                batch.clear();
            }
        }
    }

    /// Compares as many candidates as there are lanes, or fewer, each with the bound it came with.
    fn at_a_time(&mut self, batch: &[(Open, Lane)]) {
        let mut lanes = [Lane::default(); crate::lanes::MOST_LANES];
        for (lane, &(_, text)) in lanes.iter_mut().zip(batch) {
            *lane = text;
        }
        let found = self.kernel(&lanes[..batch.len()], Aim::Exact);
        for (&(open, _), distance) in batch.iter().zip(found) {
            if distance != OVER {
                self.found(open.text, distance);
            }
        }
    }
}

/// Hands over how much each histogram differs from the query's.
fn differences(
    instructions: Instructions,
    query: &Histogram,
    histograms: &[Histogram],
    each: impl FnMut(usize, u32),
) {
    match instructions {
        Instructions::Portable => differences_by::<[u64; 4]>(query, histograms, each),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: chosen because the processor has AVX2; so has one with AVX-512.
        Instructions::Avx2 | Instructions::Avx512 => unsafe {
            differences_avx2(query, histograms, each);
        },
        #[cfg(not(target_arch = "x86_64"))]
        _ => differences_by::<[u64; 4]>(query, histograms, each),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn differences_avx2(query: &Histogram, histograms: &[Histogram], each: impl FnMut(usize, u32)) {
    differences_by::<std::arch::x86_64::__m256i>(query, histograms, each);
}

#[inline(always)]
fn differences_by<V: Lanes>(
    query: &Histogram,
    histograms: &[Histogram],
    mut each: impl FnMut(usize, u32),
) {
    for (number, histogram) in histograms.iter().enumerate() {
        // SAFETY: `differences` chose instructions that the processor has.
        each(number, unsafe { V::difference(query, histogram) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols without a code are compared without tables, with the same answers.
    #[test]
    fn more_symbols_than_codes() {
        let texts: Vec<Symbols> = (0..40_u32)
            .map(|n| Symbols::from_values((n..n + 9).map(|n| n * 97 % 400).collect()))
            .collect();
        let (all, few) = (Candidates::new(&texts), Candidates::with_codes(&texts, 12));
        assert!(few.tables().starts.iter().any(Option::is_none));
        assert!(few.tables().starts.iter().any(Option::is_some));
        for query in &texts {
            let wanted = all.search().nearest_few(query, 5, u32::MAX).to_vec();
            assert_eq!(few.search().nearest_few(query, 5, u32::MAX), wanted);
            assert_eq!(few.search().distances(query), all.search().distances(query));
        }
    }
}
