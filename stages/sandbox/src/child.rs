//! Starting the program: from the container's init to exec, with all layers applied.
//!
//! Init clones with shared memory and waits until exec (as vfork does), so nothing is
//! copied whatever init's size. Between clone and exec only raw system calls on values
//! prepared beforehand are made: no allocation, no lock, no library call.
//! Order: signals, descriptors, folder, limits, user, then no_new_privs, Landlock and
//! seccomp last, since each forbids what the ones before it need. What init carries itself
//! (`restrict_self`) its children inherit: putting filters on anew costs half of an exec.
#![allow(unsafe_code, reason = "clone, and the window between it and exec")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_long, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use seccompiler::BpfProgram;

use crate::Limits;

/// Layers that a child puts on itself, beside those it inherits.
pub(crate) struct Layers {
    /// User to become, if init may change it.
    pub(crate) uid: Option<u32>,
    /// Ruleset to enter.
    pub(crate) landlock: Option<OwnedFd>,
    /// Filters to install.
    pub(crate) filters: Vec<BpfProgram>,
}

/// A program about to start.
pub(crate) struct Launch<'a> {
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    /// The executable; by default the path in the first argument.
    pub(crate) executable: Option<BorrowedFd<'a>>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    pub(crate) folder: &'a CStr,
    pub(crate) limits: &'a Limits,
    pub(crate) address_bytes: u64,
    /// Processes of the same user that are none of this run's.
    pub(crate) other_processes: u64,
    /// Where to write `0`, to be counted in a control group.
    pub(crate) group: Option<BorrowedFd<'a>>,
    pub(crate) layers: &'a Layers,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// What a child was doing when it failed, in the order of `STEPS`.
const STEPS: [&str; 11] = [
    "resetting signals",
    "placing stdin, stdout and stderr",
    "entering the working folder",
    "setting limits",
    "changing the user",
    "dropping capabilities",
    "setting no_new_privs",
    "entering Landlock",
    "installing seccomp",
    "executing",
    "joining the control group",
];

/// Everything as plain numbers and pointers, ready for the window before exec.
pub(crate) struct Prepared<'a> {
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    executable: RawFd,
    stdio: [RawFd; 3],
    folder: *const c_char,
    rlimits: [(u32, u64); 8],
    group: RawFd,
    uid: Option<u32>,
    landlock: RawFd,
    filters: Vec<libc::sock_fprog>,
    failed_step: AtomicI32,
    errno: AtomicI32,
    _borrowed: std::marker::PhantomData<&'a Launch<'a>>,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(launch: &'a Launch<'a>) -> Prepared<'a> {
        let pointers = |strings: &'a [CString]| {
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain([ptr::null()])
                .collect()
        };
        let limits = launch.limits;
        Prepared {
            arguments: pointers(launch.arguments),
            environment: pointers(launch.environment),
            executable: launch.executable.map_or(-1, |fd| fd.as_raw_fd()),
            stdio: launch.stdio.map(|fd| fd.as_raw_fd()),
            folder: launch.folder.as_ptr(),
            rlimits: [
                (libc::RLIMIT_CPU, limits.cpu_s.ceil() as u64 + 1),
                (libc::RLIMIT_AS, launch.address_bytes),
                // The stack may take all the memory there is. Not a number: the C library
                // would reserve that much for every thread.
                (libc::RLIMIT_STACK, libc::RLIM_INFINITY),
                (libc::RLIMIT_FSIZE, limits.output_bytes),
                (libc::RLIMIT_NOFILE, u64::from(limits.open_files)),
                // Init, its keeper and the launcher count as well where all share one user.
                (
                    libc::RLIMIT_NPROC,
                    u64::from(limits.processes) + 3 + launch.other_processes,
                ),
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_MEMLOCK, 64 << 10),
            ],
            group: launch.group.map_or(-1, |fd| fd.as_raw_fd()),
            uid: launch.layers.uid,
            landlock: launch
                .layers
                .landlock
                .as_ref()
                .map_or(-1, AsRawFd::as_raw_fd),
            filters: in_kernel_form(&launch.layers.filters),
            failed_step: AtomicI32::new(-1),
            errno: AtomicI32::new(0),
            _borrowed: std::marker::PhantomData,
        }
    }

    /// Starts the program; returns its pid once it executes.
    pub(crate) fn start(&self) -> io::Result<i32> {
        const STACK_WORDS: usize = 4096;
        let mut stack: Vec<u128> = Vec::with_capacity(STACK_WORDS);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the child runs `run_child` on its own stack, whose top is 16-byte aligned and
        // stays allocated: CLONE_VFORK holds this thread until the child has executed or
        // ended. `self` outlives the call for the same reason.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(STACK_WORDS).cast::<c_void>();
            libc::clone(run_child, top, flags, ptr::from_ref(self).cast_mut().cast())
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        match self.failure() {
            None => Ok(pid),
            Some(failure) => {
                // The child has ended; it must not be taken for a program later.
                crate::kernel::reap(true);
                Err(failure)
            }
        }
    }

    /// What went wrong before exec, if anything.
    fn failure(&self) -> Option<io::Error> {
        let step = usize::try_from(self.failed_step.load(Ordering::Relaxed)).ok()?;
        let error = io::Error::from_raw_os_error(self.errno.load(Ordering::Relaxed));
        Some(io::Error::new(
            error.kind(),
            format!("{}: {error}", STEPS[step]),
        ))
    }

    /// Applies everything but exec to the calling process, which must be a forked child.
    pub(crate) fn confine_self(&self) -> io::Result<()> {
        // SAFETY: the caller is a forked child with a copy of all memory.
        if unsafe { self.confine() } {
            return Ok(());
        }
        Err(self.failure().unwrap_or_else(io::Error::last_os_error))
    }

    /// Notes the failed step; `false` so that callers can chain with `&&`.
    fn check(&self, step: i32, result: c_long) -> bool {
        if result < 0 {
            // SAFETY: the address of this thread's errno is always valid.
            self.errno
                .store(unsafe { *libc::__errno_location() }, Ordering::Relaxed);
            self.failed_step.store(step, Ordering::Relaxed);
        }
        result >= 0
    }

    /// # Safety
    /// To be called in a new process only; makes raw system calls and nothing else.
    unsafe fn confine(&self) -> bool {
        // SAFETY: every pointer passed was prepared from a borrow that `'a` keeps alive.
        unsafe {
            let mut no_signals: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut no_signals);
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if !self.check(
                0,
                libc::sigprocmask(libc::SIG_SETMASK, &raw const no_signals, ptr::null_mut()).into(),
            ) {
                return false;
            }
            // Its descriptor is closed below or on exec; the group counts from here on.
            if self.group >= 0
                && !self.check(
                    10,
                    libc::write(self.group, c"0".as_ptr().cast(), 1) as c_long,
                )
            {
                return false;
            }
            libc::setsid();
            libc::umask(0o022);
            for (target, &fd) in self.stdio.iter().enumerate() {
                if !self.check(1, libc::dup2(fd, target as c_int).into()) {
                    return false;
                }
            }
            let close_on_exec = libc::CLOSE_RANGE_CLOEXEC;
            if !self.check(
                1,
                libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, close_on_exec),
            ) {
                return false;
            }
            if !self.check(2, libc::chdir(self.folder).into()) {
                return false;
            }
            for &(resource, value) in &self.rlimits {
                let limit = libc::rlimit {
                    rlim_cur: value,
                    rlim_max: value,
                };
                let none = ptr::null_mut::<libc::rlimit>();
                let set = libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none);
                if !self.check(3, set) {
                    return false;
                }
            }
            // Raw calls: the C library's would tell all threads of the address space, which is init's.
            if let Some(uid) = self.uid
                && !(self.check(4, libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()))
                    && self.check(4, libc::syscall(libc::SYS_setresgid, uid, uid, uid))
                    && self.check(4, libc::syscall(libc::SYS_setresuid, uid, uid, uid)))
            {
                return false;
            }
            // In a user namespace init's capabilities would last until exec.
            let header = [CAPABILITY_VERSION_3, 0];
            let none = [0u32; 6];
            let dropped = libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr());
            if !self.check(5, dropped) {
                return false;
            }
            libc::syscall(
                libc::SYS_prctl,
                libc::PR_SET_PDEATHSIG,
                libc::SIGKILL,
                0,
                0,
                0,
            );
            match restrict(self.landlock, &self.filters) {
                Ok(()) => true,
                Err(step) => self.check(step, -1),
            }
        }
    }
}

/// Puts Landlock and the filters on the calling process, or says which of `STEPS` failed.
///
/// # Safety
/// The filters must point to live programs. Makes raw system calls and nothing else.
unsafe fn restrict(landlock: RawFd, filters: &[libc::sock_fprog]) -> Result<(), i32> {
    // SAFETY: numbers, and pointers that the caller vouches for.
    unsafe {
        if libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return Err(6);
        }
        if landlock >= 0 && libc::syscall(libc::SYS_landlock_restrict_self, landlock, 0) < 0 {
            return Err(7);
        }
        for filter in filters {
            let mode = libc::SECCOMP_SET_MODE_FILTER;
            if libc::syscall(libc::SYS_seccomp, mode, 0, ptr::from_ref(filter)) < 0 {
                return Err(8);
            }
        }
        Ok(())
    }
}

/// Filters as the kernel wants them; they point into `programs`.
fn in_kernel_form(programs: &[BpfProgram]) -> Vec<libc::sock_fprog> {
    programs
        .iter()
        .map(|program| libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
        })
        .collect()
}

/// Puts on the calling process, which has one thread, what all its children are to inherit:
/// Landlock and filters, for good, and equal addresses in every run, so that a wrong program
/// fails alike each time.
pub(crate) fn restrict_self(
    landlock: Option<BorrowedFd<'_>>,
    filters: &[BpfProgram],
) -> io::Result<()> {
    let landlock = landlock.map_or(-1, |fd| fd.as_raw_fd());
    // SAFETY: `filters` outlives the call; personality passes no memory.
    let restricted = unsafe {
        libc::personality(libc::ADDR_NO_RANDOMIZE as u64);
        restrict(landlock, &in_kernel_form(filters))
    };
    restricted.map_err(|step| {
        let error = io::Error::last_os_error();
        io::Error::new(error.kind(), format!("{}: {error}", STEPS[step as usize]))
    })
}

extern "C" fn run_child(prepared: *mut c_void) -> c_int {
    // SAFETY: the pointer is the `Prepared` of `start`, which waits for us; see `confine`.
    unsafe {
        let prepared = &*prepared.cast::<Prepared<'_>>();
        if prepared.confine() {
            let (arguments, environment) =
                (prepared.arguments.as_ptr(), prepared.environment.as_ptr());
            let result = if prepared.executable >= 0 {
                let (fd, flags) = (prepared.executable, libc::AT_EMPTY_PATH);
                libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    c"".as_ptr(),
                    arguments,
                    environment,
                    flags,
                )
            } else {
                libc::execve(*arguments, arguments, environment).into()
            };
            prepared.check(9, result);
        }
        libc::_exit(127)
    }
}
