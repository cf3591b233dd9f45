//! The loss of language modelling: `−Σ log p(token | tokens before it)` over the tokens that
//! are in the loss, divided by their number in the whole update (paper, Eq. 7, with the minus
//! sign that the paper leaves out).
//!
//! Used by `sft` and `adapt`, which differ in what is in the loss. Examples are packed into
//! rows of at most `room` tokens; attention stays within an example.

use crate::examples::{self, Encoder, Examples, Form};
use crate::packing::{bucket, pack};
use crate::settings::{How, Optimisation, place};
use crate::training_loop::{self, Objective, Sums};
use anyhow::Result;
use engine::Ctx;
use model::checkpoint::Checkpoint;
use model::network::{Network, Workspace};
use model::parameters::Parameters;

/// Next-token prediction on packed examples.
pub struct NextToken {
    network: Network,
    workspace: Workspace,
    train: Examples,
    validation: Examples,
    /// Tokens of a row; 0 = one example a row.
    room: usize,
    /// Rows of a micro-batch that should be of like length; 0 = as they come.
    bucket: usize,
}

impl NextToken {
    /// The objective for a network; `room` 0 leaves examples unpacked.
    pub fn new(network: Network, train: Examples, validation: Examples, room: usize) -> Self {
        Self {
            network,
            workspace: Workspace::new(),
            train,
            validation,
            room,
            bucket: 0,
        }
    }

    /// Puts examples of like length into one micro-batch of `rows`; for rows of one example.
    pub fn bucketed(mut self, rows: usize) -> Self {
        self.bucket = rows;
        self
    }

    /// With these buffers.
    pub fn with_workspace(mut self, workspace: Workspace) -> Self {
        self.workspace = workspace;
        self
    }
}

impl Objective for NextToken {
    fn items(&self) -> usize {
        self.train.len()
    }

    fn rows(&self, items: Vec<u32>) -> Vec<Vec<u32>> {
        let length = |item| self.train.tokens(item);
        if self.bucket > 0 {
            return pack(&bucket(&items, length, self.bucket), length, 0);
        }
        pack(&items, length, self.room)
    }

    fn weight(&self, row: &[u32]) -> f64 {
        row.iter()
            .map(|&item| self.train.targets(item))
            .sum::<usize>() as f64
    }

    fn tokens(&self, row: &[u32]) -> u64 {
        row.iter().map(|&item| self.train.tokens(item) as u64).sum()
    }

    fn accumulate(
        &mut self,
        parameters: &Parameters,
        gradients: &mut Parameters,
        rows: &[Vec<u32>],
        scale: f64,
    ) -> Result<Sums> {
        let batch = self.train.batch(rows.iter().flatten())?;
        self.network
            .train_nll_later(parameters, gradients, &batch, scale, &mut self.workspace)?;
        Ok(Sums::new())
    }

    fn outstanding(&mut self) -> Result<Sums> {
        let nll = self.network.nll_so_far(&mut self.workspace)?;
        Ok(Sums::from([("loss", nll.sum)]))
    }

    fn network(&self) -> &Network {
        &self.network
    }

    fn evaluate(
        &mut self,
        parameters: &Parameters,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<(&'static str, f64)>> {
        let items: Vec<u32> = (0..self.validation.len() as u32).collect();
        let (mut sum, mut tokens) = (0.0, 0);
        for row in pack(&items, |item| self.validation.tokens(item), self.room) {
            if stop() {
                break;
            }
            let batch = self.validation.batch(&row)?;
            let nll = self
                .network
                .evaluate_nll(parameters, &batch, &mut self.workspace)?;
            sum += nll.sum;
            tokens += nll.tokens;
        }
        Ok(if tokens == 0 {
            Vec::new()
        } else {
            vec![("eval_loss", sum / tokens as f64)]
        })
    }
}

/// What the stages that train on `samples` settle themselves.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// What is seen and what is in the loss.
    pub form: Form,
    /// Longest example, and the room of a packed row, in tokens.
    pub max_tokens: usize,
    /// Whether several examples share a row.
    pub packing: bool,
    /// Whether examples of like length share a micro-batch, where rows are not packed.
    pub length_bucketing: bool,
    /// Share of the problems to measure on.
    pub validation_share: f64,
}

/// Reads `model` and `samples`, trains, writes `model` and `metrics`.
///
/// # Errors
/// As `examples::load` and `training_loop::train`; or the model folder cannot be used.
pub fn run(task: Task, settings: &Optimisation, how: &How, ctx: &Ctx) -> Result<()> {
    let folder = ctx.input("model")?;
    let Checkpoint { config, parameters } = Checkpoint::load(folder)?;
    let device = how.device(ctx)?;
    let parameters = place(parameters, device.as_ref(), settings.precision)?;
    let encoder = Encoder::load(folder, &config)?;
    let longest = task.max_tokens.min(config.max_positions);
    let loaded = examples::load(ctx, &encoder, task.form, longest, task.validation_share)?;
    let room = if task.packing { task.max_tokens } else { 0 };
    let network = Network::new(config.clone());
    let bucket = if task.length_bucketing {
        settings.batch_size as usize
    } else {
        0
    };
    let mut objective = NextToken::new(network, loaded.train, loaded.validation, room)
        .bucketed(bucket)
        .with_workspace(how.workspace(settings.precision));
    let outcome = training_loop::train(&mut objective, parameters, settings, how, ctx)?;
    outcome.metrics.write(&ctx.output("metrics"))?;
    Checkpoint {
        config,
        parameters: outcome.parameters.to_host()?,
    }
    .save(&ctx.output("model"), Some(folder))
}
