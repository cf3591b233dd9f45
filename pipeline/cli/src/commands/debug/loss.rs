//! `iota debug loss`: a training loss with its parts, and its gradients on request.
//!
//! The objectives of the training stages themselves, on a batch from a file instead of tables,
//! so that what is compared with other implementations is what trains. `batch` reads the file,
//! `pairs` and `tokens` compute.

mod batch;
mod pairs;
mod tokens;

use super::loaded::{Loaded, ModelArgs};
use crate::{commands::say, exit::Exit};
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use model::{arrays::Arrays, optimizer::gradient_norm, parameters::Parameters, safetensors_file};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Fine-tuning.
    Sft,
    /// Direct preference optimisation.
    Dpo,
    /// Odds-ratio preference optimisation.
    Orpo,
    /// Reward model.
    Rm,
    /// Proximal policy optimisation, one mini-batch.
    Ppo,
}

/// Reads a safetensors batch and computes the loss that training would have on it.
///
/// `input_ids` i64 [B, T] and `attention_mask` [B, T] are always read (1 = a real token). Also:
///   sft   `labels` i64 [B, T], -100 = not in the loss
///   dpo   `completion_mask` [B, T], or `labels`; rows are all chosen, then all rejected
///   orpo  `labels`, or `completion_mask`; rows as for dpo
///   rm    rows as for dpo; scores are read at the last real token; optional `margin` [B/2]
///   ppo   `response_mask` [B, T-1] (1 where the next token was sampled), `v_head.weight` [1, H],
///         `v_head.bias` [1]; `advantages` and `returns`, or `scores` [B] to make them from;
///         optional `old_logprobs`, `old_values`, `ref_logprobs` [B, T-1] (otherwise computed)
///         and `policy.NAME`, weights in place of the model's
/// Names may have the prefix `padded_`. The reference of dpo and ppo is --reference, or the model
/// with its adapter off. Gradients are of the adapter if there is one, else of every weight;
/// they are named as PEFT or transformers name the tensors.
///
/// Example: iota debug loss --kind dpo --model DIR --adapter DIR --batch FILE --beta 0.1 --json
#[allow(rustdoc::broken_intra_doc_links)] // the help's brackets are shapes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct LossArgs {
    /// Which loss.
    #[arg(long)]
    kind: Kind,
    #[command(flatten)]
    model: ModelArgs,
    /// The batch.
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,
    /// Where to write the gradients, as safetensors.
    #[arg(long, value_name = "FILE")]
    grads: Option<PathBuf>,
    /// A model folder of the same shape in place of the model with its adapter off.
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    #[command(flatten)]
    pairs: pairs::Options,
    #[command(flatten)]
    tokens: tokens::Options,
    /// The result as JSON: {"v", "kind", "loss", "grad_norm", "numbers", "rows"}.
    #[arg(long)]
    json: bool,
}

/// What was computed.
struct Found {
    loss: f64,
    /// Means over the batch.
    numbers: Map<String, Value>,
    /// Values of single sequences or tokens.
    rows: Map<String, Value>,
    gradients: Parameters,
}

pub(super) fn loss(args: &LossArgs) -> anyhow::Result<Exit> {
    let loaded = args.model.load()?;
    let named = || format!("{} cannot be used", args.batch.display());
    let arrays = Arrays::open(&args.batch).with_context(named)?;
    let scores = !loaded.network.config().architecture.has_head();
    ensure!(
        scores == (args.kind == Kind::Rm),
        "{} is a {}: `rm` wants a LlamaForSequenceClassification, the others a language model",
        args.model.model.display(),
        loaded.network.config().architecture.name()
    );
    let reference = reference(args, &loaded)?;
    let found = match args.kind {
        Kind::Sft => tokens::sft(&loaded, &arrays),
        Kind::Ppo => tokens::ppo(&args.tokens, &loaded, reference.as_ref(), &arrays),
        Kind::Dpo => pairs::dpo(&args.pairs, &loaded, reference.as_ref(), &arrays),
        Kind::Orpo => pairs::orpo(&args.pairs, &loaded, &arrays),
        Kind::Rm => pairs::rm(&args.pairs, &loaded, &arrays),
    }
    .with_context(named)?;
    let norm = gradient_norm(&found.gradients);
    if let Some(path) = &args.grads {
        let tensors = found.gradients.tensors.into_iter();
        let renamed = tensors.map(|(name, tensor)| (public_name(&name), tensor));
        safetensors_file::write(&renamed.collect(), path)?;
    }
    if args.json {
        let kind = args.kind.to_possible_value();
        let kind = kind.as_ref().map(clap::builder::PossibleValue::get_name);
        say!(
            "{}",
            json!({
                "v": 1,
                "kind": kind,
                "loss": found.loss,
                "grad_norm": norm,
                "numbers": found.numbers,
                "rows": found.rows,
            })
        );
    } else {
        say!("loss {:.6}, gradient norm {norm:.6}", found.loss);
        for (name, value) in &found.numbers {
            say!("{name} {value}");
        }
    }
    Ok(Exit::Success)
}

fn reference(args: &LossArgs, loaded: &Loaded) -> anyhow::Result<Option<Parameters>> {
    let Some(folder) = &args.reference else {
        return Ok(None);
    };
    let reference = model::checkpoint::Checkpoint::load(folder)?.parameters;
    loaded
        .network
        .check(&reference)
        .with_context(|| format!("--reference {} is another model", folder.display()))?;
    Ok(Some(reference))
}

/// The name that PEFT, transformers or TRL give a trained tensor.
fn public_name(name: &str) -> String {
    let plain = name
        .replace(".lora_A.default.", ".lora_A.")
        .replace(".lora_B.default.", ".lora_B.")
        .replace(".modules_to_save.default.", ".");
    if plain == name {
        name.replace("v_head.summary.", "v_head.")
    } else {
        format!("base_model.model.{plain}")
    }
}
