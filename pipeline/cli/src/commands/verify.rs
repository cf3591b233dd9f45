//! `iota verify`: is every byte in the store what it says it is?

use super::{open, say};
use crate::{
    args::{Args, VerifyArgs},
    exit::Exit,
    render::human,
};
use store::Finding;

pub(super) fn verify(args: &Args, verify: &VerifyArgs) -> anyhow::Result<Exit> {
    let store = open(args)?;
    let report = store.verify(verify.repair, |_| {})?;
    let lines: Vec<String> = report
        .findings
        .iter()
        .map(|finding| match finding {
            Finding::CorruptObject(path) => format!("corrupt object {}", path.display()),
            Finding::DamagedRecord(path) => format!("damaged record {}", path.display()),
            Finding::BrokenTrace { id, address } => {
                format!("{id} names {address}, which is missing or corrupt")
            }
        })
        .collect();
    if verify.json {
        say!(
            "{}",
            serde_json::json!({"v": 1, "objects": report.objects, "bytes": report.bytes,
                "traces": report.traces, "repaired": verify.repair, "findings": lines})
        );
    } else {
        for line in &lines {
            say!("  {line}");
        }
        say!(
            "{} objects ({}), {} traces, {} findings",
            human::count(report.objects),
            human::bytes(report.bytes),
            report.traces,
            lines.len()
        );
        if !lines.is_empty() {
            if verify.repair {
                say!("what was wrong is removed; `iota run` makes it again");
            } else {
                say!(
                    "`iota verify --repair` removes what is wrong, so that the next run makes it again"
                );
            }
        }
    }
    Ok(if lines.is_empty() || verify.repair {
        Exit::Success
    } else {
        Exit::Failure
    })
}
