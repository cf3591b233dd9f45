//! Loops over slices that the compiler turns into vector instructions.
//!
//! Used by every other operation. `vectorised!` compiles a function twice, for the plain
//! target and for AVX2 with FMA, and chooses at run time. Sums run over 16 fixed lanes and
//! multiply-adds are fused in both versions, so both give the same bits.

use rayon::prelude::*;

use crate::precision::Element;

/// Compiles a function for AVX2 + FMA beside the plain target and picks one at each call.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$kind:ident: $bound:ident>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$kind: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::inline_always)] // the body must be compiled inside the feature gate
            fn body $(<$kind: $bound>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide $(<$kind: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    #[allow(unsafe_code)]
                    // SAFETY: the processor was just seen to have both features.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use vectorised;

/// Lanes of a sum; two AVX registers.
const LANES: usize = 16;

/// e^x to 2 units in the last place, for x between -87 and 88 and clamped outside; NaN stays.
#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r, |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to the integer n and leaves
    // its low bits where the exponent is made from them.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-355.0 / 512.0, x);
    let r = n.mul_add(2.121_944_4e-4, r); // 355/512 - ln 2
    // Taylor to degree 7: the remainder is below half a unit in the last place.
    let mut p = 1.0 / 5040.0;
    p = r.mul_add(p, 1.0 / 720.0);
    p = r.mul_add(p, 1.0 / 120.0);
    p = r.mul_add(p, 1.0 / 24.0);
    p = r.mul_add(p, 1.0 / 6.0);
    p = r.mul_add(p, 0.5);
    p = r.mul_add(p, 1.0);
    p = r.mul_add(p, 1.0);
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// 1 / (1 + e^-x).
#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
fn add_lanes(lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut sums = lanes;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

vectorised! {
    /// Sum of products.
    pub fn dot<T: Element>(a: &[f32], b: &[T]) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a_blocks.remainder(), b_blocks.remainder());
        for (x, y) in a_blocks.zip(b_blocks) {
            for i in 0..LANES {
                lanes[i] = x[i].mul_add(y[i].widen(), lanes[i]);
            }
        }
        for (i, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
            lanes[i] = x.mul_add(y.widen(), lanes[i]);
        }
        add_lanes(lanes)
    }
}

vectorised! {
    /// `y += a x`.
    pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = a.mul_add(*x, *y);
        }
    }
}

vectorised! {
    /// `y *= a`.
    pub fn scale(y: &mut [f32], a: f32) {
        for y in y {
            *y *= a;
        }
    }
}

vectorised! {
    /// The largest value; negative infinity for an empty slice. NaN may be passed over: the
    /// sums of exponentials that follow carry it on.
    pub fn max(values: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let blocks = values.chunks_exact(LANES);
        let rest = blocks.remainder();
        for x in blocks {
            for i in 0..LANES {
                lanes[i] = if lanes[i] >= x[i] { lanes[i] } else { x[i] };
            }
        }
        for (i, x) in rest.iter().enumerate() {
            lanes[i] = if lanes[i] >= *x { lanes[i] } else { *x };
        }
        let mut best = lanes[0];
        for lane in lanes {
            if lane > best {
                best = lane;
            }
        }
        best
    }
}

vectorised! {
    /// Replaces every `x` by `e^(x - shift)` and returns their sum.
    pub fn exp_in_place(values: &mut [f32], shift: f32) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let mut blocks = values.chunks_exact_mut(LANES);
        for x in &mut blocks {
            for i in 0..LANES {
                x[i] = exp(x[i] - shift);
                lanes[i] += x[i];
            }
        }
        for (i, x) in blocks.into_remainder().iter_mut().enumerate() {
            *x = exp(*x - shift);
            lanes[i] += *x;
        }
        add_lanes(lanes)
    }
}

vectorised! {
    /// The sum of `e^(x - shift)`, leaving the values as they are.
    pub fn exp_sum(values: &[f32], shift: f32) -> f32 {
        let mut lanes = [0.0_f32; LANES];
        let blocks = values.chunks_exact(LANES);
        let rest = blocks.remainder();
        for x in blocks {
            for i in 0..LANES {
                lanes[i] += exp(x[i] - shift);
            }
        }
        for (i, x) in rest.iter().enumerate() {
            lanes[i] += exp(*x - shift);
        }
        add_lanes(lanes)
    }
}

vectorised! {
    fn narrow_chunk<T: Element>(to: &mut [T], from: &[f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = T::narrow(*from);
        }
    }
}

/// Copies, rounding to what `to` holds.
pub fn narrow<T: Element>(to: &mut [T], from: &[f32]) {
    const TASK: usize = 1 << 15;
    (to.par_chunks_mut(TASK), from.par_chunks(TASK))
        .into_par_iter()
        .for_each(|(to, from)| narrow_chunk(to, from));
}

/// ln of the sum of `e^x`.
pub fn log_sum_exp(values: &[f32]) -> f32 {
    let largest = max(values);
    largest + exp_sum(values, largest).ln()
}

/// Values of a task that only moves memory.
const MOVED: usize = 1 << 16;

/// Copies on all threads.
///
/// # Panics
/// The lengths differ.
pub fn copy(to: &mut [f32], from: &[f32]) {
    assert_eq!(to.len(), from.len(), "a copy has the length of its source");
    (to.par_chunks_mut(MOVED), from.par_chunks(MOVED))
        .into_par_iter()
        .for_each(|(to, from)| to.copy_from_slice(from));
}

/// Sets every value to 0 on all threads.
pub fn clear(values: &mut [f32]) {
    values
        .par_chunks_mut(MOVED)
        .for_each(|values| values.fill(0.0));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for i in -8_600_000..8_700_000 {
            let x = i as f32 * 1e-5;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(super::exp(x)) - exact).abs() / exact);
        }
        assert!(
            worst < 2.0 * f64::from(f32::EPSILON),
            "relative error {worst:e}"
        );
        assert!(super::exp(f32::NAN).is_nan());
        assert!(super::exp(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(super::exp(0.0), 1.0);
    }

    #[test]
    fn sums_cover_every_length() {
        for length in 0..70_usize {
            let values: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin()).collect();
            let expected: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            assert!((f64::from(super::dot(&values, &values)) - expected).abs() < 1e-4);
            let expected: f64 = values.iter().map(|&x| f64::from(x).exp()).sum();
            let mut in_place = values.clone();
            assert!((f64::from(super::exp_in_place(&mut in_place, 0.0)) - expected).abs() < 1e-4);
            assert!((f64::from(super::exp_sum(&values, 0.0)) - expected).abs() < 1e-4);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(super::max(&values), largest);
        }
    }
}
