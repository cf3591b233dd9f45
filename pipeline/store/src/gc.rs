//! Garbage collection: mark from refs, pins and recent runs through traces, sweep the rest.
//!
//! Dry unless told otherwise. Roots are traces; a trace keeps its outputs and, through its
//! parents, everything it was made from. What is younger than the grace period stays: it may
//! belong to a run that has not committed yet.

use crate::{Address, Digest, Result, Store, Trace, disk::remove, refs::names};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What to keep.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Really delete.
    pub delete: bool,
    /// How many of the last runs of each recipe stay whole.
    pub keep_runs: usize,
    /// What is younger than this stays.
    pub grace: Duration,
}

/// What a collection found (and, if asked, removed).
#[derive(Clone, Debug, Default)]
pub struct GcReport {
    /// Files that can go.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that stay.
    pub kept_bytes: u64,
    /// Traces that can go: stage to (count, wall seconds to compute them again).
    pub traces: BTreeMap<String, (u64, f64)>,
    /// Half-done stages that can go.
    pub partials: u64,
}

impl Store {
    /// Finds, and with `delete` removes, what nothing needs any more.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport> {
        let _lock = self.lock_exclusive()?;
        let young = SystemTime::now()
            .checked_sub(options.grace)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut live_traces = BTreeSet::new();
        let mut live = BTreeSet::new();
        for id in self.roots(options.keep_runs)? {
            self.mark(&id, &mut live_traces, &mut live);
        }
        // Young traces are roots too: somebody may have just made them.
        let mut traces = Vec::new();
        for stage in self.traced_stages()? {
            for name in names(&self.root().join("traces").join(&stage))? {
                let path = self.root().join("traces").join(&stage).join(&name);
                let key = name.split('.').next().unwrap_or_default();
                let id = format!("{stage}/{key}");
                if is_young(&path, young) {
                    self.mark(&id, &mut live_traces, &mut live);
                }
                traces.push((stage.clone(), id, path));
            }
        }
        let mut report = GcReport::default();
        for (stage, id, path) in traces {
            let is_current = path.file_stem().is_some_and(|stem| stem.len() == 64);
            if live_traces.contains(&id) && is_current || is_young(&path, young) {
                continue;
            }
            let wall_s = fs_err::read(&path)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Trace>(&bytes).ok())
                .map_or(0.0, |trace| trace.wall_s);
            let entry = report.traces.entry(stage).or_default();
            entry.0 += 1;
            entry.1 += wall_s;
            self.sweep(&path, &mut report, options.delete)?;
        }
        self.sweep_sharded("trees", ".json", &live, young, &mut report, options.delete)?;
        self.sweep_sharded("objects", "", &live, young, &mut report, options.delete)?;
        self.sweep_sharded("checkouts", "", &live, young, &mut report, options.delete)?;
        for name in names(&self.root().join("partial"))? {
            let path = self.root().join("partial").join(&name);
            let locked = name.parse().is_ok_and(|key| self.key_is_locked(key));
            if !locked && !is_young(&path, young) {
                report.partials += 1;
                self.sweep(&path, &mut report, options.delete)?;
            }
        }
        for name in names(&self.tmp())? {
            let path = self.tmp().join(&name);
            if !is_young(&path, young) {
                self.sweep(&path, &mut report, options.delete)?;
            }
        }
        Ok(report)
    }

    fn roots(&self, keep_runs: usize) -> Result<BTreeSet<String>> {
        let mut roots = BTreeSet::new();
        for (recipe, node) in self.linked()? {
            if let Some(trace) = self.linked_trace(&recipe, &node)? {
                roots.insert(trace.id());
            }
        }
        let mut records: Vec<PathBuf> = names(&self.root().join("pins"))?
            .into_iter()
            .map(|name| self.root().join("pins").join(name))
            .collect();
        for recipe in names(&self.root().join("runs"))? {
            let directory = self.root().join("runs").join(&recipe);
            let runs = names(&directory)?;
            records.extend(
                runs.iter()
                    .rev()
                    .take(keep_runs)
                    .map(|name| directory.join(name)),
            );
        }
        for path in records {
            let map: BTreeMap<String, String> = serde_json::from_slice(&fs_err::read(&path)?)
                .map_err(|source| crate::Error::Record { path, source })?;
            roots.extend(map.into_values());
        }
        Ok(roots)
    }

    fn mark(&self, id: &str, traces: &mut BTreeSet<String>, live: &mut BTreeSet<Digest>) {
        let mut stack = vec![id.to_owned()];
        while let Some(id) = stack.pop() {
            let Some((stage, key)) = id.split_once('/') else {
                continue;
            };
            let Ok(key) = key.parse::<Digest>() else {
                continue;
            };
            if !traces.insert(id.clone()) {
                continue;
            }
            // A pinned trace that verify dropped is no reason to stop collecting.
            let Ok(Some(trace)) = self.trace(stage, key) else {
                continue;
            };
            for address in trace.addresses() {
                live.insert(address.digest());
                if let Address::Tree(digest) = address
                    && let Ok(manifest) = self.manifest(digest)
                {
                    live.extend(manifest.entries.iter().map(|entry| entry.b3));
                }
            }
            stack.extend(trace.parents.into_values());
        }
    }

    fn sweep_sharded(
        &self,
        directory: &str,
        suffix: &str,
        live: &BTreeSet<Digest>,
        young: SystemTime,
        report: &mut GcReport,
        delete: bool,
    ) -> Result<()> {
        let root = self.root().join(directory);
        for shard in names(&root)? {
            for name in names(&root.join(&shard))? {
                let path = root.join(&shard).join(&name);
                let digest: Option<Digest> = format!("{shard}{}", name.trim_end_matches(suffix))
                    .parse()
                    .ok();
                if digest.is_some_and(|digest| live.contains(&digest)) || is_young(&path, young) {
                    report.kept_bytes += fs_err::symlink_metadata(&path)?.len();
                } else {
                    self.sweep(&path, report, delete)?;
                }
            }
        }
        Ok(())
    }

    fn sweep(&self, path: &Path, report: &mut GcReport, delete: bool) -> Result<()> {
        debug_assert!(path.starts_with(self.root()));
        let (files, bytes) = size_of(path)?;
        report.files += files;
        report.bytes += bytes;
        if delete { remove(path) } else { Ok(()) }
    }
}

fn is_young(path: &Path, limit: SystemTime) -> bool {
    fs_err::symlink_metadata(path)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| time > limit)
}

fn size_of(path: &Path) -> Result<(u64, u64)> {
    let meta = fs_err::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok((1, meta.len()));
    }
    let mut sum = (0, 0);
    for name in names(path)? {
        let (files, bytes) = size_of(&path.join(name))?;
        sum.0 += files;
        sum.1 += bytes;
    }
    Ok(sum)
}
