//! `iota sql`: one query over named tables, as a table on the terminal or as NDJSON.
//!
//! Scans are lazy: only the columns and row groups that the query needs are read. A file
//! that cannot be read stops only the queries that name it.

use crate::{print, table, table::Table, value};
use anyhow::anyhow;
use polars::{
    prelude::{DataFrame, PolarsError},
    sql::SQLContext,
};
use std::collections::BTreeMap;

/// Rows of a result that people see unless they ask for more.
const ROWS: u32 = 20;

/// Answers `query`.
pub(crate) fn run(
    query: &str,
    tables: &[Table],
    rows: Option<u32>,
    json: bool,
) -> anyhow::Result<()> {
    let mut context = SQLContext::new();
    let mut unreadable = BTreeMap::new();
    for table in tables {
        match table::scan(&table.path) {
            Ok(frame) => context.register(&table.name, frame),
            Err(error) => {
                unreadable.insert(table.name.as_str(), error);
            }
        }
    }
    // One row more than is printed tells whether there are more.
    let limit = rows.or((!json).then_some(ROWS));
    let answer = context.execute(query).and_then(|frame| match limit {
        Some(limit) => frame.limit(limit.saturating_add(1)).collect(),
        None => frame.collect(),
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            if let Some((name, error)) = unreadable
                .into_iter()
                .find(|(name, _)| mentions(&error, name))
            {
                return Err(error.context(format!("table `{name}`")));
            }
            return Err(explain(&error, &context.get_tables()));
        }
    };
    let shown = limit.map_or(answer.height(), |limit| answer.height().min(limit as usize));
    let more = answer.height() > shown;
    let answer = answer.head(Some(shown));
    if json {
        let columns = value::columns(&answer);
        print::lines((0..shown).map(|row| value::row(&columns, row)))?;
    } else {
        print::table(&answer)?;
        print::say(&said(&answer, more));
    }
    if json && more {
        print::say(&format!("the first {shown} rows; --rows N gives more"));
    }
    Ok(())
}

fn said(answer: &DataFrame, more: bool) -> String {
    let rows = answer.height();
    if more {
        format!("the first {rows} rows; --rows N gives more, --json the whole text of each")
    } else {
        format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
    }
}

/// Whether polars complains about this very relation.
fn mentions(error: &PolarsError, name: &str) -> bool {
    error.to_string().contains(&format!("relation '{name}'"))
}

/// Polars' message, which lists a table's columns itself, with the tables there are.
fn explain(error: &PolarsError, tables: &[String]) -> anyhow::Error {
    let message = table::plain(error);
    if !message.to_string().starts_with("relation '") {
        return message;
    }
    if tables.is_empty() {
        return anyhow!("{message}\n  help: no table is named; --table NAME=PATH does");
    }
    anyhow!("{message}\n  help: the tables are {}", tables.join(", "))
}
