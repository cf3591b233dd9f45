//! `iota debug logits`: next-token logits of given token sequences.

use super::{loaded::ModelArgs, padded::Padded};
use crate::{commands::say, exit::Exit};
use anyhow::{Context as _, ensure};
use clap::Args;
use model::{
    arrays::Arrays,
    network::Workspace,
    parameters::{Parameters, Tensor},
    safetensors_file,
};
use std::path::PathBuf;

/// Reads a safetensors file with `ids` i64 [B, T] and optionally `attention_mask` [B, T]
/// (1 = a real token, padding on either side), writes one with `logits` f32 [B, T, V]:
/// `logits[b, t]` are the scores of the token after `ids[b, t]`, 0 at padding.
///
/// Example: iota debug logits --model DIR --ids batch.safetensors --out logits.safetensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct LogitsArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The file with `ids` and `attention_mask`.
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What was computed, as JSON: {"v", "rows", "columns", "tokens", "vocabulary", "out"}.
    #[arg(long)]
    json: bool,
}

pub(super) fn logits(args: &LogitsArgs) -> anyhow::Result<Exit> {
    let loaded = args.model.load()?;
    let config = loaded.network.config();
    ensure!(
        config.architecture.has_head(),
        "{} is a reward model, which scores sequences and predicts no tokens",
        args.model.model.display()
    );
    let named = || format!("{} cannot be used", args.ids.display());
    let batch = Arrays::open(&args.ids)
        .and_then(|arrays| Padded::read(&arrays, "ids"))
        .with_context(named)?;
    let (vocab, weights) = (config.vocab_size, loaded.weights());
    let mut workspace = Workspace::new();
    let mut out = Tensor::zeros(&[batch.rows, batch.columns, vocab]);
    let mut tokens = 0;
    for (row, out) in out.data.chunks_exact_mut(batch.columns * vocab).enumerate() {
        // Row by row: memory stays that of the longest.
        let Some(sequence) = batch.batch(row).with_context(named)? else {
            continue;
        };
        loaded
            .network
            .forward(weights, &sequence, &mut workspace)
            .with_context(|| format!("row {row}"))
            .with_context(named)?;
        let logits = loaded.network.logits(weights, &workspace);
        for (column, logits) in batch.real(row).into_iter().zip(logits.chunks_exact(vocab)) {
            out[column * vocab..][..vocab].copy_from_slice(logits);
        }
        tokens += sequence.len();
    }
    ensure!(tokens > 0, "{}: every token is masked", args.ids.display());
    let out = Parameters::from_iter([("logits".to_owned(), out)]);
    safetensors_file::write(&out, &args.out)?;
    if args.json {
        say!(
            "{}",
            serde_json::json!({
                "v": 1,
                "rows": batch.rows,
                "columns": batch.columns,
                "tokens": tokens,
                "vocabulary": vocab,
                "out": args.out,
            })
        );
    } else {
        say!(
            "{}: logits [{}, {}, {vocab}] of {tokens} tokens",
            args.out.display(),
            batch.rows,
            batch.columns
        );
    }
    Ok(Exit::Success)
}
