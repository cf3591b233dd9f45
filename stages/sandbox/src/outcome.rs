//! What is known about one finished run, and the verdict that follows from it.
//!
//! Made by `Sandbox::run` from numbers that the container's init measured and from
//! output files that no process of the run can touch any more. Whether the output is
//! right is not decided here: that is the caller's comparison.

use crate::Limits;

/// How the first process of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Why init killed a run before it ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The CPU time was used up.
    Cpu,
    /// It slept too long.
    Idle,
    /// The last-resort bound on wall time.
    Wall,
    /// The resident memory of all its processes together was too much.
    Memory,
}

/// How `Outcome::memory_bytes` was measured and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryMeasure {
    /// `RLIMIT_AS` bounds each process; the peak is the largest of any one process,
    /// or the largest sum seen when sampling.
    Rlimit,
    /// A control group bounds all processes of the run together and knows their peak; the
    /// address space is bounded as well.
    ControlGroup,
    /// A control group bounds all processes of the run together, but its kernel cannot tell the
    /// peak of one run (version 2 before Linux 6.12): that is measured as with `Rlimit`.
    ControlGroupLimit,
}

impl MemoryMeasure {
    /// The name in reports: `rlimit`, `cgroup-peak` or `cgroup-limit`.
    pub fn name(self) -> &'static str {
        match self {
            MemoryMeasure::Rlimit => "rlimit",
            MemoryMeasure::ControlGroup => "cgroup-peak",
            MemoryMeasure::ControlGroupLimit => "cgroup-limit",
        }
    }
}

/// One finished run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the first process ended.
    pub exit: Exit,
    /// Set if init ended the run.
    pub stopped: Option<Stopped>,
    /// CPU seconds used by all processes together.
    pub cpu_s: f64,
    /// Wall seconds from start to end of the first process.
    pub wall_s: f64,
    /// Peak memory in bytes.
    pub memory_bytes: u64,
    /// How that was measured.
    pub memory_measure: MemoryMeasure,
    /// Standard output; at most `Limits::output_bytes` long.
    pub stdout: Vec<u8>,
    /// The first few kilobytes of standard error.
    pub stderr_head: Vec<u8>,
    /// CPU time used is above the limit; nothing else sets this.
    pub is_over_time: bool,
    /// It slept beyond the idle limit or outlived the wall bound.
    pub is_idle: bool,
    /// Peak memory reached the limit.
    pub is_over_memory: bool,
    /// Output reached the size limit.
    pub is_over_output: bool,
}

/// What a judge says about a program on a test, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The program does not compile.
    CompileError,
    /// The judge failed; nothing is known about the program.
    JudgeError,
    /// Output limit reached.
    OutputLimit,
    /// More CPU time than allowed, or asleep for too long.
    TimeLimit,
    /// More memory than allowed.
    MemoryLimit,
    /// Killed by a signal, or exit status not 0.
    RuntimeError,
    /// Ended well with a wrong output.
    WrongAnswer,
    /// Ended well with a right output.
    Accepted,
}

impl Verdict {
    /// The short code used in tables: `CE JE OLE TLE MLE RE WA AC`.
    pub fn code(self) -> &'static str {
        match self {
            Verdict::CompileError => "CE",
            Verdict::JudgeError => "JE",
            Verdict::OutputLimit => "OLE",
            Verdict::TimeLimit => "TLE",
            Verdict::MemoryLimit => "MLE",
            Verdict::RuntimeError => "RE",
            Verdict::WrongAnswer => "WA",
            Verdict::Accepted => "AC",
        }
    }
}

impl Outcome {
    /// The verdict if the run did not end well, `None` if its output is to be compared.
    pub fn failure(&self) -> Option<Verdict> {
        if self.is_over_output {
            Some(Verdict::OutputLimit)
        } else if self.is_over_time || self.is_idle {
            Some(Verdict::TimeLimit)
        } else if self.is_over_memory {
            Some(Verdict::MemoryLimit)
        } else if self.exit != Exit::Status(0) {
            Some(Verdict::RuntimeError)
        } else {
            None
        }
    }

    /// Sets the flags from the measured numbers; `written_bytes` is the longer of the two outputs.
    pub(crate) fn flagged(mut self, limits: &Limits, written_bytes: u64) -> Self {
        self.is_over_time = self.cpu_s > limits.cpu_s;
        self.is_idle = matches!(self.stopped, Some(Stopped::Idle | Stopped::Wall));
        self.is_over_memory =
            self.memory_bytes >= limits.memory_bytes || self.stopped == Some(Stopped::Memory);
        self.is_over_output =
            written_bytes >= limits.output_bytes || self.exit == Exit::Signal(libc::SIGXFSZ);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Exit, cpu_s: f64, memory_bytes: u64, written_bytes: u64) -> Option<Verdict> {
        Outcome {
            exit,
            stopped: None,
            cpu_s,
            wall_s: 0.0,
            memory_bytes,
            memory_measure: MemoryMeasure::Rlimit,
            stdout: Vec::new(),
            stderr_head: Vec::new(),
            is_over_time: false,
            is_idle: false,
            is_over_memory: false,
            is_over_output: false,
        }
        .flagged(&Limits::default(), written_bytes)
        .failure()
    }

    #[test]
    fn the_first_limit_reached_in_the_order_of_precedence_decides() {
        let killed = Exit::Signal(9);
        assert_eq!(
            ended(killed, 1.5, 1 << 30, 64 << 20),
            Some(Verdict::OutputLimit)
        );
        assert_eq!(ended(killed, 1.5, 1 << 30, 0), Some(Verdict::TimeLimit));
        assert_eq!(ended(killed, 0.5, 1 << 30, 0), Some(Verdict::MemoryLimit));
        assert_eq!(ended(killed, 0.5, 0, 0), Some(Verdict::RuntimeError));
        assert_eq!(
            ended(Exit::Status(1), 0.5, 0, 0),
            Some(Verdict::RuntimeError)
        );
        assert_eq!(
            ended(Exit::Status(0), 1.0, 0, 0),
            None,
            "a limit may be used in full"
        );
    }

    #[test]
    fn a_right_exit_status_does_not_hide_a_limit() {
        assert_eq!(ended(Exit::Status(0), 1.01, 0, 0), Some(Verdict::TimeLimit));
    }
}
