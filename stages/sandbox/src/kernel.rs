//! Safe faces of the few system calls that neither std nor rustix offer.
//!
//! Used by the launcher and by init only, both single-threaded. With `child` and
//! `probe` the only place of this crate with unsafe code.
#![allow(
    unsafe_code,
    reason = "raw system calls; each block says why it is sound"
)]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

/// Closes all descriptors above 2 but one.
pub(crate) fn close_other_descriptors(kept: BorrowedFd<'_>) {
    let kept = kept.as_raw_fd() as u32;
    // SAFETY: called at the start of a launcher, before it opens anything: no owner of a
    // descriptor in these ranges exists in this process.
    unsafe {
        if kept > 3 {
            libc::syscall(libc::SYS_close_range, 3, kept - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0);
    }
}

/// A process that ended and what it, and the children it waited for, used.
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) cpu_ns: u64,
    pub(crate) memory_bytes: u64,
}

/// What a look for ended children found.
pub(crate) enum Reaped {
    Child(Ended),
    NoneYet,
    NoChildren,
}

/// Forks into new namespaces; the child gets 0.
pub(crate) fn fork_into(namespaces: i32) -> io::Result<i32> {
    let flags = (namespaces | libc::SIGCHLD) as u64;
    // SAFETY: without CLONE_VM this is fork(): the child has its own copy of memory and goes on
    // on the same stack. The caller is single-threaded, so no lock is held by a lost thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(pid as i32)
    }
}

/// Waits for any child, or looks once.
pub(crate) fn reap(is_blocking: bool) -> Reaped {
    let mut status = 0;
    let flags = libc::__WALL | if is_blocking { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: rusage is plain numbers, for which zero is a valid value; both pointers
        // are to live locals.
        let (pid, usage) = unsafe {
            let mut usage: libc::rusage = mem::zeroed();
            (
                libc::wait4(-1, &raw mut status, flags, &raw mut usage),
                usage,
            )
        };
        match pid {
            0 => return Reaped::NoneYet,
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Reaped::NoChildren,
            pid => {
                let ns = |time: libc::timeval| {
                    time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000
                };
                return Reaped::Child(Ended {
                    pid,
                    status,
                    cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime),
                    memory_bytes: usage.ru_maxrss as u64 * 1024,
                });
            }
        }
    }
}

/// Processes and threads of this user, which `RLIMIT_NPROC` counts whoever started them.
pub(crate) fn processes_of_this_user() -> u64 {
    let user = rustix::process::getuid().as_raw().to_string();
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return 0;
    };
    let threads = |path: std::path::PathBuf| -> Option<u64> {
        let status = fs_err::read_to_string(path.join("status")).ok()?;
        let value = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        (value("Uid:")? == user).then(|| value("Threads:")?.parse().ok())?
    };
    let is_process = |name: &std::ffi::OsStr| {
        name.to_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    entries
        .flatten()
        .filter(|entry| is_process(&entry.file_name()))
        .filter_map(|entry| threads(entry.path()))
        .sum()
}

/// Sends a signal; pid -1 means every process of the namespace but the caller.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    if unsafe { libc::kill(pid, signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Holds SIGCHLD back so that `await_child_signal` can take it.
pub(crate) fn block_child_signal() {
    let set = child_signal();
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Sleeps until a child ends or the time is up.
pub(crate) fn await_child_signal(timeout: Duration) {
    let set = child_signal();
    let time = libc::timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    // SAFETY: set and time are live locals; no signal details are asked for.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time) };
}

fn child_signal() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before sigaddset reads it.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    }
}

/// CPU time that a live process has used so far, all threads together.
pub(crate) fn process_cpu_ns(pid: i32) -> Option<u64> {
    // The kernel's encoding of "scheduler clock of process pid", as clock_getcpuclockid makes it.
    let clock = (!pid << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: time is a live local.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Adds attributes (read-only, nosuid...) to the mount, or mount tree, that `mount` refers to.
pub(crate) fn add_mount_attributes(
    mount: &impl AsRawFd,
    attributes: u64,
    is_recursive: bool,
) -> io::Result<()> {
    let wanted = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if is_recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path and attributes are live, and the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes of a page. Asked of the C library: rustix would read `/proc/self/auxv` on kernels before
/// 6.4, which is closed to a process that is not dumpable and not root, and panics then.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: a number that every system knows; no memory is passed.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Landlock's version in this kernel, 0 if it has none.
pub(crate) fn landlock_version() -> u32 {
    const VERSION_FLAG: u32 = 1;
    // SAFETY: with the version flag the kernel reads no memory.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            VERSION_FLAG,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Makes a private System V memory segment, the witness of the IPC namespace.
pub(crate) fn make_shared_memory() -> io::Result<i32> {
    // SAFETY: no memory is passed; the segment is not attached.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
    if id < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(id)
    }
}

/// Removes a segment of `make_shared_memory`.
pub(crate) fn remove_shared_memory(id: i32) {
    // SAFETY: IPC_RMID reads no memory.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// Whether a System V memory segment of this number can be seen from here.
pub(crate) fn sees_shared_memory(id: i32) -> bool {
    // SAFETY: shmid_ds is plain numbers; the pointer is to a live local.
    unsafe {
        let mut about: libc::shmid_ds = mem::zeroed();
        libc::shmctl(id, libc::IPC_STAT, &raw mut about) == 0
    }
}
