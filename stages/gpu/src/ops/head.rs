//! The language-model head: log-probabilities of given tokens, without ever holding the logits of
//! all tokens.
//!
//! `log p(y | h) = z_y − ln Σ_v e^{z_v}`, with `z = W h / temperature`. Backward, given
//! `g = dL/d log p`: `dz = g (onehot(y) − softmax(z)) / temperature`, `dh += dz W`,
//! `dW += dzᵀ h`. Rows with a target only, a chunk at a time; the backward pass computes the logits
//! again and yields the log-probabilities on the way. Logits are f32, their gradients in the
//! products' precision. Kernels in `kernels/head.cu`.

use super::low_rank::LowRank;
use super::matmul::{Matrix, Output, matmul};
use super::{int, warps};
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::Grid;
use crate::element::Float;
use crate::error::Result;

/// Threads that share a row of logits.
const THREADS: u32 = 512;

/// The rows that have a target, and the targets.
pub struct Targets {
    rows: Buffer<u32>,
    ids: Buffer<u32>,
    /// One more than the highest row and id.
    bounds: [usize; 2],
}

impl Targets {
    /// Of `(row, target)` pairs; rows must differ.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(device: &Device, targets: &[(usize, u32)]) -> Result<Self> {
        let rows: Vec<u32> = targets.iter().map(|(row, _)| *row as u32).collect();
        let ids: Vec<u32> = targets.iter().map(|(_, id)| *id).collect();
        let bound = |values: &[u32]| values.iter().max().map_or(0, |most| *most as usize + 1);
        Ok(Self {
            bounds: [bound(&rows), bound(&ids)],
            rows: device.upload(&rows)?,
            ids: device.upload(&ids)?,
        })
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// The head's weight and how logits are scaled.
#[derive(Clone, Copy)]
pub struct Head<'a, T: Float> {
    /// `[vocab, width]`; the embedding when tied.
    pub weight: Slice<'a, T>,
    /// Width of a hidden state.
    pub width: usize,
    /// Logits are divided by it; 1 for the plain model.
    pub temperature: f32,
    /// What an adapter adds.
    pub low_rank: Option<LowRank<'a, T>>,
    /// Rows of logits held at once.
    pub chunk: usize,
}

/// Where the head's gradients are added; `None` is frozen.
#[derive(Default)]
pub struct Gradients<'a> {
    /// Of the weight, `[vocab, width]`.
    pub weight: Option<SliceMut<'a, f32>>,
    /// Of the adapter's `A`.
    pub a: Option<SliceMut<'a, f32>>,
    /// Of the adapter's `B`.
    pub b: Option<SliceMut<'a, f32>>,
}

/// `log_probs[r] = log p(targets[r])` from logits `[rows, vocab]`.
///
/// # Errors
/// The launch fails.
pub fn log_probs(
    log_probs: SliceMut<f32>,
    logits: Slice<f32>,
    targets: Slice<u32>,
    vocab: usize,
) -> Result<()> {
    let rows = targets.len();
    assert_eq!(log_probs.len(), rows, "a log-probability per target");
    assert_eq!(logits.len(), rows * vocab, "rows of logits");
    let arguments = [
        (&log_probs).into(),
        logits.into(),
        targets.into(),
        int(vocab).into(),
    ];
    let grid = Grid::new(rows, THREADS);
    log_probs.device.launch("head_log_probs", grid, &arguments)
}

/// The gradient of logits `[rows, vocab]`, given `dL/d log p` per row; and [`log_probs`].
///
/// # Errors
/// The launch fails.
pub fn backward_logits<T: Float>(
    d_logits: SliceMut<T>,
    log_probs: SliceMut<f32>,
    logits: Slice<f32>,
    targets: Slice<u32>,
    d_log_probs: Slice<f32>,
    temperature: f32,
    vocab: usize,
) -> Result<()> {
    let rows = targets.len();
    assert_eq!([log_probs.len(), d_log_probs.len()], [rows; 2], "targets");
    assert_eq!([logits.len(), d_logits.len()], [rows * vocab; 2], "rows");
    let arguments = [
        (&d_logits).into(),
        (&log_probs).into(),
        logits.into(),
        targets.into(),
        d_log_probs.into(),
        (1.0 / temperature).into(),
        int(vocab).into(),
    ];
    let grid = Grid::new(rows, THREADS);
    d_logits
        .device
        .launch_for::<T>("head_backward", grid, &arguments)
}

/// `out[i] = x[rows[i]]`, rows of `width`; row numbers must be inside `x`.
///
/// # Errors
/// The launch fails.
pub fn gather_rows<T: Float>(
    out: SliceMut<T>,
    x: Slice<T>,
    rows: Slice<u32>,
    width: usize,
) -> Result<()> {
    assert_eq!(out.len(), rows.len() * width, "rows to gather");
    let arguments = [
        (&out).into(),
        x.into(),
        rows.into(),
        int(rows.len()).into(),
        int(width).into(),
    ];
    out.device
        .launch_for::<T>("gather_rows", warps(rows.len()), &arguments)
}

/// `out[rows[i]] += x[i]`; no row twice, all inside `out`.
fn scatter_add_rows(
    out: SliceMut<f32>,
    x: Slice<f32>,
    rows: Slice<u32>,
    width: usize,
) -> Result<()> {
    assert_eq!(x.len(), rows.len() * width, "rows to add");
    let arguments = [
        (&out).into(),
        x.into(),
        rows.into(),
        int(rows.len()).into(),
        int(width).into(),
    ];
    out.device
        .launch("scatter_add_rows", warps(rows.len()), &arguments)
}

/// A chunk's buffers.
struct Scratch<T: Float> {
    hidden: Buffer<T>,
    logits: Buffer<f32>,
}

impl<T: Float + Output<T>> Head<'_, T>
where
    f32: Output<T>,
{
    fn vocab(&self) -> usize {
        self.weight.len() / self.width
    }

    /// Logits `[rows, vocab]` of hidden states `[rows, width]`, divided by the temperature;
    /// `first_row` counts targets for dropout.
    ///
    /// # Errors
    /// A product is refused.
    pub fn logits(
        &self,
        mut logits: SliceMut<f32>,
        hidden: Slice<T>,
        first_row: usize,
    ) -> Result<()> {
        let (width, vocab) = (self.width, self.vocab());
        let rows = hidden.len() / width;
        let weight = Matrix::new(self.weight, vocab, width).transposed();
        let states = Matrix::new(hidden, rows, width);
        let scale = 1.0 / self.temperature;
        matmul(logits.reborrow(), vocab, false, scale, states, weight)?;
        if let Some(low_rank) = self.low_rank {
            let scale = low_rank.scale / self.temperature;
            let low_rank = LowRank { scale, ..low_rank }.at_row(first_row);
            low_rank.forward(logits, vocab, hidden)?;
        }
        Ok(())
    }

    fn check(&self, hidden: Slice<T>, targets: &Targets) {
        let [rows, ids] = targets.bounds;
        assert!(rows * self.width <= hidden.len(), "a target's row");
        assert!(ids <= self.vocab(), "a target outside the vocabulary");
        assert!(self.chunk > 0, "a chunk of no rows");
    }

    fn scratch(&self, targets: &Targets) -> Result<Scratch<T>> {
        let (device, rows) = (self.weight.device(), self.chunk.min(targets.len()));
        Ok(Scratch {
            hidden: device.empty(rows * self.width)?,
            logits: device.empty(rows * self.vocab())?,
        })
    }

    /// Writes `log p(target)` for each target; `hidden` is `[tokens, width]`.
    ///
    /// # Errors
    /// A product is refused, or there is no memory for a chunk.
    pub fn forward(
        &self,
        mut log_probs: SliceMut<f32>,
        hidden: Slice<T>,
        targets: &Targets,
    ) -> Result<()> {
        self.check(hidden, targets);
        let (width, vocab) = (self.width, self.vocab());
        let mut scratch = self.scratch(targets)?;
        for start in (0..targets.len()).step_by(self.chunk) {
            let end = targets.len().min(start + self.chunk);
            let count = end - start;
            let states = scratch.hidden.slice_mut(..count * width);
            gather_rows(states, hidden, targets.rows.slice(start..end), width)?;
            let states = scratch.hidden.slice(..count * width);
            self.logits(scratch.logits.slice_mut(..count * vocab), states, start)?;
            self::log_probs(
                log_probs.reborrow().slice(start..end),
                scratch.logits.slice(..count * vocab),
                targets.ids.slice(start..end),
                vocab,
            )?;
        }
        Ok(())
    }

    /// Adds `dh` to the rows of `d_hidden` `[tokens, width]`, and to the gradients that are asked
    /// for, given `dL/d log p` of each target; writes the log-probabilities again on the way.
    ///
    /// # Errors
    /// A product is refused, or there is no memory for a chunk.
    pub fn backward(
        &self,
        mut d_hidden: SliceMut<f32>,
        mut gradients: Gradients,
        mut log_probs: SliceMut<f32>,
        d_log_probs: Slice<f32>,
        hidden: Slice<T>,
        targets: &Targets,
    ) -> Result<()> {
        self.check(hidden, targets);
        assert_eq!(d_hidden.len(), hidden.len(), "gradients of hidden states");
        let (width, vocab) = (self.width, self.vocab());
        let device = self.weight.device();
        let mut scratch = self.scratch(targets)?;
        let mut d_logits: Buffer<T> = device.empty(scratch.logits.len())?;
        let mut d_states: Buffer<f32> = device.empty(scratch.hidden.len())?;
        for start in (0..targets.len()).step_by(self.chunk) {
            let end = targets.len().min(start + self.chunk);
            let count = end - start;
            let rows = targets.rows.slice(start..end);
            gather_rows(
                scratch.hidden.slice_mut(..count * width),
                hidden,
                rows,
                width,
            )?;
            let states = scratch.hidden.slice(..count * width);
            self.logits(scratch.logits.slice_mut(..count * vocab), states, start)?;
            backward_logits(
                d_logits.slice_mut(..count * vocab),
                log_probs.reborrow().slice(start..end),
                scratch.logits.slice(..count * vocab),
                targets.ids.slice(start..end),
                d_log_probs.slice(start..end),
                self.temperature,
                vocab,
            )?;
            let dz = d_logits.slice(..count * vocab);
            let dz_matrix = Matrix::new(dz, count, vocab);
            let weight = Matrix::new(self.weight, vocab, width);
            let mut d_rows = d_states.slice_mut(..count * width);
            matmul(d_rows.reborrow(), width, false, 1.0, dz_matrix, weight)?;
            if let Some(low_rank) = self.low_rank.map(|low_rank| low_rank.at_row(start)) {
                low_rank.backward_input(d_rows.reborrow(), dz, vocab)?;
                if let Some(d_a) = &mut gradients.a {
                    low_rank.backward_a(d_a.reborrow(), dz, vocab, states)?;
                }
                if let Some(d_b) = &mut gradients.b {
                    low_rank.backward_b(d_b.reborrow(), dz, vocab, states)?;
                }
            }
            scatter_add_rows(d_hidden.reborrow(), d_rows.as_slice(), rows, width)?;
            if let Some(d_weight) = &mut gradients.weight {
                let (dz, states) = (dz_matrix.transposed(), Matrix::new(states, count, width));
                matmul(d_weight.reborrow(), width, true, 1.0, dz, states)?;
            }
        }
        Ok(())
    }
}
