//! Anonymous files in memory: inputs, programs and outputs of runs.
//!
//! Inputs and programs are sealed, so that no program can change what the next run
//! reads; outputs are read by size after every process of the run is gone, so that no
//! process can change them either, nor hold the reader up as it could with a pipe.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, open};

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// As `sealed`, to be read by one run: still open for writing, which its seals forbid, and with
/// its offset at the start. Opening it afresh would cost more than all else here.
pub(crate) fn input(content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create(c"input", flags)?);
    file.write_all_at(content, 0)?;
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// A file with this content that nobody can change any more.
pub(crate) fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let file = File::from(memfd_create(
        c"input",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?);
    file.write_all_at(content, 0)?;
    seal(file)
}

/// Copies `from` into a sealed file.
pub(crate) fn sealed_copy(mut from: File) -> io::Result<(OwnedFd, u64)> {
    let mut file = File::from(memfd_create(
        c"program",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?);
    let bytes = io::copy(&mut from, &mut file)?;
    Ok((seal(file)?, bytes))
}

/// Seals, and opens afresh for reading only: a file open for writing cannot be executed.
fn seal(file: File) -> io::Result<OwnedFd> {
    fcntl_add_seals(&file, SEALS)?;
    reopen(&file)
}

/// The same file with an offset of its own.
pub(crate) fn reopen(file: &impl AsRawFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// An empty file for a run to write to; it cannot be sealed.
pub(crate) fn output() -> io::Result<File> {
    Ok(File::from(memfd_create(c"output", MemfdFlags::CLOEXEC)?))
}

/// The first `most` bytes of a file, and its whole size.
pub(crate) fn read_head(file: &File, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let size = file.metadata()?.len();
    let mut content = vec![0; size.min(most) as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok((content, size))
}
