//! Half-done work of one key: checkpoints and shards that survive a kill.
//!
//! Kept under `partial/<key>/`, so that a changed learning rate can never resume another
//! run's state. Invisible downstream, removed when the key is committed. A checkpoint or
//! shard is there whole or not at all: it is written beside, synced, then renamed.

use crate::{
    Digest, Result, Store,
    disk::{remove, sync_all_below, sync_dir, sync_file, unique, write_atomic},
    fault,
};
use std::path::{Path, PathBuf};

/// How many checkpoints are kept.
const KEEP: usize = 2;

/// A complete checkpoint of a half-done stage.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The step after which it was written.
    pub step: u64,
    /// Its directory.
    pub dir: PathBuf,
}

/// The half-done work of one key.
#[derive(Clone, Debug)]
pub struct Partial {
    root: PathBuf,
    tmp: PathBuf,
}

impl Store {
    /// The half-done work of a key; nothing is made until something is written.
    pub fn partial(&self, key: Digest) -> Partial {
        Partial {
            root: self.partial_dir(key),
            tmp: self.tmp(),
        }
    }
}

impl Partial {
    /// Whether there is anything to resume from.
    pub fn exists(&self) -> bool {
        self.latest().is_ok_and(|latest| latest.is_some()) || self.shards_done() > 0
    }

    /// The latest complete checkpoint.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        let name = match fs_err::read_to_string(self.root.join("LATEST")) {
            Ok(name) => name.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let dir = self.root.join(&name);
        Ok(name
            .strip_prefix("step-")
            .and_then(|step| step.parse().ok())
            .filter(|_| dir.is_dir())
            .map(|step| Checkpoint { step, dir }))
    }

    /// Writes the checkpoint of a step: `write` fills a directory, which then appears whole.
    pub fn checkpoint<E: From<crate::Error>>(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let staging = self.tmp.join(format!("checkpoint-{}", unique()));
        fs_err::create_dir_all(&staging).map_err(crate::Error::from)?;
        write(&staging)?;
        self.adopt_checkpoint(step, &staging).map_err(E::from)
    }

    fn adopt_checkpoint(&self, step: u64, staging: &Path) -> Result<()> {
        sync_all_below(staging)?;
        fault::point("checkpoint.written");
        fs_err::create_dir_all(&self.root)?;
        let name = format!("step-{step:08}");
        let target = self.root.join(&name);
        remove(&target)?;
        fs_err::rename(staging, &target)?;
        sync_dir(&self.root)?;
        fault::point("checkpoint.renamed");
        write_atomic(&self.root.join("LATEST"), name.as_bytes(), &self.tmp, || {})?;
        fault::point("checkpoint.latest");
        let mut steps: Vec<String> = crate::refs::names(&self.root)?
            .into_iter()
            .filter(|other| other.starts_with("step-"))
            .collect();
        // The one just written is LATEST whatever its number; the others go oldest first.
        steps.retain(|other| *other != name);
        for old in steps.iter().rev().skip(KEEP - 1) {
            remove(&self.root.join(old))?;
        }
        Ok(())
    }

    /// Where a finished shard lies.
    pub fn shard_path(&self, index: usize) -> PathBuf {
        self.root.join("shards").join(format!("{index:06}"))
    }

    /// How many shards are finished.
    pub fn shards_done(&self) -> usize {
        crate::refs::names(&self.root.join("shards")).map_or(0, |names| names.len())
    }

    /// Whether a shard is finished.
    pub fn has_shard(&self, index: usize) -> bool {
        self.shard_path(index).is_file()
    }

    /// Writes a shard: `write` makes a file, which then appears whole. Callable from threads.
    pub fn write_shard<E: From<crate::Error>>(
        &self,
        index: usize,
        write: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let staging = self.tmp.join(format!("shard-{}", unique()));
        write(&staging)?;
        self.adopt_shard(index, &staging).map_err(E::from)
    }

    fn adopt_shard(&self, index: usize, staging: &Path) -> Result<()> {
        sync_file(staging)?;
        fault::point("shard.written");
        let target = self.shard_path(index);
        let parent = target.parent().expect("below shards");
        fs_err::create_dir_all(parent)?;
        fs_err::rename(staging, &target)?;
        sync_dir(parent)?;
        fault::point("shard.renamed");
        Ok(())
    }

    /// Whether anything at all lies here.
    pub fn is_there(&self) -> bool {
        self.root.exists()
    }

    /// Removes all of it.
    pub fn remove(&self) -> Result<()> {
        remove(&self.root)?;
        fault::point("partial.removed");
        Ok(())
    }
}
