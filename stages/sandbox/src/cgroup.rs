//! A memory control group for the runs of one worker, where this machine lets one be made.
//!
//! Made by the launcher, outside all namespaces; init keeps its descriptors and sets it anew
//! for every run, whose first process joins it before it executes anything. It bounds what
//! all processes of a run use together and knows their peak, which sampling cannot.
//! Version 1 and version 2 are understood; version 2 before Linux 6.12 bounds but tells no peak
//! of a single run. Inputs, outputs and compilers stay outside:
//! what a run is charged for is its own memory and what it writes into its folders.
//! Deliberately absent: processor and process groups; rusage and `RLIMIT_NPROC` do that.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use fs_err as fs;
use rustix::fs::{Mode, OFlags, open, openat};

const MOUNTS: &str = "/sys/fs/cgroup";
const PREFIX: &str = "iota-judge-";

/// The files of one version of the interface.
struct Names {
    limit: &'static str,
    usage: &'static str,
    peak: &'static str,
    events: &'static str,
    swap: (&'static str, &'static str),
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
    swap: ("memory.swappiness", "0"),
};
const VERSION_2: Names = Names {
    limit: "memory.max",
    usage: "memory.current",
    peak: "memory.peak",
    events: "memory.events",
    swap: ("memory.swap.max", "0"),
};

/// A group that exists.
pub(crate) struct Group {
    /// 1 or 2.
    pub(crate) version: u32,
    path: PathBuf,
    join: OwnedFd,
    limit: OwnedFd,
    usage: OwnedFd,
    /// Starts anew with a write to this very descriptor; `None` where the kernel has no such
    /// file, or one that cannot start anew (version 2 before Linux 6.12).
    peak: Option<OwnedFd>,
    events: OwnedFd,
}

/// What the group showed before a run.
pub(crate) struct Before {
    usage_bytes: u64,
    killed: u64,
}

/// What the group showed of a run.
pub(crate) struct Seen {
    /// Most bytes charged at one time during the run; 0 where the kernel does not tell.
    pub(crate) peak_bytes: u64,
    /// Whether the kernel ended a process for want of memory.
    pub(crate) is_out_of_memory: bool,
}

impl Group {
    /// Makes a group below the one that this process is in, or says why there is none.
    pub(crate) fn make() -> Result<Group, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut reasons = Vec::new();
        for (version, parent) in parents(&own) {
            match Group::below(version, &parent) {
                Ok(group) => return Ok(group),
                // Its kind alone: the words would name a folder with this launcher's number.
                Err(error) => {
                    let why = error.kind();
                    reasons.push(format!("v{version} {}: {why}", parent.display()));
                }
            }
        }
        Err(if reasons.is_empty() {
            "no memory controller is mounted below /sys/fs/cgroup".to_owned()
        } else {
            reasons.join("; ")
        })
    }

    fn below(version: u32, parent: &Path) -> io::Result<Group> {
        remove_orphans(parent);
        let names = if version == 1 { &VERSION_1 } else { &VERSION_2 };
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path)?;
        let opened = (|| {
            if version == 2 && !path.join(names.limit).exists() {
                // Fails while the parent itself holds processes: then it is not delegated.
                fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
            }
            // Where programs could swap, more memory than allowed would only be slow.
            let _ = fs::write(path.join(names.swap.0), names.swap.1);
            let folder = open(
                &path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let file = |name: &str, flags| {
                openat(&folder, name, flags | OFlags::CLOEXEC, Mode::empty())
                    .map_err(io::Error::from)
            };
            let group = Group {
                version,
                path: path.clone(),
                join: file("cgroup.procs", OFlags::WRONLY)?,
                limit: file(names.limit, OFlags::RDWR)?,
                usage: file(names.usage, OFlags::RDONLY)?,
                peak: file(names.peak, OFlags::RDWR)
                    .ok()
                    .filter(|peak| write(peak, "0").is_ok()),
                events: file(names.events, OFlags::RDONLY)?,
            };
            group.before(1 << 30)?;
            Ok(group)
        })();
        if opened.is_err() {
            let _ = fs::remove_dir(&path);
        }
        opened
    }

    /// Whether the peak of each run is known, not only its limit kept.
    pub(crate) fn has_peak(&self) -> bool {
        self.peak.is_some()
    }

    /// The descriptor to which a process writes `0` to join.
    pub(crate) fn join(&self) -> BorrowedFd<'_> {
        self.join.as_fd()
    }

    /// Bounds the coming run to so many bytes beyond what is charged already.
    pub(crate) fn before(&self, bytes: u64) -> io::Result<Before> {
        let usage_bytes = number(&self.usage)?;
        let limit = usage_bytes.saturating_add(bytes).min(i64::MAX as u64);
        write(&self.limit, &limit.to_string())?;
        if let Some(peak) = &self.peak {
            write(peak, "0")?;
        }
        Ok(Before {
            usage_bytes,
            killed: self.killed()?,
        })
    }

    /// What has happened since; `outputs_bytes` were charged for what the judge reads.
    pub(crate) fn after(&self, before: &Before, outputs_bytes: u64) -> io::Result<Seen> {
        let peak_bytes = self.peak.as_ref().map_or(Ok(0), number)?;
        let charged = peak_bytes.saturating_sub(before.usage_bytes);
        Ok(Seen {
            peak_bytes: charged.saturating_sub(outputs_bytes),
            is_out_of_memory: self.killed()? > before.killed,
        })
    }

    fn killed(&self) -> io::Result<u64> {
        let text = read(&self.events)?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        Ok(value.unwrap_or(0))
    }

    /// Removes the group, which must be empty.
    pub(crate) fn remove(&self) {
        // Still busy: the next worker that starts removes it.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Where a group can be tried, by a text of `/proc/self/cgroup`: version and folder.
fn parents(own: &str) -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let relative = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "memory") {
            found.push((1, Path::new(MOUNTS).join("memory").join(relative)));
        } else if controllers.is_empty() {
            let mounted = Path::new(MOUNTS).join("cgroup.controllers").exists();
            let root = if mounted {
                PathBuf::from(MOUNTS)
            } else {
                Path::new(MOUNTS).join("unified")
            };
            let own = root.join(relative);
            // A group with processes hands no controllers down; the one above it may.
            let above = own
                .parent()
                .filter(|parent| parent.starts_with(&root))
                .map(Path::to_path_buf);
            found.push((2, own));
            found.extend(above.map(|above| (2, above)));
        }
    }
    found
}

/// Removes the groups of launchers that were killed.
fn remove_orphans(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if number.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // An error means that it has processes: it is somebody's after all.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn read(file: &OwnedFd) -> io::Result<String> {
    let mut bytes = [0; 512];
    let count = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

fn number(file: &OwnedFd) -> io::Result<u64> {
    let text = read(file)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("a control group says {text:?} for a number")))
}

fn write(file: &OwnedFd, text: &str) -> io::Result<()> {
    rustix::io::pwrite(file, text.as_bytes(), 0)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_looked_for_where_this_process_is() {
        let version_1 = "9:name=systemd:/\n4:memory:/a/b\n2:cpuacct:/\n";
        assert_eq!(
            parents(version_1),
            [(1, PathBuf::from("/sys/fs/cgroup/memory/a/b"))]
        );
        let found = parents("0::/user.slice/app.scope\n");
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(version, _)| *version == 2));
        assert!(found[0].1.ends_with("user.slice/app.scope"));
        assert!(found[1].1.ends_with("user.slice"));
        assert_eq!(parents("").len(), 0);
    }
}
