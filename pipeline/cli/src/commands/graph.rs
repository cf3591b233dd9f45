//! `iota graph`: the recipe's nodes and what each reads.

use super::{all_stages, load, open, say};
use crate::{
    args::{Args, GraphArgs, GraphFormat},
    exit::Exit,
};
use engine::Binding;

pub(super) fn graph(args: &Args, graph: &GraphArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let recipe = load(&graph.recipe, &registry)?;
    let store = open(args)?;
    let steps = engine::plan::plan(&recipe, &[], &store, &registry)?;
    let mut edges = Vec::new();
    for node in &recipe.nodes {
        for (port, bindings) in &node.inputs {
            for binding in bindings {
                edges.push((binding.clone(), node.name.clone(), *port));
            }
        }
    }
    match graph.format {
        GraphFormat::Text => {
            for step in &steps {
                let from: Vec<String> = step
                    .node
                    .inputs
                    .values()
                    .flatten()
                    .map(ToString::to_string)
                    .collect();
                let arrow = if from.is_empty() {
                    String::new()
                } else {
                    format!(" ← {}", from.join(", "))
                };
                say!("{:<7} {}{arrow}", step.state.word(), step.node.name);
            }
        }
        GraphFormat::Dot => {
            say!(
                "digraph \"{}\" {{\n  rankdir=LR; node [shape=box];",
                recipe.name
            );
            for step in &steps {
                let style = if step.state.word() == "hit" {
                    " [style=filled]"
                } else {
                    ""
                };
                say!("  \"{}\"{style};", step.node.name);
            }
            for (from, to, port) in &edges {
                say!("  \"{}\" -> \"{to}\" [label=\"{port}\"];", source(from));
            }
            say!("}}");
        }
        GraphFormat::Mermaid => {
            say!("flowchart LR");
            for (from, to, port) in &edges {
                let from = source(from);
                say!(
                    "  {}[\"{from}\"] -->|{port}| {}[\"{to}\"]",
                    id(&from),
                    id(to)
                );
            }
        }
        GraphFormat::Json => {
            let nodes: Vec<_> = steps
                .iter()
                .map(|step| serde_json::json!({"node": step.node.name, "stage": step.node.stage.name, "state": step.state.word()}))
                .collect();
            let edges: Vec<_> = edges
                .iter()
                .map(|(from, to, port)| serde_json::json!({"from": from.to_string(), "to": to, "input": port}))
                .collect();
            say!(
                "{}",
                serde_json::json!({"v": 1, "recipe": recipe.name, "nodes": nodes, "edges": edges})
            );
        }
    }
    Ok(Exit::Success)
}

fn source(binding: &Binding) -> String {
    match binding {
        Binding::Node { node, .. } => node.clone(),
        Binding::Files(pattern) => pattern.clone(),
    }
}

fn id(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
