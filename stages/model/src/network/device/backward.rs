//! The backward pass on a device: the forward pass read from the end.
//!
//! Called by `device::backward` and `device::train_nll`. `dx` is the gradient of the residual
//! stream, f32; each norm's backward pass also leaves a copy of it in the numbers that products
//! read. Weight gradients are added to what is there.

use anyhow::Result;
use gpu::Buffer;
use gpu::ops::matmul::Output;
use gpu::ops::{
    attention, elementwise, embedding, head, linear, rmsnorm, rope, scalar_head, swiglu,
};

use super::activations::Space;
use super::forward::{self, Scratch, shape};
use super::layer::Layers;
use super::{HeadGradient, Start, head_of};
use crate::batch::Batch;
use crate::lora::HEAD;
use crate::network::Network;
use crate::parameters::{Number, Placed};
use crate::weights::Weights;

/// Fills `d_hidden`.
pub(super) fn start<T>(
    weights: Weights,
    gradients: &mut Placed,
    start: Start,
    space: &mut Space<T>,
) -> Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let mut d_hidden = space.d_hidden.view_mut();
    match start {
        Start::Hidden(Some(given)) => d_hidden.upload(given)?,
        Start::Hidden(None) => d_hidden.zero()?,
        Start::Values(head, d_values) => {
            d_hidden.zero()?;
            let layers = Layers::new(weights);
            let names = [Some(head.weight), head.bias];
            let names = names.map(|name| name.map(|name| weights.name(name)));
            let [d_weight, d_bias] = gradients.gradients_of(names);
            let d_values = d_hidden.device().upload(d_values)?;
            let weight = layers.master(head.weight);
            let hidden = space.hidden.view();
            scalar_head::backward(d_hidden, d_weight, d_bias, d_values.view(), hidden, weight)?;
        }
    }
    Ok(())
}

/// Adds the head's part to `d_hidden`, and the head's gradients; returns the log-probabilities.
pub(super) fn head<T>(
    network: &Network,
    weights: Weights,
    gradients: &mut Placed,
    (targets, d_log_probs, temperature): HeadGradient,
    space: &mut Space<T>,
) -> Result<Buffer<f32>>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let device = super::placed(weights).device();
    let mut log_probs = device.empty(targets.len())?;
    if targets.is_empty() {
        return Ok(log_probs);
    }
    let targets = head::Targets::new(device, targets)?;
    let d_log_probs = device.upload(d_log_probs)?;
    let stored = weights.head_name(&network.names.head);
    let factors = weights.factors(HEAD);
    let names = [
        Some(stored),
        factors.map(|[a, _]| a),
        factors.map(|[_, b]| b),
    ];
    let [weight, a, b] = gradients.gradients_of(names);
    head_of::<T>(network, weights, temperature).backward(
        space.d_hidden.view_mut(),
        head::Gradients { weight, a, b },
        log_probs.view_mut(),
        d_log_probs.view(),
        space.hidden.view(),
        &targets,
    )?;
    Ok(log_probs)
}

/// From `d_hidden` to the gradients of all blocks and of the embedding.
pub(super) fn blocks<T>(
    network: &Network,
    weights: Weights,
    gradients: &mut Placed,
    batch: &Batch,
    space: &mut Space<T>,
) -> Result<()>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let (names, layers) = (&network.names, Layers::new(weights));
    let Space {
        stream,
        last_root,
        d_hidden,
        dx,
        dx_copy,
        d_normed,
        ..
    } = space;
    dx.view_mut().zero()?;
    elementwise::convert(d_normed.view_mut(), d_hidden.view())?;
    rmsnorm::backward(
        dx.view_mut(),
        Some(dx_copy.view_mut()),
        gradients.gradient(&names.norm),
        d_normed.view(),
        last_root.view(),
        stream[names.layers.len()].view(),
        layers.master(&names.norm),
    )?;
    for index in (0..names.layers.len()).rev() {
        block(network, layers, gradients, index, space)?;
    }
    let width = network.config.hidden_size;
    if let Some(d_table) = gradients.gradient(weights.name(&names.embedding)) {
        let (dx, batch_there) = (&space.dx, space.batch.as_mut().expect("`fit` copied it"));
        let index = match &mut batch_there.index {
            Some(index) => index,
            none => none.insert(embedding::Index::new(d_table.device(), &batch.ids)?),
        };
        embedding::backward(d_table, index, dx.view(), width)?;
    }
    Ok(())
}

fn block<T>(
    network: &Network,
    layers: Layers,
    gradients: &mut Placed,
    index: usize,
    space: &mut Space<T>,
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
    let names = &network.names.layers[index];
    let Space {
        rotary,
        stream,
        blocks,
        dx,
        dx_copy,
        normed,
        d_normed,
        branch,
        product,
        d_attention,
        d_qkv,
        batch,
        ..
    } = space;
    let batch = batch.as_ref().expect("`fit` copied it");
    let (input, kept) = (&stream[index], blocks.len());
    let block = &mut blocks[index % kept];
    // A single block still holds the last layer's.
    if kept < network.names.layers.len() && index + 1 < network.names.layers.len() {
        let (norm, root) = (layers.master(&names.attention_norm), &mut block.input_root);
        rmsnorm::forward(normed.view_mut(), root.view_mut(), input.view(), norm, eps)?;
        let scratch = Scratch {
            normed,
            branch,
            product,
        };
        forward::block(network, layers, names, batch, rotary, input, block, scratch)?;
    }

    // x_out = middle + Wdown (silu(Wgate n) ⊙ Wup n), n = norm(middle)
    let down = &[names.down.as_str()];
    layers.backward_input(product.view_mut(), dx_copy.view(), down, inner)?;
    swiglu::backward(product.view_mut(), block.gate_up.view_mut(), inner)?;
    layers.backward_weight(gradients, dx_copy.view(), product.view(), down, inner)?;
    let norm = layers.master(&names.mlp_norm);
    let (middle, root) = (block.middle.view(), block.middle_root.view());
    rmsnorm::recompute(normed.view_mut(), root, middle, norm)?;
    let both: &[&str] = &[&names.gate, &names.up];
    let d_gate_up = block.gate_up.view();
    layers.backward_weight(gradients, d_gate_up, normed.view(), both, width)?;
    layers.backward_input(d_normed.view_mut(), d_gate_up, both, width)?;
    let d_norm = gradients.gradient(&names.mlp_norm);
    rmsnorm::backward(
        dx.view_mut(),
        Some(dx_copy.view_mut()),
        d_norm,
        d_normed.view(),
        root,
        middle,
        norm,
    )?;

    // middle = input + Wo attention(q, k, v), each projected from norm(input)
    let o = &[names.o.as_str()];
    layers.backward_weight(gradients, dx_copy.view(), block.attention.view(), o, query)?;
    layers.backward_input(d_attention.view_mut(), dx_copy.view(), o, query)?;
    attention::backward(
        d_qkv.view_mut(),
        d_attention.view(),
        attention::Saved {
            qkv: block.qkv.view(),
            out: block.attention.view(),
            log_sums: block.log_sums.view(),
        },
        shape(network),
        &batch.sequences,
    )?;
    rope::turn(
        d_qkv.view_mut(),
        fused,
        config.heads + config.kv_heads,
        rotary,
        batch.positions.view(),
        rope::Direction::Backward,
    )?;
    let norm = layers.master(&names.attention_norm);
    let root = block.input_root.view();
    rmsnorm::recompute(normed.view_mut(), root, input.view(), norm)?;
    let all: &[&str] = &[&names.q, &names.k, &names.v];
    layers.backward_weight(gradients, d_qkv.view(), normed.view(), all, width)?;
    if let Some([q, k, v]) = &names.biases {
        biases(gradients, &[q, k, v], d_qkv.view(), network)?;
    }
    layers.backward_input(d_normed.view_mut(), d_qkv.view(), all, width)?;
    let d_norm = gradients.gradient(&names.attention_norm);
    rmsnorm::backward(
        dx.view_mut(),
        Some(dx_copy.view_mut()),
        d_norm,
        d_normed.view(),
        root,
        input.view(),
        norm,
    )?;
    Ok(())
}

/// Gradients of the biases of queries, keys and values, if all are trained; else none is.
fn biases<T: Number>(
    gradients: &mut Placed,
    names: &[&str],
    d_qkv: gpu::Slice<T>,
    network: &Network,
) -> Result<()> {
    let fused = network.config.query_width() + 2 * network.config.kv_width();
    if let Some(d_biases) = gradients.gradients(names) {
        assert_eq!(d_biases.len(), fused, "biases of a block");
        linear::backward_bias(d_biases, d_qkv)?;
    }
    Ok(())
}
