//! Four lanes in a 256-bit register.
//!
//! Used by `kernel.rs` where the processor has AVX2.
//!
//! Promises: what `Lanes` says; functions are inlined into callers that are compiled for AVX2.
#![expect(unsafe_code, reason = "intrinsics, and raw loads")]
#![allow(
    clippy::inline_always,
    clippy::cast_ptr_alignment,
    reason = "only what is inlined is compiled for the instructions; loads are unaligned ones"
)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi64, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_unpackhi_epi64,
    _mm256_add_epi64, _mm256_and_si256, _mm256_andnot_si256, _mm256_castsi128_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_inserti128_si256, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_sad_epu8, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_srli_epi64,
    _mm256_storeu_si256, _mm256_sub_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::Lanes;
use crate::bound::{BUCKETS, Histogram};

// SAFETY of all functions below: the trait's callers promise AVX2 and valid pointers; loads and
// stores are of the unaligned kind.
impl Lanes for __m256i {
    const COUNT: usize = 4;
    type Rows = [*const u64; 4];

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        unsafe { _mm256_set1_epi64x(word.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn gather(rows: &Self::Rows, block: usize) -> Self {
        unsafe {
            let [a, b, c, d] = rows.map(|row| row.wrapping_add(block));
            let word = |row: *const u64| (*row).cast_signed();
            _mm256_set_epi64x(word(d), word(c), word(b), word(a))
        }
    }
    #[inline(always)]
    unsafe fn gather_two(rows: &Self::Rows, block: usize) -> (Self, Self) {
        unsafe {
            // Lanes 0 and 2 in one register, 1 and 3 in another: two words each.
            let two = |low: *const u64, high: *const u64| {
                let load = |row: *const u64| _mm_loadu_si128(row.add(block).cast::<__m128i>());
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(low)), load(high))
            };
            let (even, odd) = (two(rows[0], rows[2]), two(rows[1], rows[3]));
            (
                _mm256_unpacklo_epi64(even, odd),
                _mm256_unpackhi_epi64(even, odd),
            )
        }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm256_and_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { _mm256_or_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm256_xor_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn not_and(self, other: Self) -> Self {
        unsafe { _mm256_andnot_si256(self, other) }
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        unsafe { _mm256_add_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        unsafe { _mm256_sub_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn top(self) -> Self {
        unsafe { _mm256_srli_epi64::<63>(self) }
    }
    #[inline(always)]
    unsafe fn difference(a: &Histogram, b: &Histogram) -> u32 {
        unsafe {
            let mut sum = Self::splat(0);
            for start in (0..BUCKETS).step_by(size_of::<Self>()) {
                let load = |from: &Histogram| _mm256_loadu_si256(from.0[start..].as_ptr().cast());
                sum = _mm256_add_epi64(sum, _mm256_sad_epu8(load(a), load(b)));
            }
            let half = _mm_add_epi64(
                _mm256_castsi256_si128(sum),
                _mm256_extracti128_si256::<1>(sum),
            );
            let whole = _mm_add_epi64(half, _mm_unpackhi_epi64(half, half));
            _mm_cvtsi128_si32(whole).cast_unsigned()
        }
    }
}
