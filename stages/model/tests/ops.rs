//! Every operation against the same formula composed of candle tensors, values and gradients,
//! and against finite differences.
//!
//! The compositions use differentiable candle operations only: the fused ones
//! (`rms_norm`, `softmax_last_dim`, `rope`) cut gradients without a word.
#![allow(clippy::unwrap_used)]

mod golden;

use candle_core::{D, Device, Tensor, Var};
use golden::assert_close;
use model::config::Config;
use model::ops::{attention, embedding, head, linear, rmsnorm, rope, swiglu};
use model::precision::Precision;

/// Reproducible values in about (-1, 1).
fn noise(length: usize, seed: usize) -> Vec<f32> {
    (0..length)
        .map(|i| {
            let mixed = (i * 2_654_435_761 + seed * 40_503 + 12_345) % 1_000_003;
            (mixed * mixed % 1_000_003) as f32 / 500_001.5 - 1.0
        })
        .collect()
}

fn var(values: &[f32], shape: &[usize]) -> Var {
    Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Gradients of `Σ y ⊙ dy` with respect to the variables.
fn candle_gradients(y: &Tensor, dy: &[f32], variables: &[&Var]) -> Vec<Vec<f32>> {
    let dy = Tensor::from_slice(dy, y.dims(), &Device::Cpu).unwrap();
    let store = (y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    variables
        .iter()
        .map(|v| flat(store.get(v.as_tensor()).unwrap()))
        .collect()
}

/// Checks a gradient against central differences of `loss` in a few coordinates.
#[track_caller]
fn assert_slopes(x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f64) {
    for index in (0..x.len()).step_by(x.len() / 7 + 1) {
        let at = |step: f32| {
            let mut moved = x.to_vec();
            moved[index] += step;
            loss(&moved)
        };
        let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
        let found = f64::from(gradient[index]);
        assert!(
            (slope - found).abs() < 2e-3 + 1e-2 * slope.abs(),
            "coordinate {index}: {found}, slope {slope}"
        );
    }
}

fn weigh(y: &[f32], dy: &[f32]) -> f64 {
    y.iter()
        .zip(dy)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[test]
fn linear_layer() {
    let (rows, inputs, outputs) = (67, 19, 33);
    let (x, w, b) = (
        noise(rows * inputs, 1),
        noise(outputs * inputs, 2),
        noise(outputs, 3),
    );
    let dy = noise(rows * outputs, 4);
    let mut y = vec![0.0; rows * outputs];
    linear::forward(&mut y, false, &x, &w, inputs, Precision::F32);
    linear::add_bias(&mut y, &b);
    let (vx, vw, vb) = (
        var(&x, &[rows, inputs]),
        var(&w, &[outputs, inputs]),
        var(&b, &[outputs]),
    );
    let expected = vx
        .matmul(&vw.t().unwrap())
        .unwrap()
        .broadcast_add(&vb)
        .unwrap();
    assert_close("y", &y, &flat(&expected), 1e-5);

    let (mut dx, mut dw, mut db) = (noise(x.len(), 5), noise(w.len(), 6), noise(b.len(), 7));
    let before = [dx.clone(), dw.clone(), db.clone()];
    linear::backward_input(&mut dx, true, &dy, &w, inputs, Precision::F32);
    linear::backward_weight(&mut dw, &dy, &x, inputs, Precision::F32);
    linear::backward_bias(&mut db, &dy);
    let expected = candle_gradients(&expected, &dy, &[&vx, &vw, &vb]);
    for ((found, before), expected) in [&dx, &dw, &db].into_iter().zip(&before).zip(&expected) {
        let added: Vec<f32> = found.iter().zip(before).map(|(a, b)| a - b).collect();
        assert_close("an added gradient", &added, expected, 2e-5);
    }
    linear::backward_input(&mut dx, false, &dy, &w, inputs, Precision::F32);
    assert_close("dx", &dx, &expected[0], 2e-5);
}

#[test]
fn embedding_rows() {
    let (vocab, width) = (11, 6);
    let ids = [3, 0, 3, 10, 3];
    let (table, dy) = (noise(vocab * width, 1), noise(ids.len() * width, 2));
    let mut y = vec![0.0; ids.len() * width];
    embedding::forward(&mut y, &ids, &table, width);
    let variable = var(&table, &[vocab, width]);
    let expected = variable
        .index_select(&Tensor::new(&ids, &Device::Cpu).unwrap(), 0)
        .unwrap();
    assert_close("y", &y, &flat(&expected), 0.0);
    let mut d_table = vec![0.0; table.len()];
    embedding::backward(&mut d_table, &ids, &dy, width);
    assert_close(
        "dE",
        &d_table,
        &candle_gradients(&expected, &dy, &[&variable])[0],
        1e-6,
    );
}

#[test]
fn rms_norm() {
    let (rows, width, eps) = (300, 40, 1e-5);
    let (x, w, dy) = (
        noise(rows * width, 1),
        noise(width, 2),
        noise(rows * width, 3),
    );
    let run = |x: &[f32]| {
        let (mut y, mut root) = (vec![0.0; x.len()], vec![0.0; rows]);
        rmsnorm::forward(&mut y, &mut root, x, &w, eps);
        (y, root)
    };
    let (y, root) = run(&x);
    let mut again = vec![0.0; y.len()];
    rmsnorm::recompute(&mut again, &root, &x, &w);
    assert_eq!(y, again);
    let (vx, vw) = (var(&x, &[rows, width]), var(&w, &[width]));
    let mean = (vx.sqr().unwrap().mean_keepdim(D::Minus1).unwrap() + f64::from(eps)).unwrap();
    let expected = vx
        .broadcast_div(&mean.sqrt().unwrap())
        .unwrap()
        .broadcast_mul(&vw)
        .unwrap();
    assert_close("y", &y, &flat(&expected), 1e-5);
    let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; width]);
    rmsnorm::backward(&mut dx, Some(&mut dw), &dy, &root, &x, &w);
    let expected = candle_gradients(&expected, &dy, &[&vx, &vw]);
    assert_close("dx", &dx, &expected[0], 1e-5);
    assert_close("dw", &dw, &expected[1], 5e-5);
    assert_slopes(&x, &dx, |x| weigh(&run(x).0, &dy));
}

#[test]
fn swiglu_product() {
    let n = 1000;
    let gate: Vec<f32> = noise(n, 1).iter().map(|g| 6.0 * g).collect();
    let (up, dy) = (noise(n, 2), noise(n, 3));
    let run = |gate: &[f32]| {
        let mut y = vec![0.0; n];
        swiglu::forward(&mut y, gate, &up);
        y
    };
    let y = run(&gate);
    let (vg, vu) = (var(&gate, &[n]), var(&up, &[n]));
    let expected = (vg.silu().unwrap() * vu.as_tensor()).unwrap();
    assert_close("y", &y, &flat(&expected), 2e-6);
    let (mut product, mut d_gate, mut d_up) = (dy.clone(), gate.clone(), up.clone());
    swiglu::backward(&mut product, &mut d_gate, &mut d_up);
    let expected = candle_gradients(&expected, &dy, &[&vg, &vu]);
    assert_close("y again", &product, &y, 1e-6);
    assert_close("d gate", &d_gate, &expected[0], 2e-6);
    assert_close("d up", &d_up, &expected[1], 2e-6);
    assert_slopes(&gate, &d_gate, |gate| weigh(&run(gate), &dy));
}

/// `softmax(q kᵀ / √D + causal mask) v` per head and sequence, of candle tensors
/// `[heads, tokens, D]`.
fn candle_attention(q: &Tensor, k: &Tensor, v: &Tensor, bounds: &[usize]) -> Tensor {
    let (heads, _, dim) = q.dims3().unwrap();
    let group = heads / k.dims3().unwrap().0;
    let heads: Vec<Tensor> = (0..heads)
        .map(|head| {
            let sequences: Vec<Tensor> = bounds
                .windows(2)
                .map(|b| {
                    let part = |x: &Tensor, head: usize| {
                        x.get(head).unwrap().narrow(0, b[0], b[1] - b[0]).unwrap()
                    };
                    let n = b[1] - b[0];
                    let mask: Vec<f32> = (0..n * n)
                        .map(|at| {
                            if at % n > at / n {
                                f32::NEG_INFINITY
                            } else {
                                0.0
                            }
                        })
                        .collect();
                    let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu).unwrap();
                    let scores = part(q, head)
                        .matmul(&part(k, head / group).t().unwrap())
                        .unwrap();
                    let scores = ((scores / (dim as f64).sqrt()).unwrap() + mask).unwrap();
                    let p = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
                    p.matmul(&part(v, head / group)).unwrap()
                })
                .collect();
            Tensor::cat(&sequences, 0).unwrap()
        })
        .collect();
    Tensor::stack(&heads, 0).unwrap()
}

#[test]
fn attention_over_packed_sequences() {
    // Lengths around the block of 48 queries, a single token, and grouped heads.
    let bounds = [0, 1, 48, 129, 330];
    let (heads, kv_heads, dim, tokens) = (4, 2, 12, 330);
    let shape = attention::Shape {
        heads,
        kv_heads,
        head_dim: dim,
        bounds: &bounds,
    };
    let q: Vec<f32> = noise(heads * tokens * dim, 1)
        .iter()
        .map(|x| 2.0 * x)
        .collect();
    let (k, v) = (
        noise(kv_heads * tokens * dim, 2),
        noise(kv_heads * tokens * dim, 3),
    );
    let dy = noise(q.len(), 4);
    let run = |q: &[f32], k: &[f32], v: &[f32]| {
        let (mut out, mut log_sums) = (vec![0.0; q.len()], vec![0.0; heads * tokens]);
        attention::forward(&mut out, &mut log_sums, q, k, v, shape, Precision::F32);
        (out, log_sums)
    };
    let (out, log_sums) = run(&q, &k, &v);
    let vq = var(&q, &[heads, tokens, dim]);
    let (vk, vv) = (
        var(&k, &[kv_heads, tokens, dim]),
        var(&v, &[kv_heads, tokens, dim]),
    );
    let expected = candle_attention(&vq, &vk, &vv, &bounds);
    assert_close("out", &out, &flat(&expected), 1e-5);

    // The delta op reads the token-major layout.
    let (mut out_rows, mut dy_rows) = (vec![0.0; q.len()], vec![0.0; q.len()]);
    rope::merge_heads(&mut out_rows, &out, heads, dim, None);
    rope::merge_heads(&mut dy_rows, &dy, heads, dim, None);
    let mut delta = vec![0.0; heads * tokens];
    attention::delta(&mut delta, &dy_rows, &out_rows, dim, heads);
    let (mut dq, mut dk, mut dv) = (noise(q.len(), 5), noise(k.len(), 6), noise(v.len(), 7));
    attention::backward(
        attention::Gradients {
            q: &mut dq,
            k: &mut dk,
            v: &mut dv,
        },
        &dy,
        &delta,
        attention::Saved {
            q: &q,
            k: &k,
            v: &v,
            log_sums: &log_sums,
        },
        shape,
        Precision::F32,
    );
    let expected = candle_gradients(&expected, &dy, &[&vq, &vk, &vv]);
    for (found, expected) in [&dq, &dk, &dv].into_iter().zip(&expected) {
        assert_close("gradient", found, expected, 3e-5);
    }
    assert_slopes(&q, &dq, |q| weigh(&run(q, &k, &v).0, &dy));
    assert_slopes(&k, &dk, |k| weigh(&run(&q, k, &v).0, &dy));
    assert_slopes(&v, &dv, |v| weigh(&run(&q, &k, v).0, &dy));
}

fn rope_config(dim: usize) -> Config {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 3, "head_dim": {dim}, "rms_norm_eps": 1e-6,
            "rope_theta": 50.0, "max_position_embeddings": 16}}"#
    );
    Config::from_json(&text).unwrap()
}

#[test]
fn rotary_positions() {
    let (heads, dim) = (3, 6);
    let positions = [0_u32, 1, 2, 0, 15];
    let tokens = positions.len();
    let table = rope::Table::new(&rope_config(dim));
    let (x, dy) = (
        noise(tokens * heads * dim, 1),
        noise(tokens * heads * dim, 2),
    );
    let mut y = vec![0.0; x.len()];
    rope::split_heads(&mut y, &x, heads, dim, Some((&table, &positions)));
    let angles: Vec<f32> = positions
        .iter()
        .flat_map(|&p| {
            (0..dim / 2).map(move |i| p as f32 * 50.0_f32.powf(-(2.0 * i as f32) / dim as f32))
        })
        .collect();
    let angles = Tensor::from_vec(angles, (tokens, dim / 2), &Device::Cpu).unwrap();
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    let variable = var(&x, &[tokens, heads, dim]);
    let by_head = variable.transpose(0, 1).unwrap();
    let (low, high) = (
        by_head.narrow(2, 0, dim / 2).unwrap(),
        by_head.narrow(2, dim / 2, dim / 2).unwrap(),
    );
    let times = |a: &Tensor, b: &Tensor| a.broadcast_mul(b).unwrap();
    let turned_low = (times(&low, &cos) - times(&high, &sin)).unwrap();
    let turned_high = (times(&high, &cos) + times(&low, &sin)).unwrap();
    let expected = Tensor::cat(&[turned_low, turned_high], 2).unwrap();
    assert_close("y", &y, &flat(&expected), 1e-5);
    let mut dx = vec![0.0; x.len()];
    rope::merge_heads(&mut dx, &dy, heads, dim, Some((&table, &positions)));
    assert_close(
        "dx",
        &dx,
        &candle_gradients(&expected, &dy, &[&variable])[0],
        1e-5,
    );
}

#[test]
fn head_log_probabilities() {
    // A vocabulary large enough for several chunks of rows.
    let (tokens, width, vocab, temperature) = (150, 10, 1 << 15, 0.7);
    let (hidden, weight) = (noise(tokens * width, 1), noise(vocab * width, 2));
    let targets: Vec<(usize, u32)> = (0..tokens)
        .step_by(2)
        .map(|row| (row, (row * 217 % vocab) as u32))
        .collect();
    let dy = noise(targets.len(), 3);
    let mut buffers = head::Buffers::default();
    let mut run = |hidden: &[f32]| {
        let head = head::Head {
            weight: &weight,
            width,
            temperature,
            low_rank: None,
            precision: Precision::F32,
        };
        let mut log_probs = vec![0.0; targets.len()];
        head.forward(&mut log_probs, hidden, &targets, &mut buffers);
        log_probs
    };
    let log_probs = run(&hidden);
    let (vh, vw) = (
        var(&hidden, &[tokens, width]),
        var(&weight, &[vocab, width]),
    );
    let rows: Vec<u32> = targets.iter().map(|(row, _)| *row as u32).collect();
    let ids: Vec<u32> = targets.iter().map(|(_, id)| *id).collect();
    let rows = Tensor::from_vec(rows, targets.len(), &Device::Cpu).unwrap();
    let ids = Tensor::from_vec(ids, (targets.len(), 1), &Device::Cpu).unwrap();
    let logits = vh
        .index_select(&rows, 0)
        .unwrap()
        .matmul(&vw.t().unwrap())
        .unwrap();
    let logits = (logits / f64::from(temperature)).unwrap();
    let all = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
    let expected = all.gather(&ids, 1).unwrap().squeeze(1).unwrap();
    assert_close("log p", &log_probs, &flat(&expected), 1e-5);

    let (mut d_hidden, mut d_weight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
    let mut again = vec![0.0; targets.len()];
    let mut buffers = head::Buffers::default();
    head::Head {
        weight: &weight,
        width,
        temperature,
        low_rank: None,
        precision: Precision::F32,
    }
    .backward(
        &mut d_hidden,
        head::Gradients {
            weight: Some(&mut d_weight),
            ..head::Gradients::default()
        },
        &mut again,
        &dy,
        &hidden,
        &targets,
        &mut buffers,
    );
    assert_close("log p again", &again, &log_probs, 1e-5);
    let expected = candle_gradients(&expected, &dy, &[&vh, &vw]);
    assert_close("d hidden", &d_hidden, &expected[0], 1e-5);
    assert_close("dW", &d_weight, &expected[1], 1e-5);
}
