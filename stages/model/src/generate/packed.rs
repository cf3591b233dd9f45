//! A linear layer whose weights are laid out for decoding: panels of 16 outputs, `[in][16]`.
//!
//! Used by `linear`. Every output is one chain of fused multiply-adds over the inputs in
//! order, whatever the number of rows, so a row's result has the same bits alone and in any
//! batch; general matrix products choose other kernels for other sizes and do not promise it.

use super::numbers::{Brief, Kept, Numbers};
use crate::ops::vector::vectorised;

/// Outputs of a panel: two AVX registers.
const PANEL: usize = 16;
/// Rows of a tile: 6 x 2 registers of sums, and room for the operands.
const TILE: usize = 6;

/// Weights `[out, in]` in panels.
pub(super) struct Packed {
    inputs: usize,
    outputs: usize,
    panels: Numbers,
}

impl Packed {
    /// Packs matrices `[out, in]` one below the other.
    pub(super) fn new(parts: &[&[f32]], inputs: usize) -> Self {
        Self::in_form(false, parts, inputs)
    }

    /// As [`Packed::new`], in bfloat16 if `brief`.
    pub(super) fn in_form(brief: bool, parts: &[&[f32]], inputs: usize) -> Self {
        let outputs = parts.iter().map(|part| part.len() / inputs).sum::<usize>();
        let mut panels = Numbers::zeros(brief, outputs.next_multiple_of(PANEL) * inputs);
        for (output, row) in parts
            .iter()
            .flat_map(|part| part.chunks_exact(inputs))
            .enumerate()
        {
            let first = output / PANEL * PANEL * inputs + output % PANEL;
            match &mut panels {
                Numbers::Full(panels) => spread(&mut panels[first..], row),
                Numbers::Brief(panels) => spread(&mut panels[first..], row),
                #[cfg(feature = "device")]
                Numbers::Elsewhere(_) => unreachable!("panels are here"),
            }
        }
        Self {
            inputs,
            outputs,
            panels,
        }
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match &self.panels {
            Numbers::Full(panels) => size_of_val(&panels[..]),
            Numbers::Brief(panels) => size_of_val(&panels[..]),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => 0,
        }
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ`; `x` is `[rows, in]`, `y` `[rows, out]`.
    pub(super) fn apply(&self, y: &mut [f32], accumulate: bool, x: &[f32], scratch: &mut Vec<f32>) {
        scratch.clear();
        let mut rest = x;
        while !rest.is_empty() {
            let rows = tile(rest.len() / self.inputs, TILE);
            let (tile, after) = rest.split_at(rows * self.inputs);
            for input in 0..self.inputs {
                scratch.extend((0..rows).map(|row| tile[row * self.inputs + input]));
            }
            rest = after;
        }
        let sizes = Sizes {
            inputs: self.inputs,
            outputs: self.outputs,
            accumulate,
        };
        match &self.panels {
            Numbers::Full(panels) => multiply_full(y, scratch, panels, sizes),
            Numbers::Brief(panels) => multiply_brief(y, scratch, panels, sizes),
            #[cfg(feature = "device")]
            Numbers::Elsewhere(_) => unreachable!("panels are here"),
        }
    }
}

/// Rows of the next tile when `left` are left: as equal as they can be, since a tile of few rows
/// waits for its weights.
pub(super) fn tile(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

#[derive(Clone, Copy)]
struct Sizes {
    inputs: usize,
    outputs: usize,
    accumulate: bool,
}

/// Writes a row of weights into a panel, of which `panel` begins at its output.
fn spread<K: Kept>(panel: &mut [K], row: &[f32]) {
    for (kept, value) in panel.iter_mut().step_by(PANEL).zip(row) {
        *kept = K::new(*value);
    }
}

vectorised! {
    fn multiply_full(y: &mut [f32], tiles: &[f32], panels: &[f32], sizes: Sizes) {
        multiply(y, tiles, panels, sizes);
    }
}
vectorised! {
    fn multiply_brief(y: &mut [f32], tiles: &[f32], panels: &[Brief], sizes: Sizes) {
        multiply(y, tiles, panels, sizes);
    }
}

/// `tiles` holds `x` cut into tiles of up to 6 rows, each stored `[in][rows]`.
#[inline(always)]
#[allow(clippy::inline_always)] // must vectorise inside its callers
fn multiply<K: Kept>(y: &mut [f32], tiles: &[f32], panels: &[K], sizes: Sizes) {
    for (index, panel) in panels.chunks_exact(PANEL * sizes.inputs).enumerate() {
        let first = index * PANEL;
        let (mut tiles, mut y) = (tiles, &mut *y);
        while !tiles.is_empty() {
            let rows = tile(tiles.len() / sizes.inputs, TILE);
            let (tile, rest) = tiles.split_at(rows * sizes.inputs);
            let (y_tile, y_rest) = y.split_at_mut(rows * sizes.outputs);
            (tiles, y) = (rest, y_rest);
            let y = y_tile;
            match rows {
                1 => multiply_tile::<K, 1>(y, tile, panel, first, sizes),
                2 => multiply_tile::<K, 2>(y, tile, panel, first, sizes),
                3 => multiply_tile::<K, 3>(y, tile, panel, first, sizes),
                4 => multiply_tile::<K, 4>(y, tile, panel, first, sizes),
                5 => multiply_tile::<K, 5>(y, tile, panel, first, sizes),
                _ => multiply_tile::<K, TILE>(y, tile, panel, first, sizes),
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // must be compiled inside the feature gate of `multiply`
fn multiply_tile<K: Kept, const ROWS: usize>(
    y: &mut [f32],
    tile: &[f32],
    panel: &[K],
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
        let w = w.map(K::get);
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = x.mul_add(w, *sum);
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
