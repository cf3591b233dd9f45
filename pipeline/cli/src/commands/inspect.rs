//! The parts that polars does, in a program of its own: `iota-inspect`.
//!
//! polars is most of a cold build and only looks at tables, so it is left out of this
//! binary and called the way git and cargo call sub-commands of theirs.

use super::open;
use crate::{
    args::{Args, SqlArgs},
    exit::Exit,
};
use anyhow::Context as _;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(super) fn sql(args: &Args, sql: &SqlArgs) -> anyhow::Result<Exit> {
    let store = open(args)?;
    let mut command = Command::new(program()?);
    command
        .arg("sql")
        .arg(&sql.query)
        .arg("--rows")
        .arg(sql.rows.to_string());
    if sql.json {
        command.arg("--json");
    }
    let mut found = false;
    for (recipe, node) in store.linked()? {
        if recipe != sql.recipe {
            continue;
        }
        let Some(trace) = store.linked_trace(&recipe, &node)? else {
            continue;
        };
        let tables: Vec<_> = trace
            .outputs
            .iter()
            .filter(|(_, record)| record.extension == "parquet")
            .collect();
        // SQL has no `-` in names.
        let node = node.replace('-', "_");
        for (index, (output, record)) in tables.iter().enumerate() {
            let path = store.checkout(record.address)?;
            command
                .arg("--table")
                .arg(format!("{node}_{output}={}", path.display()));
            if index == 0 {
                command
                    .arg("--table")
                    .arg(format!("{node}={}", path.display()));
            }
            found = true;
        }
    }
    anyhow::ensure!(
        found,
        "recipe `{}` has no tables yet\n  help: `iota run --recipe {}` makes them",
        sql.recipe,
        sql.recipe
    );
    let status = command
        .status()
        .context("iota-inspect could not be started")?;
    Ok(if status.success() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Shows a table's schema, first rows and statistics.
pub(super) fn table(path: &Path, rows: usize) -> anyhow::Result<()> {
    match program() {
        Ok(program) => {
            let status = Command::new(program)
                .arg("show")
                .arg(path)
                .arg("--rows")
                .arg(rows.to_string())
                .status()?;
            anyhow::ensure!(
                status.success(),
                "iota-inspect could not read {}",
                path.display()
            );
            Ok(())
        }
        Err(missing) => {
            anstream::println!("  {}", path.display());
            anstream::eprintln!("{missing}");
            Ok(())
        }
    }
}

/// The program: beside this one, or on the search path.
fn program() -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("iota-inspect");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("iota-inspect"))
        .find(|candidate| candidate.is_file())
        .context(
            "rows and SQL are shown by `iota-inspect`, which is not built yet\n  help: `make inspect` builds it (polars takes some minutes the first time)",
        )
}
