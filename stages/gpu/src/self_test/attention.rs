//! Comparisons of attention over packed sequences, every kernel with uneven lengths.

use super::{Pair, Test};
use crate::element::Float;
use crate::error::Result;
use crate::ops::attention::{self, Saved, Sequences, Shape};

/// Packed lengths: one shorter and one longer than a tile, one of a single token.
const BOUNDS: [usize; 5] = [0, 1, 71, 90, 225];

pub(super) fn all<T: Float>(test: &mut Test) -> Result<()> {
    let mut cases = vec![
        (2, 1, 6, BOUNDS.to_vec()),
        (2, 2, 32, BOUNDS.to_vec()),
        (3, 1, 64, BOUNDS.to_vec()),
        (1, 1, 128, vec![0, 150]),
        (1, 1, 136, vec![0, 70]),
    ];
    if test.large {
        cases.push((8, 2, 64, vec![0, 1000, 1003, 2500]));
        cases.push((4, 4, 128, vec![0, 37, 2100]));
    }
    for (heads, kv_heads, head_dim, bounds) in cases {
        let shape = Shape {
            heads,
            kv_heads,
            head_dim,
        };
        one::<T>(test, shape, &bounds)?;
    }
    Ok(())
}

/// Results of the formulas in f64.
struct Expected {
    out: Vec<f64>,
    log_sums: Vec<f64>,
    d_qkv: Vec<f64>,
}

fn reference(qkv: &[f64], d_out: &[f64], shape: Shape, bounds: &[usize]) -> Expected {
    let (dim, heads, row) = (shape.head_dim, shape.heads, shape.row());
    let tokens = qkv.len() / row;
    let scaling = 1.0 / (dim as f64).sqrt();
    let mut expected = Expected {
        out: vec![0.0; tokens * heads * dim],
        log_sums: vec![0.0; heads * tokens],
        d_qkv: vec![0.0; qkv.len()],
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for bound in bounds.windows(2) {
        for head in 0..heads {
            let kv_head = head / (heads / shape.kv_heads);
            let q_at = |token: usize| token * row + head * dim;
            let k_at = |token: usize| token * row + (heads + kv_head) * dim;
            let v_at = |token: usize| k_at(token) + shape.kv_heads * dim;
            for i in bound[0]..bound[1] {
                let q = &qkv[q_at(i)..][..dim];
                let keys = bound[0]..=i;
                let scores: Vec<f64> = keys
                    .clone()
                    .map(|j| dot(q, &qkv[k_at(j)..][..dim]) * scaling)
                    .collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                let log_sum = largest + sum.ln();
                expected.log_sums[head * tokens + i] = log_sum;
                let out_at = (i * heads + head) * dim;
                let d_o = &d_out[out_at..][..dim];
                for (j, s) in keys.clone().zip(&scores) {
                    let p = (s - log_sum).exp();
                    for d in 0..dim {
                        expected.out[out_at + d] += p * qkv[v_at(j) + d];
                        expected.d_qkv[v_at(j) + d] += p * d_o[d];
                    }
                }
                let delta = dot(d_o, &expected.out[out_at..][..dim]);
                for (j, s) in keys.zip(&scores) {
                    let dp = dot(d_o, &qkv[v_at(j)..][..dim]);
                    let ds = (s - log_sum).exp() * (dp - delta) * scaling;
                    for d in 0..dim {
                        expected.d_qkv[q_at(i) + d] += ds * qkv[k_at(j) + d];
                        expected.d_qkv[k_at(j) + d] += ds * q[d];
                    }
                }
            }
        }
    }
    expected
}

fn one<T: Float>(test: &mut Test, shape: Shape, bounds: &[usize]) -> Result<()> {
    let Shape {
        heads,
        kv_heads,
        head_dim,
    } = shape;
    let sequences = Sequences::new(test.device, bounds)?;
    let tokens = sequences.tokens();
    let case = format!("{heads}/{kv_heads} heads of {head_dim}, {tokens} tokens");
    let qkv: Pair<T> = test.values(tokens * shape.row(), 2.0)?;
    let d_out: Pair<T> = test.values(tokens * heads * head_dim, 1.0)?;
    let expected = reference(&qkv.host, &d_out.host, shape, bounds);
    let mut out = test.device.empty::<T>(tokens * heads * head_dim)?;
    let mut log_sums = test.device.empty::<f32>(tokens * heads)?;
    let (to, sums) = (out.view_mut(), log_sums.view_mut());
    attention::forward(to, sums, qkv.view(), shape, &sequences)?;
    // Probabilities and their gradients are rounded before products, too.
    let tolerance = if size_of::<T>() == 4 { 5e-5 } else { 1.5e-2 };
    test.compare(
        T::NAME,
        "attention",
        &case,
        out.view(),
        &expected.out,
        tolerance,
    )?;
    let (name, sums) = ("attention: log-sum-exp", log_sums.view());
    test.compare(T::NAME, name, &case, sums, &expected.log_sums, 5e-5)?;
    let mut d_qkv = test.device.empty::<T>(tokens * shape.row())?;
    let saved = Saved {
        qkv: qkv.view(),
        out: out.view(),
        log_sums: log_sums.view(),
    };
    attention::backward(d_qkv.view_mut(), d_out.view(), saved, shape, &sequences)?;
    // Each of the three against its own largest value.
    let found = d_qkv.download()?;
    let (row, mut from) = (shape.row(), 0);
    for (name, width) in [("dq", heads), ("dk", kv_heads), ("dv", kv_heads)] {
        let columns = from..from + width * head_dim;
        from = columns.end;
        let part: Vec<T> = found
            .chunks_exact(row)
            .flat_map(|row| row[columns.clone()].to_vec())
            .collect();
        let expected: Vec<f64> = expected
            .d_qkv
            .chunks_exact(row)
            .flat_map(|row| row[columns.clone()].to_vec())
            .collect();
        let part = test.device.upload(&part)?;
        let name = format!("attention backward: {name}");
        test.compare(T::NAME, &name, &case, part.view(), &expected, tolerance)?;
    }
    Ok(())
}
