//! From polars' values to JSON and to table cells.
//!
//! Written by hand because polars' own writer would add its `json` feature to the build, and
//! its table printer is configured through the environment only.

use polars::prelude::{AnyValue, Column, DataFrame};
use serde_json::Value;
use std::fmt::Write as _;

/// A frame's columns with their names.
pub(crate) fn columns(frame: &DataFrame) -> Vec<&Column> {
    frame.columns().iter().collect()
}

/// One row as a JSON object, its keys in the order of the columns.
pub(crate) fn row(columns: &[&Column], row: usize) -> String {
    let fields: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = Value::from(column.name().as_str());
            format!("{name}:{}", json(&at(column, row)))
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// The value of a column in a row that is there.
pub(crate) fn at(column: &Column, row: usize) -> AnyValue<'_> {
    column.get(row).expect("the row is in the frame")
}

/// A value as JSON; numbers that JSON has no text for become `null`.
pub(crate) fn json(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::from(*value),
        AnyValue::String(text) => Value::from(*text),
        AnyValue::StringOwned(text) => Value::from(text.as_str()),
        AnyValue::Binary(bytes) => Value::from(hex(bytes)),
        AnyValue::BinaryOwned(bytes) => Value::from(hex(bytes)),
        AnyValue::List(items) => (0..items.len())
            .map(|index| json(&items.get(index).expect("the item is in the list")))
            .collect(),
        AnyValue::Struct(..) => json(&value.clone().into_static()),
        AnyValue::StructOwned(content) => {
            let (values, fields) = &**content;
            let pairs = fields.iter().zip(values);
            Value::Object(
                pairs
                    .map(|(field, value)| (field.name().to_string(), json(value)))
                    .collect(),
            )
        }
        value if value.is_float() => value.extract::<f64>().map_or(Value::Null, Value::from),
        value if value.is_unsigned_integer() => {
            value.extract::<u64>().map_or(Value::Null, Value::from)
        }
        value if value.is_integer() => value.extract::<i64>().map_or(Value::Null, Value::from),
        // Dates, times, decimals: their text.
        value => Value::from(value.str_value().as_ref()),
    }
}

/// A value on one line of at most `width` characters.
pub(crate) fn cell(value: &AnyValue<'_>, width: usize) -> String {
    match value {
        AnyValue::Null => "null".into(),
        AnyValue::String(text) => cut(text, width),
        AnyValue::StringOwned(text) => cut(text, width),
        AnyValue::List(items) => {
            let text = cut(&json(value).to_string(), width);
            if text.ends_with('…') {
                format!("{} items: {text}", items.len())
            } else {
                text
            }
        }
        value if value.is_float() => value.extract::<f64>().map_or("null".into(), number),
        value => match json(value) {
            Value::String(text) => cut(&text, width),
            other => cut(&other.to_string(), width),
        },
    }
}

/// A float as people read it: six significant digits, no trailing zeros.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    if !(-6..=12).contains(&digits) {
        return format!("{value:.5e}");
    }
    let text = format!("{value:.*}", digits.max(0) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The first `width` characters of a text with its line ends and tabs made visible.
fn cut(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for character in text.chars() {
        let shown = if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.to_string()
        };
        length += shown.chars().count();
        if length > width {
            line.push('…');
            break;
        }
        line.push_str(&shown);
    }
    line
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
