//! What can go wrong in the sandbox itself, as opposed to in the program it runs.
//!
//! Callers branch on these: a program that fails is an [`crate::Outcome`] and never
//! an error; an error means that no statement about the program can be made (the
//! judge then writes the verdict `JudgeError`, or stops).

use std::{io, path::PathBuf};

use crate::Language;

/// The sandbox could not do its work; says nothing about the judged program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The launcher process could not be started.
    #[error("cannot start the sandbox launcher {path}: {source}")]
    Spawn {
        /// The executable that was tried.
        path: PathBuf,
        /// The reason given by the kernel.
        source: io::Error,
    },
    /// The re-executed binary did not answer as a launcher.
    #[error(
        "{path} was started as a sandbox launcher and did not answer ({reason}): its main must \
         call sandbox::launcher_main_if_requested() first, or Options::launcher name a binary that does"
    )]
    NoHandshake {
        /// The executable that was started.
        path: PathBuf,
        /// What was seen instead of the handshake.
        reason: String,
    },
    /// A container could not be built on this machine.
    #[error(
        "cannot build a container: {reason}; allow user namespaces, run as root, or accept no isolation with unsafe_mode"
    )]
    Container {
        /// The step that failed and why.
        reason: String,
    },
    /// A layer that the minimum asks for is absent or its self-test failed.
    #[error(
        "isolation below the minimum: {missing} not proved (have: {have}); unsafe_mode accepts this"
    )]
    TooWeak {
        /// The missing layers.
        missing: String,
        /// The layers that were proved.
        have: String,
    },
    /// A worker vanished or stopped answering during a request; it is replaced by the next call.
    #[error("a sandbox worker was lost: {reason}; the next call starts a new one")]
    WorkerLost {
        /// What was seen on its channel.
        reason: String,
    },
    /// A worker could not carry out a request.
    #[error("the sandbox could not start the program: {reason}")]
    Refused {
        /// The step that failed and the kernel's reason.
        reason: String,
    },
    /// The compiler or interpreter of a language is absent or does not work.
    #[error("{language:?} cannot be run here: {reason}")]
    Toolchain {
        /// The language asked for.
        language: Language,
        /// What was tried.
        reason: String,
    },
    /// An operation of the operating system failed outside the container.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The reason given by the kernel.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
