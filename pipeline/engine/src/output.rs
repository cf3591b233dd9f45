//! Is what a stage has written really what it declares?
//!
//! Called between a stage's end and publishing. An exit without an error is not success: a
//! file may be missing, cut or of another format. Only the frames are read (Parquet footer,
//! safetensors header, JSON syntax), so that the engine needs no data libraries.

use crate::{Kind, Output};
use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// What is wrong with an output, if something is.
pub(crate) fn problem(output: &Output, path: &Path) -> std::io::Result<Option<String>> {
    if !path.exists() {
        return Ok(Some("was not written".into()));
    }
    match output.kind {
        Kind::Table => parquet(path),
        Kind::Json => {
            let bytes = fs_err::read(path)?;
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes);
            Ok(parsed.err().map(|error| format!("is not JSON: {error}")))
        }
        Kind::Text | Kind::Page => {
            let bytes = fs_err::read(path)?;
            Ok(std::str::from_utf8(&bytes)
                .err()
                .map(|error| format!("is not UTF-8: {error}")))
        }
        Kind::Tree => tree(path),
        Kind::Any => Ok(None),
    }
}

fn parquet(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = fs_err::File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes < 12 {
        return Ok(Some("is no Parquet file: too short".into()));
    }
    let mut head = [0; 4];
    file.read_exact(&mut head)?;
    let mut tail = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut tail)?;
    let footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if &head != b"PAR1" || &tail[4..] != b"PAR1" {
        return Ok(Some(
            "is no Parquet file: its magic bytes are missing".into(),
        ));
    }
    Ok((footer + 12 > bytes)
        .then(|| "is no Parquet file: its footer is longer than the file".into()))
}

fn tree(path: &Path) -> std::io::Result<Option<String>> {
    let mut empty = true;
    for entry in fs_err::read_dir(path)? {
        let path = entry?.path();
        empty = false;
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
            && let Some(problem) = safetensors(&path)?
        {
            return Ok(Some(format!("has a bad `{}`: {problem}", path.display())));
        }
    }
    Ok(empty.then(|| "is an empty directory".into()))
}

fn safetensors(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = fs_err::File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut length = [0; 8];
    if bytes < 8 {
        return Ok(Some("too short".into()));
    }
    file.read_exact(&mut length)?;
    let header = u64::from_le_bytes(length);
    if header.saturating_add(8) > bytes {
        return Ok(Some("its header is longer than the file".into()));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(&text);
    Ok(parsed
        .err()
        .map(|error| format!("its header is not JSON: {error}")))
}
