//! Stage `reward`: a reward model from pairs of programs (paper, section 3, Eq. 2).
//!
//! Reads a model folder (best after `adapt`, which is the paper's domain adaptation) and
//! `triplets`. The output head gives way to one with a single number, read at the last token of
//! a sequence by its length. What the model is worth on held-out problems stands beside the
//! weights, in `reward.json`: accuracy, calibration, mean and deviation of scores.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `triplets` table | `model` tree, `adapter` tree, `metrics` table |

pub mod loss;
pub mod objective;

use crate::examples::Encoder;
use crate::pairs;
use crate::settings::{How, place};
use crate::training_loop;
use crate::training_settings;
use crate::tuning::{self, Lora, Train};
use anyhow::{Context as _, Result};
use engine::{Ctx, Input, Invalid, Output, Stage};
use loss::Quality;
use model::checkpoint::Checkpoint;
use model::config::Architecture;
use objective::{BradleyTerry, Options};
use std::path::Path;

training_settings! {
    /// Settings of `reward` that change the result; the learning rate and the single epoch are
    /// the paper's, the window is that of its preference training.
    pub struct What {
        learning_rate: 1.4e-5, warmup_steps: 0, batch_size: 1, accumulation: 32, ranks: 2;
        /// Longest sequence in tokens; pairs with a longer one are dropped.
        max_tokens: u64 = 4000,
        /// Score difference wanted of programs that have nothing in common; nearer ones, in
        /// proportion to their normalised edit distance.
        margin: f64 = 0.0,
        /// Weight of the squared sum of both scores, which binds them to 0; 0.01 is usual.
        centering: f64 = 0.0,
        /// What is trained beside the head: `adapter` or `full`.
        train: Train = Train::Adapter,
        /// Shape of the adapter.
        adapter: Lora = Lora::default(),
    }
}

/// The file beside a reward model's weights that says what it is worth.
const QUALITY: &str = "reward.json";

/// Reads what a reward model's folder says of its worth; nothing if it says nothing.
///
/// # Errors
/// The file is damaged.
pub fn quality(folder: &Path) -> Result<Option<Quality>> {
    let path = folder.join(QUALITY);
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_slice(&fs_err::read(&path)?)
        .with_context(|| format!("{} is not what `reward` writes", path.display()))
}

/// Stage `reward`.
pub struct Reward;

impl Stage for Reward {
    const NAME: &'static str = "reward";
    /// 1: first version. 2: the shares of `ranks` are summed in a tree. 3: products are summed in
    /// another order.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "Trains a model to score programs, from right and wrong ones";
    const INPUTS: &'static [Input] = &[Input::tree("model"), Input::table("triplets")];
    const OUTPUTS: &'static [Output] = &[
        Output::tree("model"),
        Output::tree("adapter"),
        Output::table("metrics"),
    ];
    const JOINS: bool = true;
    const SOURCES: &'static [&'static str] = &[
        "train/src/reward.rs",
        "train/src/reward",
        "train/src/numerics.rs",
        "train/src/pairs.rs",
        "train/src/tuning.rs",
        "train/src/examples.rs",
        "train/src/plan.rs",
        "train/src/settings.rs",
        "train/src/trainer.rs",
        "train/src/training_loop.rs",
        "train/src/best.rs",
        "train/src/data_parallel.rs",
        "model/src",
    ];
    type What = What;
    type How = How;

    fn check(what: &What) -> Result<(), Invalid> {
        what.optimisation().check()?;
        what.adapter.check()?;
        pairs::check_texts(what.max_tokens, what.validation_share)?;
        Invalid::unless(what.margin.is_finite(), "margin", "must be a number")?;
        Invalid::unless(
            what.centering >= 0.0 && what.centering.is_finite(),
            "centering",
            "must be 0 or more",
        )
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
        how.on_threads(|| run(what, how, ctx))
    }
}

fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
    let folder = ctx.input("model")?;
    let checkpoint = Checkpoint::load(folder)?;
    let encoder = Encoder::load(folder, &checkpoint.config)?;
    let scored = if checkpoint.config.architecture == Architecture::LlamaScore {
        ctx.info("the model has a score head already, which is trained on");
        checkpoint
    } else {
        checkpoint.into_score(ctx.seed())?
    };
    let Checkpoint {
        config,
        mut parameters,
    } = scored;
    let longest = (what.max_tokens as usize).min(config.max_positions);
    let loaded = pairs::load(ctx, &encoder, longest, what.validation_share)?;
    let mut tuned = what.train.begin(
        &what.adapter,
        false,
        &["score"],
        config,
        &mut parameters,
        ctx.seed(),
    )?;
    tuned.workspace = how.workspace(what.precision);
    let device = how.device(ctx)?;
    let parameters = place(parameters, device.as_ref(), what.precision)?;
    let options = Options {
        margin: what.margin,
        centering: what.centering,
    };
    let mut objective = BradleyTerry::new(tuned, options, what.batch_size as usize, loaded);
    let outcome = training_loop::train(&mut objective, parameters, &what.optimisation(), how, ctx)?;
    outcome.metrics.write(&ctx.output("metrics"))?;
    let quality = objective.quality(&outcome.parameters, &|| false)?;
    tuning::write(ctx, objective.tuned(), outcome.parameters, folder)?;
    let Some(quality) = quality else {
        ctx.warn("no pair is held out, so nothing says what the reward model is worth: raise validation_share");
        return Ok(());
    };
    ctx.info(format!(
        "held-out pairs: {:.1} % right, scores {:.3} ± {:.3}",
        100.0 * quality.accuracy,
        quality.score_mean,
        quality.score_std
    ));
    ctx.metric("eval_accuracy", quality.accuracy);
    ctx.metric("eval_calibration_error", quality.calibration_error);
    let mut text = serde_json::to_string_pretty(&quality)?;
    text.push('\n');
    fs_err::write(ctx.output("model").join(QUALITY), text)?;
    Ok(())
}
