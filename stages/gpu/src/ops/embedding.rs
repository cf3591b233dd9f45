//! The embedding: `y_t = E[id_t]`; backward `dE[id_t] += dy_t`.
//!
//! The backward pass adds the rows of one id in the order of tokens, a chunk of them at a time,
//! from an [`Index`] that the host makes once per batch. Kernels in `kernels/embedding.cu`.

use super::{int, row_threads, warps};
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// Most rows that one block adds up.
const CHUNK: usize = 32;

/// Which tokens have which id.
pub struct Index {
    tokens: usize,
    rows: usize,
    order: Buffer<u32>,
    chunks: Buffer<u32>,
    chunk_count: usize,
    parts: Buffer<u32>,
    part_count: usize,
    /// Ids of several chunks.
    shared: usize,
}

impl Index {
    /// The index of a batch's ids.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(device: &Device, ids: &[u32]) -> Result<Self> {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|token| ids[*token as usize]);
        let (mut chunks, mut parts) = (Vec::new(), Vec::new());
        let (mut first, mut part_count) = (0, 0);
        for tokens in order.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
            let id = ids[tokens[0] as usize];
            let alone = tokens.len() <= CHUNK;
            if !alone {
                parts.extend([part_count, id]);
            }
            for chunk in tokens.chunks(CHUNK) {
                chunks.extend(if alone {
                    [first, id, 0]
                } else {
                    part_count += 1;
                    [first, part_count - 1, 1]
                });
                first += chunk.len() as u32;
            }
        }
        let (chunk_count, shared) = (chunks.len() / 3, parts.len() / 2);
        chunks.push(first);
        parts.push(part_count);
        Ok(Self {
            tokens: ids.len(),
            rows: ids.iter().max().map_or(0, |id| *id as usize + 1),
            order: device.upload(&order)?,
            chunks: device.upload(&chunks)?,
            chunk_count,
            parts: device.upload(&parts)?,
            part_count: part_count as usize,
            shared,
        })
    }
}

/// Copies one row of `table` `[vocab, width]` per id into `y` `[tokens, width]`; ids must be in
/// the vocabulary.
///
/// # Errors
/// The launch fails.
pub fn forward<T: Float>(
    y: SliceMut<f32>,
    ids: Slice<u32>,
    table: Slice<T>,
    width: usize,
) -> Result<()> {
    assert_eq!(y.len(), ids.len() * width, "a row per id");
    let arguments = [
        (&y).into(),
        ids.into(),
        table.into(),
        int(ids.len()).into(),
        int(width).into(),
    ];
    y.device
        .launch_for::<T>("embedding_forward", warps(ids.len()), &arguments)
}

/// Adds every row of `dy` `[tokens, width]` to the row of its id.
///
/// # Errors
/// A launch fails, or there is no memory for partial sums.
pub fn backward(
    mut d_table: SliceMut<f32>,
    index: &Index,
    dy: Slice<f32>,
    width: usize,
) -> Result<()> {
    assert_eq!(dy.len(), index.tokens * width, "a row per id");
    assert!(d_table.len() >= index.rows * width, "ids of the vocabulary");
    let device = d_table.device;
    let mut partial = device.empty::<f32>(index.part_count * width)?;
    let threads = row_threads(width);
    let arguments = [
        (&d_table.reborrow()).into(),
        (&partial.view_mut()).into(),
        dy.into(),
        index.order.view().into(),
        index.chunks.view().into(),
        int(width).into(),
    ];
    let grid = Grid::new(index.chunk_count, threads);
    device.launch("embedding_backward", grid, &arguments)?;
    let arguments = [
        (&d_table).into(),
        partial.view().into(),
        index.parts.view().into(),
        int(width).into(),
    ];
    let grid = Grid::new(index.shared, threads);
    device.launch("embedding_backward_finish", grid, &arguments)
}
