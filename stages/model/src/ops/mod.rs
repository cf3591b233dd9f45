//! The network's operations, one per file: formula, forward, backward.
//!
//! Each works on plain row-major slices and writes into buffers that the caller owns; weight
//! gradients are added to what is there. `tests/ops.rs` holds every one against the same
//! formula composed of candle tensors and against finite differences. Sums are cut into
//! chunks of fixed size, never by thread, so the bytes do not depend on the thread count.

pub mod attention;
pub mod embedding;
pub mod head;
pub mod linear;
pub mod low_rank;
pub mod matmul;
pub mod rmsnorm;
pub mod rope;
pub mod scalar_head;
pub mod swiglu;
pub mod vector;

/// Rows a parallel task handles at once: large enough to pay for the hand-over, fixed so
/// that reductions over rows are cut the same way on every machine.
pub(crate) const ROWS_PER_TASK: usize = 128;
