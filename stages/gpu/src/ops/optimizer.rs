//! AdamW over all tensors in one launch, and the norm of all gradients.
//!
//! `m ← β1 m + (1−β1) g`, `v ← β2 v + (1−β2) g²`, `θ ← θ (1 − lr λ) − lr m̂ / (√v̂ + eps)`, with
//! `g` first multiplied by a number in device memory: the clip coefficient that [`norm`] leaves
//! there, so that a step asks the host nothing. `θ` is f32, and written again as bf16 where
//! products read it. Kernels in `kernels/optimizer.cu`.

use super::THREADS;
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;
use half::bf16;

/// Values of a block; as in the kernels.
const CHUNK: usize = 16384;

/// One tensor of an update; all parts have the same length.
pub struct Tensor<'a> {
    /// The f32 values.
    pub values: SliceMut<'a, f32>,
    /// First moment.
    pub first: SliceMut<'a, f32>,
    /// Second moment.
    pub second: SliceMut<'a, f32>,
    /// The gradient.
    pub gradient: Slice<'a, f32>,
    /// Where the values are written again for products.
    pub copy: Option<SliceMut<'a, bf16>>,
    /// Whether weight decay acts on it.
    pub decays: bool,
}

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Of this update.
    pub learning_rate: f64,
    /// Number of this update, from 1.
    pub step: u64,
}

/// The chunks of tensors of the given lengths, `[tensor, chunk]` each.
fn chunks(lengths: impl Iterator<Item = usize>) -> Vec<u32> {
    lengths
        .enumerate()
        .flat_map(|(tensor, length)| {
            (0..length.div_ceil(CHUNK)).flat_map(move |chunk| [tensor as u32, chunk as u32])
        })
        .collect()
}

impl AdamW {
    /// Updates every tensor, with gradients multiplied by the value of `gradient_scale` first.
    ///
    /// # Errors
    /// The launch fails, or there is no memory for the table of tensors.
    pub fn update(
        &self,
        device: &Device,
        tensors: &mut [Tensor],
        gradient_scale: Option<Slice<f32>>,
    ) -> Result<()> {
        let table: Vec<u64> = tensors
            .iter()
            .flat_map(|tensor| {
                let length = tensor.values.len();
                let lengths = [
                    tensor.first.len(),
                    tensor.second.len(),
                    tensor.gradient.len(),
                ];
                assert_eq!(lengths, [length; 3], "parts of a tensor");
                if let Some(copy) = &tensor.copy {
                    assert_eq!(copy.len(), length, "a tensor's copy");
                }
                [
                    tensor.values.address(),
                    tensor.first.address(),
                    tensor.second.address(),
                    tensor.gradient.address(),
                    tensor.copy.as_ref().map_or(0, SliceMut::address),
                    length as u64,
                    u64::from(tensor.decays),
                ]
            })
            .collect();
        let chunks = chunks(tensors.iter().map(|tensor| tensor.values.len()));
        let blocks = chunks.len() / 2;
        let (table, chunks) = (device.upload(&table)?, device.upload(&chunks)?);
        let correction = |beta: f64| 1.0 - beta.powi(self.step as i32);
        let arguments = [
            table.view().into(),
            chunks.view().into(),
            gradient_scale.into(),
            (self.beta1 as f32).into(),
            ((1.0 - self.beta1) as f32).into(),
            (self.beta2 as f32).into(),
            ((1.0 - self.beta2) as f32).into(),
            (self.eps as f32).into(),
            ((1.0 - self.learning_rate * self.weight_decay) as f32).into(),
            ((self.learning_rate / correction(self.beta1)) as f32).into(),
            ((1.0 / correction(self.beta2).sqrt()) as f32).into(),
        ];
        device.launch("adamw", Grid::new(blocks, THREADS), &arguments)
    }
}

/// Writes the Euclidean norm over all gradients to `out[0]`, and to `out[1]` the factor that brings
/// it to `max_norm` at most: `min(1, max_norm / (norm + 1e-6))`.
///
/// # Errors
/// A launch fails, or there is no memory for partial sums.
pub fn norm(out: SliceMut<f32>, gradients: &[Slice<f32>], max_norm: f32) -> Result<()> {
    assert_eq!(out.len(), 2, "the norm and the factor");
    let device = out.device;
    let table: Vec<u64> = gradients
        .iter()
        .flat_map(|gradient| [gradient.address(), gradient.len() as u64])
        .collect();
    let chunks = chunks(gradients.iter().map(Slice::len));
    let parts = chunks.len() / 2;
    let (table, chunks) = (device.upload(&table)?, device.upload(&chunks)?);
    let mut partial: Buffer<f64> = device.empty(parts)?;
    let arguments = [
        (&partial.view_mut()).into(),
        table.view().into(),
        chunks.view().into(),
    ];
    device.launch("gradient_squares", Grid::new(parts, THREADS), &arguments)?;
    let arguments = [
        (&out).into(),
        partial.view().into(),
        super::int(parts).into(),
        max_norm.into(),
    ];
    device.launch("gradient_norm", Grid::new(1, 1024), &arguments)
}

/// A working copy of f32 values in the precision of products.
///
/// # Errors
/// There is no memory, or the launch fails.
pub fn working_copy<T: Float>(values: Slice<f32>) -> Result<Buffer<T>> {
    let mut copy = values.device().empty(values.len())?;
    super::elementwise::convert(copy.view_mut(), values)?;
    Ok(copy)
}
