//! The forward pass over all blocks.
//!
//! Called by `Network::forward`; leaves in the workspace what `backward` reads.

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
        let (heads, kv_heads, dim) = (config.heads, config.kv_heads, config.head_dim);
        let Workspace {
            blocks,
            last,
            last_root,
            hidden,
            normed,
            product,
            rows,
            heads: by_head,
            low_rank,
            ..
        } = workspace;
        let [q_rows, k_rows, v_rows] = rows;
        let positions = Some((&self.rotary, batch.positions.as_slice()));

        embedding::forward(
            &mut blocks[0].input,
            &batch.ids,
            weights.data(&self.names.embedding),
            width,
        );
        for (index, names) in self.names.layers.iter().enumerate() {
            let (these, following) = blocks[index..].split_at_mut(1);
            let block = &mut these[0];
            let output = following
                .first_mut()
                .map_or(&mut *last, |next| &mut next.input);

            let norm = weights.data(&names.attention_norm);
            rmsnorm::forward(normed, &mut block.input_root, &block.input, norm, eps);
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
            let attended = &mut by_head[0];
            attention::forward(
                attended,
                &mut block.log_sums,
                &block.q,
                &block.k,
                &block.v,
                self.shape(batch),
            );
            rope::merge_heads(&mut block.attention, attended, heads, dim, None);
            block.middle.copy_from_slice(&block.input);
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
            swiglu::forward(product, &block.gate, &block.up);
            output.copy_from_slice(&block.middle);
            weights.forward(output, true, product, &names.down, inner, low_rank);
        }
        rmsnorm::forward(hidden, last_root, last, weights.data(&self.names.norm), eps);
    }
}
