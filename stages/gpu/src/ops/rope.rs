//! Rotary positions: each pair `(x_i, x_{i + D/2})` of a head turns by its position's angle.
//!
//! In place on rows of fused queries, keys and values: attention reads its heads from these rows,
//! so nothing is moved to another layout and back. The backward pass is the turn by the opposite
//! angle. Kernels in `kernels/rope.cu`.

use super::{THREADS, int};
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// Cosines and sines of every position, `[positions, D / 2]` each.
pub struct Table {
    half: usize,
    cosines: Buffer<f32>,
    sines: Buffer<f32>,
}

/// Which way heads turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the position's angle.
    Forward,
    /// Back.
    Backward,
}

impl Table {
    /// Copies a table of the host, with `half` = D / 2 values per position.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(device: &Device, half: usize, cosines: &[f32], sines: &[f32]) -> Result<Self> {
        assert_eq!(cosines.len(), sines.len(), "cosines and sines");
        assert_eq!(cosines.len() % half, 0, "rows of cosines");
        Ok(Self {
            half,
            cosines: device.upload(cosines)?,
            sines: device.upload(sines)?,
        })
    }

    /// Number of positions.
    pub fn positions(&self) -> usize {
        self.cosines.len() / self.half
    }
}

/// Turns the first `heads` heads of every row of `x` `[tokens, stride]`; positions must be below
/// the table's.
///
/// # Errors
/// The launch fails.
pub fn turn<T: Float>(
    x: SliceMut<T>,
    stride: usize,
    heads: usize,
    table: &Table,
    positions: Slice<u32>,
    direction: Direction,
) -> Result<()> {
    let tokens = positions.len();
    assert!(stride >= heads * 2 * table.half, "heads in a row");
    assert_eq!(x.len(), tokens * stride, "rows of heads");
    let threads = tokens * heads * table.half.div_ceil(8);
    let arguments = [
        (&x).into(),
        table.cosines.view().into(),
        table.sines.view().into(),
        positions.into(),
        int(tokens).into(),
        (stride as u64).into(),
        int(heads).into(),
        int(table.half).into(),
        match direction {
            Direction::Forward => 1.0_f32.into(),
            Direction::Backward => (-1.0_f32).into(),
        },
    ];
    let grid = Grid::new(threads.div_ceil(THREADS as usize), THREADS);
    x.device.launch_for::<T>("rope", grid, &arguments)
}
