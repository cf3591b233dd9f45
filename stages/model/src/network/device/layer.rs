//! Linear layers on a device: several that read the same input as one product, adapters beside them.
//!
//! Used by `forward` and `backward`. Weights that lie one behind the other are one matrix; an
//! adapter adds to the columns of its own layer; a gradient is one product if all layers are
//! trained, else one for each that is.

use std::ops::Range;

use anyhow::Result;
use gpu::ops::dropout::Dropout;
use gpu::ops::linear;
use gpu::ops::low_rank::LowRank;
use gpu::ops::matmul::{Matrix, Output, matmul};
use gpu::ops::row_product::row_product;
use gpu::{Slice, SliceMut};

use crate::parameters::{Number, Placed};
use crate::weights::Weights;

/// The weights of a pass, by name.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    weights: Weights<'a>,
    placed: &'a Placed,
}

impl<'a> Layers<'a> {
    pub(crate) fn new(weights: Weights<'a>) -> Self {
        Self {
            weights,
            placed: super::placed(weights),
        }
    }

    /// A norm's weight or a bias.
    pub(crate) fn master(&self, name: &str) -> Slice<'a, f32> {
        self.placed.master(self.weights.name(name))
    }

    /// Biases of layers that share a product.
    pub(crate) fn masters(&self, names: &[&str]) -> Slice<'a, f32> {
        self.placed.masters(names)
    }

    /// What the adapter adds to the layer of `weight`.
    pub(crate) fn low_rank<T: Number>(&self, weight: &str) -> Option<LowRank<'a, T>> {
        let adapter = self.weights.adapter?;
        let [a, b] = adapter.factor_names(weight)?;
        let dropout = adapter.dropout(weight, self.weights.dropout);
        Some(LowRank {
            a: self.placed.weight(a),
            b: self.placed.weight(b),
            rank: adapter.config().rank,
            scale: adapter.config().scale(),
            dropout: dropout.map(|dropout| Dropout {
                key: dropout.key,
                probability: dropout.probability,
                first_row: dropout.first_row,
            }),
        })
    }

    /// Where each layer's outputs lie among those of all, side by side.
    fn columns<'n, T: Number>(
        &self,
        names: &'n [&'n str],
        inputs: usize,
    ) -> impl Iterator<Item = (&'n str, Range<usize>)> {
        names.iter().scan(0, move |end, name| {
            let start = *end;
            *end += self.placed.weight::<T>(name).len() / inputs;
            Some((*name, start..*end))
        })
    }
}

/// Products of layers that share an input, in numbers `T`.
impl Layers<'_> {
    /// `y = x Wᵀ`, the outputs of all layers side by side.
    pub(crate) fn forward<T>(
        &self,
        mut y: SliceMut<T>,
        x: Slice<T>,
        names: &[&str],
        inputs: usize,
    ) -> Result<()>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let weight = self.placed.weights::<T>(names);
        let stride = weight.len() / inputs;
        linear::forward(y.reborrow(), false, x, weight, inputs)?;
        for (name, columns) in self.columns::<T>(names, inputs) {
            if let Some(low_rank) = self.low_rank::<T>(name) {
                low_rank.forward(y.reborrow().slice(columns.start..), stride, x)?;
            }
        }
        Ok(())
    }

    /// As [`Layers::forward`], for decoding: each row's bits are the same whatever rows are beside
    /// it, and no memory is taken; `narrow` has room for the adapter's rank in each row.
    pub(crate) fn forward_by_row<T>(
        &self,
        mut y: SliceMut<T>,
        x: Slice<T>,
        names: &[&str],
        inputs: usize,
        mut narrow: SliceMut<T>,
    ) -> gpu::Result<()>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let weight = self.placed.weights::<T>(names);
        let stride = weight.len() / inputs;
        row_product(y.reborrow(), stride, false, 1.0, x, weight, inputs)?;
        for (name, columns) in self.columns::<T>(names, inputs) {
            if let Some(low_rank) = self.low_rank::<T>(name) {
                let own = y.reborrow().slice(columns.start..);
                low_rank.forward_by_row(own, stride, x, narrow.reborrow())?;
            }
        }
        Ok(())
    }

    /// `dx = dy W`, summed over all layers.
    pub(crate) fn backward_input<T>(
        &self,
        mut dx: SliceMut<T>,
        dy: Slice<T>,
        names: &[&str],
        inputs: usize,
    ) -> Result<()>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let weight = self.placed.weights::<T>(names);
        let stride = weight.len() / inputs;
        linear::backward_input(dx.reborrow(), false, dy, weight, inputs)?;
        for (name, columns) in self.columns::<T>(names, inputs) {
            if let Some(low_rank) = self.low_rank::<T>(name) {
                low_rank.backward_input(dx.reborrow(), dy.slice(columns.start..), stride)?;
            }
        }
        Ok(())
    }

    /// Adds the gradients of weights and factors that are trained.
    pub(crate) fn backward_weight<T>(
        &self,
        gradients: &mut Placed,
        dy: Slice<T>,
        x: Slice<T>,
        names: &[&str],
        inputs: usize,
    ) -> Result<()>
    where
        T: Number + Output<T>,
        f32: Output<T>,
    {
        let stride = self.placed.weights::<T>(names).len() / inputs;
        let rows = x.len() / inputs;
        let together = if let Some(d_weights) = gradients.gradients(names) {
            linear::backward_weight(d_weights, dy, x, inputs)?;
            true
        } else {
            false
        };
        for (name, columns) in self.columns::<T>(names, inputs) {
            let own = dy.slice(columns.start..);
            if !together && let Some(d_weight) = gradients.gradient(name) {
                let dy = Matrix::strided(own, rows, columns.len(), stride).transposed();
                matmul(
                    d_weight,
                    inputs,
                    true,
                    1.0,
                    dy,
                    Matrix::new(x, rows, inputs),
                )?;
            }
            let factors = self.weights.factors(name);
            if let (Some(low_rank), Some([a, b])) = (self.low_rank::<T>(name), factors) {
                if let Some(d_a) = gradients.gradient(a) {
                    low_rank.backward_a(d_a, own, stride, x)?;
                }
                if let Some(d_b) = gradients.gradient(b) {
                    low_rank.backward_b(d_b, own, stride, x)?;
                }
            }
        }
        Ok(())
    }
}
