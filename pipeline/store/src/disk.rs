//! The few file operations everything else is made of: durable rename, atomic write,
//! atomic symlink. Nothing here knows what the bytes mean.

use crate::Result;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name that no other process or thread uses at this moment.
pub(crate) fn unique() -> String {
    format!(
        "{}-{}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    fs_err::File::open(path)?.sync_all()?;
    Ok(())
}

/// Makes a file's bytes durable.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    fs_err::File::open(path)?.sync_all()?;
    Ok(())
}

/// Makes every file and directory below `path` durable.
pub(crate) fn sync_all_below(path: &Path) -> Result<()> {
    for entry in fs_err::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all_below(&entry.path())?;
        } else {
            sync_file(&entry.path())?;
        }
    }
    sync_dir(path)
}

/// Replaces `path` by `bytes` so that a reader sees the old content or the new, also after
/// a power cut. `between` runs after the temporary file is synced, before the rename.
pub(crate) fn write_atomic(
    path: &Path,
    bytes: &[u8],
    tmp: &Path,
    between: impl FnOnce(),
) -> Result<()> {
    let parent = path.parent().expect("store paths have a parent");
    fs_err::create_dir_all(parent)?;
    let staging = tmp.join(format!("write-{}", unique()));
    let mut file = fs_err::File::create(&staging)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    between();
    fs_err::rename(&staging, path)?;
    sync_dir(parent)
}

/// Points the symlink `link` at `target`, replacing what was there in one step. Returns
/// false if it already pointed there. It is made in `tmp`: whoever clears the link's directory
/// meanwhile must not find it half made.
pub(crate) fn symlink(target: &Path, link: &Path, tmp: &Path) -> Result<bool> {
    if std::fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(false);
    }
    let parent = link.parent().expect("a link has a parent");
    fs_err::create_dir_all(parent)?;
    let staging = tmp.join(format!("link-{}", unique()));
    fs_err::os::unix::fs::symlink(target, &staging)?;
    fs_err::rename(&staging, link)?;
    Ok(true)
}

/// The relative path from the directory `from` to `to`; both below the same root.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let mut from_parts = from.components().peekable();
    let mut to_parts = to.components().peekable();
    while from_parts.peek().is_some() && from_parts.peek() == to_parts.peek() {
        from_parts.next();
        to_parts.next();
    }
    let mut path = PathBuf::new();
    for _ in from_parts {
        path.push("..");
    }
    path.extend(to_parts);
    path
}

/// Removes a file or a directory with all in it; not being there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = fs_err::symlink_metadata(path).and_then(|meta| {
        if meta.is_dir() {
            fs_err::remove_dir_all(path)
        } else {
            fs_err::remove_file(path)
        }
    });
    match removed {
        // Perhaps somebody else was faster.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}
