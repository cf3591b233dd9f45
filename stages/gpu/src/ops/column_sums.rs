//! `out[c] += Σ_r weight[r] x[r, c]`, for gradients of biases, norms and scalar heads.
//!
//! Rows are summed in parts of a size that the number of rows alone decides, parts in a fixed
//! order. Kernels in `kernels/column_sums.cu`.

use super::{THREADS, int};
use crate::buffer::{Slice, SliceMut};
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// Most parts that rows are cut into.
const PARTS: usize = 1024;

/// How many rows a part has.
pub(super) fn rows_per_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).max(8)
}

/// Adds the weighted sums of the columns of `x` `[rows, cols]`, rows `stride` apart.
pub(super) fn add<T: Float>(
    out: SliceMut<f32>,
    x: Slice<T>,
    weights: Option<Slice<f32>>,
    rows: usize,
    stride: usize,
) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let cols = out.len();
    assert!(
        stride >= cols && x.len() >= (rows - 1) * stride + cols,
        "{rows} rows of {cols} columns"
    );
    let rows_per_part = rows_per_part(rows);
    let parts = rows.div_ceil(rows_per_part);
    let mut partial = out.device.empty::<f32>(parts * cols)?;
    let threads = super::row_threads(cols);
    let grid = Grid::of([parts, cols.div_ceil(8 * threads as usize), 1], threads);
    let arguments = [
        (&partial.view_mut()).into(),
        x.into(),
        weights.into(),
        int(rows).into(),
        int(cols).into(),
        (stride as u64).into(),
        int(rows_per_part).into(),
    ];
    out.device
        .launch_for::<T>("column_sums", grid, &arguments)?;
    finish(out, partial.view(), parts)
}

/// Adds `parts` rows of `partial` to `out`.
pub(super) fn finish(out: SliceMut<f32>, partial: Slice<f32>, parts: usize) -> Result<()> {
    let cols = out.len();
    assert_eq!(partial.len(), parts * cols, "partial sums");
    let arguments = [
        (&out).into(),
        partial.into(),
        int(parts).into(),
        int(cols).into(),
    ];
    let grid = Grid::new(cols.div_ceil(32), THREADS);
    out.device.launch("column_sums_finish", grid, &arguments)
}
