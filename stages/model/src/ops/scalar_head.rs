//! A head with one output per token: scores of a reward model, values of PPO:
//! `v_t = w · h_t + b`.
//!
//! Backward, given `dv`: `dw += Σ_t dv_t h_t`, `db += Σ_t dv_t`, `dh_t += dv_t w`. A reward
//! model's `score.weight` has no bias, a value head has one. Rows are added in order.

use super::vector::{add_scaled, dot};

/// The value of every row of `hidden` `[tokens, width]`; `weight` is `[1, width]`.
pub fn forward(hidden: &[f32], weight: &[f32], bias: Option<f32>) -> Vec<f32> {
    hidden
        .chunks_exact(weight.len())
        .map(|row| dot(row, weight) + bias.unwrap_or(0.0))
        .collect()
}

/// Adds to `d_hidden` `[tokens, width]`, to `d_weight` and to `d_bias` (each unless frozen),
/// given one derivative per token.
pub fn backward(
    d_hidden: &mut [f32],
    mut d_weight: Option<&mut [f32]>,
    d_bias: Option<&mut [f32]>,
    d_values: &[f32],
    hidden: &[f32],
    weight: &[f32],
) {
    let width = weight.len();
    assert_eq!(
        d_values.len() * width,
        hidden.len(),
        "one derivative per token"
    );
    let rows = d_hidden
        .chunks_exact_mut(width)
        .zip(hidden.chunks_exact(width));
    for ((d_row, row), d_value) in rows.zip(d_values) {
        // Most tokens of a preference batch have none.
        if *d_value == 0.0 {
            continue;
        }
        add_scaled(d_row, *d_value, weight);
        if let Some(d_weight) = d_weight.as_deref_mut() {
            add_scaled(d_weight, *d_value, row);
        }
    }
    if let Some([d_bias]) = d_bias {
        *d_bias += d_values.iter().sum::<f32>();
    }
}
