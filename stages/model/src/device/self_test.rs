//! Holds the network on a device against the network on the CPU, on small ones with random weights.
//!
//! Run by `iota doctor --gpu-selftest` and, on the emulated device, by tests. `gpu::self_test` holds
//! each operation against its formula; here it is passes, optimiser, adapters and heads as a whole, and
//! that a sequence draws the same tokens whatever is drawn beside it.
//! In f32 the tolerances are those of sums in another order; in bfloat16 those of what is rounded
//! where: the CPU rounds operands of products, the device what lies between operations as well.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result};

use super::{Device, Outcome};
use crate::batch::Batch;
use crate::config::{Architecture, Config, RopeScaling};
use crate::generate::{Decoder, Limits, Request, Sample, Sampling, Settings};
use crate::lora::{Adapter, DropoutDraw, LoraConfig, Targets};
use crate::network::{LogProbGradient, Network, ValueHead, Workspace};
use crate::optimizer::{AdamW, AdamWConfig, clip_coefficient, gradient_norm};
use crate::parameters::{Parameters, Tensor, fill_normal};
use crate::precision::Precision;
use crate::weights::Weights;

const HEAD: ValueHead = ValueHead {
    weight: "v_head.summary.weight",
    bias: Some("v_head.summary.bias"),
};

/// A network, a batch, and where the two computations may differ by how much.
struct Case {
    label: &'static str,
    network: Network,
    parameters: Parameters,
    batch: Batch,
    precision: Precision,
    /// Of log-probabilities, in nats.
    absolute: f64,
    /// Of a tensor's gradient, in its length.
    relative: f64,
}

fn config(architecture: Architecture, tied: bool, kv_heads: usize, head_dim: usize) -> Config {
    Config {
        architecture,
        vocab_size: 101,
        hidden_size: 48,
        intermediate_size: 72,
        layers: 2,
        heads: 4,
        kv_heads,
        head_dim,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::Linear { factor: 4.0 },
        max_positions: 160,
        tied,
        initializer_range: 0.15,
        bos_token: None,
        eos_tokens: vec![2],
        pad_token: None,
    }
}

/// Sequences of awkward lengths; one is longer than a tile of attention.
fn batch() -> Result<Batch> {
    let mut batch = Batch::new();
    for (sequence, length) in [(0, 7), (1, 2), (2, 75)] {
        let ids: Vec<u32> = (0..length)
            .map(|i| (i * i * 7 + 13 * sequence + 5) % 101)
            .collect();
        batch.push_completion(&ids[..1], &ids[1..])?;
    }
    Ok(batch)
}

impl Case {
    fn new(
        label: &'static str,
        config: Config,
        precision: Precision,
        [absolute, relative]: [f64; 2],
    ) -> Result<Self> {
        let mut parameters = Parameters::init(&config, 3);
        for (name, shape) in [
            (HEAD.weight, [1, config.hidden_size]),
            (HEAD.bias.unwrap_or(""), [1, 1]),
        ] {
            let mut tensor = Tensor::zeros(&shape);
            fill_normal(&mut tensor.data, 0.3, 5, name);
            parameters.tensors.insert(name.to_owned(), tensor);
        }
        // Norms and biases that are neither 1 nor 0.
        for (name, tensor) in &mut parameters.tensors {
            if name.ends_with("norm.weight") || name.ends_with(".bias") {
                let mut change = vec![0.0; tensor.data.len()];
                fill_normal(&mut change, 0.2, 7, name);
                tensor
                    .data
                    .iter_mut()
                    .zip(change)
                    .for_each(|(value, change)| *value += change);
            }
        }
        Ok(Self {
            label,
            network: Network::new(config),
            parameters,
            batch: batch()?,
            precision,
            absolute,
            relative,
        })
    }

    fn placed(&self, device: &Device) -> Result<Parameters> {
        self.parameters.clone().to_device(device, self.precision)
    }

    fn workspace(&self) -> Workspace {
        Workspace::with(self.precision, false)
    }

    fn outcome(&self, what: &str, difference: f64, tolerance: f64) -> Outcome {
        Outcome {
            name: format!("{}: {what}", self.label),
            difference,
            tolerance,
        }
    }

    /// Log-probabilities and values.
    fn looks(&self, device: &Device) -> Result<Vec<Outcome>> {
        let look = |parameters: &Parameters| -> Result<[Vec<f32>; 2]> {
            let mut workspace = self.workspace();
            self.network
                .forward(parameters, &self.batch, &mut workspace)?;
            let log_probs = self
                .network
                .log_probs(parameters, &self.batch, 0.8, &mut workspace);
            Ok([
                log_probs,
                self.network.values(parameters, HEAD, &mut workspace),
            ])
        };
        let [log_probs, values] = look(&self.parameters)?;
        let [found, found_values] = look(&self.placed(device)?)?;
        Ok(vec![
            self.outcome(
                "log-probabilities",
                largest(&found, &log_probs),
                self.absolute,
            ),
            self.outcome("values", largest(&found_values, &values), self.absolute),
        ])
    }

    /// The loss and all gradients, with and without recomputation.
    fn gradients(&self, device: &Device) -> Result<Vec<Outcome>> {
        let train = |parameters: &Parameters, recomputes| -> Result<(f64, Parameters)> {
            let mut gradients = parameters.zeros_like();
            let mut workspace = Workspace::with(self.precision, recomputes);
            let nll = self.network.train_nll(
                parameters,
                &mut gradients,
                &self.batch,
                0.01,
                &mut workspace,
            )?;
            Ok((nll.sum / nll.tokens as f64, gradients.to_host()?))
        };
        let placed = self.placed(device)?;
        let (loss, gradients) = train(&self.parameters, false)?;
        let (found_loss, found) = train(&placed, false)?;
        let (_, again) = train(&placed, true)?;
        Ok(vec![
            self.outcome("loss", (found_loss - loss).abs(), self.absolute / 5.0),
            self.outcome("gradients", apart(&found, &gradients), self.relative),
            self.outcome(
                "gradients with recomputation, against without",
                apart(&again, &found),
                0.0,
            ),
        ])
    }

    /// Gradients of log-probabilities and values together.
    fn both_heads(&self, device: &Device) -> Result<Outcome> {
        let wave = |rate: f32| -> Vec<f32> {
            (0..self.batch.len())
                .map(|t| (t as f32 * rate).sin())
                .collect()
        };
        let (d_log_probs, d_values) = (wave(0.9), wave(1.7));
        let train = |parameters: &Parameters| -> Result<Parameters> {
            let mut gradients = parameters.zeros_like();
            let mut workspace = self.workspace();
            self.network
                .forward(parameters, &self.batch, &mut workspace)?;
            let log_probs = LogProbGradient {
                d_log_probs: &d_log_probs,
                temperature: 1.3,
            };
            self.network.backward_values(
                parameters,
                &mut gradients,
                &self.batch,
                HEAD,
                &d_values,
                Some(log_probs),
                &mut workspace,
            );
            gradients.to_host()
        };
        let difference = apart(&train(&self.placed(device)?)?, &train(&self.parameters)?);
        Ok(self.outcome("gradients of policy and value", difference, self.relative))
    }

    /// The weights with an adapter with dropout on every layer.
    fn adapted(&self) -> Result<(Parameters, Adapter)> {
        let config = LoraConfig {
            rank: 4,
            alpha: 8.0,
            dropout: 0.25,
            targets: Targets::AllLinear { head: true },
            ..LoraConfig::default()
        };
        let mut parameters = self.parameters.clone();
        let base = self.network.config();
        let adapter = Adapter::attach("default", config, base, &mut parameters, 1)?;
        for (name, tensor) in &mut parameters.tensors {
            if name.contains(".lora_B.") {
                fill_normal(&mut tensor.data, 0.1, 9, name);
            }
        }
        Ok((parameters, adapter))
    }

    /// Gradients of an adapter with dropout.
    fn adapter(&self, device: &Device) -> Result<Outcome> {
        let (parameters, adapter) = self.adapted()?;
        let train = |parameters: &Parameters| -> Result<Parameters> {
            let mut gradients = adapter.gradients(parameters);
            let draw = DropoutDraw { seed: 4, pass: 2 };
            let on = Weights::adapted(parameters, &adapter).training(draw);
            let mut workspace = self.workspace();
            self.network
                .train_nll(on, &mut gradients, &self.batch, 0.01, &mut workspace)?;
            gradients.to_host()
        };
        let placed = parameters.clone().to_device(device, self.precision)?;
        let difference = apart(&train(&placed)?, &train(&parameters)?);
        Ok(self.outcome(
            "gradients of an adapter with dropout",
            difference,
            self.relative,
        ))
    }

    /// How many numbers of a sample change when others are drawn beside it: three groups of so many
    /// samples. One row and all rows go through different kernels, and from the third step of a size
    /// on through recorded ones.
    fn draws(&self, device: &Device, group: usize) -> Result<Outcome> {
        let (parameters, adapter) = self.adapted()?;
        let placed = parameters.to_device(device, self.precision)?;
        let decoder = Decoder::new(&self.network, Weights::adapted(&placed, &adapter));
        let request = |number: u32, length: u32, samples: usize| Request {
            key: number.to_string(),
            prompt: (0..length)
                .map(|i| (i * i * 5 + 17 * number) % 101)
                .collect(),
            samples,
            ..Request::default()
        };
        let requests = [
            request(0, 3, group),
            request(1, 40, 1),
            request(2, 70, group),
            request(3, 9, group),
        ];
        let mut settings = Settings::new(10, &[], 6);
        settings.sampling = Sampling {
            temperature: 0.9,
            top_p: 0.95,
            repetition_penalty: 1.1,
            ..Sampling::default()
        };
        let limits = Limits {
            slots_per_thread: 3 * group + 1,
            ..Limits::default()
        };
        let go_on = |_: &Sample| ControlFlow::Continue(());
        let alone = decoder.generate(&requests[1..2], &settings, limits, &go_on)?;
        let together = decoder.generate(&requests, &settings, limits, &go_on)?;
        let beside = together.into_iter().find(|sample| sample.request == 1);
        let numbers = |sample: &Sample| -> Vec<u32> {
            let floats = sample.log_probs.iter().chain(&sample.processed_log_probs);
            let bits = floats.map(|log_prob| log_prob.to_bits());
            sample.tokens.iter().copied().chain(bits).collect()
        };
        let (alone, beside) = (numbers(&alone[0]), numbers(&beside.context("no sample")?));
        let differ = alone.iter().zip(&beside).filter(|(a, b)| a != b).count();
        let what = format!("draws alone and among {} others, an adapter on", 3 * group);
        Ok(self.outcome(&what, differ as f64, 0.0))
    }

    /// Weights after three clipped updates, in units of how far they moved.
    fn updates(&self, device: &Device) -> Result<Outcome> {
        let train = |mut parameters: Parameters| -> Result<Parameters> {
            let mut gradients = parameters.zeros_like();
            // A large epsilon: where a gradient is nearly 0 its sign is an accident.
            let settings = AdamWConfig {
                eps: 1e-3,
                weight_decay: 0.1,
                ..AdamWConfig::default()
            };
            let mut optimizer = AdamW::new(settings, &gradients);
            let mut workspace = self.workspace();
            for _ in 0..3 {
                self.network.train_nll(
                    &parameters,
                    &mut gradients,
                    &self.batch,
                    0.01,
                    &mut workspace,
                )?;
                let clip = clip_coefficient(gradient_norm(&gradients), 0.5);
                optimizer.update(&mut parameters, &gradients, 1e-2, clip);
                gradients.zero();
            }
            parameters.to_host()
        };
        let mut moved = train(self.parameters.clone())?;
        let mut found = train(self.placed(device)?)?;
        for ((found, moved), start) in found
            .tensors
            .values_mut()
            .zip(moved.tensors.values_mut())
            .zip(self.parameters.tensors.values())
        {
            for ((found, moved), start) in
                found.data.iter_mut().zip(&mut moved.data).zip(&start.data)
            {
                *found -= start;
                *moved -= start;
            }
        }
        let tolerance = 2.0 * self.relative;
        Ok(self.outcome(
            "weights after three updates",
            apart(&found, &moved),
            tolerance,
        ))
    }
}

/// The largest absolute difference; anything that is no number is infinitely far.
fn largest(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len(), "as many numbers");
    let difference = |(a, b): (&f32, &f32)| f64::from(a - b).abs();
    let no_number = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    found
        .iter()
        .zip(wanted)
        .map(difference)
        .map(no_number)
        .fold(0.0, f64::max)
}

/// The largest difference of a tensor, in its own length; tensors near 0 by the longest.
fn apart(found: &Parameters, wanted: &Parameters) -> f64 {
    assert_eq!(found.tensors.len(), wanted.tensors.len(), "as many tensors");
    let length = |values: &[f32]| {
        let squares = values.iter().map(|v| f64::from(*v).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let longest = wanted
        .tensors
        .values()
        .map(|t| length(&t.data))
        .fold(0.0, f64::max);
    wanted
        .tensors
        .iter()
        .map(|(name, wanted)| {
            let found = found.data(name);
            let difference: Vec<f32> = found.iter().zip(&wanted.data).map(|(a, b)| a - b).collect();
            let apart = length(&difference) / length(&wanted.data).max(1e-3 * longest);
            if apart.is_nan() { f64::INFINITY } else { apart }
        })
        .fold(0.0, f64::max)
}

/// Runs everything.
pub(super) fn run(device: &Device) -> Result<Vec<Outcome>> {
    let f32_limits = [5e-5, 1e-4];
    let bf16_limits = [0.15, 0.07];
    let cases = [
        Case::new(
            "f32, grouped heads",
            config(Architecture::Llama, false, 2, 12),
            Precision::F32,
            f32_limits,
        )?,
        Case::new(
            "f32, tied, biases",
            config(Architecture::Qwen2, true, 4, 32),
            Precision::F32,
            f32_limits,
        )?,
        Case::new(
            "bf16, grouped heads",
            config(Architecture::Llama, false, 2, 32),
            Precision::Bf16,
            bf16_limits,
        )?,
    ];
    let mut outcomes = Vec::new();
    for case in &cases {
        outcomes.extend(case.looks(device)?);
        outcomes.extend(case.gradients(device)?);
        outcomes.push(case.both_heads(device)?);
        outcomes.push(case.adapter(device)?);
        outcomes.push(case.updates(device)?);
        // Pages take no other heads.
        if case.network.config().head_dim.is_multiple_of(8) {
            let group = match case.precision {
                Precision::F32 => 5,
                Precision::Bf16 => 21,
            };
            outcomes.push(case.draws(device, group)?);
        }
    }
    Ok(outcomes)
}
