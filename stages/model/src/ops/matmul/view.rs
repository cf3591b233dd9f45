//! A matrix as it lies in memory: what a product reads.
//!
//! Made by the operations, cut into blocks by `matmul`, read by `pack`. Bounds are checked once,
//! when a view is made.

use std::ops::Range;

use crate::precision::Element;

/// A matrix in memory, row-major or the transpose of such a one.
#[derive(Clone, Copy)]
pub struct View<'a, T = f32> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// From row to row, or from column to column if transposed; the other step is 1.
    pub(super) stride: usize,
    pub(super) transposed: bool,
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
    pub(super) fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
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

    pub(super) fn at(self, row: usize, col: usize) -> T {
        if self.transposed {
            self.data[col * self.stride + row]
        } else {
            self.data[row * self.stride + col]
        }
    }
}
