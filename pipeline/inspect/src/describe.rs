//! `iota show` for a table: its columns with statistics, and its first rows.
//!
//! One pass over the file for all statistics. Of strings and lists the statistics are those
//! of their lengths (characters, items): what a reader of programs and prompts asks for.

use crate::{print, table, value};
use anyhow::Context as _;
use polars::prelude::{DataFrame, DataType, Expr, LazyFrame, Schema, col, len};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Characters of a string that are shown in a row.
const CUT: usize = 100;
/// The statistics in the order of the table.
const STATISTICS: [&str; 5] = ["nulls", "unique", "min", "mean", "max"];

/// Says what is in the table at `path`.
pub(crate) fn run(path: &Path, rows: u32, as_json: bool) -> anyhow::Result<()> {
    let mut frame = table::scan(path)?;
    let read = |error| table::plain(&error);
    let context = || format!("cannot read `{}`", path.display());
    let schema = frame.collect_schema().map_err(read).with_context(context)?;
    let statistics = statistics(frame.clone(), &schema)
        .map_err(read)
        .with_context(context)?;
    let head = frame
        .limit(rows)
        .collect()
        .map_err(read)
        .with_context(context)?;
    let bytes = fs_err::metadata(path)?.len();
    let count = value::json(&value::at(&statistics.columns()[0], 0));
    if as_json {
        return print::lines([document(&schema, &statistics, &head, &count, bytes)]);
    }
    print::lines([format!(
        "{count} rows, {} columns, {bytes} bytes",
        schema.len()
    )])?;
    let heads = ["column", "type"].into_iter().chain(STATISTICS);
    let lines = schema.iter().enumerate().map(|(index, (name, kind))| {
        let figures = STATISTICS.iter().map(|statistic| {
            figure(&statistics, index, statistic)
                .map(|value| with_unit(&value, kind, statistic))
                .unwrap_or_default()
        });
        [name.to_string(), type_name(kind)]
            .into_iter()
            .chain(figures)
            .collect()
    });
    let right = [false, false, true, true, true, true, true];
    print::grid(heads.map(str::to_owned).collect(), lines.collect(), &right)?;
    print_rows(&head)
}

/// The first rows, a line a column: tables of prompts and programs are too wide for a grid.
fn print_rows(head: &DataFrame) -> anyhow::Result<()> {
    let columns = value::columns(head);
    let width = columns
        .iter()
        .map(|column| column.name().chars().count())
        .max()
        .unwrap_or(0);
    for row in 0..head.height() {
        print::lines(
            std::iter::once(format!("row {row}")).chain(columns.iter().map(|column| {
                let cell = value::cell(&value::at(column, row), CUT);
                format!("  {:width$}  {cell}", column.name())
                    .trim_end()
                    .to_owned()
            })),
        )?;
    }
    Ok(())
}

/// One row: the number of rows, then what each column is asked for, named `<index>.<what>`.
fn statistics(frame: LazyFrame, schema: &Schema) -> polars::prelude::PolarsResult<DataFrame> {
    let mut wanted = vec![len().alias("rows")];
    for (index, (name, kind)) in schema.iter().enumerate() {
        let column = || col(name.clone());
        let mut ask = |expression: Expr, what: &str| {
            wanted.push(expression.alias(format!("{index}.{what}")));
        };
        ask(column().null_count(), "nulls");
        let measured = match kind {
            DataType::String => Some(column().str().len_chars()),
            DataType::List(_) => Some(column().list().len()),
            kind if kind.is_primitive_numeric() => Some(column()),
            DataType::Boolean => None,
            _ => continue,
        };
        if !kind.is_nested() {
            ask(column().n_unique(), "unique");
        }
        match measured {
            Some(measured) => {
                ask(measured.clone().min(), "min");
                ask(measured.clone().mean(), "mean");
                ask(measured.max(), "max");
            }
            None => ask(column().mean(), "mean"),
        }
    }
    frame.select(wanted).collect()
}

fn figure(statistics: &DataFrame, index: usize, what: &str) -> Option<Value> {
    let column = statistics.column(&format!("{index}.{what}")).ok()?;
    Some(value::json(&value::at(column, 0)))
}

/// `12`, `12 chars`, `3.5 items`.
fn with_unit(figure: &Value, kind: &DataType, what: &str) -> String {
    let text = match figure {
        Value::Null => return "null".into(),
        Value::Number(number) if number.is_f64() => {
            value::number(number.as_f64().unwrap_or(f64::NAN))
        }
        other => other.to_string(),
    };
    match kind {
        DataType::String if !["nulls", "unique"].contains(&what) => format!("{text} chars"),
        DataType::List(_) if what != "nulls" => format!("{text} items"),
        _ => text,
    }
}

/// A type as polars writes it in Python, without the fields of structs.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::List(inner) => format!("list[{}]", type_name(inner)),
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            format!("struct[{}]", names.join(", "))
        }
        other => other.to_string(),
    }
}

fn document(
    schema: &Schema,
    statistics: &DataFrame,
    head: &DataFrame,
    count: &Value,
    bytes: u64,
) -> String {
    let columns: Vec<Value> = schema
        .iter()
        .enumerate()
        .map(|(index, (name, kind))| {
            let mut entry = Map::new();
            entry.insert("name".into(), Value::from(name.as_str()));
            entry.insert("type".into(), Value::from(type_name(kind)));
            for statistic in STATISTICS {
                if let Some(figure) = figure(statistics, index, statistic) {
                    let measure = match kind {
                        DataType::String | DataType::List(_)
                            if !["nulls", "unique"].contains(&statistic) =>
                        {
                            format!("{statistic}_length")
                        }
                        _ => statistic.to_owned(),
                    };
                    entry.insert(measure, figure);
                }
            }
            Value::Object(entry)
        })
        .collect();
    let names = value::columns(head);
    let rows: Vec<Value> = (0..head.height())
        .map(|row| {
            let fields = names.iter().map(|column| {
                (
                    column.name().to_string(),
                    value::json(&value::at(column, row)),
                )
            });
            Value::Object(fields.collect())
        })
        .collect();
    json!({"v": 1, "rows": count, "bytes": bytes, "columns": columns, "head": rows}).to_string()
}
