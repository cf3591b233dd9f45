//! The loop of every training stage: accumulate, clip, update, measure, checkpoint.
//!
//! Called by `adapt` and `sft` (and later algorithms) with an [`Objective`]. An update sees a
//! window of rows; its denominator is the whole window's (completion tokens, pairs), so that
//! one batch of eight rows and eight batches of one give the same gradient. The state after an
//! update is a function of settings, data and seed: a run that was killed at any moment and
//! resumed ends with the same bytes. Deliberately absent: random-number state, data cursors.

use crate::best::{Best, Keep, Round};
use crate::data_parallel::{self, Collective, Shares};
use crate::memory;
use crate::metrics::{Metrics, peak_memory_bytes};
use crate::plan;
use crate::settings::{How, Optimisation};
use crate::trainer::Trainer;
use anyhow::{Context as _, Result, ensure};
use engine::{Ctx, Interrupted};
use model::network::Network;
use model::parameters::Parameters;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Sums over rows, by metric name; `loss` is always there.
pub type Sums = BTreeMap<&'static str, f64>;

/// Adds values to the sums of their names.
pub(crate) fn add_all<const N: usize>(sums: &mut Sums, names: [&'static str; N], values: [f64; N]) {
    for (name, value) in names.into_iter().zip(values) {
        *sums.entry(name).or_default() += value;
    }
}

/// An algorithm: how its data is cut into rows, and the loss and gradients of rows.
pub trait Objective {
    /// Number of items (examples, pairs) of one epoch.
    fn items(&self) -> usize;

    /// Groups shuffled items into rows: one each, unless the algorithm packs.
    fn rows(&self, items: Vec<u32>) -> Vec<Vec<u32>> {
        items.into_iter().map(|item| vec![item]).collect()
    }

    /// What a row adds to the denominator of its window: completion tokens, pairs.
    fn weight(&self, row: &[u32]) -> f64;

    /// Tokens of a row that pass through the network; for progress.
    fn tokens(&self, row: &[u32]) -> u64;

    /// Says which update begins and what its window is: for losses that need a number of the
    /// whole window, and for randomness that depends on the update.
    fn begin_update(&mut self, _step: u64, _window: &[Vec<u32>]) {}

    /// Adds the gradient of `scale · Σ loss` over the rows, and returns the unscaled sums.
    ///
    /// # Errors
    /// The rows do not fit the model.
    fn accumulate(
        &mut self,
        parameters: &Parameters,
        gradients: &mut Parameters,
        rows: &[Vec<u32>],
        scale: f64,
    ) -> Result<Sums>;

    /// Says that so many micro-batches of the window are another process's: for randomness that
    /// depends on their number.
    fn skip(&mut self, _batches: usize) {}

    /// Sums that [`Objective::accumulate`] left on a device, so that it need not be waited for
    /// after each call; asked at the end of a share.
    ///
    /// # Errors
    /// The device failed.
    fn outstanding(&mut self) -> Result<Sums> {
        Ok(Sums::new())
    }

    /// The network that rows pass through.
    fn network(&self) -> &Network;

    /// Measures the model on held-out data, under names that begin with `validation_`; `stop`
    /// says that the answer is no longer wanted.
    ///
    /// # Errors
    /// The data do not fit the model.
    fn evaluate(
        &mut self,
        _parameters: &Parameters,
        _stop: &dyn Fn() -> bool,
    ) -> Result<Vec<(&'static str, f64)>> {
        Ok(Vec::new())
    }

    /// Whether a parameter is trained.
    fn trains(&self, _name: &str) -> bool {
        true
    }
}

/// What a run ends with.
pub struct Outcome {
    /// The trained weights, and the frozen ones as they were, where they were.
    pub parameters: Parameters,
    /// All that was measured.
    pub metrics: Metrics,
}

/// Trains from `start`; resumes where an earlier run of the same key stopped.
///
/// # Errors
/// There is nothing to train on, the loss or gradient is not finite, a file cannot be
/// written, or [`Interrupted`], after a checkpoint.
pub fn train<O: Objective>(
    objective: &mut O,
    start: Parameters,
    settings: &Optimisation,
    how: &How,
    ctx: &Ctx,
) -> Result<Outcome> {
    let total = plan::length(objective, settings, ctx.seed());
    ensure!(
        total.steps > 0,
        "there is nothing to train on: no example is left of the input"
    );
    ctx.info(format!(
        "{} updates over {} tokens",
        total.steps, total.tokens
    ));
    let about = format!(
        "{} from seed {}, {total:?}, {settings:?}",
        ctx.node(),
        ctx.seed()
    );
    let collective = data_parallel::join(how, &about, ctx, start.device())?;
    let trains = |name: &str| objective.trains(name);
    if let Some(device) = start.device() {
        let need = memory::Need {
            ranks: settings.ranks.div_ceil(collective.size() as u64),
            tokens: total.largest_batch,
            ..memory::need(
                objective.network().config(),
                &start,
                trains,
                settings.precision,
                how.recompute,
            )
        };
        need.check(device, need.weight_bytes())?;
    }
    let trainer = Trainer::new(start, trains, settings.adamw, settings.max_grad_norm);
    let metrics = Metrics::new(ctx.log_dir())?;
    let mut run = Run {
        trainer,
        metrics,
        shares: Shares::new(settings, &*collective)?,
        collective: &*collective,
        best: Best::new(settings.keep),
        settings,
        how,
        ctx,
        total,
        saved: None,
        last_save: Instant::now(),
        spent: Duration::ZERO,
        tokens_seen: 0,
    };
    let from = run.begin(objective)?;
    // The same checkpoint everywhere, and read by all before it is replaced.
    let begun = collective.gather(Some(Sums::from([("updates", from as f64)])))?;
    ensure!(
        begun
            .iter()
            .flatten()
            .all(|of| of["updates"] as u64 == from),
        "the processes go on from different checkpoints ({begun:?}): is `--artifacts` the same \
         folder for all?"
    );
    let progress = ctx.progress("train", "tokens", Some(total.tokens));
    plan::walk(
        objective,
        settings,
        ctx.seed(),
        |objective, step, window| {
            let tokens = window.iter().map(|row| objective.tokens(row)).sum::<u64>();
            if step >= from {
                run.step(objective, step, window, tokens)?;
            }
            progress.inc(tokens);
            Ok::<(), anyhow::Error>(())
        },
    )?;
    ctx.metric("steps", total.steps as f64);
    ctx.metric("tokens", total.tokens as f64);
    // The last tenth: one update's loss is noise.
    let recent = (total.steps as usize).div_ceil(10);
    if let Some(loss) = run.metrics.recent_mean("loss", recent) {
        ctx.metric("loss", loss);
    }
    if let Some(loss) = run.metrics.recent_mean("eval_loss", 1) {
        ctx.metric("eval_loss", loss);
    }
    let mut parameters = run.trainer.parameters;
    if let Some(Round { updates, loss }) = run.best.finish(&mut parameters)? {
        ctx.info(format!(
            "kept the weights after {updates} updates, of eval_loss {loss:.4}"
        ));
        ctx.metric("best_step", updates as f64);
    }
    Ok(Outcome {
        parameters,
        metrics: run.metrics,
    })
}

struct Run<'a> {
    trainer: Trainer,
    metrics: Metrics,
    shares: Shares<'a>,
    collective: &'a dyn Collective,
    best: Best,
    settings: &'a Optimisation,
    how: &'a How,
    ctx: &'a Ctx<'a>,
    total: plan::Length,
    /// Updates of the last checkpoint.
    saved: Option<u64>,
    last_save: Instant,
    /// Time and tokens of this process, for the speed in the log.
    spent: Duration,
    tokens_seen: u64,
}

impl Run<'_> {
    /// Restores the latest checkpoint or measures the untrained model; returns the updates done.
    fn begin(&mut self, objective: &mut impl Objective) -> Result<u64> {
        if let Some(checkpoint) = self.ctx.resume()? {
            self.trainer.restore(&checkpoint.dir)?;
            self.metrics.restore(&checkpoint.dir)?;
            self.best.restore(&checkpoint.dir)?;
            self.saved = Some(checkpoint.step);
            // A round that was cut short is made up for.
            if self.evaluation_due(checkpoint.step) && !self.metrics.is_validated(checkpoint.step) {
                self.evaluate(objective, checkpoint.step)?;
            }
            return Ok(checkpoint.step);
        }
        self.evaluate(objective, 0)?;
        Ok(0)
    }

    fn step<O: Objective>(
        &mut self,
        objective: &mut O,
        step: u64,
        window: &plan::Window,
        tokens: u64,
    ) -> Result<()> {
        let clock = Instant::now();
        let weight: f64 = window.iter().map(|row| objective.weight(row)).sum();
        let scale = if weight > 0.0 { 1.0 / weight } else { 0.0 };
        objective.begin_update(step, window);
        let (ctx, trainer) = (self.ctx, &mut self.trainer);
        let stop = || ctx.cancelled();
        let Some(sums) = self
            .shares
            .accumulate(objective, trainer, window, scale, &stop)?
        else {
            return self.stop(step);
        };
        let loss = sums.get("loss").copied().unwrap_or_default();
        ensure!(
            loss.is_finite(),
            "the loss of update {step} ({}) is not finite: lower learning_rate or lengthen \
             warmup_steps; weights of the last checkpoint are sound",
            named(window)
        );
        let Optimisation {
            learning_rate,
            schedule,
            warmup_steps,
            ..
        } = *self.settings;
        let rate = schedule.learning_rate(learning_rate, step, warmup_steps, self.total.steps);
        let updated = self.trainer.update(rate);
        let norm = updated.with_context(|| format!("update {step} ({})", named(window)))?;
        let done = step + 1;
        for (name, sum) in sums {
            self.metrics.record(done, name, sum * scale)?;
        }
        self.metrics.record(done, "learning_rate", rate)?;
        self.metrics.record(done, "grad_norm", norm)?;
        self.metrics.record(done, "tokens", tokens as f64)?;
        self.spent += clock.elapsed();
        self.tokens_seen += tokens;
        let speed = self.tokens_seen as f64 / self.spent.as_secs_f64().max(1e-9);
        self.metrics.log_only(done, "tokens_per_s", speed)?;
        if let Some(device) = self.trainer.parameters.device() {
            let bytes = model::device::memory(device)?.peak_bytes;
            self.metrics
                .log_only(done, "device_peak_memory_bytes", bytes as f64)?;
        }
        if let Some(bytes) = peak_memory_bytes() {
            self.metrics
                .log_only(done, "peak_memory_bytes", bytes as f64)?;
        }
        if self.evaluation_due(done) {
            self.evaluate(objective, done)?;
        }
        let by_steps = self.how.checkpoint_every_steps;
        let by_time = self.how.checkpoint_every_s;
        if (by_steps > 0 && done.is_multiple_of(by_steps))
            || (by_time > 0.0 && self.last_save.elapsed().as_secs_f64() >= by_time)
        {
            self.save(done)?;
        }
        Ok(())
    }

    /// Whether a validation round is due after `done` updates: they are spread evenly, and the
    /// last is at the end.
    fn evaluation_due(&self, done: u64) -> bool {
        let rounds = |done: u64| done * self.settings.evaluations / self.total.steps;
        rounds(done) > rounds(done - 1)
    }

    fn evaluate(&mut self, objective: &mut impl Objective, done: u64) -> Result<()> {
        if self.settings.evaluations == 0 {
            return Ok(());
        }
        let stop = || self.ctx.cancelled();
        let measured = objective.evaluate(&self.trainer.parameters, &stop)?;
        if self.collective.any(self.ctx.cancelled())? {
            return self.stop(done);
        }
        let loss = measured
            .iter()
            .find(|(name, _)| *name == "eval_loss")
            .map(|(_, loss)| *loss);
        ensure!(
            loss.is_some() || self.settings.keep == Keep::Last,
            "keep = \"best\" chooses by the validation loss, and there is nothing to measure it on: \
             raise validation_share, or set keep = \"last\""
        );
        if let Some(loss) = loss {
            let updates = done;
            self.best.offer(Round { updates, loss }, &self.trainer)?;
        }
        for (name, value) in measured {
            self.metrics.record(done, name, value)?;
            self.ctx
                .info(format!("after {done} updates: {name} {value:.4}"));
        }
        Ok(())
    }

    /// Keeps the weights from before the unfinished update and ends the run.
    fn stop(&mut self, done: u64) -> Result<()> {
        if done > 0 && self.saved != Some(done) {
            self.save(done)?;
        }
        Err(Interrupted.into())
    }

    fn save(&mut self, done: u64) -> Result<()> {
        let (trainer, metrics, best) = (&self.trainer, &self.metrics, &self.best);
        self.ctx.checkpoint(done, |dir| {
            trainer.save(dir)?;
            best.save(dir)?;
            metrics.save(dir)
        })?;
        self.saved = Some(done);
        self.last_save = Instant::now();
        Ok(())
    }
}

/// Which examples an update saw: their numbers among those that are trained on, from 0.
fn named(window: &plan::Window) -> String {
    const SHOWN: usize = 16;
    let items: Vec<String> = window.iter().flatten().map(u32::to_string).collect();
    let more = if items.len() > SHOWN { ", …" } else { "" };
    format!(
        "examples {}{more}",
        items[..items.len().min(SHOWN)].join(", ")
    )
}
