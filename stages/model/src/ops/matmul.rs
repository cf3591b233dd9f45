//! Matrix products of f32 or bfloat16 operands, added in f32, into a caller's buffer.
//!
//! Used by `linear`, `low_rank`, `head` and `attention`. As in Goto and van de Geijn's "Anatomy of
//! High-Performance Matrix Multiplication": the right operand is laid out in panels (`pack`) that
//! all threads share, every task lays out a block of rows of the left one for its core's second
//! cache, and tiles of the result are computed in registers (`kernel`). A value of the result is
//! one chain of additions, cut by the inner size alone: threads, tasks and other rows change no
//! bit of it.

mod kernel;
mod pack;
#[cfg(test)]
mod tests;
mod view;

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use kernel::{Form, Kernel, Left, Out};
use rayon::prelude::*;
pub use view::View;

use crate::pages::resize;
use crate::precision::{Element, Precision};

/// Inner values that a tile adds before it goes back to memory: a panel of so many steps stays in
/// the first cache.
const INNER: usize = 256;
/// Rows of the left operand laid out at once: `INNER` times as many words fit the second cache.
/// A multiple of every kernel's rows.
const ROWS: usize = 96;
/// Words of the right operand laid out at once; 4 MiB.
const RIGHT_WORDS: usize = 1 << 20;
/// Panels of the right operand that a task lays out.
const PANELS: usize = 8;
/// Up to so many columns, laying the left operand out costs more than reading it where it is.
const DIRECT_COLS: usize = 128;

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone; for products inside a parallel task.
    One,
    /// The current rayon pool.
    All,
}

/// `out = scale a b`, or `out += scale a b` when `accumulate`; `out` is row-major
/// `[a.rows, b.cols]` at the start of the slice.
pub fn matmul<A: Element, B: Element>(
    out: &mut [f32],
    accumulate: bool,
    scale: f32,
    a: View<A>,
    b: View<B>,
    precision: Precision,
    threads: Threads,
) {
    multiply(out, accumulate, scale, a, b, Kernel::of(precision), threads);
}

fn multiply<A: Element, B: Element>(
    out: &mut [f32],
    accumulate: bool,
    scale: f32,
    a: View<A>,
    b: View<B>,
    kernel: Kernel,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "the inner sizes of a matrix product differ");
    assert!(
        out.len() >= m * n,
        "the result of a {m}x{n} product does not fit {} values",
        out.len()
    );
    let out = &mut out[..m * n];
    if k == 0 && !accumulate {
        out.fill(0.0);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let inner = inner_block(k);
    let chunk = (RIGHT_WORDS / n).max(inner) / inner * inner;
    let blocks = Blocks::new(m, kernel.rows, threads);
    for start in (0..k).step_by(chunk) {
        let these = start..k.min(start + chunk);
        let panels = Panels::new(these.len(), n, kernel);
        with_words(&RIGHT, panels.words(), |words| {
            let b = b.block(these.clone(), 0..n);
            let fill = |(index, words): (usize, &mut [u32])| {
                let first = index * PANELS * kernel.cols;
                pack::panels(words, b, first, kernel.cols, kernel.form);
            };
            let length = panels.depth() * kernel.cols * PANELS;
            match threads {
                Threads::One => words.chunks_mut(length).enumerate().for_each(fill),
                Threads::All => words.par_chunks_mut(length).enumerate().for_each(fill),
            }
            let right = Right { words, panels };
            let block = |(rows, out): (Range<usize>, &mut [f32])| {
                let a = a.block(rows, these.clone());
                right.product(out, n, n, accumulate || start > 0, scale, a, inner);
            };
            let blocks = blocks.of(out, n);
            match threads {
                Threads::One => blocks.into_iter().for_each(block),
                Threads::All => blocks.into_par_iter().with_max_len(1).for_each(block),
            }
        });
    }
}

/// How the rows of a result are cut into tasks: as equal as whole tiles allow, and as many for
/// every thread, since at the end of a product nobody has other work.
#[derive(Clone, Copy)]
struct Blocks {
    rows: usize,
    /// Rows of a tile.
    height: usize,
    count: usize,
}

impl Blocks {
    fn new(rows: usize, height: usize, threads: Threads) -> Self {
        let tiles = rows.div_ceil(height);
        let least = tiles.div_ceil(ROWS / height);
        let count = match threads {
            Threads::One => least,
            // Several tasks a thread, so that a thread that was held up is helped.
            Threads::All => {
                let threads = rayon::current_num_threads();
                least.max(4 * threads).next_multiple_of(threads).min(tiles)
            }
        };
        Self {
            rows,
            height,
            count,
        }
    }

    /// The rows of every task, and their part of a result with `cols` columns.
    fn of(self, mut out: &mut [f32], cols: usize) -> Vec<(Range<usize>, &mut [f32])> {
        let tiles = self.rows.div_ceil(self.height);
        let start = |index| self.rows.min(tiles * index / self.count * self.height);
        (0..self.count)
            .map(|index| {
                let rows = start(index)..start(index + 1);
                (
                    rows.clone(),
                    out.split_off_mut(..rows.len() * cols)
                        .expect("blocks are cut from all rows"),
                )
            })
            .collect()
    }
}

/// Cuts the inner size into equal parts of at most about [`INNER`].
fn inner_block(k: usize) -> usize {
    k.div_ceil(k.div_ceil(INNER)).next_multiple_of(8)
}

/// A right operand that was laid out once, for many products on the calling thread.
#[derive(Default)]
pub struct Packed {
    words: Vec<u32>,
    panels: Option<Panels>,
}

impl Packed {
    /// Lays `b` out.
    pub fn fill<B: Element>(&mut self, b: View<B>, precision: Precision) {
        let kernel = Kernel::of(precision);
        let panels = Panels::new(b.rows, b.cols, kernel);
        self.panels = Some(panels);
        let words = aligned(&mut self.words, panels.words());
        if b.rows > 0 && b.cols > 0 {
            pack::panels(words, b, 0, kernel.cols, kernel.form);
        }
    }

    /// `out = scale a b`, or `out += scale a b`, with the first `a.cols` rows and first `cols`
    /// columns of `b`; `out` has `stride` values from row to row.
    pub fn product<A: Element>(
        &self,
        out: &mut [f32],
        stride: usize,
        cols: usize,
        accumulate: bool,
        scale: f32,
        a: View<A>,
    ) {
        let panels = self.panels.expect("`fill` comes first");
        assert!(
            a.cols <= panels.inner && cols <= panels.cols,
            "a product with {}x{cols} of an operand of {}x{}",
            a.cols,
            panels.inner,
            panels.cols
        );
        let skip = self.words.as_ptr().align_offset(LINE);
        let words = &self.words[skip..][..panels.words()];
        Right { words, panels }.product(
            out,
            stride,
            cols,
            accumulate,
            scale,
            a,
            inner_block(a.cols),
        );
    }
}

/// Sizes of an operand in panels.
#[derive(Clone, Copy)]
struct Panels {
    inner: usize,
    cols: usize,
    kernel: Kernel,
}

impl Panels {
    fn new(inner: usize, cols: usize, kernel: Kernel) -> Self {
        Self {
            inner,
            cols,
            kernel,
        }
    }

    /// Steps of a panel.
    fn depth(self) -> usize {
        self.kernel.form.depth(self.inner)
    }

    fn words(self) -> usize {
        self.cols.next_multiple_of(self.kernel.cols) * self.depth()
    }
}

/// A right operand in panels.
#[derive(Clone, Copy)]
struct Right<'a> {
    words: &'a [u32],
    panels: Panels,
}

impl Right<'_> {
    /// The product of `a` with the first columns, on the calling thread, `inner` values at a time.
    fn product<A: Element>(
        self,
        out: &mut [f32],
        stride: usize,
        cols: usize,
        accumulate: bool,
        scale: f32,
        a: View<A>,
        inner: usize,
    ) {
        let Kernel {
            rows: height,
            cols: width,
            form,
            tile,
            ..
        } = self.panels.kernel;
        let (m, k) = (a.rows, a.cols);
        if m == 0 || cols == 0 {
            return;
        }
        assert!(
            cols <= stride && (m - 1) * stride + cols <= out.len(),
            "the result of a {m}x{cols} product does not fit {} values",
            out.len()
        );
        // Rows that are read where they are; the others are laid out.
        let direct = match A::floats(a.data) {
            Some(values) if form == Form::Single && cols <= DIRECT_COLS => {
                Some((values.as_ptr().cast::<u32>(), m / height * height))
            }
            _ => None,
        };
        let direct_rows = direct.map_or(0, |(_, rows)| rows);
        let laid_out = (m - direct_rows).next_multiple_of(height);
        let mut spare = [0.0_f32; 12 * 32];
        with_words(&LEFT, laid_out * form.depth(inner.min(k)), |lefts| {
            for start in (0..k).step_by(inner) {
                let these = start..k.min(start + inner);
                let depth = form.depth(these.len());
                if direct_rows < m {
                    let from = a.block(direct_rows..m, these.clone()).transposed();
                    pack::panels(&mut lefts[..laid_out * depth], from, 0, height, form);
                }
                for col in (0..cols).step_by(width) {
                    let at = col * self.panels.depth() + form.depth(start) * width;
                    let right = &self.words[at..][..depth * width];
                    for row in (0..m).step_by(height) {
                        let left = match direct {
                            Some((words, rows)) if row < rows => {
                                let (row_stride, step_stride) = if a.transposed {
                                    (1, a.stride)
                                } else {
                                    (a.stride, 1)
                                };
                                let offset = row * row_stride + start * step_stride;
                                Left {
                                    words: words.wrapping_add(offset),
                                    row_stride,
                                    step_stride,
                                }
                            }
                            _ => Left {
                                words: lefts[(row - direct_rows) * depth..][..height * depth]
                                    .as_ptr(),
                                row_stride: 1,
                                step_stride: height,
                            },
                        };
                        let (rows, cols) = (height.min(m - row), width.min(cols - col));
                        let accumulate = accumulate || start > 0;
                        let result = &mut out[row * stride + col..];
                        let result = &mut result[..(rows - 1) * stride + cols];
                        let whole = rows == height && cols == width;
                        let to = if whole {
                            Out {
                                values: result.as_mut_ptr(),
                                stride,
                                accumulate,
                                scale,
                            }
                        } else {
                            Out {
                                values: spare[..height * width].as_mut_ptr(),
                                stride: width,
                                accumulate: false,
                                scale,
                            }
                        };
                        #[allow(unsafe_code)]
                        // SAFETY: `Kernel::of` chose a tile for this processor. The words of both
                        // operands were sliced above, or are rows of a view, whose bounds were
                        // checked when it was made; so were the values of the result.
                        unsafe {
                            tile(depth, left, right.as_ptr(), to);
                        }
                        if !whole {
                            for (out, spare) in result.chunks_mut(stride).zip(spare.chunks(width)) {
                                for (out, spare) in out[..cols].iter_mut().zip(spare) {
                                    *out = if accumulate { *out + spare } else { *spare };
                                }
                            }
                        }
                    }
                }
            }
        });
    }
}

thread_local! {
    static LEFT: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    static RIGHT: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// `length` words that start with a cache line.
fn aligned(words: &mut Vec<u32>, length: usize) -> &mut [u32] {
    let room = length + LINE / size_of::<u32>();
    if words.len() < room {
        // Nothing of the old is worth copying.
        words.clear();
        resize(words, room, 0);
    }
    let skip = words.as_ptr().align_offset(LINE);
    &mut words[skip..][..length]
}

/// Lends a thread's reused words. They are taken out meanwhile: a thread that waits for others may
/// compute another product.
fn with_words<R>(
    reused: &'static LocalKey<Cell<Vec<u32>>>,
    length: usize,
    work: impl FnOnce(&mut [u32]) -> R,
) -> R {
    let mut words = reused.take();
    let result = work(aligned(&mut words, length));
    reused.set(words);
    result
}
