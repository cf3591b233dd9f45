//! `iota recipe`: the recipes there are, checked, printed, filled in.

use super::{all_stages, load, say};
use crate::{args::RecipeAction, exit::Exit, registry::RECIPES};
use engine::Arity;

pub(super) fn recipe(action: &RecipeAction) -> anyhow::Result<Exit> {
    let registry = all_stages();
    match action {
        RecipeAction::List => {
            for (name, _) in RECIPES {
                let recipe = engine::recipe::load(name, &[], &registry, RECIPES)?;
                say!(
                    "{name:<16} {:>2} nodes  {}",
                    recipe.nodes.len(),
                    recipe.about
                );
            }
        }
        RecipeAction::Check(args) => {
            let recipe = load(args, &registry)?;
            say!(
                "{}: {} nodes, all names, types, ranges and bindings are right",
                recipe.name,
                recipe.nodes.len()
            );
        }
        RecipeAction::Show(args) => {
            let recipe = load(args, &registry)?;
            for node in &recipe.nodes {
                say!(
                    "[{}]  stage {} v{}",
                    node.name,
                    node.stage.name,
                    node.stage.version
                );
                if let Some(seed) = node.seed {
                    say!("  seed = {seed}");
                }
                for (port, bindings) in &node.inputs {
                    let list: Vec<String> = bindings.iter().map(ToString::to_string).collect();
                    say!("  inputs.{port} = {}", list.join(", "));
                }
                for (key, value) in node.what.as_object().into_iter().flatten() {
                    say!("  {key} = {value}");
                }
                for (key, value) in node.how.as_object().into_iter().flatten() {
                    say!("  how.{key} = {value}");
                }
            }
        }
        RecipeAction::Print { name } => {
            let Some((_, text)) = RECIPES.iter().find(|(known, _)| known == name) else {
                let names: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
                anyhow::bail!(
                    "there is no recipe `{name}`\n  help: there are {}",
                    names.join(", ")
                );
            };
            say!("{}", text.trim_end());
        }
        RecipeAction::Stages => {
            for stage in registry.stages() {
                let inputs: Vec<String> = stage
                    .inputs
                    .iter()
                    .map(|input| match input.arity {
                        Arity::One => input.name.to_owned(),
                        Arity::Optional => format!("{}?", input.name),
                        Arity::Many => format!("{}…", input.name),
                        Arity::Any => format!("{}?…", input.name),
                    })
                    .collect();
                let outputs: Vec<&str> = stage.outputs.iter().map(|output| output.name).collect();
                say!(
                    "{:<10} v{}  {} → {}",
                    stage.name,
                    stage.version,
                    inputs.join(", "),
                    outputs.join(", ")
                );
                say!("           {}", stage.about);
            }
        }
    }
    Ok(Exit::Success)
}
