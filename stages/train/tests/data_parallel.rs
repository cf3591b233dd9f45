//! One process and several give the same bytes: gradients, loss, weights after updates.
#![allow(clippy::unwrap_used)]

use model::config::{Architecture, Config, RopeScaling};
use model::network::Network;
use model::optimizer::AdamWConfig;
use model::parameters::Parameters;
use model::precision::Precision;
use std::sync::{Barrier, Mutex};
use train::best::Keep;
use train::data_parallel::{Collective, OneProcess, Shares, tree_sum};
use train::examples::Examples;
use train::next_token::NextToken;
use train::settings::{Optimisation, Schedule};
use train::trainer::Trainer;
use train::training_loop::{Objective, Sums};

/// Ranks that are threads and meet in memory.
struct Meeting {
    barrier: Barrier,
    values: Mutex<Vec<Vec<f32>>>,
    sums: Mutex<Vec<Option<Sums>>>,
}

struct Rank<'a> {
    number: usize,
    size: usize,
    meeting: &'a Meeting,
}

impl Rank<'_> {
    fn exchange<T: Clone>(&self, place: &Mutex<Vec<T>>, own: T) -> Vec<T> {
        place.lock().unwrap()[self.number] = own;
        self.meeting.barrier.wait();
        let all = place.lock().unwrap().clone();
        self.meeting.barrier.wait();
        all
    }
}

impl Collective for Rank<'_> {
    fn rank(&self) -> usize {
        self.number
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, gradients: &mut Parameters) -> anyhow::Result<()> {
        for tensor in gradients.tensors.values_mut() {
            let all = self.exchange(&self.meeting.values, tensor.data.clone());
            tensor.data = tree_sum(all, &|sum: &mut Vec<f32>, other| {
                sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
            });
        }
        Ok(())
    }

    fn gather(&self, sums: Option<Sums>) -> anyhow::Result<Option<Vec<Sums>>> {
        let all = self.exchange(&self.meeting.sums, sums);
        Ok(all.into_iter().collect())
    }
}

fn config() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: 120,
        hidden_size: 32,
        intermediate_size: 88,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_positions: 64,
        tied: false,
        initializer_range: 0.05,
        bos_token: None,
        eos_tokens: vec![2],
        pad_token: None,
    }
}

fn settings(ranks: u64, accumulation: u64) -> Optimisation {
    Optimisation {
        learning_rate: 1e-2,
        schedule: Schedule::Constant,
        warmup_steps: 0,
        epochs: 1,
        max_steps: 0,
        batch_size: 2,
        accumulation,
        ranks,
        max_grad_norm: 1.0,
        adamw: AdamWConfig::default(),
        evaluations: 0,
        keep: Keep::Last,
        precision: Precision::F32,
    }
}

/// Weights, and the losses of the updates, of one rank.
fn train(settings: &Optimisation, collective: &dyn Collective) -> (Parameters, Vec<u64>) {
    let mut examples = Examples::default();
    for index in 0..40_u32 {
        let ids: Vec<u32> = (0..20 + index % 7)
            .map(|i| (i * i * 3 + index * 11) % 120)
            .collect();
        examples.push(&ids, 5);
    }
    let mut objective = NextToken::new(Network::new(config()), examples, Examples::default(), 0);
    let start = Parameters::init(&config(), 1);
    let mut trainer = Trainer::new(start, |_| true, settings.adamw, settings.max_grad_norm);
    let mut shares = Shares::new(settings, collective).unwrap();
    let rows = objective.rows((0..40).collect());
    let mut losses = Vec::new();
    // 16 rows twice and then 8: the last window leaves shares with less than the others.
    for window in rows.chunks(settings.window()) {
        let weight: f64 = window.iter().map(|row| objective.weight(row)).sum();
        let scale = 1.0 / weight;
        let sums = shares
            .accumulate(&mut objective, &mut trainer, window, scale, &|| false)
            .unwrap()
            .unwrap();
        losses.push(sums["loss"].to_bits());
        trainer.update(settings.learning_rate).unwrap();
    }
    (trainer.parameters, losses)
}

fn train_on_ranks(settings: &Optimisation, size: usize) -> Vec<(Parameters, Vec<u64>)> {
    let meeting = Meeting {
        barrier: Barrier::new(size),
        values: Mutex::new(vec![Vec::new(); size]),
        sums: Mutex::new(vec![None; size]),
    };
    let meeting = &meeting;
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                scope.spawn(move || {
                    let rank = Rank {
                        number: rank,
                        size,
                        meeting,
                    };
                    train(settings, &rank)
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn one_process_and_several_give_the_same_bytes() {
    for (ranks, accumulation, sizes) in [(2, 4, &[2][..]), (4, 2, &[2, 4]), (3, 2, &[3])] {
        let settings = settings(ranks, accumulation);
        let alone = train(&settings, &OneProcess);
        assert_eq!(alone.1.len(), 40_usize.div_ceil(settings.window()));
        for &size in sizes {
            for (rank, together) in train_on_ranks(&settings, size).into_iter().enumerate() {
                assert!(together == alone, "ranks {ranks}, rank {rank} of {size}");
            }
        }
    }
}

#[test]
fn the_shares_are_part_of_the_result() {
    // Else the test above could pass without a tree.
    let (one, four) = (settings(1, 8), settings(4, 2));
    assert_eq!(one.window(), four.window());
    let (one, four) = (train(&one, &OneProcess), train(&four, &OneProcess));
    assert_ne!(one.0, four.0);
    let close = |(a, b): (&u64, &u64)| (f64::from_bits(*a) - f64::from_bits(*b)).abs() < 1e-2;
    assert!(one.1.iter().zip(&four.1).all(close));
}

#[test]
fn processes_that_do_not_fit_the_tree_are_refused() {
    let meeting = Meeting {
        barrier: Barrier::new(1),
        values: Mutex::default(),
        sums: Mutex::default(),
    };
    for (ranks, size, fits) in [(4, 2, true), (6, 6, true), (6, 3, false), (2, 4, false)] {
        let rank = Rank {
            number: 0,
            size,
            meeting: &meeting,
        };
        let settings = settings(ranks, 1);
        let shares = Shares::new(&settings, &rank);
        assert_eq!(shares.is_ok(), fits, "{ranks} on {size}");
        if let Err(error) = shares {
            assert!(error.to_string().contains("ranks = "), "{error}");
        }
    }
}
