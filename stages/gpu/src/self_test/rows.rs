//! Comparisons of what works on rows: norms, biases, embedding, rotation, heads.

use super::{Pair, Test, tolerance};
use crate::element::Float;
use crate::error::Result;
use crate::ops::head::{Gradients, Head, Targets};
use crate::ops::matmul::Output;
use crate::ops::rope::{Direction, Table};
use crate::ops::{embedding, linear, rmsnorm, rope, scalar_head};

pub(super) fn all<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    norms::<T>(test)?;
    biases::<T>(test)?;
    embedding::<T>(test)?;
    rotation::<T>(test)?;
    head::<T>(test)?;
    scalar_head::<T>(test)
}

fn norms<T: Float>(test: &mut Test) -> Result<()> {
    let mut sizes = vec![(1, 8), (37, 67), (19, 72), (9, 2056)];
    if test.large {
        sizes.push((9001, 2048));
    }
    let eps = 1e-5;
    for (rows, width) in sizes {
        let case = format!("{rows}x{width}");
        let x: Pair<f32> = test.values(rows * width, 2.0)?;
        let branch: Pair<T> = test.values(rows * width, 2.0)?;
        let weight: Pair<f32> = test.values(width, 1.0)?;
        let dy: Pair<T> = test.values(rows * width, 1.0)?;
        let tolerance = tolerance::<T>();
        let normalise = |x: &[f64]| {
            let (mut y, mut roots) = (Vec::new(), Vec::new());
            for x in x.chunks_exact(width) {
                let squares: f64 = x.iter().map(|x| x * x).sum();
                let root = 1.0 / (squares / width as f64 + eps).sqrt();
                roots.push(root);
                y.extend(x.iter().zip(&weight.host).map(|(x, w)| w * x * root));
            }
            (y, roots)
        };
        let mut y = test.device.empty::<T>(rows * width)?;
        let mut roots = test.device.empty::<f32>(rows)?;
        let eps = eps as f32;
        let (out, kept) = (y.view_mut(), roots.view_mut());
        rmsnorm::forward(out, kept, x.view(), weight.view(), eps)?;
        let (expected, expected_roots) = normalise(&x.host);
        test.compare(T::NAME, "rmsnorm", &case, y.view(), &expected, tolerance)?;
        test.compare(
            T::NAME,
            "rmsnorm: roots",
            &case,
            roots.view(),
            &expected_roots,
            1e-5,
        )?;
        let mut again = test.device.empty::<T>(rows * width)?;
        rmsnorm::recompute(again.view_mut(), roots.view(), x.view(), weight.view())?;
        test.compare(
            T::NAME,
            "rmsnorm again",
            &case,
            again.view(),
            &expected,
            tolerance,
        )?;

        let mut sum = test.device.empty::<f32>(rows * width)?;
        rmsnorm::add_forward(
            y.view_mut(),
            roots.view_mut(),
            sum.view_mut(),
            x.view(),
            branch.view(),
            weight.view(),
            eps,
        )?;
        let sums: Vec<f64> = x
            .host
            .iter()
            .zip(&branch.host)
            .map(|(a, b)| a + b)
            .collect();
        let (expected, expected_roots) = normalise(&sums);
        test.compare(
            T::NAME,
            "rmsnorm of sum: sum",
            &case,
            sum.view(),
            &sums,
            1e-6,
        )?;
        test.compare(
            T::NAME,
            "rmsnorm of sum",
            &case,
            y.view(),
            &expected,
            tolerance,
        )?;

        let mut d_expected = Vec::new();
        let mut dw_expected = vec![0.0; width];
        let rows_of = sums.chunks_exact(width).zip(dy.host.chunks_exact(width));
        for ((x, dy), r) in rows_of.zip(&expected_roots) {
            let along: f64 = (0..width).map(|i| dy[i] * weight.host[i] * x[i]).sum();
            for i in 0..width {
                let pull = x[i] * r * r * along / width as f64;
                d_expected.push(r * (dy[i] * weight.host[i] - pull));
                dw_expected[i] += dy[i] * x[i] * r;
            }
        }
        let Pair { mut device, host } = test.values::<f32>(rows * width, 1.0)?;
        for (d, before) in d_expected.iter_mut().zip(&host) {
            *d += before;
        }
        let mut copy = test.device.empty::<T>(rows * width)?;
        let mut d_weight = test.device.zeros::<f32>(width)?;
        rmsnorm::backward(
            device.view_mut(),
            Some(copy.view_mut()),
            Some(d_weight.view_mut()),
            dy.view(),
            roots.view(),
            sum.view(),
            weight.view(),
        )?;
        let (dx, name) = (device.view(), "rmsnorm backward: dx");
        test.compare(T::NAME, name, &case, dx, &d_expected, 2e-5)?;
        let name = "rmsnorm backward: copy of dx";
        test.compare(T::NAME, name, &case, copy.view(), &d_expected, tolerance)?;
        let name = "rmsnorm backward: dw";
        test.compare(T::NAME, name, &case, d_weight.view(), &dw_expected, 2e-5)?;
        let (dx, dy) = (device.view_mut(), dy.view());
        rmsnorm::backward(dx, None, None, dy, roots.view(), sum.view(), weight.view())?;
        for (d, before) in d_expected.iter_mut().zip(&host) {
            *d += *d - before;
        }
        let (dx, name) = (device.view(), "rmsnorm backward, frozen: dx");
        test.compare(T::NAME, name, &case, dx, &d_expected, 2e-5)?;
    }
    Ok(())
}

fn biases<T: Float>(test: &mut Test) -> Result<()> {
    let mut sizes = vec![(1, 3), (41, 13), (300, 96)];
    if test.large {
        sizes.push((20_000, 6144));
    }
    for (rows, width) in sizes {
        let case = format!("{rows}x{width}");
        let bias: Pair<f32> = test.values(width, 1.0)?;
        let Pair { mut device, host } = test.values::<T>(rows * width, 1.0)?;
        let Pair {
            device: mut sums,
            host: before,
        } = test.values::<f32>(width, 1.0)?;
        linear::backward_bias(sums.view_mut(), device.view())?;
        let mut expected = before;
        for row in host.chunks_exact(width) {
            for (sum, value) in expected.iter_mut().zip(row) {
                *sum += value;
            }
        }
        test.compare(
            T::NAME,
            "bias backward",
            &case,
            sums.view(),
            &expected,
            2e-5,
        )?;
        linear::add_bias(device.view_mut(), bias.view())?;
        let expected: Vec<f64> = host
            .iter()
            .enumerate()
            .map(|(at, y)| y + bias.host[at % width])
            .collect();
        test.compare(
            T::NAME,
            "bias",
            &case,
            device.view(),
            &expected,
            tolerance::<T>(),
        )?;
    }
    Ok(())
}

fn embedding<T: Float>(test: &mut Test) -> Result<()> {
    for (tokens, vocab, width) in [(1, 2, 8), (150, 9, 13), (333, 50, 72)] {
        let case = format!("{tokens} of {vocab}x{width}");
        // Half of them one id, so that it has several chunks.
        let ids: Vec<u32> = (0..tokens)
            .map(|_| match test.random.below(2) {
                0 => 1,
                _ => test.random.below(vocab) as u32,
            })
            .collect();
        let table: Pair<T> = test.values(vocab * width, 1.0)?;
        let mut y = test.device.empty::<f32>(tokens * width)?;
        let on_device = test.device.upload(&ids)?;
        embedding::forward(y.view_mut(), on_device.view(), table.view(), width)?;
        let row = |id: &u32| table.host[*id as usize * width..][..width].to_vec();
        let expected: Vec<f64> = ids.iter().flat_map(row).collect();
        test.compare(T::NAME, "embedding", &case, y.view(), &expected, 0.0)?;
        let dy: Pair<f32> = test.values(tokens * width, 1.0)?;
        let Pair { mut device, host } = test.values::<f32>(vocab * width, 1.0)?;
        let index = embedding::Index::new(test.device, &ids)?;
        embedding::backward(device.view_mut(), &index, dy.view(), width)?;
        let mut expected = host;
        for (id, row) in ids.iter().zip(dy.host.chunks_exact(width)) {
            let sums = &mut expected[*id as usize * width..][..width];
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        test.compare(
            T::NAME,
            "embedding backward",
            &case,
            device.view(),
            &expected,
            2e-5,
        )?;
    }
    Ok(())
}

fn rotation<T: Float>(test: &mut Test) -> Result<()> {
    for (tokens, heads, half, rest) in [(3, 1, 3, 2), (21, 3, 16, 32), (7, 2, 4, 5)] {
        let (stride, positions) = (heads * 2 * half + rest, 30);
        let case = format!("{tokens} tokens, {heads} heads of {}", 2 * half);
        let angles: Vec<f64> = (0..positions * half)
            .map(|at| (at / half) as f64 * 10.0_f64.powf(-((at % half) as f64) / half as f64))
            .collect();
        let cosines: Vec<f32> = angles.iter().map(|angle| angle.cos() as f32).collect();
        let sines: Vec<f32> = angles.iter().map(|angle| angle.sin() as f32).collect();
        let table = Table::new(test.device, half, &cosines, &sines)?;
        let at: Vec<u32> = (0..tokens)
            .map(|_| test.random.below(positions) as u32)
            .collect();
        let on_device = test.device.upload(&at)?;
        let Pair { mut device, host } = test.values::<T>(tokens * stride, 1.0)?;
        let x = device.view_mut();
        rope::turn(
            x,
            stride,
            heads,
            &table,
            on_device.view(),
            Direction::Forward,
        )?;
        let mut expected = host.clone();
        for (token, position) in at.iter().enumerate() {
            for head in 0..heads {
                for i in 0..half {
                    let low = token * stride + head * 2 * half + i;
                    let (a, b) = (host[low], host[low + half]);
                    let angle = *position as usize * half + i;
                    let (c, s) = (f64::from(cosines[angle]), f64::from(sines[angle]));
                    expected[low] = a * c - b * s;
                    expected[low + half] = b * c + a * s;
                }
            }
        }
        test.compare(
            T::NAME,
            "rotation",
            &case,
            device.view(),
            &expected,
            tolerance::<T>(),
        )?;
        let x = device.view_mut();
        rope::turn(
            x,
            stride,
            heads,
            &table,
            on_device.view(),
            Direction::Backward,
        )?;
        let twice = 2.0 * tolerance::<T>();
        test.compare(
            T::NAME,
            "rotation and back",
            &case,
            device.view(),
            &host,
            twice,
        )?;
    }
    Ok(())
}

fn head<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    let mut sizes = vec![(9, 16, 24, 4), (20, 8, 301, 64)];
    if test.large {
        sizes.push((300, 64, 49_155, 128));
    }
    let temperature = 0.8_f32;
    for (tokens, width, vocab, chunk) in sizes {
        let case = format!("{tokens} tokens, {vocab} words, chunks of {chunk}");
        let hidden: Pair<T> = test.values(tokens * width, 1.0)?;
        let weight: Pair<T> = test.values(vocab * width, 1.0)?;
        let pairs: Vec<(usize, u32)> = (0..tokens)
            .filter(|row| row % 4 != 1)
            .map(|row| (row, test.random.below(vocab) as u32))
            .collect();
        let targets = Targets::new(test.device, &pairs)?;
        let head = Head {
            weight: weight.view(),
            width,
            temperature,
            low_rank: None,
            chunk,
        };
        let g: Pair<f32> = test.values(pairs.len(), 1.0)?;
        let Pair {
            device: mut d_hidden,
            host: mut d_expected,
        } = test.values::<f32>(tokens * width, 0.1)?;
        let Pair {
            device: mut d_weight,
            host: mut dw_expected,
        } = test.values::<f32>(vocab * width, 0.1)?;
        let mut expected = Vec::new();
        for ((row, target), g) in pairs.iter().zip(&g.host) {
            let h = &hidden.host[row * width..][..width];
            let logits: Vec<f64> = weight
                .host
                .chunks_exact(width)
                .map(|w| w.iter().zip(h).map(|(w, h)| w * h).sum::<f64>() / f64::from(temperature))
                .collect();
            let largest = logits.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
            let target = *target as usize;
            expected.push(logits[target] - largest - sum.ln());
            for (word, z) in logits.iter().enumerate() {
                let p = (z - largest).exp() / sum;
                let dz = g * (f64::from(u8::from(word == target)) - p) / f64::from(temperature);
                for i in 0..width {
                    d_expected[row * width + i] += dz * weight.host[word * width + i];
                    dw_expected[word * width + i] += dz * h[i];
                }
            }
        }
        let mut found = test.device.zeros::<f32>(pairs.len())?;
        head.forward(found.view_mut(), hidden.view(), &targets)?;
        test.compare(T::NAME, "head", &case, found.view(), &expected, 2e-5)?;
        found.view_mut().zero()?;
        let gradients = Gradients {
            weight: Some(d_weight.view_mut()),
            ..Gradients::default()
        };
        let (d, log_probs) = (d_hidden.view_mut(), found.view_mut());
        head.backward(d, gradients, log_probs, g.view(), hidden.view(), &targets)?;
        let name = "head backward: log p";
        test.compare(T::NAME, name, &case, found.view(), &expected, 2e-5)?;
        let (d, name) = (d_hidden.view(), "head backward: dh");
        test.compare(T::NAME, name, &case, d, &d_expected, tolerance::<T>())?;
        let (d, name) = (d_weight.view(), "head backward: dw");
        test.compare(T::NAME, name, &case, d, &dw_expected, tolerance::<T>())?;
    }
    Ok(())
}

fn scalar_head<T: Float>(test: &mut Test) -> Result<()> {
    for (rows, width) in [(1, 8), (43, 67), (20, 264)] {
        let case = format!("{rows}x{width}");
        let hidden: Pair<T> = test.values(rows * width, 1.0)?;
        let weight: Pair<f32> = test.values(width, 1.0)?;
        let bias: Pair<f32> = test.values(1, 1.0)?;
        let mut values = test.device.empty::<f32>(rows)?;
        let (h, w) = (hidden.view(), weight.view());
        scalar_head::forward(values.view_mut(), h, w, Some(bias.view()))?;
        let dot = |row: &[f64]| {
            row.iter()
                .zip(&weight.host)
                .map(|(a, b)| a * b)
                .sum::<f64>()
        };
        let rows_of = || hidden.host.chunks_exact(width);
        let expected: Vec<f64> = rows_of().map(|row| dot(row) + bias.host[0]).collect();
        test.compare(
            T::NAME,
            "scalar head",
            &case,
            values.view(),
            &expected,
            2e-5,
        )?;

        let d: Pair<f32> = test.values(rows, 1.0)?;
        let Pair { mut device, host } = test.values::<f32>(rows * width, 1.0)?;
        let mut d_weight = test.device.zeros::<f32>(width)?;
        let mut d_bias = test.device.zeros::<f32>(1)?;
        scalar_head::backward(
            device.view_mut(),
            Some(d_weight.view_mut()),
            Some(d_bias.view_mut()),
            d.view(),
            h,
            w,
        )?;
        let mut expected = host;
        let mut dw = vec![0.0; width];
        for ((row, to), d) in rows_of().zip(expected.chunks_exact_mut(width)).zip(&d.host) {
            for i in 0..width {
                to[i] += d * weight.host[i];
                dw[i] += d * row[i];
            }
        }
        let (dh, name) = (device.view(), "scalar head backward: dh");
        test.compare(T::NAME, name, &case, dh, &expected, 2e-5)?;
        let name = "scalar head backward: dw";
        test.compare(T::NAME, name, &case, d_weight.view(), &dw, 2e-5)?;
        let (sum, name) = ([d.host.iter().sum()], "scalar head backward: db");
        test.compare(T::NAME, name, &case, d_bias.view(), &sum, 2e-5)?;
    }
    Ok(())
}
