//! `iota debug`: what a model computes, as numbers in files, to hold it against other
//! implementations.
//!
//! One file per quantity; `padded` reads the batches that transformers writes, `loaded` the
//! model. Nothing here is an artifact: files are read and written where the caller says.

mod bench_step;
pub(super) mod loaded;
mod logits;
mod loss;
mod padded;

use crate::{args::Args, exit::Exit};
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct DebugArgs {
    /// Which numbers.
    #[command(subcommand)]
    action: DebugAction,
}

#[derive(Debug, Subcommand)]
enum DebugAction {
    /// The logits of token sequences.
    Logits(logits::LogitsArgs),
    /// A loss with its parts and gradients.
    Loss(loss::LossArgs),
    /// How long steps of training and sampling take, on a model with random weights.
    #[command(hide = true)]
    BenchStep(bench_step::BenchStepArgs),
}

/// Computes what is asked for.
pub(super) fn debug(all: &Args, args: &DebugArgs) -> anyhow::Result<Exit> {
    match &args.action {
        DebugAction::BenchStep(args) => bench_step::bench_step(all.device, args),
        DebugAction::Logits(args) => logits::logits(args),
        DebugAction::Loss(args) => loss::loss(args),
    }
}
