//! Stage `orpo`: odds-ratio preference optimisation (paper, section 3, Eq. 4 to 7).
//!
//! Reads a model folder and `triplets`. Fine-tuning on the right program and preference in one
//! loss, without a reference model; the odds of a pair are in `orpo/loss.rs`.
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
use anyhow::Result;
use engine::{Ctx, Input, Invalid, Output, Stage};
use loss::{Options, Sft};
use model::checkpoint::Checkpoint;
use objective::OddsRatio;

training_settings! {
    /// Settings of `orpo` that change the result; learning rate, `lambda` and what the likelihood
    /// is the mean over are TRL's, because the paper names none.
    pub struct What {
        learning_rate: 1e-6, warmup_steps: 0, batch_size: 1, accumulation: 32, ranks: 2;
        /// Longest sequence in tokens; pairs with a longer one are dropped.
        max_tokens: u64 = 4000,
        /// Weight of the odds-ratio loss.
        lambda: f64 = 0.1,
        /// What the likelihood is the mean over: `all` tokens of prompt and right program,
        /// `completion` tokens, or each `example`'s own mean.
        likelihood: Sft = Sft::All,
        /// What is trained: `adapter` or `full`.
        train: Train = Train::Adapter,
        /// Shape of the adapter.
        adapter: Lora = Lora::default(),
        /// Whether the adapter acts on the output head too: the paper leaves out the embedding alone.
        lm_head: bool = true,
    }
}

/// Stage `orpo`.
pub struct Orpo;

impl Stage for Orpo {
    const NAME: &'static str = "orpo";
    /// 1: first version. 2: the shares of `ranks` are summed in a tree. 3: products are summed in
    /// another order.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "Trains a model to prefer right programs to wrong ones, by ORPO";
    const INPUTS: &'static [Input] = &[Input::tree("model"), Input::table("triplets")];
    const OUTPUTS: &'static [Output] = &[
        Output::tree("model"),
        Output::tree("adapter"),
        Output::table("metrics"),
    ];
    const JOINS: bool = true;
    const SOURCES: &'static [&'static str] = &[
        "train/src/orpo.rs",
        "train/src/orpo",
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
        Invalid::unless(
            what.lambda >= 0.0 && what.lambda.is_finite(),
            "lambda",
            "must be 0 (fine-tuning alone) or more",
        )
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
        how.on_threads(|| run(what, how, ctx))
    }
}

fn run(what: &What, how: &How, ctx: &Ctx) -> Result<()> {
    let folder = ctx.input("model")?;
    let Checkpoint {
        config,
        mut parameters,
    } = Checkpoint::load(folder)?;
    let encoder = Encoder::load(folder, &config)?;
    let longest = (what.max_tokens as usize).min(config.max_positions);
    let loaded = pairs::load(ctx, &encoder, longest, what.validation_share)?;
    let mut tuned = what.train.begin(
        &what.adapter,
        what.lm_head,
        &[],
        config,
        &mut parameters,
        ctx.seed(),
    )?;
    tuned.workspace = how.workspace(what.precision);
    let device = how.device(ctx)?;
    let parameters = place(parameters, device.as_ref(), what.precision)?;
    let options = Options {
        lambda: what.lambda,
        sft: what.likelihood,
    };
    let mut objective = OddsRatio::new(tuned, options, loaded);
    let outcome = training_loop::train(&mut objective, parameters, &what.optimisation(), how, ctx)?;
    outcome.metrics.write(&ctx.output("metrics"))?;
    tuning::write(ctx, objective.tuned(), outcome.parameters, folder)
}
