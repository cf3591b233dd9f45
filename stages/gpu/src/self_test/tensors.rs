//! Comparisons of what works on whole tensors: products, elementwise operations, adapters,
//! dropout, the optimiser.

use super::{Pair, Test, tolerance};
use crate::element::Float;
use crate::error::Result;
use crate::ops::dropout::Dropout;
use crate::ops::low_rank::LowRank;
use crate::ops::matmul::{Matrix, Output, matmul};
use crate::ops::optimizer::{AdamW, Tensor, norm};
use crate::ops::{elementwise, swiglu};
use half::bf16;

pub(super) fn all<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    products::<T>(test)?;
    elementwise::<T>(test)?;
    swiglu::<T>(test)?;
    dropout::<T>(test)?;
    low_rank::<T>(test)
}

/// `alpha op(a) op(b)`, each `[rows, cols]` as read, with `stride` between rows as they lie.
fn product(a: &View, b: &View, alpha: f64) -> Vec<f64> {
    let mut out = vec![0.0; a.rows * b.cols];
    for row in 0..a.rows {
        for col in 0..b.cols {
            let sum: f64 = (0..a.cols).map(|k| a.at(row, k) * b.at(k, col)).sum();
            out[row * b.cols + col] = alpha * sum;
        }
    }
    out
}

struct View<'a> {
    values: &'a [f64],
    rows: usize,
    cols: usize,
    stride: usize,
    transposed: bool,
}

impl View<'_> {
    fn at(&self, row: usize, col: usize) -> f64 {
        if self.transposed {
            self.values[col * self.stride + row]
        } else {
            self.values[row * self.stride + col]
        }
    }
}

fn products<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    let mut sizes = vec![(1, 1, 1, 0), (5, 3, 9, 0), (17, 33, 40, 7)];
    if test.large {
        sizes.push((257, 300, 1000, 3));
    }
    for (m, n, k, gap) in sizes {
        for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = format!("{m}x{n}x{k} {left}/{right}");
            let (a_rows, a_cols) = if left { (k, m) } else { (m, k) };
            let (b_rows, b_cols) = if right { (n, k) } else { (k, n) };
            let (a_stride, b_stride, stride) = (a_cols + gap, b_cols + gap, n + gap);
            let a: Pair<T> = test.values(a_rows * a_stride, 1.0)?;
            let b: Pair<T> = test.values(b_rows * b_stride, 1.0)?;
            let a_matrix = Matrix::strided(a.view(), a_rows, a_cols, a_stride);
            let b_matrix = Matrix::strided(b.view(), b_rows, b_cols, b_stride);
            let a_matrix = if left {
                a_matrix.transposed()
            } else {
                a_matrix
            };
            let b_matrix = if right {
                b_matrix.transposed()
            } else {
                b_matrix
            };
            let a_view = View {
                values: &a.host,
                rows: m,
                cols: k,
                stride: a_stride,
                transposed: left,
            };
            let b_view = View {
                values: &b.host,
                rows: k,
                cols: n,
                stride: b_stride,
                transposed: right,
            };
            let expected = product(&a_view, &b_view, 0.7);
            let spread = |mut before: Vec<f64>, adds: bool| {
                for row in 0..m {
                    for col in 0..n {
                        let at = &mut before[row * stride + col];
                        *at = expected[row * n + col] + if adds { *at } else { 0.0 };
                    }
                }
                before
            };
            let Pair { mut device, host } = test.values::<T>(m * stride, 1.0)?;
            matmul(device.view_mut(), stride, false, 0.7, a_matrix, b_matrix)?;
            let expected_t = spread(host, false);
            test.compare(
                T::NAME,
                "product",
                &case,
                device.view(),
                &expected_t,
                tolerance::<T>(),
            )?;
            let Pair { mut device, host } = test.values::<f32>(m * stride, 1.0)?;
            matmul(device.view_mut(), stride, true, 0.7, a_matrix, b_matrix)?;
            let expected_f32 = spread(host, true);
            let name = "product added to f32";
            test.compare(T::NAME, name, &case, device.view(), &expected_f32, 2e-5)?;
        }
    }
    Ok(())
}

/// Lengths that leave something over, and starts that are not aligned.
fn lengths(test: &Test) -> Vec<(usize, usize)> {
    let mut lengths = vec![(1, 0), (13, 1), (2048, 0), (2051, 3)];
    if test.large {
        lengths.push((70_000_001, 0));
    }
    lengths
}

fn elementwise<T: Float>(test: &mut Test) -> Result<()> {
    for (length, skip) in lengths(test) {
        let case = format!("{length} from {skip}");
        let x: Pair<T> = test.values(skip + length, 3.0)?;
        let Pair { mut device, host } = test.values::<f32>(skip + length, 3.0)?;
        let from = x.device.slice(skip..);
        elementwise::add_scaled(device.slice_mut(skip..), -0.3, from)?;
        let mut expected = host.clone();
        for (y, x) in expected[skip..].iter_mut().zip(&x.host[skip..]) {
            *y += f64::from(-0.3_f32) * x;
        }
        test.compare(T::NAME, "add to f32", &case, device.view(), &expected, 1e-6)?;

        let Pair { mut device, host } = test.values::<T>(skip + length, 3.0)?;
        elementwise::scale(device.slice_mut(skip..), 1.7)?;
        elementwise::add_scaled(device.slice_mut(skip..), 0.5, from)?;
        let mut expected = host;
        for (y, x) in expected[skip..].iter_mut().zip(&x.host[skip..]) {
            *y = *y * f64::from(1.7_f32) + 0.5 * x;
        }
        test.compare(
            T::NAME,
            "scale and add",
            &case,
            device.view(),
            &expected,
            tolerance::<T>(),
        )?;
        elementwise::convert(device.slice_mut(skip..), from)?;
        expected[skip..].copy_from_slice(&x.host[skip..]);
        let values = device.slice(skip..);
        test.compare(T::NAME, "convert", &case, values, &expected[skip..], 0.0)?;
        elementwise::fill(device.slice_mut(skip..), 0.25)?;
        expected[skip..].fill(0.25);
        let values = device.slice(skip..);
        test.compare(T::NAME, "fill", &case, values, &expected[skip..], 0.0)?;
    }
    Ok(())
}

fn swiglu<T: Float>(test: &mut Test) -> Result<()> {
    let mut sizes = vec![(1, 1), (7, 24), (5, 13), (3, 200)];
    if test.large {
        sizes.push((4096, 5504));
    }
    for (rows, inner) in sizes {
        let case = format!("{rows}x{inner}");
        let gate_up: Pair<T> = test.values(rows * 2 * inner, 4.0)?;
        let mut y = test.device.zeros::<T>(rows * inner)?;
        swiglu::forward(y.view_mut(), gate_up.view(), inner)?;
        let dy: Pair<T> = test.values(rows * inner, 1.0)?;
        let (mut products, mut gradients) = (Vec::new(), vec![0.0; rows * 2 * inner]);
        for row in 0..rows {
            for col in 0..inner {
                let at = row * 2 * inner + col;
                let (g, u) = (gate_up.host[at], gate_up.host[at + inner]);
                let d = dy.host[row * inner + col];
                let s = 1.0 / (1.0 + (-g).exp());
                products.push(g * s * u);
                gradients[at] = d * u * (s + g * s * (1.0 - s));
                gradients[at + inner] = d * g * s;
            }
        }
        let tolerance = tolerance::<T>();
        test.compare(T::NAME, "swiglu", &case, y.view(), &products, tolerance)?;
        let (mut dy, mut gate_up) = (dy.device, gate_up.device);
        swiglu::backward(dy.view_mut(), gate_up.view_mut(), inner)?;
        test.compare(
            T::NAME,
            "swiglu backward: y",
            &case,
            dy.view(),
            &products,
            tolerance,
        )?;
        let name = "swiglu backward: d gate, d up";
        test.compare(T::NAME, name, &case, gate_up.view(), &gradients, tolerance)?;
    }
    Ok(())
}

/// The mask's factor of a value, as `model::ops::low_rank` has it.
fn kept(dropout: Dropout, counter: u64) -> f64 {
    let mut z = dropout
        .key
        .wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let threshold = (f64::from(dropout.probability) * 2.0_f64.powi(32)) as u64;
    if z >> 32 >= threshold {
        f64::from(1.0 / (1.0 - dropout.probability))
    } else {
        0.0
    }
}

const DROPOUT: Dropout = Dropout {
    key: 0x1234_5678_9abc_def0,
    probability: 0.3,
    first_row: 5,
};

fn drop_rows(x: &[f64], width: usize) -> Vec<f64> {
    let first = (DROPOUT.first_row * width) as u64;
    let rows = x.iter().enumerate();
    rows.map(|(at, x)| x * kept(DROPOUT, first + at as u64))
        .collect()
}

fn dropout<T: Float>(test: &mut Test) -> Result<()> {
    for (rows, width) in [(3, 7), (40, 64)] {
        let x: Pair<T> = test.values(rows * width, 1.0)?;
        let mut y = test.device.empty::<T>(rows * width)?;
        DROPOUT.apply(y.view_mut(), x.view(), width)?;
        let (case, expected) = (format!("{rows}x{width}"), drop_rows(&x.host, width));
        test.compare(
            T::NAME,
            "dropout",
            &case,
            y.view(),
            &expected,
            tolerance::<T>(),
        )?;
        let mut x = x.device;
        DROPOUT.apply_in_place(x.view_mut(), width)?;
        test.compare(
            T::NAME,
            "dropout in place",
            &case,
            x.view(),
            &expected,
            tolerance::<T>(),
        )?;
    }
    Ok(())
}

/// `[rows, cols]` without gaps.
fn plain(values: &[f64], rows: usize, cols: usize) -> View<'_> {
    View {
        values,
        rows,
        cols,
        stride: cols,
        transposed: false,
    }
}

/// The transpose of `[rows, cols]`.
fn turned(values: &[f64], rows: usize, cols: usize) -> View<'_> {
    View {
        values,
        rows: cols,
        cols: rows,
        stride: cols,
        transposed: true,
    }
}

fn low_rank<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    let (rows, inputs, outputs, rank, scale) = (11, 24, 20, 4, 0.5);
    // The layer's outputs are columns 3.. of wider rows.
    let (stride, first) = (outputs + 5, 3);
    // Three roundings on the way.
    let tolerance = 2.0 * tolerance::<T>();
    for dropout in [None, Some(DROPOUT)] {
        let case = if dropout.is_some() {
            "dropout"
        } else {
            "plain"
        };
        let a: Pair<T> = test.values(rank * inputs, 0.5)?;
        let b: Pair<T> = test.values(outputs * rank, 0.5)?;
        let x: Pair<T> = test.values(rows * inputs, 1.0)?;
        let dy: Pair<T> = test.values(rows * stride, 1.0)?;
        let layer = LowRank {
            a: a.view(),
            b: b.view(),
            rank,
            scale: scale as f32,
            dropout,
        };
        let dropped = match dropout {
            Some(_) => drop_rows(&x.host, inputs),
            None => x.host.clone(),
        };
        let u = product(
            &plain(&dropped, rows, inputs),
            &turned(&a.host, rank, inputs),
            1.0,
        );
        let added = product(
            &plain(&u, rows, rank),
            &turned(&b.host, outputs, rank),
            scale,
        );
        let Pair { mut device, host } = test.values::<f32>(rows * stride, 1.0)?;
        layer.forward(device.slice_mut(first..), stride, x.view())?;
        let mut expected = host;
        for row in 0..rows {
            for col in 0..outputs {
                expected[row * stride + first + col] += added[row * outputs + col];
            }
        }
        test.compare(
            T::NAME,
            "low-rank",
            case,
            device.view(),
            &expected,
            tolerance,
        )?;

        let d: Vec<f64> = (0..rows * outputs)
            .map(|at| dy.host[at / outputs * stride + first + at % outputs])
            .collect();
        let dy = dy.device.slice(first..);
        let du = product(
            &plain(&d, rows, outputs),
            &plain(&b.host, outputs, rank),
            scale,
        );
        let mut dx = product(&plain(&du, rows, rank), &plain(&a.host, rank, inputs), 1.0);
        if dropout.is_some() {
            dx = drop_rows(&dx, inputs);
        }
        let Pair { mut device, host } = test.values::<f32>(rows * inputs, 1.0)?;
        layer.backward_input(device.view_mut(), dy, stride)?;
        let expected: Vec<f64> = host.iter().zip(dx).map(|(a, b)| a + b).collect();
        test.compare(
            T::NAME,
            "low-rank backward: dx",
            case,
            device.view(),
            &expected,
            tolerance,
        )?;

        let mut d_a = test.device.zeros::<f32>(rank * inputs)?;
        layer.backward_a(d_a.view_mut(), dy, stride, x.view())?;
        let expected = product(
            &turned(&du, rows, rank),
            &plain(&dropped, rows, inputs),
            1.0,
        );
        test.compare(
            T::NAME,
            "low-rank backward: dA",
            case,
            d_a.view(),
            &expected,
            tolerance,
        )?;
        let mut d_b = test.device.zeros::<f32>(outputs * rank)?;
        layer.backward_b(d_b.view_mut(), dy, stride, x.view())?;
        let expected = product(&turned(&d, rows, outputs), &plain(&u, rows, rank), scale);
        test.compare(
            T::NAME,
            "low-rank backward: dB",
            case,
            d_b.view(),
            &expected,
            tolerance,
        )?;
    }
    Ok(())
}

/// Two updates of tensors of awkward lengths, one of them longer than a block's share.
pub(super) fn optimizer(test: &mut Test) -> Result<()> {
    let lengths = [1, 13, 16384, 20_003];
    let mut values = Vec::new();
    for length in lengths {
        let parts: [Pair<f32>; 2] = [test.values(length, 1.0)?, test.values(length, 0.1)?];
        values.push(parts);
    }
    let mut scale = test.device.zeros::<f32>(2)?;
    let gradients: Vec<_> = values.iter().map(|[_, gradient]| gradient.view()).collect();
    norm(scale.view_mut(), &gradients, 0.5)?;
    let squares = values.iter().flat_map(|[_, gradient]| &gradient.host);
    let expected_norm = squares.map(|g| g * g).sum::<f64>().sqrt();
    let factor = (0.5 / (expected_norm + 1e-6)).min(1.0);
    let case = "4 tensors";
    let expected = [expected_norm, factor];
    test.compare("f32", "gradient norm", case, scale.view(), &expected, 1e-6)?;

    for (number, [parameter, gradient]) in values.into_iter().enumerate() {
        let (length, decays, copies) = (lengths[number], number % 2 == 0, number != 1);
        let Pair { mut device, host } = parameter;
        let mut first = test.device.zeros::<f32>(length)?;
        let mut second = test.device.zeros::<f32>(length)?;
        let mut copy = test.device.zeros::<bf16>(length)?;
        let mut state = vec![[0.0; 2]; length];
        let mut expected = host;
        for step in 1..=2 {
            let update = AdamW {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.1,
                learning_rate: 0.01,
                step,
            };
            let mut tensors = [Tensor {
                values: device.view_mut(),
                first: first.view_mut(),
                second: second.view_mut(),
                gradient: gradient.view(),
                copy: copies.then(|| copy.view_mut()),
                decays,
            }];
            update.update(test.device, &mut tensors, Some(scale.slice(1..)))?;
            let correction = |beta: f64| 1.0 - beta.powi(step as i32);
            for ((p, [m, v]), g) in expected.iter_mut().zip(&mut state).zip(&gradient.host) {
                let g = g * factor;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.95 * *v + 0.05 * g * g;
                let root = (*v / correction(0.95)).sqrt() + 1e-8;
                let keep = if decays { 1.0 - 0.01 * 0.1 } else { 1.0 };
                *p = *p * keep - 0.01 * (*m / correction(0.9)) / root;
            }
        }
        let case = format!("{length} values");
        let moments: [Vec<f64>; 2] =
            [0, 1].map(|which| state.iter().map(|moments| moments[which]).collect());
        test.compare("f32", "adamw", &case, device.view(), &expected, 1e-5)?;
        test.compare(
            "f32",
            "adamw: first moment",
            &case,
            first.view(),
            &moments[0],
            1e-5,
        )?;
        test.compare(
            "f32",
            "adamw: second moment",
            &case,
            second.view(),
            &moments[1],
            1e-5,
        )?;
        if copies {
            test.compare("bf16", "adamw: copy", &case, copy.view(), &expected, 8e-3)?;
        }
    }
    Ok(())
}
