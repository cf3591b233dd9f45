//! From logits to tokens on the device, by the rules of `model::generate::sampling`.
//!
//! Repetition penalty, temperature, top-k, top-p and min-p, then a draw that goes through the ids
//! in order; temperature 0 takes the most likely token, the lowest id of equals. The random number
//! is the one that the CPU draws: number `drawn` of ChaCha12 under the sequence's key. Settings and
//! the tokens that occurred are kept per slot. Kernel in `kernels/sampling.cu`.

use super::int;
use crate::buffer::{Buffer, Slice, SliceMut};
use crate::device::Device;
use crate::driver::Grid;
use crate::error::Result;

/// In place of a slot: nothing is drawn for the row, and nothing written.
pub const NOBODY: u32 = u32::MAX;

/// Words of a slot's settings; as `SamplingSettings` in the kernel.
const WORDS: usize = 8;

/// How a sequence is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: f64,
    /// Tokens kept, by logit; 0 keeps all.
    pub top_k: usize,
    /// Probability kept, of the most likely tokens; 1 keeps all.
    pub top_p: f64,
    /// Tokens less likely than this share of the likeliest are dropped; 0 keeps all.
    pub min_p: f64,
    /// What logits of tokens that occurred are divided by (multiplied, if negative); 1 is none.
    pub repetition_penalty: f64,
    /// Seed of the sequence's random stream.
    pub key: [u8; 32],
    /// Tokens drawn so far.
    pub drawn: u64,
}

impl Settings {
    fn words(&self) -> [u64; WORDS] {
        let inverse = if self.temperature == 0.0 {
            0.0
        } else {
            (1.0 / self.temperature) as f32
        };
        let two = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let key = |at: usize| {
            let bytes = self.key[8 * at..8 * at + 8].try_into();
            u64::from_le_bytes(bytes.expect("8 bytes"))
        };
        [
            two(inverse.to_bits(), self.top_k as u32),
            (1.0 - self.top_p).to_bits(),
            two(
                (self.min_p as f32).to_bits(),
                (self.repetition_penalty as f32).to_bits(),
            ),
            key(0),
            key(1),
            key(2),
            key(3),
            self.drawn,
        ]
    }
}

/// What the device keeps of every sequence.
pub struct State {
    settings: Buffer<u64>,
    /// A bit per id.
    occurred: Buffer<u32>,
    vocab: usize,
}

impl State {
    /// Room for `slots` sequences.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(device: &Device, slots: usize, vocab: usize) -> Result<Self> {
        Ok(Self {
            settings: device.zeros(slots * WORDS)?,
            occurred: device.zeros(slots * vocab.div_ceil(32))?,
            vocab,
        })
    }

    /// Starts a sequence in a slot; `occurred` are the tokens that are there.
    ///
    /// # Errors
    /// The upload fails.
    pub fn start(&mut self, slot: usize, settings: &Settings, occurred: &[u32]) -> Result<()> {
        let at = slot * WORDS;
        self.settings
            .slice_mut(at..at + WORDS)
            .upload(&settings.words())?;
        if (settings.repetition_penalty - 1.0).abs() > f64::EPSILON {
            let words = self.vocab.div_ceil(32);
            let mut bits = vec![0_u32; words];
            for id in occurred {
                bits[*id as usize / 32] |= 1 << (id % 32);
            }
            self.occurred
                .slice_mut(slot * words..(slot + 1) * words)
                .upload(&bits)?;
        }
        Ok(())
    }
}

/// Where [`sample`] writes, one value per row.
pub struct Drawn<'a> {
    /// The token.
    pub tokens: SliceMut<'a, u32>,
    /// Its log-probability under the model itself: temperature 1, nothing cut.
    pub log_probs: SliceMut<'a, f32>,
    /// Its log-probability under the distribution that it was drawn from.
    pub processed_log_probs: SliceMut<'a, f32>,
}

/// Draws the next token of the sequences in `slots` from logits `[rows, vocab]`; no slot twice, but
/// [`NOBODY`]. Log-probabilities are NaN where logits are.
///
/// # Errors
/// The launch fails.
pub fn sample(
    drawn: Drawn,
    logits: Slice<f32>,
    slots: Slice<u32>,
    state: &mut State,
) -> Result<()> {
    let rows = slots.len();
    let lengths = [
        drawn.tokens.len(),
        drawn.log_probs.len(),
        drawn.processed_log_probs.len(),
    ];
    assert_eq!(lengths, [rows; 3], "a token per row");
    assert_eq!(logits.len(), rows * state.vocab, "rows of logits");
    let arguments = [
        (&drawn.tokens).into(),
        (&drawn.log_probs).into(),
        (&drawn.processed_log_probs).into(),
        logits.into(),
        (&state.settings.view_mut()).into(),
        (&state.occurred.view_mut()).into(),
        slots.into(),
        int(state.vocab).into(),
    ];
    let device = drawn.tokens.device;
    device.launch("sample", Grid::new(rows, 1024), &arguments)
}
