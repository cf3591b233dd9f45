//! What one run may use, and how a pool is set up.
//!
//! Read by `run` and `compile`; carried to the container in each request. Times are
//! CPU time: wall time only ends a program that sleeps (`Limits::idle_s`) or, where sleeping
//! and starving look alike, one that stays away for ten times its limit.

use std::{path::PathBuf, time::Duration};

use crate::CommandLanguage;

/// Upper bounds on what one run may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// CPU seconds, user and system, summed over all processes of the run.
    pub cpu_s: f64,
    /// Resident memory in bytes; the address space is bounded a little above it.
    pub memory_bytes: u64,
    /// Processes and threads alive at one time.
    pub processes: u32,
    /// Size in bytes of standard output, of standard error and of any file written.
    pub output_bytes: u64,
    /// Open file descriptors per process.
    pub open_files: u32,
}

impl Default for Limits {
    /// One second, 256 MiB, 64 processes, 64 MiB of output, 64 open files.
    fn default() -> Self {
        Limits {
            cpu_s: 1.0,
            memory_bytes: 256 << 20,
            processes: 64,
            output_bytes: 64 << 20,
            open_files: 64,
        }
    }
}

impl Limits {
    /// Seconds a program may be neither running nor waiting for a processor.
    pub fn idle_s(&self) -> f64 {
        self.cpu_s.max(2.0)
    }

    /// Wall seconds after which a run ends where it is not known whether it slept or starved.
    pub fn wall_s(&self) -> f64 {
        10.0 * self.cpu_s + 5.0
    }
}

/// How a [`crate::Sandbox`] is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Containers that work side by side; calls beyond this number wait.
    pub workers: usize,
    /// Folder for the precompiled header, made when absent; without it none is used.
    pub cache_dir: Option<PathBuf>,
    /// The interpreter for Python 3; by default `/usr/bin/python3`, then the first on `PATH`.
    pub python3: Option<PathBuf>,
    /// Binary to run as launcher; by default the running one.
    pub launcher: Option<PathBuf>,
    /// Bytes of compiled programs kept for identical sources.
    pub program_cache_bytes: u64,
    /// Languages made and run by commands; [`crate::Language::Command`] is a place in this list.
    pub languages: Vec<CommandLanguage>,
    /// Make namespaces where that is allowed; without them Landlock and seccomp must do.
    pub use_namespaces: bool,
    /// Run even where isolation is below the minimum. For trusted programs only.
    pub unsafe_mode: bool,
    /// How long a worker may take to build its container.
    pub start_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cache_dir: None,
            python3: None,
            launcher: None,
            program_cache_bytes: 256 << 20,
            languages: Vec::new(),
            use_namespaces: true,
            unsafe_mode: false,
            start_timeout: Duration::from_mins(1),
        }
    }
}
