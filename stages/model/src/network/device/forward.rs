//! The forward pass over all blocks, on a device.
//!
//! Called by `device::forward`; the backward pass calls [`block`] again for blocks that were not
//! kept. Each norm also adds the branch before it to the residual stream.

use anyhow::Result;
use gpu::ops::matmul::Output;
use gpu::ops::{attention, embedding, linear, rmsnorm, rope, swiglu};

use super::activations::{Block, OnDevice, Rows, Space};
use super::layer::Layers;
use crate::network::Network;
use crate::network::names::Layer;
use crate::parameters::Number;
use crate::weights::Weights;

/// Runs the batch that is there.
pub(super) fn run<T>(network: &Network, weights: Weights, space: &mut Space<T>) -> Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let (config, names, layers) = (&network.config, &network.names, Layers::new(weights));
    let (width, eps) = (config.hidden_size, config.rms_norm_eps as f32);
    let Space {
        rotary,
        stream,
        blocks,
        last_root,
        hidden,
        normed,
        branch,
        product,
        batch,
        ..
    } = space;
    let batch = batch.as_ref().expect("`fit` copied it");
    let table = layers.master(&names.embedding);
    embedding::forward(stream[0].view_mut(), batch.ids.view(), table, width)?;
    if let Some(first) = names.layers.first() {
        let (norm, root) = (
            layers.master(&first.attention_norm),
            &mut blocks[0].input_root,
        );
        let input = stream[0].view();
        rmsnorm::forward(normed.view_mut(), root.view_mut(), input, norm, eps)?;
    } else {
        let (norm, input) = (layers.master(&names.norm), stream[0].view());
        rmsnorm::forward(hidden.view_mut(), last_root.view_mut(), input, norm, eps)?;
    }
    let kept = blocks.len();
    for (index, layer) in names.layers.iter().enumerate() {
        let scratch = Scratch {
            normed,
            branch,
            product,
        };
        let input = &stream[index];
        block(
            network,
            layers,
            layer,
            batch,
            rotary,
            input,
            &mut blocks[index % kept],
            scratch,
        )?;
        layers.forward(
            branch.view_mut(),
            product.view(),
            &[&layer.down],
            config.intermediate_size,
        )?;
        // stream[i + 1] = middle + branch, and the norm that reads it.
        let (following, next) = (names.layers.get(index + 1), (index + 1) % kept);
        let norm = following.map_or(&names.norm, |next| &next.attention_norm);
        let (block, next) = two(blocks, index % kept, next);
        let (y, root) = match (following, next) {
            (None, _) => (&mut *hidden, &mut *last_root),
            (Some(_), Some(next)) => (&mut *normed, &mut next.input_root),
            (Some(_), None) => (&mut *normed, &mut block.input_root),
        };
        rmsnorm::add_forward(
            y.view_mut(),
            root.view_mut(),
            stream[index + 1].view_mut(),
            block.middle.view(),
            branch.view(),
            layers.master(norm),
            eps,
        )?;
    }
    Ok(())
}

/// A block and, if it is another one, the next.
fn two<B>(blocks: &mut [B], at: usize, next: usize) -> (&mut B, Option<&mut B>) {
    if next > at {
        let (before, behind) = blocks.split_at_mut(next);
        (&mut before[at], Some(&mut behind[0]))
    } else {
        // With recomputation there is one; after the last block the next is not looked at.
        (&mut blocks[at], None)
    }
}

/// Space that nothing outlives a block in.
pub(super) struct Scratch<'a, T: Number> {
    /// The first norm of the residual stream; then the second.
    pub(super) normed: &'a mut Rows<T>,
    pub(super) branch: &'a mut Rows<T>,
    /// SwiGLU's product.
    pub(super) product: &'a mut Rows<T>,
}

/// Fills all that a block saves but the root of its first norm, whose output is in `scratch`, and
/// the product that the layer down reads.
pub(super) fn block<T>(
    network: &Network,
    layers: Layers,
    names: &Layer,
    batch: &OnDevice,
    rotary: &rope::Table,
    input: &Rows<f32>,
    block: &mut Block<T>,
    scratch: Scratch<T>,
) -> Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let config = &network.config;
    let (width, inner, eps) = (
        config.hidden_size,
        config.intermediate_size,
        config.rms_norm_eps as f32,
    );
    let query = config.query_width();
    let fused = query + 2 * config.kv_width();
    let Scratch {
        normed,
        branch,
        product,
    } = scratch;
    layers.forward(
        block.qkv.view_mut(),
        normed.view(),
        &[&names.q, &names.k, &names.v],
        width,
    )?;
    if let Some([q, k, v]) = &names.biases {
        linear::add_bias(block.qkv.view_mut(), layers.masters(&[q, k, v]))?;
    }
    rope::turn(
        block.qkv.view_mut(),
        fused,
        config.heads + config.kv_heads,
        rotary,
        batch.positions.view(),
        rope::Direction::Forward,
    )?;
    attention::forward(
        block.attention.view_mut(),
        block.log_sums.view_mut(),
        block.qkv.view(),
        shape(network),
        &batch.sequences,
    )?;
    layers.forward(
        branch.view_mut(),
        block.attention.view(),
        &[&names.o],
        query,
    )?;
    rmsnorm::add_forward(
        normed.view_mut(),
        block.middle_root.view_mut(),
        block.middle.view_mut(),
        input.view(),
        branch.view(),
        layers.master(&names.mlp_norm),
        eps,
    )?;
    layers.forward(
        block.gate_up.view_mut(),
        normed.view(),
        &[&names.gate, &names.up],
        width,
    )?;
    swiglu::forward(product.view_mut(), block.gate_up.view(), inner)?;
    Ok(())
}

/// Head counts and width.
pub(crate) fn shape(network: &Network) -> attention::Shape {
    let config = &network.config;
    attention::Shape {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
    }
}
