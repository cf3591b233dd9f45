//! The network laid out for decoding: rows of any sequences pass through together.
//!
//! Built once per set of weights; `worker` feeds it. A row is one token of one sequence at one
//! position: a prompt is prefilled as many rows of one sequence, a decoding step is one row of
//! each. The formulas are those of `network`; only the order of sums differs. Whatever the form of
//! the linear layers, embedding, norms and the residual stream are 32-bit floats.

use std::ops::Range;
#[cfg(feature = "device")]
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::attend::attend;
use super::cache::{Cache, Place};
use super::linear::{Buffers, Form, Linear};
use crate::config::Config;
use crate::lora::Adapter;
use crate::network::Network;
use crate::ops::rmsnorm::{reciprocal_root, scale_row};
use crate::ops::rope::Table;
use crate::ops::swiglu;
use crate::ops::vector::add_scaled;
use crate::parameters::Parameters;
use crate::weights::Weights;

/// A network with its weights laid out for decoding.
pub struct Decoder {
    config: Config,
    form: Form,
    rotary: Table,
    embedding: Vec<f32>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Linear,
    adapters: Vec<String>,
    /// In place of all weights above, where these lie on a device.
    #[cfg(feature = "device")]
    device: Option<Arc<super::device::DeviceDecoder>>,
}

struct Block {
    attention_norm: Vec<f32>,
    qkv: Linear,
    qkv_bias: Option<Vec<f32>>,
    o: Linear,
    mlp_norm: Vec<f32>,
    gate_up: Linear,
    down: Linear,
}

/// One token of one sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: u32,
    pub(super) position: usize,
    /// Index of the sequence's cache.
    pub(super) cache: usize,
}

/// Reused buffers of a decoding thread.
#[derive(Default)]
pub(super) struct Scratch {
    /// The residual stream `[rows, hidden]`.
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    product: Vec<f32>,
    scores: Vec<f32>,
    buffers: Buffers,
}

impl Decoder {
    /// Lays out the weights of a language model, with an adapter that is on put into them. Weights
    /// on a device stay as they lie, and the adapter beside them; the form is then that of the
    /// products they were placed for.
    ///
    /// # Panics
    /// The network is a reward model, which has no language-model head.
    pub fn new<'a>(network: &Network, weights: impl Into<Weights<'a>>) -> Self {
        Self::in_form(Form::F32, network, weights)
    }

    /// As [`Decoder::new`], with linear layers in a form of one's choice.
    ///
    /// # Panics
    /// As [`Decoder::new`].
    pub fn in_form<'a>(form: Form, network: &Network, weights: impl Into<Weights<'a>>) -> Self {
        let weights = weights.into();
        let config = network.config().clone();
        #[cfg(feature = "device")]
        if weights.parameters.device().is_some() {
            return Self {
                rotary: Table::new(&Config {
                    max_positions: 1,
                    ..config.clone()
                }),
                embedding: Vec::new(),
                blocks: Vec::new(),
                norm: Vec::new(),
                head: Linear::new(Form::F32, &[], config.hidden_size),
                form,
                adapters: Vec::new(),
                device: Some(Arc::new(super::device::DeviceDecoder::new(
                    network, weights,
                ))),
                config,
            };
        }
        let names = network.names();
        let (width, query) = (config.hidden_size, config.query_width());
        let data = |name: &str| weights.data(name);
        let merged = |name: &str| weights.merged(name);
        let linear = |parts: &[&[f32]], inputs| Linear::new(form, parts, inputs);
        let blocks = names
            .layers
            .iter()
            .map(|layer| Block {
                attention_norm: data(&layer.attention_norm).to_vec(),
                qkv: linear(
                    &[&merged(&layer.q), &merged(&layer.k), &merged(&layer.v)],
                    width,
                ),
                qkv_bias: layer
                    .biases
                    .as_ref()
                    .map(|biases| biases.each_ref().map(|name| data(name)).concat()),
                o: linear(&[&merged(&layer.o)], query),
                mlp_norm: data(&layer.mlp_norm).to_vec(),
                gate_up: linear(&[&merged(&layer.gate), &merged(&layer.up)], width),
                down: linear(&[&merged(&layer.down)], config.intermediate_size),
            })
            .collect();
        Self {
            rotary: Table::new(&config),
            embedding: data(&names.embedding).to_vec(),
            blocks,
            norm: data(&names.norm).to_vec(),
            head: Linear::new(form.of_head(), &[&weights.merged_head(&names.head)], width),
            config,
            form,
            adapters: Vec::new(),
            #[cfg(feature = "device")]
            device: None,
        }
    }

    /// What decodes on a device, if that is where the weights lie.
    #[cfg(feature = "device")]
    pub(super) fn on_device(&self) -> Option<&Arc<super::device::DeviceDecoder>> {
        self.device.as_ref()
    }

    /// Rows of a prompt that pass through at once; bounds memory and delay, changes no number.
    #[cfg_attr(not(feature = "device"), allow(clippy::unused_self))]
    pub(super) fn chunk(&self) -> usize {
        #[cfg(feature = "device")]
        if self.device.is_some() {
            return 512;
        }
        48
    }

    /// Adds an adapter that acts on the requests that name its number, the number of adapters
    /// before it; the base's weights stay as they are.
    ///
    /// # Errors
    /// The adapter has tensors of its own in place of the base's, which cannot stay apart.
    pub fn adapt(
        &mut self,
        network: &Network,
        parameters: &Parameters,
        adapter: &Adapter,
    ) -> Result<usize> {
        #[cfg(feature = "device")]
        ensure!(
            self.device.is_none(),
            "several adapters beside one model are for the CPU: say --device cpu, or put adapter {} \
             into the weights (`iota export --adapter`)",
            adapter.name()
        );
        ensure!(
            adapter.tensors().all(|name| name.contains(".lora_")),
            "adapter {} trains whole modules beside its factors: put it into the weights \
             (`iota export --adapter`)",
            adapter.name()
        );
        let (names, config) = (network.names(), &self.config);
        let (query, kv, inner) = (
            config.query_width(),
            config.kv_width(),
            config.intermediate_size,
        );
        let low_rank = |weight: &str| adapter.low_rank(parameters, weight, None);
        for (block, names) in self.blocks.iter_mut().zip(&names.layers) {
            block.qkv.adapt(&[
                (0, low_rank(&names.q)),
                (query, low_rank(&names.k)),
                (query + kv, low_rank(&names.v)),
            ]);
            block.o.adapt(&[(0, low_rank(&names.o))]);
            let gate_up = [(0, low_rank(&names.gate)), (inner, low_rank(&names.up))];
            block.gate_up.adapt(&gate_up);
            block.down.adapt(&[(0, low_rank(&names.down))]);
        }
        self.head.adapt(&[(0, low_rank(crate::lora::HEAD))]);
        self.adapters.push(adapter.name().to_owned());
        Ok(self.adapters.len() - 1)
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How its numbers are kept.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Names of the adapters beside the weights, by their numbers.
    pub fn adapters(&self) -> &[String] {
        &self.adapters
    }

    /// Bytes that a step reads of the weights.
    pub fn weight_bytes(&self) -> usize {
        let blocks = self.blocks.iter();
        let linears = blocks.flat_map(|b| [&b.qkv, &b.o, &b.gate_up, &b.down]);
        linears.chain([&self.head]).map(Linear::bytes).sum()
    }

    /// Passes rows through all blocks; leaves the residual stream in `scratch`. Rows of one
    /// sequence must come in order of position; `adapted` says which adapter acts on which rows.
    pub(super) fn blocks(
        &self,
        rows: &[Row],
        adapted: &[(usize, Range<usize>)],
        caches: &mut [Cache],
        scratch: &mut Scratch,
    ) {
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
            scores,
            buffers,
            ..
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
            block.qkv.apply(qkv, false, normed, adapted, buffers);
            for (row, qkv) in rows.iter().zip(qkv.chunks_exact_mut(query + 2 * kv)) {
                if let Some(bias) = &block.qkv_bias {
                    add_scaled(qkv, 1.0, bias);
                }
                for head in qkv[..query + kv].chunks_exact_mut(dim) {
                    self.rotary.turn(head, row.position, 1.0);
                }
                let (key, value) = qkv[query..].split_at(kv);
                caches[row.cache].store(config, layer, row.position, key, value);
            }
            // Heads outside, rows inside: rows of one prompt meet its keys while they are in cache.
            for head in 0..config.heads {
                let at = head * dim..(head + 1) * dim;
                let place = Place::new(config, layer, head / group);
                let queries = qkv.chunks_exact(query + 2 * kv);
                for ((row, q), out) in rows
                    .iter()
                    .zip(queries)
                    .zip(attended.chunks_exact_mut(query))
                {
                    let (out, q) = (&mut out[at.clone()], &q[at.clone()]);
                    attend(out, q, &caches[row.cache], place, row.position + 1, scores);
                }
            }
            block.o.apply(x, true, attended, adapted, buffers);
            self.normalise(normed, x, &block.mlp_norm);
            block
                .gate_up
                .apply(gate_up, false, normed, adapted, buffers);
            for (product, gate_up) in product
                .chunks_exact_mut(inner)
                .zip(gate_up.chunks_exact(2 * inner))
            {
                let (gate, up) = gate_up.split_at(inner);
                swiglu::forward_chunk(product, gate, up);
            }
            block.down.apply(x, true, product, adapted, buffers);
        }
    }

    /// Writes the logits `[chosen, vocab]` of some rows of the residual stream; `adapted` speaks
    /// of places among the chosen.
    pub(super) fn logits(
        &self,
        logits: &mut Vec<f32>,
        chosen: &[usize],
        adapted: &[(usize, Range<usize>)],
        scratch: &mut Scratch,
    ) {
        let width = self.config.hidden_size;
        let Scratch {
            x,
            normed,
            product,
            buffers,
            ..
        } = scratch;
        product.clear();
        for row in chosen {
            product.extend_from_slice(&x[row * width..][..width]);
        }
        self.normalise(normed, product, &self.norm);
        logits.resize(chosen.len() * self.config.vocab_size, 0.0);
        if !chosen.is_empty() {
            self.head.apply(logits, false, normed, adapted, buffers);
        }
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
