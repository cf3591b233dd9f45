//! Keys and values in pages, and attention of single tokens over them: decoding.
//!
//! A page has the keys and values of [`PAGE`] positions of one sequence in one layer; a sequence's
//! table says which page has which positions, so that sequences share the pages of their prompt.
//! A row is one token of one sequence; its result does not depend on the rows beside it, nor on
//! the longest sequence. Kernels in `kernels/paged.cu`.

use super::attention::Shape;
use super::{THREADS, int, warps};
use crate::buffer::{Slice, SliceMut};
use crate::driver::{Argument, Grid};
use crate::element::Float;
use crate::error::Result;

/// Positions of a page.
pub const PAGE: usize = 32;

/// Positions that a block attends to; as in the kernels.
const SPLIT: usize = 256;

/// Which token of which sequence each row is.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Sequence of each row.
    pub slots: Slice<'a, u32>,
    /// Position of each row.
    pub positions: Slice<'a, u32>,
    /// Pages of every sequence, `[slots, table_pages]`.
    pub tables: Slice<'a, u32>,
    /// Most pages of a sequence.
    pub table_pages: usize,
}

/// Values of one page of one layer.
pub fn page_values(shape: Shape) -> usize {
    2 * shape.kv_heads * PAGE * shape.head_dim
}

/// Values of the scratch space that [`attend`] wants.
pub fn scratch_values(rows: usize, shape: Shape, longest: usize) -> usize {
    rows * shape.heads * longest.div_ceil(SPLIT) * (shape.head_dim + 2)
}

fn check(shape: Shape) {
    let fits = shape.head_dim.is_multiple_of(8) && shape.head_dim <= 256;
    assert!(fits, "a head of {} values in pages", shape.head_dim);
}

/// Puts the keys and values of rows `qkv` `[rows, q | k | v]`, already turned, into their pages.
///
/// # Errors
/// The launch fails.
pub fn append<T: Float>(pool: SliceMut<T>, qkv: Slice<T>, rows: Rows, shape: Shape) -> Result<()> {
    check(shape);
    let count = rows.positions.len();
    assert_eq!(qkv.len(), count * shape.row(), "rows");
    assert_eq!(rows.slots.len(), count, "a sequence per row");
    let arguments = [
        (&pool).into(),
        qkv.into(),
        rows.slots.into(),
        rows.positions.into(),
        rows.tables.into(),
        int(rows.table_pages).into(),
        int(count).into(),
        int(shape.heads).into(),
        int(shape.kv_heads).into(),
        int(shape.head_dim).into(),
    ];
    let values = count * shape.kv_heads * shape.head_dim;
    let grid = Grid::new(values.div_ceil(THREADS as usize), THREADS);
    pool.device
        .launch_for::<T>("paged_append", grid, &arguments)
}

/// Writes `out` `[rows, heads D]`: each row's queries over its sequence's positions up to its own,
/// none of which is beyond `longest`; `scratch` has [`scratch_values`].
///
/// # Errors
/// A launch fails.
pub fn attend<T: Float>(
    out: SliceMut<T>,
    scratch: SliceMut<f32>,
    qkv: Slice<T>,
    pool: Slice<T>,
    rows: Rows,
    longest: usize,
    shape: Shape,
) -> Result<()> {
    check(shape);
    let count = rows.positions.len();
    assert_eq!(qkv.len(), count * shape.row(), "rows");
    assert_eq!(out.len(), count * shape.heads * shape.head_dim, "outputs");
    assert_eq!(rows.slots.len(), count, "a sequence per row");
    let wanted = scratch_values(count, shape, longest);
    assert!(scratch.len() >= wanted, "scratch space of attention");
    let splits = longest.div_ceil(SPLIT);
    let arguments: [Argument; 10] = [
        (&scratch).into(),
        qkv.into(),
        pool.into(),
        rows.slots.into(),
        rows.positions.into(),
        rows.tables.into(),
        int(rows.table_pages).into(),
        int(shape.heads).into(),
        int(shape.kv_heads).into(),
        int(shape.head_dim).into(),
    ];
    let scaling = (1.0 / (shape.head_dim as f32).sqrt()).into();
    let arguments: Vec<Argument> = arguments.into_iter().chain([scaling]).collect();
    let grid = Grid::of([count, shape.kv_heads, splits], 128);
    out.device
        .launch_for::<T>("paged_attend", grid, &arguments)?;
    let arguments = [
        (&out).into(),
        scratch.as_slice().into(),
        rows.positions.into(),
        int(count).into(),
        int(shape.heads).into(),
        int(shape.head_dim).into(),
        int(splits).into(),
    ];
    let grid = warps(count * shape.heads);
    out.device
        .launch_for::<T>("paged_combine", grid, &arguments)
}
