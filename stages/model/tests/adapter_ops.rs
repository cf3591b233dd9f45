//! The operations of adapters and scalar heads against candle compositions.
#![allow(clippy::unwrap_used)]

mod golden;

use candle_core::{Device, Tensor, Var};
use golden::assert_close;
use model::ops::low_rank::{Buffers, Dropout, LowRank};
use model::ops::scalar_head;
use model::precision::Precision;

fn noise(length: usize, seed: usize) -> Vec<f32> {
    (0..length)
        .map(|i| ((i * 7919 + seed * 104_729) as f32 * 0.618).sin())
        .collect()
}

fn var(values: &[f32], shape: &[usize]) -> Var {
    Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

const ROWS: usize = 300;
const INPUTS: usize = 20;
const OUTPUTS: usize = 14;
const RANK: usize = 3;

/// The factors that a dropout multiplies inputs by, seen from outside: an adapter with
/// `A = B = identity`.
fn mask(dropout: Option<Dropout>) -> Vec<f32> {
    let mut identity = vec![0.0; INPUTS * INPUTS];
    for i in 0..INPUTS {
        identity[i * INPUTS + i] = 1.0;
    }
    let low_rank = LowRank {
        a: &identity,
        b: &identity,
        rank: INPUTS,
        scale: 1.0,
        dropout,
    };
    let mut y = vec![0.0; ROWS * INPUTS];
    let x = vec![1.0; ROWS * INPUTS];
    low_rank.forward(&mut y, &x, &mut Buffers::default(), Precision::F32);
    y
}

#[test]
fn low_rank_forward_and_backward_with_and_without_dropout() {
    let dropout = Dropout {
        key: 5,
        probability: 0.25,
        first_row: 11,
    };
    for dropout in [None, Some(dropout)] {
        let (x, start) = (noise(ROWS * INPUTS, 1), noise(ROWS * OUTPUTS, 2));
        let (a, b) = (noise(RANK * INPUTS, 3), noise(OUTPUTS * RANK, 4));
        let dy = noise(ROWS * OUTPUTS, 5);
        let low_rank = LowRank {
            a: &a,
            b: &b,
            rank: RANK,
            scale: 1.7,
            dropout,
        };
        let mut buffers = Buffers::default();
        let mut y = start.clone();
        low_rank.forward(&mut y, &x, &mut buffers, Precision::F32);

        let (vx, va) = (var(&x, &[ROWS, INPUTS]), var(&a, &[RANK, INPUTS]));
        let vb = var(&b, &[OUTPUTS, RANK]);
        let mask = Tensor::from_vec(mask(dropout), (ROWS, INPUTS), &Device::Cpu).unwrap();
        let u = (vx.as_tensor() * mask).unwrap();
        let u = u.matmul(&va.t().unwrap()).unwrap();
        let added = (u.matmul(&vb.t().unwrap()).unwrap() * 1.7).unwrap();
        let expected: Vec<f32> = start.iter().zip(flat(&added)).map(|(s, a)| s + a).collect();
        assert_close("y", &y, &expected, 1e-5);

        let weighed = Tensor::from_slice(&dy, (ROWS, OUTPUTS), &Device::Cpu).unwrap();
        let store = (added * weighed).unwrap().sum_all().unwrap();
        let store = store.backward().unwrap();
        let of = |v: &Var| flat(store.get(v.as_tensor()).unwrap());
        let mut dx = noise(ROWS * INPUTS, 6);
        low_rank.backward_input(&mut dx, &dy, &mut buffers, Precision::F32);
        let before = noise(ROWS * INPUTS, 6);
        let expected: Vec<f32> = of(&vx).iter().zip(before).map(|(d, s)| d + s).collect();
        assert_close("dx", &dx, &expected, 1e-5);
        let (mut d_a, mut d_b) = (vec![1.0; a.len()], vec![1.0; b.len()]);
        low_rank.backward_a(&mut d_a, &dy, &x, &mut buffers, Precision::F32);
        low_rank.backward_b(&mut d_b, &dy, &x, &mut buffers, Precision::F32);
        let plus_one = |v: Vec<f32>| v.into_iter().map(|d| d + 1.0).collect::<Vec<_>>();
        assert_close("dA", &d_a, &plus_one(of(&va)), 1e-3);
        assert_close("dB", &d_b, &plus_one(of(&vb)), 1e-3);
    }
}

#[test]
fn a_dropout_mask_keeps_its_share_and_can_be_cut_by_rows() {
    let dropout = Dropout {
        key: 9,
        probability: 0.25,
        first_row: 0,
    };
    let whole = mask(Some(dropout));
    assert_eq!(mask(None), vec![1.0; ROWS * INPUTS]);
    let keep = 1.0_f32 / 0.75;
    assert!(
        whole
            .iter()
            .all(|m| *m == 0.0 || m.to_bits() == keep.to_bits())
    );
    let dropped = whole.iter().filter(|m| **m == 0.0).count() as f64;
    // 6000 draws: the standard deviation of the share is 0.0056.
    assert!((dropped / whole.len() as f64 - 0.25).abs() < 0.025);
    let later = Dropout {
        first_row: 100,
        ..dropout
    };
    let cut = (ROWS - 100) * INPUTS;
    assert_eq!(mask(Some(later))[..cut], whole[100 * INPUTS..]);
    let other = mask(Some(Dropout { key: 10, ..dropout }));
    let same = other
        .iter()
        .zip(&whole)
        .filter(|(a, b)| a.to_bits() == b.to_bits())
        .count();
    assert!((same as f64 / whole.len() as f64 - 0.625).abs() < 0.03);
}

#[test]
fn scalar_head_values_and_gradients() {
    let (tokens, width) = (7, 33);
    let (hidden, weight) = (noise(tokens * width, 1), noise(width, 2));
    let values = scalar_head::forward(&hidden, &weight, Some(0.5));
    let plain = scalar_head::forward(&hidden, &weight, None);
    let mut d_values = noise(tokens, 3);
    d_values[2] = 0.0;
    let (vh, vw) = (var(&hidden, &[tokens, width]), var(&weight, &[1, width]));
    let product = vh.matmul(&vw.t().unwrap()).unwrap();
    assert_close("without bias", &plain, &flat(&product), 1e-5);
    let biased: Vec<f32> = plain.iter().map(|v| v + 0.5).collect();
    assert_close("with bias", &values, &biased, 1e-6);
    let dv = Tensor::from_slice(&d_values, (tokens, 1), &Device::Cpu).unwrap();
    let store = (product * dv)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let of = |v: &Var| flat(store.get(v.as_tensor()).unwrap());
    let (mut d_hidden, mut d_weight) = (vec![0.0; hidden.len()], vec![0.0; width]);
    let mut d_bias = [1.0];
    scalar_head::backward(
        &mut d_hidden,
        Some(&mut d_weight),
        Some(&mut d_bias),
        &d_values,
        &hidden,
        &weight,
    );
    assert_close("d hidden", &d_hidden, &of(&vh), 1e-6);
    assert_close("dw", &d_weight, &of(&vw), 1e-5);
    let sum: f32 = d_values.iter().sum();
    assert_close("db", &d_bias, &[1.0 + sum], 1e-6);
    let mut frozen = vec![0.0; hidden.len()];
    scalar_head::backward(&mut frozen, None, None, &d_values, &hidden, &weight);
    assert_eq!(frozen, d_hidden);
}
