//! Columns of one text alone, with the blocks of the table in the lanes of a register.
//!
//! Called by `kernel.rs` where few texts are left to be compared. Every block is one column behind
//! the block above it, so that what leaves a block enters the next one in the next round: a wave
//! front that runs through the table from its upper right to its lower left. The last lane of N
//! registers holds the first N blocks, the lane before it the next N, and so on: so only what leaves
//! the last register changes lanes, and what leaves the last block is stored without a shuffle.
//! One pair is then as fast as a fourth of four, and the best so far bounds each next pair at once.
//!
//! Promises: the same values as with a text a lane. AVX2 only; elsewhere texts go one a lane.
#![expect(unsafe_code, reason = "intrinsics, and raw loads")]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instructions that were chosen"
)]

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_blend_epi32, _mm256_blendv_epi8, _mm256_cmpgt_epi64,
    _mm256_permute4x64_epi64, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_sub_epi64,
};

use crate::kernel::{WAVE_LANES as LANES, WAVE_STRETCH as STRETCH, step};
use crate::lanes::Lanes as _;

/// Registers whose state is kept at a time.
const TALLEST: usize = 3;
/// Most columns before the first and after the last one in which some blocks have nothing to do.
const RAMP: usize = LANES * TALLEST - 1;
/// Columns, both ramps, and what whole registers reach behind.
const ROOM: usize = STRETCH + 2 * RAMP + LANES;

/// The state of a column: for each block, which rows are *not* one more than the row above, and
/// which are one less.
#[derive(Clone, Copy)]
pub(crate) struct State {
    pub(crate) not_more: *mut u64,
    pub(crate) less: *mut u64,
}

/// Moves some blocks over some columns. `words`: those of the first block; the row of a code begins
/// `stride` words after that of the code before.
///
/// # Safety
/// The processor has AVX2. `state` has `LANES` times `registers` blocks; `codes` are at most
/// `STRETCH`, and code 0 and each of them has so many words.
#[inline(always)]
pub(crate) unsafe fn columns(
    words: *const u64,
    stride: usize,
    codes: &[u16],
    mut state: State,
    registers: usize,
) {
    debug_assert!(codes.len() <= STRETCH);
    // SAFETY: as the caller promises. Columns in the ramps have the words of code 0.
    unsafe {
        let mut rows = [words; ROOM];
        for (row, &code) in rows[RAMP..].iter_mut().zip(codes) {
            *row = words.add(code as usize * stride);
        }
        // Above the first row, values rise by one a column.
        let mut carries = Carries {
            rises: [1; ROOM],
            falls: [0; ROOM],
        };
        let (mut done, mut left) = (0, registers);
        while left > 0 {
            // Of similar height: the higher, the more of the processor is busy.
            let height = left.div_ceil(left.div_ceil(TALLEST));
            let front = Front {
                rows: rows.as_ptr(),
                block: done * LANES,
                columns: codes.len(),
            };
            match (height, height < left) {
                (1, _) => tile::<1, false>(front, &mut carries, state),
                (2, false) => tile::<2, false>(front, &mut carries, state),
                (2, true) => tile::<2, true>(front, &mut carries, state),
                (_, false) => tile::<TALLEST, false>(front, &mut carries, state),
                (_, true) => tile::<TALLEST, true>(front, &mut carries, state),
            }
            (done, left) = (done + height, left - height);
            state.not_more = state.not_more.add(height * LANES);
            state.less = state.less.add(height * LANES);
        }
    }
}

/// Whether the value above the first block rises, and whether it falls, as 0 or 1, in each column;
/// column c stands at `RAMP + c`.
///
/// Aligned, so that the stack is, and with it the registers that the compiler keeps there.
#[repr(align(64))]
struct Carries {
    rises: [u64; ROOM],
    falls: [u64; ROOM],
}

/// What a tile reads: for each column, from `RAMP` on, the words of its symbol.
#[derive(Clone, Copy)]
struct Front {
    rows: *const *const u64,
    /// The first block.
    block: usize,
    columns: usize,
}

/// `BELOW`: whether there are further blocks, which need what goes out of these.
///
/// # Safety
/// As for `columns`; there are `columns` rows and both ramps, each with the blocks.
#[inline(always)]
unsafe fn tile<const N: usize, const BELOW: bool>(
    front: Front,
    carries: &mut Carries,
    state: State,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let zero = __m256i::splat(0);
        let mut tile = Tile::<N> {
            states: [(zero, zero); N],
            between: [(zero, zero); N],
            later: [zero; N],
        };
        for n in 0..N {
            let load = |from: *const u64| {
                let word = |group: usize| (*from.add(group * N + n)).cast_signed();
                _mm256_set_epi64x(word(0), word(1), word(2), word(3))
            };
            tile.states[n] = (load(state.not_more), load(state.less));
        }
        let behind = LANES * N - 1;
        let first = behind.min(front.columns);
        for round in 0..first {
            tile.round::<false, BELOW>(front, carries, round);
        }
        for round in first..front.columns {
            tile.round::<true, BELOW>(front, carries, round);
        }
        for round in front.columns..front.columns + behind {
            tile.round::<false, BELOW>(front, carries, round);
        }
        for n in 0..N {
            let store = |lanes: __m256i, to: *mut u64| {
                let mut words = [0; LANES];
                lanes.store(words.as_mut_ptr());
                for (group, word) in words.into_iter().rev().enumerate() {
                    *to.add(group * N + n) = word;
                }
            };
            store(tile.states[n].0, state.not_more);
            store(tile.states[n].1, state.less);
        }
    }
}

/// `LANES * N` blocks, one below the other.
struct Tile<const N: usize> {
    states: [(__m256i, __m256i); N],
    /// What went out of each block in the round before.
    between: [(__m256i, __m256i); N],
    /// Words of symbols that were read together with those of the block above.
    later: [__m256i; N],
}

impl<const N: usize> Tile<N> {
    /// Moves lane `LANES - 1 - i` of register n to column `round - i N - n`; if not `FULL`, only where
    /// there is such a column.
    ///
    /// # Safety
    /// As for `tile`; there are at most `LANES * N - 1` rounds after the last column.
    #[inline(always)]
    unsafe fn round<const FULL: bool, const BELOW: bool>(
        &mut self,
        front: Front,
        carries: &mut Carries,
        round: usize,
    ) {
        let around = self.between[N - 1];
        for n in (0..N).rev() {
            // SAFETY: as the caller promises; the ramps have room.
            unsafe {
                let rows = front.rows.add(RAMP + round);
                let row = |group: usize| {
                    let block = group * N + n;
                    (*rows.sub(block)).add(front.block + block)
                };
                let equal = if n % 2 == 1 {
                    self.later[n]
                } else if n + 1 < N {
                    let (now, later) = __m256i::gather_two(&[row(3), row(2), row(1), row(0)], 0);
                    self.later[n + 1] = later;
                    now
                } else {
                    __m256i::gather(&[row(3), row(2), row(1), row(0)], 0)
                };
                let mut carry = if n == 0 {
                    let at = RAMP + round;
                    let rises = __m256i::load(carries.rises.as_ptr().add(at));
                    let falls = __m256i::load(carries.falls.as_ptr().add(at));
                    (next_lane(rises, around.0), next_lane(falls, around.1))
                } else {
                    self.between[n - 1]
                };
                let old = self.states[n];
                step(&mut self.states[n], equal, &mut carry);
                if !FULL {
                    let active = active::<N>(round, n, front.columns);
                    let new = self.states[n];
                    self.states[n] = (
                        _mm256_blendv_epi8(old.0, new.0, active),
                        _mm256_blendv_epi8(old.1, new.1, active),
                    );
                }
                self.between[n] = carry;
                if BELOW && n == N - 1 {
                    let at = RAMP + round + 1 - LANES * N;
                    // The first lane; the others fall where later rounds will write.
                    carry.0.store(carries.rises.as_mut_ptr().add(at));
                    carry.1.store(carries.falls.as_mut_ptr().add(at));
                }
            }
        }
    }
}

/// All but the first of `lanes`, then the first of `before`.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn next_lane(before: __m256i, lanes: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe { _mm256_permute4x64_epi64::<0x39>(_mm256_blend_epi32::<0x03>(lanes, before)) }
}

/// All bits of the lanes whose blocks in register `n` are at one of `columns`.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn active<const N: usize>(round: usize, n: usize, columns: usize) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let number = |number: usize| (number as u64).cast_signed();
        let behind = _mm256_set_epi64x(
            number(n),
            number(N + n),
            number(2 * N + n),
            number(3 * N + n),
        );
        let column = _mm256_sub_epi64(_mm256_set1_epi64x(number(round)), behind);
        _mm256_and_si256(
            _mm256_cmpgt_epi64(column, _mm256_set1_epi64x(-1)),
            _mm256_cmpgt_epi64(_mm256_set1_epi64x(number(columns)), column),
        )
    }
}
