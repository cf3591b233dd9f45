//! Products of matrices: `out = alpha a b`, or `out += alpha a b`.
//!
//! cuBLAS multiplies column-major matrices; a row-major matrix read by columns is its transpose,
//! so the product asked of it is `outᵀ = bᵀ aᵀ`. bf16 or f32 inputs, sums in f32, without
//! TensorFloat-32. For the same sizes on the same device cuBLAS gives the same bits; other sizes
//! may be summed in another order.

use crate::buffer::{Slice, SliceMut};
use crate::driver::{Matrix as Operand, Number, Product};
use crate::element::Float;
use crate::error::Result;

/// A matrix in device memory, possibly read as its transpose.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T: Float> {
    data: Slice<'a, T>,
    /// As read.
    rows: usize,
    cols: usize,
    /// Values between rows as they lie.
    stride: usize,
    transposed: bool,
}

impl<'a, T: Float> Matrix<'a, T> {
    /// Row-major `[rows, cols]`, without gaps.
    ///
    /// # Panics
    /// There are fewer values.
    pub fn new(data: Slice<'a, T>, rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Row-major `[rows, cols]`, rows `stride` values apart.
    ///
    /// # Panics
    /// There are fewer values, or rows overlap.
    pub fn strided(data: Slice<'a, T>, rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        Self {
            data,
            rows,
            cols,
            stride,
            transposed: false,
        }
    }

    /// Rows read as columns.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }
}

pub(super) fn check(length: usize, rows: usize, cols: usize, stride: usize) {
    assert!(stride >= cols, "rows of {cols} values, {stride} apart");
    assert!(
        rows == 0 || length >= (rows - 1) * stride + cols,
        "a matrix of {rows} x {cols}, rows {stride} apart, in {length} values"
    );
}

/// What a product of matrices of `T` can be written as.
pub trait Output<T: Float>: Float {}
impl Output<f32> for f32 {}
impl Output<half::bf16> for f32 {}
impl Output<half::bf16> for half::bf16 {}

fn number<T: Float>() -> Number {
    match size_of::<T>() {
        4 => Number::F32,
        _ => Number::Bf16,
    }
}

/// `out = alpha a b`, added to `out` if `accumulate`; `out` is row-major `[rows of a, cols of b]`
/// with rows `stride` values apart.
///
/// # Errors
/// The product is refused.
///
/// # Panics
/// The sizes do not fit.
pub fn matmul<T: Float, O: Output<T>>(
    out: SliceMut<O>,
    stride: usize,
    accumulate: bool,
    alpha: f32,
    a: Matrix<T>,
    b: Matrix<T>,
) -> Result<()> {
    assert_eq!(a.cols, b.rows, "the inner size of a product");
    check(out.len(), a.rows, b.cols, stride);
    if a.rows == 0 || b.cols == 0 {
        return Ok(());
    }
    assert!(a.cols > 0, "a product over nothing");
    let operand = |matrix: Matrix<T>| Operand {
        address: matrix.data.address(),
        leading: matrix.stride,
        transposed: matrix.transposed,
    };
    out.device.product(&Product {
        m: b.cols,
        n: a.rows,
        k: a.cols,
        alpha,
        beta: if accumulate { 1.0 } else { 0.0 },
        a: operand(b),
        b: operand(a),
        c: Operand {
            address: out.address(),
            leading: stride,
            transposed: false,
        },
        inputs: number::<T>(),
        output: number::<O>(),
    })
}
