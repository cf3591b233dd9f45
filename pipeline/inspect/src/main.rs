//! `iota-inspect`: looks into Parquet tables with polars, for people and for scripts.
//!
//! An external sub-command: `iota sql` and the table part of `iota show` start it, as
//! `cargo` and `git` do with theirs. It is a program of its own because polars takes longer
//! to compile than everything else together and no stage needs it.
//!
//! Reads the files it is given and nothing else; it knows no store, no recipe, no stage.
//! Data goes to stdout, everything said about it to stderr.

mod describe;
mod print;
mod sql;
mod table;
mod value;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// Looks into Parquet tables.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answers an SQL query over named tables.
    ///
    /// A name with a dash or a dot is written in double quotes:
    /// `select count(*) from "sample-base"`.
    Sql {
        /// The query: one SELECT in polars' dialect.
        query: String,
        /// A table and its file; give one for each table.
        #[arg(long = "table", value_name = "NAME=PATH", value_parser = table::parse)]
        tables: Vec<table::Table>,
        /// How many rows at most [default: 20, with --json all].
        #[arg(long, value_name = "N")]
        rows: Option<u32>,
        /// One JSON object a row.
        #[arg(long)]
        json: bool,
    },
    /// Says what is in one table: columns, statistics, first rows.
    Show {
        /// The Parquet file; its name does not matter.
        path: PathBuf,
        /// How many rows to print.
        #[arg(long, value_name = "N", default_value_t = 3)]
        rows: u32,
        /// All of it as one JSON object.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Sql {
            query,
            tables,
            rows,
            json,
        } => sql::run(&query, &tables, rows, json),
        Command::Show { path, rows, json } => describe::run(&path, rows, json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough: `iota sql ... | head`.
        Err(error) if print::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
