//! The store's root directory, its layout, and its traces.
//!
//! ```text
//! FORMAT                    "iota-store 1"
//! objects/ab/cdef…          file contents, read-only, named by their hash
//! trees/ab/cdef….json       manifests of directory artifacts
//! checkouts/ab/cdef…/       the same directories, as links into objects/
//! traces/<stage>/<key>.json one record per finished key: the commit point
//! refs/<recipe>/<node>/…    stable links for people and for polars
//! runs/<recipe>/<time>.json which keys a run used: roots for gc
//! pins/<name>.json          roots that stay
//! partial/<key>/            checkpoints and shards of half-done stages
//! locks/<key>.lock  .lock   operating-system locks
//! index/stat.json           what data files hashed to
//! tmp/  logs/               staging; text logs, never addressed
//! ```

use crate::{
    Address, Digest, Error, Manifest, Result, Trace,
    disk::{remove, write_atomic},
    fault,
    lock::StoreLock,
};
use std::path::{Path, PathBuf};

pub(crate) const FORMAT: &str = "iota-store 1";

/// An open store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it if there is none.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs_err::create_dir_all(&root)?;
        let root = fs_err::canonicalize(&root)?;
        let store = Self { root };
        let path = store.root.join("FORMAT");
        match fs_err::read_to_string(&path) {
            Ok(found) if found.trim() == FORMAT => {}
            Ok(found) => {
                return Err(Error::Format {
                    path,
                    found: found.trim().to_owned(),
                    wanted: FORMAT,
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs_err::create_dir_all(store.tmp())?;
                write_atomic(&path, format!("{FORMAT}\n").as_bytes(), &store.tmp(), || {})?;
            }
            Err(error) => return Err(error.into()),
        }
        for directory in [
            "objects", "trees", "traces", "refs", "partial", "locks", "tmp",
        ] {
            let path = store.root.join(directory);
            if !path.is_dir() {
                fs_err::create_dir_all(path)?;
            }
        }
        Ok(store)
    }

    /// The store's directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where staging directories are made: the same file system as `objects/`.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The log directory of one node's run.
    pub fn log_dir(&self, recipe: &str, node: &str, key: Digest) -> PathBuf {
        self.root
            .join("logs")
            .join(recipe)
            .join(format!("{node}-{}", key.short()))
    }

    /// Takes the store's lock: shared while it is used, exclusive to collect garbage.
    pub fn lock_shared(&self) -> Result<StoreLock> {
        StoreLock::shared(&self.root.join(".lock"))
    }

    /// Waits until nobody else uses the store, then keeps others out.
    pub fn lock_exclusive(&self) -> Result<StoreLock> {
        StoreLock::exclusive(&self.root.join(".lock"))
    }

    pub(crate) fn sharded(&self, directory: &str, digest: Digest, suffix: &str) -> PathBuf {
        let hex = digest.to_string();
        self.root
            .join(directory)
            .join(&hex[..2])
            .join(format!("{}{suffix}", &hex[2..]))
    }

    /// Where an object's bytes lie, whether they are there or not.
    pub fn object_path(&self, digest: Digest) -> PathBuf {
        self.sharded("objects", digest, "")
    }

    pub(crate) fn manifest_path(&self, digest: Digest) -> PathBuf {
        self.sharded("trees", digest, ".json")
    }

    /// A directory artifact's manifest.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest> {
        let path = self.manifest_path(digest);
        let bytes = match fs_err::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing(Address::Tree(digest)));
            }
            other => other?,
        };
        serde_json::from_slice(&bytes).map_err(|source| Error::Record { path, source })
    }

    pub(crate) fn trace_path(&self, stage: &str, key: Digest) -> PathBuf {
        self.root
            .join("traces")
            .join(stage)
            .join(format!("{key}.json"))
    }

    /// The trace of a key, if there is one; its objects are not looked at.
    pub fn trace(&self, stage: &str, key: Digest) -> Result<Option<Trace>> {
        let path = self.trace_path(stage, key);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| Error::Record { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The trace of a key if every object it names is there with the recorded length.
    pub fn complete_trace(&self, stage: &str, key: Digest) -> Result<Option<Trace>> {
        let Some(trace) = self.trace(stage, key)? else {
            return Ok(None);
        };
        for output in trace.outputs.values() {
            if !self.is_present(output.address, Some(output.bytes))? {
                return Ok(None);
            }
        }
        Ok(Some(trace))
    }

    /// Whether an artifact's files are all there, each with the length that is known of it.
    pub fn is_present(&self, address: Address, bytes: Option<u64>) -> Result<bool> {
        match address {
            Address::Object(digest) => Ok(std::fs::metadata(self.object_path(digest))
                .is_ok_and(|meta| bytes.is_none_or(|bytes| meta.len() == bytes))),
            Address::Tree(digest) => match self.manifest(digest) {
                Ok(manifest) => Ok(manifest.entries.iter().all(|entry| {
                    std::fs::metadata(self.object_path(entry.b3))
                        .is_ok_and(|meta| meta.len() == entry.bytes)
                })),
                Err(Error::Missing(_)) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// Commits a finished stage. Everything its outputs name must be published already; an
    /// older trace of the same key is kept beside it, since a stage may not be
    /// deterministic (on a GPU) and its old outputs may still be in use.
    pub fn commit(&self, trace: &Trace) -> Result<()> {
        let path = self.trace_path(&trace.stage, trace.key);
        if let Ok(Some(old)) = self.trace(&trace.stage, trace.key)
            && old.outputs != trace.outputs
        {
            let kept = (1..=u32::MAX)
                .map(|n| path.with_extension(format!("{n}.json")))
                .find(|path| !path.exists())
                .expect("there is a free number");
            fs_err::copy(&path, kept)?;
        }
        let mut bytes = serde_json::to_vec_pretty(trace).expect("a trace is plain data");
        bytes.push(b'\n');
        write_atomic(&path, &bytes, &self.tmp(), || {
            fault::point("publish.trace.written");
        })?;
        fault::point("publish.trace.renamed");
        Ok(())
    }

    /// Forgets a key: its trace goes, its objects stay for `gc`.
    pub fn forget(&self, stage: &str, key: Digest) -> Result<()> {
        remove(&self.trace_path(stage, key))
    }

    /// All traces of a stage, newest first; damaged ones are skipped (`verify` tells).
    pub fn traces(&self, stage: &str) -> Result<Vec<Trace>> {
        let directory = self.root.join("traces").join(stage);
        let mut traces = Vec::new();
        let entries = match fs_err::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(traces),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            // `<key>.<n>.json` is an older result of the same key.
            let is_current = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.len() == 64 + ".json".len());
            if is_current && let Ok(trace) = serde_json::from_slice::<Trace>(&fs_err::read(&path)?)
            {
                traces.push(trace);
            }
        }
        traces.sort_by(|a, b| b.started.cmp(&a.started).then(a.key.cmp(&b.key)));
        Ok(traces)
    }

    /// The names of all stages that have traces.
    pub fn traced_stages(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = fs_err::read_dir(self.root.join("traces"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }
}
