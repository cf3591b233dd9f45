//! `iota fetch`: files of a Hugging Face repository into a folder that a recipe can name.
//!
//! A command and not a setting of `init`: a stage is a function of content, and what a branch
//! of a repository holds changes. What is fetched is a plain folder, bound to an input with
//! `file:`. `hub` speaks to the server; here is what is chosen, kept and said. The environment is
//! that of huggingface_hub: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.

mod hub;

use super::say;
use crate::{exit::Exit, render::human};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hub::{Hub, Kind, Listing, RemoteFile};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Says in the folder what it holds; read when offline.
const RECORD: &str = ".iota-fetch.json";

/// What a model folder needs, without weights in other formats.
const MODEL_FILES: [&str; 6] = [
    "*.safetensors",
    "*.json",
    "*.jinja",
    "*.txt",
    "*.md",
    "LICENSE*",
];

/// Downloads go on where they stopped; files that are there and whole are left alone.
///
/// Example: iota fetch HuggingFaceTB/SmolLM2-135M --out data/raw/smollm2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct FetchArgs {
    /// OWNER/NAME on the hub.
    repo: String,
    /// A branch, a tag or a commit.
    #[arg(long, default_value = "main")]
    revision: String,
    /// The folder to fill.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The repository is a data set.
    #[arg(long)]
    dataset: bool,
    /// Only files whose path matches, `*` being anything; may be given several times.
    /// Without it: a data set's every file, or a model's safetensors, JSON and text files.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// What was fetched, as JSON: {"v", "repo", "commit", "files", "fetched_bytes"}.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    repo: String,
    revision: String,
    commit: String,
    files: Vec<RemoteFile>,
}

/// Fills the folder.
pub(super) fn fetch(args: &FetchArgs) -> Result<Exit> {
    let offline = std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str()));
    let (record, fetched_bytes) = if offline {
        (recorded(args)?, 0)
    } else {
        online(args)?
    };
    if args.json {
        let files: Vec<_> = record.files.iter().map(|file| &file.path).collect();
        say!(
            "{}",
            serde_json::json!({
                "v": 1,
                "repo": record.repo,
                "commit": record.commit,
                "files": files,
                "fetched_bytes": fetched_bytes,
            })
        );
    } else {
        say!(
            "{}: {} files of {} at {}, {} fetched",
            args.out.display(),
            record.files.len(),
            record.repo,
            record.commit,
            human::bytes(fetched_bytes)
        );
    }
    Ok(Exit::Success)
}

fn online(args: &FetchArgs) -> Result<(Record, u64)> {
    let kind = if args.dataset {
        Kind::Dataset
    } else {
        Kind::Model
    };
    let hub = Hub::from_environment(kind, &args.repo)?;
    let listing = hub.list(&args.revision)?;
    let files = chosen(args, &listing)?;
    fs_err::create_dir_all(&args.out)?;
    let mut fetched_bytes = 0;
    for file in &files {
        let target = args.out.join(&file.path);
        if file.is_whole(&target)? {
            continue;
        }
        anstream::eprintln!(
            "{} {}",
            file.path,
            file.bytes.map(human::bytes).unwrap_or_default()
        );
        fetched_bytes += hub
            .download(&listing.commit, file, &target)
            .with_context(|| {
                format!(
                    "fetching {} of {}; the same command goes on from where it stopped",
                    file.path, args.repo
                )
            })?;
    }
    let record = Record {
        repo: args.repo.clone(),
        revision: args.revision.clone(),
        commit: listing.commit,
        files,
    };
    let mut text = serde_json::to_string_pretty(&record)?;
    text.push('\n');
    fs_err::write(args.out.join(RECORD), text)?;
    Ok((record, fetched_bytes))
}

/// What an earlier run fetched, if that is what is asked for and all of it is there.
fn recorded(args: &FetchArgs) -> Result<Record> {
    let path = args.out.join(RECORD);
    let offline = "HF_HUB_OFFLINE is set";
    ensure!(
        path.exists(),
        "{offline} and {} was not fetched before: unset it, or copy the folder from elsewhere",
        args.out.display()
    );
    let record: Record = serde_json::from_slice(&fs_err::read(&path)?)
        .with_context(|| format!("{} is damaged: remove it", path.display()))?;
    ensure!(
        record.repo == args.repo && [&record.revision, &record.commit].contains(&&args.revision),
        "{offline} and {} holds {} at {} ({}), not {} at {}",
        args.out.display(),
        record.repo,
        record.revision,
        record.commit,
        args.repo,
        args.revision
    );
    for file in &record.files {
        let target = args.out.join(&file.path);
        ensure!(
            file.is_whole(&target)?,
            "{offline} and {} is missing or not what was fetched",
            target.display()
        );
    }
    Ok(record)
}

fn chosen(args: &FetchArgs, listing: &Listing) -> Result<Vec<RemoteFile>> {
    let wanted = |path: &str| {
        if !args.include.is_empty() {
            return args.include.iter().any(|pattern| matches(pattern, path));
        }
        // Folders below a model's are the same weights for other programs.
        args.dataset
            || (!path.contains('/') && MODEL_FILES.iter().any(|pattern| matches(pattern, path)))
    };
    let files: Vec<RemoteFile> = listing
        .files
        .iter()
        .filter(|file| wanted(&file.path))
        .cloned()
        .collect();
    let all = || {
        let paths: Vec<&str> = listing
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        paths.join(", ")
    };
    ensure!(
        !files.is_empty(),
        "no file of {} matches; it has {}",
        args.repo,
        all()
    );
    let weights = files.iter().any(|file| file.path.ends_with(".safetensors"));
    if !args.dataset && args.include.is_empty() && !weights {
        bail!(
            "{} has no safetensors, which alone are read; choose files with --include; it has {}",
            args.repo,
            all()
        );
    }
    for file in &files {
        let plain = Path::new(&file.path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        ensure!(
            plain && !file.path.is_empty(),
            "{} has a file {:?}, whose path leads out of the folder",
            args.repo,
            file.path
        );
    }
    Ok(files)
}

/// Whether a path matches a pattern in which `*` is any text.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|left| {
            (0..=left.len())
                .filter(|&at| left.is_char_boundary(at))
                .any(|at| matches(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_are_any_text() {
        for (pattern, path, wanted) in [
            ("*.json", "config.json", true),
            ("*.json", "config.json5", false),
            (
                "data/train-*-of-*.parquet",
                "data/train-00-of-01.parquet",
                true,
            ),
            (
                "data/train-*-of-*.parquet",
                "data/test-00-of-01.parquet",
                false,
            ),
            ("model.gguf", "model.gguf", true),
            ("model.gguf", "a/model.gguf", false),
            ("*", "", true),
            ("LICENSE*", "LICENSE", true),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
    }
}
