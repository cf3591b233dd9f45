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

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use kernel::{Form, Kernel, Left, Out};
use rayon::prelude::*;

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

/// A matrix in memory, row-major or the transpose of such a one.
#[derive(Clone, Copy)]
pub struct View<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    /// From row to row, or from column to column if transposed; the other step is 1.
    stride: usize,
    transposed: bool,
}

impl<'a, T: Element> View<'a, T> {
    /// The row-major matrix `[rows, cols]` at the start of `data`.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `[rows, cols]` with `stride` values from the start of a row to that of the next.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        if rows > 0 && cols > 0 {
            assert!(
                cols <= stride && (rows - 1) * stride + cols <= data.len(),
                "a {rows}x{cols} matrix of stride {stride} does not fit {} values",
                data.len()
            );
        }
        Self {
            data,
            rows,
            cols,
            stride,
            transposed: false,
        }
    }

    /// The transpose, without moving anything.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }

    /// The given rows and columns.
    fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let start = if self.transposed {
            cols.start * self.stride + rows.start
        } else {
            rows.start * self.stride + cols.start
        };
        Self {
            data: &self.data[start..],
            rows: rows.len(),
            cols: cols.len(),
            ..self
        }
    }

    fn at(self, row: usize, col: usize) -> T {
        if self.transposed {
            self.data[col * self.stride + row]
        } else {
            self.data[row * self.stride + col]
        }
    }
}

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
    let rows = match threads {
        Threads::One => ROWS,
        // Several tasks a thread, so that a thread that was held up is helped.
        Threads::All => m
            .div_ceil(4 * rayon::current_num_threads())
            .next_multiple_of(kernel.rows)
            .min(ROWS),
    };
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
            let block = |(index, out): (usize, &mut [f32])| {
                let first = index * rows;
                let a = a.block(first..m.min(first + rows), these.clone());
                right.product(out, n, n, accumulate || start > 0, scale, a, inner);
            };
            match threads {
                Threads::One => out.chunks_mut(rows * n).enumerate().for_each(block),
                Threads::All => out.par_chunks_mut(rows * n).enumerate().for_each(block),
            }
        });
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
        words.resize(room, 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn noise(length: usize, seed: usize) -> Vec<f32> {
        let mut state = seed as u64 + 1;
        (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    /// The product in f64 of operands in the kernel's form, and the sum of magnitudes.
    fn exact(a: View, b: View, form: Form) -> (Vec<f64>, Vec<f64>) {
        let value = |x: f32| match form {
            Form::Single => f64::from(x),
            Form::Rounded | Form::Pair => f64::from(bf16::from_f32(x).to_f32()),
        };
        let each = |row: usize, col: usize| {
            (0..a.cols).map(move |i| value(a.at(row, i)) * value(b.at(i, col)))
        };
        let places = || (0..a.rows).flat_map(|row| (0..b.cols).map(move |col| (row, col)));
        (
            places().map(|(r, c)| each(r, c).sum()).collect(),
            places()
                .map(|(r, c)| each(r, c).map(f64::abs).sum())
                .collect(),
        )
    }

    /// Every kernel that this processor can run, `vdpbf16ps` among them where it is.
    #[test]
    fn every_kernel_gives_the_exact_product() {
        let sizes = [
            (1, 1, 1),
            (6, 16, 8),
            (13, 33, 7),
            (97, 40, 300),
            (24, 200, 515),
            (100, 130, 63),
        ];
        for kernel in Kernel::all_available() {
            for (index, (m, n, k)) in sizes.into_iter().enumerate() {
                for layout in 0..4 {
                    let (a, b) = (noise(m * k, index), noise(k * n, index + 9));
                    let a = if layout & 1 == 0 {
                        View::new(&a, m, k)
                    } else {
                        View::new(&a, k, m).transposed()
                    };
                    let b = if layout & 2 == 0 {
                        View::new(&b, k, n)
                    } else {
                        View::new(&b, n, k).transposed()
                    };
                    let (expected, magnitudes) = exact(a, b, kernel.form);
                    let start = noise(m * n, 77);
                    let mut out = start.clone();
                    multiply(&mut out, true, 0.5, a, b, kernel, Threads::All);
                    let mut alone = vec![f32::NAN; m * n];
                    multiply(&mut alone, false, 1.0, a, b, kernel, Threads::One);
                    for i in 0..m * n {
                        let bound = 1e-6 * (1.0 + magnitudes[i]);
                        let sum = f64::from(start[i]) + 0.5 * expected[i];
                        assert!(
                            (f64::from(out[i]) - sum).abs() < bound
                                && (f64::from(alone[i]) - expected[i]).abs() < bound,
                            "{}: {m}x{n}x{k}, layout {layout}, value {i}: {} for {sum}, {} for {}",
                            kernel.name,
                            out[i],
                            alone[i],
                            expected[i]
                        );
                    }
                }
            }
        }
    }

    /// A row is the same to the bit whatever other rows, threads and tasks there are.
    #[test]
    fn a_row_does_not_depend_on_others() {
        let (m, n, k) = (331, 70, 600);
        let (a, b) = (noise(m * k, 1), noise(k * n, 2));
        for precision in [Precision::F32, Precision::Bf16] {
            let product = |rows: Range<usize>, threads: usize| {
                let mut out = vec![0.0; rows.len() * n];
                let a = View::new(&a[rows.start * k..], rows.len(), k);
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .expect("threads");
                let b = View::new(&b, k, n);
                pool.install(|| matmul(&mut out, false, 0.3, a, b, precision, Threads::All));
                out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
            };
            let all = product(0..m, 1);
            assert_eq!(all, product(0..m, 3));
            for row in [0, 5, 95, 330] {
                assert_eq!(all[row * n..][..n], product(row..row + 1, 2));
            }
        }
    }

    #[test]
    fn a_packed_operand_gives_products_with_its_first_rows_and_columns() {
        let (m, n, k) = (50, 90, 64);
        let (a, b) = (noise(m * k, 3), noise(k * n, 4));
        for precision in [Precision::F32, Precision::Bf16] {
            let mut packed = Packed::default();
            packed.fill(View::new(&b, k, n), precision);
            for (inner, cols) in [(k, n), (17, 33), (1, 1)] {
                let stride = cols + 3;
                let mut out = vec![7.0; m * stride];
                let a = View::strided(&a, m, inner, k);
                packed.product(&mut out, stride, cols, false, 1.0, a);
                let mut expected = vec![0.0; m * cols];
                let b = View::strided(&b, inner, cols, n);
                matmul(&mut expected, false, 1.0, a, b, precision, Threads::One);
                for (row, expected) in out.chunks(stride).zip(expected.chunks(cols)) {
                    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&row[..cols]), bits(expected));
                    assert_eq!(bits(&row[cols..]), bits(&[7.0; 3]));
                }
            }
        }
    }
}
