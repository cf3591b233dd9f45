//! Lays an operand out as the kernels read it: in panels.
//!
//! Called by `matmul` with `[inner, across]` views: the right operand as it is, the left one
//! transposed. A panel holds `width` neighbours across, for all of the inner dimension: the words
//! of one step lie side by side, steps follow one another, so that a tile walks through memory
//! in order. What is missing at the edge is 0. Rounding to bfloat16 happens here.

use super::View;
use super::kernel::Form;
use crate::precision::Element;

/// Steps that are transposed at once.
const STEPS: usize = 8;

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
        Form::Single => sized(words, from, first, width, |value: T| {
            value.widen().to_bits()
        }),
        Form::Rounded => sized(words, from, first, width, |value: T| {
            u32::from(value.half_bits()) << 16
        }),
        Form::Pair => pairs(words, from, first, width),
    }
}

/// Chooses code for the widths of the kernels, so that the inner loops have a fixed length.
fn sized<T: Element>(
    words: &mut [u32],
    from: View<T>,
    first: usize,
    width: usize,
    word: impl Fn(T) -> u32 + Copy,
) {
    match width {
        4 => sized_panels::<T, 4>(words, from, first, word),
        6 => sized_panels::<T, 6>(words, from, first, word),
        8 => sized_panels::<T, 8>(words, from, first, word),
        12 => sized_panels::<T, 12>(words, from, first, word),
        16 => sized_panels::<T, 16>(words, from, first, word),
        _ => sized_panels::<T, 32>(words, from, first, word),
    }
}

fn sized_panels<T: Element, const WIDTH: usize>(
    words: &mut [u32],
    from: View<T>,
    first: usize,
    word: impl Fn(T) -> u32 + Copy,
) {
    let (steps, rest) = words.as_chunks_mut::<WIDTH>();
    assert!(rest.is_empty(), "panels have whole steps");
    // All but the last panel are full.
    let full = (steps.len() / from.rows).min((from.cols - first) / WIDTH);
    let (steps, last) = steps.split_at_mut(full * from.rows);
    if from.transposed {
        for (index, steps) in steps.chunks_mut(from.rows).enumerate() {
            let at = first + index * WIDTH;
            transposed(
                steps,
                |i| &from.data[(at + i) * from.stride..][..from.rows],
                word,
            );
        }
    } else {
        // A row of `from` at a time, for its neighbours in memory.
        for step in 0..from.rows {
            let row = &from.data[step * from.stride + first..][..full * WIDTH];
            for (panel, values) in row.as_chunks::<WIDTH>().0.iter().enumerate() {
                steps[panel * from.rows + step] = values.map(word);
            }
        }
    }
    for (step, words) in last.iter_mut().take(from.rows).enumerate() {
        *words = std::array::from_fn(|i| {
            let col = first + full * WIDTH + i;
            if col < from.cols {
                word(from.at(step, col))
            } else {
                0
            }
        });
    }
}

/// The transpose of a square, by shuffles: what the compiler makes of plain indices goes through
/// memory.
#[inline(always)]
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

/// One panel from columns that lie in memory one after another.
fn transposed<'a, T: Element, const WIDTH: usize>(
    steps: &mut [[u32; WIDTH]],
    column: impl Fn(usize) -> &'a [T],
    word: impl Fn(T) -> u32 + Copy,
) {
    let columns: [&[T]; WIDTH] = std::array::from_fn(column);
    let (blocks, rest) = steps.as_chunks_mut::<STEPS>();
    let done = blocks.len() * STEPS;
    for (index, block) in blocks.iter_mut().enumerate() {
        for first in (0..WIDTH).step_by(4) {
            let here = WIDTH.min(first + 4) - first;
            let mut rows = [[0; STEPS]; 4];
            for (row, column) in rows.iter_mut().zip(&columns[first..first + here]) {
                let values: &[T; STEPS] = column[index * STEPS..]
                    .first_chunk()
                    .expect("columns are as long as the panel");
                *row = values.map(word);
            }
            for half in 0..STEPS / 4 {
                let square = transpose(rows.map(|row| std::array::from_fn(|i| row[4 * half + i])));
                for (words, row) in block[4 * half..].iter_mut().zip(square) {
                    words[first..first + here].copy_from_slice(&row[..here]);
                }
            }
        }
    }
    for (step, words) in rest.iter_mut().enumerate() {
        *words = std::array::from_fn(|i| word(columns[i][done + step]));
    }
}

fn pairs<T: Element>(words: &mut [u32], from: View<T>, first: usize, width: usize) {
    let bits = |row: usize, col: usize| {
        if row < from.rows && col < from.cols {
            u32::from(from.at(row, col).half_bits())
        } else {
            0
        }
    };
    let depth = from.rows.div_ceil(2);
    for (panel, words) in words.chunks_exact_mut(depth * width).enumerate() {
        for (step, words) in words.chunks_exact_mut(width).enumerate() {
            for (index, word) in words.iter_mut().enumerate() {
                let col = first + panel * width + index;
                *word = bits(2 * step, col) | bits(2 * step + 1, col) << 16;
            }
        }
    }
}
