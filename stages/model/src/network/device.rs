//! The network's passes on a device: the same formulas, called by `network` when weights lie there.
//!
//! `forward` and `backward` are launches of `gpu::ops`; `activations` has their buffers, kept from
//! batch to batch. What products read is f32 or bfloat16, as the workspace says; residual stream,
//! gradients and log-probabilities are f32. Nothing here waits for the device but log-probabilities
//! and values on their way to a loss that the host computes: a few bytes per token. The loss of
//! language modelling is computed there, and read when it is asked for.

mod activations;
mod backward;
mod forward;
mod layer;

use anyhow::Result;
use gpu::ops::{head, scalar_head};

pub(super) use activations::Workspace;

use super::activations::HEAD_LOGITS;
use super::{Network, ValueHead, Workspace as Owner};
use crate::batch::Batch;
use crate::parameters::{Number, Parameters, Placed};
use crate::precision::Precision;
use crate::weights::Weights;
use activations::{Passes, Space};
pub(crate) use forward::shape;
use gpu::ops::matmul::Output;
pub(crate) use layer::Layers;

/// Where the gradient of the hidden states begins.
pub(super) enum Start<'a> {
    /// As given, or from nothing.
    Hidden(Option<&'a [f32]>),
    /// From the values of a head on them.
    Values(ValueHead<'a>, &'a [f32]),
}

/// Targets, `dL/d log_probs` of each, and the temperature.
pub(super) type HeadGradient<'a> = (&'a [(usize, u32)], &'a [f32], f32);

/// Runs `$work` with `$space` being the buffers of either precision.
macro_rules! in_precision {
    ($workspace:expr, $space:ident => $work:expr) => {
        match $workspace.passes()? {
            Passes::F32($space) => $work,
            Passes::Bf16($space) => $work,
        }
    };
}

/// The weights of a pass, which lie on a device.
fn placed(weights: Weights<'_>) -> &Placed {
    let placed = weights.parameters.placed();
    placed.expect("whoever calls has looked")
}

fn workspace(owner: &mut Owner) -> &mut Workspace {
    let workspace = owner.device.as_deref_mut();
    workspace.expect("a forward pass makes the buffers")
}

/// `Network::forward`.
pub(super) fn forward(
    network: &Network,
    weights: Weights,
    batch: &Batch,
    owner: &mut Owner,
) -> Result<()> {
    let (precision, recomputes) = (owner.precision(), owner.recomputes);
    let device = placed(weights).device();
    let workspace = owner.device.get_or_insert_with(Box::default);
    workspace.fit(device, network, batch, precision, recomputes)?;
    in_precision!(workspace, space => forward::run(network, weights, space))
}

pub(crate) fn head_of<'a, T>(
    network: &Network,
    weights: Weights<'a>,
    temperature: f32,
) -> head::Head<'a, T>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    assert!(
        network.config.architecture.has_head(),
        "a reward model has no language-model head"
    );
    let name = weights.head_name(&network.names.head);
    let vocab = network.config.vocab_size;
    head::Head {
        weight: placed(weights).weight(name),
        width: network.config.hidden_size,
        temperature,
        low_rank: Layers::new(weights).low_rank(crate::lora::HEAD),
        chunk: (HEAD_LOGITS / vocab).clamp(64, 8192),
    }
}

/// Log-probabilities of the targets alone.
pub(super) fn log_probs(
    network: &Network,
    weights: Weights,
    targets: &[(usize, u32)],
    temperature: f32,
    owner: &mut Owner,
) -> Result<Vec<f32>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let device = placed(weights).device();
    let workspace = workspace(owner);
    let targets = head::Targets::new(device, targets)?;
    let mut found = device.empty(targets.len())?;
    in_precision!(workspace, space => {
        let head = head_of(network, weights, temperature);
        head.forward(found.view_mut(), space.hidden(), &targets)?;
    });
    Ok(found.download()?)
}

/// All logits.
pub(super) fn logits(network: &Network, weights: Weights, owner: &Owner) -> Result<Vec<f32>> {
    let device = placed(weights).device();
    let workspace = owner.device.as_deref();
    let workspace = workspace.expect("a forward pass makes the buffers");
    match workspace.passes_ref()? {
        Passes::F32(space) => all_logits(device, network, weights, space),
        Passes::Bf16(space) => all_logits(device, network, weights, space),
    }
}

fn all_logits<T>(
    device: &gpu::Device,
    network: &Network,
    weights: Weights,
    space: &Space<T>,
) -> Result<Vec<f32>>
where
    T: Number + Output<T>,
    f32: Output<T>,
{
    let mut logits = device.empty(space.tokens() * network.config.vocab_size)?;
    let head = head_of::<T>(network, weights, 1.0);
    head.logits(logits.view_mut(), space.hidden(), 0)?;
    Ok(logits.download()?)
}

/// `Network::values`.
pub(super) fn values(weights: Weights, head: ValueHead, owner: &mut Owner) -> Result<Vec<f32>> {
    let placed = placed(weights);
    let workspace = workspace(owner);
    in_precision!(workspace, space => {
        let mut values = placed.device().empty(space.tokens())?;
        let weight = placed.master(weights.name(head.weight));
        let bias = head.bias.map(|name| placed.master(weights.name(name)));
        scalar_head::forward(values.view_mut(), space.hidden(), weight, bias)?;
        Ok(values.download()?)
    })
}

/// Every backward pass.
pub(super) fn backward(
    network: &Network,
    weights: Weights,
    gradients: &mut Parameters,
    batch: &Batch,
    start: Start,
    head: Option<HeadGradient>,
    owner: &mut Owner,
) -> Result<()> {
    let gradients = gradients.placed_mut();
    let gradients = gradients.expect("gradients lie where the weights lie");
    let workspace = workspace(owner);
    workspace.start_backward();
    in_precision!(workspace, space => {
        backward::start(weights, gradients, start, space)?;
        if let Some(head) = head {
            backward::head(network, weights, gradients, head, space)?;
        }
        backward::blocks(network, weights, gradients, batch, space)
    })
}

/// `Network::train_nll_later`: log-probabilities stay on the device.
pub(super) fn train_nll(
    network: &Network,
    weights: Weights,
    gradients: &mut Parameters,
    batch: &Batch,
    weight: f64,
    owner: &mut Owner,
) -> Result<()> {
    forward(network, weights, batch, owner)?;
    let targets = batch.targets();
    if targets.is_empty() {
        return Ok(());
    }
    let gradients = gradients.placed_mut();
    let gradients = gradients.expect("gradients lie where the weights lie");
    let workspace = workspace(owner);
    workspace.start_backward();
    let d_log_probs = vec![-weight as f32; targets.len()];
    let head = (&*targets, &*d_log_probs, 1.0);
    let log_probs = in_precision!(workspace, space => {
        backward::start(weights, gradients, Start::Hidden(None), space)?;
        let log_probs = backward::head(network, weights, gradients, head, space)?;
        backward::blocks(network, weights, gradients, batch, space)?;
        log_probs
    });
    workspace.seen.push(log_probs);
    Ok(())
}

/// Adds up what [`train_nll`] left on the device.
pub(super) fn add_nll(owner: &mut Owner) -> Result<()> {
    let Some(workspace) = owner.device.as_deref_mut() else {
        return Ok(());
    };
    for log_probs in workspace.seen.drain(..) {
        let log_probs = log_probs.download()?;
        owner.seen.sum -= log_probs.iter().map(|&l| f64::from(l)).sum::<f64>();
        owner.seen.tokens += log_probs.len();
    }
    Ok(())
}

/// The kinds of numbers that passes multiply.
pub(super) fn is_bf16(precision: Precision) -> bool {
    precision == Precision::Bf16
}
