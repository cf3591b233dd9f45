//! A linear layer with weights of 8 bits or 4: one scale per output, products and sums in integers.
//!
//! Used by `linear`. `W_oi ≈ s_o w_oi` with `w` in ±127; a row of inputs becomes `x_i ≈ t a_i`
//! with `a` as many bits (14 for the widths of small models) as a sum of 32 bits has room for, so
//! that only the weights are coarse. Integer sums are exact in any order: a row has the same bits
//! in every batch and on every machine. Two products and an addition are one instruction
//! (`vpmaddwd`), so it does twice the multiply-adds of f32 and reads a quarter of the bytes. Weights
//! of 4 bits become such of 8 a panel at a time (`nibbles`).

use super::nibbles::Nibbles;
use super::packed::tile;
use crate::ops::vector::{dot, vectorised};

/// Outputs of a panel: two AVX registers of 32-bit sums.
pub(super) const PANEL: usize = 16;
/// Most rows of a tile.
const TILE: usize = 6;
/// Largest weight.
const WEIGHT: f32 = 127.0;

/// Two inputs of each output of a panel, `[out][2]`.
pub(super) type Pair = [i8; 2 * PANEL];

/// Weights `[out, in]` in panels of 16 outputs, `[in / 2][16][2]`.
pub(super) struct Quantized {
    inputs: usize,
    outputs: usize,
    panels: Panels,
    scales: Vec<f32>,
}

enum Panels {
    Bytes(Vec<Pair>),
    Nibbles(Nibbles),
}

/// Rows of inputs in integers, cut into tiles.
#[derive(Default)]
pub(super) struct Rows {
    /// Two inputs in 16 bits each, the first in the lower half; `[in / 2][rows]` in each tile.
    tiles: Vec<i32>,
    scales: Vec<f32>,
    row: Vec<i32>,
    /// A panel that was kept in 4 bits.
    panel: Vec<Pair>,
}

impl Quantized {
    /// Rounds matrices `[out, in]`, one below the other, to 8 bits.
    pub(super) fn new(parts: &[&[f32]], inputs: usize) -> Self {
        let outputs = parts.iter().map(|part| part.len() / inputs).sum::<usize>();
        let pairs = inputs.div_ceil(2);
        let mut panels = vec![[0; 2 * PANEL]; outputs.div_ceil(PANEL) * pairs];
        let mut scales = Vec::with_capacity(outputs);
        let rows = parts.iter().flat_map(|part| part.chunks_exact(inputs));
        for (output, row) in rows.enumerate() {
            let scale = largest(row) / WEIGHT;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            scales.push(scale);
            let panel = &mut panels[output / PANEL * pairs..][..pairs];
            for (input, value) in row.iter().enumerate() {
                panel[input / 2][output % PANEL * 2 + input % 2] = (value * inverse).round() as i8;
            }
        }
        Self {
            inputs,
            outputs,
            panels: Panels::Bytes(panels),
            scales,
        }
    }

    /// Rounds them to 4 bits.
    pub(super) fn in_nibbles(parts: &[&[f32]], inputs: usize) -> Self {
        let (nibbles, scales) = Nibbles::new(parts, inputs);
        Self {
            inputs,
            outputs: scales.len(),
            panels: Panels::Nibbles(nibbles),
            scales,
        }
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        let weights = match &self.panels {
            Panels::Bytes(pairs) => size_of_val(&pairs[..]),
            Panels::Nibbles(nibbles) => nibbles.bytes(),
        };
        weights + size_of_val(&self.scales[..])
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ`; `x` is `[rows, in]`, `y` `[rows, out]`.
    pub(super) fn apply(&self, y: &mut [f32], accumulate: bool, x: &[f32], rows: &mut Rows) {
        let pairs = self.inputs.div_ceil(2);
        rows.read(x, self.inputs);
        for (index, first) in (0..self.outputs).step_by(PANEL).enumerate() {
            let panel = match &self.panels {
                Panels::Bytes(all) => &all[index * pairs..][..pairs],
                Panels::Nibbles(nibbles) => {
                    nibbles.expand(&mut rows.panel, index);
                    &rows.panel[..]
                }
            };
            let width = PANEL.min(self.outputs - first);
            let mut y = y.chunks_exact_mut(self.outputs);
            let (mut tiles, mut scales) = (&rows.tiles[..], &rows.scales[..]);
            while !scales.is_empty() {
                let count = tile(scales.len(), TILE);
                let mut sums = [[0; PANEL]; TILE];
                multiply(&mut sums[..count], panel, &tiles[..count * pairs]);
                for ((sums, scale), y) in sums.iter().zip(&scales[..count]).zip(&mut y) {
                    let y = &mut y[first..first + width];
                    rescale(
                        y,
                        accumulate,
                        sums,
                        *scale,
                        &self.scales[first..first + width],
                    );
                }
                tiles = &tiles[count * pairs..];
                scales = &scales[count..];
            }
        }
    }
}

impl Rows {
    fn read(&mut self, x: &[f32], inputs: usize) {
        // The largest whole number with `inputs` products of which a 32-bit sum cannot overflow.
        let most = ((f64::from(i32::MAX) / (f64::from(WEIGHT) * inputs as f64)).floor() as f32)
            .clamp(1.0, 32767.0);
        let pairs = inputs.div_ceil(2);
        self.tiles.resize(x.len() / inputs * pairs, 0);
        self.row.resize(pairs, 0);
        self.scales.clear();
        let (mut x, mut tiles) = (x, &mut self.tiles[..]);
        while !x.is_empty() {
            let count = tile(x.len() / inputs, TILE);
            let (rows, rest) = x.split_at(count * inputs);
            let (tile, other) = tiles.split_at_mut(count * pairs);
            (x, tiles) = (rest, other);
            for (index, row) in rows.chunks_exact(inputs).enumerate() {
                let scale = largest(row) / most;
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                round(&mut self.row, row, inverse);
                for (pairs, pair) in tile.chunks_exact_mut(count).zip(&self.row) {
                    pairs[index] = *pair;
                }
                // Integers know no NaN: it goes on through the scale.
                let finite = dot(row, row).is_finite();
                self.scales.push(if finite { scale } else { f32::NAN });
            }
        }
    }
}

vectorised! {
    fn rescale(y: &mut [f32], accumulate: bool, sums: &[i32; PANEL], scale: f32, scales: &[f32]) {
        for ((y, sum), weight) in y.iter_mut().zip(sums).zip(scales) {
            let value = *sum as f32 * (scale * weight);
            *y = if accumulate { *y + value } else { value };
        }
    }
}

vectorised! {
    /// The largest absolute value.
    pub(super) fn largest(values: &[f32]) -> f32 {
        let mut lanes = [0.0_f32; 16];
        let (blocks, rest) = values.as_chunks::<16>();
        for block in blocks {
            for (lane, value) in lanes.iter_mut().zip(block) {
                *lane = lane.max(value.abs());
            }
        }
        rest.iter().chain(&lanes).fold(0.0, |largest, value| largest.max(value.abs()))
    }
}

vectorised! {
    /// Whole numbers nearest to `x inverse`, two in each of `pairs`.
    fn round(pairs: &mut [i32], x: &[f32], inverse: f32) {
        // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let whole = |x: f32| x.mul_add(inverse, ROUND).to_bits();
        let (whole_pairs, rest) = x.as_chunks::<2>();
        for (pair, [low, high]) in pairs.iter_mut().zip(whole_pairs) {
            *pair = (whole(*low) & 0xffff | whole(*high) << 16) as i32;
        }
        if let ([last], Some(pair)) = (rest, pairs.last_mut()) {
            *pair = (whole(*last) & 0xffff) as i32;
        }
    }
}

/// `sums[r][o] = Σ_i w[o][i] a[r][i]` for the rows of a tile.
fn multiply(sums: &mut [[i32; PANEL]], panel: &[Pair], tile: &[i32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code)]
        // SAFETY: the processor was just seen to have the feature.
        unsafe {
            match sums.len() {
                1 => avx2::multiply::<1>(sums, panel, tile),
                2 => avx2::multiply::<2>(sums, panel, tile),
                3 => avx2::multiply::<3>(sums, panel, tile),
                4 => avx2::multiply::<4>(sums, panel, tile),
                5 => avx2::multiply::<5>(sums, panel, tile),
                _ => avx2::multiply::<TILE>(sums, panel, tile),
            }
        }
        return;
    }
    multiply_plain(sums, panel, tile);
}

fn multiply_plain(sums: &mut [[i32; PANEL]], panel: &[Pair], tile: &[i32]) {
    sums.fill([0; PANEL]);
    for (pair, inputs) in panel.iter().zip(tile.chunks_exact(sums.len())) {
        for (sums, inputs) in sums.iter_mut().zip(inputs) {
            let (low, high) = (i32::from(*inputs as i16), inputs >> 16);
            for (sum, weights) in sums.iter_mut().zip(pair.as_chunks::<2>().0) {
                *sum += i32::from(weights[0]) * low + i32::from(weights[1]) * high;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{PANEL, Pair};
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16,
        _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
    };

    /// As `multiply_plain`, for tiles of `ROWS` rows.
    #[target_feature(enable = "avx2")]
    pub(super) fn multiply<const ROWS: usize>(
        sums: &mut [[i32; PANEL]],
        panel: &[Pair],
        tile: &[i32],
    ) {
        let mut low = [_mm256_setzero_si256(); ROWS];
        let mut high = low;
        for (pair, inputs) in panel.iter().zip(tile.as_chunks::<ROWS>().0) {
            let at: *const __m128i = pair.as_ptr().cast();
            #[allow(unsafe_code)]
            // SAFETY: a pair has 32 bytes, two unaligned loads of 16.
            let (first, second) = unsafe { (_mm_loadu_si128(at), _mm_loadu_si128(at.add(1))) };
            let (first, second) = (_mm256_cvtepi8_epi16(first), _mm256_cvtepi8_epi16(second));
            for row in 0..ROWS {
                let inputs = _mm256_set1_epi32(inputs[row]);
                low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(first, inputs));
                high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(second, inputs));
            }
        }
        for ((sums, low), high) in sums.iter_mut().zip(low).zip(high) {
            let to: *mut __m256i = sums.as_mut_ptr().cast();
            #[allow(unsafe_code)]
            // SAFETY: a row of sums has 64 bytes, two unaligned stores of 32.
            unsafe {
                _mm256_storeu_si256(to, low);
                _mm256_storeu_si256(to.add(1), high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use super::{PANEL, Quantized, Rows, multiply, multiply_plain};

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_batch_and_is_near_the_product() {
        for inputs in [37, 64] {
            let (outputs, rows) = (53, 15);
            let (weight, x) = (wave(inputs * outputs, 0.37), wave(inputs * rows, 0.11));
            let quantized =
                Quantized::new(&[&weight[..20 * inputs], &weight[20 * inputs..]], inputs);
            let mut buffer = Rows::default();
            let mut together = vec![0.0; rows * outputs];
            quantized.apply(&mut together, false, &x, &mut buffer);
            for (row, expected) in together.chunks_exact(outputs).enumerate() {
                let x = &x[row * inputs..][..inputs];
                let mut alone = vec![1.0; outputs];
                quantized.apply(&mut alone, false, x, &mut buffer);
                assert_eq!(alone, expected);
                for (found, weight) in alone.iter().zip(weight.chunks_exact(inputs)) {
                    // With weights off by at most half a step of 1/127 of the largest.
                    let products = x.iter().zip(weight).map(|(a, b)| f64::from(a * b));
                    let bound = x.iter().map(|a| f64::from(a.abs())).sum::<f64>() * 0.51 / 127.0;
                    assert!((f64::from(*found) - products.sum::<f64>()).abs() < bound);
                }
            }
        }
    }

    #[test]
    fn both_kernels_have_the_same_sums_up_to_the_largest() {
        let inputs = 1000;
        let weight: Vec<f32> = wave(inputs * PANEL, 0.3)
            .iter()
            .map(|w| w.signum())
            .collect();
        let x: Vec<f32> = weight[..inputs].iter().map(|w| w * 3.0).collect();
        let quantized = Quantized::new(&[&weight], inputs);
        let mut rows = Rows::default();
        rows.read(&[x.clone(), wave(inputs, 0.7)].concat(), inputs);
        let (mut fast, mut plain) = ([[7; PANEL]; 2], [[9; PANEL]; 2]);
        let super::Panels::Bytes(panels) = &quantized.panels else {
            panic!("8 bits were asked for");
        };
        multiply(&mut fast, panels, &rows.tiles);
        multiply_plain(&mut plain, panels, &rows.tiles);
        assert_eq!(fast, plain);
        let largest = f64::from(fast[0][0]) / f64::from(i32::MAX);
        assert!((0.99..=1.0).contains(&largest), "{largest}");
    }

    #[test]
    fn what_is_not_a_number_is_not_hidden() {
        let quantized = Quantized::new(&[&wave(64, 0.3)], 4);
        let mut y = vec![0.0; 16];
        quantized.apply(
            &mut y,
            false,
            &[1.0, f32::NAN, 0.0, 2.0],
            &mut Rows::default(),
        );
        assert!(y.iter().all(|y| y.is_nan()));
        quantized.apply(&mut y, false, &[0.0; 4], &mut Rows::default());
        assert!(y.iter().all(|y| *y == 0.0));
    }
}
