//! `iota doctor`: what this machine offers to the program, and what is missing.

mod gpu;

use super::{open, say};
use crate::{
    args::{Args, DoctorArgs},
    exit::Exit,
    render::human,
};
use std::process::Command;

struct Check {
    name: &'static str,
    good: bool,
    detail: String,
}

pub(super) fn doctor(args: &Args, doctor: &DoctorArgs) -> anyhow::Result<Exit> {
    if doctor.gpu_selftest {
        return gpu::self_test(args.device, doctor.json);
    }
    let store = open(args)?;
    let mut checks = Vec::new();
    for (name, program, flag, is_needed) in [
        ("C++ compiler", "g++", "--version", true),
        ("Python 3", "python3", "--version", true),
        ("PyPy 3", "pypy3", "--version", false),
        ("Java", "javac", "-version", false),
        ("Rust", "rustc", "--version", false),
    ] {
        let output = Command::new(program).arg(flag).output();
        let (good, detail) = match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                (true, text.lines().next().unwrap_or_default().to_owned())
            }
            _ if is_needed => (
                false,
                format!("`{program}` is not there; on Debian: apt-get install {program}"),
            ),
            _ => (
                true,
                format!("`{program}` is not there; such programs are not judged"),
            ),
        };
        checks.push(Check { name, good, detail });
    }
    let (isolation, layers) = sandbox_check();
    checks.push(isolation);
    let stat = rustix_free(store.root());
    checks.push(Check {
        name: "disk",
        good: stat.is_none_or(|free| free > 1 << 30),
        detail: stat.map_or("unknown".into(), |free| {
            format!("{} free in {}", human::bytes(free), store.root().display())
        }),
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    checks.push(Check {
        name: "processors",
        good: true,
        detail: cores.to_string(),
    });
    checks.push(gpu::check(args.device));
    checks.extend(gpu::nccl());
    let good = checks.iter().all(|check| check.good);
    if doctor.json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({"name": check.name, "good": check.good, "detail": check.detail}))
            .collect();
        let layers: Vec<_> = layers
            .iter()
            .map(|(name, holds, why)| serde_json::json!({"name": name, "holds": holds, "why": why}))
            .collect();
        say!(
            "{}",
            serde_json::json!({"v": 1, "good": good, "checks": list, "layers": layers})
        );
    } else {
        for check in &checks {
            let mark = if check.good { "✓" } else { "✗" };
            say!("{mark} {:<14} {}", check.name, check.detail);
            if check.name == "isolation" {
                for (name, holds, why) in &layers {
                    let mark = if *holds { "+" } else { "-" };
                    say!("    {mark} {name:<12} {why}");
                }
            }
        }
    }
    Ok(if good { Exit::Success } else { Exit::Failure })
}

/// Every layer, whether it holds, and why or why not.
type Layers = Vec<(&'static str, bool, String)>;

/// Starts one sandbox worker and says which of its layers proved themselves.
fn sandbox_check() -> (Check, Layers) {
    let options = sandbox::Options {
        workers: 1,
        ..sandbox::Options::default()
    };
    let (good, detail, layers) = match sandbox::Sandbox::new(&options) {
        Ok(sandbox) => {
            let isolation = sandbox.isolation();
            let detail = isolation.to_string().replace("isolation=", "");
            (true, detail, isolation.layers())
        }
        Err(error) => (false, error.to_string(), Vec::new()),
    };
    let check = Check {
        name: "isolation",
        good,
        detail,
    };
    (check, layers)
}

fn rustix_free(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
