//! From texts to one merged table: `extends`, the file itself, `--set` on top.

use super::{Recipe, resolve::resolve};
use crate::{
    Error, RecipeError, Registry,
    error::nearest,
    value::{Place, Shape, Sources, Table, Value, merge},
};
use std::path::Path;

/// Recipes that come with the program: (name, text).
pub type Library = &'static [(&'static str, &'static str)];

/// Loads a recipe by name (from the library) or by path (`*.toml`), with overrides of the
/// form `node.key=value` on top.
pub fn load(
    name_or_path: &str,
    overrides: &[String],
    registry: &Registry,
    library: Library,
) -> Result<Recipe, Error> {
    let mut sources = Sources::default();
    let (name, mut table) = read(name_or_path, library, &mut sources, 0)?;
    for text in overrides {
        merge(&mut table, parse_override(text, &mut sources)?);
    }
    Ok(resolve(name, table, &sources, registry)?)
}

fn read(
    name_or_path: &str,
    library: Library,
    sources: &mut Sources,
    depth: usize,
) -> Result<(String, Table), Error> {
    let path = Path::new(name_or_path);
    let is_path = name_or_path.ends_with(".toml") || name_or_path.contains('/');
    let (name, file, text) = if is_path {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("recipe");
        let text = fs_err::read_to_string(path).map_err(store::Error::from)?;
        (name.to_owned(), name_or_path.to_owned(), text)
    } else {
        let found = library.iter().find(|(name, _)| *name == name_or_path);
        let (name, text) = found.ok_or_else(|| Error::Unknown {
            what: "recipe",
            name: name_or_path.to_owned(),
            suggestion: nearest(name_or_path, library.iter().map(|(name, _)| *name)),
        })?;
        (
            (*name).to_owned(),
            format!("{name}.toml"),
            (*text).to_owned(),
        )
    };
    let source = sources.add(file, text);
    let mut table = sources.parse(source)?;
    let Some((_, base)) = table.remove("extends") else {
        return Ok((name, table));
    };
    let Shape::Text(base_name) = &base.shape else {
        return Err(sources
            .error(
                &base.place,
                "`extends` names one recipe",
                "not a string",
                None,
            )
            .into());
    };
    if depth >= 8 {
        let help = Some("a recipe may not extend itself, directly or through others".into());
        return Err(sources
            .error(&base.place, "`extends` goes in a circle", "again", help)
            .into());
    }
    let (_, mut merged) =
        read(base_name, library, sources, depth + 1).map_err(|error| match error {
            Error::Unknown { suggestion, .. } => sources
                .error(
                    &base.place,
                    format!("there is no recipe `{base_name}`"),
                    "unknown recipe",
                    suggestion.map(|name| format!("did you mean `{name}`?")),
                )
                .into(),
            other => other,
        })?;
    merge(&mut merged, table);
    Ok((name, merged))
}

/// Reads `a.b=value`; a value that is not TOML counts as a string, so that
/// `--set sample.language=cpp` needs no quotes.
fn parse_override(text: &str, sources: &mut Sources) -> Result<Table, Box<RecipeError>> {
    let source = sources.add("--set".into(), text.to_owned());
    let whole = Place {
        source,
        span: 0..text.len(),
    };
    let help = || Some("write --set NODE.KEY=VALUE, as in --set sft.learning_rate=2e-4".into());
    let Some((path, value)) = text.split_once('=') else {
        return Err(sources.error(&whole, "an override needs a `=`", "no `=`", help()));
    };
    if !path.contains('.') && path.trim() != "seed" {
        return Err(sources.error(
            &whole,
            "an override names a node and a key",
            "no `.`",
            help(),
        ));
    }
    let at = path.len() + 1..text.len();
    let parsed = sources
        .clone()
        .parse_value(source, value.trim(), at.clone());
    let mut value = parsed.unwrap_or_else(|| Value {
        place: Place { source, span: at },
        shape: Shape::Text(value.trim().to_owned()),
    });
    // From the inside out: a.b.c = v is {a: {b: {c: v}}}.
    let mut end = path.len();
    for key in path.rsplit('.') {
        let span = end - key.len()..end;
        let place = Place { source, span };
        let inner = Table::from([(key.trim().to_owned(), (place.clone(), value))]);
        value = Value {
            place,
            shape: Shape::Table(inner),
        };
        end = end.saturating_sub(key.len() + 1);
    }
    match value.shape {
        Shape::Table(table) => Ok(table),
        _ => Err(sources.error(
            &whole,
            "an override names a node and a key",
            "empty",
            help(),
        )),
    }
}

impl Sources {
    /// A single TOML value, its places shifted to where it stands in the override.
    fn parse_value(
        mut self,
        source: usize,
        text: &str,
        at: std::ops::Range<usize>,
    ) -> Option<Value> {
        let scratch = self.add(String::new(), format!("v = {text}"));
        let (_, mut value) = self.parse(scratch).ok()?.remove("v")?;
        relocate(&mut value, &Place { source, span: at });
        Some(value)
    }
}

fn relocate(value: &mut Value, place: &Place) {
    value.place = place.clone();
    match &mut value.shape {
        Shape::Array(items) => items.iter_mut().for_each(|item| relocate(item, place)),
        Shape::Table(table) => {
            for (key_place, inner) in table.values_mut() {
                *key_place = place.clone();
                relocate(inner, place);
            }
        }
        _ => {}
    }
}
