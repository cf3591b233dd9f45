//! The buffers of a step: what the forward pass saves, and scratch space both passes share.
//!
//! One [`Workspace`] is made per training run and grows to the largest batch; a step
//! allocates nothing large. Norm outputs and the SwiGLU product are not kept, the backward
//! pass computes them again. With recomputation (gradient checkpointing by layer) a block
//! keeps its input alone, and the backward pass runs the block again: the same operations on
//! the same numbers, so the same bytes, for a third more work.

use half::bf16;

use super::Nll;
use crate::config::Config;
use crate::ops::head::Buffers;
use crate::ops::low_rank;
use crate::ops::vector::{clear, copy};
use crate::pages::resize;
use crate::precision::Precision;

/// Logits that the head holds at a time on a device.
pub(super) const HEAD_LOGITS: usize = 1 << 26;

/// What one block saves; token-major unless said. What only products read again is kept as `T`.
#[derive(Default)]
pub(super) struct Block<T> {
    pub(super) input_root: Vec<f32>,
    /// Turned queries, keys, and values, head-major.
    pub(super) q: Vec<T>,
    pub(super) k: Vec<T>,
    pub(super) v: Vec<T>,
    /// `[heads, tokens]`.
    pub(super) log_sums: Vec<f32>,
    /// Attention output `[tokens, query_width]`.
    pub(super) attention: Vec<T>,
    /// Residual stream between attention and MLP.
    pub(super) middle: Vec<f32>,
    pub(super) middle_root: Vec<f32>,
    pub(super) gate: Vec<T>,
    pub(super) up: Vec<T>,
}

impl<T: Copy + Default> Block<T> {
    fn fit(&mut self, config: &Config, tokens: usize) {
        let (hidden, inner) = (
            tokens * config.hidden_size,
            tokens * config.intermediate_size,
        );
        let (query, kv) = (tokens * config.query_width(), tokens * config.kv_width());
        for (buffer, length) in [
            (&mut self.input_root, tokens),
            (&mut self.log_sums, tokens * config.heads),
            (&mut self.middle, hidden),
            (&mut self.middle_root, tokens),
        ] {
            resize(buffer, length, 0.0);
        }
        for (buffer, length) in [
            (&mut self.q, query),
            (&mut self.k, kv),
            (&mut self.v, kv),
            (&mut self.attention, query),
            (&mut self.gate, inner),
            (&mut self.up, inner),
        ] {
            resize(buffer, length, T::default());
        }
    }

    fn bytes(&self) -> usize {
        let floats = [
            &self.input_root,
            &self.log_sums,
            &self.middle,
            &self.middle_root,
        ];
        let others = [
            &self.q,
            &self.k,
            &self.v,
            &self.attention,
            &self.gate,
            &self.up,
        ];
        floats.map(Vec::len).iter().sum::<usize>() * size_of::<f32>()
            + others.map(Vec::len).iter().sum::<usize>() * size_of::<T>()
    }
}

/// What all blocks save, by precision.
pub(super) enum Blocks {
    F32(Vec<Block<f32>>),
    Bf16(Vec<Block<bf16>>),
}

impl Default for Blocks {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

/// Space that the passes of a block share; nothing in it outlives a block.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) normed: Vec<f32>,
    /// The SwiGLU product, `[tokens, inner]`.
    pub(super) product: Vec<f32>,
    /// Queries, keys and values, token-major.
    pub(super) rows: [Vec<f32>; 3],
    /// Attention output or its gradient, then gradients of queries, keys and values; head-major.
    pub(super) heads: [Vec<f32>; 4],
    pub(super) low_rank: low_rank::Buffers,
}

/// Reused buffers of forward and backward passes.
#[derive(Default)]
pub struct Workspace {
    /// Residual stream at the entry of each block, and after the last, `[tokens, hidden]`.
    pub(super) stream: Vec<Vec<f32>>,
    /// What each block saves; a single one, used by all in turn, with recomputation.
    pub(super) blocks: Blocks,
    pub(super) recomputes: bool,
    pub(super) last_root: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    pub(super) head: Buffers,
    /// Gradient of the residual stream.
    pub(super) dx: Vec<f32>,
    pub(super) d_normed: Vec<f32>,
    pub(super) delta: Vec<f32>,
    pub(super) d_hidden: Vec<f32>,
    pub(super) scratch: Scratch,
    /// What `train_nll_later` saw and nobody asked for.
    pub(super) seen: Nll,
    /// The buffers of passes on a device, in place of all others.
    #[cfg(feature = "device")]
    pub(super) device: Option<Box<super::device::Workspace>>,
    /// A forward pass ran and no backward pass has used up what it saved.
    fresh: bool,
}

impl Workspace {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty buffers of a workspace that keeps only the input of each block and computes the rest
    /// again in the backward pass.
    pub fn recomputing() -> Self {
        Self {
            recomputes: true,
            ..Self::default()
        }
    }

    /// Empty buffers for passes in the given precision; with `recomputes` as
    /// [`Workspace::recomputing`].
    pub fn with(precision: Precision, recomputes: bool) -> Self {
        let blocks = match precision {
            Precision::F32 => Blocks::F32(Vec::new()),
            Precision::Bf16 => Blocks::Bf16(Vec::new()),
        };
        Self {
            blocks,
            recomputes,
            ..Self::default()
        }
    }

    /// In which numbers passes over these buffers multiply.
    pub fn precision(&self) -> Precision {
        match self.blocks {
            Blocks::F32(_) => Precision::F32,
            Blocks::Bf16(_) => Precision::Bf16,
        }
    }

    /// Hidden states after the last norm, `[tokens, hidden]`, of the last forward pass; not of one
    /// on a device.
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    /// Bytes of what is saved between the passes.
    pub fn bytes(&self) -> usize {
        let blocks: usize = match &self.blocks {
            Blocks::F32(blocks) => blocks.iter().map(Block::bytes).sum(),
            Blocks::Bf16(blocks) => blocks.iter().map(Block::bytes).sum(),
        };
        blocks + self.stream.iter().map(Vec::len).sum::<usize>() * size_of::<f32>()
    }

    /// Sizes the buffers of the forward pass for a batch.
    pub(super) fn fit(&mut self, config: &Config, tokens: usize) {
        let (hidden, inner) = (
            tokens * config.hidden_size,
            tokens * config.intermediate_size,
        );
        let (query, kv) = (tokens * config.query_width(), tokens * config.kv_width());
        self.fresh = true;
        self.stream.resize_with(config.layers + 1, Vec::new);
        for stream in &mut self.stream {
            resize(stream, hidden, 0.0);
        }
        let kept = if self.recomputes { 1 } else { config.layers };
        match &mut self.blocks {
            Blocks::F32(blocks) => fit_all(blocks, kept, config, tokens),
            Blocks::Bf16(blocks) => fit_all(blocks, kept, config, tokens),
        }
        for (buffer, length) in [
            (&mut self.last_root, tokens),
            (&mut self.hidden, hidden),
            (&mut self.dx, hidden),
            (&mut self.scratch.normed, hidden),
            (&mut self.d_normed, hidden),
            (&mut self.d_hidden, hidden),
            (&mut self.scratch.product, inner),
            (&mut self.delta, tokens * config.heads),
        ] {
            resize(buffer, length, 0.0);
        }
        for (buffer, length) in self.scratch.rows.iter_mut().zip([query, kv, kv]) {
            resize(buffer, length, 0.0);
        }
        for (buffer, length) in self.scratch.heads.iter_mut().zip([query, query, kv, kv]) {
            resize(buffer, length, 0.0);
        }
    }

    /// Starts a backward pass from a gradient of the hidden states, or from none.
    pub(super) fn start_backward(&mut self, d_hidden: Option<&[f32]>) {
        assert!(
            self.fresh,
            "a forward pass serves one backward pass: run it again"
        );
        self.fresh = false;
        match d_hidden {
            Some(given) => copy(&mut self.d_hidden, given),
            None => clear(&mut self.d_hidden),
        }
    }
}

/// Bytes that passes over so many tokens take on a device: what blocks keep, what they share, and
/// the head's logits.
pub fn activation_bytes(
    config: &Config,
    tokens: usize,
    precision: Precision,
    recomputes: bool,
) -> u64 {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (query, kv) = (config.query_width(), config.kv_width());
    let number = match precision {
        Precision::F32 => 4,
        Precision::Bf16 => 2,
    };
    // Residual stream in the middle, two roots, log-sums; then what `Block` keeps as `T`.
    let block = 4 * (hidden + 2 + config.heads) + number * (2 * query + 2 * kv + 2 * inner);
    let kept = if recomputes { 1 } else { config.layers };
    let stream = 4 * hidden * (config.layers + 1);
    // `dx`, `d_normed`, `d_hidden`, `hidden`; copies of rows and heads, and the product.
    let shared = 4 * (4 * hidden) + number * (2 * hidden + inner + 4 * query + 4 * kv) + 4 * inner;
    // Rows of the head's chunk: their logits and the gradients of these.
    let rows = tokens.min((HEAD_LOGITS / config.vocab_size).clamp(64, 8192));
    let logits = rows * (config.vocab_size * (4 + number) + hidden * (4 + number));
    (tokens * (block * kept + stream + shared) + logits) as u64
}

fn fit_all<T: Copy + Default>(
    blocks: &mut Vec<Block<T>>,
    kept: usize,
    config: &Config,
    tokens: usize,
) {
    blocks.resize_with(kept, Block::default);
    for block in blocks {
        block.fit(config, tokens);
    }
}
