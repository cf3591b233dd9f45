//! Causal attention with grouped queries over packed sequences.
//!
//! Per head and sequence: `S = Q Kᵀ / √D`, `P = softmax(S)` over keys `j <= i`, `O = P V`; the
//! backward formulas are at the head of `kernels/attention.cu`. Queries, keys and values are read
//! from the fused rows that the projection wrote, and gradients written to such rows. Scores exist
//! for a tile at a time, in registers; the log-sum-exp of each row is kept. The backward pass goes
//! over the scores twice, by queries and by keys, so that no sum needs atomics. bf16 heads of 32,
//! 64 and 128 run on tensor cores (`kernels/flash_attention.cu`), others in plain arithmetic.

use super::{THREADS, int};
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::{Argument, Grid};
use crate::element::Float;
use crate::error::Result;

/// Queries, or keys, of a block.
const TILE: usize = 64;

/// Head counts and head width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; query head `h` reads key-value head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Width of one head, 256 at most.
    pub head_dim: usize,
}

impl Shape {
    /// Values of a row of fused queries, keys and values.
    pub fn row(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}

/// The sequences of a packed batch, cut into tiles.
pub struct Sequences {
    tokens: usize,
    tiles: usize,
    /// Those with most keys first.
    by_queries: Buffer<u32>,
    /// Those with most queries first.
    by_keys: Buffer<u32>,
}

impl Sequences {
    /// Sequence `s` occupies tokens `bounds[s]..bounds[s + 1]`; `bounds` starts with 0.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(device: &Device, bounds: &[usize]) -> Result<Self> {
        let mut tiles: Vec<[u32; 3]> = bounds
            .windows(2)
            .flat_map(|bound| {
                let (start, end) = (bound[0], bound[1]);
                let firsts = (start..end).step_by(TILE);
                firsts.map(move |first| [start as u32, end as u32, first as u32])
            })
            .collect();
        // Long ones first, so that none runs alone at the end.
        tiles.sort_by_key(|[start, _, first]| std::cmp::Reverse(first - start));
        let by_queries = device.upload(tiles.as_flattened())?;
        tiles.sort_by_key(|[_, end, first]| std::cmp::Reverse(end - first));
        Ok(Self {
            tokens: bounds.last().copied().unwrap_or(0),
            tiles: tiles.len(),
            by_queries,
            by_keys: device.upload(tiles.as_flattened())?,
        })
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// Which kernels a head width and kind of number run on.
enum Kernels {
    /// Tensor cores.
    Flash,
    /// Plain arithmetic, with room for so many values per thread.
    Plain(usize),
}

impl Kernels {
    fn of<T: Float>(shape: Shape) -> Self {
        assert_eq!(shape.heads % shape.kv_heads, 0, "heads in groups");
        match (size_of::<T>(), shape.head_dim) {
            (2, 32 | 64 | 128) => Self::Flash,
            (_, dim) => {
                let parts = [8, 16, 32, 64].into_iter().find(|part| dim <= 4 * part);
                Self::Plain(parts.expect("a head is 256 wide at most"))
            }
        }
    }

    fn name<T: Float>(&self, pass: &str, shape: Shape) -> String {
        match self {
            Self::Flash => format!("flash_{pass}_{}", shape.head_dim),
            Self::Plain(part) => format!("attention_{pass}_{part}_{}", T::SUFFIX),
        }
    }

    /// `tiles` of 64 rows that stay and two times `step` rows that pass.
    fn grid(&self, tiles: usize, heads: usize, shape: Shape, kept: usize, step: usize) -> Grid {
        match self {
            Self::Flash => {
                let rows = kept * TILE + 4 * step;
                let bytes = rows * (shape.head_dim + 8) * 2 + 4 * step * size_of::<f32>();
                Grid::of([tiles, heads, 1], 128).shared(bytes)
            }
            Self::Plain(_) => {
                let bytes = 2 * 32 * shape.head_dim * size_of::<f32>();
                Grid::of([tiles, heads, 1], THREADS).shared(bytes)
            }
        }
    }

    /// The arguments that all kernels end with.
    fn sizes(&self, sequences: &Sequences, shape: Shape) -> Vec<Argument> {
        let mut sizes = vec![
            int(sequences.tokens).into(),
            int(shape.heads).into(),
            int(shape.kv_heads).into(),
        ];
        if let Self::Plain(_) = self {
            sizes.push(int(shape.head_dim).into());
        }
        sizes.push((1.0 / (shape.head_dim as f32).sqrt()).into());
        sizes
    }
}

/// Rows that pass at a time; as in `kernels/flash_attention.cu`.
fn backward_step(shape: Shape) -> usize {
    if shape.head_dim == 128 { 32 } else { 64 }
}

/// Writes `out` `[tokens, heads D]` and the log-sum-exp of every score row `[heads, tokens]` from
/// fused rows `qkv` `[tokens, q | k | v]`, whose address must be a multiple of 16 bytes.
///
/// # Errors
/// The launch fails.
pub fn forward<T: Float>(
    out: SliceMut<T>,
    log_sums: SliceMut<f32>,
    qkv: Slice<T>,
    shape: Shape,
    sequences: &Sequences,
) -> Result<()> {
    let tokens = sequences.tokens;
    assert_eq!(out.len(), tokens * shape.heads * shape.head_dim, "outputs");
    assert_eq!(log_sums.len(), tokens * shape.heads, "rows of scores");
    assert_eq!(qkv.len(), tokens * shape.row(), "queries, keys and values");
    let kernels = Kernels::of::<T>(shape);
    let mut arguments = vec![
        (&out).into(),
        (&log_sums).into(),
        qkv.into(),
        sequences.by_queries.view().into(),
    ];
    arguments.extend(kernels.sizes(sequences, shape));
    let grid = kernels.grid(sequences.tiles, shape.heads, shape, 1, 64);
    out.device
        .launch(&kernels.name::<T>("forward", shape), grid, &arguments)
}

/// What the backward pass reads.
#[derive(Clone, Copy)]
pub struct Saved<'a, T: Float> {
    /// `[tokens, q | k | v]`.
    pub qkv: Slice<'a, T>,
    /// `[tokens, heads D]`, as the forward pass wrote it.
    pub out: Slice<'a, T>,
    /// `[heads, tokens]`, as the forward pass wrote it.
    pub log_sums: Slice<'a, f32>,
}

/// Writes the gradients of fused rows, given `d_out` `[tokens, heads D]`.
///
/// # Errors
/// A launch fails, or there is no memory for `d_out · out`.
pub fn backward<T: Float>(
    d_qkv: SliceMut<T>,
    d_out: Slice<T>,
    saved: Saved<T>,
    shape: Shape,
    sequences: &Sequences,
) -> Result<()> {
    let (tokens, device) = (sequences.tokens, d_qkv.device);
    let outputs = tokens * shape.heads * shape.head_dim;
    assert_eq!([d_out.len(), saved.out.len()], [outputs; 2], "outputs");
    assert_eq!(saved.log_sums.len(), tokens * shape.heads, "rows of scores");
    let inputs = tokens * shape.row();
    assert_eq!([d_qkv.len(), saved.qkv.len()], [inputs; 2], "inputs");
    let mut delta = device.empty::<f32>(tokens * shape.heads)?;
    let arguments = [
        (&delta.view_mut()).into(),
        d_out.into(),
        saved.out.into(),
        int(tokens).into(),
        int(shape.heads).into(),
        int(shape.head_dim).into(),
    ];
    let blocks = (tokens * shape.heads).div_ceil(THREADS as usize / 16);
    device.launch_for::<T>("attention_delta", Grid::new(blocks, THREADS), &arguments)?;
    let kernels = Kernels::of::<T>(shape);
    for (pass, tiles, heads) in [
        ("backward_queries", &sequences.by_queries, shape.heads),
        ("backward_keys", &sequences.by_keys, shape.kv_heads),
    ] {
        let mut arguments = vec![
            (&d_qkv).into(),
            d_out.into(),
            saved.qkv.into(),
            saved.log_sums.into(),
            delta.view().into(),
            tiles.view().into(),
        ];
        arguments.extend(kernels.sizes(sequences, shape));
        let grid = kernels.grid(sequences.tiles, heads, shape, 2, backward_step(shape));
        device.launch(&kernels.name::<T>(pass, shape), grid, &arguments)?;
    }
    Ok(())
}
