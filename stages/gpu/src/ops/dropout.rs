//! Dropout of an adapter's inputs, with the mask that `model::ops::low_rank` draws.
//!
//! Whether a value is kept is a function of the key and the value's number alone, so both passes
//! and both kinds of device draw the same mask. Kernels in `kernels/dropout.cu`.

use super::eighths;
use crate::buffer::{Slice, SliceMut};
use crate::driver::Argument;
use crate::element::Float;
use crate::error::Result;

/// Which inputs are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Names the mask: one per linear layer and pass over data.
    pub key: u64,
    /// Share of inputs set to 0; the others are divided by `1 - probability`.
    pub probability: f32,
    /// Row of the mask that belongs to the first row of `x`.
    pub first_row: usize,
}

impl Dropout {
    fn launch<T: Float>(self, y: &SliceMut<T>, x: Argument, width: usize) -> Result<()> {
        assert_eq!(y.len() % width, 0, "rows of inputs");
        let threshold = (f64::from(self.probability) * 2.0_f64.powi(32)) as u64;
        let arguments = [
            y.into(),
            x,
            (y.len() as u64).into(),
            self.key.into(),
            ((self.first_row * width) as u64).into(),
            threshold.into(),
            (1.0 / (1.0 - self.probability)).into(),
        ];
        y.device
            .launch_for::<T>("dropout", eighths(y.len()), &arguments)
    }

    /// `y = drop(x)`, rows of `width`.
    ///
    /// # Errors
    /// The launch fails.
    pub fn apply<T: Float>(self, y: SliceMut<T>, x: Slice<T>, width: usize) -> Result<()> {
        assert_eq!(y.len(), x.len(), "values to drop");
        self.launch(&y, x.into(), width)
    }

    /// `y = drop(y)`, rows of `width`.
    ///
    /// # Errors
    /// The launch fails.
    pub fn apply_in_place<T: Float>(self, y: SliceMut<T>, width: usize) -> Result<()> {
        self.launch(&y, (&y).into(), width)
    }
}
