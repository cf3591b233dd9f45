//! Stage `sft`: supervised fine-tuning on problem and solution (paper, section 3, Eq. 7).
//!
//! Reads a model folder and `samples`; writes the fine-tuned folder and the run's numbers. The
//! loss is on the tokens of the solution and its end, not on the problem. The defaults are the
//! paper's: two ranks, four accumulated micro-batches of one row of 4000 tokens.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `samples` table | `model` tree, `metrics` table (step, name, value) |

use crate::examples::Form;
use crate::next_token::{self, Task};
use crate::settings::How;
use crate::training_settings;
use engine::{Ctx, Input, Invalid, Output, Stage};

training_settings! {
    /// Settings of `sft` that change the result.
    pub struct What {
        learning_rate: 1e-4, warmup_steps: 5000, batch_size: 1, accumulation: 4, ranks: 2;
        /// Longest example, and the room of a packed row, in tokens; longer ones are dropped.
        max_tokens: u64 = 4000,
        /// Whether several examples share a row of `max_tokens`.
        packing: bool = true,
        /// Whether examples of like length share a micro-batch; for rows that are not packed.
        length_bucketing: bool = false,
    }
}

/// Stage `sft`.
pub struct Sft;

impl Stage for Sft {
    const NAME: &'static str = "sft";
    /// 1: first version. 2: the shares of `ranks` are summed in a tree. 3: products are summed in
    /// another order.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "Fine-tunes a model to answer problems with solutions";
    const INPUTS: &'static [Input] = &[Input::tree("model"), Input::table("samples")];
    const OUTPUTS: &'static [Output] = &[Output::tree("model"), Output::table("metrics")];
    const JOINS: bool = true;
    const SOURCES: &'static [&'static str] = SOURCES;
    type What = What;
    type How = How;

    fn check(what: &What) -> Result<(), Invalid> {
        what.optimisation().check()?;
        check_texts(what.max_tokens, what.validation_share)?;
        Invalid::unless(
            !(what.packing && what.length_bucketing),
            "length_bucketing",
            "has no meaning for packed rows, which are all as long as they can be: set packing = false",
        )
    }

    fn run(what: &What, how: &How, ctx: &Ctx) -> anyhow::Result<()> {
        let task = Task {
            form: Form::Answer,
            max_tokens: what.max_tokens as usize,
            packing: what.packing,
            length_bucketing: what.length_bucketing,
            validation_share: what.validation_share,
        };
        how.on_threads(|| next_token::run(task, &what.optimisation(), how, ctx))
    }
}

/// The files that decide what training on `samples` gives.
pub(crate) const SOURCES: &[&str] = &[
    "train/src/examples.rs",
    "train/src/next_token.rs",
    "train/src/packing.rs",
    "train/src/plan.rs",
    "train/src/settings.rs",
    "train/src/trainer.rs",
    "train/src/training_loop.rs",
    "train/src/best.rs",
    "train/src/data_parallel.rs",
    "model/src/arrays.rs",
    "model/src/batch.rs",
    "model/src/checkpoint.rs",
    "model/src/config.rs",
    "model/src/network",
    "model/src/network.rs",
    "model/src/ops",
    "model/src/optimizer.rs",
    "model/src/safetensors_file.rs",
    "model/src/tokenizer.rs",
    "model/src/weights.rs",
];

/// Checks the settings about texts that `sft` and `adapt` share.
pub(crate) fn check_texts(max_tokens: u64, validation_share: f64) -> Result<(), Invalid> {
    Invalid::unless(
        max_tokens >= 2,
        "max_tokens",
        "must be at least 2, because the first token of a sequence is never predicted",
    )?;
    Invalid::unless(
        (0.0..1.0).contains(&validation_share),
        "validation_share",
        "must be at least 0 and below 1, because something must be left to train on",
    )
}
