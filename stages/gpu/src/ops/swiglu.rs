//! SwiGLU: `y = silu(g) ⊙ u`, with `silu(g) = g σ(g)`; gate and up side by side, as one product
//! of fused weights writes them. Kernels in `kernels/swiglu.cu`.

use super::{eighths, int};
use crate::buffer::{Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;

/// `y` `[rows, inner]` from `gate_up` `[rows, gate | up]`.
///
/// # Errors
/// The launch fails.
pub fn forward<T: Float>(y: SliceMut<T>, gate_up: Slice<T>, inner: usize) -> Result<()> {
    assert_eq!(gate_up.len(), 2 * y.len(), "gate and up");
    assert_eq!(y.len() % inner, 0, "rows of gate and up");
    let values = (y.len() as u64).into();
    let arguments = [(&y).into(), gate_up.into(), values, int(inner).into()];
    y.device
        .launch_for::<T>("swiglu_forward", eighths(y.len()), &arguments)
}

/// Turns `gate_up` into its gradient, and `dy` into the product `y`.
///
/// # Errors
/// The launch fails.
pub fn backward<T: Float>(dy_to_y: SliceMut<T>, gate_up: SliceMut<T>, inner: usize) -> Result<()> {
    assert_eq!(gate_up.len(), 2 * dy_to_y.len(), "gate and up");
    assert_eq!(dy_to_y.len() % inner, 0, "rows of gate and up");
    let values = (dy_to_y.len() as u64).into();
    let arguments = [
        (&dy_to_y).into(),
        (&gate_up).into(),
        values,
        int(inner).into(),
    ];
    dy_to_y
        .device
        .launch_for::<T>("swiglu_backward", eighths(dy_to_y.len()), &arguments)
}
