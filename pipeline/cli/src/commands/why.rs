//! `iota why`: the difference between the key a node wants and the one it had.

use super::{all_stages, load, open, say};
use crate::{
    args::{Args, WhyArgs},
    exit::Exit,
};
use engine::why::Reason;

pub(super) fn why(args: &Args, why: &WhyArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let recipe = load(&why.recipe, &registry)?;
    let store = open(args)?;
    let steps = engine::plan::plan(&recipe, std::slice::from_ref(&why.node), &store, &registry)?;
    let reasons = engine::why::why(&recipe, &steps, &why.node, &store)?;
    if why.json {
        say!(
            "{}",
            serde_json::json!({ "v": 1, "node": why.node, "reasons": reasons })
        );
        return Ok(Exit::Success);
    }
    // The node asked about first, then what is behind it.
    let mut names: Vec<&String> = reasons.keys().collect();
    names.sort_by_key(|name| (**name != why.node, (*name).clone()));
    for name in names {
        for reason in &reasons[name] {
            say!("{name}: {}", words(reason));
        }
    }
    Ok(Exit::Success)
}

fn words(reason: &Reason) -> String {
    match reason {
        Reason::NeverRan => "has never run".into(),
        Reason::Unchanged => "is up to date".into(),
        Reason::OutputsGone => "its outputs are gone from the store".into(),
        Reason::Setting { path, old, new } => format!("{path} {old} → {new}"),
        Reason::Version { old, new } => format!("the stage's version {old} → {new}"),
        Reason::Seed { old, new } => format!("seed {old} → {new}"),
        Reason::Input {
            port,
            old,
            new,
            bound,
        } => format!(
            "input {port} ({}) {} → {}",
            bound.join(", "),
            short(old),
            short(new)
        ),
        Reason::Upstream { node } => format!("depends on `{node}`, which has to run first"),
        Reason::MissingFile { path } => format!("reads `{path}`, which is not there"),
    }
}

fn short(addresses: &serde_json::Value) -> String {
    let list: Vec<String> = addresses
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|address| address.as_str())
        .map(|address| address.chars().take(12).collect::<String>() + "…")
        .collect();
    if list.is_empty() {
        "nothing".into()
    } else {
        list.join(" ")
    }
}
