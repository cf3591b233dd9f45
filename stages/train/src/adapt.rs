//! Stage `adapt`: language modelling on the texts themselves (paper, section 3: domain
//! adaptation before the reward model; here also the pre-training of a small model).
//!
//! Reads a model folder and `samples`; writes the adapted folder and the run's numbers. It is
//! `sft` with every token in the loss, on prompt and completion or on the completion alone.
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `samples` table | `model` tree, `metrics` table (step, name, value) |

use crate::examples::Form;
use crate::next_token::{self, Task};
use crate::settings::How;
use crate::sft::{SOURCES, check_texts};
use crate::training_settings;
use engine::{Ctx, Input, Invalid, Output, Stage};
use serde::{Deserialize, Serialize};

/// The text that is modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Prompt and completion as one text.
    #[default]
    Both,
    /// Programs without their problems.
    Completion,
}

training_settings! {
    /// Settings of `adapt` that change the result.
    pub struct What {
        learning_rate: 1e-4, warmup_steps: 1000, batch_size: 1, accumulation: 4, ranks: 2;
        /// Longest example, and the room of a packed row, in tokens; longer ones are dropped.
        max_tokens: u64 = 4000,
        /// Whether several examples share a row of `max_tokens`.
        packing: bool = true,
        /// Whether examples of like length share a micro-batch; for rows that are not packed.
        length_bucketing: bool = false,
        /// `both` (prompt and completion) or `completion`.
        text: Source = Source::Both,
    }
}

/// Stage `adapt`.
pub struct Adapt;

impl Stage for Adapt {
    const NAME: &'static str = "adapt";
    /// 1: first version. 2: the shares of `ranks` are summed in a tree. 3: products are summed in
    /// another order.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "Trains a model on the texts themselves, every token in the loss";
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
            form: match what.text {
                Source::Both => Form::Both,
                Source::Completion => Form::Completion,
            },
            max_tokens: what.max_tokens as usize,
            packing: what.packing,
            length_bucketing: what.length_bucketing,
            validation_share: what.validation_share,
        };
        how.on_threads(|| next_token::run(task, &what.optimisation(), how, ctx))
    }
}
