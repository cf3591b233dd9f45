//! Tables by name: where they lie, whether they are Parquet at all, and a lazy scan of them.
//!
//! Used by `sql` and `describe`. Object files of the store have no extension, so what a file
//! is gets decided by its first and last bytes, before polars is asked.

use anyhow::{Context as _, bail};
use polars::prelude::{LazyFrame, PlRefPath, PolarsError, ScanArgsParquet};
use std::{
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The bytes at both ends of a Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";

/// A named Parquet file.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its name in queries.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

/// Reads `NAME=PATH`.
pub(crate) fn parse(text: &str) -> Result<Table, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Table {
            name: name.to_owned(),
            path: path.into(),
        }),
        _ => Err(
            "expected NAME=PATH, as in `samples=artifacts/refs/mini/mix/samples.parquet`".into(),
        ),
    }
}

/// A lazy scan of a file that has the frame of a Parquet file.
pub(crate) fn scan(path: &Path) -> anyhow::Result<LazyFrame> {
    check(path)?;
    // polars takes a directory for a data set of many files and `*` for a pattern.
    let arguments = ScanArgsParquet {
        glob: false,
        ..ScanArgsParquet::default()
    };
    PlRefPath::try_from_path(path)
        .and_then(|path| LazyFrame::scan_parquet(path, arguments))
        .map_err(|error| plain(&error))
        .with_context(|| format!("cannot read `{}`", path.display()))
}

fn check(path: &Path) -> anyhow::Result<()> {
    if fs_err::metadata(path)?.is_dir() {
        bail!("`{}` is a directory, not a Parquet file", path.display());
    }
    let mut file = fs_err::File::open(path)?;
    let mut ends = [[0; 4]; 2];
    let mut read = || {
        file.read_exact(&mut ends[0])?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut ends[1])
    };
    match read() {
        Ok(()) if ends == [*MAGIC, *MAGIC] => Ok(()),
        Ok(()) if ends[0] == *MAGIC => bail!(
            "`{}` is a Parquet file that was cut off: its footer is missing; make it again",
            path.display()
        ),
        Ok(()) => bail!("`{}` is not a Parquet file", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            bail!(
                "`{}` is not a Parquet file: it is too short",
                path.display()
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            bail!(
                "`{}` is not a Parquet file: it is too short",
                path.display()
            )
        }
        Err(error) => Err(error.into()),
    }
}

/// What polars says, on one line and without its query plan.
pub(crate) fn plain(error: &PolarsError) -> anyhow::Error {
    let text = error.to_string();
    let text = text.split("\n\nResolved plan").next().unwrap_or_default();
    anyhow::Error::msg(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
