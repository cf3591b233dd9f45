//! The backward pass: the forward pass read from the end.
//!
//! Called by the `backward_*` methods of `Network`, with `d_hidden` in the workspace. `dx` is
//! the gradient of the residual stream; both branches of a block add to it. The saved gate
//! and up projections are overwritten by their gradients, so a forward pass serves one
//! backward pass. What a block did not keep is computed again on the way.

use super::activations::{Block, Blocks, Scratch};
use super::{Network, Workspace};
use crate::batch::Batch;
use crate::lora::HEAD;
use crate::ops::vector::clear;
use crate::ops::{attention, embedding, head, linear, rmsnorm, rope, swiglu};
use crate::parameters::Parameters;
use crate::precision::{Element, Precision};
use crate::weights::Weights;

impl Network {
    /// Adds the head's part to `d_hidden` and the head's gradient; returns the log-probabilities.
    pub(super) fn backward_head(
        &self,
        weights: Weights,
        gradients: &mut Parameters,
        targets: &[(usize, u32)],
        d_log_probs: &[f32],
        temperature: f32,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let mut log_probs = vec![0.0; targets.len()];
        let precision = workspace.precision();
        let Workspace {
            hidden,
            head: buffers,
            d_hidden,
            ..
        } = workspace;
        let stored = weights.head_name(&self.names.head);
        let [a, b] = weights.factors(HEAD).unwrap_or_default();
        let [weight, a, b] = gradients.data_mut_of([stored, a, b]);
        self.head(weights, temperature, precision).backward(
            d_hidden,
            head::Gradients { weight, a, b },
            &mut log_probs,
            d_log_probs,
            hidden,
            targets,
            buffers,
        );
        log_probs
    }

    pub(super) fn backward_blocks(
        &self,
        weights: Weights,
        gradients: &mut Parameters,
        batch: &Batch,
        workspace: &mut Workspace,
    ) {
        let Workspace {
            stream,
            blocks,
            recomputes,
            last_root,
            dx,
            d_normed,
            delta,
            d_hidden,
            scratch,
            ..
        } = workspace;
        clear(dx);
        let norm = weights.data(&self.names.norm);
        rmsnorm::backward(
            dx,
            gradients.data_mut(&self.names.norm),
            d_hidden,
            last_root,
            &stream[self.names.layers.len()],
            norm,
        );
        let space = Space {
            stream,
            dx,
            d_normed,
            delta,
            scratch,
            recomputes: *recomputes,
        };
        match blocks {
            Blocks::F32(blocks) => {
                self.backward_all(weights, gradients, batch, space, blocks, Precision::F32);
            }
            Blocks::Bf16(blocks) => {
                self.backward_all(weights, gradients, batch, space, blocks, Precision::Bf16);
            }
        }
        if let Some(d_table) = gradients.data_mut(weights.name(&self.names.embedding)) {
            embedding::backward(d_table, &batch.ids, dx, self.config.hidden_size);
        }
    }

    fn backward_all<T: Element>(
        &self,
        weights: Weights,
        gradients: &mut Parameters,
        batch: &Batch,
        space: Space,
        blocks: &mut [Block<T>],
        precision: Precision,
    ) {
        let config = &self.config;
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (heads, kv_heads, dim) = (config.heads, config.kv_heads, config.head_dim);
        let Space {
            stream,
            dx,
            d_normed,
            delta,
            scratch,
            recomputes,
        } = space;
        let positions = Some((&self.rotary, batch.positions.as_slice()));
        let kept = blocks.len();
        for (index, names) in self.names.layers.iter().enumerate().rev() {
            let (input, block) = (&stream[index], &mut blocks[index % kept]);
            // The single block still holds the last layer's.
            if recomputes && index + 1 < self.names.layers.len() {
                self.forward_block(weights, batch, names, input, block, scratch, precision);
            }
            let Scratch {
                normed,
                product,
                rows: [q_rows, k_rows, v_rows],
                heads: [d_attended, dq, dk, dv],
                low_rank,
            } = scratch;
            // x_out = middle + Wdown (silu(Wgate n) ⊙ Wup n), n = norm(middle)
            weights.backward_input(product, false, dx, &names.down, inner, precision, low_rank);
            swiglu::backward(product, &mut block.gate, &mut block.up);
            let (d_gate, d_up) = (&block.gate, &block.up);
            weights.backward_weight(
                gradients,
                dx,
                product,
                &names.down,
                inner,
                precision,
                low_rank,
            );
            let norm = weights.data(&names.mlp_norm);
            rmsnorm::recompute(normed, &block.middle_root, &block.middle, norm);
            weights.backward_weight(
                gradients,
                d_gate,
                normed,
                &names.gate,
                width,
                precision,
                low_rank,
            );
            weights.backward_weight(
                gradients, d_up, normed, &names.up, width, precision, low_rank,
            );
            weights.backward_input(
                d_normed,
                false,
                d_gate,
                &names.gate,
                width,
                precision,
                low_rank,
            );
            weights.backward_input(d_normed, true, d_up, &names.up, width, precision, low_rank);
            let d_norm = gradients.data_mut(&names.mlp_norm);
            rmsnorm::backward(
                dx,
                d_norm,
                d_normed,
                &block.middle_root,
                &block.middle,
                norm,
            );

            // middle = input + Wo attention(q, k, v), each projected from norm(input)
            weights.backward_weight(
                gradients,
                dx,
                &block.attention,
                &names.o,
                heads * dim,
                precision,
                low_rank,
            );
            weights.backward_input(
                q_rows,
                false,
                dx,
                &names.o,
                heads * dim,
                precision,
                low_rank,
            );
            attention::delta(delta, q_rows, &block.attention, dim, heads);
            rope::split_heads(d_attended, q_rows, heads, dim, None);
            attention::backward(
                attention::Gradients {
                    q: dq,
                    k: dk,
                    v: dv,
                },
                d_attended,
                delta,
                attention::Saved {
                    q: &block.q,
                    k: &block.k,
                    v: &block.v,
                    log_sums: &block.log_sums,
                },
                self.shape(batch),
                precision,
            );
            rope::merge_heads(q_rows, dq, heads, dim, positions);
            rope::merge_heads(k_rows, dk, kv_heads, dim, positions);
            rope::merge_heads(v_rows, dv, kv_heads, dim, None);
            let norm = weights.data(&names.attention_norm);
            rmsnorm::recompute(normed, &block.input_root, input, norm);
            for (index, (d_rows, name)) in
                [(&*q_rows, &names.q), (k_rows, &names.k), (v_rows, &names.v)]
                    .into_iter()
                    .enumerate()
            {
                weights
                    .backward_weight(gradients, d_rows, normed, name, width, precision, low_rank);
                if let Some(d_bias) = names
                    .biases
                    .as_ref()
                    .and_then(|b| gradients.data_mut(&b[index]))
                {
                    linear::backward_bias(d_bias, d_rows);
                }
                weights.backward_input(
                    d_normed,
                    index > 0,
                    d_rows,
                    name,
                    width,
                    precision,
                    low_rank,
                );
            }
            let d_norm = gradients.data_mut(&names.attention_norm);
            rmsnorm::backward(dx, d_norm, d_normed, &block.input_root, input, norm);
        }
    }
}

/// The parts of a workspace that the blocks' backward pass uses, whatever they keep.
struct Space<'a> {
    stream: &'a [Vec<f32>],
    dx: &'a mut [f32],
    d_normed: &'a mut [f32],
    delta: &'a mut [f32],
    scratch: &'a mut Scratch,
    recomputes: bool,
}
