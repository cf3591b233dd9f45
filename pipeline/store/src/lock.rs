//! Locks between processes, made of the operating system's file locks: the kernel frees
//! them when their holder dies, however it dies.
//!
//! The text in a lock file says who holds it, for messages; no decision is ever made by it.
//! On a network file system a lock may bind one host only. Then two hosts may do the same
//! work twice; the store stays right, because publishing does not depend on locks.

use crate::{Digest, Result, Store};
use serde::{Deserialize, Serialize};
use std::{
    fs::TryLockError,
    io::{Read, Seek, Write},
    path::Path,
};

/// Who holds a lock, as far as the holder wrote it down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// Since when (RFC 3339).
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} on {} since {}",
            self.pid, self.host, self.since
        )
    }
}

/// The store's lock; freed on drop.
#[derive(Debug)]
pub struct StoreLock {
    _file: std::fs::File,
}

impl StoreLock {
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared()?;
        Ok(Self { _file: file })
    }

    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}

/// The right to run one key; freed on drop.
#[derive(Debug)]
pub struct KeyLock {
    file: std::fs::File,
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // So that a later waiter is not told of a holder that has gone.
        let _ = self.file.set_len(0);
    }
}

impl Store {
    /// Takes the lock of a key. If somebody holds it, `on_wait` is told who, once, and the
    /// call waits until `cancelled` says to stop (then `None`).
    pub fn lock_key(
        &self,
        key: Digest,
        mut on_wait: impl FnMut(Option<Holder>),
        cancelled: impl Fn() -> bool,
    ) -> Result<Option<KeyLock>> {
        let path = self.root().join("locks").join(format!("{key}.lock"));
        let mut file = open(&path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            if !told {
                on_wait(read_holder(&mut file));
                told = true;
            }
            if cancelled() {
                return Ok(None);
            }
            // Polling, because a blocked lock call could not be cancelled.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let holder = Holder {
            pid: std::process::id(),
            host: host(),
            since: jiff::Timestamp::now()
                .round(jiff::Unit::Second)
                .map_or_else(|_| String::new(), |time| time.to_string()),
        };
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(&holder).expect("plain data"))?;
        Ok(Some(KeyLock { file }))
    }

    /// Takes the lock of a key if it is free.
    pub fn try_lock_key(&self, key: Digest) -> Result<Option<KeyLock>> {
        self.lock_key(key, |_| {}, || true)
    }

    /// Whether somebody is running a key at this moment.
    pub fn key_is_locked(&self, key: Digest) -> bool {
        let path = self.root().join("locks").join(format!("{key}.lock"));
        std::fs::File::open(path)
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

/// This machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn open(path: &Path) -> Result<std::fs::File> {
    let file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    Ok(file.into_parts().0)
}

fn read_holder(file: &mut std::fs::File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
