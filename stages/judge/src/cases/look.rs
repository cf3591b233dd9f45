//! Looks whether a case did what it must not: files, processes, connections, memory, time.
//!
//! Used by `cases.rs`. Times are generous by a factor of three, since the machine may be busy.

use super::place::Placed;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A machine-checkable part of what must not happen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Check {
    kind: String,
    path: String,
    text: String,
    ms: f64,
    mb: u64,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The kind of check.
    pub kind: String,
    /// Whether what must not happen did not.
    pub passed: bool,
    /// What was seen.
    #[serde(rename = "found")]
    pub seen: String,
}

/// A patient observer.
pub(super) struct Look {
    clock: Instant,
    memory_before: u64,
    is_over: Arc<AtomicBool>,
    /// Gives the least memory that was free.
    watcher: Option<JoinHandle<u64>>,
}

const BUSY: f64 = 3.0;

impl Look {
    pub(super) fn start() -> Self {
        // 5 makes the peak of this process start anew; without it the peak is only too large.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let watcher = std::thread::spawn(move || {
            let mut least = free_bytes();
            while !flag.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                least = least.min(free_bytes());
            }
            least
        });
        Self {
            clock: Instant::now(),
            memory_before: free_bytes(),
            is_over,
            watcher: Some(watcher),
        }
    }

    pub(super) fn end(
        mut self,
        checks: &[Check],
        placed: &Placed,
        outputs: &[Vec<u8>],
        log: &str,
    ) -> Vec<Found> {
        let wall_ms = self.clock.elapsed().as_secs_f64() * 1e3;
        self.is_over.store(true, Ordering::Relaxed);
        let watcher = self.watcher.take().and_then(|watcher| watcher.join().ok());
        let dropped = self.memory_before.saturating_sub(watcher.unwrap_or(0)) >> 20;
        let has = |text: &str| {
            let text = text.as_bytes();
            let holds =
                |output: &Vec<u8>| output.windows(text.len().max(1)).any(|part| part == text);
            outputs.iter().any(holds)
        };
        let one = |check: &Check| {
            let (passed, found) = match check.kind.as_str() {
                "path_absent" => {
                    let is_there = Path::new(&check.path).exists();
                    (!is_there, format!("{} exists: {is_there}", check.path))
                }
                "no_process" => {
                    let left = left_over();
                    (left.is_empty(), format!("left over: {left:?}"))
                }
                "wall_under_ms" => (
                    wall_ms < check.ms * BUSY,
                    format!("{wall_ms:.0} ms, compiling included"),
                ),
                "judge_rss_under_mb" => {
                    let peak_mb = own_peak_bytes() >> 20;
                    (peak_mb < check.mb, format!("{peak_mb} MB"))
                }
                "host_mem_drop_under_mb" => (dropped < check.mb, format!("{dropped} MB")),
                "stdout_lacks" => {
                    let is_there = has(&check.text);
                    (!is_there, format!("{:?} in stdout: {is_there}", check.text))
                }
                "compile_log_lacks" => {
                    let is_there = log.contains(&check.text);
                    (
                        !is_there,
                        format!("{:?} in the log: {is_there}", check.text),
                    )
                }
                "tcp_not_connected" => {
                    let was = placed.was_connected();
                    (!was, format!("connected: {was}"))
                }
                "udp_not_received" => {
                    let was = placed.has_received();
                    (!was, format!("received: {was}"))
                }
                "same_stdout_every_run" => {
                    let is_same = outputs.windows(2).all(|pair| pair[0] == pair[1]);
                    (is_same, format!("same: {is_same}"))
                }
                other => (false, format!("this judge knows no check `{other}`")),
            };
            Found {
                kind: check.kind.clone(),
                passed,
                seen: found,
            }
        };
        checks.iter().map(one).collect()
    }
}

/// Processes that a program left: below a launcher nothing may be but forks of the judge itself
/// (init and its keeper) and the fork server.
fn left_over() -> Vec<String> {
    let own = std::process::id() as i32;
    let program = |pid: i32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let judge = program(own);
    let is_judge = |pid: i32| match program(pid) {
        Some(path) => Some(path) == judge,
        // To an ordinary user init does not show what it is.
        None => command(pid).contains(sandbox::LAUNCHER_ARGUMENT),
    };
    // A thread of the judge may have started a tool of its own meanwhile: only launchers count.
    let mut next: Vec<i32> = children(own);
    next.retain(|&pid| is_judge(pid));
    let mut found = Vec::new();
    while let Some(pid) = next.pop() {
        if !is_judge(pid) {
            let command = command(pid);
            if command.contains("The fork server") {
                continue;
            }
            found.push(format!("{pid} {command}"));
        }
        next.extend(children(pid));
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers: Vec<i32> = list
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            numbers
        })
        .collect()
}

fn command(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.chars().take(200).collect()
}

fn own_peak_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:")
}

fn free_bytes() -> u64 {
    field("/proc/meminfo", "MemAvailable:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
