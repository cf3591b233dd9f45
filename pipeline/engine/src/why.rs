//! Why a node runs: the difference between the key it wants and the one it had.
//!
//! Compared with the trace its links point at, else with the newest trace of its stage.
//! A changed input is followed to the node that made it.

use crate::{
    Error, Recipe,
    plan::{State, Step},
};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use store::Store;

/// One reason why a node is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No trace of this stage to compare with.
    NeverRan,
    /// Everything is as it was.
    Unchanged,
    /// The key is as it was, but outputs are gone from the store.
    OutputsGone,
    /// A setting changed.
    Setting {
        /// `what.learning_rate`.
        path: String,
        /// Its old value.
        old: Value,
        /// Its new value.
        new: Value,
    },
    /// The stage's version changed.
    Version {
        /// Before.
        old: Value,
        /// Now.
        new: Value,
    },
    /// The seed changed.
    Seed {
        /// Before.
        old: Value,
        /// Now.
        new: Value,
    },
    /// An input's content changed.
    Input {
        /// The input.
        port: String,
        /// Its old addresses.
        old: Value,
        /// Its new ones.
        new: Value,
        /// What it is bound to.
        bound: Vec<String>,
    },
    /// A node it reads from must run first; whether this one must is not known yet.
    Upstream {
        /// That node.
        node: String,
    },
    /// A file it reads is not there.
    MissingFile {
        /// Its path.
        path: String,
    },
}

/// The reasons for a node's state, nearest cause first.
pub fn why(
    recipe: &Recipe,
    steps: &[Step<'_>],
    name: &str,
    store: &Store,
) -> Result<BTreeMap<String, Vec<Reason>>, Error> {
    let mut reasons = BTreeMap::new();
    let mut stack = vec![recipe.node(name)?.name.clone()];
    while let Some(name) = stack.pop() {
        let Some(step) = steps.iter().find(|step| step.node.name == name) else {
            continue;
        };
        if reasons.contains_key(&name) {
            continue;
        }
        let old = match store.linked_trace(&recipe.name, &name)? {
            Some(trace) if trace.stage == step.node.stage.name => Some(trace),
            _ => store.traces(step.node.stage.name)?.into_iter().next(),
        };
        let found = match &step.state {
            State::Missing(path) => vec![Reason::MissingFile { path: path.clone() }],
            State::Maybe => {
                // A node may be bound to several inputs: it is named once.
                let parents: BTreeSet<&str> = step.node.parents().collect();
                parents
                    .into_iter()
                    .filter(|parent| !is_hit(steps, parent))
                    .map(|parent| Reason::Upstream {
                        node: parent.to_owned(),
                    })
                    .collect()
            }
            State::Hit(_) => vec![Reason::Unchanged],
            State::Run(key) | State::Resume(key, _) => match &old {
                None => vec![Reason::NeverRan],
                Some(old) => differences(&old.document, &key.document, step),
            },
        };
        for reason in &found {
            match reason {
                Reason::Upstream { node } => stack.push(node.clone()),
                Reason::Input { bound, .. } => stack.extend(
                    bound
                        .iter()
                        .filter_map(|label| Some(label.split_once('.')?.0.to_owned())),
                ),
                _ => {}
            }
        }
        reasons.insert(name, found);
    }
    Ok(reasons)
}

fn is_hit(steps: &[Step<'_>], name: &str) -> bool {
    steps
        .iter()
        .any(|step| step.node.name == name && matches!(step.state, State::Hit(_)))
}

fn differences(old: &Value, new: &Value, step: &Step<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if old["version"] != new["version"] {
        reasons.push(Reason::Version {
            old: old["version"].clone(),
            new: new["version"].clone(),
        });
    }
    if old["seed"] != new["seed"] {
        reasons.push(Reason::Seed {
            old: old["seed"].clone(),
            new: new["seed"].clone(),
        });
    }
    settings("what", &old["what"], &new["what"], &mut reasons);
    let empty = serde_json::Map::new();
    let inputs = |document: &Value| document["inputs"].as_object().unwrap_or(&empty).clone();
    let (before, now) = (inputs(old), inputs(new));
    let mut ports: Vec<&String> = before.keys().chain(now.keys()).collect();
    ports.sort();
    ports.dedup();
    for port in ports {
        let (old, new) = (before.get(port), now.get(port));
        if old != new {
            let bound = step.node.inputs.get(port.as_str());
            reasons.push(Reason::Input {
                port: port.clone(),
                old: old.cloned().unwrap_or_default(),
                new: new.cloned().unwrap_or_default(),
                bound: bound
                    .into_iter()
                    .flatten()
                    .map(ToString::to_string)
                    .collect(),
            });
        }
    }
    if reasons.is_empty() {
        reasons.push(Reason::OutputsGone);
    }
    reasons
}

fn settings(path: &str, old: &Value, new: &Value, reasons: &mut Vec<Reason>) {
    match (old, new) {
        (Value::Object(before), Value::Object(now)) => {
            let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                settings(&format!("{path}.{key}"), &old[key], &new[key], reasons);
            }
        }
        _ if old != new => reasons.push(Reason::Setting {
            path: path.to_owned(),
            old: old.clone(),
            new: new.clone(),
        }),
        _ => {}
    }
}
