//! The buffers of a step: what the forward pass saves, and scratch space both passes share.
//!
//! One [`Workspace`] is made per training run and grows to the largest batch; a step
//! allocates nothing large. Norm outputs and the SwiGLU product are not kept, the backward
//! pass computes them again. With recomputation (gradient checkpointing by layer) a block
//! keeps its input alone, and the backward pass runs the block again: the same operations on
//! the same numbers, so the same bytes, for a third more work.

use crate::config::Config;
use crate::ops::head::Buffers;
use crate::ops::low_rank;

/// What one block saves; token-major unless said.
#[derive(Default)]
pub(super) struct Block {
    pub(super) input_root: Vec<f32>,
    /// Turned queries, keys, and values, head-major.
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    /// `[heads, tokens]`.
    pub(super) log_sums: Vec<f32>,
    /// Attention output `[tokens, query_width]`.
    pub(super) attention: Vec<f32>,
    /// Residual stream between attention and MLP.
    pub(super) middle: Vec<f32>,
    pub(super) middle_root: Vec<f32>,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
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
    pub(super) blocks: Vec<Block>,
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

    /// Hidden states after the last norm, `[tokens, hidden]`, of the last forward pass.
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    /// Bytes of what is saved between the passes.
    pub fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().flat_map(|block| {
            [
                &block.input_root,
                &block.q,
                &block.k,
                &block.v,
                &block.log_sums,
                &block.attention,
                &block.middle,
                &block.middle_root,
                &block.gate,
                &block.up,
            ]
        });
        let values: usize = blocks.chain(&self.stream).map(Vec::len).sum();
        values * size_of::<f32>()
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
            stream.resize(hidden, 0.0);
        }
        let kept = if self.recomputes { 1 } else { config.layers };
        self.blocks.resize_with(kept, Block::default);
        for block in &mut self.blocks {
            for (buffer, length) in [
                (&mut block.input_root, tokens),
                (&mut block.q, query),
                (&mut block.k, kv),
                (&mut block.v, kv),
                (&mut block.log_sums, tokens * config.heads),
                (&mut block.attention, query),
                (&mut block.middle, hidden),
                (&mut block.middle_root, tokens),
                (&mut block.gate, inner),
                (&mut block.up, inner),
            ] {
                buffer.resize(length, 0.0);
            }
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
            buffer.resize(length, 0.0);
        }
        for (buffer, length) in self.scratch.rows.iter_mut().zip([query, kv, kv]) {
            buffer.resize(length, 0.0);
        }
        for (buffer, length) in self.scratch.heads.iter_mut().zip([query, query, kv, kv]) {
            buffer.resize(length, 0.0);
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
            Some(given) => self.d_hidden.copy_from_slice(given),
            None => self.d_hidden.fill(0.0),
        }
    }
}
