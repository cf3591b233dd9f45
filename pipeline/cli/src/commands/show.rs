//! `iota show`: one node's result: its files, its numbers, its rows, its past.

use super::{inspect, linked, open, reference, say};
use crate::{
    args::{Args, ShowArgs},
    exit::Exit,
    render::human,
};
use std::collections::BTreeSet;
use store::{Address, Store, Trace};

pub(super) fn show(args: &Args, show: &ShowArgs) -> anyhow::Result<Exit> {
    let (recipe, node, output) = reference(&show.reference, &show.recipe);
    let store = open(args)?;
    let trace = linked(&store, &recipe, &node)?;
    if show.json {
        say!("{}", serde_json::to_string_pretty(&trace)?);
        return Ok(Exit::Success);
    }
    if let Some(output) = &output
        && !trace.outputs.contains_key(output)
    {
        let names: Vec<&str> = trace.outputs.keys().map(String::as_str).collect();
        anyhow::bail!(
            "`{recipe}/{node}` has no output `{output}`\n  help: it has {}",
            names.join(", ")
        );
    }
    say!("{recipe}/{node}: stage {}, key {}", trace.stage, trace.key);
    say!(
        "  made {}, in {}",
        trace.started,
        human::seconds(trace.wall_s)
    );
    for (name, value) in &trace.metrics {
        say!("  {name:<28} {}", human::number(*value));
    }
    for (port, id) in &trace.parents {
        say!("  from {port:<23} {}", short_id(id));
    }
    if show.lineage {
        let mut seen = BTreeSet::new();
        for line in lineage(&store, &trace, 1, &mut seen)? {
            say!("{line}");
        }
    }
    for (name, record) in &trace.outputs {
        if output.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let path = store.checkout(record.address)?;
        say!(
            "\n{name}: {} {}",
            human::bytes(record.bytes),
            record.address
        );
        match (record.address, record.extension.as_str()) {
            (Address::Tree(digest), _) => {
                for entry in store.manifest(digest)?.entries {
                    say!("  {:<32} {}", entry.path, human::bytes(entry.bytes));
                }
            }
            (_, "parquet") => inspect::table(&path, show.rows)?,
            _ => say!("{}", fs_err::read_to_string(&path)?.trim_end()),
        }
    }
    Ok(Exit::Success)
}

/// The traces that a trace was made from, indented by depth, each once.
fn lineage(
    store: &Store,
    trace: &Trace,
    depth: usize,
    seen: &mut BTreeSet<String>,
) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for id in trace.parents.values() {
        if !seen.insert(id.clone()) {
            continue;
        }
        lines.push(format!("  {}{}", "  ".repeat(depth), short_id(id)));
        if let Some((stage, key)) = id.split_once('/')
            && let Some(parent) = store.trace(stage, key.parse()?)?
        {
            lines.extend(lineage(store, &parent, depth + 1, seen)?);
        }
    }
    Ok(lines)
}

fn short_id(id: &str) -> String {
    id.split_once('/').map_or_else(
        || id.to_owned(),
        |(stage, key)| format!("{stage} {key:.12}"),
    )
}
