//! Comparisons of decoding: pages, row products, and the draw of tokens.

use super::{Pair, Test, tolerance};
use crate::buffer::{Slice, SliceMut};
use crate::element::Float;
use crate::error::Result;
use crate::ops::attention::Shape;
use crate::ops::matmul::Output;
use crate::ops::paged::{self, PAGE, Rows};
use crate::ops::row_product::row_product;
use crate::ops::sampling::{Drawn, NOBODY, Settings, State, sample};

pub(super) fn all<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    row_products::<T>(test)?;
    pages::<T>(test)?;
    if size_of::<T>() == 4 {
        draws(test)?;
    }
    Ok(())
}

/// Against plain sums, and alone against together.
fn row_products<T: Float + Output<T>>(test: &mut Test) -> Result<()>
where
    f32: Output<T>,
{
    let mut cases = vec![
        (1, 5, 8),
        (9, 33, 72),
        (18, 20, 13),
        (17, 40, 520),
        (70, 37, 304),
    ];
    if test.large {
        cases.push((300, 1000, 2048));
    }
    for (rows, outputs, inputs) in cases {
        let case = format!("{rows}x{outputs}x{inputs}");
        let x: Pair<T> = test.values(rows * inputs, 1.0)?;
        let w: Pair<T> = test.values(outputs * inputs, 1.0)?;
        let mut y = test.device.empty::<f32>(rows * outputs)?;
        let product = |y: SliceMut<f32>, x: Slice<T>, inputs| {
            row_product(y, outputs, false, 0.5, x, w.view(), inputs)
        };
        product(y.view_mut(), x.view(), inputs)?;
        let expected: Vec<f64> = (0..rows * outputs)
            .map(|at| {
                let x = &x.host[at / outputs * inputs..][..inputs];
                let w = &w.host[at % outputs * inputs..][..inputs];
                0.5 * x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>()
            })
            .collect();
        test.compare(T::NAME, "row product", &case, y.view(), &expected, 2e-5)?;
        let mut narrow = test.device.empty::<T>(rows * outputs)?;
        let (to, wide) = (narrow.view_mut(), outputs);
        row_product(to, wide, false, 0.5, x.view(), w.view(), inputs)?;
        let name = "row product, narrow";
        test.compare(
            T::NAME,
            name,
            &case,
            narrow.view(),
            &expected,
            tolerance::<T>(),
        )?;
        let last = x.device.slice((rows - 1) * inputs..);
        let mut alone = test.device.empty::<f32>(outputs)?;
        product(alone.view_mut(), last, inputs)?;
        let together = y.slice((rows - 1) * outputs..).download()?;
        let together: Vec<f64> = together.into_iter().map(f64::from).collect();
        let name = "row product, alone and together";
        test.compare(T::NAME, name, &case, alone.view(), &together, 0.0)?;
        // Some columns of wider rows.
        let stride = outputs + 3;
        let mut wider: Pair<f32> = test.values(rows * stride, 1.0)?;
        let (to, x) = (wider.device.slice_mut(2..), x.view());
        row_product(to, stride, true, 0.5, x, w.view(), inputs)?;
        for (row, products) in expected.chunks_exact(outputs).enumerate() {
            let at = row * stride + 2;
            let sums = wider.host[at..at + outputs].iter_mut().zip(products);
            sums.for_each(|(sum, product)| *sum += product);
        }
        let name = "row product, added";
        test.compare(T::NAME, name, &case, wider.view(), &wider.host, 2e-5)?;
    }
    Ok(())
}

/// Two sequences token by token, with their pages interleaved, and attention of chosen positions.
fn pages<T: Float>(test: &mut Test) -> Result<()> {
    for (heads, kv_heads, head_dim) in [(3, 1, 8), (2, 2, 64), (2, 1, 128)] {
        let shape = Shape {
            heads,
            kv_heads,
            head_dim,
        };
        let lengths = [300, 40];
        let table_pages = 300_usize.div_ceil(PAGE);
        let case = format!("{heads}/{kv_heads} heads of {head_dim}");
        let mut tables = vec![u32::MAX; 2 * table_pages];
        let mut next = 0;
        for page in 0..table_pages {
            for slot in 0..2 {
                if page * PAGE < lengths[slot] {
                    tables[slot * table_pages + page] = next;
                    next += 1;
                }
            }
        }
        let tables = test.device.upload(&tables)?;
        let mut pool = test
            .device
            .zeros::<T>(next as usize * paged::page_values(shape))?;
        let at: Vec<(u32, u32)> = (0..2)
            .flat_map(|slot| (0..lengths[slot] as u32).map(move |position| (slot as u32, position)))
            .collect();
        let slots: Vec<u32> = at.iter().map(|(slot, _)| *slot).collect();
        let positions: Vec<u32> = at.iter().map(|(_, position)| *position).collect();
        let (slots, positions) = (test.device.upload(&slots)?, test.device.upload(&positions)?);
        let qkv: Pair<T> = test.values(at.len() * shape.row(), 2.0)?;
        let all = Rows {
            slots: slots.view(),
            positions: positions.view(),
            tables: tables.view(),
            table_pages,
        };
        paged::append(pool.view_mut(), qkv.view(), all, shape)?;
        let chosen: Vec<usize> = [0, 31, 32, 255, 256, 299, 300, 339].to_vec();
        let (row, width) = (shape.row(), heads * head_dim);
        let queries: Vec<T> = chosen
            .iter()
            .flat_map(|at| qkv.host[at * row..][..row].to_vec())
            .map(|value| T::narrow(value as f32))
            .collect();
        let queries = test.device.upload(&queries)?;
        let part = |values: &dyn Fn(usize) -> u32| -> Vec<u32> {
            chosen.iter().map(|which| values(*which)).collect()
        };
        let slots = test.device.upload(&part(&|which| at[which].0))?;
        let positions = test.device.upload(&part(&|which| at[which].1))?;
        let rows = Rows {
            slots: slots.view(),
            positions: positions.view(),
            ..all
        };
        let mut expected = vec![0.0; chosen.len() * width];
        for (index, which) in chosen.iter().enumerate() {
            let (slot, position) = at[*which];
            let first = if slot == 0 { 0 } else { lengths[0] };
            for head in 0..heads {
                let q = &qkv.host[which * row + head * head_dim..][..head_dim];
                let kv_head = head / (heads / kv_heads);
                let keys: Vec<usize> = (first..=first + position as usize)
                    .map(|token| token * row + (heads + kv_head) * head_dim)
                    .collect();
                let score = |key: &usize| {
                    let k = &qkv.host[*key..][..head_dim];
                    let dot: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                    dot / (head_dim as f64).sqrt()
                };
                let scores: Vec<f64> = keys.iter().map(score).collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                for (key, s) in keys.iter().zip(&scores) {
                    let p = (s - largest).exp() / sum;
                    for d in 0..head_dim {
                        let value = qkv.host[key + kv_heads * head_dim + d];
                        expected[index * width + head * head_dim + d] += p * value;
                    }
                }
            }
        }
        let tolerance = tolerance::<T>();
        for longest in [300, 700] {
            let mut out = test.device.empty::<T>(chosen.len() * width)?;
            let scratch = paged::scratch_values(chosen.len(), shape, longest);
            let mut scratch = test.device.empty::<f32>(scratch)?;
            let (to, scratch) = (out.view_mut(), scratch.view_mut());
            paged::attend(
                to,
                scratch,
                queries.view(),
                pool.view(),
                rows,
                longest,
                shape,
            )?;
            let case = format!("{case}, {longest} positions");
            test.compare(
                T::NAME,
                "paged attention",
                &case,
                out.view(),
                &expected,
                tolerance,
            )?;
        }
    }
    Ok(())
}

/// 64 bits of ChaCha12's stream, in plain form.
fn chacha12(key: [u8; 32], number: u64) -> u64 {
    let mut start = [0_u32; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (word, bytes) in start[4..12].iter_mut().zip(key.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().expect("4 bytes"));
    }
    start[12] = (number / 8) as u32;
    let mut x = start;
    for round in 0..12 {
        for i in 0..4 {
            let turn = |by: usize| if round % 2 == 0 { i } else { (i + by) % 4 };
            let (a, b, c, d) = (i, 4 + turn(1), 8 + turn(2), 12 + turn(3));
            for (first, by) in [(true, 16), (false, 12), (true, 8), (false, 7)] {
                let (p, q, r) = if first { (a, b, d) } else { (c, d, b) };
                x[p] = x[p].wrapping_add(x[q]);
                x[r] = (x[r] ^ x[p]).rotate_left(by);
            }
        }
    }
    let at = (number % 8) as usize * 2;
    let word = |at: usize| u64::from(x[at].wrapping_add(start[at]));
    word(at) | word(at + 1) << 32
}

/// What one row's token should be: its id, its own log-probability and that of the draw.
fn reference(logits: &[f64], settings: &Settings, occurred: &[bool]) -> (usize, f64, f64) {
    let log_sum = |z: &[f64]| {
        let largest = z.iter().copied().fold(f64::MIN, f64::max);
        largest + z.iter().map(|z| (z - largest).exp()).sum::<f64>().ln()
    };
    let penalised: Vec<f64> = logits
        .iter()
        .zip(occurred)
        .map(|(z, there)| match (there, *z < 0.0) {
            (false, _) => *z,
            (true, false) => z / settings.repetition_penalty,
            (true, true) => z * settings.repetition_penalty,
        })
        .collect();
    let by_score = |a: &usize, b: &usize| penalised[*b].total_cmp(&penalised[*a]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(by_score);
    let raw = |id: usize| logits[id] - log_sum(logits);
    if settings.temperature == 0.0 {
        return (order[0], raw(order[0]), 0.0);
    }
    let largest = penalised[order[0]];
    let mut weights: Vec<f64> = penalised
        .iter()
        .map(|z| ((z - largest) / settings.temperature).exp())
        .collect();
    if settings.top_k > 0 && settings.top_k < order.len() {
        let least = penalised[order[settings.top_k - 1]];
        for (weight, z) in weights.iter_mut().zip(&penalised) {
            if *z < least {
                *weight = 0.0;
            }
        }
    }
    let share = (1.0 - settings.top_p) * weights.iter().sum::<f64>();
    let mut dropped = 0.0;
    for id in order[1..].iter().rev() {
        dropped += weights[*id];
        if settings.top_p >= 1.0 || dropped > share {
            break;
        }
        weights[*id] = 0.0;
    }
    for weight in &mut weights {
        if *weight < settings.min_p {
            *weight = 0.0;
        }
    }
    let total: f64 = weights.iter().sum();
    let uniform = (chacha12(settings.key, settings.drawn) >> 11) as f64 / (1_u64 << 53) as f64;
    let mut reached = 0.0;
    let token = (0..weights.len()).find(|id| {
        reached += weights[*id];
        reached > uniform * total
    });
    let token = token.unwrap_or(order[0]);
    (token, raw(token), (weights[token] / total).ln())
}

fn draws(test: &mut Test) -> Result<()> {
    let base = Settings {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        key: [7; 32],
        drawn: 0,
    };
    let kinds = [
        ("plain", base),
        (
            "greedy",
            Settings {
                temperature: 0.0,
                ..base
            },
        ),
        (
            "hot",
            Settings {
                temperature: 1.7,
                ..base
            },
        ),
        ("top-k", Settings { top_k: 5, ..base }),
        ("top-p", Settings { top_p: 0.6, ..base }),
        ("min-p", Settings { min_p: 0.2, ..base }),
        (
            "penalty",
            Settings {
                repetition_penalty: 1.8,
                ..base
            },
        ),
        (
            "all",
            Settings {
                temperature: 0.7,
                top_k: 40,
                top_p: 0.9,
                min_p: 0.01,
                repetition_penalty: 1.2,
                ..base
            },
        ),
    ];
    let rows = 12;
    for vocab in [24, 1100] {
        for (name, settings) in kinds {
            let mut state = State::new(test.device, rows, vocab)?;
            let mut occurred: Vec<Vec<bool>> = Vec::new();
            let mut all = Vec::new();
            for slot in 0..rows {
                let ids: Vec<u32> = (0..5).map(|_| test.random.below(vocab) as u32).collect();
                let mut key = settings.key;
                key[0] = slot as u8;
                let settings = Settings {
                    key,
                    drawn: 6 + slot as u64,
                    ..settings
                };
                state.start(slot, &settings, &ids)?;
                let mut there = vec![false; vocab];
                for id in &ids {
                    there[*id as usize] = true;
                }
                occurred.push(there);
                all.push(settings);
            }
            // Slots in another order than rows, and one row that is nobody's.
            let slots: Vec<u32> = (0..rows as u32).rev().chain([NOBODY]).collect();
            let on_device = test.device.upload(&slots)?;
            for step in 0..2 {
                let logits: Pair<f32> = test.values(slots.len() * vocab, 5.0)?;
                let mut tokens = test.device.zeros::<u32>(slots.len())?;
                let mut log_probs = test.device.zeros::<f32>(slots.len())?;
                let mut processed = test.device.zeros::<f32>(slots.len())?;
                let drawn = Drawn {
                    tokens: tokens.view_mut(),
                    log_probs: log_probs.view_mut(),
                    processed_log_probs: processed.view_mut(),
                };
                sample(drawn, logits.view(), on_device.view(), &mut state)?;
                let mut expected = [Vec::new(), Vec::new(), Vec::new()];
                for (slot, row) in slots.iter().zip(logits.host.chunks_exact(vocab)) {
                    if *slot == NOBODY {
                        for values in &mut expected {
                            values.push(0.0);
                        }
                        continue;
                    }
                    let slot = *slot as usize;
                    if all[slot].repetition_penalty <= 1.0 {
                        occurred[slot].fill(false);
                    }
                    let (token, raw, one) = reference(row, &all[slot], &occurred[slot]);
                    occurred[slot][token] = true;
                    all[slot].drawn += 1;
                    expected[0].push(token as f64);
                    expected[1].push(raw);
                    expected[2].push(one);
                }
                let case = format!("{name}, {vocab} words, step {step}");
                let found: Vec<f32> = tokens.download()?.into_iter().map(|t| t as f32).collect();
                let found = test.device.upload(&found)?;
                let [ids, raw, one] = expected;
                test.compare("f32", "draw: token", &case, found.view(), &ids, 0.0)?;
                let (found, name) = (log_probs.view(), "draw: log p");
                test.compare("f32", name, &case, found, &raw, 2e-5)?;
                let (found, name) = (processed.view(), "draw: processed log p");
                test.compare("f32", name, &case, found, &one, 1e-4)?;
            }
        }
    }
    Ok(())
}
