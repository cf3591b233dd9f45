//! Lays an operand out as the kernels read it: in panels.
//!
//! Called by `matmul` with `[inner, across]` views: the right operand as it is, the left one
//! transposed. A panel holds `width` neighbours across, for all of the inner dimension: the words
//! of one step lie side by side, steps follow one another, so that a tile walks through memory
//! in order. What is missing at the edge is 0. Rounding to bfloat16 happens here.

use super::kernel::{Form, prefetch};
use super::{LINE, View};
use crate::precision::Element;

/// Steps that are transposed at once.
const STEPS: usize = 8;
/// So many steps before a row is laid out, it is asked for: rows lie pages apart, and a processor
/// guesses only within a page.
const AHEAD: usize = 4;

/// Fills panels that lie one after another, `depth` steps of `width` words each, from the columns
/// of `from` that start at `first`.
pub(super) fn panels<T: Element>(
    words: &mut [u32],
    from: View<T>,
    first: usize,
    width: usize,
    form: Form,
) {
    match form {
        Form::Single => {
            sized::<T, 1>(words, from, first, width, |value, _| {
                value.widen().to_bits()
            });
        }
        Form::Rounded => {
            sized::<T, 1>(words, from, first, width, |value, _| {
                u32::from(value.half_bits()) << 16
            });
        }
        Form::Pair => {
            sized::<T, 2>(words, from, first, width, |early, late| {
                u32::from(early.half_bits()) | u32::from(late.half_bits()) << 16
            });
        }
    }
}

/// Chooses code for the widths of the kernels, so that the inner loops have a fixed length. A word
/// is made from the first and the last of its `VALUES`.
fn sized<T: Element, const VALUES: usize>(
    words: &mut [u32],
    from: View<T>,
    first: usize,
    width: usize,
    word: impl Fn(T, T) -> u32 + Copy,
) {
    match width {
        4 => sized_panels::<T, VALUES, 4>(words, from, first, word),
        6 => sized_panels::<T, VALUES, 6>(words, from, first, word),
        8 => sized_panels::<T, VALUES, 8>(words, from, first, word),
        12 => sized_panels::<T, VALUES, 12>(words, from, first, word),
        16 => sized_panels::<T, VALUES, 16>(words, from, first, word),
        32 => sized_panels::<T, VALUES, 32>(words, from, first, word),
        _ => unreachable!("no kernel has tiles of {width}"),
    }
}

fn sized_panels<T: Element, const VALUES: usize, const WIDTH: usize>(
    words: &mut [u32],
    from: View<T>,
    first: usize,
    word: impl Fn(T, T) -> u32 + Copy,
) {
    let depth = from.rows.div_ceil(VALUES);
    let (steps, rest) = words.as_chunks_mut::<WIDTH>();
    assert!(rest.is_empty(), "panels have whole steps");
    // All but the last panel are full.
    let full = (steps.len() / depth).min((from.cols - first) / WIDTH);
    let (steps, last) = steps.split_at_mut(full * depth);
    // A word of a place that may be outside.
    let at = |step: usize, col: usize| {
        let value = |row: usize| {
            if row < from.rows && col < from.cols {
                from.at(row, col)
            } else {
                T::default()
            }
        };
        word(value(step * VALUES), value(step * VALUES + VALUES - 1))
    };
    if from.transposed {
        for (index, steps) in steps.chunks_mut(depth).enumerate() {
            let first = first + index * WIDTH;
            let column = |i: usize| &from.data[(first + i) * from.stride..][..from.rows];
            let done = transposed::<T, VALUES, WIDTH>(steps, column, from.stride, word);
            for (step, words) in steps.iter_mut().enumerate().skip(done) {
                *words = std::array::from_fn(|i| at(step, first + i));
            }
        }
    } else {
        // A row of `from` at a time, for its neighbours in memory.
        let whole = from.rows / VALUES;
        for step in 0..whole {
            let ahead = (step + AHEAD) * VALUES;
            for row in ahead..from.rows.min(ahead + VALUES) {
                let start = from.data[row * from.stride + first..].as_ptr();
                for at in (0..full * WIDTH).step_by(LINE / size_of::<T>()) {
                    prefetch(start.wrapping_add(at));
                }
            }
            let row = |row: usize| {
                let row = &from.data[row * from.stride + first..][..full * WIDTH];
                row.as_chunks::<WIDTH>().0
            };
            let rows = (row(step * VALUES), row(step * VALUES + VALUES - 1));
            for (panel, (early, late)) in rows.0.iter().zip(rows.1).enumerate() {
                steps[panel * depth + step] = std::array::from_fn(|i| word(early[i], late[i]));
            }
        }
        for step in whole..depth {
            for panel in 0..full {
                let first = first + panel * WIDTH;
                steps[panel * depth + step] = std::array::from_fn(|i| at(step, first + i));
            }
        }
    }
    for (step, words) in last.iter_mut().take(depth).enumerate() {
        *words = std::array::from_fn(|i| at(step, first + full * WIDTH + i));
    }
}

/// The transpose of a square, by shuffles: what the compiler makes of plain indices goes through
/// memory.
#[inline]
fn transpose(rows: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128, _MM_TRANSPOSE4_PS};
        #[allow(unsafe_code)]
        // SAFETY: four words and a register of four words have the same 16 bytes, any of which
        // are valid for both; every x86-64 processor has SSE.
        unsafe {
            let [mut a, mut b, mut c, mut d] =
                std::mem::transmute::<[[u32; 4]; 4], [__m128; 4]>(rows);
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            std::mem::transmute::<[__m128; 4], [[u32; 4]; 4]>([a, b, c, d])
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}

/// One panel from columns that lie in memory one after another, `stride` apart, but for its last
/// steps; returns how many were written. Asks for the columns of the next panel meanwhile.
fn transposed<'a, T: Element, const VALUES: usize, const WIDTH: usize>(
    steps: &mut [[u32; WIDTH]],
    column: impl Fn(usize) -> &'a [T],
    stride: usize,
    word: impl Fn(T, T) -> u32 + Copy,
) -> usize {
    let columns: [&[T]; WIDTH] = std::array::from_fn(column);
    let blocks = columns[0].len() / (STEPS * VALUES);
    let written = &mut steps[..blocks * STEPS];
    for (index, block) in written.as_chunks_mut::<STEPS>().0.iter_mut().enumerate() {
        let at = index * STEPS * VALUES;
        if (at * size_of::<T>()).is_multiple_of(LINE) {
            for column in columns {
                prefetch(column.as_ptr().wrapping_add(WIDTH * stride + at));
            }
        }
        for first in (0..WIDTH).step_by(4) {
            let here = WIDTH.min(first + 4) - first;
            let mut rows = [[0; STEPS]; 4];
            for (row, column) in rows.iter_mut().zip(&columns[first..first + here]) {
                let values = &column[at..][..STEPS * VALUES];
                *row = std::array::from_fn(|i| {
                    word(values[i * VALUES], values[i * VALUES + VALUES - 1])
                });
            }
            for half in 0..STEPS / 4 {
                let square = transpose(rows.map(|row| std::array::from_fn(|i| row[4 * half + i])));
                for (words, row) in block[4 * half..].iter_mut().zip(square) {
                    words[first..first + here].copy_from_slice(&row[..here]);
                }
            }
        }
    }
    blocks * STEPS
}
