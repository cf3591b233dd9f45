//! A linear layer whose weights are laid out for decoding: panels of 16 outputs, `[in][16]`.
//!
//! Used by `decoder`. Every output is one chain of fused multiply-adds over the inputs in
//! order, whatever the number of rows, so a row's result has the same bits alone and in any
//! batch; general matrix products choose other kernels for other sizes and do not promise it.

use crate::ops::vector::vectorised;

/// Outputs of a panel: two AVX registers.
const PANEL: usize = 16;
/// Rows of a tile: 6 x 2 registers of sums, and room for the operands.
const TILE: usize = 6;

/// Weights `[out, in]` in panels.
pub(super) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Vec<f32>,
}

impl Packed {
    /// Packs matrices `[out, in]` one below the other.
    pub(super) fn new(parts: &[&[f32]], inputs: usize) -> Self {
        let outputs = parts.iter().map(|part| part.len() / inputs).sum::<usize>();
        let mut panels = vec![0.0; outputs.next_multiple_of(PANEL) * inputs];
        for (output, row) in parts
            .iter()
            .flat_map(|part| part.chunks_exact(inputs))
            .enumerate()
        {
            let panel = &mut panels[output / PANEL * PANEL * inputs..];
            for (input, value) in row.iter().enumerate() {
                panel[input * PANEL + output % PANEL] = *value;
            }
        }
        Self {
            inputs,
            outputs,
            panels,
        }
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ`; `x` is `[rows, in]`, `y` `[rows, out]`.
    pub(super) fn apply(&self, y: &mut [f32], accumulate: bool, x: &[f32], scratch: &mut Vec<f32>) {
        scratch.clear();
        for tile in x.chunks(TILE * self.inputs) {
            let rows = tile.len() / self.inputs;
            for input in 0..self.inputs {
                scratch.extend((0..rows).map(|row| tile[row * self.inputs + input]));
            }
        }
        let sizes = Sizes {
            inputs: self.inputs,
            outputs: self.outputs,
            accumulate,
        };
        multiply(y, scratch, &self.panels, sizes);
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    inputs: usize,
    outputs: usize,
    accumulate: bool,
}

vectorised! {
    /// `tiles` holds `x` cut into tiles of up to 6 rows, each stored `[in][rows]`.
    fn multiply(y: &mut [f32], tiles: &[f32], panels: &[f32], sizes: Sizes) {
        for (index, panel) in panels.chunks_exact(PANEL * sizes.inputs).enumerate() {
            let first = index * PANEL;
            let y_tiles = y.chunks_mut(TILE * sizes.outputs);
            for (tile, y) in tiles.chunks(TILE * sizes.inputs).zip(y_tiles) {
                match tile.len() / sizes.inputs {
                    1 => multiply_tile::<1>(y, tile, panel, first, sizes),
                    2 => multiply_tile::<2>(y, tile, panel, first, sizes),
                    3 => multiply_tile::<3>(y, tile, panel, first, sizes),
                    4 => multiply_tile::<4>(y, tile, panel, first, sizes),
                    5 => multiply_tile::<5>(y, tile, panel, first, sizes),
                    _ => multiply_tile::<TILE>(y, tile, panel, first, sizes),
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // must be compiled inside the feature gate of `multiply`
fn multiply_tile<const ROWS: usize>(
    y: &mut [f32],
    tile: &[f32],
    panel: &[f32],
    first: usize,
    sizes: Sizes,
) {
    let mut sums = [[0.0_f32; PANEL]; ROWS];
    for (x, w) in tile
        .as_chunks::<ROWS>()
        .0
        .iter()
        .zip(panel.as_chunks::<PANEL>().0)
    {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = x.mul_add(*w, *sum);
            }
        }
    }
    let width = PANEL.min(sizes.outputs - first);
    for (sums, y) in sums.iter().zip(y.chunks_exact_mut(sizes.outputs)) {
        for (y, sum) in y[first..first + width].iter_mut().zip(sums) {
            *y = if sizes.accumulate { *y + sum } else { *sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn a_row_has_the_same_bits_in_every_batch() {
        let (inputs, outputs, rows) = (37, 53, 15);
        let wave =
            |n: usize, step: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * step).sin()).collect() };
        let (weight, x) = (wave(inputs * outputs, 0.37), wave(inputs * rows, 0.11));
        let packed = Packed::new(&[&weight[..20 * inputs], &weight[20 * inputs..]], inputs);
        assert_eq!(packed.outputs, outputs);
        let mut scratch = Vec::new();
        let mut together = vec![0.0; rows * outputs];
        packed.apply(&mut together, false, &x, &mut scratch);
        for (row, expected) in together.chunks_exact(outputs).enumerate() {
            let x = &x[row * inputs..][..inputs];
            let mut alone = vec![0.0; outputs];
            packed.apply(&mut alone, false, x, &mut scratch);
            assert_eq!(alone, expected);
            for (found, weight) in alone.iter().zip(weight.chunks_exact(inputs)) {
                let exact: f64 = x
                    .iter()
                    .zip(weight)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                assert!((f64::from(*found) - exact).abs() < 1e-5);
            }
        }
        let mut twice = together.clone();
        packed.apply(&mut twice, true, &x, &mut scratch);
        assert!(
            twice
                .iter()
                .zip(&together)
                .all(|(a, b)| a.to_bits() == (2.0 * b).to_bits())
        );
    }
}
