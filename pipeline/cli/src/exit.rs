//! The exit codes, all of them.

/// What the process tells its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Success = 0,
    /// A stage failed, or a check found something.
    Failure = 1,
    /// The command line or the recipe cannot be right.
    Usage = 2,
    /// `plan --exit-code`: there is work to do.
    WorkNeeded = 3,
    /// Interrupted with everything saved; the same command goes on (EX_TEMPFAIL).
    Interrupted = 75,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
