//! RMSNorm: `y = w ⊙ x r`, with `r = 1 / √(mean(x²) + eps)` per row.
//!
//! Backward, with `g = dy ⊙ w` and width `d`: `dx = r (g − x r² (g·x) / d)`, `dw += Σ_rows
//! dy ⊙ x r`. `x` is the residual stream, f32; `y` is what products read. [`add_forward`] puts
//! a branch's result into the stream on the way. Kernels in `kernels/rmsnorm.cu`.

use super::{column_sums, int, row_threads, warps};
use crate::buffer::{Slice, SliceMut};
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

fn check(rows: usize, values: usize, width: usize) {
    assert_eq!(values, rows * width, "rows of a norm");
}

/// Writes `y` `[rows, width]` and the reciprocal roots `[rows]`.
///
/// # Errors
/// The launch fails.
pub fn forward<T: Float>(
    y: SliceMut<T>,
    reciprocal: SliceMut<f32>,
    x: Slice<f32>,
    weight: Slice<f32>,
    eps: f32,
) -> Result<()> {
    let (rows, width) = (reciprocal.len(), weight.len());
    check(rows, y.len(), width);
    check(rows, x.len(), width);
    let arguments = [
        (&y).into(),
        (&reciprocal).into(),
        x.into(),
        weight.into(),
        eps.into(),
        int(rows).into(),
        int(width).into(),
    ];
    y.device
        .launch_for::<T>("rmsnorm_forward", warps(rows), &arguments)
}

/// `sum = x + branch`, then [`forward`] of `sum`.
///
/// # Errors
/// The launch fails.
pub fn add_forward<T: Float>(
    y: SliceMut<T>,
    reciprocal: SliceMut<f32>,
    sum: SliceMut<f32>,
    x: Slice<f32>,
    branch: Slice<T>,
    weight: Slice<f32>,
    eps: f32,
) -> Result<()> {
    let (rows, width) = (reciprocal.len(), weight.len());
    for length in [y.len(), sum.len(), x.len(), branch.len()] {
        check(rows, length, width);
    }
    let arguments = [
        (&y).into(),
        (&reciprocal).into(),
        (&sum).into(),
        x.into(),
        branch.into(),
        weight.into(),
        eps.into(),
        int(rows).into(),
        int(width).into(),
    ];
    y.device
        .launch_for::<T>("rmsnorm_add_forward", warps(rows), &arguments)
}

/// Writes `y` again from the saved reciprocal roots.
///
/// # Errors
/// The launch fails.
pub fn recompute<T: Float>(
    y: SliceMut<T>,
    reciprocal: Slice<f32>,
    x: Slice<f32>,
    weight: Slice<f32>,
) -> Result<()> {
    let (rows, width) = (reciprocal.len(), weight.len());
    check(rows, y.len(), width);
    check(rows, x.len(), width);
    let arguments = [
        (&y).into(),
        reciprocal.into(),
        x.into(),
        weight.into(),
        int(rows).into(),
        int(width).into(),
    ];
    y.device
        .launch_for::<T>("rmsnorm_recompute", warps(rows), &arguments)
}

/// `dx += …` (the residual stream collects) and, unless frozen, `dw += …`; the new `dx` is also
/// written to `copy`, for the products that read it next.
///
/// # Errors
/// A launch fails, or there is no memory for partial sums.
pub fn backward<T: Float>(
    dx: SliceMut<f32>,
    copy: Option<SliceMut<T>>,
    d_weight: Option<SliceMut<f32>>,
    dy: Slice<T>,
    reciprocal: Slice<f32>,
    x: Slice<f32>,
    weight: Slice<f32>,
) -> Result<()> {
    let (rows, width) = (reciprocal.len(), weight.len());
    for length in [dx.len(), dy.len(), x.len()] {
        check(rows, length, width);
    }
    if let Some(copy) = &copy {
        check(rows, copy.len(), width);
    }
    let device = dx.device;
    let rows_per_block = column_sums::rows_per_part(rows);
    let blocks = rows.div_ceil(rows_per_block);
    let mut partial = match d_weight {
        Some(_) => Some(device.empty::<f32>(blocks * width)?),
        None => None,
    };
    let grid = Grid::new(blocks, row_threads(width)).shared(match d_weight {
        Some(_) => width * size_of::<f32>(),
        None => 0,
    });
    let arguments = [
        (&dx).into(),
        (&copy).into(),
        (&partial.as_mut().map(|partial| partial.view_mut())).into(),
        dy.into(),
        reciprocal.into(),
        x.into(),
        weight.into(),
        int(rows).into(),
        int(width).into(),
        int(rows_per_block).into(),
    ];
    device.launch_for::<T>("rmsnorm_backward", grid, &arguments)?;
    match (d_weight, &partial) {
        (Some(d_weight), Some(partial)) => column_sums::finish(d_weight, partial.view(), blocks),
        _ => Ok(()),
    }
}
