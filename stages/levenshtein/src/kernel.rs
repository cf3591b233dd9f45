//! Distances of one pattern to several texts at a time, one text a lane.
//!
//! Called by `search.rs` and `pair.rs`. Myers' bit-parallel columns (J. ACM 46, 1999) in blocks of
//! 64 rows (Hyyrö 2003), column by column. Only blocks are computed that a path of at most the
//! given number of edits can touch: a band of diagonals, which becomes narrower as the columns show
//! what their cells cost. A lane in which no such path is left is given up.
//!
//! Promises: exact distances up to the bound k of each lane. Why: let a cell be cheap if its value
//! plus its way to the last diagonal is at most k. On the best path to a cheap cell all cells are
//! cheap; values along a diagonal never fall, so behind a cell that is not cheap none on its
//! diagonal is (Ukkonen 1985). So cells may be left out whose diagonal has no cheap cell left; their
//! values are replaced by upper bounds, one more than the neighbour.
#![expect(
    unsafe_code,
    reason = "the inner loop works on raw rows; see `columns`"
)]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instructions that were chosen"
)]

use std::mem::MaybeUninit;

use crate::lanes::{Instructions, Lanes, MOST_LANES};
use crate::pattern::{Pattern, WORD};
use crate::rows::{Rows, rows_of};
#[cfg(target_arch = "x86_64")]
use crate::wave;

/// The distance is over the bound.
pub(crate) const OVER: u32 = u32::MAX;

/// Columns between two looks at what the cells cost.
pub(crate) const STRETCH: usize = 72;
/// Blocks whose state is in registers at a time.
const TALLEST: usize = 4;
/// Columns between two looks where there is but one text.
pub(crate) const WAVE_STRETCH: usize = 144;
/// Blocks in a register where there is but one text.
pub(crate) const WAVE_LANES: usize = 4;
/// Rows whose cheapest cell is bounded from its ends at a look.
const SEGMENT: usize = 32;

/// A text in a lane.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lane {
    /// Where its codes begin.
    pub(crate) start: usize,
    /// Number of its codes.
    pub(crate) length: usize,
    /// The largest distance that matters; not less than the difference of lengths.
    pub(crate) most: u32,
}

impl Lane {
    /// How many diagonals matter above and below the first one, in a table of so many rows.
    ///
    /// A path of at most k edits that visits diagonal d = column - row pays |d| to get there and
    /// |delta - d| to get back to the last one: (delta - k) / 2 <= d <= (delta + k) / 2.
    #[inline]
    pub(crate) fn diagonals(&self, rows: i64) -> (i64, i64) {
        let (delta, most) = (self.length as i64 - rows, i64::from(self.most));
        debug_assert!(delta.abs() <= most);
        (i64::midpoint(most, delta), (most - delta) / 2)
    }
}

/// Whether lanes may be given up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Exact distances up to the bounds, `OVER` beyond.
    Exact,
    /// The cost of the cheapest path in the band, whatever it is: not less than the distance, and
    /// equal to it if it is within the bound.
    Upper,
}

/// The distances of the pattern to the texts in up to `instructions.lanes()` lanes.
///
/// `codes` holds all texts, and after the last one at least as many further codes as the longest
/// text has. Neither pattern nor texts are empty. `state` is only kept for its memory.
pub(crate) fn distances(
    instructions: Instructions,
    pattern: &Pattern,
    codes: &[u16],
    lanes: &[Lane],
    aim: Aim,
    state: &mut Vec<u64>,
) -> [u32; MOST_LANES] {
    debug_assert!(instructions.available());
    match instructions {
        // SAFETY: plain words.
        Instructions::Portable => unsafe {
            run::<[u64; 4], false>(pattern, codes, lanes, aim, state)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has these instructions, or they would not have been chosen.
        Instructions::Avx2 => unsafe { run_avx2(pattern, codes, lanes, aim, state) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Instructions::Avx512 => unsafe { run_avx512(pattern, codes, lanes, aim, state) },
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: plain words.
        _ => unsafe { run::<[u64; 4], false>(pattern, codes, lanes, aim, state) },
    }
}

/// The same for one text, whose blocks are in the lanes.
pub(crate) fn distance(
    instructions: Instructions,
    pattern: &Pattern,
    codes: &[u16],
    lane: Lane,
    aim: Aim,
    state: &mut Vec<u64>,
) -> u32 {
    debug_assert!(instructions.available());
    match instructions {
        // SAFETY: plain words.
        Instructions::Portable => unsafe {
            run::<[u64; 1], false>(pattern, codes, &[lane], aim, state)[0]
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: chosen because the processor has AVX2; so has one with AVX-512.
        Instructions::Avx2 | Instructions::Avx512 => unsafe {
            run_wave(pattern, codes, lane, aim, state)
        },
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: plain words.
        _ => unsafe { run::<[u64; 1], false>(pattern, codes, &[lane], aim, state)[0] },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn run_wave(pattern: &Pattern, codes: &[u16], lane: Lane, aim: Aim, state: &mut Vec<u64>) -> u32 {
    // SAFETY: compiled for these instructions, called where they are.
    unsafe { run::<[u64; 1], true>(pattern, codes, &[lane], aim, state)[0] }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn run_avx2(
    pattern: &Pattern,
    codes: &[u16],
    lanes: &[Lane],
    aim: Aim,
    state: &mut Vec<u64>,
) -> [u32; MOST_LANES] {
    // SAFETY: compiled for these instructions, called where they are.
    unsafe { run::<std::arch::x86_64::__m256i, false>(pattern, codes, lanes, aim, state) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,popcnt")]
fn run_avx512(
    pattern: &Pattern,
    codes: &[u16],
    lanes: &[Lane],
    aim: Aim,
    state: &mut Vec<u64>,
) -> [u32; MOST_LANES] {
    // SAFETY: compiled for these instructions, called where they are.
    unsafe { run::<std::arch::x86_64::__m512i, false>(pattern, codes, lanes, aim, state) }
}

/// What is computed of the table at one column.
struct Band<'a> {
    /// For each block of 64 rows and each lane, which rows are *not* one more than the row above;
    /// `less` words further, which are one less.
    state: &'a mut Vec<u64>,
    lanes: usize,
    /// Words from one block to the next.
    step: usize,
    less: usize,
    /// Blocks `first..end` are computed.
    first: usize,
    end: usize,
    /// Value above the first row, for each lane.
    above: [i64; MOST_LANES],
}

impl Band<'_> {
    /// Rows of a block that are one more, and one less, than the row above.
    #[inline(always)]
    fn steps(&self, block: usize, lane: usize) -> (u64, u64) {
        let start = block * self.step + lane;
        (!self.state[start], self.state[start + self.less])
    }

    /// How much larger the last of the given rows of a block is than the row above the first.
    #[inline(always)]
    fn rise(&self, block: usize, lane: usize, rows: u64) -> i64 {
        let (more, less) = self.steps(block, lane);
        i64::from((more & rows).count_ones()) - i64::from((less & rows).count_ones())
    }

    /// Takes away blocks at the top.
    #[inline(always)]
    fn begin_at(&mut self, first: usize) {
        while self.first < first && self.first + 1 < self.end {
            for lane in 0..self.lanes {
                self.above[lane] += self.rise(self.first, lane, !0);
            }
            self.first += 1;
        }
    }

    /// Adds blocks at the bottom, or takes some away.
    #[inline(always)]
    fn end_at(&mut self, end: usize) {
        self.clear(self.end, end);
        self.end = end;
    }

    /// All rows one more than the row above: as if by insertions.
    #[inline(always)]
    fn clear(&mut self, from: usize, to: usize) {
        for block in from..to {
            let start = block * self.step;
            self.state[start..start + self.lanes].fill(0);
            self.state[start + self.less..start + self.less + self.lanes].fill(0);
        }
    }

    /// The first and the last row that may be cheap: whose value and way to row `target`, on the last
    /// diagonal, are at most `most`. `None` if there is none.
    #[inline(always)]
    fn cheap(&self, lane: usize, rows: i64, target: i64, most: i64) -> Option<(i64, i64)> {
        const MASK: u64 = (1 << SEGMENT) - 1;
        // Whether a row from `row` to `row + SEGMENT` is: neighbours differ by one at most.
        let is_cheap = |row: i64, first: i64, last: i64| {
            let way = (row - target).max(target - row - SEGMENT as i64).max(0);
            first + last - SEGMENT as i64 + 2 * way < 2 * most + 2
        };
        let mut value = self.above[lane];
        let mut row = (self.first * WORD) as i64;
        let top = 'down: {
            for block in self.first..self.end {
                let (mut more, mut less) = self.steps(block, lane);
                for _ in 0..WORD / SEGMENT {
                    let last = value + i64::from((more & MASK).count_ones())
                        - i64::from((less & MASK).count_ones());
                    if is_cheap(row, value, last) {
                        break 'down row;
                    }
                    (value, row) = (last, row + SEGMENT as i64);
                    (more, less) = (more >> SEGMENT, less >> SEGMENT);
                }
            }
            return None;
        };
        // Up from the end; rows below the pattern's last one do no harm.
        let mut value = self.above[lane];
        for block in self.first..self.end {
            value += self.rise(block, lane, !0);
        }
        let mut row = (self.end * WORD) as i64;
        for block in (self.first..self.end).rev() {
            let (mut more, mut less) = self.steps(block, lane);
            for _ in 0..WORD / SEGMENT {
                (more, less) = (
                    more.rotate_left(SEGMENT as u32),
                    less.rotate_left(SEGMENT as u32),
                );
                let first = value - i64::from((more & MASK).count_ones())
                    + i64::from((less & MASK).count_ones());
                if is_cheap(row - SEGMENT as i64, first, value) {
                    return Some((top, row.min(rows)));
                }
                (value, row) = (first, row - SEGMENT as i64);
            }
        }
        unreachable!("what was found from above is found from below")
    }

    /// Value in the pattern's last row.
    #[inline(always)]
    fn last(&self, lane: usize, rows: usize) -> i64 {
        let mut value = self.above[lane];
        for block in self.first..self.end {
            let inside = (rows - block * WORD).min(WORD);
            value += self.rise(block, lane, !0 >> (WORD - inside));
        }
        value
    }
}

/// `WAVE`: one text, whose blocks go four at a time (`wave.rs`).
///
/// # Safety
/// The processor has the instructions of `V`, and with `WAVE` AVX2.
#[inline(always)]
unsafe fn run<V: Lanes, const WAVE: bool>(
    pattern: &Pattern,
    codes: &[u16],
    lanes: &[Lane],
    aim: Aim,
    state: &mut Vec<u64>,
) -> [u32; MOST_LANES] {
    let rows = pattern.rows() as i64;
    let mut found = [OVER; MOST_LANES];
    let mut alive = [false; MOST_LANES];
    let (mut over, mut under) = (0, 0);
    let mut longest = 0;
    for (lane, text) in lanes.iter().enumerate() {
        debug_assert!(text.length > 0 && rows > 0);
        let (above, below) = text.diagonals(rows);
        (over, under) = (over.max(above), under.max(below));
        longest = longest.max(text.length);
        alive[lane] = true;
    }
    assert!(
        lanes.len() <= V::COUNT && lanes.iter().all(|text| text.start + longest <= codes.len()),
        "codes end too early"
    );
    let stretch = if WAVE { WAVE_STRETCH } else { STRETCH };
    // Whole registers of blocks may reach over the end.
    let blocks = pattern.blocks() + if WAVE { WAVE_LANES } else { 0 };
    let words = 2 * blocks * V::COUNT;
    if state.len() < words {
        state.resize(words, 0);
    }
    // Lanes without a text repeat the first one.
    let texts: [*const u16; MOST_LANES] = std::array::from_fn(|lane| {
        codes[lanes[if lane < lanes.len() { lane } else { 0 }].start..].as_ptr()
    });
    let mut band = Band {
        state,
        lanes: V::COUNT,
        step: if WAVE { 1 } else { 2 * V::COUNT },
        less: if WAVE { blocks } else { V::COUNT },
        first: 0,
        end: 0,
        above: [0; MOST_LANES],
    };
    let mut column = 0;
    while alive.contains(&true) {
        let stop = (0..lanes.len())
            .filter(|&lane| alive[lane])
            .map(|lane| lanes[lane].length)
            .min()
            .expect("one is alive")
            .min(column + stretch);
        let bottom = (stop as i64 + under).clamp(1, rows);
        let top = (column as i64 - over).max(0);
        band.begin_at((top as usize / WORD).min(band.end.saturating_sub(1)));
        let end = (bottom as usize).div_ceil(WORD).max(band.first + 1);
        if WAVE {
            // Whole registers: what they hold of further blocks costs nothing.
            let registers = (end - band.first).div_ceil(WAVE_LANES);
            let full = band.first + registers * WAVE_LANES;
            band.end_at(full.min(pattern.blocks()));
            band.clear(band.end, full);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `state` has room for `WAVE_LANES` more than the pattern's blocks, and so
            // has every row of its words; the rest as below.
            unsafe {
                let state = band.state.as_mut_ptr().add(band.first);
                let less = state.add(band.less);
                let state = wave::State {
                    not_more: state,
                    less,
                };
                let words = pattern.words().as_ptr().add(band.first);
                let codes = std::slice::from_raw_parts(texts[0].add(column), stop - column);
                wave::columns(words, pattern.stride(), codes, state, registers);
            }
        } else {
            band.end_at(end);
            // SAFETY: `state` has room for all blocks and `band.end` is at most their number; every
            // code is below `pattern.codes()`, so each row of `stride` words is inside the pattern's
            // words; each text has `longest` codes; the caller promises the instructions.
            unsafe {
                columns::<V>(pattern, &mut band, &texts, column, stop);
            }
        }
        for above in &mut band.above {
            *above += (stop - column) as i64;
        }
        column = stop;
        for (lane, text) in lanes.iter().enumerate() {
            if alive[lane] && text.length == column {
                alive[lane] = false;
                if band.end == pattern.blocks() {
                    let value = band.last(lane, pattern.rows()) as u32;
                    if aim == Aim::Upper || value <= text.most {
                        found[lane] = value;
                    }
                }
            }
        }
        if aim == Aim::Exact {
            let mut cheap = (i64::MAX, 0);
            for (lane, text) in lanes.iter().enumerate() {
                if !alive[lane] {
                    continue;
                }
                // The row on the last diagonal.
                let target = column as i64 - (text.length as i64 - rows);
                match band.cheap(lane, rows, target, i64::from(text.most)) {
                    Some((top, bottom)) => cheap = (cheap.0.min(top), cheap.1.max(bottom)),
                    None => alive[lane] = false,
                }
            }
            // Further diagonals begin in row 0, which is always known.
            if cheap.0 > 0 {
                over = over.min(column as i64 - cheap.0);
            }
            under = under.min(cheap.1 - column as i64);
        }
    }
    found
}

/// Computes columns `from..to` (from 0, at most `STRETCH` of them) of blocks
/// `band.first..band.end`.
///
/// # Safety
/// The processor has the instructions of `V`; `band.state` has two vectors for each block; the
/// texts have `to` codes below `pattern.codes()`; `band.end <= pattern.blocks()`.
#[inline(always)]
unsafe fn columns<V: Lanes>(
    pattern: &Pattern,
    band: &mut Band,
    texts: &[*const u16; MOST_LANES],
    from: usize,
    to: usize,
) {
    debug_assert!(band.end <= pattern.blocks() && to - from <= STRETCH);
    debug_assert!(band.state.len() >= 2 * band.end * V::COUNT);
    debug_assert!(pattern.words().len() >= pattern.codes() * pattern.stride());
    let stride = pattern.stride();
    // SAFETY: as the caller promises.
    unsafe {
        let words = pattern.words().as_ptr().add(band.first);
        // Not worth clearing first: a stretch of a narrow band takes less than a thousand cycles.
        let mut rows = [const { [const { MaybeUninit::uninit() }; STRETCH] }; MOST_LANES];
        let mut carries = [const { MaybeUninit::<(V, V)>::uninit() }; STRETCH];
        let count = to - from;
        for (lane, text) in texts[..V::COUNT].iter().enumerate() {
            let codes = std::slice::from_raw_parts(text.add(from), count);
            rows_of(words, stride, codes, &mut rows[lane]);
        }
        for carry in &mut carries[..count] {
            // Above the first row, values rise by one a column.
            carry.write((V::splat(1), V::splat(0)));
        }
        let rows = Rows(&rows);
        let carries = carries[..count].assume_init_mut();
        let (mut block, mut left) = (0, band.end - band.first);
        while left > 0 {
            let state = band
                .state
                .as_mut_ptr()
                .add(2 * (band.first + block) * V::COUNT);
            // Tiles of similar height: the higher, the more of the processor is busy.
            let height = left.div_ceil(left.div_ceil(TALLEST));
            match height {
                1 => tile::<V, 1>(rows, block, carries, state),
                2 => tile::<V, 2>(rows, block, carries, state),
                3 => tile::<V, 3>(rows, block, carries, state),
                _ => tile::<V, TALLEST>(rows, block, carries, state),
            }
            (block, left) = (block + height, left - height);
        }
    }
}

/// Moves `N` blocks over some columns, their state in registers. `rows`: for each column, those of
/// the lanes' symbols, of which words `block..block + N` are used; `carries`: what comes from above
/// in each column, replaced by what goes out below.
///
/// A block is one column behind the block above it, so that the steps of one round do not wait for
/// each other: a processor finds enough to do only among instructions that are close together.
///
/// # Safety
/// The processor has the instructions of `V`; the rows have the blocks; `2 * N` vectors are at
/// `state`.
#[inline(always)]
unsafe fn tile<V: Lanes, const N: usize>(
    rows: Rows,
    block: usize,
    carries: &mut [(V, V)],
    state: *mut u64,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = V::splat(0);
        let mut tile = Tile::<V, N> {
            states: [(zero, zero); N],
            between: [(zero, zero); N],
            later: [zero; N],
        };
        for n in 0..N {
            let at = state.add(2 * n * V::COUNT);
            tile.states[n] = (V::load(at), V::load(at.add(V::COUNT)));
        }
        let columns = carries.len();
        let full = (N - 1).min(columns)..columns;
        for round in 0..full.start {
            tile.round::<false>(rows, block, carries, round);
        }
        for round in full.clone() {
            tile.round::<true>(rows, block, carries, round);
        }
        for round in full.end..columns + N - 1 {
            tile.round::<false>(rows, block, carries, round);
        }
        for n in 0..N {
            let at = state.add(2 * n * V::COUNT);
            tile.states[n].0.store(at);
            tile.states[n].1.store(at.add(V::COUNT));
        }
    }
}

/// Some blocks, one below the other.
struct Tile<V, const N: usize> {
    states: [(V, V); N],
    /// What went out of each block in the round before.
    between: [(V, V); N],
    /// Rows of symbols that were read together with those of the block above.
    later: [V; N],
}

impl<V: Lanes, const N: usize> Tile<V, N> {
    /// Moves block n to column `round - n`; if not `FULL`, only where there is such a column.
    ///
    /// # Safety
    /// As for `tile`.
    #[inline(always)]
    unsafe fn round<const FULL: bool>(
        &mut self,
        rows: Rows,
        block: usize,
        carries: &mut [(V, V)],
        round: usize,
    ) {
        for n in (0..N).rev() {
            if !FULL && !(n..n + carries.len()).contains(&round) {
                continue;
            }
            let column = round - n;
            // SAFETY: as the caller promises; `column` is one of the rows, by the line above or
            // because the round is full.
            unsafe {
                let rows = &rows.at::<V>(column);
                let equal = if n % 2 == 1 {
                    self.later[n]
                } else if n + 1 < N {
                    let (now, later) = V::gather_two(rows, block + n);
                    self.later[n + 1] = later;
                    now
                } else {
                    V::gather(rows, block + n)
                };
                let mut carry = if n == 0 {
                    *carries.get_unchecked(column)
                } else {
                    self.between[n - 1]
                };
                step(&mut self.states[n], equal, &mut carry);
                if n == N - 1 {
                    *carries.get_unchecked_mut(column) = carry;
                } else {
                    self.between[n] = carry;
                }
            }
        }
    }
}

/// Moves one block one column on. `state`: rows that are not one more than the row above, rows that
/// are one less; `equal`: rows whose symbol is the column's; `carry`: whether the value above the
/// block rises, and whether it falls, replaced by the same of its last row.
///
/// Myers' formulas over the complement of his vertical positive vector, which saves two negations:
/// (x & P) + P ^ P is (N - (x & P)) ^ N where N = !P.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn step<V: Lanes>(state: &mut (V, V), equal: V, carry: &mut (V, V)) {
    let (not_more, less) = *state;
    // SAFETY: as the caller promises.
    unsafe {
        let equal = equal.or(carry.1);
        let free = not_more.not_and(equal);
        let sum = not_more.minus(free);
        let diagonal = sum.xor(not_more).or(equal.or(less));
        let rises = less.or(diagonal.not_and(not_more));
        let falls = not_more.not_and(diagonal);
        let out = (rises.top(), falls.top());
        let rises = rises.plus(rises).or(carry.0);
        let falls = falls.plus(falls).or(carry.1);
        *state = (falls.not_and(diagonal.or(rises)), diagonal.and(rises));
        *carry = out;
    }
}
