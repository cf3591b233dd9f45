//! What a low-rank adapter (LoRA) adds to a linear layer: `y += s (drop(x) Aᵀ) Bᵀ`.
//!
//! `A` is `[rank, in]`, `B` `[out, rank]`. With `u = drop(x) Aᵀ` and `du = s dy B`, backward is
//! `dB += s dyᵀ u`, `dA += duᵀ drop(x)`, `dx += drop(du A)`. `u` is computed again in the backward
//! pass. `y` and `dy` may be some columns of wider rows: an adapter acts on one of the layers
//! that share a product.

use super::dropout::Dropout;
use super::elementwise;
use super::matmul::{Matrix, Output, matmul};
use super::row_product::row_product;
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;

/// The two factors of one linear layer, in the activations' precision.
#[derive(Clone, Copy)]
pub struct LowRank<'a, T: Float> {
    /// `[rank, in]`.
    pub a: Slice<'a, T>,
    /// `[out, rank]`.
    pub b: Slice<'a, T>,
    /// Rows of `A`.
    pub rank: usize,
    /// `s`.
    pub scale: f32,
    /// `None` outside training.
    pub dropout: Option<Dropout>,
}

impl<T: Float + Output<T>> LowRank<'_, T>
where
    f32: Output<T>,
{
    /// The same factors for rows that start at `row` of the dropout mask.
    pub fn at_row(self, row: usize) -> Self {
        let dropout = self.dropout.map(|dropout| Dropout {
            first_row: dropout.first_row + row,
            ..dropout
        });
        Self { dropout, ..self }
    }

    fn inputs(&self) -> usize {
        self.a.len() / self.rank
    }

    fn outputs(&self) -> usize {
        self.b.len() / self.rank
    }

    fn a_matrix(&self) -> Matrix<'_, T> {
        Matrix::new(self.a, self.rank, self.inputs())
    }

    fn b_matrix(&self) -> Matrix<'_, T> {
        Matrix::new(self.b, self.outputs(), self.rank)
    }

    /// `drop(x)`, or `None` if nothing is dropped.
    fn dropped(&self, x: Slice<T>) -> Result<Option<Buffer<T>>> {
        let Some(dropout) = self.dropout else {
            return Ok(None);
        };
        let mut dropped = x.device().empty(x.len())?;
        dropout.apply(dropped.view_mut(), x, self.inputs())?;
        Ok(Some(dropped))
    }

    /// `u = drop(x) Aᵀ`.
    fn narrowed(&self, x: Slice<T>) -> Result<Buffer<T>> {
        let (rows, inputs) = (x.len() / self.inputs(), self.inputs());
        let mut u = x.device().empty(rows * self.rank)?;
        let dropped = self.dropped(x)?;
        let x = Matrix::new(dropped.as_ref().map_or(x, Buffer::view), rows, inputs);
        let a = self.a_matrix().transposed();
        matmul(u.view_mut(), self.rank, false, 1.0, x, a)?;
        Ok(u)
    }

    /// `du = s dy B`.
    fn d_narrowed(&self, dy: Slice<T>, stride: usize, rows: usize) -> Result<Buffer<T>> {
        let mut du = dy.device().empty(rows * self.rank)?;
        let dy = Matrix::strided(dy, rows, self.outputs(), stride);
        let b = self.b_matrix();
        matmul(du.view_mut(), self.rank, false, self.scale, dy, b)?;
        Ok(du)
    }

    /// `y += s (drop(x) Aᵀ) Bᵀ`; `x` is `[rows, in]`, `y` `[rows, out]` with rows `stride` apart.
    ///
    /// # Errors
    /// A product is refused, or there is no memory.
    pub fn forward<O: Output<T>>(&self, y: SliceMut<O>, stride: usize, x: Slice<T>) -> Result<()> {
        let u = self.narrowed(x)?;
        let u = Matrix::new(u.view(), x.len() / self.inputs(), self.rank);
        matmul(y, stride, true, self.scale, u, self.b_matrix().transposed())
    }

    /// As [`LowRank::forward`], but nothing is dropped, each row's bits are the same whatever rows are
    /// beside it, and no memory is taken: `u` has room for `rank` values a row.
    ///
    /// # Errors
    /// A launch fails.
    pub fn forward_by_row<O: Output<T>>(
        &self,
        y: SliceMut<O>,
        stride: usize,
        x: Slice<T>,
        u: SliceMut<T>,
    ) -> Result<()> {
        let (rank, inputs) = (self.rank, self.inputs());
        let mut u = u.slice(..x.len() / inputs * rank);
        row_product(u.reborrow(), rank, false, 1.0, x, self.a, inputs)?;
        row_product(y, stride, true, self.scale, u.as_slice(), self.b, rank)
    }

    /// `dx += drop((s dy B) A)`; `dy` as `y` in [`LowRank::forward`].
    ///
    /// # Errors
    /// A product is refused, or there is no memory.
    pub fn backward_input<O: Output<T>>(
        &self,
        dx: SliceMut<O>,
        dy: Slice<T>,
        stride: usize,
    ) -> Result<()> {
        let inputs = self.inputs();
        let rows = dx.len() / inputs;
        let du = self.d_narrowed(dy, stride, rows)?;
        let du = Matrix::new(du.view(), rows, self.rank);
        let Some(dropout) = self.dropout else {
            return matmul(dx, inputs, true, 1.0, du, self.a_matrix());
        };
        let mut wide = dx.device().empty::<T>(dx.len())?;
        matmul(wide.view_mut(), inputs, false, 1.0, du, self.a_matrix())?;
        dropout.apply_in_place(wide.view_mut(), inputs)?;
        elementwise::add_scaled(dx, 1.0, wide.view())
    }

    /// `dA += (s dy B)ᵀ drop(x)`.
    ///
    /// # Errors
    /// A product is refused, or there is no memory.
    pub fn backward_a(
        &self,
        d_a: SliceMut<f32>,
        dy: Slice<T>,
        stride: usize,
        x: Slice<T>,
    ) -> Result<()> {
        let (rows, inputs) = (x.len() / self.inputs(), self.inputs());
        let du = self.d_narrowed(dy, stride, rows)?;
        let du = Matrix::new(du.view(), rows, self.rank).transposed();
        let dropped = self.dropped(x)?;
        let x = Matrix::new(dropped.as_ref().map_or(x, Buffer::view), rows, inputs);
        matmul(d_a, inputs, true, 1.0, du, x)
    }

    /// `dB += s dyᵀ u`.
    ///
    /// # Errors
    /// A product is refused, or there is no memory.
    pub fn backward_b(
        &self,
        d_b: SliceMut<f32>,
        dy: Slice<T>,
        stride: usize,
        x: Slice<T>,
    ) -> Result<()> {
        let rows = x.len() / self.inputs();
        let u = self.narrowed(x)?;
        let u = Matrix::new(u.view(), rows, self.rank);
        let dy = Matrix::strided(dy, rows, self.outputs(), stride).transposed();
        matmul(d_b, self.rank, true, self.scale, dy, u)
    }
}
