//! Waiting for a run to end, and ending it when a limit is reached.
//!
//! Called by init with the pid of the first process. Everything else that runs in the
//! container belongs to the same run: its CPU time counts, and it is killed when the
//! first process ends. A run ends early by CPU time used, by time spent neither running
//! nor waiting for a processor or a disk (asleep is not the same as starved: a busy machine must
//! not change a verdict), by memory seen when sampling, and where starving cannot be seen
//! by wall time. Time in which init itself did not get on (stopped, frozen, starved) is nobody's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::{
    Exit, Limits, Stopped,
    kernel::{self, Reaped},
    message::Measured,
};

/// How processes of the run are found and ended.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scope {
    /// All processes of the pid namespace but init.
    Namespace,
    /// All descendants of the calling process (no pid namespace).
    Descendants,
}

const SHORTEST_TICK: Duration = Duration::from_millis(5);
const LONGEST_TICK: Duration = Duration::from_millis(100);

/// Waits for `leader`, kills what is left and reaps it; `is_abandoned` tells that nobody waits
/// for the answer any more. Also says whether `server` is still there and alone.
pub(crate) fn watch(
    leader: i32,
    server: Option<i32>,
    started: Instant,
    limits: &Limits,
    scope: Scope,
    is_abandoned: impl Fn() -> bool,
) -> (Measured, bool) {
    let mut run = Run {
        leader,
        server,
        status: None,
        cpu_ns: 0,
        memory_bytes: 0,
        waits: Waits::default(),
    };
    let limit_ns = (limits.cpu_s * 1e9) as u64;
    let mut stopped = None;
    let mut wall_ns = 0;
    let mut is_first = true;
    let mut stalled = Duration::ZERO;
    loop {
        while run.status.is_none() {
            match kernel::reap(false) {
                Reaped::Child(ended) => run.note(&ended),
                Reaped::NoneYet | Reaped::NoChildren => break,
            }
        }
        if run.status.is_some() {
            wall_ns = started.elapsed().as_nanos() as u64;
            break;
        }
        let mut tick = SHORTEST_TICK;
        if !is_first {
            let alive = processes(&run, scope);
            run.waits.note(&alive);
            let used_ns = run.cpu_ns + live_cpu_ns(&alive);
            let wall = started.elapsed().saturating_sub(stalled);
            stopped = reason_to_stop(&mut run, wall, used_ns, limits, &alive);
            if stopped.is_some() || is_abandoned() {
                break;
            }
            let left = Duration::from_nanos(limit_ns.saturating_sub(used_ns));
            tick = left.clamp(SHORTEST_TICK, LONGEST_TICK);
        }
        is_first = false;
        let asleep = Instant::now();
        kernel::await_child_signal(tick);
        stalled += beyond(tick, asleep.elapsed());
    }
    let is_server_kept = run.server.is_some() && ends_alone(&mut run, scope);
    if !is_server_kept {
        end_all(&mut run, scope);
    }
    if wall_ns == 0 {
        wall_ns = started.elapsed().as_nanos() as u64;
    }
    let status = run.status.unwrap_or(libc::SIGKILL);
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Status(libc::WEXITSTATUS(status))
    };
    let measured = Measured {
        exit,
        stopped,
        cpu_ns: run.cpu_ns,
        wall_ns,
        memory_bytes: run.memory_bytes,
    };
    (measured, is_server_kept)
}

/// How much longer than it wanted to init slept, where that is no everyday delay.
fn beyond(wanted: Duration, slept: Duration) -> Duration {
    let over = slept.saturating_sub(wanted);
    if over > LONGEST_TICK {
        over
    } else {
        Duration::ZERO
    }
}

/// Ends the first process if it has not ended; whether then nothing is left but the server.
fn ends_alone(run: &mut Run, scope: Scope) -> bool {
    if run.status.is_none() {
        // An error means that it has just ended.
        let _ = kernel::kill(run.leader, libc::SIGKILL);
    }
    while let Reaped::Child(ended) = kernel::reap(run.status.is_none()) {
        run.note(&ended);
    }
    run.server.is_some_and(is_undisturbed) && processes(run, scope).is_empty()
}

/// Kills and reaps everything, a fork server too.
fn end_all(run: &mut Run, scope: Scope) {
    let mut is_blocking = false;
    loop {
        match kernel::reap(is_blocking) {
            Reaped::Child(ended) => run.note(&ended),
            // Whoever loses its parent becomes a child of init: without children all are gone.
            Reaped::NoChildren => break,
            Reaped::NoneYet if scope == Scope::Namespace => {
                kill_all(run, scope);
                is_blocking = true;
                continue;
            }
            Reaped::NoneYet => {
                kill_all(run, scope);
                kernel::await_child_signal(SHORTEST_TICK);
            }
        }
        is_blocking = false;
    }
}

/// Whether no signal has stopped a process, or is about to end or stop it.
fn is_undisturbed(pid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let value = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(":\t")?.to_owned()))
    };
    let is_none = |mask: String| mask.bytes().all(|digit| digit == b'0');
    value("State").is_some_and(|state| state.starts_with(['S', 'R', 'D']))
        && value("SigPnd").is_some_and(is_none)
        && value("ShdPnd").is_some_and(is_none)
}

struct Run {
    leader: i32,
    /// A fork server, until it ends.
    server: Option<i32>,
    status: Option<i32>,
    cpu_ns: u64,
    memory_bytes: u64,
    waits: Waits,
}

impl Run {
    fn note(&mut self, ended: &kernel::Ended) {
        if self.server == Some(ended.pid) {
            self.server = None;
            return;
        }
        self.cpu_ns += ended.cpu_ns;
        self.memory_bytes = self.memory_bytes.max(ended.memory_bytes);
        if ended.pid == self.leader {
            self.status = Some(ended.status);
        }
    }
}

fn reason_to_stop(
    run: &mut Run,
    wall: Duration,
    used_ns: u64,
    limits: &Limits,
    alive: &[i32],
) -> Option<Stopped> {
    if used_ns as f64 > limits.cpu_s * 1e9 {
        return Some(Stopped::Cpu);
    }
    let wall_s = wall.as_secs_f64();
    let away_s = wall_s - used_ns as f64 / 1e9;
    if away_s > limits.idle_s() {
        // Where starving is seen, a bound on wall time would only end the starved.
        let waits = &run.waits;
        // A program may wait for a disk as long as it likes to: not for ever.
        let blocked_s = waits.blocked.as_secs_f64().min(limits.wall_s());
        match waits.starved_ns {
            Some(starved) if away_s - starved as f64 / 1e9 - blocked_s > limits.idle_s() => {
                return Some(Stopped::Idle);
            }
            None if wall_s > limits.wall_s() => return Some(Stopped::Wall),
            _ => {}
        }
    }
    let resident = memory_together(alive, limits.memory_bytes);
    run.memory_bytes = run.memory_bytes.max(resident);
    (resident > limits.memory_bytes).then_some(Stopped::Memory)
}

/// The processes of the run that live, or wait to be reaped.
fn processes(run: &Run, scope: Scope) -> Vec<i32> {
    let numbers = |text: String| {
        text.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    match scope {
        Scope::Namespace => {
            let Ok(entries) = fs::read_dir("/proc") else {
                return vec![run.leader];
            };
            entries
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|&pid| pid != 1 && Some(pid) != run.server)
                .collect()
        }
        Scope::Descendants => {
            let mut found: Vec<i32> = Vec::new();
            let mut next = vec![std::process::id() as i32];
            while let Some(pid) = next.pop() {
                let list = format!("/proc/{pid}/task/{pid}/children");
                let children: Vec<i32> = fs::read_to_string(list).map_or(Vec::new(), numbers);
                found.extend(&children);
                next.extend(children);
            }
            found
        }
    }
}

fn live_cpu_ns(alive: &[i32]) -> u64 {
    alive
        .iter()
        .map(|&pid| kernel::process_cpu_ns(pid).unwrap_or(0) + waited_cpu_ns(pid))
        .sum()
}

/// CPU time of the children that a live process has waited for, to the kernel's 10 ms.
fn waited_cpu_ns(pid: i32) -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0;
    };
    stat_fields(&stat)
        .skip(13)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * TICK_NS
}

/// What kept a run from getting on that is none of its doing, noted from tick to tick: a thread
/// that ends takes its own account with it.
#[derive(Default)]
struct Waits {
    /// Time that threads were ready and waited for a processor; `None` where it is not known.
    starved_ns: Option<u64>,
    /// Time with a thread in uninterruptible sleep, as a rule for a disk.
    blocked: Duration,
    /// By thread, what it had waited when last seen.
    delays: BTreeMap<i32, u64>,
    noted: Option<Instant>,
}

impl Waits {
    fn note(&mut self, pids: &[i32]) {
        let now = Instant::now();
        let since = self.noted.map_or(Duration::ZERO, |noted| now - noted);
        self.noted = Some(now);
        let mut delays = BTreeMap::new();
        let mut is_blocked = false;
        for (thread, folder) in pids.iter().flat_map(|&pid| threads(pid)) {
            let delay = fs::read_to_string(folder.join("schedstat"));
            let delay = delay.ok().and_then(|numbers| {
                let delay = numbers.split_whitespace().nth(1)?;
                delay.parse::<u64>().ok()
            });
            if let Some(delay) = delay {
                let before = self.delays.get(&thread).copied().unwrap_or(0);
                *self.starved_ns.get_or_insert(0) += delay.saturating_sub(before);
                delays.insert(thread, delay);
            }
            is_blocked |= fs::read_to_string(folder.join("stat"))
                .is_ok_and(|stat| stat_fields(&stat).next() == Some("D"));
        }
        self.delays = delays;
        if is_blocked {
            self.blocked += since;
        }
    }
}

/// The threads of a process that live, each with its folder in `/proc`.
fn threads(pid: i32) -> impl Iterator<Item = (i32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    entries.flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let thread = path.file_name()?.to_str()?.parse().ok()?;
        Some((thread, path))
    })
}

/// The fields of `/proc/PID/stat` from the state on. The name before them may hold blanks and
/// brackets: fields count from its last bracket.
fn stat_fields(stat: &str) -> impl Iterator<Item = &str> {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace()
}

/// Resident memory of all processes together; shared pages count once where that decides.
fn memory_together(pids: &[i32], limit_bytes: u64) -> u64 {
    let page = kernel::page_bytes();
    let resident = |pid: &i32| -> Option<u64> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * page)
    };
    let sum: u64 = pids.iter().filter_map(resident).sum();
    if sum <= limit_bytes || pids.len() < 2 {
        return sum;
    }
    let proportional = |pid: &i32| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    pids.iter().filter_map(proportional).sum()
}

fn kill_all(run: &Run, scope: Scope) {
    // Errors mean that nothing is left to kill.
    match scope {
        Scope::Namespace => {
            let _ = kernel::kill(-1, libc::SIGKILL);
        }
        Scope::Descendants => {
            for pid in processes(run, scope) {
                let _ = kernel::kill(pid, libc::SIGKILL);
            }
        }
    }
}
