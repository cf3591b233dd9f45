//! Decoding token by token over pages against the operations of training over whole sequences,
//! on the emulated device.

#![allow(clippy::unwrap_used)]

use gpu::decode::{Decoder, Layer, Limits, Row, Sizes, Weights};
use gpu::ops::attention::{self, Sequences, Shape};
use gpu::ops::matmul::Output;
use gpu::ops::rope::{self, Direction, Table};
use gpu::ops::sampling::Settings;
use gpu::ops::{embedding, linear, rmsnorm, swiglu};
use gpu::{Buffer, Device, Float, bf16};

const SIZES: Sizes = Sizes {
    width: 16,
    inner: 24,
    vocab: 40,
    shape: Shape {
        heads: 2,
        kv_heads: 1,
        head_dim: 8,
    },
    eps: 1e-5,
};
const LIMITS: Limits = Limits {
    slots: 3,
    rows: 8,
    pages: 6,
    positions: 64,
};

/// Norms and bias; products' weights.
type Block<T> = (Vec<Buffer<f32>>, Vec<Buffer<T>>);

struct Model<T: Float> {
    device: Device,
    embedding: Buffer<T>,
    head: Buffer<T>,
    norm: Buffer<f32>,
    layers: Vec<Block<T>>,
    rotary: Table,
}

fn values<T: Float>(length: usize, seed: usize) -> Vec<T> {
    let value =
        |at: usize| (((at * 7919 + seed * 104_729 + 13) % 2003) as f32 / 1001.5 - 1.0) * 0.5;
    (0..length).map(|at| T::narrow(value(at))).collect()
}

impl<T: Float + Output<T>> Model<T>
where
    f32: Output<T>,
{
    fn new(device: &Device) -> Self {
        let Sizes {
            width,
            inner,
            vocab,
            shape,
            ..
        } = SIZES;
        let up = |length, seed| device.upload(&values::<T>(length, seed)).unwrap();
        let floats = |length, seed| device.upload(&values::<f32>(length, seed)).unwrap();
        let half = shape.head_dim / 2;
        let angles: Vec<f32> = (0..LIMITS.positions * half)
            .map(|at| (at / half) as f32 * 0.3_f32.powi((at % half) as i32))
            .collect();
        let cosines: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
        let sines: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        let layers = (0..2)
            .map(|layer| {
                let seed = 10 * layer;
                let floats = [
                    floats(width, seed + 1),
                    floats(width, seed + 2),
                    floats(shape.row(), seed + 3),
                ];
                let weights = [
                    up(shape.row() * width, seed + 4),
                    up(width * shape.heads * shape.head_dim, seed + 5),
                    up(2 * inner * width, seed + 6),
                    up(width * inner, seed + 7),
                ];
                (floats.into(), weights.into())
            })
            .collect();
        Self {
            embedding: up(vocab * width, 31),
            head: up(vocab * width, 32),
            norm: floats(width, 33),
            layers,
            rotary: Table::new(device, half, &cosines, &sines).unwrap(),
            device: device.clone(),
        }
    }

    fn decoder(&self) -> Decoder<'_, T> {
        let weights = Weights {
            embedding: self.embedding.view(),
            layers: self
                .layers
                .iter()
                .map(|(floats, weights)| Layer {
                    attention_norm: floats[0].view(),
                    mlp_norm: floats[1].view(),
                    qkv_bias: Some(floats[2].view()),
                    qkv: weights[0].view(),
                    o: weights[1].view(),
                    gate_up: weights[2].view(),
                    down: weights[3].view(),
                })
                .collect(),
            norm: self.norm.view(),
            head: self.head.view(),
            rotary: &self.rotary,
        };
        Decoder::new(&self.device, weights, SIZES, LIMITS).unwrap()
    }

    /// Logits of every position of one sequence, by the operations of training.
    fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let Sizes {
            width,
            inner,
            vocab,
            shape,
            eps,
        } = SIZES;
        let (device, tokens) = (&self.device, ids.len());
        let on_device = device.upload(ids).unwrap();
        let at: Vec<u32> = (0..tokens as u32).collect();
        let at = device.upload(&at).unwrap();
        let sequences = Sequences::new(device, &[0, tokens]).unwrap();
        let mut x = device.zeros::<f32>(tokens * width).unwrap();
        let mut normed = device.zeros::<T>(tokens * width).unwrap();
        let mut roots = device.zeros::<f32>(tokens).unwrap();
        embedding::forward(x.view_mut(), on_device.view(), self.embedding.view(), width).unwrap();
        for (floats, weights) in &self.layers {
            let (out, kept) = (normed.view_mut(), roots.view_mut());
            rmsnorm::forward(out, kept, x.view(), floats[0].view(), eps).unwrap();
            let mut qkv = device.zeros::<T>(tokens * shape.row()).unwrap();
            let y = qkv.view_mut();
            linear::forward(y, false, normed.view(), weights[0].view(), width).unwrap();
            linear::add_bias(qkv.view_mut(), floats[2].view()).unwrap();
            rope::turn(
                qkv.view_mut(),
                shape.row(),
                shape.heads + shape.kv_heads,
                &self.rotary,
                at.view(),
                Direction::Forward,
            )
            .unwrap();
            let attended = shape.heads * shape.head_dim;
            let mut out = device.zeros::<T>(tokens * attended).unwrap();
            let mut sums = device.zeros::<f32>(tokens * shape.heads).unwrap();
            let (to, kept) = (out.view_mut(), sums.view_mut());
            attention::forward(to, kept, qkv.view(), shape, &sequences).unwrap();
            linear::forward(x.view_mut(), true, out.view(), weights[1].view(), attended).unwrap();
            let (out, kept) = (normed.view_mut(), roots.view_mut());
            rmsnorm::forward(out, kept, x.view(), floats[1].view(), eps).unwrap();
            let mut gate_up = device.zeros::<T>(tokens * 2 * inner).unwrap();
            let y = gate_up.view_mut();
            linear::forward(y, false, normed.view(), weights[2].view(), width).unwrap();
            let mut product = device.zeros::<T>(tokens * inner).unwrap();
            swiglu::forward(product.view_mut(), gate_up.view(), inner).unwrap();
            linear::forward(x.view_mut(), true, product.view(), weights[3].view(), inner).unwrap();
        }
        let (out, kept) = (normed.view_mut(), roots.view_mut());
        rmsnorm::forward(out, kept, x.view(), self.norm.view(), eps).unwrap();
        let mut logits = device.zeros::<f32>(tokens * vocab).unwrap();
        let y = logits.view_mut();
        linear::forward(y, false, normed.view(), self.head.view(), width).unwrap();
        logits.download().unwrap()
    }
}

fn rows(ids: &[u32], from: usize, slot: u32) -> Vec<Row> {
    let row = |(at, id): (usize, &u32)| Row {
        id: *id,
        position: (from + at) as u32,
        slot,
    };
    ids.iter().enumerate().map(row).collect()
}

/// The largest difference between the logits that decoding gives and those of training, a chunk of
/// rows at a time, beside another sequence or alone.
fn largest_difference<T: Float + Output<T>>() -> f32
where
    f32: Output<T>,
{
    let device = Device::emulated();
    let model = Model::<T>::new(&device);
    let ids: Vec<u32> = (0..45).map(|at| (at * 17 + 3) % 40).collect();
    let expected = model.logits(&ids);
    let mut decoder = model.decoder();
    decoder.set_pages(1, &[4, 2]).unwrap();
    let mut largest = 0.0_f32;
    let mut from = 0;
    // Buckets run for the first time, recorded, and as graphs.
    for count in [3, 4, 7, 3, 8, 8, 1, 1, 1, 4, 5] {
        let chosen: Vec<u32> = (0..count as u32).collect();
        let rows = rows(&ids[from..from + count], from, 1);
        decoder.step(&rows, &chosen).unwrap();
        let found = decoder.logits(count).download().unwrap();
        let expected = &expected[from * SIZES.vocab..(from + count) * SIZES.vocab];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.is_finite());
            largest = largest.max((found - expected).abs());
        }
        from += count;
    }
    assert_eq!(from, ids.len());
    largest
}

#[test]
fn decoding_gives_the_logits_of_training() {
    let difference = largest_difference::<f32>();
    assert!(difference < 1e-4, "{difference}");
    let difference = largest_difference::<bf16>();
    assert!(difference < 0.1, "{difference}");
}

#[test]
fn a_sample_does_not_depend_on_what_is_drawn_beside_it() {
    let device = Device::emulated();
    let model = Model::<bf16>::new(&device);
    let prompt = [5_u32, 9, 31];
    let settings = Settings {
        temperature: 1.0,
        top_k: 0,
        top_p: 0.95,
        min_p: 0.0,
        repetition_penalty: 1.1,
        key: [3; 32],
        drawn: 0,
    };
    let sample = |others: usize| {
        let mut decoder = model.decoder();
        let mut sequences = Vec::new();
        for slot in 0..=others {
            decoder
                .set_pages(slot, &[2 * slot as u32, 2 * slot as u32 + 1])
                .unwrap();
            let key = [if slot == others { 3 } else { 100 + slot as u8 }; 32];
            decoder
                .start(slot, &Settings { key, ..settings }, &prompt)
                .unwrap();
            decoder.step(&rows(&prompt, 0, slot as u32), &[2]).unwrap();
            sequences.push(decoder.draw(1).unwrap());
        }
        for position in 3..40 {
            let all: Vec<Row> = sequences
                .iter()
                .enumerate()
                .map(|(slot, tokens)| Row {
                    id: tokens.last().unwrap().id,
                    position,
                    slot: slot as u32,
                })
                .collect();
            let chosen: Vec<u32> = (0..all.len() as u32).collect();
            decoder.step(&all, &chosen).unwrap();
            for (tokens, token) in sequences.iter_mut().zip(decoder.draw(all.len()).unwrap()) {
                tokens.push(token);
            }
        }
        sequences.pop().unwrap()
    };
    let alone = sample(0);
    assert_eq!(alone.len(), 38);
    assert!(alone.iter().all(|token| token.log_prob < 0.0));
    assert_eq!(alone, sample(2));
}

#[test]
fn a_copied_page_goes_on_as_the_first() {
    let device = Device::emulated();
    let model = Model::<f32>::new(&device);
    let mut decoder = model.decoder();
    decoder.set_pages(0, &[0]).unwrap();
    decoder.set_pages(1, &[3]).unwrap();
    decoder.step(&rows(&[1, 2, 3], 0, 0), &[]).unwrap();
    decoder.copy_page(0, 3).unwrap();
    let next = |slot| Row {
        id: 7,
        position: 3,
        slot,
    };
    decoder.step(&[next(0), next(1)], &[0, 1]).unwrap();
    let logits = decoder.logits(2).download().unwrap();
    let (first, second) = logits.split_at(SIZES.vocab);
    assert_eq!(first, second);
}
