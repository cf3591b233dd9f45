//! The index of data files: path, size, times and inode to BLAKE3, so that gigabytes of
//! input are not read again on every call.
//!
//! The rule is git's: an entry counts only if the file is older than the moment it was
//! hashed by more than the clock's grain; a file changed in the same instant is read again.

use crate::{Digest, Result, Store, disk::write_atomic, hash_file};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The coarsest file-time grain that the rule allows for, in nanoseconds.
const GRAIN_NS: i128 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    bytes: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
    device: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stat: Stat,
    hashed_at_ns: i128,
    b3: Digest,
}

/// What data files hash to, remembered by their stat.
#[derive(Debug)]
pub struct StatIndex {
    path: PathBuf,
    tmp: PathBuf,
    known: BTreeMap<String, Known>,
    dirty: bool,
}

impl Store {
    /// Reads the index; a damaged one counts as empty, since it can be made again.
    pub fn stat_index(&self) -> StatIndex {
        let path = self.root().join("index").join("stat.json");
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        StatIndex {
            path,
            tmp: self.tmp(),
            known,
            dirty: false,
        }
    }
}

impl StatIndex {
    /// The digest and length of a file, from the index if it is unchanged.
    pub fn hash(&mut self, path: &Path) -> Result<(Digest, u64)> {
        let path = fs_err::canonicalize(path)?;
        let stat = stat_of(&path)?;
        let name = path.to_string_lossy().into_owned();
        if let Some(known) = self.known.get(&name)
            && known.stat == stat
            && stat.mtime_ns.max(stat.ctime_ns) + GRAIN_NS < known.hashed_at_ns
        {
            return Ok((known.b3, stat.bytes));
        }
        let hashed_at_ns = now_ns();
        let (b3, bytes) = hash_file(&path)?;
        self.known.insert(
            name,
            Known {
                stat,
                hashed_at_ns,
                b3,
            },
        );
        self.dirty = true;
        Ok((b3, bytes))
    }

    /// Writes the index if it changed.
    pub fn save(&mut self) -> Result<()> {
        if self.dirty {
            let bytes = serde_json::to_vec_pretty(&self.known).expect("plain data");
            write_atomic(&self.path, &bytes, &self.tmp, || {})?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn now_ns() -> i128 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

fn stat_of(path: &Path) -> Result<Stat> {
    let meta = fs_err::metadata(path)?;
    Ok(Stat {
        bytes: meta.len(),
        mtime_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        ctime_ns: i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()),
        inode: meta.ino(),
        device: meta.dev(),
    })
}
