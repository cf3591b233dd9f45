//! What a low-rank adapter (LoRA) adds to a linear layer: `y += s (drop(x) Aᵀ) Bᵀ`.
//!
//! `A` is `[rank, in]`, `B` `[out, rank]`. With `u = drop(x) Aᵀ` and `du = s dy B`, backward is
//! `dB += s dyᵀ u`, `dA += duᵀ drop(x)`, `dx += drop(du A)`. `u` is computed again in the
//! backward pass, so nothing is kept between the passes. Dropout is a function of its key, row
//! and column; both passes draw the same mask.

use rayon::prelude::*;

use super::ROWS_PER_TASK;
use super::matmul::{Threads, View, matmul};
use super::vector::add_scaled;
use crate::precision::{Element, Precision};

/// Which inputs are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Names the mask: one per linear layer and pass over data.
    pub key: u64,
    /// Share of inputs set to 0; the others are divided by `1 - probability`.
    pub probability: f32,
    /// Row of the mask that belongs to the first row of `x`.
    pub first_row: usize,
}

/// Reused buffers.
#[derive(Default)]
pub struct Buffers {
    /// `[rows, rank]`.
    narrow: Vec<f32>,
    d_narrow: Vec<f32>,
    /// `[rows, in]`, used with dropout only.
    wide: Vec<f32>,
}

/// The two factors of one linear layer.
#[derive(Clone, Copy)]
pub struct LowRank<'a> {
    /// `[rank, in]`.
    pub a: &'a [f32],
    /// `[out, rank]`.
    pub b: &'a [f32],
    /// Rows of `A`.
    pub rank: usize,
    /// `s`.
    pub scale: f32,
    /// `None` outside training.
    pub dropout: Option<Dropout>,
}

impl LowRank<'_> {
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

    fn a(&self) -> View<'_> {
        View::new(self.a, self.rank, self.inputs())
    }

    fn b(&self) -> View<'_> {
        View::new(self.b, self.outputs(), self.rank)
    }

    /// `drop(x)` in `wide`, or `None` if nothing is dropped.
    fn dropped<'w, T: Element>(&self, x: &[T], wide: &'w mut Vec<f32>) -> Option<&'w [f32]> {
        let dropout = self.dropout?;
        wide.clear();
        wide.extend(x.iter().map(|value| value.widen()));
        drop_rows(wide, self.inputs(), dropout);
        Some(wide)
    }

    /// `u = drop(x) Aᵀ`.
    fn narrow<T: Element>(
        &self,
        narrow: &mut Vec<f32>,
        x: &[T],
        wide: &mut Vec<f32>,
        precision: Precision,
    ) {
        let (rows, inputs) = (x.len() / self.inputs(), self.inputs());
        narrow.resize(rows * self.rank, 0.0);
        let a = self.a().transposed();
        match self.dropped(x, wide) {
            Some(x) => product(narrow, false, 1.0, View::new(x, rows, inputs), a, precision),
            None => product(narrow, false, 1.0, View::new(x, rows, inputs), a, precision),
        }
    }

    /// `du = s dy B`.
    fn d_narrow<T: Element>(&self, d_narrow: &mut Vec<f32>, dy: &[T], precision: Precision) {
        let rows = dy.len() / self.outputs();
        d_narrow.resize(rows * self.rank, 0.0);
        let dy = View::new(dy, rows, self.outputs());
        product(d_narrow, false, self.scale, dy, self.b(), precision);
    }

    /// `y += s (drop(x) Aᵀ) Bᵀ`; `x` is `[rows, in]`, `y` `[rows, out]`.
    pub fn forward<T: Element>(
        &self,
        y: &mut [f32],
        x: &[T],
        buffers: &mut Buffers,
        precision: Precision,
    ) {
        let Buffers { narrow, wide, .. } = buffers;
        self.narrow(narrow, x, wide, precision);
        let u = View::new(narrow, x.len() / self.inputs(), self.rank);
        product(y, true, self.scale, u, self.b().transposed(), precision);
    }

    /// `dx += drop(s dy B A)`.
    pub fn backward_input<T: Element>(
        &self,
        dx: &mut [f32],
        dy: &[T],
        buffers: &mut Buffers,
        precision: Precision,
    ) {
        let rows = dy.len() / self.outputs();
        let Buffers { d_narrow, wide, .. } = buffers;
        self.d_narrow(d_narrow, dy, precision);
        let du = View::new(d_narrow, rows, self.rank);
        let Some(dropout) = self.dropout else {
            product(dx, true, 1.0, du, self.a(), precision);
            return;
        };
        wide.resize(rows * self.inputs(), 0.0);
        product(wide, false, 1.0, du, self.a(), precision);
        drop_rows(wide, self.inputs(), dropout);
        add_scaled(dx, 1.0, wide);
    }

    /// `dA += (s dy B)ᵀ drop(x)`.
    pub fn backward_a<D: Element, X: Element>(
        &self,
        d_a: &mut [f32],
        dy: &[D],
        x: &[X],
        buffers: &mut Buffers,
        precision: Precision,
    ) {
        let (rows, inputs) = (x.len() / self.inputs(), self.inputs());
        let Buffers { d_narrow, wide, .. } = buffers;
        self.d_narrow(d_narrow, dy, precision);
        let du = View::new(d_narrow, rows, self.rank).transposed();
        match self.dropped(x, wide) {
            Some(x) => product(d_a, true, 1.0, du, View::new(x, rows, inputs), precision),
            None => product(d_a, true, 1.0, du, View::new(x, rows, inputs), precision),
        }
    }

    /// `dB += s dyᵀ u`.
    pub fn backward_b<D: Element, X: Element>(
        &self,
        d_b: &mut [f32],
        dy: &[D],
        x: &[X],
        buffers: &mut Buffers,
        precision: Precision,
    ) {
        let rows = x.len() / self.inputs();
        let Buffers { narrow, wide, .. } = buffers;
        self.narrow(narrow, x, wide, precision);
        let dy = View::new(dy, rows, self.outputs()).transposed();
        let u = View::new(narrow, rows, self.rank);
        product(d_b, true, self.scale, dy, u, precision);
    }

    /// `W += s B A`, returning the largest absolute change.
    pub fn merge(&self, weight: &mut [f32]) -> f32 {
        let mut change = vec![0.0; weight.len()];
        let (a, b) = (self.a(), self.b());
        product(&mut change, false, self.scale, b, a, Precision::F32);
        add_scaled(weight, 1.0, &change);
        change
            .iter()
            .fold(0.0, |largest, value| largest.max(value.abs()))
    }
}

/// [`matmul`] on all threads.
fn product<A: Element, B: Element>(
    out: &mut [f32],
    accumulate: bool,
    scale: f32,
    a: View<A>,
    b: View<B>,
    precision: Precision,
) {
    matmul(out, accumulate, scale, a, b, precision, Threads::All);
}

fn drop_rows(x: &mut [f32], inputs: usize, dropout: Dropout) {
    let threshold = (f64::from(dropout.probability) * 2.0_f64.powi(32)) as u64;
    let keep = 1.0 / (1.0 - dropout.probability);
    x.par_chunks_mut(ROWS_PER_TASK * inputs)
        .enumerate()
        .for_each(|(task, rows)| {
            let first = (dropout.first_row + task * ROWS_PER_TASK) * inputs;
            for (offset, value) in rows.iter_mut().enumerate() {
                let kept = bits(dropout.key, (first + offset) as u64) >> 32 >= threshold;
                *value *= if kept { keep } else { 0.0 };
            }
        });
}

/// SplitMix64 at a counter: 64 random bits.
fn bits(key: u64, counter: u64) -> u64 {
    let mut z = key.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
