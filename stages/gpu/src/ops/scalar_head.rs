//! A head with one output per token: scores of a reward model, values of PPO:
//! `v_t = w · h_t + b`.
//!
//! Backward, given `dv`: `dw += Σ_t dv_t h_t`, `db += Σ_t dv_t`, `dh_t += dv_t w`. Kernels in
//! `kernels/scalar_head.cu`.

use super::{column_sums, int, warps};
use crate::buffer::{Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;

/// The value of every row of `hidden` `[tokens, width]`; `bias` has one value.
///
/// # Errors
/// The launch fails.
pub fn forward<T: Float>(
    values: SliceMut<f32>,
    hidden: Slice<T>,
    weight: Slice<f32>,
    bias: Option<Slice<f32>>,
) -> Result<()> {
    let (rows, width) = (values.len(), weight.len());
    assert_eq!(hidden.len(), rows * width, "a value per token");
    let arguments = [
        (&values).into(),
        hidden.into(),
        weight.into(),
        bias.into(),
        int(rows).into(),
        int(width).into(),
    ];
    values
        .device
        .launch_for::<T>("scalar_head_forward", warps(rows), &arguments)
}

/// Adds to `d_hidden` `[tokens, width]`, to `d_weight` and to `d_bias` (each unless frozen), given
/// one derivative per token.
///
/// # Errors
/// A launch fails, or there is no memory for partial sums.
pub fn backward<T: Float>(
    d_hidden: SliceMut<f32>,
    d_weight: Option<SliceMut<f32>>,
    d_bias: Option<SliceMut<f32>>,
    d_values: Slice<f32>,
    hidden: Slice<T>,
    weight: Slice<f32>,
) -> Result<()> {
    let (rows, width) = (d_values.len(), weight.len());
    assert_eq!(hidden.len(), rows * width, "a derivative per token");
    assert_eq!(d_hidden.len(), rows * width, "a gradient per token");
    let arguments = [
        (&d_hidden).into(),
        d_values.into(),
        weight.into(),
        int(rows).into(),
        int(width).into(),
    ];
    d_hidden
        .device
        .launch("scalar_head_backward", warps(rows), &arguments)?;
    if let Some(d_weight) = d_weight {
        assert_eq!(d_weight.len(), width, "the weight's gradient");
        column_sums::add(d_weight, hidden, Some(d_values), rows, width)?;
    }
    if let Some(d_bias) = d_bias {
        assert_eq!(d_bias.len(), 1, "the bias's gradient");
        column_sums::add(d_bias, d_values, None, rows, 1)?;
    }
    Ok(())
}
