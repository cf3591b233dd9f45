//! `y = scale x Wᵀ` for decoding: each row's bits are the same whatever rows are beside it.
//!
//! cuBLAS picks its kernel by the number of rows, and with it the order of sums, and does not say
//! that all rows of one product are summed alike; a sample must not depend on the batch that it was
//! drawn in. Here the order depends on `inputs` alone. What is left to assume is that a tensor core
//! computes the rows of a tile alike; the self-test holds that against the device. Meant for few
//! rows, where reading the weights is what takes the time. Kernels in `kernels/row_product.cu`.

use super::int;
use super::matmul::{Output, check};
use crate::buffer::{Slice, SliceMut};
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// `y`, or what is added to it if `accumulate`, from `x` `[rows, inputs]` and `weight`
/// `[outputs, inputs]`; `y` is `[rows, outputs]` with rows `stride` values apart. Fastest where
/// `inputs` is a multiple of 8.
///
/// # Errors
/// The launch fails.
///
/// # Panics
/// The sizes do not fit.
pub fn row_product<T: Float, O: Output<T>>(
    y: SliceMut<O>,
    stride: usize,
    accumulate: bool,
    scale: f32,
    x: Slice<T>,
    weight: Slice<T>,
    inputs: usize,
) -> Result<()> {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    check(y.len(), rows, outputs, stride);
    let arguments = [
        (&y).into(),
        x.into(),
        weight.into(),
        int(rows).into(),
        int(outputs).into(),
        int(inputs).into(),
        (stride as u64).into(),
        i32::from(accumulate).into(),
        scale.into(),
    ];
    let (kernel, tile) = match (T::SUFFIX, rows) {
        ("f32", _) => ("row_product_f32".to_owned(), [8, 8]),
        (_, 0..=16) => (format!("row_product_16_{}_bf16", O::SUFFIX), [16, 16]),
        _ => (format!("row_product_64_{}_bf16", O::SUFFIX), [64, 32]),
    };
    let blocks = [rows.div_ceil(tile[0]), outputs.div_ceil(tile[1]), 1];
    y.device.launch(&kernel, Grid::of(blocks, 256), &arguments)
}
