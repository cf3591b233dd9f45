//! The judge's end of one worker: a launcher process and its container.
//!
//! Started by the pool, replaced by it after any anomaly. Dropping it closes the
//! channel, upon which init ends and with it every process of the container.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Error, Isolation,
    channel::Channel,
    launcher,
    message::{Measured, Reply, Request, Setup},
};

/// How many times a run's own bound on wall time, which a starved one may pass, and then how
/// long before a worker counts as lost.
const STARVED: f64 = 10.0;
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a launcher may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(5);

pub(crate) struct Worker {
    channel: Option<Channel>,
    launcher: Child,
}

impl Worker {
    /// Starts a launcher and waits until its container is ready.
    pub(crate) fn start(
        binary: &Path,
        setup: &Setup,
        timeout: Duration,
    ) -> Result<(Worker, Isolation), Error> {
        let (channel, theirs) = Channel::pair().map_err(Error::io("making a socket pair"))?;
        let launcher = Command::new(binary)
            .arg(launcher::ARGUMENT)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| Error::Spawn {
                path: binary.to_owned(),
                source,
            })?;
        let worker = Worker {
            channel: Some(channel),
            launcher,
        };
        let no_handshake = |reason: String| Error::NoHandshake {
            path: binary.to_owned(),
            reason,
        };
        let channel = worker.channel();
        channel
            .set_timeout(timeout)
            .map_err(Error::io("setting a timeout"))?;
        channel
            .send(&setup.encode(), &[])
            .map_err(|error| no_handshake(error.to_string()))?;
        let reply = match channel.receive() {
            Ok(Some((message, _))) => Reply::decode(&message),
            Ok(None) => return Err(no_handshake("it ended".to_owned())),
            Err(error) => return Err(no_handshake(error.to_string())),
        };
        match reply {
            Some(Reply::Ready(isolation)) => Ok((worker, isolation)),
            Some(Reply::Failed(reason)) => Err(Error::Container { reason }),
            _ => Err(no_handshake("not a message of this version".to_owned())),
        }
    }

    /// Carries out one run, and `meanwhile` beside it. After `WorkerLost` the worker is of no
    /// further use.
    pub(crate) fn run(
        &mut self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        meanwhile: impl FnOnce(),
    ) -> Result<(Measured, Option<OwnedFd>), Error> {
        let lost = |reason: String| Error::WorkerLost { reason };
        let channel = self.channel();
        let patience = Duration::from_secs_f64(STARVED * request.limits.wall_s()) + PATIENCE;
        channel
            .set_timeout(patience)
            .map_err(Error::io("setting a timeout"))?;
        channel
            .send(&request.encode(), descriptors)
            .map_err(|error| lost(error.to_string()))?;
        meanwhile();
        match channel.receive() {
            Ok(Some((message, descriptors))) => match Reply::decode(&message) {
                Some(Reply::Done(measured)) => Ok((measured, descriptors.into_iter().next())),
                Some(Reply::Failed(reason)) => Err(Error::Refused { reason }),
                _ => Err(lost("malformed answer".to_owned())),
            },
            Ok(None) => Err(lost("its init ended".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(lost(format!("no answer for {} s", patience.as_secs())))
            }
            Err(error) => Err(lost(error.to_string())),
        }
    }

    fn channel(&self) -> &Channel {
        self.channel.as_ref().expect("only drop takes the channel")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.channel.take());
        let asked = Instant::now();
        while asked.elapsed() < FAREWELL {
            match self.launcher.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
        // Init dies with its launcher, and the container with init. Nothing is left to report to.
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}
