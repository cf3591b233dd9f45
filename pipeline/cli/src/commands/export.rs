//! `iota export`: a model folder for others, from a folder or a GGUF file.
//!
//! Another number format, numbered files, an adapter put into the weights: what a reader of the
//! result wants and training here does not need. Tokenizer files are carried along unchanged.

use super::{
    debug::loaded::{Loaded, ModelArgs},
    say,
};
use crate::{exit::Exit, render::human};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use model::{
    checkpoint::{Checkpoint, Layout},
    safetensors_file::Dtype,
};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    F32,
    Bf16,
    F16,
}

/// Example: iota export --model artifacts/refs/mini/sft/model --dtype bf16 --out for-upload
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The folder to write; it must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number format of the weights.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Format,
    /// Largest weight file, such as 5GB or 500MiB; without it there is one file.
    #[arg(long, value_name = "SIZE")]
    max_shard: Option<bytesize::ByteSize>,
    /// What was written, as JSON: {"v", "out", "parameters", "largest_change"}.
    #[arg(long)]
    json: bool,
}

/// Writes the folder.
pub(super) fn export(args: &ExportArgs) -> Result<Exit> {
    let occupied = args.out.exists() && fs_err::read_dir(&args.out)?.next().is_some();
    ensure!(
        !occupied,
        "{} is there and not empty: name another folder, or remove it",
        args.out.display()
    );
    let Loaded {
        network,
        parameters,
        adapter,
    } = args.model.load()?;
    let mut checkpoint = Checkpoint {
        config: network.config().clone(),
        parameters,
    };
    let largest_change = adapter.map(|adapter| adapter.merge(&mut checkpoint));
    let layout = Layout {
        dtype: match args.dtype {
            Format::F32 => Dtype::F32,
            Format::Bf16 => Dtype::Bf16,
            Format::F16 => Dtype::F16,
        },
        max_shard_bytes: args.max_shard.map_or(u64::MAX, |size| size.as_u64()),
    };
    let source = args.model.model.is_dir().then_some(&*args.model.model);
    checkpoint.save_as(&args.out, source, layout)?;
    let parameters = checkpoint.parameters.count();
    if args.json {
        say!(
            "{}",
            serde_json::json!({
                "v": 1,
                "out": args.out,
                "parameters": parameters,
                "largest_change": largest_change,
            })
        );
    } else {
        let merged = largest_change
            .map(|change| format!(", the adapter changed weights by up to {change:.2e}"))
            .unwrap_or_default();
        say!(
            "{}: {} parameters{merged}",
            args.out.display(),
            human::count(parameters as u64)
        );
    }
    Ok(Exit::Success)
}
