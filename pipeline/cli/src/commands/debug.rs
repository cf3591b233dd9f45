//! `iota debug`: what a model computes, as numbers in files, to hold it against other
//! implementations.
//!
//! One file per quantity; `padded` reads the batches that transformers writes, `loaded` the
//! model. Nothing here is an artifact: files are read and written where the caller says.

pub(super) mod loaded;
mod logits;
mod loss;
mod padded;

use crate::exit::Exit;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
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
}

/// Computes what is asked for.
pub(super) fn debug(args: &DebugArgs) -> anyhow::Result<Exit> {
    match &args.action {
        DebugAction::Logits(args) => logits::logits(args),
        DebugAction::Loss(args) => loss::loss(args),
    }
}
