//! `iota accept` and `iota pin`: decisions of the user's about results that exist.

use super::{all_stages, linked, load, open, say};
use crate::{
    args::{Args, NodeArgs, PinArgs},
    exit::Exit,
};
use std::collections::BTreeMap;

pub(super) fn accept(args: &Args, node: &NodeArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let recipe = load(&node.recipe, &registry)?;
    let found = recipe.node(&node.node)?;
    let store = open(args)?;
    let mut trace = linked(&store, &recipe.name, &node.node)?;
    trace.code = registry.fingerprint(&found.stage);
    store.commit(&trace)?;
    say!(
        "{}: accepted as made by this program's source text",
        node.node
    );
    Ok(Exit::Success)
}

pub(super) fn pin(args: &Args, pin: &PinArgs) -> anyhow::Result<Exit> {
    let store = open(args)?;
    if pin.remove {
        anyhow::ensure!(store.unpin(&pin.name)?, "there is no pin `{}`", pin.name);
        say!("pin {} removed", pin.name);
        return Ok(Exit::Success);
    }
    let mut keys = BTreeMap::new();
    for (recipe, node) in store.linked()? {
        if recipe == pin.recipe
            && let Some(trace) = store.linked_trace(&recipe, &node)?
        {
            keys.insert(node, trace.id());
        }
    }
    anyhow::ensure!(
        !keys.is_empty(),
        "recipe `{}` has nothing to pin yet",
        pin.recipe
    );
    store.pin(&pin.name, &keys)?;
    say!(
        "pinned {} nodes of {} as {}",
        keys.len(),
        pin.recipe,
        pin.name
    );
    Ok(Exit::Success)
}
