//! The network laid out for decoding: rows of any sequences pass through together.
//!
//! Built once per set of weights; `worker` feeds it. A row is one token of one sequence at one
//! position: a prompt is prefilled as many rows of one sequence, a decoding step is one row of
//! each. The formulas are those of `network`; only the order of sums differs.

use super::attend::attend;
use super::cache::{Cache, Prefix};
use super::packed::Packed;
use crate::config::Config;
use crate::network::Network;
use crate::ops::rmsnorm::{reciprocal_root, scale_row};
use crate::ops::rope::Table;
use crate::ops::swiglu;
use crate::ops::vector::add_scaled;
use crate::weights::Weights;

/// Prompt tokens that pass through at once; bounds memory, changes no number.
const PREFILL: usize = 48;

/// A network with its weights laid out for decoding.
pub struct Decoder {
    config: Config,
    rotary: Table,
    embedding: Vec<f32>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Packed,
}

struct Block {
    attention_norm: Vec<f32>,
    qkv: Packed,
    qkv_bias: Option<Vec<f32>>,
    o: Packed,
    mlp_norm: Vec<f32>,
    gate_up: Packed,
    down: Packed,
}

/// One token of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) id: u32,
    pub(super) position: usize,
    /// Index of the sequence's cache.
    pub(super) cache: usize,
}

/// Reused buffers of a decoding thread.
#[derive(Default)]
pub(super) struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    product: Vec<f32>,
    tiles: Vec<f32>,
    scores: Vec<f32>,
}

impl Decoder {
    /// Lays out the weights of a language model, with an adapter that is on put into them.
    ///
    /// # Panics
    /// The network is a reward model, which has no language-model head.
    pub fn new<'a>(network: &Network, weights: impl Into<Weights<'a>>) -> Self {
        let weights = weights.into();
        let config = network.config().clone();
        let names = network.names();
        let (width, query) = (config.hidden_size, config.query_width());
        let data = |name: &str| weights.data(name);
        let merged = |name: &str| weights.merged(name);
        let blocks = names
            .layers
            .iter()
            .map(|layer| Block {
                attention_norm: data(&layer.attention_norm).to_vec(),
                qkv: Packed::new(
                    &[&merged(&layer.q), &merged(&layer.k), &merged(&layer.v)],
                    width,
                ),
                qkv_bias: layer
                    .biases
                    .as_ref()
                    .map(|biases| biases.each_ref().map(|name| data(name)).concat()),
                o: Packed::new(&[&merged(&layer.o)], query),
                mlp_norm: data(&layer.mlp_norm).to_vec(),
                gate_up: Packed::new(&[&merged(&layer.gate), &merged(&layer.up)], width),
                down: Packed::new(&[&merged(&layer.down)], config.intermediate_size),
            })
            .collect();
        Self {
            rotary: Table::new(&config),
            embedding: data(&names.embedding).to_vec(),
            blocks,
            norm: data(&names.norm).to_vec(),
            head: Packed::new(&[&weights.merged_head(&names.head)], width),
            config,
        }
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Computes the keys, values and next-token logits of a prompt.
    pub(super) fn prefill(&self, prompt: &[u32], scratch: &mut Scratch) -> Prefix {
        let mut caches = [Cache::new(&self.config, prompt.len())];
        let rows: Vec<Row> = prompt
            .iter()
            .enumerate()
            .map(|(position, &id)| Row {
                id,
                position,
                cache: 0,
            })
            .collect();
        for rows in rows.chunks(PREFILL) {
            self.blocks(rows, &mut caches, scratch);
        }
        let mut logits = Vec::new();
        let last = scratch.x.len() - self.config.hidden_size;
        scratch.x.drain(..last);
        self.logits(&mut logits, scratch);
        let [cache] = caches;
        cache.into_prefix(prompt.len(), logits)
    }

    /// Passes rows through all blocks; leaves the residual stream in `scratch.x`. Rows of one
    /// sequence must come in order of position.
    pub(super) fn blocks(&self, rows: &[Row], caches: &mut [Cache], scratch: &mut Scratch) {
        let config = &self.config;
        let (width, query, kv) = (config.hidden_size, config.query_width(), config.kv_width());
        let (dim, group, inner) = (
            config.head_dim,
            config.heads / config.kv_heads,
            config.intermediate_size,
        );
        let Scratch {
            x,
            normed,
            qkv,
            attended,
            gate_up,
            product,
            tiles,
            scores,
        } = scratch;
        x.clear();
        for row in rows {
            x.extend_from_slice(&self.embedding[row.id as usize * width..][..width]);
        }
        qkv.resize(rows.len() * (query + 2 * kv), 0.0);
        attended.resize(rows.len() * query, 0.0);
        gate_up.resize(rows.len() * 2 * inner, 0.0);
        product.resize(rows.len() * inner, 0.0);
        for (layer, block) in self.blocks.iter().enumerate() {
            self.normalise(normed, x, &block.attention_norm);
            block.qkv.apply(qkv, false, normed, tiles);
            for (row, qkv) in rows.iter().zip(qkv.chunks_exact_mut(query + 2 * kv)) {
                if let Some(bias) = &block.qkv_bias {
                    add_scaled(qkv, 1.0, bias);
                }
                for head in qkv[..query + kv].chunks_exact_mut(dim) {
                    self.rotary.turn(head, row.position, 1.0);
                }
                let (key, value) = qkv[query..].split_at(kv);
                caches[row.cache].store(layer, row.position, key, value);
            }
            // Heads outside, rows inside: rows of one prompt meet its keys while they are in cache.
            for head in 0..config.heads {
                let at = head * dim..(head + 1) * dim;
                let queries = qkv.chunks_exact(query + 2 * kv);
                for ((row, q), out) in rows
                    .iter()
                    .zip(queries)
                    .zip(attended.chunks_exact_mut(query))
                {
                    let runs = caches[row.cache].runs(layer, head / group, row.position);
                    attend(&mut out[at.clone()], &q[at.clone()], runs, scores);
                }
            }
            block.o.apply(x, true, attended, tiles);
            self.normalise(normed, x, &block.mlp_norm);
            block.gate_up.apply(gate_up, false, normed, tiles);
            for (product, gate_up) in product
                .chunks_exact_mut(inner)
                .zip(gate_up.chunks_exact(2 * inner))
            {
                let (gate, up) = gate_up.split_at(inner);
                swiglu::forward_chunk(product, gate, up);
            }
            block.down.apply(x, true, product, tiles);
        }
    }

    /// Writes the logits `[rows, vocab]` of the residual stream in `scratch.x`.
    pub(super) fn logits(&self, logits: &mut Vec<f32>, scratch: &mut Scratch) {
        let rows = scratch.x.len() / self.config.hidden_size;
        self.normalise(&mut scratch.normed, &scratch.x, &self.norm);
        logits.resize(rows * self.config.vocab_size, 0.0);
        self.head
            .apply(logits, false, &scratch.normed, &mut scratch.tiles);
    }

    fn normalise(&self, out: &mut Vec<f32>, x: &[f32], weight: &[f32]) {
        out.resize(x.len(), 0.0);
        let eps = self.config.rms_norm_eps as f32;
        for (out, x) in out
            .chunks_exact_mut(weight.len())
            .zip(x.chunks_exact(weight.len()))
        {
            scale_row(out, x, weight, reciprocal_root(x, eps));
        }
    }
}
