//! A safe door to the `gemm` crate: strided f32 matrix products into a caller's buffer.
//!
//! Used by `linear`, `head` and `attention`. Bounds are checked here once per product. The
//! `gemm` crate cuts the inner dimension by the shape and the cache sizes only, never by the
//! number of threads (`tests/determinism.rs` checks it), so a product has one result per
//! machine type.

use gemm::Parallelism;

/// A matrix read through strides.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// The row-major matrix `[rows, cols]` at the start of `data`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn check(self) {
        let last = (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride;
        assert!(
            last < self.data.len(),
            "a {}x{} matrix does not fit {} values",
            self.rows,
            self.cols,
            self.data.len()
        );
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
pub fn matmul(out: &mut [f32], accumulate: bool, scale: f32, a: View, b: View, threads: Threads) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "the inner sizes of a matrix product differ");
    assert!(
        out.len() >= m * n,
        "the result of a {m}x{n} product does not fit {} values",
        out.len()
    );
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            out[..m * n].fill(0.0);
        }
        return;
    }
    a.check();
    b.check();
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    #[allow(unsafe_code)]
    // SAFETY: every index the product touches lies inside the three slices (checked above),
    // and `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
