//! Sampling by this program: all missing shards through one queue.
//!
//! Used by `run`. A shard's last sequences decode beside the next one's first, so threads are
//! busy until the end.

use super::asking::{Answer, Ask, Asking};
use super::collect::Collector;
use super::{How, What};
use anyhow::{Context as _, Result, ensure};
use engine::Ctx;
use model::checkpoint::Checkpoint;
use model::device::{self, Choice, Opened};
use model::generate::{Decoder, Form, Limits, Queue, Request, Sample, Settings, Task};
use model::network::Network;
use model::parameters::Parameters;
use model::precision::Precision;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The model with its weights.
pub(super) struct Here {
    decoder: Decoder,
    settings: Arc<Settings>,
    limits: Limits,
}

impl Here {
    pub(super) fn new(what: &What, how: &How, asking: &Asking, ctx: &Ctx) -> Result<Self> {
        let Checkpoint { config, parameters } = Checkpoint::load(ctx.input("model")?)?;
        let parameters = place(parameters, what.weights, how, ctx)?;
        let settings = Settings {
            sampling: what.sampling(),
            stop_strings: what.stop.clone(),
            tokenizer: Some(Arc::clone(&asking.tokenizer)),
            ..Settings::new(what.max_new_tokens as usize, &config.eos_tokens, ctx.seed())
        };
        Ok(Self {
            decoder: Decoder::in_form(what.weights, &Network::new(config), &parameters),
            settings: Arc::new(settings),
            limits: Limits {
                slots_per_thread: how.slots_per_thread,
                cache_bytes: how.cache_mb << 20,
            },
        })
    }

    /// Draws everything that is asked.
    pub(super) fn draw(&self, asks: &[Ask<'_>], asking: &Asking, to: &Collector<'_>) -> Result<()> {
        let queue = Queue::default();
        for (index, ask) in asks.iter().enumerate() {
            let request = request(ask);
            self.decoder.check(&request, &self.settings)?;
            queue.push(Task {
                request,
                settings: Arc::clone(&self.settings),
                tag: index,
            });
        }
        queue.close();
        self.decoder
            .serve(&queue, self.limits, &|index, sample, last| {
                if last {
                    let ask = &asks[*index];
                    let row = asking.row(ask.unit, answer(sample));
                    if let Err(error) = row.and_then(|row| to.add(ask.shard, ask.place, row)) {
                        to.fail(error);
                    }
                }
                if to.stopped() {
                    queue.abandon();
                }
                ControlFlow::Continue(())
            })?;
        Ok(())
    }

    /// Checks that a sample of an earlier run is what this one would draw.
    pub(super) fn check_earlier(&self, ask: &Ask<'_>, tokens: &[u32]) -> Result<()> {
        let request = Request {
            samples: 1,
            ..request(ask)
        };
        let go_on = |_: &Sample| ControlFlow::Continue(());
        let drawn = self
            .decoder
            .generate(&[request], &self.settings, self.limits, &go_on)?;
        ensure!(
            drawn[0].tokens == tokens,
            "`earlier` has another program as the first of {} than this model writes with these \
             settings and this seed: bind the generations of the same node with fewer samples, or \
             leave it out",
            ask.unit.problem_id()
        );
        Ok(())
    }
}

/// Moves weights to where they are to be sampled from, and notes what that is.
fn place(parameters: Parameters, form: Form, how: &How, ctx: &Ctx) -> Result<Parameters> {
    let choice = how.device.unwrap_or_default();
    let precision = match form {
        Form::F32 => Some(Precision::F32),
        Form::Bf16 => Some(Precision::Bf16),
        Form::Int8 | Form::Int4 => None,
    };
    let opened = if precision.is_none() && choice == Choice::Auto {
        Opened::default()
    } else {
        choice.open()?
    };
    if let Some(note) = opened.note {
        ctx.info(note);
    }
    let Some(device) = opened.device else {
        ctx.note_platform("device", "cpu");
        return Ok(parameters);
    };
    let precision = precision.context(
        "weights of 8 or 4 bits are how the CPU keeps them: say weights = \"bf16\", or \
             --device cpu",
    )?;
    let name = device::name(&device);
    ctx.info(format!("computing on {name}"));
    ctx.note_platform("device", &name);
    parameters
        .to_device(&device, precision)
        .with_context(|| format!("the model does not fit on {name}"))
}

fn request(ask: &Ask<'_>) -> Request {
    Request {
        key: ask.unit.key(),
        prompt: ask.prompt.clone(),
        samples: ask.unit.samples as usize,
        first_sample: ask.unit.first as usize,
        adapter: None,
    }
}

fn answer(sample: &Sample) -> Answer {
    Answer {
        sample: sample.sample as u64,
        tokens: sample.tokens.clone(),
        log_prob: sample.log_probs.iter().map(|&p| f64::from(p)).sum(),
        finish: sample.finish,
    }
}
