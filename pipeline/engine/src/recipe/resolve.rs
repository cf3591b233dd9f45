//! From the merged table to checked nodes: stage names, settings, bindings, order.

use super::{Node, Recipe};
use crate::{
    Arity, Binding, Definition, Kind, RecipeError, Registry,
    error::nearest,
    registry::BadSettings,
    value::{Place, Shape, Sources, Table, Value, merge, place_of, table_to_json},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

type Result<T> = std::result::Result<T, Box<RecipeError>>;

/// Keys of a node that are not settings.
const RESERVED: &[&str] = &["stage", "like", "inputs", "how", "seed"];

/// A node before its bindings are checked against the others.
struct Draft {
    place: Place,
    node: Node,
    bindings: Vec<(Place, &'static str, Binding)>,
}

pub(super) fn resolve(
    name: String,
    mut table: Table,
    sources: &Sources,
    registry: &Registry,
) -> Result<Recipe> {
    let about = match table.remove("about") {
        None => String::new(),
        Some((_, value)) => text(&value, "about", sources)?.to_owned(),
    };
    let seed = match table.remove("seed") {
        None => 0,
        Some((_, value)) => natural(&value, "seed", sources)?,
    };
    let mut sections = BTreeMap::new();
    for (name, (place, value)) in table {
        let Shape::Table(settings) = value.shape else {
            return Err(sources.error(
                &place,
                format!("unknown key `{name}`"),
                "neither a node nor `about`, `extends`, `seed`",
                nearest(&name, ["about", "extends", "seed"])
                    .map(|name| format!("did you mean `{name}`?")),
            ));
        };
        let good = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !good {
            return Err(sources.error(
                &place,
                format!("`{name}` is no name for a node"),
                "use a-z, 0-9, - and _",
                None,
            ));
        }
        sections.insert(name, (place, settings));
    }
    let mut drafts = BTreeMap::new();
    for (name, (place, _)) in &sections {
        let settings = expand_like(name, &sections, sources)?;
        let draft = draft(name, place, settings, seed, sources, registry)?;
        drafts.insert(name.clone(), draft);
    }
    bind(&mut drafts, sources)?;
    let nodes = order(drafts, sources)?;
    Ok(Recipe { name, about, nodes })
}

/// The settings of a node on top of those of the node it is `like`.
fn expand_like(
    name: &str,
    sections: &BTreeMap<String, (Place, Table)>,
    sources: &Sources,
) -> Result<Table> {
    let mut chain = vec![name.to_owned()];
    let mut layers: Vec<Table> = Vec::new();
    loop {
        let current = chain.last().expect("never empty");
        let mut settings = sections[current].1.clone();
        let like = settings.remove("like");
        layers.push(settings);
        let Some((_, like)) = like else { break };
        let other = text(&like, "like", sources)?.to_owned();
        if !sections.contains_key(&other) {
            return Err(unknown(
                &like.place,
                "node",
                &other,
                sections.keys().map(String::as_str),
                sources,
            ));
        }
        if chain.contains(&other) {
            return Err(sources.error(&like.place, "`like` goes in a circle", "again", None));
        }
        chain.push(other);
    }
    let root = chain.last().expect("never empty");
    let mut merged = Table::new();
    for layer in layers.into_iter().rev() {
        merge(&mut merged, layer);
    }
    if !merged.contains_key("stage") {
        let place = sections[root].0.clone();
        let shape = Shape::Text(root.clone());
        merged.insert("stage".into(), (place.clone(), Value { place, shape }));
    }
    Ok(merged)
}

fn draft(
    name: &str,
    place: &Place,
    mut settings: Table,
    seed: u64,
    sources: &Sources,
    registry: &Registry,
) -> Result<Draft> {
    let (_, stage_value) = settings.remove("stage").expect("expand_like adds it");
    let stage_name = text(&stage_value, "stage", sources)?;
    let Some(stage) = registry.get(stage_name) else {
        let names = registry.stages().iter().map(|stage| stage.name);
        return Err(unknown(
            &stage_value.place,
            "stage",
            stage_name,
            names,
            sources,
        ));
    };
    let seed = match settings.remove("seed") {
        None => stage.seeded.then_some(seed),
        Some((key, _)) if !stage.seeded => {
            return Err(sources.error(
                &key,
                format!("`{stage_name}` uses no seed"),
                "remove it",
                None,
            ));
        }
        Some((_, value)) => Some(natural(&value, "seed", sources)?),
    };
    let how_table = table_of(settings.remove("how"), "how", sources)?;
    let inputs = table_of(settings.remove("inputs"), "inputs", sources)?;
    let how = (stage.resolve_how)(table_to_json(&how_table))
        .map_err(|bad| setting_error(&bad, &how_table, place, stage, sources))?;
    let what = (stage.resolve_what)(table_to_json(&settings))
        .map_err(|bad| setting_error(&bad, &settings, place, stage, sources))?;
    let mut bindings = Vec::new();
    for (port, (key, value)) in &inputs {
        let Some(input) = stage.inputs.iter().find(|input| input.name == port) else {
            let names = stage.inputs.iter().map(|input| input.name);
            return Err(unknown(key, "input", port, names, sources));
        };
        let items: Vec<&Value> = match &value.shape {
            Shape::Array(items) if matches!(input.arity, Arity::Many | Arity::Any) => {
                items.iter().collect()
            }
            Shape::Array(_) => {
                return Err(sources.error(
                    &value.place,
                    format!("`{port}` takes one artifact"),
                    "several",
                    None,
                ));
            }
            _ => vec![value],
        };
        for item in items {
            let written = text(item, port, sources)?;
            let binding = if let Some(pattern) = written.strip_prefix("file:") {
                Binding::Files(pattern.to_owned())
            } else {
                let (node, output) = written.split_once('.').unwrap_or((written, ""));
                Binding::Node {
                    node: node.to_owned(),
                    output: output.to_owned(),
                }
            };
            bindings.push((item.place.clone(), input.name, binding));
        }
    }
    for input in stage.inputs {
        let bound = bindings.iter().any(|(_, port, _)| *port == input.name);
        if !bound && matches!(input.arity, Arity::One | Arity::Many) {
            let help = format!(
                "add inputs = {{ {} = \"NODE.OUTPUT\" }} or \"file:PATH\"",
                input.name
            );
            return Err(sources.error(
                place,
                format!("input `{}` of `{name}` is not bound", input.name),
                format!("`{stage_name}` needs it"),
                Some(help),
            ));
        }
    }
    let node = Node {
        name: name.to_owned(),
        stage: *stage,
        what,
        how,
        seed,
        inputs: BTreeMap::new(),
    };
    Ok(Draft {
        place: place.clone(),
        node,
        bindings,
    })
}

/// Checks that every bound output exists and is of the right kind.
fn bind(drafts: &mut BTreeMap<String, Draft>, sources: &Sources) -> Result<()> {
    let stages: BTreeMap<String, Definition> = drafts
        .iter()
        .map(|(name, draft)| (name.clone(), draft.node.stage))
        .collect();
    for draft in drafts.values_mut() {
        for (place, port, binding) in std::mem::take(&mut draft.bindings) {
            let input = draft
                .node
                .stage
                .inputs
                .iter()
                .find(|input| input.name == port);
            let wanted = input.expect("draft looked it up").kind;
            let binding = match binding {
                Binding::Node { node, output } => {
                    let Some(stage) = stages.get(&node) else {
                        return Err(unknown(
                            &place,
                            "node",
                            &node,
                            stages.keys().map(String::as_str),
                            sources,
                        ));
                    };
                    let output = find_output(stage, &node, &output, wanted, &place, sources)?;
                    Binding::Node { node, output }
                }
                files @ Binding::Files(_) => files,
            };
            draft.node.inputs.entry(port).or_default().push(binding);
        }
    }
    Ok(())
}

/// The output that `"node.output"` or `"node"` means for an input of kind `wanted`.
fn find_output(
    stage: &Definition,
    node: &str,
    output: &str,
    wanted: Kind,
    place: &Place,
    sources: &Sources,
) -> Result<String> {
    let fits = |kind: Kind| wanted == Kind::Any && kind != Kind::Tree || kind == wanted;
    if output.is_empty() {
        let fitting: Vec<&str> = stage
            .outputs
            .iter()
            .filter(|output| fits(output.kind))
            .map(|output| output.name)
            .collect();
        return match fitting[..] {
            [only] => Ok(only.to_owned()),
            [] => Err(sources.error(
                place,
                format!("`{node}` has no output of the kind needed here"),
                format!("{wanted:?} wanted").to_lowercase(),
                None,
            )),
            _ => Err(sources.error(
                place,
                format!("`{node}` has several outputs"),
                "which one?",
                Some(format!(
                    "one of {}",
                    fitting
                        .iter()
                        .map(|name| format!("`{node}.{name}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            )),
        };
    }
    match stage
        .outputs
        .iter()
        .find(|candidate| candidate.name == output)
    {
        None => Err(unknown(
            place,
            "output",
            output,
            stage.outputs.iter().map(|output| output.name),
            sources,
        )),
        Some(found) if !fits(found.kind) => Err(sources.error(
            place,
            format!(
                "`{node}.{output}` is a {:?}, a {wanted:?} is needed",
                found.kind
            )
            .to_lowercase(),
            "wrong kind",
            None,
        )),
        Some(found) => Ok(found.name.to_owned()),
    }
}

/// The nodes so that each comes after what it reads; as written where that leaves a
/// choice, a recipe that is extended before the one that extends it.
fn order(mut drafts: BTreeMap<String, Draft>, sources: &Sources) -> Result<Vec<Node>> {
    let mut done = BTreeSet::new();
    let mut nodes = Vec::with_capacity(drafts.len());
    while !drafts.is_empty() {
        let ready = drafts
            .iter()
            .filter(|(_, draft)| draft.node.parents().all(|parent| done.contains(parent)))
            .min_by_key(|(_, draft)| (Reverse(draft.place.source), draft.place.span.start))
            .map(|(name, _)| name.clone());
        let Some(name) = ready else {
            let circle: Vec<&str> = drafts.keys().map(String::as_str).collect();
            let place = &drafts[circle[0]].place;
            return Err(sources.error(
                place,
                format!(
                    "these nodes read from each other in a circle: {}",
                    circle.join(", ")
                ),
                "in the circle or behind it",
                Some("an artifact cannot be made from itself: change one of their `inputs`".into()),
            ));
        };
        let draft = drafts.remove(&name).expect("just found");
        done.insert(name);
        nodes.push(draft.node);
    }
    Ok(nodes)
}

fn setting_error(
    bad: &BadSettings,
    table: &Table,
    section: &Place,
    stage: &Definition,
    sources: &Sources,
) -> Box<RecipeError> {
    // serde names the unknown field in its message, not in its path.
    if let Some(rest) = bad.message.strip_prefix("unknown field `") {
        let (field, rest) = rest.split_once('`').unwrap_or((rest, ""));
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        let last = field.rsplit('.').next().unwrap_or(field);
        let inside = inner_table(table, &bad.path, last);
        let place = inside
            .and_then(|table| table.get(last))
            .map_or(section, |(place, _)| place);
        let help = match nearest(last, known.iter().copied().chain(RESERVED.iter().copied())) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("`{}` has {}", stage.name, listed(&known)),
        };
        return sources.error(
            place,
            format!("`{}` has no setting `{last}`", stage.name),
            "unknown setting",
            Some(help),
        );
    }
    let place = if bad.path.is_empty() {
        section
    } else {
        place_of(table, &bad.path, section)
    };
    let message = if bad.path.is_empty() {
        format!("`{}`: {}", stage.name, bad.message)
    } else {
        format!("`{}`: {}", bad.path, bad.message)
    };
    sources.error(place, message, "here", None)
}

/// The table in which a field was unknown: the one at `path`, which may end in the field.
fn inner_table<'a>(table: &'a Table, path: &str, field: &str) -> Option<&'a Table> {
    let mut current = table;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        if part == field && current.contains_key(field) {
            break;
        }
        match &current.get(part)?.1.shape {
            Shape::Table(inner) => current = inner,
            _ => break,
        }
    }
    Some(current)
}

fn unknown<'a>(
    place: &Place,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    sources: &Sources,
) -> Box<RecipeError> {
    let known: Vec<&str> = known.collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}", listed(&known)),
    };
    sources.error(
        place,
        format!("there is no {what} `{name}`"),
        format!("unknown {what}"),
        Some(help),
    )
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn text<'a>(value: &'a Value, key: &str, sources: &Sources) -> Result<&'a str> {
    match &value.shape {
        Shape::Text(text) => Ok(text),
        _ => Err(sources.error(
            &value.place,
            format!("`{key}` is a string"),
            "not a string",
            Some("put it in quotes".into()),
        )),
    }
}

fn natural(value: &Value, key: &str, sources: &Sources) -> Result<u64> {
    match &value.shape {
        Shape::Integer(number) if *number >= 0 => Ok(*number as u64),
        _ => Err(sources.error(
            &value.place,
            format!("`{key}` is a whole number, 0 or more"),
            "not that",
            None,
        )),
    }
}

fn table_of(entry: Option<(Place, Value)>, key: &str, sources: &Sources) -> Result<Table> {
    match entry {
        None => Ok(Table::new()),
        Some((
            _,
            Value {
                shape: Shape::Table(table),
                ..
            },
        )) => Ok(table),
        Some((place, _)) => Err(sources.error(
            &place,
            format!("`{key}` is a table"),
            "not a table",
            Some(format!("write {key} = {{ ... }}")),
        )),
    }
}
