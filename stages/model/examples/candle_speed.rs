//! The training step of `speed`, composed of candle's differentiable operations with its
//! autograd and its AdamW: what the hand-written passes are measured against.
//!
//! `cargo run --release -p model --example candle_speed -- [layers] [hidden] [tokens] [sequences] [vocab]`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{D, Device, Result, Tensor};
use candle_nn::{AdamW, Init, Optimizer, ParamsAdamW, VarBuilder, VarMap};

fn norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let root = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
    x.broadcast_div(&root)?.broadcast_mul(weight)
}

fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (low, high) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let turned_low = (low.broadcast_mul(cos)? - high.broadcast_mul(sin)?)?;
    let turned_high = (high.broadcast_mul(cos)? + low.broadcast_mul(sin)?)?;
    Tensor::cat(&[turned_low, turned_high], 3)
}

fn main() -> Result<()> {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let size = |index: usize, default: usize| given.get(index).copied().unwrap_or(default);
    let (layers, hidden, tokens) = (size(0, 4), size(1, 256), size(2, 512));
    let (sequences, vocab, dim) = (size(3, 8), size(4, 2048), 32);
    let inner = (hidden * 8 / 3_usize).next_multiple_of(32);
    let device = Device::Cpu;
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, candle_core::DType::F32, &device);
    let weight = |name: &str, rows: usize, columns: usize| {
        builder.get_with_hints(
            (rows, columns),
            name,
            Init::Randn {
                mean: 0.0,
                stdev: 0.02,
            },
        )
    };
    let ones = |name: &str| builder.get_with_hints(hidden, name, Init::Const(1.0));
    let embedding = weight("embedding", vocab, hidden)?;
    let last = ones("norm")?;
    let blocks = (0..layers)
        .map(|i| {
            let square = |name: &str| weight(&format!("{i}.{name}"), hidden, hidden);
            Ok((
                [ones(&format!("{i}.n1"))?, ones(&format!("{i}.n2"))?],
                [square("q")?, square("k")?, square("v")?, square("o")?],
                [
                    weight(&format!("{i}.gate"), inner, hidden)?,
                    weight(&format!("{i}.up"), inner, hidden)?,
                ],
                weight(&format!("{i}.down"), hidden, inner)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let angles: Vec<f32> = (0..tokens)
        .flat_map(|p| {
            (0..dim / 2).map(move |i| p as f32 * 1e4_f32.powf(-(2.0 * i as f32) / dim as f32))
        })
        .collect();
    let angles = Tensor::from_vec(angles, (tokens, dim / 2), &device)?;
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let hidden_keys = |at: usize| {
        if at % tokens > at / tokens {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let mask = Tensor::from_iter((0..tokens * tokens).map(hidden_keys), &device)?
        .reshape((tokens, tokens))?;
    let ids: Vec<u32> = (0..sequences)
        .flat_map(|s| (0..tokens).map(move |i| ((i * i + 31 * s) % vocab) as u32))
        .collect();
    let ids = Tensor::from_vec(ids, (sequences, tokens), &device)?;
    let linear = |x: &Tensor, w: &Tensor| x.matmul(&w.t()?);
    let mut optimizer = AdamW::new(map.all_vars(), ParamsAdamW::default())?;
    for _ in 0..3 {
        let start = Instant::now();
        let mut x = embedding.index_select(&ids.flatten_all()?, 0)?;
        for (norms, [wq, wk, wv, wo], [gate, up], down) in &blocks {
            let n = norm(&x, &norms[0])?;
            let split = |y: Tensor| {
                y.reshape((sequences, tokens, hidden / dim, dim))?
                    .transpose(1, 2)?
                    .contiguous()
            };
            let q = rotate(&split(linear(&n, wq)?)?, &cos, &sin)?;
            let k = rotate(&split(linear(&n, wk)?)?, &cos, &sin)?;
            let v = split(linear(&n, wv)?)?;
            let scores = (q.matmul(&k.t()?)? / (dim as f64).sqrt())?.broadcast_add(&mask)?;
            let out = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
            let out = out
                .transpose(1, 2)?
                .contiguous()?
                .reshape((sequences * tokens, hidden))?;
            x = (x + linear(&out, wo)?)?;
            let n = norm(&x, &norms[1])?;
            let product = (linear(&n, gate)?.silu()? * linear(&n, up)?)?;
            x = (x + linear(&product, down)?)?;
        }
        let logits = linear(&norm(&x, &last)?, &embedding)?.reshape((sequences, tokens, vocab))?;
        let logits = logits
            .narrow(1, 0, tokens - 1)?
            .reshape((sequences * (tokens - 1), vocab))?;
        let targets = ids.narrow(1, 1, tokens - 1)?.flatten_all()?;
        let loss = candle_nn::loss::cross_entropy(&logits, &targets)?;
        optimizer.backward_step(&loss)?;
        let per_second = (sequences * tokens) as f64 / start.elapsed().as_secs_f64();
        println!(
            "training step: {per_second:.0} tokens/s, loss {:.4}",
            loss.to_scalar::<f32>()?
        );
    }
    Ok(())
}
