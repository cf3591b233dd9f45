//! What is done to every value alone: filling, converting, adding, scaling.
//!
//! Kernels in `kernels/elementwise.cu`.

use super::eighths;
use crate::buffer::{Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;

/// `y = a`.
///
/// # Errors
/// The launch fails.
pub fn fill<T: Float>(y: SliceMut<T>, a: f32) -> Result<()> {
    let arguments = [(&y).into(), a.into(), (y.len() as u64).into()];
    y.device
        .launch_for::<T>("fill", eighths(y.len()), &arguments)
}

/// `y = x`, rounded to nearest if `Y` is shorter.
///
/// # Errors
/// The launch fails.
pub fn convert<Y: Float, X: Float>(y: SliceMut<Y>, x: Slice<X>) -> Result<()> {
    assert_eq!(y.len(), x.len(), "values to convert");
    let arguments = [(&y).into(), x.into(), (y.len() as u64).into()];
    let kernel = format!("convert_{}_{}", Y::SUFFIX, X::SUFFIX);
    y.device.launch(&kernel, eighths(y.len()), &arguments)
}

/// `y += a x`.
///
/// # Errors
/// The launch fails.
pub fn add_scaled<Y: Float, X: Float>(y: SliceMut<Y>, a: f32, x: Slice<X>) -> Result<()> {
    assert_eq!(y.len(), x.len(), "values to add");
    let arguments = [(&y).into(), x.into(), a.into(), (y.len() as u64).into()];
    let kernel = format!("add_scaled_{}_{}", Y::SUFFIX, X::SUFFIX);
    y.device.launch(&kernel, eighths(y.len()), &arguments)
}

/// `y *= a`.
///
/// # Errors
/// The launch fails.
pub fn scale<T: Float>(y: SliceMut<T>, a: f32) -> Result<()> {
    let arguments = [(&y).into(), a.into(), (y.len() as u64).into()];
    y.device
        .launch_for::<T>("scale", eighths(y.len()), &arguments)
}
