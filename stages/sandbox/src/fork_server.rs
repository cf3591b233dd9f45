//! A warm interpreter that forks for every program, instead of a cold start each time.
//!
//! Held by a container's init, one per container. The server carries all layers of a judged
//! program from its own exec on, so what it forks has them too; it only adds the limits of
//! the run. A forked program's parent is init, which measures and kills it like any other.
//! The server is trusted until it has forked; a program of the same user can at most kill or
//! stop it, upon which it is started again and the run is a cold one.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::process::{Resource, getrlimit};

use crate::{
    Limits,
    channel::Channel,
    child::{Launch, Layers, Prepared},
};

const SCRIPT: &str = include_str!("fork_server.py");

/// Longest wait for an answer of the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct ForkServer {
    /// The interpreter's command, up to the program.
    command: Vec<CString>,
    pid: i32,
    channel: Channel,
}

/// A program to fork.
pub(crate) struct Fork<'a> {
    /// `main.py`, or `-c` and a text, and more arguments.
    pub(crate) arguments: &'a [CString],
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    pub(crate) folder: &'a CStr,
    pub(crate) limits: &'a Limits,
    pub(crate) address_bytes: u64,
    /// Where the program writes `0`, to be counted in a control group.
    pub(crate) group: Option<BorrowedFd<'a>>,
}

impl ForkServer {
    /// Starts the interpreter `command` as a server and waits until it is warm.
    pub(crate) fn start(
        command: &[CString],
        environment: &[CString],
        layers: &Layers,
    ) -> io::Result<ForkServer> {
        let (channel, theirs) = Channel::pair()?;
        let null = OwnedFd::from(
            fs_err::File::options()
                .write(true)
                .open("/dev/null")?
                .into_file(),
        );
        let mut arguments = command.to_vec();
        arguments.push(c"-c".to_owned());
        arguments.push(CString::new(SCRIPT)?);
        // Limits can be lowered after the fork, never raised: as much as this process may have.
        let hard = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let limits = Limits {
            cpu_s: hard(Resource::Cpu).clamp(1, 1 << 40) as f64 - 1.0,
            memory_bytes: u64::MAX,
            processes: number(hard(Resource::Nproc).saturating_sub(3)).min(1 << 30),
            output_bytes: hard(Resource::Fsize),
            open_files: number(hard(Resource::Nofile)),
        };
        let launch = Launch {
            arguments: &arguments,
            environment,
            executable: None,
            stdio: [theirs.as_fd(), null.as_fd(), null.as_fd()],
            folder: c"/",
            limits: &limits,
            address_bytes: hard(Resource::As),
            other_processes: 0,
            group: None,
            layers,
        };
        let server = ForkServer {
            command: command.to_vec(),
            pid: Prepared::new(&launch).start()?,
            channel,
        };
        drop(theirs);
        server.channel.set_timeout(PATIENCE)?;
        match server.answer()?.as_slice() {
            b"ready" => Ok(server),
            _ => Err(io::Error::other("the fork server did not start")),
        }
    }

    /// Whether this server serves an interpreter's command.
    pub(crate) fn serves(&self, command: &[CString]) -> bool {
        self.command == command
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Starts a program; its pid. After an error the server is of no further use.
    pub(crate) fn fork(&self, fork: &Fork<'_>) -> io::Result<i32> {
        let limits = fork.limits;
        // Python's numbers for limits are signed.
        let numbers = [
            limits.cpu_s.ceil() as u64 + 1,
            fork.address_bytes.min(i64::MAX as u64),
            limits.output_bytes.min(i64::MAX as u64),
            u64::from(limits.open_files),
            // Init, its keeper, the launcher and this server count as well where all share one user.
            u64::from(limits.processes) + 4,
        ];
        let mut message = fork.folder.to_bytes().to_vec();
        for number in numbers {
            message.push(0);
            message.extend_from_slice(number.to_string().as_bytes());
        }
        for argument in fork.arguments {
            message.push(0);
            message.extend_from_slice(argument.to_bytes());
        }
        let descriptors: Vec<BorrowedFd<'_>> = fork.stdio.into_iter().chain(fork.group).collect();
        self.channel.send(&message, &descriptors)?;
        std::str::from_utf8(&self.answer()?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::other("the fork server gave no process"))
    }

    fn answer(&self) -> io::Result<Vec<u8>> {
        match self.channel.receive()? {
            Some((message, _)) => Ok(message),
            None => Err(io::Error::other("the fork server ended")),
        }
    }
}
