//! The optimiser on a device: every tensor in one launch, the norm in two.
//!
//! Called by `optimizer` when weights and gradients lie there. The formulas are those of the CPU; a
//! working copy of the weights is written beside the masters.

use anyhow::{Context as _, Result};
use gpu::ops::optimizer::{self, Tensor};

use super::AdamWConfig;
use crate::device::demand;
use crate::parameters::{Parameters, Placed};

/// The numbers of one update.
pub(super) struct Update {
    pub(super) config: AdamWConfig,
    pub(super) learning_rate: f64,
    pub(super) step: u64,
    pub(super) gradient_scale: f32,
}

impl Update {
    /// One update of every tensor that has a gradient.
    pub(super) fn apply(
        &self,
        parameters: &mut Placed,
        first: &mut Parameters,
        second: &mut Parameters,
        gradients: &Parameters,
    ) {
        demand(self.try_apply(parameters, first, second, gradients));
    }

    fn try_apply(
        &self,
        parameters: &mut Placed,
        first: &mut Parameters,
        second: &mut Parameters,
        gradients: &Parameters,
    ) -> Result<()> {
        let there = "gradients and moments lie where the weights lie";
        let gradients = gradients.placed().context(there)?;
        let first = first.placed_mut().context(there)?.parts();
        let second = second.placed_mut().context(there)?.parts();
        let device = parameters.device().clone();
        let weights = parameters.parts();
        // In order of place, so that each can be split off what is left.
        let mut places: Vec<_> = first.places.iter().collect();
        places.sort_by_key(|(_, place)| place.start);
        let mut ordered: Vec<_> = places
            .iter()
            .map(|(name, _)| (*name, weights.places[*name].clone()))
            .collect();
        ordered.sort_by_key(|(_, place)| place.start);
        let mut values = Splitter::new(weights.masters);
        let mut copies = weights.working.map(Splitter::new);
        let (mut first, mut second) = (Splitter::new(first.masters), Splitter::new(second.masters));
        let mut tensors = Vec::with_capacity(ordered.len());
        // Both orders are by the same rule, so moments can be split off in the order of weights.
        for ((name, weight), (own, moment)) in ordered.into_iter().zip(places) {
            assert_eq!(name, own, "tensors lie in one order everywhere");
            tensors.push(Tensor {
                values: values.take(weight.clone()),
                copy: copies.as_mut().map(|copies| copies.take(weight)),
                first: first.take(moment.clone()),
                second: second.take(moment.clone()),
                gradient: gradients.master(name),
                decays: super::decays(name),
            });
        }
        let AdamWConfig {
            beta1,
            beta2,
            eps,
            weight_decay,
        } = self.config;
        let scale = device.upload(&[self.gradient_scale])?;
        let update = optimizer::AdamW {
            beta1,
            beta2,
            eps,
            weight_decay,
            learning_rate: self.learning_rate,
            step: self.step,
        };
        update.update(&device, &mut tensors, Some(scale.view()))?;
        Ok(())
    }
}

/// Splits stretches off a slice, first to last.
struct Splitter<'a, T: gpu::Element> {
    rest: Option<gpu::SliceMut<'a, T>>,
    at: usize,
}

impl<'a, T: gpu::Element> Splitter<'a, T> {
    fn new(all: gpu::SliceMut<'a, T>) -> Self {
        Self {
            rest: Some(all),
            at: 0,
        }
    }

    fn take(&mut self, place: std::ops::Range<usize>) -> gpu::SliceMut<'a, T> {
        let rest = self.rest.take().expect("there always is a rest");
        let (_, from) = rest.split_at(place.start - self.at);
        let (own, behind) = from.split_at(place.len());
        self.rest = Some(behind);
        self.at = place.end;
        own
    }
}

/// The Euclidean norm over all gradients.
pub(super) fn norm(gradients: &Placed) -> f64 {
    let norm = || -> Result<f64> {
        let mut out = gradients.device().empty(2)?;
        optimizer::norm(out.view_mut(), &[gradients.all()], 0.0)?;
        Ok(f64::from(out.download()?[0]))
    };
    demand(norm())
}
