//! Where the words of the symbols of some columns begin, for each lane.
//!
//! Used by `kernel.rs` once a stretch of columns. A lane after the other, so that the compiler
//! computes several addresses at a time.
//!
//! Promises: nothing is read here; whoever reads answers for codes inside the pattern.
#![expect(unsafe_code, reason = "memory that is not cleared first")]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined is compiled for the instructions that were chosen"
)]

use std::mem::MaybeUninit;

use crate::kernel::STRETCH;
use crate::lanes::{Lanes, MOST_LANES};

/// Where the words of codes begin, which are `stride` for each code.
#[inline(always)]
pub(crate) fn rows_of(
    words: *const u64,
    stride: usize,
    codes: &[u16],
    rows: &mut [MaybeUninit<*const u64>],
) {
    let bytes = stride as u32 * size_of::<u64>() as u32;
    for (row, &code) in rows.iter_mut().zip(codes) {
        // A product of 32-bit numbers: one that vector instructions have.
        row.write(words.wrapping_byte_add((u64::from(code) * u64::from(bytes)) as usize));
    }
}

/// For each lane and column, where the words of its symbol begin.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a>(pub(crate) &'a [[MaybeUninit<*const u64>; STRETCH]; MOST_LANES]);

impl Rows<'_> {
    /// Those of one column.
    ///
    /// # Safety
    /// They were written.
    #[inline(always)]
    pub(crate) unsafe fn at<V: Lanes>(self, column: usize) -> V::Rows {
        let mut rows = MaybeUninit::<V::Rows>::uninit();
        let each = rows.as_mut_ptr().cast::<*const u64>();
        for lane in 0..V::COUNT {
            // SAFETY: `V::Rows` is an array of `COUNT` pointers; the caller promises the rest.
            unsafe {
                let row = self.0.get_unchecked(lane).get_unchecked(column);
                each.add(lane).write(row.assume_init());
            }
        }
        // SAFETY: all of them were written.
        unsafe { rows.assume_init() }
    }
}
