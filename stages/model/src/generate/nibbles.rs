//! Weights in 4 bits, and their way to the 8 bits that products are made of.
//!
//! Used by `quantized`. `W_oi ≈ s_o m_og q_oi`: `q` in ±7, `m` a whole number from 1 to 18 for each
//! output and each group of 32 inputs, so that `m q` is a weight of 8 bits and sums are those of
//! `quantized`, exact. The step of a group is a whole number of 1/126 of the row's largest weight,
//! rounded up; 4.25 bits a weight. Plain rounding: no data is looked at.

use super::quantized::{PANEL, Pair, largest};

/// Inputs that share a step.
const GROUP: usize = 32;
const GROUP_PAIRS: usize = GROUP / 2;
/// Largest weight of 4 bits.
const NIBBLE: f32 = 7.0;
/// Largest step: 18 times 7 is 126.
const STEP: f32 = 18.0;

/// Two inputs of each output of a panel; byte `k` has weight `k` of a [`Pair`] in its lower half
/// and weight `k + 16` in its upper, both with 8 added.
type Packed = [u8; PANEL];

/// Panels as `quantized` has them, in 4 bits.
pub(super) struct Nibbles {
    pairs: usize,
    weights: Vec<Packed>,
    /// Steps of each output, for every group of every panel.
    steps: Vec<[u8; PANEL]>,
}

impl Nibbles {
    /// Rounds matrices `[out, in]`, one below the other; returns the scales of the outputs too.
    pub(super) fn new(parts: &[&[f32]], inputs: usize) -> (Self, Vec<f32>) {
        let outputs = parts.iter().map(|part| part.len() / inputs).sum::<usize>();
        let (panels, pairs) = (outputs.div_ceil(PANEL), inputs.div_ceil(2));
        let groups = pairs.div_ceil(GROUP_PAIRS);
        // What no weight is in is 0: the middle.
        let mut weights = vec![[0x88; PANEL]; panels * pairs];
        let mut steps = vec![[1; PANEL]; panels * groups];
        let mut scales = Vec::with_capacity(outputs);
        let rows = parts.iter().flat_map(|part| part.chunks_exact(inputs));
        for (output, row) in rows.enumerate() {
            let (panel, place) = (output / PANEL, output % PANEL);
            let scale = largest(row) / (STEP * NIBBLE);
            scales.push(scale);
            for (group, values) in row.chunks(GROUP).enumerate() {
                let step = step(largest(values), scale);
                steps[panel * groups + group][place] = step;
                let size = scale * f32::from(step);
                let inverse = if size > 0.0 { 1.0 / size } else { 0.0 };
                for (input, value) in values.iter().enumerate() {
                    let nibble = (value * inverse).round().clamp(-NIBBLE, NIBBLE) as i8 + 8;
                    let input = group * GROUP + input;
                    let at = place * 2 + input % 2;
                    let byte = &mut weights[panel * pairs + input / 2][at % PANEL];
                    *byte = if at < PANEL {
                        *byte & 0xf0 | nibble as u8
                    } else {
                        *byte & 0x0f | (nibble as u8) << 4
                    };
                }
            }
        }
        let nibbles = Self {
            pairs,
            weights,
            steps,
        };
        (nibbles, scales)
    }

    /// Bytes of weights and steps.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.weights[..]) + size_of_val(&self.steps[..])
    }

    /// Writes a panel in 8 bits.
    pub(super) fn expand(&self, panel: &mut Vec<Pair>, index: usize) {
        panel.resize(self.pairs, [0; 2 * PANEL]);
        let groups = self.pairs.div_ceil(GROUP_PAIRS);
        let weights = &self.weights[index * self.pairs..][..self.pairs];
        let steps = &self.steps[index * groups..][..groups];
        for ((panel, weights), steps) in panel
            .chunks_mut(GROUP_PAIRS)
            .zip(weights.chunks(GROUP_PAIRS))
            .zip(steps)
        {
            expand_group(panel, weights, steps);
        }
    }
}

/// The smallest step with which the largest weight of a group fits.
fn step(largest: f32, scale: f32) -> u8 {
    if scale > 0.0 {
        // A hair less, or rounding of the quotient could ask for one step too many.
        (largest / (scale * NIBBLE) - 1e-4).ceil().clamp(1.0, STEP) as u8
    } else {
        1
    }
}

/// In this form the compiler's own 16-byte vectors do it; with wider ones allowed it takes the
/// bytes apart, eight times slower.
fn expand_group(panel: &mut [Pair], weights: &[Packed], steps: &[u8; PANEL]) {
    for (pair, packed) in panel.iter_mut().zip(weights) {
        for (low, byte) in packed.iter().enumerate() {
            let high = low + PANEL;
            let weight = |nibble: u8, at: usize| nibble.wrapping_sub(8).wrapping_mul(steps[at / 2]);
            pair[low] = weight(byte & 15, low) as i8;
            pair[high] = weight(byte >> 4, high) as i8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GROUP, Nibbles, PANEL};

    #[test]
    fn a_weight_is_off_by_half_a_step_of_its_group() {
        // Groups of very different size, an odd number of inputs, a panel that is not full.
        let (inputs, outputs) = (77, 21);
        let weight: Vec<f32> = (0..inputs * outputs)
            .map(|i| (i as f32 * 0.37).sin() * if i % inputs < GROUP { 1.0 } else { 0.2 })
            .collect();
        let (first, second) = weight.split_at(9 * inputs);
        let (nibbles, scales) = Nibbles::new(&[first, second], inputs);
        assert_eq!(scales.len(), outputs);
        let mut panel = Vec::new();
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            nibbles.expand(&mut panel, output / PANEL);
            let scale = scales[output];
            let kept = |input: usize| panel[input / 2][output % PANEL * 2 + input % 2];
            for (group, values) in row.chunks(GROUP).enumerate() {
                let largest = values
                    .iter()
                    .fold(0.0_f32, |most, value| most.max(value.abs()));
                // The step is rounded up to a whole number of the scale.
                let step = largest / 7.0 + scale;
                for (place, value) in values.iter().enumerate() {
                    let found = f32::from(kept(group * GROUP + place)) * scale;
                    assert!((found - value).abs() <= step / 2.0, "{found} for {value}");
                }
            }
            // What fills the last pair adds nothing.
            assert_eq!(kept(inputs), 0);
        }
        // 4 bits a weight, and a step of 8 for 32.
        assert_eq!(nibbles.bytes(), 2 * PANEL * (39 + 3));
    }

    #[test]
    fn nothing_stays_nothing() {
        let (nibbles, scales) = Nibbles::new(&[&[0.0; 64]], 64);
        let mut panel = Vec::new();
        nibbles.expand(&mut panel, 0);
        assert!(scales == [0.0] && panel.iter().all(|pair| *pair == [0; 2 * PANEL]));
    }
}
