//! What would have to be done: the very look-up that a run makes, without running.
//!
//! Behind a node that must run the keys are unknown: its output may turn out to be the same
//! as before, and then nothing behind it runs either. Such nodes are [`State::Maybe`].

use crate::{
    Binding, Error, Node, Recipe, Registry, binding,
    fingerprint::changed,
    key::{Key, key},
};
use std::{collections::BTreeMap, path::PathBuf};
use store::{Address, StatIndex, Store, Trace};

/// A node's inputs, found.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Addresses by input, in the recipe's order.
    pub addresses: BTreeMap<&'static str, Vec<Address>>,
    /// For every address: the files it was read from, or the trace that made it.
    pub(crate) origins: BTreeMap<&'static str, Vec<Origin>>,
}

/// Where an input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A file or directory of the user's.
    Path(PathBuf),
    /// An output, as `node.output`, of the trace of this id.
    Trace { label: String, id: String },
}

/// What is to be done for a node.
#[derive(Clone, Debug)]
pub enum State {
    /// Nothing: the store has it.
    Hit(Box<Trace>),
    /// The rest of it: there is half-done work to go on from.
    Resume(Key, String),
    /// All of it.
    Run(Key),
    /// Unknown until a node before it has run.
    Maybe,
    /// It cannot run: a file it reads is not there.
    Missing(String),
}

impl State {
    /// One word for listings.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hit(_) => "hit",
            Self::Resume(..) => "resume",
            Self::Run(_) => "run",
            Self::Maybe => "maybe",
            Self::Missing(_) => "missing",
        }
    }
}

/// A node with what is to be done for it.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The node.
    pub node: &'a Node,
    /// What is to be done.
    pub state: State,
    /// Source files that changed since a hit was made.
    pub code_changed: Vec<String>,
}

/// Looks up all nodes needed for `targets`.
pub fn plan<'a>(
    recipe: &'a Recipe,
    targets: &[String],
    store: &Store,
    registry: &Registry,
) -> Result<Vec<Step<'a>>, Error> {
    let mut index = store.stat_index();
    let mut made: BTreeMap<&str, Trace> = BTreeMap::new();
    let mut steps = Vec::new();
    for node in recipe.needed(targets)? {
        let mut step = Step {
            node,
            state: State::Maybe,
            code_changed: Vec::new(),
        };
        match resolve(node, &made, store, &mut index) {
            Ok(Some(resolved)) => {
                let key = key(node, &resolved.addresses);
                step.state = look_up(key, node, store)?;
                if let State::Hit(trace) = &step.state {
                    step.code_changed = changed(&trace.code, &registry.fingerprint(&node.stage));
                    made.insert(&node.name, (**trace).clone());
                }
            }
            Ok(None) => {}
            Err(Error::MissingData { pattern, .. }) => step.state = State::Missing(pattern),
            Err(error) => return Err(error),
        }
        steps.push(step);
    }
    index.save()?;
    Ok(steps)
}

/// The inputs of a node, given the traces of the nodes before it; `None` if one of those is
/// not known yet. Files are looked for first, so that what is missing is said at once.
pub(crate) fn resolve(
    node: &Node,
    made: &BTreeMap<&str, Trace>,
    store: &Store,
    index: &mut StatIndex,
) -> Result<Option<Resolved>, Error> {
    let mut resolved = Resolved::default();
    let mut is_known = true;
    for (port, bindings) in &node.inputs {
        let mut addresses = Vec::new();
        let mut origins = Vec::new();
        for binding in bindings {
            match binding {
                Binding::Files(pattern) => {
                    let paths = binding::expand(pattern).map_err(store::Error::from)?;
                    if paths.is_empty() {
                        return Err(Error::MissingData {
                            node: node.name.clone(),
                            pattern: pattern.clone(),
                            help: "put it there (data/README.md says where data comes from), or bind the input to another file in the recipe".into(),
                        });
                    }
                    for path in paths {
                        addresses.push(store.address_of(&path, index)?);
                        origins.push(Origin::Path(path));
                    }
                }
                Binding::Node {
                    node: parent,
                    output,
                } => match made.get(parent.as_str()) {
                    Some(trace) => {
                        let record = &trace.outputs[output];
                        addresses.push(record.address);
                        origins.push(Origin::Trace {
                            label: format!("{parent}.{output}"),
                            id: trace.id(),
                        });
                    }
                    None => is_known = false,
                },
            }
        }
        resolved.addresses.insert(port, addresses);
        resolved.origins.insert(port, origins);
    }
    Ok(is_known.then_some(resolved))
}

/// What the store says to a key.
pub(crate) fn look_up(key: Key, node: &Node, store: &Store) -> Result<State, Error> {
    if let Some(trace) = store.complete_trace(node.stage.name, key.digest)? {
        // A stage may have gained an output without a new version; then the trace is old.
        if node
            .stage
            .outputs
            .iter()
            .all(|output| trace.outputs.contains_key(output.name))
        {
            return Ok(State::Hit(Box::new(trace)));
        }
    }
    let partial = store.partial(key.digest);
    let place = match partial.latest()? {
        Some(checkpoint) => Some(format!("at step {}", checkpoint.step)),
        None => match partial.shards_done() {
            0 => None,
            done => Some(format!("with {done} shards done")),
        },
    };
    Ok(match place {
        Some(place) => State::Resume(key, place),
        None => State::Run(key),
    })
}
