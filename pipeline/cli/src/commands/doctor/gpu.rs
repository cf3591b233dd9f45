//! The GPU as `iota doctor` sees it: what is there, or why there is none; and the self-test.
//!
//! `--gpu-selftest` is what to run first on a machine with a new GPU, driver or CUDA: every
//! operation, then the network as a whole, held against the CPU. It ends with 1 if one is off.

use super::Check;
use crate::{commands::say, exit::Exit, render::human};
use anyhow::Context as _;
use model::device::{self, Choice, Device, Outcome};

/// What a user wants to know of the GPU. That there is none is no fault unless one was named.
pub(super) fn check(choice: Choice) -> Check {
    let name = "GPU";
    let wanted = match choice {
        Choice::Cpu => Choice::Auto,
        other => other,
    };
    match wanted.open() {
        Ok(opened) => match (opened.device, opened.note) {
            (Some(device), _) => Check {
                name,
                good: true,
                detail: describe(&device),
            },
            (None, note) => Check {
                name,
                good: true,
                detail: note.unwrap_or_else(|| {
                    "not looked for: built without CUDA (`make gpu` builds it)".to_owned()
                }),
            },
        },
        Err(error) => Check {
            name,
            good: false,
            detail: format!("{error:#}"),
        },
    }
}

/// The library that several GPUs train with; that it is not there is no fault. Nothing where the
/// program has no part for it.
pub(super) fn nccl() -> Option<Check> {
    let found = device::nccl_library()?;
    Some(Check {
        name: "NCCL",
        good: true,
        detail: match found {
            Ok((version, place)) => format!("{version}: {place}"),
            Err(error) => format!("{error:#}; it is only needed for several GPUs"),
        },
    })
}

fn describe(device: &Device) -> String {
    let mut text = device::name(device);
    if let Ok(memory) = device::memory(device) {
        let (free, total) = (memory.free_bytes, memory.total_bytes);
        text = format!(
            "{text}; {} of {} free",
            human::bytes(free),
            human::bytes(total)
        );
    }
    for (library, place) in device::libraries(device) {
        text = format!("{text}\n    {library}: {place}");
    }
    text
}

/// Runs the self-test and prints its table.
pub(super) fn self_test(choice: Choice, json: bool) -> anyhow::Result<Exit> {
    // Nothing else would be tested.
    let wanted = if matches!(choice, Choice::Auto | Choice::Cpu) {
        Choice::Cuda(0)
    } else {
        choice
    };
    let device = wanted
        .open()?
        .device
        .context("there is no device to test")?;
    if !json {
        say!("{}", describe(&device));
        say!("{:<64} {:>12} {:>12}", "", "difference", "allowed");
    }
    let (mut count, mut failed) = (0, 0);
    let mut error = None;
    for part in [device::test_operations, device::test_network] {
        // A part that breaks down must not hide what the other finds.
        match device::catching(|| part(&device)) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    count += 1;
                    failed += usize::from(!outcome.passes());
                    if print(&outcome, json).is_err() {
                        return Ok(Exit::Success);
                    }
                }
            }
            Err(found) => error = Some(found),
        }
    }
    if let Some(error) = error {
        return Err(error.context("the self-test broke down"));
    }
    if json {
        say!(
            "{}",
            serde_json::json!({"v": 1, "comparisons": count, "failed": failed})
        );
    } else {
        say!("{count} comparisons, {failed} failed");
    }
    Ok(if failed == 0 {
        Exit::Success
    } else {
        Exit::Failure
    })
}

fn print(outcome: &Outcome, json: bool) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = anstream::stdout().lock();
    let passes = outcome.passes();
    if json {
        let line = serde_json::json!({
            "name": outcome.name,
            "difference": outcome.difference,
            "allowed": outcome.tolerance,
            "passes": passes,
        });
        return writeln!(out, "{line}");
    }
    let mark = if passes { "✓" } else { "✗" };
    writeln!(
        out,
        "{mark} {:<62} {:>12.3e} {:>12.3e}",
        outcome.name, outcome.difference, outcome.tolerance
    )
}
