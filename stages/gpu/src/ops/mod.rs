//! The network's operations on a device, one per file: formula, sizes, launches.
//!
//! The formulas are those of `model::ops`; a kernel's own text is in `kernels/`. All matrices are
//! row-major, tokens are rows. Activations are f32 or bf16, arithmetic is f32; the residual stream,
//! gradients of weights, norms' weights, moments and log-probabilities are f32. Weight gradients
//! are added to what is there. Sizes that do not fit are a panic: they are the caller's mistake.
//! Every sum is in an order that sizes alone decide: the same inputs give the same bits. Scratch
//! space comes from the device's pool and goes back to it in the order of the stream.

pub mod attention;
mod column_sums;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod head;
pub mod linear;
pub mod low_rank;
pub mod matmul;
pub mod optimizer;
pub mod paged;
pub mod rmsnorm;
pub mod rope;
pub mod row_product;
pub mod sampling;
pub mod scalar_head;
pub mod swiglu;

use crate::driver::Grid;

/// Threads of a block where nothing speaks for another number.
const THREADS: u32 = 256;

/// One thread for every 8 of `values`.
fn eighths(values: usize) -> Grid {
    Grid::new(values.div_ceil(8 * THREADS as usize), THREADS)
}

/// One warp for every row.
fn warps(rows: usize) -> Grid {
    Grid::new(rows.div_ceil(THREADS as usize / 32), THREADS)
}

/// Threads of a block that shares a row of `width` values, 8 each.
fn row_threads(width: usize) -> u32 {
    (width.div_ceil(8).next_multiple_of(32) as u32).min(THREADS)
}

/// A size as kernels take it.
fn int(size: usize) -> i32 {
    i32::try_from(size).expect("a size is below 2^31")
}
