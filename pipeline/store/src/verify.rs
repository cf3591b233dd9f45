//! Reading everything again: do objects hash to their names, do records parse, is
//! everything there that a trace names.
//!
//! `repair` removes what is corrupt and the traces that name it, so that the next run makes
//! them again; it never guesses.

use crate::{Address, Digest, Result, Store, Trace, disk::remove, hash_file, refs::names};
use std::{collections::BTreeSet, path::PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A file's bytes are not those it is named after.
    CorruptObject(PathBuf),
    /// A record cannot be read.
    DamagedRecord(PathBuf),
    /// A trace names something that is not there or is corrupt.
    BrokenTrace {
        /// `stage/key`.
        id: String,
        /// What is missing.
        address: Address,
    },
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// How many objects were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many traces were read.
    pub traces: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Re-hashes every object and checks every trace; with `repair`, removes what is wrong.
    pub fn verify(&self, repair: bool, mut on_object: impl FnMut(u64)) -> Result<VerifyReport> {
        let _lock = if repair {
            self.lock_exclusive()?
        } else {
            self.lock_shared()?
        };
        let mut report = VerifyReport::default();
        let mut corrupt = BTreeSet::new();
        for shard in names(&self.root().join("objects"))? {
            let directory = self.root().join("objects").join(&shard);
            for name in names(&directory)? {
                let path = directory.join(&name);
                let (found, bytes) = hash_file(&path)?;
                report.objects += 1;
                report.bytes += bytes;
                on_object(bytes);
                if format!("{shard}{name}") != found.to_string() {
                    if let Ok(digest) = format!("{shard}{name}").parse::<Digest>() {
                        corrupt.insert(digest);
                    }
                    if repair {
                        remove(&path)?;
                    }
                    report.findings.push(Finding::CorruptObject(path));
                }
            }
        }
        for shard in names(&self.root().join("trees"))? {
            let directory = self.root().join("trees").join(&shard);
            for name in names(&directory)? {
                let wanted = format!("{shard}{}", name.trim_end_matches(".json"));
                let path = directory.join(&name);
                let found = Digest::tree(&fs_err::read(&path)?);
                if wanted != found.to_string() {
                    if repair {
                        remove(&path)?;
                    }
                    report.findings.push(Finding::DamagedRecord(path));
                }
            }
        }
        for stage in self.traced_stages()? {
            let directory = self.root().join("traces").join(&stage);
            for name in names(&directory)? {
                let path = directory.join(&name);
                report.traces += 1;
                let Ok(trace) = serde_json::from_slice::<Trace>(&fs_err::read(&path)?) else {
                    if repair {
                        remove(&path)?;
                    }
                    report.findings.push(Finding::DamagedRecord(path));
                    continue;
                };
                for output in trace.outputs.values() {
                    if !self.is_sound(output.address, output.bytes, &corrupt)? {
                        if repair {
                            remove(&path)?;
                        }
                        report.findings.push(Finding::BrokenTrace {
                            id: trace.id(),
                            address: output.address,
                        });
                    }
                }
            }
        }
        Ok(report)
    }

    fn is_sound(&self, address: Address, bytes: u64, corrupt: &BTreeSet<Digest>) -> Result<bool> {
        let length = matches!(address, Address::Object(_)).then_some(bytes);
        let named: Vec<Digest> = match address {
            Address::Object(digest) => vec![digest],
            Address::Tree(digest) => match self.manifest(digest) {
                Ok(manifest) => manifest.entries.iter().map(|entry| entry.b3).collect(),
                Err(_) => return Ok(false),
            },
        };
        Ok(self.is_present(address, length)?
            && !named.iter().any(|digest| corrupt.contains(digest)))
    }
}
