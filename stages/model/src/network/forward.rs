//! The forward pass over all blocks.
//!
//! Called by `Network::forward`; leaves in the workspace what `backward` reads. The backward
//! pass calls [`Network::forward_block`] again for the blocks that were not kept.

use super::activations::{Block, Blocks, Scratch};
use super::names::Layer;
use super::{Network, Workspace};
use crate::batch::Batch;
use crate::ops::vector::{copy, narrow};
use crate::ops::{attention, embedding, linear, rmsnorm, rope, swiglu};
use crate::precision::{Element, Precision};
use crate::weights::Weights;

impl Network {
    pub(super) fn forward_blocks(
        &self,
        weights: Weights,
        batch: &Batch,
        workspace: &mut Workspace,
    ) {
        let Workspace {
            stream,
            blocks,
            last_root,
            hidden,
            scratch,
            ..
        } = workspace;
        let (width, eps) = (self.config.hidden_size, self.config.rms_norm_eps as f32);
        let table = weights.data(&self.names.embedding);
        embedding::forward(&mut stream[0], &batch.ids, table, width);
        match blocks {
            Blocks::F32(blocks) => {
                self.forward_all(weights, batch, stream, blocks, scratch, Precision::F32);
            }
            Blocks::Bf16(blocks) => {
                self.forward_all(weights, batch, stream, blocks, scratch, Precision::Bf16);
            }
        }
        let last = &stream[self.names.layers.len()];
        rmsnorm::forward(hidden, last_root, last, weights.data(&self.names.norm), eps);
    }

    fn forward_all<T: Element>(
        &self,
        weights: Weights,
        batch: &Batch,
        stream: &mut [Vec<f32>],
        blocks: &mut [Block<T>],
        scratch: &mut Scratch,
        precision: Precision,
    ) {
        let (kept, inner) = (blocks.len(), self.config.intermediate_size);
        for (index, names) in self.names.layers.iter().enumerate() {
            let (before, after) = stream.split_at_mut(index + 1);
            let (input, output) = (&before[index], &mut after[0]);
            let block = &mut blocks[index % kept];
            self.forward_block(weights, batch, names, input, block, scratch, precision);
            let Scratch {
                product, low_rank, ..
            } = scratch;
            swiglu::forward(product, &block.gate, &block.up);
            copy(output, &block.middle);
            let name = &names.down;
            weights.forward(output, true, product, name, inner, precision, low_rank);
        }
    }

    /// Fills all that a block saves, from the residual stream at its entry.
    pub(super) fn forward_block<T: Element>(
        &self,
        weights: Weights,
        batch: &Batch,
        names: &Layer,
        input: &[f32],
        block: &mut Block<T>,
        scratch: &mut Scratch,
        precision: Precision,
    ) {
        let config = &self.config;
        let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
        let (heads, kv_heads, dim) = (config.heads, config.kv_heads, config.head_dim);
        let Scratch {
            normed,
            product,
            rows: [q_rows, k_rows, v_rows],
            heads: [attended, ..],
            low_rank,
            ..
        } = scratch;
        let positions = Some((&self.rotary, batch.positions.as_slice()));

        let norm = weights.data(&names.attention_norm);
        rmsnorm::forward(normed, &mut block.input_root, input, norm, eps);
        for (out, name, bias) in [
            (&mut *q_rows, &names.q, 0),
            (k_rows, &names.k, 1),
            (v_rows, &names.v, 2),
        ] {
            weights.forward(out, false, normed, name, width, precision, low_rank);
            if let Some(biases) = &names.biases {
                linear::add_bias(out, weights.data(&biases[bias]));
            }
        }
        rope::split_heads(&mut block.q, q_rows, heads, dim, positions);
        rope::split_heads(&mut block.k, k_rows, kv_heads, dim, positions);
        rope::split_heads(&mut block.v, v_rows, kv_heads, dim, None);
        attention::forward(
            attended,
            &mut block.log_sums,
            &block.q,
            &block.k,
            &block.v,
            self.shape(batch),
            precision,
        );
        rope::merge_heads(&mut block.attention, attended, heads, dim, None);
        copy(&mut block.middle, input);
        weights.forward(
            &mut block.middle,
            true,
            &block.attention,
            &names.o,
            heads * dim,
            precision,
            low_rank,
        );

        let norm = weights.data(&names.mlp_norm);
        rmsnorm::forward(normed, &mut block.middle_root, &block.middle, norm, eps);
        for (out, name) in [(&mut block.gate, &names.gate), (&mut block.up, &names.up)] {
            if let Some(out) = T::floats_mut(out) {
                weights.forward(out, false, normed, name, width, precision, low_rank);
            } else {
                weights.forward(product, false, normed, name, width, precision, low_rank);
                narrow(out, product);
            }
        }
    }
}
