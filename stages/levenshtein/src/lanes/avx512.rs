//! Eight lanes in a 512-bit register.
//!
//! Used by `kernel.rs` where the processor has AVX-512 F and BW. The same functions as in
//! `avx2.rs`, twice as wide; pairs of logical operations become one `vpternlogq` by the compiler.
//!
//! Promises: what `Lanes` says; functions are inlined into callers that are compiled for AVX-512.
#![expect(unsafe_code, reason = "intrinsics, and raw loads")]
#![allow(
    clippy::inline_always,
    clippy::cast_ptr_alignment,
    reason = "only what is inlined is compiled for the instructions; loads are unaligned ones"
)]

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_loadu_si128, _mm512_add_epi64, _mm512_and_si512,
    _mm512_andnot_si512, _mm512_castsi128_si512, _mm512_inserti32x4, _mm512_loadu_si512,
    _mm512_or_si512, _mm512_set_epi64, _mm512_set1_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_sub_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::Lanes;
use crate::bound::Histogram;

// SAFETY of all functions below: the trait's callers promise AVX-512 and valid pointers; loads and
// stores are of the unaligned kind.
impl Lanes for __m512i {
    const COUNT: usize = 8;
    type Rows = [*const u64; 8];

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        unsafe { _mm512_set1_epi64(word.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u64) -> Self {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u64) {
        unsafe { _mm512_storeu_si512(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn gather(rows: &Self::Rows, block: usize) -> Self {
        unsafe {
            let [a, b, c, d, e, f, g, h] = rows.map(|row| row.wrapping_add(block));
            let word = |row: *const u64| (*row).cast_signed();
            _mm512_set_epi64(
                word(h),
                word(g),
                word(f),
                word(e),
                word(d),
                word(c),
                word(b),
                word(a),
            )
        }
    }
    #[inline(always)]
    unsafe fn gather_two(rows: &Self::Rows, block: usize) -> (Self, Self) {
        unsafe {
            // Even lanes in one register, odd lanes in another: two words each.
            let two = |rows: [*const u64; 4]| {
                let [a, b, c, d] =
                    rows.map(|row| _mm_loadu_si128(row.add(block).cast::<__m128i>()));
                let all = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
                _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(all, c), d)
            };
            let even = two([rows[0], rows[2], rows[4], rows[6]]);
            let odd = two([rows[1], rows[3], rows[5], rows[7]]);
            (
                _mm512_unpacklo_epi64(even, odd),
                _mm512_unpackhi_epi64(even, odd),
            )
        }
    }
    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm512_and_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        unsafe { _mm512_or_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm512_xor_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn not_and(self, other: Self) -> Self {
        unsafe { _mm512_andnot_si512(self, other) }
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        unsafe { _mm512_add_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        unsafe { _mm512_sub_epi64(self, other) }
    }
    #[inline(always)]
    unsafe fn top(self) -> Self {
        unsafe { _mm512_srli_epi64::<63>(self) }
    }
    #[inline(always)]
    unsafe fn difference(a: &Histogram, b: &Histogram) -> u32 {
        // Four of the half as wide instructions are as good as two of these.
        unsafe { <__m256i as Lanes>::difference(a, b) }
    }
}
