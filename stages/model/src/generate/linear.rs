//! A linear layer of a decoder: floats or integers, and what adapters add to it.
//!
//! Used by `decoder`. An adapter (LoRA) stays beside the weights: rows name the adapter that acts
//! on them, so that one batch may hold sequences of several.

use std::ops::Range;

use super::packed::Packed;
use super::quantized::{Quantized, Rows};
use crate::ops::low_rank::LowRank;

/// How weights of linear layers, keys and values are kept; sums are in f32 or exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As they are, in 32-bit floats.
    #[default]
    F32,
    /// Rounded to bfloat16.
    Bf16,
    /// Weights rounded to 8 bits with one scale per output, keys and values to bfloat16.
    Int8,
    /// As `Int8`, with 4 bits and a step for each 32 inputs in place of 8 bits; the output head,
    /// whose errors no later layer evens out, has 8.
    Int4,
}

impl Form {
    /// That of the output head.
    pub(super) fn of_head(self) -> Self {
        match self {
            Self::Int4 => Self::Int8,
            other => other,
        }
    }
}

enum Weight {
    Floats(Packed),
    Integers(Quantized),
}

/// A linear layer.
pub(super) struct Linear {
    weight: Weight,
    /// Of each adapter, what it adds.
    adapters: Vec<Vec<Part>>,
}

/// The factors of a low-rank product, and the outputs it is added to.
struct Part {
    first: usize,
    a: Packed,
    b: Packed,
}

/// Reused buffers.
#[derive(Default)]
pub(super) struct Buffers {
    tiles: Vec<f32>,
    rows: Rows,
    narrow: Vec<f32>,
    change: Vec<f32>,
}

impl Linear {
    /// Lays out matrices `[out, in]`, one below the other.
    pub(super) fn new(form: Form, parts: &[&[f32]], inputs: usize) -> Self {
        let weight = match form {
            Form::F32 => Weight::Floats(Packed::new(parts, inputs)),
            Form::Bf16 => Weight::Floats(Packed::in_form(true, parts, inputs)),
            Form::Int8 => Weight::Integers(Quantized::new(parts, inputs)),
            Form::Int4 => Weight::Integers(Quantized::in_nibbles(parts, inputs)),
        };
        Self {
            weight,
            adapters: Vec::new(),
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match &self.weight {
            Weight::Floats(packed) => packed.outputs(),
            Weight::Integers(quantized) => quantized.outputs(),
        }
    }

    /// Bytes of the weights, without adapters.
    pub(super) fn bytes(&self) -> usize {
        match &self.weight {
            Weight::Floats(packed) => packed.bytes(),
            Weight::Integers(quantized) => quantized.bytes(),
        }
    }

    /// Adds one more adapter, given what it adds at which output.
    pub(super) fn adapt(&mut self, low_ranks: &[(usize, Option<LowRank>)]) {
        let parts = low_ranks.iter().filter_map(|(first, low_rank)| {
            let low_rank = low_rank.as_ref()?;
            let b: Vec<f32> = low_rank.b.iter().map(|b| b * low_rank.scale).collect();
            Some(Part {
                first: *first,
                a: Packed::new(&[low_rank.a], low_rank.a.len() / low_rank.rank),
                b: Packed::new(&[&b], low_rank.rank),
            })
        });
        self.adapters.push(parts.collect());
    }

    /// `y = W x`, or `y += W x`, for rows of which `adapted` says which adapter acts on which.
    pub(super) fn apply(
        &self,
        y: &mut [f32],
        accumulate: bool,
        x: &[f32],
        adapted: &[(usize, Range<usize>)],
        buffers: &mut Buffers,
    ) {
        match &self.weight {
            Weight::Floats(packed) => packed.apply(y, accumulate, x, &mut buffers.tiles),
            Weight::Integers(quantized) => quantized.apply(y, accumulate, x, &mut buffers.rows),
        }
        let outputs = self.outputs();
        let inputs = x.len() / (y.len() / outputs);
        for (adapter, rows) in adapted {
            let x = &x[rows.start * inputs..rows.end * inputs];
            let y = &mut y[rows.start * outputs..rows.end * outputs];
            for part in &self.adapters[*adapter] {
                part.apply(y, x, outputs, buffers);
            }
        }
    }
}

impl Part {
    fn apply(&self, y: &mut [f32], x: &[f32], outputs: usize, buffers: &mut Buffers) {
        let rows = y.len() / outputs;
        let Buffers {
            tiles,
            narrow,
            change,
            ..
        } = buffers;
        narrow.resize(rows * self.a.outputs(), 0.0);
        self.a.apply(narrow, false, x, tiles);
        change.resize(rows * self.b.outputs(), 0.0);
        self.b.apply(change, false, narrow, tiles);
        let width = self.b.outputs();
        for (y, change) in y.chunks_exact_mut(outputs).zip(change.chunks_exact(width)) {
            for (y, change) in y[self.first..][..width].iter_mut().zip(change) {
                *y += change;
            }
        }
    }
}
