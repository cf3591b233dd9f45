//! The loop of `ppo`: draw, look, credit, learn, batch by batch; and its checkpoints.
//!
//! A batch is a function of the weights before it, the seed and its number; what is learnt from
//! it is a function of the batch. So a run that was killed goes on from the last checkpoint and
//! ends with the same bytes; batches that were already drawn are read again. Cancelling is
//! noticed before a batch is learnt from, where the state is whole.

use super::What;
use super::credit::{self, State, Summary};
use super::execution::{Execution, Program};
use super::prompts::{self, Prompt};
use super::rollout::{Models, Rollout, add_value_head, is_value_head};
use super::score::Moments;
use super::scorer::{self, Scorer};
use super::update::{self, Cut};
use crate::examples::Encoder;
use crate::memory::{self, Need};
use crate::metrics::Metrics;
use crate::settings::{self, How};
use crate::trainer::Trainer;
use crate::tuning::{self, Train, Tuned};
use anyhow::{Context as _, Result, ensure};
use corpus::table::{self, Table, TableWriter};
use engine::rng::{Rng as _, rng, shuffle};
use engine::{Ctx, Interrupted, Shards};
use model::checkpoint::{Checkpoint, load_tokenizer};
use model::config::Architecture;
use model::device::Device;
use model::generate::{Decoder, Finish, Limits, Request, Settings};
use model::optimizer::AdamWConfig;
use model::parameters::Parameters;
use model::tokenizer::Tokenizer;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

const STATE: &str = "ppo.json";
/// Where a checkpoint keeps a critic of its own.
const CRITIC: &str = "critic";

/// A part of a program's reward.
type Part = fn(&Rollout) -> Option<f64>;

struct Run<'a, E> {
    what: &'a What,
    ctx: &'a Ctx<'a>,
    policy: Tuned,
    trainer: Trainer,
    /// The start's weights, if all are trained.
    reference: Option<Parameters>,
    scorer: Scorer,
    tokenizer: Tokenizer,
    prompts: Vec<Prompt>,
    credit: credit::Options,
    stop_tokens: Vec<u32>,
    /// Runs programs, if the reward asks for it.
    execution: Option<E>,
    metrics: Metrics,
    state: State,
    /// The KL coefficient of the batch that is learnt from.
    coefficient: f64,
    batches: u64,
}

/// Reads the inputs, trains, writes the outputs.
pub(super) fn run<E: Execution>(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
    let folder = ctx.input("model")?;
    let device = how.device(ctx)?;
    let start = Checkpoint::load(folder)?;
    let mut run = Run::<E>::new(what, device.as_ref(), start, folder, ctx)?;
    run.policy.workspace = how.workspace(what.precision);
    if let Some(device) = &device {
        // Here the reward model computes in f32 whatever the policy does; there that is too slow.
        run.scorer.tuned.workspace = how.workspace(what.precision);
        run.check_memory(device, how)?;
    }
    let shards = ctx.shards(run.batches as usize)?;
    let mut saved = None;
    if let Some(checkpoint) = ctx.resume()? {
        run.restore(&checkpoint.dir)?;
        saved = Some(run.state.batches);
    }
    let progress = ctx.progress("learn", "programs", Some(run.batches * what.batch_size));
    progress.inc(run.state.batches * what.batch_size);
    let mut last_save = Instant::now();
    while run.state.batches < run.batches {
        let rows = match run.batch(&shards) {
            Ok(rows) => rows,
            Err(error) => {
                if error.is::<Interrupted>()
                    && run.state.batches > 0
                    && saved != Some(run.state.batches)
                {
                    run.save()?;
                }
                return Err(error);
            }
        };
        run.learn(&rows)?;
        progress.inc(what.batch_size);
        let done = run.state.batches;
        let by_steps = how.checkpoint_every_steps;
        let by_time = how.checkpoint_every_s;
        if (by_steps > 0 && done.is_multiple_of(by_steps))
            || (by_time > 0.0 && last_save.elapsed().as_secs_f64() >= by_time)
        {
            run.save()?;
            (saved, last_save) = (Some(done), Instant::now());
        }
    }
    run.finish(&shards, folder)
}

impl<'a, E: Execution> Run<'a, E> {
    fn new(
        what: &'a What,
        device: Option<&Device>,
        start: Checkpoint,
        folder: &Path,
        ctx: &'a Ctx<'a>,
    ) -> Result<Self> {
        let Checkpoint {
            config,
            mut parameters,
        } = start;
        ensure!(
            config.architecture != Architecture::LlamaScore,
            "{} is a reward model, which cannot write: bind a language model to `model`",
            ctx.label("model")
        );
        let adam = AdamWConfig {
            beta1: what.beta1,
            beta2: what.beta2,
            eps: what.eps,
            weight_decay: 0.0,
        };
        let stored = scorer::stored_moments(what, ctx)?;
        let scorer = Scorer::load(
            what,
            device,
            folder,
            config.max_positions,
            stored,
            adam,
            ctx,
        )?;
        let encoder = Encoder::load(folder, &config)?;
        let longest = (what.max_prompt_tokens as usize).min(config.max_positions - 1);
        let prompts = prompts::load(ctx, &encoder, what, longest)?;
        let reference = (what.train == Train::Full).then(|| parameters.clone());
        let policy = what.train.begin(
            &what.adapter,
            what.lm_head,
            &[],
            config.clone(),
            &mut parameters,
            ctx.seed(),
        )?;
        if !scorer.is_critic() {
            add_value_head(&mut parameters, config.hidden_size);
        }
        let place = |parameters| settings::place(parameters, device, what.precision);
        let (parameters, reference) = (place(parameters)?, reference.map(place).transpose()?);
        let trains = |name: &str| policy.trains(name) || is_value_head(name);
        let trainer = Trainer::new(parameters, trains, adam, what.max_grad_norm);
        let asked = what.batch_size / what.samples_per_prompt;
        let batches = if what.batches > 0 {
            what.batches
        } else {
            (prompts.len() as u64).div_ceil(asked)
        };
        ctx.info(format!(
            "{batches} batches of {} programs for {} prompts",
            what.batch_size,
            prompts.len()
        ));
        Ok(Self {
            what,
            ctx,
            trainer,
            policy,
            reference,
            scorer,
            tokenizer: load_tokenizer(folder, &config)?,
            prompts,
            credit: what.credit(stored),
            stop_tokens: config.eos_tokens,
            execution: what.parts.executes().then(|| E::open(ctx)).transpose()?,
            metrics: Metrics::new(ctx.log_dir())?,
            state: State {
                batches: 0,
                updates: 0,
                kl_coefficient: what.kl_coefficient,
                moments: Moments::default(),
            },
            coefficient: what.kl_coefficient,
            batches,
        })
    }

    /// Checks that a micro-batch of the longest prompts and programs fits onto a device that has
    /// all the weights already.
    fn check_memory(&self, device: &Device, how: &How) -> Result<()> {
        let what = self.what;
        let config = self.policy.network.config();
        let longest = self.prompts.iter().map(|prompt| prompt.ids.len()).max();
        let sequence =
            (longest.unwrap_or(0) + what.max_new_tokens as usize).min(config.max_positions) as u64;
        let trains = |name: &str| self.trainer.gradients.tensors.contains_key(name);
        let need = Need {
            tokens: sequence * what.microbatch_size.min(what.minibatch_size),
            ..memory::need(
                config,
                &self.trainer.parameters,
                trains,
                what.precision,
                how.recompute,
            )
        };
        // Gradients and moments are there as well.
        need.check(device, need.fixed_bytes())
    }

    /// The next batch, drawn or read, with advantages; moves the moments and writes metrics.
    fn batch(&mut self, shards: &Shards) -> Result<Vec<Rollout>> {
        self.ctx.check_cancelled()?;
        let batch = self.state.batches;
        let fresh = !shards.is_done(batch as usize);
        let mut rows = if fresh {
            let mut rows = self.draw()?;
            self.look_at(&mut rows)?;
            self.execute(&mut rows)?;
            rows
        } else {
            table::read(&shards.path(batch as usize), "a finished batch of rollouts")?
        };
        let summary = credit::assign(&self.credit, &mut rows, &mut self.state);
        if fresh {
            shards.write(batch as usize, |path| {
                table::write(path, rows.iter().cloned()).map(|_| ())
            })?;
        }
        self.report(&rows, &summary)?;
        let next = self
            .credit
            .controller
            .next(self.state.kl_coefficient, summary.kl, rows.len());
        self.coefficient = self.state.kl_coefficient;
        self.state.kl_coefficient = next;
        Ok(rows)
    }

    /// Draws the programs of a batch.
    fn draw(&self) -> Result<Vec<Rollout>> {
        let (what, ctx) = (self.what, self.ctx);
        let batch = self.state.batches;
        let group = what.samples_per_prompt as usize;
        let asked = what.batch_size as usize / group;
        let prompts: Vec<&Prompt> = prompts::of_batch(ctx.seed(), batch, asked, self.prompts.len())
            .into_iter()
            .map(|index| &self.prompts[index])
            .collect();
        let requests: Vec<Request> = prompts
            .iter()
            .enumerate()
            .map(|(place, prompt)| Request {
                // By place too: a small table is gone through several times in a batch.
                key: format!("{place}\n{}\n{}", prompt.problem_id, prompt.language.name()),
                prompt: prompt.ids.clone(),
                samples: group,
                ..Request::default()
            })
            .collect();
        let seed = rng(ctx.seed(), "ppo.sample", batch).next_u64();
        let mut settings = Settings::new(what.max_new_tokens as usize, &self.stop_tokens, seed);
        settings.sampling.temperature = what.temperature;
        let parameters = &self.trainer.parameters;
        let weights = self.policy.weights(parameters, tuning::Pass::Evaluation);
        let decoder = Decoder::new(&self.policy.network, weights);
        let drawn = decoder.generate(&requests, &settings, Limits::default(), &|_| {
            if ctx.cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let drawn = drawn.with_context(|| {
            format!("batch {batch} cannot be drawn; weights of the last checkpoint are sound")
        })?;
        ctx.check_cancelled()?;
        drawn
            .into_iter()
            .map(|sample| {
                let prompt = prompts[sample.request];
                Ok(Rollout {
                    batch: batch as u32,
                    problem_id: prompt.problem_id.clone(),
                    language: prompt.language.name().to_owned(),
                    sample: sample.sample as u32,
                    prompt_ids: prompt.ids.clone(),
                    text: self.tokenizer.decode(&sample.tokens, true)?,
                    token_ids: sample.tokens,
                    finish: match sample.finish {
                        Finish::Stop | Finish::StopString => "stop",
                        Finish::Length => "length",
                    }
                    .to_owned(),
                    sampler_log_probs: sample.log_probs,
                    ..Rollout::default()
                })
            })
            .collect()
    }

    /// Has all models look at fresh programs, and bounds what sampler and trainer disagree by.
    fn look_at(&mut self, rows: &mut [Rollout]) -> Result<()> {
        let mut sum = 0.0;
        for rows in rows.chunks_mut(self.what.microbatch_size as usize) {
            let mut models = Models {
                policy: &mut self.policy,
                parameters: &self.trainer.parameters,
                reference: self.reference.as_ref(),
                scorer: &mut self.scorer,
                temperature: self.what.temperature as f32,
            };
            sum += models.look_at(rows)?;
        }
        let tokens: usize = rows.iter().map(|row| row.token_ids.len()).sum();
        let gap = sum / tokens.max(1) as f64;
        ensure!(
            gap <= self.what.max_sampler_gap,
            "batch {}: sampler and trainer disagree by {gap} nats a token on average, more than \
             max_sampler_gap {}: programs would be learnt from as if another model had written them",
            self.state.batches,
            self.what.max_sampler_gap
        );
        Ok(())
    }

    /// Runs fresh programs, if the reward asks for it.
    fn execute(&self, rows: &mut [Rollout]) -> Result<()> {
        let Some(execution) = &self.execution else {
            return Ok(());
        };
        let programs: Vec<Program> = rows
            .iter()
            .map(|row| Program {
                problem_id: &row.problem_id,
                language: &row.language,
                source: &row.text,
            })
            .collect();
        let ran = execution.run(&programs, self.ctx)?;
        for (row, ran) in rows.iter_mut().zip(ran) {
            row.compiles = Some(f64::from(u8::from(ran.compiles)));
            row.public_tests = Some(ran.public_tests);
            row.all_tests = Some(f64::from(u8::from(ran.all_tests)));
        }
        Ok(())
    }

    fn report(&mut self, rows: &[Rollout], summary: &Summary) -> Result<()> {
        let step = self.state.batches + 1;
        let gap = |row: &Rollout| -> f64 {
            let pairs = row.sampler_log_probs.iter().zip(&row.log_probs);
            pairs.map(|(a, b)| f64::from((a - b).abs())).sum()
        };
        let tokens = summary.tokens * rows.len() as f64;
        let mut values = vec![
            ("objective/kl", summary.kl),
            ("objective/kl_k3", summary.kl_k3),
            ("objective/kl_coef", self.state.kl_coefficient),
            ("objective/entropy", summary.entropy),
            ("ppo/mean_scores", summary.score),
            ("ppo/std_scores", summary.score_deviation),
            ("ppo/mean_final_scores", summary.final_score),
            ("ppo/mean_non_score_reward", summary.penalty),
            ("tokens/responses_len_mean", summary.tokens),
            ("rollout/ended_share", summary.ended),
        ];
        if (self.what.temperature - 1.0).abs() < f64::EPSILON {
            let all: f64 = rows.iter().map(gap).sum();
            values.push(("rollout/sampler_gap", all / tokens.max(1.0)));
        }
        let parts: [(&str, Part); 3] = [
            ("rewards/compiles", |row| row.compiles),
            ("rewards/public_tests", |row| row.public_tests),
            ("rewards/all_tests", |row| row.all_tests),
        ];
        for (name, part) in parts {
            let found: Vec<f64> = rows.iter().filter_map(part).collect();
            if !found.is_empty() {
                values.push((name, found.iter().sum::<f64>() / found.len() as f64));
            }
        }
        for (name, value) in values {
            ensure!(
                value.is_finite(),
                "batch {}: {name} is not a number: the policy or the reward model is broken; weights \
                 of the last checkpoint are sound",
                self.state.batches
            );
            self.metrics.record(step, name, value)?;
        }
        Ok(())
    }

    /// Learns from a batch.
    fn learn(&mut self, rows: &[Rollout]) -> Result<()> {
        let what = self.what;
        let rate = what.schedule.learning_rate(
            what.learning_rate,
            self.state.batches,
            what.warmup_batches,
            self.batches,
        );
        let critic_rate = match what.critic_learning_rate {
            Some(highest) if what.learning_rate > 0.0 => rate * highest / what.learning_rate,
            _ => rate,
        };
        let options = what.loss(self.coefficient);
        let cut = Cut {
            rows: what.microbatch_size as usize,
            temperature: what.temperature as f32,
        };
        let (mut sums, mut norms, mut updates, mut skipped) =
            (super::loss::Sums::default(), 0.0, 0, 0);
        for epoch in 0..what.epochs {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            let index = self.state.batches * what.epochs + epoch;
            shuffle(&mut rng(self.ctx.seed(), "ppo.order", index), &mut order);
            for minibatch in order.chunks(what.minibatch_size as usize) {
                let programs: Vec<&Rollout> = minibatch.iter().map(|&index| &rows[index]).collect();
                let Trainer {
                    parameters,
                    gradients,
                    ..
                } = &mut self.trainer;
                self.policy.begin_update(self.state.updates);
                let (found, left_out) = update::accumulate(
                    &mut self.policy,
                    parameters,
                    gradients,
                    self.scorer.is_critic().then_some(&mut self.scorer),
                    &programs,
                    &options,
                    cut,
                )?;
                ensure!(
                    found.total.is_finite() || left_out > 0,
                    "the loss of batch {}, epoch {epoch} is not finite: lower learning_rate; weights of \
                     the last checkpoint are sound",
                    self.state.batches
                );
                skipped += left_out;
                if left_out == programs.len() {
                    // Not even momentum may move the weights.
                    continue;
                }
                norms += self.trainer.update(rate)?;
                self.scorer.update(critic_rate)?;
                sums.add(&found);
                updates += 1;
                self.state.updates += 1;
            }
        }
        let step = self.state.batches + 1;
        for (name, value) in sums.means() {
            self.metrics.record(step, name, value)?;
        }
        self.metrics
            .record(step, "grad_norm", norms / f64::from(updates.max(1)))?;
        self.metrics.record(step, "learning_rate", rate)?;
        self.metrics
            .record(step, "policy/skipped_programs", skipped as f64)?;
        self.state.batches += 1;
        Ok(())
    }

    fn save(&self) -> Result<()> {
        self.ctx.checkpoint(self.state.batches, |dir| {
            self.trainer.save(dir)?;
            self.scorer.save(&dir.join(CRITIC))?;
            self.metrics.save(dir)?;
            fs_err::write(dir.join(STATE), serde_json::to_vec(&self.state)?)?;
            Ok(())
        })
    }

    fn restore(&mut self, dir: &Path) -> Result<()> {
        self.trainer.restore(dir)?;
        self.scorer.restore(&dir.join(CRITIC))?;
        self.metrics.restore(dir)?;
        let path = dir.join(STATE);
        self.state = serde_json::from_slice(&fs_err::read(&path)?)
            .with_context(|| format!("the checkpoint's {} is damaged", path.display()))?;
        Ok(())
    }

    fn finish(self, shards: &Shards, folder: &Path) -> Result<()> {
        let ctx = self.ctx;
        let mut writer = TableWriter::create(&ctx.output("rollouts"))?;
        for index in 0..shards.count() {
            let batch =
                Table::<Rollout>::open(&shards.path(index), "a finished batch of rollouts")?;
            for row in batch.rows()? {
                writer.push(row?)?;
            }
        }
        writer.finish()?;
        self.metrics.write(&ctx.output("metrics"))?;
        ctx.metric("batches", self.state.batches as f64);
        ctx.metric("updates", self.state.updates as f64);
        for name in ["ppo/mean_scores", "objective/kl"] {
            // The last tenth: one batch is noise.
            let recent = (self.batches as usize).div_ceil(10);
            if let Some(value) = self.metrics.recent_mean(name, recent) {
                ctx.metric(name, value);
            }
        }
        let mut parameters = self.trainer.parameters.to_host()?;
        // A language model's folder has no place for the critic's head.
        parameters.tensors.retain(|name, _| !is_value_head(name));
        tuning::write(ctx, &self.policy, parameters, folder)
    }
}
