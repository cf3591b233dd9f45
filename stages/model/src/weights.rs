//! What a pass of the network computes with: the base weights, and the adapter that acts.
//!
//! A small value handed to every method of [`Network`](crate::network::Network); plain
//! `&Parameters` converts into it and means "adapter off". The passes ask it for the linear
//! layers by the name of the base weight, so that they read the same with and without.

use std::borrow::Cow;

use crate::lora::{Adapter, DropoutDraw, HEAD};
use crate::ops::linear;
use crate::ops::low_rank::{Buffers, LowRank};
use crate::parameters::Parameters;
use crate::precision::{Element, Precision};

/// Base weights, and the adapter that acts on them.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// All tensors, those of adapters among them.
    pub parameters: &'a Parameters,
    /// The adapter that is on; `None` gives the base's numbers to the bit.
    pub adapter: Option<&'a Adapter>,
    /// Masks of the adapter's dropout; `None` outside training.
    pub dropout: Option<DropoutDraw>,
}

impl<'a> From<&'a Parameters> for Weights<'a> {
    fn from(parameters: &'a Parameters) -> Self {
        Self {
            parameters,
            adapter: None,
            dropout: None,
        }
    }
}

impl<'a> Weights<'a> {
    /// With `adapter` on, and without dropout.
    pub fn adapted(parameters: &'a Parameters, adapter: &'a Adapter) -> Self {
        Self {
            adapter: Some(adapter),
            ..parameters.into()
        }
    }

    /// With dropout, for one forward pass and its backward pass.
    pub fn training(self, draw: DropoutDraw) -> Self {
        Self {
            dropout: Some(draw),
            ..self
        }
    }

    /// The name of the tensor that stands for the base's `weight`: its own, or that of a copy
    /// which the adapter trained in full.
    pub fn name<'n>(&self, weight: &'n str) -> &'n str
    where
        'a: 'n,
    {
        self.adapter
            .and_then(|adapter| adapter.replacement(weight))
            .unwrap_or(weight)
    }

    /// The values of the tensor that stands for the base's `weight`.
    ///
    /// # Panics
    /// As [`Parameters::data`].
    pub fn data(&self, weight: &str) -> &'a [f32] {
        self.parameters.data(self.name(weight))
    }

    /// What the adapter adds to the linear layer of `weight`.
    pub(crate) fn low_rank(&self, weight: &str) -> Option<LowRank<'a>> {
        self.adapter?
            .low_rank(self.parameters, weight, self.dropout)
    }

    /// The name of the head's tensor, `stored` (the embedding if tied) unless replaced.
    pub(crate) fn head_name<'n>(&self, stored: &'n str) -> &'n str
    where
        'a: 'n,
    {
        self.adapter
            .and_then(|adapter| adapter.replacement(HEAD))
            .unwrap_or(self.name(stored))
    }

    /// `y = W x`, or `y += W x`, with what the adapter adds; see `ops::linear` and
    /// `ops::low_rank`.
    pub(crate) fn forward<T: Element>(
        &self,
        y: &mut [f32],
        accumulate: bool,
        x: &[T],
        weight: &str,
        inputs: usize,
        precision: Precision,
        buffers: &mut Buffers,
    ) {
        linear::forward(y, accumulate, x, self.data(weight), inputs, precision);
        if let Some(low_rank) = self.low_rank(weight) {
            low_rank.forward(y, x, buffers, precision);
        }
    }

    /// `dx = dy W`, or `dx += dy W`, with the adapter's part.
    pub(crate) fn backward_input<T: Element>(
        &self,
        dx: &mut [f32],
        accumulate: bool,
        dy: &[T],
        weight: &str,
        inputs: usize,
        precision: Precision,
        buffers: &mut Buffers,
    ) {
        linear::backward_input(dx, accumulate, dy, self.data(weight), inputs, precision);
        if let Some(low_rank) = self.low_rank(weight) {
            low_rank.backward_input(dx, dy, buffers, precision);
        }
    }

    /// Adds the gradients of the layer's weight and factors, those that are asked for.
    pub(crate) fn backward_weight<D: Element, X: Element>(
        &self,
        gradients: &mut Parameters,
        dy: &[D],
        x: &[X],
        weight: &str,
        inputs: usize,
        precision: Precision,
        buffers: &mut Buffers,
    ) {
        if let Some(d_weight) = gradients.data_mut(self.name(weight)) {
            linear::backward_weight(d_weight, dy, x, inputs, precision);
        }
        if let (Some(low_rank), Some([a, b])) = (self.low_rank(weight), self.factors(weight)) {
            if let Some(d_a) = gradients.data_mut(a) {
                low_rank.backward_a(d_a, dy, x, buffers, precision);
            }
            if let Some(d_b) = gradients.data_mut(b) {
                low_rank.backward_b(d_b, dy, x, buffers, precision);
            }
        }
    }

    /// Names of the two factors of the linear layer of `weight`.
    pub(crate) fn factors(&self, weight: &str) -> Option<[&'a str; 2]> {
        self.adapter?.factor_names(weight)
    }

    /// The layer's weight with the adapter put into it.
    pub(crate) fn merged(&self, weight: &str) -> Cow<'a, [f32]> {
        merge(self.data(weight), self.low_rank(weight))
    }

    /// The head's weight with the adapter put into it.
    pub(crate) fn merged_head(&self, stored: &str) -> Cow<'a, [f32]> {
        let weight = self.parameters.data(self.head_name(stored));
        merge(weight, self.low_rank(HEAD))
    }
}

fn merge<'a>(weight: &'a [f32], low_rank: Option<LowRank>) -> Cow<'a, [f32]> {
    let Some(low_rank) = low_rank else {
        return Cow::Borrowed(weight);
    };
    let mut merged = weight.to_vec();
    low_rank.merge(&mut merged);
    Cow::Owned(merged)
}
