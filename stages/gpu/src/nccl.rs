//! Sums over the GPUs of several processes, through NCCL, in an order of additions of our own.
//!
//! Called by `model`'s parameters, for data parallel. `ncclAllReduce` adds in an order that depends
//! on the number of ranks and on what NCCL finds of their connections; so NCCL only carries values
//! here. Every rank owns a part of each piece: it gets that part from all others, adds them in the
//! tree of halves (`sum(a..b) = sum(a..m) + sum(m..b)`), and sends the sum to all. That is as many
//! bytes as a ring sends, `2 (n - 1) / n` of the values each way; what is lost is sums made inside
//! switches. Deliberately absent: overlap with the backward pass, sums in bf16.

use std::sync::Mutex;

use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::{Exchange, Transfer};
use crate::error::{Error, Result, Unavailable};
use crate::ops::elementwise::add_scaled;

/// What one process makes and all others must have to find each other; 128 bytes.
pub type UniqueId = [u8; 128];

/// Most values of a rank's part of a piece; so much memory for every rank is taken beside.
const PART: usize = 1 << 22;

/// A fresh id for a group of processes.
///
/// # Errors
/// NCCL is not here, or fails.
pub fn unique_id() -> Result<UniqueId, Unavailable> {
    #[cfg(feature = "nccl")]
    return crate::driver::cuda::nccl::unique_id();
    #[cfg(not(feature = "nccl"))]
    Err(Unavailable::NotBuiltForNccl)
}

/// NCCL's version and where its library was found.
///
/// # Errors
/// It is not here.
pub fn library() -> Result<(String, String), Unavailable> {
    #[cfg(feature = "nccl")]
    return crate::driver::cuda::nccl::library();
    #[cfg(not(feature = "nccl"))]
    Err(Unavailable::NotBuiltForNccl)
}

/// This process among those that add together.
pub struct Communicator {
    device: Device,
    exchange: Box<dyn Exchange>,
    rank: usize,
    size: usize,
    /// Most values of a rank's part of a piece.
    part: usize,
    /// What others sent; kept from sum to sum.
    received: Mutex<Vec<Buffer<f32>>>,
}

impl Communicator {
    /// Joins the group of `id` as `rank` of `size`; waits until all have come.
    ///
    /// # Errors
    /// NCCL is not here or refuses (two ranks on one GPU, no way between them).
    pub fn new(
        device: &Device,
        id: &UniqueId,
        rank: usize,
        size: usize,
    ) -> Result<Self, Unavailable> {
        Ok(Self {
            exchange: device.driver.join(id, rank, size)?,
            device: device.clone(),
            rank,
            size,
            part: PART,
            received: Mutex::default(),
        })
    }

    /// With smaller pieces, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_part(self, part: usize) -> Self {
        Self { part, ..self }
    }

    /// Replaces `values` by their sum over all ranks; all must call it with as many values. Returns
    /// once the sum is there. `alive` is asked meanwhile whether the others still are: if it fails,
    /// the group is ended, since nothing else would end the wait.
    ///
    /// # Errors
    /// NCCL or the device failed, or what `alive` says.
    pub fn sum<E: From<Error>>(
        &self,
        mut values: SliceMut<f32>,
        alive: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let length = values.len();
        let mut start = 0;
        while start < length {
            let end = (start + self.part * self.size).min(length);
            self.sum_piece(values.reborrow().slice(start..end))?;
            start = end;
        }
        while !self.exchange.is_done()? {
            if let Err(error) = alive() {
                self.exchange.abort();
                return Err(error);
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        Ok(())
    }

    fn sum_piece(&self, mut piece: SliceMut<f32>) -> Result<()> {
        let (length, size) = (piece.len(), self.size);
        let part = |rank: usize| length * rank / size..length * (rank + 1) / size;
        let own = part(self.rank);
        let mut received = self.received.lock().expect("no panic inside");
        let longest = length.div_ceil(size);
        if received.first().is_none_or(|buffer| buffer.len() < longest) {
            received.clear();
            for _ in 0..size {
                received.push(self.device.empty(longest)?);
            }
        }
        let others = || (0..size).filter(|&rank| rank != self.rank);
        let of = |rank: usize, view: &Slice<f32>| Transfer {
            rank,
            address: view.address(),
            count: view.len(),
        };
        let parts: Vec<_> = others()
            .map(|rank| of(rank, &piece.as_slice().slice(part(rank))))
            .collect();
        let places: Vec<_> = others()
            .map(|rank| of(rank, &received[rank].slice(..own.len())))
            .collect();
        self.exchange.run(&parts, &places)?;
        let mine = received[self.rank].slice_mut(..own.len());
        copy(mine, piece.as_slice().slice(own.clone()))?;
        tree(&mut received, own.len())?;
        let sum = received[0].slice(..own.len());
        let sums: Vec<_> = others().map(|rank| of(rank, &sum)).collect();
        // Everybody's part has been sent before its sum arrives in its place: calls are in order,
        // and a rank sends sums only when it has all parts.
        self.exchange.run(&sums, &parts)?;
        copy(piece.reborrow().slice(own), sum)
    }
}

fn copy(mut to: SliceMut<f32>, from: Slice<f32>) -> Result<()> {
    if to.is_empty() {
        return Ok(());
    }
    to.copy_from(from)
}

/// Adds the first `length` values of all into the first buffer, in the tree of halves.
fn tree(parts: &mut [Buffer<f32>], length: usize) -> Result<()> {
    if parts.len() == 1 || length == 0 {
        return Ok(());
    }
    let (lower, upper) = parts.split_at_mut(parts.len() / 2);
    tree(lower, length)?;
    tree(upper, length)?;
    add_scaled(lower[0].slice_mut(..length), 1.0, upper[0].slice(..length))
}
