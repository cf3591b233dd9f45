//! `y = scale x Wᵀ` for decoding: each row's bits are the same whatever rows are beside it.
//!
//! cuBLAS picks its kernel by the number of rows, and with it the order of sums; a sample must not
//! depend on the batch that it was drawn in. Meant for few rows, where reading the weights is what
//! takes the time. Kernels in `kernels/row_product.cu`.

use super::int;
use super::matmul::Output;
use crate::buffer::{Slice, SliceMut};
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// `y` `[rows, outputs]` from `x` `[rows, inputs]` and `weight` `[outputs, inputs]`; `inputs` is a
/// multiple of 8, and both addresses of 16 bytes.
///
/// # Errors
/// The launch fails.
pub fn row_product<T: Float, O: Output<T>>(
    y: SliceMut<O>,
    x: Slice<T>,
    weight: Slice<T>,
    inputs: usize,
    scale: f32,
) -> Result<()> {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    assert_eq!(inputs % 8, 0, "inputs of a row product");
    assert_eq!(y.len(), rows * outputs, "outputs of a row product");
    let arguments = [
        (&y).into(),
        x.into(),
        weight.into(),
        int(rows).into(),
        int(outputs).into(),
        int(inputs).into(),
        scale.into(),
    ];
    let (kernel, tile) = match (T::SUFFIX, rows) {
        ("f32", _) => ("row_product_f32".to_owned(), [8, 8]),
        (_, 0..=16) => (format!("row_product_16_{}_bf16", O::SUFFIX), [16, 16]),
        _ => (format!("row_product_64_{}_bf16", O::SUFFIX), [64, 32]),
    };
    let blocks = [outputs.div_ceil(tile[1]), rows.div_ceil(tile[0]), 1];
    y.device.launch(&kernel, Grid::of(blocks, 256), &arguments)
}
