//! The linear layer: `y = x Wᵀ + b`, with `W` as `[out, in]`.
//!
//! Backward, given `dy`: `dx = dy W`, `dW += dyᵀ x`, `db += Σ_rows dy`. `W` is the working copy
//! in the activations' precision, `dW` f32. Layers that read the same input (queries, keys and
//! values; gate and up) are one layer of more outputs: their weights lie one after another.

use super::column_sums;
use super::matmul::{Matrix, Output, matmul};
use super::{eighths, int};
use crate::buffer::{Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;

/// `y = x Wᵀ`, or `y += x Wᵀ` when `accumulate`; `x` is `[rows, inputs]`, `y` `[rows, outputs]`.
///
/// # Errors
/// The product is refused.
pub fn forward<T: Float, O: Output<T>>(
    y: SliceMut<O>,
    accumulate: bool,
    x: Slice<T>,
    weight: Slice<T>,
    inputs: usize,
) -> Result<()> {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    let weight = Matrix::new(weight, outputs, inputs).transposed();
    let x = Matrix::new(x, rows, inputs);
    matmul(y, outputs, accumulate, 1.0, x, weight)
}

/// `dx = dy W`, or `dx += dy W` when `accumulate`.
///
/// # Errors
/// The product is refused.
pub fn backward_input<T: Float, O: Output<T>>(
    dx: SliceMut<O>,
    accumulate: bool,
    dy: Slice<T>,
    weight: Slice<T>,
    inputs: usize,
) -> Result<()> {
    let outputs = weight.len() / inputs;
    let dy = Matrix::new(dy, dy.len() / outputs, outputs);
    let weight = Matrix::new(weight, outputs, inputs);
    matmul(dx, inputs, accumulate, 1.0, dy, weight)
}

/// `dW += dyᵀ x`.
///
/// # Errors
/// The product is refused.
pub fn backward_weight<T: Float>(
    d_weight: SliceMut<f32>,
    dy: Slice<T>,
    x: Slice<T>,
    inputs: usize,
) -> Result<()>
where
    f32: Output<T>,
{
    let (rows, outputs) = (x.len() / inputs, d_weight.len() / inputs);
    let dy = Matrix::new(dy, rows, outputs).transposed();
    let x = Matrix::new(x, rows, inputs);
    matmul(d_weight, inputs, true, 1.0, dy, x)
}

/// `y += b` on every row.
///
/// # Errors
/// The launch fails.
pub fn add_bias<T: Float>(y: SliceMut<T>, bias: Slice<f32>) -> Result<()> {
    assert_eq!(y.len() % bias.len(), 0, "rows of a bias");
    let values = (y.len() as u64).into();
    let arguments = [(&y).into(), bias.into(), values, int(bias.len()).into()];
    y.device
        .launch_for::<T>("add_bias", eighths(y.len()), &arguments)
}

/// `db += Σ_rows dy`.
///
/// # Errors
/// A launch fails, or there is no memory for partial sums.
pub fn backward_bias<T: Float>(d_bias: SliceMut<f32>, dy: Slice<T>) -> Result<()> {
    let outputs = d_bias.len();
    column_sums::add(d_bias, dy, None, dy.len() / outputs, outputs)
}
