//! Whether a run fits into a device's memory, said before it starts and not hours later.
//!
//! Asked by `training_loop` and `ppo` for runs on a device. Bytes of weights, gradients and moments
//! are exact; those of activations are the sum of what `network` keeps and shares
//! ([`model::network::activation_bytes`]). A fiftieth of the device is left to the driver, to kernels
//! and to products, or `RESERVE` if that is less. On the CPU nobody asks: there the system swaps or says no.

use anyhow::{Result, ensure};
use model::config::Config;
use model::device::Device;
use model::network::activation_bytes;
use model::parameters::Parameters;
use model::precision::Precision;

/// Most bytes left alone.
const RESERVE: u64 = 1 << 30;

/// What a run keeps on a device.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The network.
    pub config: &'a Config,
    /// What its products multiply.
    pub precision: Precision,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// Numbers of all weights.
    pub weights: usize,
    /// Numbers of those that are trained.
    pub trained: usize,
    /// Ranks whose gradients are summed in a tree, each level with a set of its own.
    pub ranks: u64,
    /// Tokens of the largest micro-batch.
    pub tokens: u64,
}

impl Need<'_> {
    /// Bytes of weights, gradients and moments.
    pub fn fixed_bytes(&self) -> u64 {
        let working = match self.precision {
            Precision::F32 => 0,
            Precision::Bf16 => 2,
        };
        let levels = u64::from(self.ranks.max(1).next_power_of_two().trailing_zeros());
        self.weights as u64 * (4 + working) + self.trained as u64 * (12 + 4 * levels)
    }

    /// Bytes of the weights alone.
    pub fn weight_bytes(&self) -> u64 {
        let untrained = Need {
            trained: 0,
            ..*self
        };
        untrained.fixed_bytes()
    }

    fn activations(&self, tokens: u64) -> u64 {
        activation_bytes(self.config, tokens as usize, self.precision, self.recompute)
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.fixed_bytes() + self.activations(self.tokens)
    }

    /// The largest micro-batch, in tokens, that fits into so many bytes; 0 if none does.
    pub fn tokens_that_fit(&self, bytes: u64) -> u64 {
        let Some(left) = bytes.checked_sub(self.fixed_bytes()) else {
            return 0;
        };
        let (mut fits, mut too_many) = (0, 1 << 32);
        while too_many - fits > 1 {
            let tokens = u64::midpoint(fits, too_many);
            if self.activations(tokens) <= left {
                fits = tokens;
            } else {
                too_many = tokens;
            }
        }
        fits
    }

    /// Checks that it fits, `taken` bytes of it being on the device already.
    ///
    /// # Errors
    /// It does not; the message says what would.
    pub fn check(&self, device: &Device, taken: u64) -> Result<()> {
        let memory = model::device::memory(device)?;
        let reserve = RESERVE.min(memory.total_bytes / 50);
        let room = (memory.free_bytes + taken).saturating_sub(reserve);
        ensure!(
            self.bytes() <= room,
            "{} is too small for this run: {}",
            model::device::name(device),
            self.advice(room)
        );
        Ok(())
    }

    fn advice(&self, room: u64) -> String {
        let (fixed, activations) = (self.fixed_bytes(), self.activations(self.tokens));
        let sizes = format!(
            "it wants {} of weights, gradients and moments and {} for a micro-batch of {} tokens, \
             and {} are free",
            gigabytes(fixed),
            gigabytes(activations),
            self.tokens,
            gigabytes(room)
        );
        let fits = self.tokens_that_fit(room);
        let again = Need {
            recompute: true,
            ..*self
        };
        let way_out = if fits == 0 && self.trained == self.weights {
            "train an adapter (train = \"adapter\") where the stage has one, or use a larger GPU"
                .to_owned()
        } else if fits == 0 {
            "use a larger GPU, or --device cpu".to_owned()
        } else if !self.recompute && again.bytes() <= room {
            format!(
                "set how.recompute = true (then it wants {}), or see that a micro-batch has at most \
                 {fits} tokens (batch_size, microbatch_size, max_tokens)",
                gigabytes(again.bytes())
            )
        } else {
            format!(
                "a micro-batch of {fits} tokens fits: lower batch_size, microbatch_size or max_tokens"
            )
        };
        format!("{sizes}\n  help: {way_out}")
    }
}

/// The need of a run over these weights.
pub fn need<'a>(
    config: &'a Config,
    parameters: &Parameters,
    trains: impl Fn(&str) -> bool,
    precision: Precision,
    recompute: bool,
) -> Need<'a> {
    let sizes = parameters.tensors.iter();
    let trained = sizes
        .filter(|(name, _)| trains(name))
        .map(|(_, tensor)| tensor.shape.iter().product::<usize>());
    Need {
        config,
        precision,
        recompute,
        weights: parameters.count(),
        trained: trained.sum(),
        ranks: 1,
        tokens: 0,
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::{Architecture, RopeScaling};

    /// DeepSeek-Coder 1.3B.
    fn config() -> Config {
        Config {
            architecture: Architecture::Llama,
            vocab_size: 32_256,
            hidden_size: 2048,
            intermediate_size: 5504,
            layers: 24,
            heads: 16,
            kv_heads: 16,
            head_dim: 128,
            rms_norm_eps: 1e-6,
            rope_theta: 1e5,
            rope_scaling: RopeScaling::Linear { factor: 4.0 },
            max_positions: 16_384,
            tied: false,
            initializer_range: 0.02,
            bos_token: None,
            eos_tokens: Vec::new(),
            pad_token: None,
        }
    }

    fn need(config: &Config, tokens: u64, recompute: bool) -> Need<'_> {
        Need {
            config,
            precision: Precision::Bf16,
            recompute,
            weights: 1_346_471_936,
            trained: 1_346_471_936,
            ranks: 2,
            tokens,
        }
    }

    #[test]
    fn weights_and_moments_are_counted() {
        let config = config();
        // 6 bytes of weights, 4 of gradients, 8 of moments, 4 of the tree's one level.
        assert_eq!(need(&config, 1, false).fixed_bytes(), 22 * 1_346_471_936);
        let adapter = Need {
            trained: 1000,
            ranks: 1,
            ..need(&config, 1, false)
        };
        assert_eq!(adapter.fixed_bytes(), 6 * 1_346_471_936 + 12_000);
    }

    #[test]
    fn what_fits_fits_and_one_token_more_does_not() {
        let config = config();
        for recompute in [false, true] {
            let room = 40_000_000_000;
            let tokens = need(&config, 1, recompute).tokens_that_fit(room);
            assert!(need(&config, tokens, recompute).bytes() <= room);
            assert!(need(&config, tokens + 1, recompute).bytes() > room);
        }
        assert_eq!(need(&config, 1, false).tokens_that_fit(20_000_000_000), 0);
    }

    #[test]
    fn advice_names_what_would_do() {
        let config = config();
        let text = need(&config, 16_384, false).advice(45_000_000_000);
        assert!(text.contains("how.recompute = true"), "{text}");
        let text = need(&config, 1 << 20, true).advice(45_000_000_000);
        assert!(text.contains("tokens fits: lower"), "{text}");
        let text = need(&config, 64, true).advice(8_000_000_000);
        assert!(text.contains("train an adapter"), "{text}");
    }
}
