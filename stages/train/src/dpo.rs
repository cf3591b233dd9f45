//! Stage `dpo`: direct preference optimisation (paper, section 3, Eq. 3).
//!
//! Reads a model folder and `triplets`. The reference is the model itself before training (the
//! adapter off); its log-probabilities of the pairs that training meets and of those of validation
//! are computed once, in resumable pieces, and are an output.
//! The loss of a pair is in `dpo/loss.rs`. The first update is checked at run time: policy and
//! reference are still one model, so every pair has the loss of two equal models (ln 2).
//!
//! | in | out |
//! |---|---|
//! | `model` tree, `triplets` table | `model` tree, `adapter` tree, `metrics` and `reference` tables |

pub mod loss;
pub mod objective;

use crate::examples::Encoder;
use crate::pairs::{self, Pair};
use crate::plan;
use crate::settings::{How, place};
use crate::training_loop;
use crate::training_settings;
use crate::tuning::{self, Lora, Pass, Train};
use anyhow::Result;
use corpus::table;
use engine::{Ctx, Input, Invalid, Output, Stage};
use loss::{Options, Variant};
use model::checkpoint::Checkpoint;
use model::parameters::Parameters;
use objective::{Judged, Preference};

training_settings! {
    /// Settings of `dpo` that change the result; learning rate, window of 64 pairs, `beta` and
    /// the adapter's rank are the paper's.
    pub struct What {
        learning_rate: 1e-6, warmup_steps: 0, batch_size: 1, accumulation: 32, ranks: 2;
        /// Longest sequence in tokens; pairs with a longer one are dropped.
        max_tokens: u64 = 4000,
        /// How much the policy is bound to the reference.
        beta: f64 = 1.0,
        /// `sigmoid`, `sigmoid_norm`, `hinge`, `ipo`, `ipo_sum`, `robust`, `exo_pair` or `apo_zero`.
        loss: Variant = Variant::Sigmoid,
        /// Share of pairs believed to be the wrong way round.
        label_smoothing: f64 = 0.0,
        /// Weight of the chosen answer's own negative log-likelihood (mean over its tokens).
        nll_weight: f64 = 0.0,
        /// What is trained: `adapter` or `full`.
        train: Train = Train::Adapter,
        /// Shape of the adapter.
        adapter: Lora = Lora::default(),
        /// Whether the adapter acts on the output head too: the paper leaves out the embedding alone.
        lm_head: bool = true,
    }
}

impl What {
    fn options(&self) -> Options {
        Options {
            variant: self.loss,
            beta: self.beta,
            label_smoothing: self.label_smoothing,
            nll_weight: self.nll_weight,
        }
    }
}

corpus::table! {
    /// Log-probabilities of both answers of a pair under the reference, in nats.
    pub struct Reference in "reference" {
        /// Solution id of the right program.
        pub chosen_id: String,
        /// Solution id of the wrong program.
        pub rejected_id: String,
        /// Sum over the tokens of the right answer.
        pub chosen_log_prob: f64,
        /// Sum over the tokens of the wrong answer.
        pub rejected_log_prob: f64,
    }
}

/// Pairs of one piece of the reference pass.
const PAIRS_AT_ONCE: usize = 256;

/// Stage `dpo`.
pub struct Dpo;

impl Stage for Dpo {
    const NAME: &'static str = "dpo";
    /// 1: first version. 2: the shares of `ranks` are summed in a tree. 3: products are summed in
    /// another order. 4: `reference` has the pairs that training meets and those of validation.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "Trains a model to prefer right programs to wrong ones, by DPO";
    const INPUTS: &'static [Input] = &[Input::tree("model"), Input::table("triplets")];
    const OUTPUTS: &'static [Output] = &[
        Output::tree("model"),
        Output::tree("adapter"),
        Output::table("metrics"),
        Output::table("reference"),
    ];
    const JOINS: bool = true;
    const SOURCES: &'static [&'static str] = &[
        "train/src/dpo.rs",
        "train/src/dpo",
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
            what.beta > 0.0 && what.beta.is_finite(),
            "beta",
            "must be above 0, or the loss does not depend on the answers",
        )?;
        Invalid::unless(
            (0.0..0.5).contains(&what.label_smoothing),
            "label_smoothing",
            "must be at least 0 and below 0.5, where both answers would be as good",
        )?;
        Invalid::unless(
            what.loss != Variant::ExoPair || what.label_smoothing > 0.0,
            "label_smoothing",
            "must be above 0 for exo_pair, which takes its logarithm",
        )?;
        let smoothed = matches!(
            what.loss,
            Variant::Sigmoid | Variant::SigmoidNorm | Variant::Robust | Variant::ExoPair
        );
        Invalid::unless(
            smoothed || what.label_smoothing == 0.0,
            "label_smoothing",
            "must be 0 for this loss, which does not use it",
        )?;
        Invalid::unless(
            what.nll_weight >= 0.0 && what.nll_weight.is_finite(),
            "nll_weight",
            "must be 0 or more",
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
    let settings = what.optimisation();
    let mut objective = Preference::new(tuned, what.options(), what.batch_size as usize);
    let unknown = |pairs: Vec<Pair>| Judged {
        reference: vec![[f64::NAN; 2]; pairs.len()],
        pairs,
    };
    objective.set_pairs(unknown(loaded.train), unknown(loaded.validation));
    let met = plan::met(&mut objective, &settings, ctx.seed());
    let (mut train, mut validation) = objective.take_pairs();
    let asked: Vec<&Pair> = met
        .iter()
        .map(|&item| &train.pairs[item as usize])
        .chain(&validation.pairs)
        .collect();
    let mut found = reference(ctx, &mut objective, &parameters, &asked)?;
    validation.reference = found.split_off(met.len());
    for (item, found) in met.into_iter().zip(found) {
        train.reference[item as usize] = found;
    }
    objective.set_pairs(train, validation);
    let outcome = training_loop::train(&mut objective, parameters, &settings, how, ctx)?;
    outcome.metrics.write(&ctx.output("metrics"))?;
    tuning::write(ctx, objective.tuned(), outcome.parameters, folder)
}

/// The reference's log-probabilities of pairs; writes output `reference`.
fn reference(
    ctx: &Ctx,
    objective: &mut Preference,
    parameters: &Parameters,
    asked: &[&Pair],
) -> Result<Vec<[f64; 2]>> {
    let pieces: Vec<&[&Pair]> = asked.chunks(PAIRS_AT_ONCE).collect();
    let shards = ctx.shards(pieces.len())?;
    let progress = ctx.progress("reference", "pairs", Some(asked.len() as u64));
    let mut rows = Vec::with_capacity(asked.len());
    for (index, &pairs) in pieces.iter().enumerate() {
        ctx.check_cancelled()?;
        if !shards.is_done(index) {
            let found = objective.log_probs(parameters, pairs, Pass::Base)?;
            let made = pairs
                .iter()
                .zip(found)
                .map(|(pair, [chosen, rejected])| Reference {
                    chosen_id: pair.ids[0].clone(),
                    rejected_id: pair.ids[1].clone(),
                    chosen_log_prob: chosen,
                    rejected_log_prob: rejected,
                });
            shards.write(index, |path| table::write(path, made).map(|_| ()))?;
        }
        rows.extend(table::read::<Reference>(
            &shards.path(index),
            "a finished piece of the reference",
        )?);
        progress.inc(pairs.len() as u64);
    }
    let values = rows
        .iter()
        .map(|row| [row.chosen_log_prob, row.rejected_log_prob])
        .collect();
    table::write(&ctx.output("reference"), rows)?;
    Ok(values)
}
