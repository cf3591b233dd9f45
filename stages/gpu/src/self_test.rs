//! Every operation of a device held against the same formula in plain Rust.
//!
//! Called by `iota doctor --gpu-selftest` on a GPU, and by the tests on the emulated device.
//! Inputs are random, of sizes that fit no tile, rounded to the element type before either side
//! sees them; references compute in f64. A difference is the largest one, as a share of the
//! largest expected value; what it may be is one number per element type and kind of operation.
//! [`small_self_test`] leaves out the sizes that only a real GPU can do in time.

mod attention;
mod rows;
mod sampling;
mod tensors;

use crate::buffer::{Buffer, Slice};
use crate::device::Device;
use crate::element::Float;
use crate::error::Result;
use half::bf16;

/// What one comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Operation and pass, such as "rmsnorm backward: dx".
    pub operation: String,
    /// Element type of activations.
    pub element: &'static str,
    /// Sizes.
    pub case: String,
    /// Largest difference, as a share of the largest expected value; NaN if anything is NaN.
    pub difference: f64,
    /// What it may be.
    pub tolerance: f64,
}

impl Outcome {
    /// Whether the difference is small enough.
    pub fn passed(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// Runs all comparisons, large sizes among them.
///
/// # Errors
/// An operation fails altogether.
pub fn self_test(device: &Device) -> Result<Vec<Outcome>> {
    run(device, true)
}

/// Runs the comparisons that an emulation can do in time.
///
/// # Errors
/// An operation fails altogether.
pub fn small_self_test(device: &Device) -> Result<Vec<Outcome>> {
    run(device, false)
}

fn run(device: &Device, large: bool) -> Result<Vec<Outcome>> {
    let mut test = Test {
        device,
        outcomes: Vec::new(),
        random: Random(0x2545_f491_4f6c_dd1d),
        large,
    };
    tensors::all::<f32>(&mut test)?;
    tensors::all::<bf16>(&mut test)?;
    tensors::optimizer(&mut test)?;
    rows::all::<f32>(&mut test)?;
    rows::all::<bf16>(&mut test)?;
    attention::all::<f32>(&mut test)?;
    attention::all::<bf16>(&mut test)?;
    sampling::all::<f32>(&mut test)?;
    sampling::all::<bf16>(&mut test)?;
    device.synchronise()?;
    Ok(test.outcomes)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }
}

/// Values on both sides.
struct Pair<T: Float> {
    device: Buffer<T>,
    /// What the device has, exactly.
    host: Vec<f64>,
}

impl<T: Float> Pair<T> {
    fn view(&self) -> Slice<'_, T> {
        self.device.view()
    }
}

struct Test<'a> {
    device: &'a Device,
    outcomes: Vec<Outcome>,
    random: Random,
    /// Whether there is time for large sizes.
    large: bool,
}

impl Test<'_> {
    /// Random values between -scale and scale.
    fn values<T: Float>(&mut self, length: usize, scale: f64) -> Result<Pair<T>> {
        let values: Vec<T> = (0..length)
            .map(|_| T::narrow(((self.random.uniform() * 2.0 - 1.0) * scale) as f32))
            .collect();
        Ok(Pair {
            device: self.device.upload(&values)?,
            host: values.iter().map(|v| f64::from(v.widen())).collect(),
        })
    }

    /// Compares what the device has with what it should have.
    fn compare<T: Float>(
        &mut self,
        element: &'static str,
        operation: &str,
        case: &str,
        found: Slice<T>,
        expected: &[f64],
        tolerance: f64,
    ) -> Result<()> {
        let found = found.download()?;
        assert_eq!(found.len(), expected.len(), "{operation}: values");
        let largest = expected.iter().fold(1e-30_f64, |a, b| a.max(b.abs()));
        let mut difference = 0.0_f64;
        for (found, expected) in found.iter().zip(expected) {
            let one = (f64::from(found.widen()) - expected).abs() / largest;
            // NaN must not be lost in a maximum.
            if one.is_nan() || one > difference {
                difference = one;
            }
            if difference.is_nan() {
                break;
            }
        }
        self.outcomes.push(Outcome {
            operation: operation.to_owned(),
            element,
            case: case.to_owned(),
            difference,
            tolerance,
        });
        Ok(())
    }
}

/// The tolerance of results in `T`: a few roundings of f32 sums, or two of bf16.
fn tolerance<T: Float>() -> f64 {
    if size_of::<T>() == 4 { 2e-5 } else { 8e-3 }
}
