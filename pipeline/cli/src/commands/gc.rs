//! `iota gc`: what nothing needs any more, and what it would cost to make it again.

use super::{open, say};
use crate::{
    args::{Args, GcArgs},
    exit::Exit,
    render::human,
};
use std::time::Duration;
use store::GcOptions;

pub(super) fn gc(args: &Args, gc: &GcArgs) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        gc.grace >= 0.0 && gc.grace.is_finite(),
        "--grace is a number of hours, 0 or more"
    );
    let store = open(args)?;
    let report = store.gc(&GcOptions {
        delete: gc.delete,
        keep_runs: gc.keep_runs,
        grace: Duration::from_secs_f64(gc.grace * 3600.0),
    })?;
    if gc.json {
        let traces: Vec<_> = report
            .traces
            .iter()
            .map(|(stage, (count, wall_s))| serde_json::json!({"stage": stage, "results": count, "wall_s": wall_s}))
            .collect();
        say!(
            "{}",
            serde_json::json!({"v": 1, "deleted": gc.delete, "files": report.files, "bytes": report.bytes,
                "kept_bytes": report.kept_bytes, "partials": report.partials, "stages": traces})
        );
        return Ok(Exit::Success);
    }
    for (stage, (count, wall_s)) in &report.traces {
        say!(
            "  {stage:<12} {count} results, {} to make again",
            human::seconds(*wall_s)
        );
    }
    if report.partials > 0 {
        say!("  {} half-done stages", report.partials);
    }
    let verb = if gc.delete { "removed" } else { "can go" };
    say!(
        "{} files, {} {verb}; {} stay",
        human::count(report.files),
        human::bytes(report.bytes),
        human::bytes(report.kept_bytes)
    );
    if !gc.delete && report.files > 0 {
        say!("`iota gc --delete` removes them");
    }
    Ok(Exit::Success)
}
