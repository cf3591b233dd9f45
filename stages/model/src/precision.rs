//! In which numbers the products of a network are computed, and what it keeps between passes.
//!
//! [`Precision::Bf16`] rounds both operands of every matrix product to bfloat16 (8 bits of
//! mantissa, the range of f32), adds in f32, and keeps activations as bfloat16: PyTorch's
//! autocast on one's own terms. Weights, their gradients, the optimiser's state, norms, softmax
//! and the residual stream stay f32: the f32 weights are the master, the bfloat16 working copy is
//! made while a product lays its operand out. Chosen by `Workspace`, read by `ops`.

#![allow(clippy::inline_always)] // must vectorise inside its callers

use half::bf16;
use serde::{Deserialize, Serialize};

/// The numbers that matrix products multiply; they add in f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    F32,
    /// Operands and kept activations in bfloat16.
    Bf16,
}

/// A number as it lies in memory: f32 or bfloat16.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// As f32, exactly.
    fn widen(self) -> f32;

    /// The nearest value of this kind, ties to even; NaN stays NaN.
    fn narrow(value: f32) -> Self;

    /// The bits of the nearest bfloat16.
    fn half_bits(self) -> u16;

    /// The values as f32, if that is what they are.
    fn floats(values: &[Self]) -> Option<&[f32]>;

    /// As [`Element::floats`], to write to.
    fn floats_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn half_bits(self) -> u16 {
        let bits = self.to_bits();
        // A carry out of the mantissa rightly reaches the exponent, but must not leave a NaN's.
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let quiet = bits | 0x0040_0000;
        ((if self.is_nan() { quiet } else { rounded }) >> 16) as u16
    }

    fn floats(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    fn floats_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        Self::from_bits(value.half_bits())
    }

    #[inline(always)]
    fn half_bits(self) -> u16 {
        self.to_bits()
    }

    fn floats(_values: &[Self]) -> Option<&[f32]> {
        None
    }

    fn floats_mut(_values: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Element;
    use half::bf16;

    #[test]
    fn rounding_is_to_nearest_even_and_keeps_what_is_not_finite() {
        for step in 0..=u32::MAX / 4099 {
            let value = f32::from_bits(step * 4099);
            let expected = bf16::from_f32(value);
            let found = bf16::narrow(value);
            assert!(
                found == expected || found.is_nan() && expected.is_nan(),
                "{value}: {found} and {expected}"
            );
        }
        assert!(bf16::narrow(f32::from_bits(0x7fff_ffff)).is_nan());
        assert!(bf16::narrow(f32::from_bits(0xffff_ffff)).is_nan());
        assert_eq!(bf16::narrow(f32::INFINITY), bf16::INFINITY);
        assert_eq!(bf16::narrow(f32::MAX), bf16::INFINITY);
    }
}
