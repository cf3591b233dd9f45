//! As many 64-bit words at a time as the processor has room for.
//!
//! Used by `kernel.rs`, which is written once over the trait `Lanes`: plain words here (one lane
//! for a pair, four where there is no AVX2), registers in `lanes/avx2.rs` and `lanes/avx512.rs`.
//! Which of them is asked when the program runs.
//!
//! Promises: every implementation computes the same bits; tests hold them against each other.
#![expect(
    unsafe_code,
    reason = "raw loads, and instructions that not every processor has"
)]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instructions that were chosen"
)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

use crate::bound::Histogram;

/// Most lanes of any implementation.
pub(crate) const MOST_LANES: usize = 8;

/// Instructions to compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Those every processor has: four words in turn.
    Portable,
    /// AVX2: four lanes.
    Avx2,
    /// AVX-512 (F and BW): eight lanes.
    Avx512,
}

impl Instructions {
    /// All kinds, slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this processor has them.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The widest that this processor has.
    pub fn best() -> Self {
        let mut available = Self::ALL.into_iter().filter(|kind| kind.available());
        available.next_back().unwrap_or(Self::Portable)
    }

    /// Texts that are compared at a time.
    pub fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 4,
            Self::Avx512 => 8,
        }
    }
}

/// A vector of 64-bit lanes.
///
/// # Safety
/// All functions may only be called where the processor has the implementation's instructions, and
/// are only fast when inlined into a function that is compiled for them. Pointers must be valid for
/// the words that the function's comment names; they need no alignment.
pub(crate) trait Lanes: Copy {
    /// Number of lanes.
    const COUNT: usize;
    /// For each lane, where the words of its symbol begin: an array of `COUNT` pointers.
    type Rows;
    /// The same word in every lane.
    unsafe fn splat(word: u64) -> Self;
    /// Reads `COUNT` words.
    unsafe fn load(from: *const u64) -> Self;
    /// Writes `COUNT` words.
    unsafe fn store(self, to: *mut u64);
    /// Word `block` of each lane's row.
    unsafe fn gather(rows: &Self::Rows, block: usize) -> Self;
    /// Words `block` and `block + 1` of each lane's row.
    unsafe fn gather_two(rows: &Self::Rows, block: usize) -> (Self, Self);
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn or(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    /// `!self & other`.
    unsafe fn not_and(self, other: Self) -> Self;
    /// Modulo 2^64.
    unsafe fn plus(self, other: Self) -> Self;
    /// Modulo 2^64.
    unsafe fn minus(self, other: Self) -> Self;
    /// The highest bit, as 0 or 1.
    unsafe fn top(self) -> Self;
    /// `Histogram::difference`.
    unsafe fn difference(a: &Histogram, b: &Histogram) -> u32;
}

impl<const N: usize> Lanes for [u64; N] {
    const COUNT: usize = N;
    type Rows = [*const u64; N];

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        [word; N]
    }
    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        // SAFETY: the caller's promise: `N` words.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        // SAFETY: the caller's promise: `N` words.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn gather(rows: &Self::Rows, block: usize) -> Self {
        // SAFETY: the caller's promise: every row has the block.
        std::array::from_fn(|lane| unsafe { *rows[lane].add(block) })
    }
    #[inline(always)]
    unsafe fn gather_two(rows: &Self::Rows, block: usize) -> (Self, Self) {
        // SAFETY: the caller's promise: every row has both blocks.
        unsafe { (Self::gather(rows, block), Self::gather(rows, block + 1)) }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] & other[lane])
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] | other[lane])
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] ^ other[lane])
    }
    #[inline(always)]
    unsafe fn not_and(self, other: Self) -> Self {
        std::array::from_fn(|lane| !self[lane] & other[lane])
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane].wrapping_add(other[lane]))
    }
    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane].wrapping_sub(other[lane]))
    }
    #[inline(always)]
    unsafe fn top(self) -> Self {
        std::array::from_fn(|lane| self[lane] >> 63)
    }
    #[inline(always)]
    unsafe fn difference(a: &Histogram, b: &Histogram) -> u32 {
        a.difference(b)
    }
}
