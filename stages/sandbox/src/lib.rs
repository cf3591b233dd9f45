//! Runs untrusted contest programs: compiles them, runs them, measures and contains them.
//!
//! Used by the judge; knows nothing of problems or models and uses no other crate of the
//! workspace. Flow: [`Sandbox`] (pool) → `worker` → `launcher` (the same binary, started
//! again) → `container` (init, pid 1) → `child` (layers, exec) or, for Python, `fork_server`
//! → `watch`.
//!
//! Threat model: programs written by a language model, with the judge's user as the
//! prize. They must not read or change files, processes or networks of the host, outlive
//! their run, reach other runs, influence what is measured, or exhaust the machine.
//! Layers are independent: namespaces made once per worker, another user (root) or no
//! capabilities, resource limits, Landlock, seccomp. Each is proved at start by trying
//! what must fail ([`Isolation`]); below a minimum nothing is run. Not covered: flaws of
//! the kernel itself, timing side channels between workers, and memory beyond
//! `processes` times the limit for the tenth of a second between two samples.

mod cgroup;
mod channel;
mod child;
mod command;
mod compile;
mod container;
mod error;
mod filesystem;
mod fork_server;
mod isolation;
mod kernel;
mod landlock;
mod language;
mod launcher;
mod limits;
mod memory_file;
mod message;
mod normal_form;
mod outcome;
mod probe;
mod sandbox;
mod seccomp;
mod toolchain;
mod watch;
mod worker;

pub use command::CommandLanguage;
pub use compile::{CompileCounts, CompileError, Compiled};
pub use error::Error;
pub use isolation::Isolation;
pub use language::Language;
pub use launcher::{ARGUMENT as LAUNCHER_ARGUMENT, launcher_main_if_requested};
pub use limits::{Limits, Options};
pub use outcome::{Exit, MemoryMeasure, Outcome, Stopped, Verdict};
pub use sandbox::{Errand, Sandbox};

/// Lets a test binary be a launcher, whose `main` is not its own to write.
///
/// Expands to an entry of the binary's initialisers, which run before `main`; use it once,
/// at the top of an integration test. Programs call [`launcher_main_if_requested`] instead.
#[macro_export]
macro_rules! launcher_before_main {
    () => {
        #[allow(unsafe_code)]
        mod sandbox_launcher_before_main {
            extern "C" fn enter() {
                $crate::launcher_main_if_requested();
            }
            // SAFETY: the section holds pointers to functions without arguments, called once
            // before main by the C library.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static ENTER: extern "C" fn() = enter;
        }
    };
}
