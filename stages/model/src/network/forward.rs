//! The forward pass over all blocks.
//!
//! Called by `Network::forward`; leaves in the workspace what `backward` reads. The backward
//! pass calls [`Network::forward_block`] again for the blocks that were not kept.

use super::activations::{Block, Scratch};
use super::names::Layer;
use super::{Network, Workspace};
use crate::batch::Batch;
use crate::ops::{attention, embedding, linear, rmsnorm, rope, swiglu};
use crate::weights::Weights;

impl Network {
    pub(super) fn forward_blocks(
        &self,
        weights: Weights,
        batch: &Batch,
        workspace: &mut Workspace,
    ) {
        let config = &self.config;
        let (width, inner, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.rms_norm_eps as f32,
        );
        let Workspace {
            stream,
            blocks,
            last_root,
            hidden,
            scratch,
            ..
        } = workspace;

        embedding::forward(
            &mut stream[0],
            &batch.ids,
            weights.data(&self.names.embedding),
            width,
        );
        let kept = blocks.len();
        for (index, names) in self.names.layers.iter().enumerate() {
            let (before, after) = stream.split_at_mut(index + 1);
            let (input, output) = (&before[index], &mut after[0]);
            let block = &mut blocks[index % kept];
            self.forward_block(weights, batch, names, input, block, scratch);
            let Scratch {
                product, low_rank, ..
            } = scratch;
            swiglu::forward(product, &block.gate, &block.up);
            output.copy_from_slice(&block.middle);
            weights.forward(output, true, product, &names.down, inner, low_rank);
        }
        let last = &stream[self.names.layers.len()];
        rmsnorm::forward(hidden, last_root, last, weights.data(&self.names.norm), eps);
    }

    /// Fills all that a block saves, from the residual stream at its entry.
    pub(super) fn forward_block(
        &self,
        weights: Weights,
        batch: &Batch,
        names: &Layer,
        input: &[f32],
        block: &mut Block,
        scratch: &mut Scratch,
    ) {
        let config = &self.config;
        let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
        let (heads, kv_heads, dim) = (config.heads, config.kv_heads, config.head_dim);
        let Scratch {
            normed,
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
            weights.forward(out, false, normed, name, width, low_rank);
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
        );
        rope::merge_heads(&mut block.attention, attended, heads, dim, None);
        block.middle.copy_from_slice(input);
        weights.forward(
            &mut block.middle,
            true,
            &block.attention,
            &names.o,
            heads * dim,
            low_rank,
        );

        let norm = weights.data(&names.mlp_norm);
        rmsnorm::forward(normed, &mut block.middle_root, &block.middle, norm, eps);
        weights.forward(&mut block.gate, false, normed, &names.gate, width, low_rank);
        weights.forward(&mut block.up, false, normed, &names.up, width, low_rank);
    }
}
