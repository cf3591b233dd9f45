//! JSON lines: one object a line.
//!
//! Called by `raw.rs` for files that begin with a brace. The first line must have every wanted
//! key, else the column is reported as missing; in later lines an absent key is null, since some
//! writers leave nulls out. A line with half a surrogate pair (`\ud800`, which Python writes where a
//! program was not UTF-8) is text that is not UTF-8, to be counted like bytes that are not.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use fs_err::File;
use serde_json::{Map, Value};

use super::{Cell, Record, Records, Shape, Wanted};

pub(super) fn records(path: &Path, label: &str, wanted: &[Wanted]) -> Result<Records> {
    let mut first = Vec::new();
    BufReader::new(File::open(path)?).read_until(b'\n', &mut first)?;
    let first: Map<String, Value> = serde_json::from_slice(&first)
        .with_context(|| format!("{label}, line 1, is not a JSON object"))?;
    for column in wanted.iter().filter_map(|wanted| wanted.column.as_ref()) {
        if !first.contains_key(column) {
            let have: Vec<_> = first.keys().map(String::as_str).collect();
            bail!(
                "{label} has no column `{column}`; its columns are: {}",
                have.join(", ")
            );
        }
    }
    let lines = BufReader::new(File::open(path)?).split(b'\n');
    let (label, wanted) = (label.to_owned(), wanted.to_vec());
    let records = lines.enumerate().filter_map(move |(number, line)| {
        let row = number as u64 + 1;
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(error.into())),
        };
        if line.trim_ascii().is_empty() {
            return None;
        }
        Some(cells(&line, &wanted, &label, row).map(|cells| Record { row, cells }))
    });
    Ok(Box::new(records))
}

fn cells(line: &[u8], wanted: &[Wanted], label: &str, row: u64) -> Result<Vec<Cell>> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Ok(vec![Cell::NotUtf8; wanted.len()]);
    };
    let object: Map<String, Value> = match serde_json::from_str(text) {
        Ok(object) => object,
        Err(_) if has_lone_surrogate(text) => return Ok(vec![Cell::NotUtf8; wanted.len()]),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("{label}, line {row}, is not a JSON object; the file may be cut off")
            });
        }
    };
    let mut cells = Vec::with_capacity(wanted.len());
    for Wanted { column, shape } in wanted {
        let name = column.as_deref().unwrap_or_default();
        let value = object.get(name).cloned().unwrap_or(Value::Null);
        let kind = kind(&value);
        let Some(cell) = cell(value, shape) else {
            bail!("{label}, line {row}: column `{name}` should be {shape}, but is {kind}");
        };
        cells.push(cell);
    }
    Ok(cells)
}

/// Whether an escape of JSON stands for half of a surrogate pair.
fn has_lone_surrogate(text: &str) -> bool {
    let unit = |text: &str| -> Option<u32> {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at..];
        let Some(first) = unit(rest) else {
            // The backslash and what it escapes, which may be another backslash.
            let mut next = rest.chars();
            next.by_ref().take(2).for_each(drop);
            rest = next.as_str();
            continue;
        };
        rest = &rest[6..];
        match first {
            0xD800..0xDC00 if unit(rest).is_some_and(|u| (0xDC00..0xE000).contains(&u)) => {
                rest = &rest[6..];
            }
            0xD800..0xE000 => return true,
            _ => {}
        }
    }
    false
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn cell(value: Value, shape: &Shape) -> Option<Cell> {
    Some(match (value, shape) {
        (Value::Null, _) => Cell::Null,
        (Value::String(text), Shape::Text | Shape::Integer | Shape::Real) => Cell::Text(text),
        (Value::Number(number), Shape::Text | Shape::Integer | Shape::Real) => {
            match number.as_i64() {
                Some(number) => Cell::Integer(number),
                None => Cell::Real(number.as_f64()?),
            }
        }
        (Value::Bool(value), Shape::Text) => Cell::Bool(value),
        (Value::Array(values), Shape::List(of)) => Cell::List(
            values
                .into_iter()
                .map(|value| cell(value, of))
                .collect::<Option<_>>()?,
        ),
        (Value::Object(mut object), Shape::Struct(fields)) => {
            let fields = fields.iter();
            let cells = fields
                .map(|(name, shape)| cell(object.remove(*name).unwrap_or(Value::Null), shape));
            Cell::Struct(cells.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::has_lone_surrogate;

    #[test]
    fn halves_of_pairs_are_seen() {
        for text in [
            r#""\ud800""#,
            r#""a\\\uDC00b""#,
            r#""\ud83d\u0041""#,
            r"\ud800\ud83d\ude00",
        ] {
            assert!(has_lone_surrogate(text), "{text}");
        }
        for text in [
            "",
            r"\",
            r"\u12",
            r#""\ud83d\ude00""#,
            r#""\\ud800""#,
            r#""\u00e9""#,
        ] {
            assert!(!has_lone_surrogate(text), "{text}");
        }
    }
}
