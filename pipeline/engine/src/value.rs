//! A TOML value that remembers where it was written, through `extends` and `--set`.
//!
//! Made by `recipe` from one or several texts; a wrong field deep in a merged section can
//! still be underlined in the file it came from.

use crate::RecipeError;
use serde_json::{Map, Number};
use std::{collections::BTreeMap, ops::Range};
use toml::de::{DeTable, DeValue};

/// One text that values come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A place in one of the sources.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) source: usize,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Value>),
    Table(Table),
}

/// A table: key to (place of the key, value).
pub(crate) type Table = BTreeMap<String, (Place, Value)>;

#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) place: Place,
    pub(crate) shape: Shape,
}

/// The texts of a recipe, to make errors with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(pub(crate) Vec<Source>);

impl Sources {
    pub(crate) fn add(&mut self, file: String, text: String) -> usize {
        self.0.push(Source { file, text });
        self.0.len() - 1
    }

    /// An error at a place.
    pub(crate) fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) -> Box<RecipeError> {
        let source = &self.0[place.source];
        Box::new(RecipeError {
            file: source.file.clone(),
            text: source.text.clone(),
            span: place.span.clone(),
            message: message.into(),
            label: label.into(),
            help,
        })
    }

    /// Parses the source of an index as a TOML document.
    pub(crate) fn parse(&self, source: usize) -> Result<Table, Box<RecipeError>> {
        let text = &self.0[source].text;
        let table = DeTable::parse(text).map_err(|error| {
            let place = Place {
                source,
                span: error.span().unwrap_or(0..0),
            };
            self.error(
                &place,
                format!("not TOML: {}", error.message()),
                "here",
                None,
            )
        })?;
        self.table(table.get_ref(), source)
    }

    fn table(&self, table: &DeTable<'_>, source: usize) -> Result<Table, Box<RecipeError>> {
        table
            .iter()
            .map(|(key, value)| {
                let place = Place {
                    source,
                    span: key.span(),
                };
                let value = self.value(
                    value.get_ref(),
                    Place {
                        source,
                        span: value.span(),
                    },
                )?;
                Ok((key.get_ref().to_string(), (place, value)))
            })
            .collect()
    }

    fn value(&self, value: &DeValue<'_>, place: Place) -> Result<Value, Box<RecipeError>> {
        let shape = match value {
            DeValue::Boolean(value) => Shape::Bool(*value),
            DeValue::String(text) => Shape::Text(text.to_string()),
            DeValue::Integer(digits) => {
                let number = i64::from_str_radix(digits.as_str(), digits.radix());
                Shape::Integer(number.map_err(|_| {
                    self.error(
                        &place,
                        "this integer does not fit 64 bits",
                        "too large",
                        None,
                    )
                })?)
            }
            DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Shape::Float(number),
                _ => {
                    return Err(self.error(
                        &place,
                        "a setting must be a finite number",
                        "not finite",
                        None,
                    ));
                }
            },
            DeValue::Datetime(_) => {
                return Err(self.error(
                    &place,
                    "no setting is a date",
                    "a date",
                    Some("put it in quotes".into()),
                ));
            }
            DeValue::Array(items) => Shape::Array(
                items
                    .iter()
                    .map(|item| {
                        self.value(
                            item.get_ref(),
                            Place {
                                source: place.source,
                                span: item.span(),
                            },
                        )
                    })
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => Shape::Table(self.table(table, place.source)?),
        };
        Ok(Value { place, shape })
    }
}

impl Value {
    /// The same value as JSON, without places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.shape {
            Shape::Bool(value) => (*value).into(),
            Shape::Integer(value) => (*value).into(),
            Shape::Float(value) => {
                Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into)
            }
            Shape::Text(text) => text.clone().into(),
            Shape::Array(items) => items.iter().map(Self::to_json).collect(),
            Shape::Table(table) => table_to_json(table),
        }
    }
}

pub(crate) fn table_to_json(table: &Table) -> serde_json::Value {
    let map: Map<String, serde_json::Value> = table
        .iter()
        .map(|(key, (_, value))| (key.clone(), value.to_json()))
        .collect();
    map.into()
}

/// Puts `over` on top of `base`: tables are merged key by key, everything else replaced.
pub(crate) fn merge(base: &mut Table, over: Table) {
    for (key, (place, value)) in over {
        match (base.get_mut(&key), value) {
            (
                Some((
                    _,
                    Value {
                        shape: Shape::Table(below),
                        ..
                    },
                )),
                Value {
                    shape: Shape::Table(above),
                    ..
                },
            ) => merge(below, above),
            (_, value) => {
                base.insert(key, (place, value));
            }
        }
    }
}

/// The place of the field that a path (`a.b[2].c`) names, or of the nearest thing above it.
pub(crate) fn place_of<'a>(table: &'a Table, path: &str, above: &'a Place) -> &'a Place {
    let mut place = above;
    let mut table = Some(table);
    for part in path.split('.') {
        let name = part.split('[').next().unwrap_or(part);
        match table.and_then(|table| table.get(name)) {
            Some((_, value)) => {
                place = &value.place;
                table = match &value.shape {
                    Shape::Table(inner) => Some(inner),
                    _ => None,
                };
            }
            None => return place,
        }
    }
    place
}
