//! Recipes: TOML files that name the nodes of a graph, their settings and their inputs.
//!
//! Read by the binary; the result is what `plan` and `run` work on. A recipe is data: no
//! expressions, no conditions. `extends = "mini"` starts from another recipe, `like =
//! "sft"` from another node's settings, `--set sft.learning_rate=2e-4` overrides one value.
//! Anything unknown is an error with its place, never ignored.

mod load;
mod resolve;

use crate::{Binding, Definition};
use std::collections::BTreeMap;

pub use load::{Library, load};

/// A node: a stage with settings and bound inputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name; by default the stage's.
    pub name: String,
    /// The stage.
    pub stage: Definition,
    /// All settings that change the result, defaults filled in.
    pub what: serde_json::Value,
    /// The other settings.
    pub how: serde_json::Value,
    /// The seed, if the stage uses one.
    pub seed: Option<u64>,
    /// What each input is bound to.
    pub inputs: BTreeMap<&'static str, Vec<Binding>>,
}

impl Node {
    /// The nodes this one reads from.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .values()
            .flatten()
            .filter_map(|binding| match binding {
                Binding::Node { node, .. } => Some(node.as_str()),
                Binding::Files(_) => None,
            })
    }
}

/// A checked graph of nodes.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name: the folder under `artifacts/refs`.
    pub name: String,
    /// One sentence, if the recipe gives one.
    pub about: String,
    /// The nodes in an order in which each comes after what it reads.
    pub nodes: Vec<Node>,
}

impl Recipe {
    /// The node of a name.
    pub fn node(&self, name: &str) -> Result<&Node, crate::Error> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .ok_or_else(|| crate::Error::Unknown {
                what: "node",
                name: name.to_owned(),
                suggestion: crate::error::nearest(
                    name,
                    self.nodes.iter().map(|node| node.name.as_str()),
                ),
            })
    }

    /// The nodes needed for `targets` (all, if none are named), in order.
    pub fn needed(&self, targets: &[String]) -> Result<Vec<&Node>, crate::Error> {
        if targets.is_empty() {
            return Ok(self.nodes.iter().collect());
        }
        let mut wanted = std::collections::BTreeSet::new();
        for target in targets {
            wanted.insert(self.node(target)?.name.as_str());
        }
        for node in self.nodes.iter().rev() {
            if wanted.contains(node.name.as_str()) {
                wanted.extend(node.parents());
            }
        }
        Ok(self
            .nodes
            .iter()
            .filter(|node| wanted.contains(node.name.as_str()))
            .collect())
    }
}
