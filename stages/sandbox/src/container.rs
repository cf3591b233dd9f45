//! The container's init (pid 1): builds the container, proves it, then serves runs.
//!
//! Forked by the launcher into the new namespaces; talks to the judge's process over the
//! inherited channel until that end is closed. One run at a time: place its files, start
//! the program, watch it, kill and reap whatever is left, hand back one file if asked,
//! and replace the writable tmpfs if it was touched. Landlock and seccomp are on init itself,
//! once for all programs; it is safe from them as the first process of its namespace.

use std::{
    ffi::{CString, OsString},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::Instant,
};

use fs_err as fs;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    net::{RecvFlags, recv},
    process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal},
};

use crate::{
    Isolation, Stopped,
    cgroup::Group,
    channel::Channel,
    child::{Launch, Layers, Prepared, restrict_self},
    filesystem::{Filesystem, WORK, WRITABLE, of_the_host, write_files},
    fork_server::{Fork, ForkServer},
    kernel, landlock,
    message::{Measured, Reply, Request, Setup},
    probe::{self, Witness},
    seccomp,
    watch::{Scope, watch},
};

/// The same for every program, whatever the judge's own environment holds.
const ENVIRONMENT: [&str; 7] = [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "LC_ALL=C.UTF-8",
    "TZ=UTC",
    "PYTHONHASHSEED=0",
    "PYTHONINTMAXSTRDIGITS=0",
    "OMP_NUM_THREADS=1",
    "OPENBLAS_NUM_THREADS=1",
];

/// The launcher's side of the self-test: what it set up, and its word on the host's name.
pub(crate) struct Outside {
    pub(crate) witness: Witness,
    pub(crate) ask: io::PipeWriter,
    pub(crate) answer: io::PipeReader,
    /// The control group, or why there is none.
    pub(crate) group: Result<Group, String>,
    /// Renews the writable folder, where there is a mount namespace.
    pub(crate) keeper: Option<Channel>,
}

/// Builds the container and serves it until the judge's end of the channel closes.
pub(crate) fn serve(
    channel: &Channel,
    setup: &Setup,
    has_user_namespace: bool,
    uid: Option<u32>,
    outside: Outside,
) -> io::Result<()> {
    kernel::block_child_signal();
    match Container::build(setup, has_user_namespace, uid, outside) {
        Err(error) => channel.send(&Reply::Failed(error.to_string()).encode(), &[]),
        Ok((mut container, isolation)) => {
            channel.send(&Reply::Ready(isolation).encode(), &[])?;
            while let Some((message, descriptors)) = channel.receive()? {
                let result = Request::decode(&message)
                    .ok_or_else(|| io::Error::other("malformed request"))
                    .and_then(|request| container.run(channel, &request, &descriptors));
                match result {
                    Ok((measured, Some(file))) => {
                        channel.send(&Reply::Done(measured).encode(), &[file.as_fd()])?;
                    }
                    Ok((measured, None)) => channel.send(&Reply::Done(measured).encode(), &[])?,
                    Err(error) => channel.send(&Reply::Failed(error.to_string()).encode(), &[])?,
                }
                // While the judge reads what was written; if it fails, the next run says why.
                container.is_clean = container.reset().is_ok();
            }
            container.leave()
        }
    }
}

struct Container {
    /// `None` without a mount namespace: then `work` is a folder of the host.
    filesystem: Option<Filesystem>,
    work: PathBuf,
    layers: Layers,
    scope: Scope,
    environment: Vec<CString>,
    /// Needs `/proc`, to see whether a run left anything behind.
    has_proc: bool,
    fork_server: Option<ForkServer>,
    group: Option<Rc<Group>>,
    /// Nothing is left of the run before.
    is_clean: bool,
}

impl Container {
    fn build(
        setup: &Setup,
        has_user_namespace: bool,
        uid: Option<u32>,
        mut outside: Outside,
    ) -> io::Result<(Container, Isolation)> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        let shown = shown_pairs(&setup.shown);
        let (filesystem, work, scope) = if setup.is_bare {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
            let work = bare_folder(uid)?;
            (None, work, Scope::Descendants)
        } else {
            rustix::system::sethostname(b"sandbox")?;
            let keeper = outside.keeper.take();
            let keeper = keeper.ok_or_else(|| io::Error::other("no keeper"))?;
            let filesystem = Filesystem::build(&shown, keeper, uid.is_some())?;
            (Some(filesystem), PathBuf::from(WORK), Scope::Namespace)
        };
        let is_host_name_kept = {
            outside.ask.write_all(&[1])?;
            let mut word = [0];
            outside.answer.read_exact(&mut word)?;
            word == [1]
        };
        let layers = Layers {
            uid,
            landlock: if let Some(filesystem) = &filesystem {
                landlock::ruleset(&filesystem.readable, &[Path::new(WRITABLE)], &["/dev"])
            } else {
                let (readable, devices) = of_the_host(&shown);
                landlock::ruleset(&readable, &[&work], devices)
            }
            .map_err(io::Error::other)?,
            filters: seccomp::filters().map_err(io::Error::other)?,
        };
        let witness = &outside.witness;
        let scoped = setup.is_bare && probe::scoped(&layers, witness);
        let group = outside.group.and_then(|group| {
            if probe::cgroup(&group) {
                Ok(group)
            } else {
                Err("a control group can be made, but its limit does not bite".to_owned())
            }
        });
        let is_unlisted_readable = probe::is_unlisted_readable();
        let mut isolation = Isolation {
            user_namespace: has_user_namespace,
            pid_namespace: probe::pid_namespace(witness),
            network_namespace: probe::network_namespace(witness),
            mount_namespace: !setup.is_bare && probe::mount_namespace(witness),
            ipc_namespace: probe::ipc_namespace(witness),
            uts_namespace: !setup.is_bare && is_host_name_kept,
            unprivileged: probe::unprivileged(layers.uid),
            rlimits: probe::rlimits(),
            proc: filesystem
                .as_ref()
                .is_none_or(|filesystem| filesystem.has_proc),
            scoped,
            cgroup: group.as_ref().ok().map(|group| group.version),
            cgroup_peak: group.as_ref().is_ok_and(Group::has_peak),
            cgroup_reason: group.as_ref().err().cloned().unwrap_or_default(),
            ..Isolation::default()
        };
        // Where init shares a namespace of processes with programs, Landlock's domain is what
        // keeps these from signalling it: each program enters one of its own.
        let (inherited, own) = if setup.is_bare {
            (None, layers.landlock)
        } else {
            (layers.landlock, None)
        };
        // What the kernel did not take is found missing by the tests that follow.
        let _ = restrict_self(inherited.as_ref().map(AsFd::as_fd), &layers.filters);
        isolation.seccomp = probe::seccomp();
        let is_landlocked =
            scoped || (!setup.is_bare && is_unlisted_readable && !probe::is_unlisted_readable());
        isolation.landlock = is_landlocked.then(kernel::landlock_version);
        let layers = Layers {
            uid: layers.uid,
            landlock: own,
            filters: Vec::new(),
        };
        let home = work.display();
        let temporary = if setup.is_bare {
            work.clone()
        } else {
            PathBuf::from("/tmp")
        };
        let own = [
            format!("HOME={home}"),
            format!("TMPDIR={}", temporary.display()),
        ];
        let environment = ENVIRONMENT
            .iter()
            .map(|entry| (*entry).to_owned())
            .chain(own)
            .map(CString::new)
            .collect::<Result<_, _>>()?;
        Ok((
            Container {
                has_proc: filesystem
                    .as_ref()
                    .is_some_and(|filesystem| filesystem.has_proc),
                fork_server: None,
                group: group.ok().map(Rc::new),
                filesystem,
                work,
                layers,
                scope,
                environment,
                is_clean: true,
            },
            isolation,
        ))
    }

    /// Removes what lies on the host; all else goes with the namespaces.
    fn leave(&self) -> io::Result<()> {
        if self.filesystem.is_none() {
            fs::remove_dir_all(&self.work)?;
        }
        Ok(())
    }

    fn run(
        &mut self,
        channel: &Channel,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> io::Result<(Measured, Option<OwnedFd>)> {
        let malformed = || io::Error::other("request without its descriptors");
        let (stdio, rest) = descriptors.split_at_checked(3).ok_or_else(malformed)?;
        let (executable, contents) = rest
            .split_at_checked(usize::from(request.is_executable_sent))
            .ok_or_else(malformed)?;
        if contents.len() != request.files.len() {
            return Err(malformed());
        }
        if !self.is_clean {
            self.reset()?;
        }
        if let Some(filesystem) = &mut self.filesystem {
            filesystem.place(&request.files, contents)?;
        } else {
            write_files(&self.work, &request.files, contents)?;
        }
        self.run_once(channel, request, stdio, executable)
    }

    /// Leaves nothing of a run to the next one.
    fn reset(&mut self) -> io::Result<()> {
        match &mut self.filesystem {
            Some(filesystem) => filesystem.reset(),
            None => empty(&self.work),
        }
    }

    fn run_once(
        &mut self,
        channel: &Channel,
        request: &Request,
        stdio: &[OwnedFd],
        executable: &[OwnedFd],
    ) -> io::Result<(Measured, Option<OwnedFd>)> {
        let arguments: Vec<CString> = request
            .arguments
            .iter()
            .map(|argument| CString::new(argument.clone()))
            .collect::<Result<_, _>>()?;
        let folder = CString::new(self.work.clone().into_os_string().into_vec())?;
        let address_bytes = request
            .limits
            .memory_bytes
            .saturating_add(request.address_slack_bytes);
        let stdio = [stdio[0].as_fd(), stdio[1].as_fd(), stdio[2].as_fd()];
        let (command, program) = arguments
            .split_at_checked(request.interpreter_arguments)
            .ok_or_else(|| io::Error::other("more interpreter than arguments"))?;
        let group = self.group.clone().filter(|_| request.is_grouped);
        let limits = &request.limits;
        let before = match &group {
            // The outputs are charged to the run as well.
            Some(group) => {
                let outputs_bytes = limits.output_bytes.saturating_mul(2);
                Some(group.before(limits.memory_bytes.saturating_add(outputs_bytes))?)
            }
            None => None,
        };
        // Where all share one user, the limit of processes is one for all of them.
        let is_shared = self.scope == Scope::Descendants && self.layers.uid.is_none();
        let other_processes = if is_shared {
            kernel::processes_of_this_user()
        } else {
            0
        };
        let fork = Fork {
            arguments: program,
            stdio,
            folder: &folder,
            limits: &request.limits,
            address_bytes,
            group: group.as_deref().map(Group::join),
        };
        self.warm(command);
        let mut started = Instant::now();
        let leader = if let Some(pid) = self.fork(command, &fork) {
            pid
        } else {
            started = Instant::now();
            Prepared::new(&Launch {
                arguments: &arguments,
                environment: &self.environment,
                executable: executable.first().map(AsFd::as_fd),
                stdio,
                folder: &folder,
                limits: &request.limits,
                address_bytes,
                other_processes,
                group: group.as_deref().map(Group::join),
                layers: &self.layers,
            })
            .start()?
        };
        let is_abandoned = || {
            recv(
                channel.as_fd(),
                &mut [0],
                RecvFlags::PEEK | RecvFlags::DONTWAIT,
            )
            .is_ok_and(|(_, length)| length == 0)
        };
        let server = self.fork_server.as_ref().map(ForkServer::pid);
        let (mut measured, is_server_kept) = watch(
            leader,
            server,
            started,
            &request.limits,
            self.scope,
            is_abandoned,
        );
        if !is_server_kept {
            self.fork_server = None;
        }
        if let (Some(group), Some(before)) = (&group, &before) {
            let outputs_bytes = written_bytes(&stdio)?;
            let seen = group.after(before, outputs_bytes)?;
            measured.memory_bytes = measured.memory_bytes.max(seen.peak_bytes);
            if seen.is_out_of_memory && measured.stopped.is_none() {
                measured.stopped = Some(Stopped::Memory);
            }
        }
        let is_by_itself = matches!(measured.exit, crate::Exit::Status(_));
        let collected = if request.collect.is_empty() || !is_by_itself {
            None
        } else {
            let path = self.work.join(OsString::from_vec(request.collect.clone()));
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty()).ok()
        };
        Ok((measured, collected))
    }

    /// Has a server for an interpreter's command, if this container can have one.
    fn warm(&mut self, command: &[CString]) {
        let is_served = |server: &ForkServer| server.serves(command);
        if command.is_empty()
            || !self.has_proc
            || self.scope != Scope::Namespace
            || self.fork_server.as_ref().is_some_and(is_served)
        {
            return;
        }
        self.end_fork_server();
        self.fork_server = ForkServer::start(command, &self.environment, &self.layers).ok();
    }

    /// Starts a program by the warm interpreter; `None` if it has to be started cold.
    fn fork(&mut self, command: &[CString], fork: &Fork<'_>) -> Option<i32> {
        if command.is_empty() {
            return None;
        }
        let forked = self.fork_server.as_ref()?.fork(fork).ok();
        if forked.is_none() {
            self.end_fork_server();
        }
        forked
    }

    /// Also ends what a lost server may have forked.
    fn end_fork_server(&mut self) {
        self.fork_server = None;
        // Between runs init has no other child; an error means that there is none at all.
        let _ = kernel::kill(-1, Signal::KILL.as_raw());
        while let kernel::Reaped::Child(_) = kernel::reap(true) {}
    }
}

/// A folder of the host for one worker's runs, for `uid` if programs become that user.
fn bare_folder(uid: Option<u32>) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("sandbox-bare-");
    let made = probe::temporary_places().find_map(|place| builder.tempdir_in(place).ok());
    let folder = made
        .ok_or_else(|| io::Error::other("no folder for temporary files can be written"))?
        .keep();
    std::os::unix::fs::chown(&folder, uid, uid)?;
    Ok(folder)
}

/// Removes what a run left in a folder, which itself stays: Landlock's rule is on it.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Memory of the two outputs, which the run was charged for and which is not its own.
fn written_bytes(stdio: &[BorrowedFd<'_>; 3]) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    for output in &stdio[1..] {
        bytes += rustix::fs::fstat(output)?.st_blocks as u64 * BLOCK_BYTES;
    }
    Ok(bytes)
}

fn shown_pairs(flat: &[Vec<u8>]) -> Vec<(PathBuf, PathBuf)> {
    let path = |bytes: &Vec<u8>| PathBuf::from(OsString::from_vec(bytes.clone()));
    flat.chunks_exact(2)
        .map(|pair| (path(&pair[0]), path(&pair[1])))
        .collect()
}
