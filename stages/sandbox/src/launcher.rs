//! The launcher: a small process per worker that makes the container and waits for it.
//!
//! It is the judge's own binary, started again with `__sandbox-launcher` before any data
//! are loaded, since forking from a large process is slow and its size would show in the
//! memory of every program. It stays outside the namespaces as the witness of the
//! self-test. Its descriptor 0 is the channel.
//!
//! Between it and init stands the keeper: in all of the container's namespaces but that of
//! processes, it renews the writable folder, which init, under the programs' own layers,
//! cannot; no program can see it.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

use fs_err as fs;
use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Signal, getegid, geteuid, set_parent_process_death_signal},
};

use crate::{
    cgroup::Group,
    channel::Channel,
    container::{self, Outside},
    filesystem, kernel,
    message::{Reply, Setup},
    probe::Witness,
};

/// First argument of a process that is to be a launcher.
pub const ARGUMENT: &str = "__sandbox-launcher";

/// Those of the keeper; init's own, of processes, comes on top.
const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Users that exist nowhere; the launcher's pid is added so that no two workers share one,
/// which would add up their process counts.
const FIRST_UID: u32 = 0x4000_0000;

/// The user inside a user namespace: not 0, so that exec grants nothing.
const INNER_ID: u32 = 1000;

/// Becomes a launcher, and never returns, if the process was started as one.
///
/// To be called first thing in `main` by every binary that uses [`crate::Sandbox`].
#[allow(clippy::exit, reason = "the process is a launcher and nothing else")]
pub fn launcher_main_if_requested() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == ARGUMENT)
    {
        std::process::exit(i32::from(run().is_err()));
    }
}

fn run() -> io::Result<()> {
    // 0, 1 and 2 must be taken, so that the descriptors of a program never land there.
    let channel = Channel::from_fd(fcntl_dupfd_cloexec(io::stdin().as_fd(), 3)?);
    kernel::close_other_descriptors(channel.as_fd());
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.file())?;
    rustix::stdio::dup2_stdout(null.file())?;
    let Some((message, _)) = channel.receive()? else {
        return Ok(());
    };
    let setup = Setup::decode(&message).ok_or_else(|| io::Error::other("malformed setup"))?;
    let witness = match Witness::new() {
        Ok(witness) => witness,
        Err(error) => return channel.send(&Reply::Failed(error.to_string()).encode(), &[]),
    };
    let group = Group::make();
    let host_name = rustix::system::uname().nodename().to_owned();

    let (mut go_reader, mut go_writer) = io::pipe()?;
    let (mut ask_reader, ask) = io::pipe()?;
    let (answer, mut answer_writer) = io::pipe()?;

    let own_uid = FIRST_UID + witness.pid.unsigned_abs();
    // Root of a user namespace (a container) may have no other user to turn programs into.
    let is_root = geteuid().is_root() && is_known(own_uid);
    // The keeper, or without namespaces init itself.
    let (child, has_user_namespace) = if setup.is_bare {
        (kernel::fork_into(0), false)
    } else {
        match if is_root {
            kernel::fork_into(NAMESPACES)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        } {
            Ok(pid) => (Ok(pid), false),
            Err(_) => (kernel::fork_into(NAMESPACES | libc::CLONE_NEWUSER), true),
        }
    };
    let pid = match child {
        Ok(pid) => pid,
        Err(error) => {
            let reason = format!("new namespaces: {error}");
            if let Ok(group) = group {
                group.remove();
            }
            return channel.send(&Reply::Failed(reason).encode(), &[]);
        }
    };
    if pid == 0 {
        drop(go_writer);
        go_reader.read_exact(&mut [0])?;
        let uid = (is_root && !has_user_namespace).then_some(own_uid);
        let outside = |keeper| Outside {
            witness,
            ask,
            answer,
            group,
            keeper,
        };
        if setup.is_bare {
            return container::serve(&channel, &setup, false, uid, outside(None));
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let (own, theirs) = Channel::pair()?;
        match kernel::fork_into(libc::CLONE_NEWPID) {
            Ok(0) => {
                drop(own);
                let outside = outside(Some(Channel::from_fd(theirs)));
                return container::serve(&channel, &setup, has_user_namespace, uid, outside);
            }
            Ok(_) => {
                drop((channel, outside, theirs, ask_reader, answer_writer));
                keep(&own)?;
                kernel::reap(true);
                return Ok(());
            }
            Err(error) => {
                let reason = format!("a new namespace of processes: {error}");
                return channel.send(&Reply::Failed(reason).encode(), &[]);
            }
        }
    }
    if has_user_namespace {
        let map = |outer: u32| format!("{INNER_ID} {outer} 1");
        let written = fs::write(format!("/proc/{pid}/setgroups"), "deny")
            .and_then(|()| fs::write(format!("/proc/{pid}/uid_map"), map(geteuid().as_raw())))
            .and_then(|()| fs::write(format!("/proc/{pid}/gid_map"), map(getegid().as_raw())));
        if let Err(error) = written {
            kernel::kill(pid, libc::SIGKILL)?;
            kernel::reap(true);
            if let Ok(group) = group {
                group.remove();
            }
            return channel.send(&Reply::Failed(error.to_string()).encode(), &[]);
        }
    }
    go_writer.write_all(&[1])?;
    drop((channel, ask, answer));
    if ask_reader.read_exact(&mut [0]).is_ok() {
        let is_kept = rustix::system::uname().nodename() == host_name.as_c_str();
        answer_writer.write_all(&[u8::from(is_kept)])?;
    }
    // Init closes its end when the self-test is over.
    let _ = ask_reader.read(&mut [0]);
    witness.remove();
    kernel::reap(true);
    if let Ok(group) = group {
        group.remove();
    }
    Ok(())
}

/// Whether a user of this number exists in this user namespace.
fn is_known(uid: u32) -> bool {
    let covers = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (first, _, count) = (numbers.next()?.ok()?, numbers.next(), numbers.next()?.ok()?);
        Some((first..first + count).contains(&uid.into()))
    };
    // Without the file there are no user namespaces, and every user exists.
    fs::read_to_string("/proc/self/uid_map").map_or(true, |map| {
        map.lines().any(|line| covers(line) == Some(true))
    })
}

/// Renews the writable folder whenever init asks, until init ends.
fn keep(init: &Channel) -> io::Result<()> {
    while init.receive()?.is_some() {
        let answer = match filesystem::renew() {
            Ok(()) => filesystem::RENEWED.to_vec(),
            Err(error) => error.to_string().into_bytes(),
        };
        init.send(&answer, &[])?;
    }
    Ok(())
}
