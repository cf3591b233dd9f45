//! `iota diff`: what two results differ in: settings, inputs, numbers, outputs.

use super::{linked, open, reference, say};
use crate::{
    args::{Args, DiffArgs},
    exit::Exit,
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn diff(args: &Args, diff: &DiffArgs) -> anyhow::Result<Exit> {
    let store = open(args)?;
    let side = |text: &str| {
        let (recipe, node, _) = reference(text, &diff.recipe);
        linked(&store, &recipe, &node)
    };
    let (old, new) = (flat(&side(&diff.old)?)?, flat(&side(&diff.new)?)?);
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut differ = BTreeMap::new();
    for name in names {
        if old.get(name) != new.get(name) {
            differ.insert(name.clone(), (old.get(name), new.get(name)));
        }
    }
    if diff.json {
        say!(
            "{}",
            serde_json::json!({ "v": 1, "old": diff.old, "new": diff.new, "differences": differ })
        );
    } else if differ.is_empty() {
        say!("no difference");
    } else {
        for (name, (old, new)) in &differ {
            let text = |value: Option<&Value>| value.map_or("-".into(), ToString::to_string);
            say!("{name:<36} {}  →  {}", text(*old), text(*new));
        }
    }
    Ok(if differ.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Everything comparable in a trace, by dotted name.
fn flat(trace: &store::Trace) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    walk(String::new(), &trace.document, &mut all);
    for (name, value) in &trace.metrics {
        all.insert(format!("metric.{name}"), (*value).into());
    }
    for (name, record) in &trace.outputs {
        all.insert(
            format!("output.{name}"),
            serde_json::to_value(record.address)?,
        );
    }
    Ok(all)
}

fn walk(path: String, value: &Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(path, value, all);
            }
        }
        scalar => {
            all.insert(path, scalar.clone());
        }
    }
}
