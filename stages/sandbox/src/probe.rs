//! The self-test of a container: children that try what must fail.
//!
//! Run by init before it says that it is ready. Each layer is tested with the others
//! out of the way, by trying the forbidden thing, since a version number or a return
//! code of the set-up proves nothing. Those that children inherit come last, from init.
#![allow(unsafe_code, reason = "raw attempts at what safe code cannot express")]

use std::{
    io,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

use fs_err as fs;

use crate::{
    Limits,
    cgroup::Group,
    child::{Launch, Layers, Prepared},
    filesystem::UNLISTED,
    kernel::{self, Reaped},
};

/// Things of the outside that a program in the container must not reach.
pub(crate) struct Witness {
    /// The launcher, outside the pid namespace.
    pub(crate) pid: i32,
    /// A file outside, readable by its owner.
    pub(crate) file: tempfile::NamedTempFile,
    /// Name of an abstract socket on which the launcher listens.
    pub(crate) socket: Vec<u8>,
    /// A System V memory segment outside.
    pub(crate) shared_memory: Option<i32>,
    _listener: UnixListener,
}

impl Witness {
    /// Sets everything up in the calling process, the launcher.
    pub(crate) fn new() -> io::Result<Witness> {
        let pid = std::process::id() as i32;
        let socket = format!("sandbox-witness-{pid}").into_bytes();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&socket)?)?;
        let file = temporary_places()
            .find_map(|place| tempfile::NamedTempFile::new_in(place).ok())
            .ok_or_else(|| {
                io::Error::other("no folder for temporary files can be written; set TMPDIR")
            })?;
        let shared_memory = kernel::make_shared_memory().ok();
        Ok(Witness {
            pid,
            file,
            socket,
            shared_memory,
            _listener: listener,
        })
    }

    /// Removes what the launcher's end would leave behind.
    pub(crate) fn remove(self) {
        if let Some(id) = self.shared_memory {
            kernel::remove_shared_memory(id);
        }
    }
}

/// Folders for a small file, best first.
pub(crate) fn temporary_places() -> impl Iterator<Item = std::path::PathBuf> {
    let others = ["/tmp", "/dev/shm", "/var/tmp"].map(std::path::PathBuf::from);
    [std::env::temp_dir()].into_iter().chain(others)
}

/// Whether a forked child, confined by `layers` if given, finds that `attempts_fail`.
fn holds(layers: Option<&Layers>, attempts_fail: impl FnOnce() -> bool) -> bool {
    let Ok(null) = fs::File::options().read(true).write(true).open("/dev/null") else {
        return false;
    };
    let limits = Limits::default();
    match kernel::fork_into(0) {
        Err(_) => false,
        Ok(0) => {
            let confined = layers.is_none_or(|layers| {
                let launch = Launch {
                    arguments: &[],
                    environment: &[],
                    executable: None,
                    stdio: [null.as_fd(); 3],
                    folder: c"/",
                    limits: &limits,
                    address_bytes: 1 << 30,
                    other_processes: kernel::processes_of_this_user(),
                    group: None,
                    layers,
                };
                Prepared::new(&launch).confine_self().is_ok()
            });
            let code = i32::from(!(confined && attempts_fail()));
            // SAFETY: ends the child at once; nothing of the parent's is run down.
            unsafe { libc::_exit(code) }
        }
        Ok(_) => matches!(kernel::reap(true), Reaped::Child(ended) if ended.status == 0),
    }
}

fn no_layer() -> Layers {
    Layers {
        uid: None,
        landlock: None,
        filters: Vec::new(),
    }
}

/// The launcher can neither be signalled nor is the child's parent anything but pid 1.
pub(crate) fn pid_namespace(witness: &Witness) -> bool {
    holds(None, || {
        let signalled = kernel::kill(witness.pid, 0);
        signalled.is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
            && std::os::unix::process::parent_id() == 1
    })
}

/// The launcher's abstract socket does not answer.
pub(crate) fn network_namespace(witness: &Witness) -> bool {
    holds(None, || {
        SocketAddr::from_abstract_name(&witness.socket)
            .and_then(|address| UnixStream::connect_addr(&address))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// The outside file does not exist here, and what is shown cannot be written.
pub(crate) fn mount_namespace(witness: &Witness) -> bool {
    holds(None, || {
        !witness.file.path().exists()
            && !std::path::Path::new("/etc/passwd").exists()
            && fs::write("/usr/sandbox-probe", "x").is_err()
            && fs::write("/sandbox-probe", "x").is_err()
    })
}

/// The launcher's System V segment is unknown here.
pub(crate) fn ipc_namespace(witness: &Witness) -> bool {
    witness
        .shared_memory
        .is_some_and(|id| holds(None, || !kernel::sees_shared_memory(id)))
}

/// A program can neither become root nor use a capability.
pub(crate) fn unprivileged(uid: Option<u32>) -> bool {
    let layers = Layers { uid, ..no_layer() };
    holds(Some(&layers), || {
        // SAFETY: the calls pass no memory but a constant string.
        unsafe {
            libc::setresuid(0, 0, 0) != 0
                && libc::sethostname(c"probe".as_ptr(), 5) != 0
                && libc::chroot(c"/box".as_ptr()) != 0
                && libc::unshare(libc::CLONE_NEWNS) != 0
        }
    })
}

/// Forbidden system calls of a child answer as the filters on this process say.
pub(crate) fn seccomp() -> bool {
    holds(None, || {
        let denied = |result: i64, errno| {
            result == -1 && io::Error::last_os_error().raw_os_error() == Some(errno)
        };
        // SAFETY: the calls pass no memory; clone3 with a null pointer of size 0 cannot succeed.
        unsafe {
            denied(
                libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0).into(),
                libc::EPERM,
            ) && denied(
                libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into(),
                libc::EPERM,
            ) && denied(libc::unshare(libc::CLONE_NEWUSER).into(), libc::EPERM)
                && denied(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0), libc::EPERM)
                && denied(libc::syscall(libc::SYS_clone3, 0, 0), libc::ENOSYS)
        }
    })
}

/// A file that its mode allows to be read can be read by a child of this process; once with
/// Landlock on this process and once without, that proves it.
pub(crate) fn is_unlisted_readable() -> bool {
    holds(None, || fs::read(UNLISTED).is_ok())
}

/// Memory and descriptors end where the limits say.
pub(crate) fn rlimits() -> bool {
    holds(Some(&no_layer()), || {
        let too_much = Vec::<u8>::new().try_reserve_exact(2 << 30).is_err();
        let most = Limits::default().open_files as usize;
        let opened: Vec<_> = (0..most)
            .map_while(|_| fs::File::open("/dev/null").ok())
            .collect();
        too_much && !opened.is_empty() && opened.len() < most
    })
}

/// Without namespaces: what lies outside can be neither reached nor signalled under all layers.
pub(crate) fn scoped(layers: &Layers, witness: &Witness) -> bool {
    if layers.landlock.is_none() {
        return false;
    }
    let is_readable_without = holds(None, || fs::read(witness.file.path()).is_ok());
    is_readable_without
        && holds(Some(layers), || {
            let address = SocketAddr::from_abstract_name(&witness.socket);
            // SAFETY: the call passes no memory.
            let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
            kernel::kill(witness.pid, 0).is_err()
                && kernel::kill(std::os::unix::process::parent_id() as i32, 0).is_err()
                && fs::read(witness.file.path()).is_err()
                && fs::write(std::env::temp_dir().join("sandbox-probe"), "x").is_err()
                && fs::read_dir("/proc").is_err()
                && address
                    .and_then(|address| UnixStream::connect_addr(&address))
                    .is_err()
                && socket == -1
        })
}

/// A process in the group that takes too much is ended, and its peak, if there is one, is seen.
pub(crate) fn cgroup(group: &Group) -> bool {
    const LIMIT_BYTES: u64 = 16 << 20;
    const TAKEN_BYTES: usize = 64 << 20;
    let Ok(before) = group.before(LIMIT_BYTES) else {
        return false;
    };
    match kernel::fork_into(0) {
        Err(_) => return false,
        Ok(0) => {
            if rustix::io::write(group.join(), b"0").is_ok() {
                std::hint::black_box(vec![1_u8; TAKEN_BYTES]);
            }
            // SAFETY: ends the child at once; nothing of the parent's is run down.
            unsafe { libc::_exit(0) }
        }
        Ok(_) => kernel::reap(true),
    };
    group.after(&before, 0).is_ok_and(|seen| {
        seen.is_out_of_memory && (seen.peak_bytes >= LIMIT_BYTES / 2 || !group.has_peak())
    })
}
