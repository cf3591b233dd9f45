//! The container's init (pid 1): builds the container, proves it, then serves runs.
//!
//! Forked by the launcher into the new namespaces; talks to the judge's process over the
//! inherited channel until that end is closed. One run at a time: place its files, start
//! the program, watch it, kill and reap whatever is left, hand back one file if asked,
//! and replace the writable tmpfs if it was touched.

use std::{
    ffi::{CString, OsString},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    time::Instant,
};

use fs_err as fs;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    net::{RecvFlags, recv},
    process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal},
};

use crate::{
    Isolation,
    channel::Channel,
    child::{Launch, Layers, Prepared},
    filesystem::{Filesystem, WORK, WRITABLE},
    fork_server::{Fork, ForkServer},
    kernel, landlock,
    message::{Measured, Reply, Request, Setup},
    probe::{self, Witness},
    seccomp,
    watch::{Scope, watch},
};

/// The same for every program, whatever the judge's own environment holds.
const ENVIRONMENT: [&str; 9] = [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/box/rw/work",
    "TMPDIR=/tmp",
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
            }
            Ok(())
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
        let environment = ENVIRONMENT
            .iter()
            .map(|entry| CString::new(*entry))
            .collect::<Result<_, _>>()?;
        let (filesystem, work, scope) = if setup.is_bare {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
            let work = tempfile::Builder::new()
                .prefix("sandbox-bare-")
                .tempdir()?
                .keep();
            (None, work, Scope::Descendants)
        } else {
            rustix::system::sethostname(b"sandbox")?;
            let filesystem = Filesystem::build(&shown_pairs(&setup.shown))?;
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
            landlock: match &filesystem {
                Some(filesystem) => landlock::ruleset(&filesystem.readable, &[WRITABLE])
                    .map_err(io::Error::other)?,
                None => None,
            },
            filters: seccomp::filters().map_err(io::Error::other)?,
        };
        let witness = &outside.witness;
        let isolation = Isolation {
            user_namespace: has_user_namespace,
            pid_namespace: probe::pid_namespace(witness),
            network_namespace: probe::network_namespace(witness),
            mount_namespace: !setup.is_bare && probe::mount_namespace(witness),
            ipc_namespace: probe::ipc_namespace(witness),
            uts_namespace: !setup.is_bare && is_host_name_kept,
            unprivileged: !setup.is_bare && probe::unprivileged(layers.uid),
            seccomp: probe::seccomp(&layers),
            landlock: probe::landlock(&layers).then(kernel::landlock_version),
            rlimits: probe::rlimits(),
            proc: filesystem
                .as_ref()
                .is_none_or(|filesystem| filesystem.has_proc),
        };
        Ok((
            Container {
                has_proc: filesystem
                    .as_ref()
                    .is_some_and(|filesystem| filesystem.has_proc),
                fork_server: None,
                filesystem,
                work,
                layers,
                scope,
                environment,
            },
            isolation,
        ))
    }

    fn run(
        &mut self,
        channel: &Channel,
        request: &Request,
        descriptors: &[OwnedFd],
    ) -> io::Result<(Measured, Option<OwnedFd>)> {
        let result = self.run_once(channel, request, descriptors);
        if let Some(filesystem) = &mut self.filesystem {
            filesystem.reset()?;
        } else {
            fs::remove_dir_all(&self.work)?;
            fs::create_dir(&self.work)?;
        }
        result
    }

    fn run_once(
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
        for (name, content) in request.files.iter().zip(contents) {
            let path = self.work.join(OsString::from_vec(name.clone()));
            let mut from = std::fs::File::from(content.try_clone()?);
            io::copy(&mut from, &mut fs::File::create(path)?)?;
        }
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
            .ok_or_else(malformed)?;
        let fork = Fork {
            arguments: program,
            stdio,
            folder: &folder,
            limits: &request.limits,
            address_bytes,
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
        let (measured, is_server_kept) = watch(
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
        let collected = if request.collect.is_empty() || measured.exit != crate::Exit::Status(0) {
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

fn shown_pairs(flat: &[Vec<u8>]) -> Vec<(PathBuf, PathBuf)> {
    let path = |bytes: &Vec<u8>| PathBuf::from(OsString::from_vec(bytes.clone()));
    flat.chunks_exact(2)
        .map(|pair| (path(&pair[0]), path(&pair[1])))
        .collect()
}
