//! `iota plan`, `iota status` and plain `iota`: what there is and what would be done.

use super::{all_stages, load, open, say};
use crate::{
    args::{Args, PlanArgs, RecipeArgs, StatusArgs},
    exit::Exit,
    render::human,
};
use engine::plan::{State, Step};

pub(super) fn plan(args: &Args, plan: &PlanArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let recipe = load(&plan.recipe, &registry)?;
    let store = open(args)?;
    let steps = engine::plan::plan(&recipe, &plan.nodes, &store, &registry)?;
    let work = steps
        .iter()
        .any(|step| !matches!(step.state, State::Hit(_)));
    if plan.json {
        say!("{}", json(&recipe.name, &steps));
    } else {
        for step in &steps {
            say!("{}", line(step, &store)?);
        }
    }
    Ok(if work && plan.exit_code {
        Exit::WorkNeeded
    } else {
        Exit::Success
    })
}

pub(super) fn status(args: &Args, status: &StatusArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let recipe = load(&status.recipe, &registry)?;
    let store = open(args)?;
    let steps = engine::plan::plan(&recipe, &[], &store, &registry)?;
    if status.json {
        say!("{}", json(&recipe.name, &steps));
        return Ok(Exit::Success);
    }
    let about = if recipe.about.is_empty() {
        String::new()
    } else {
        format!(": {}", recipe.about)
    };
    say!("{}{about}", recipe.name);
    for step in &steps {
        say!("{}", line(step, &store)?);
    }
    let hits = steps
        .iter()
        .filter(|step| matches!(step.state, State::Hit(_)))
        .count();
    let next = if hits == steps.len() {
        format!(
            "all {hits} nodes are up to date; `iota show {}/NODE` looks at one",
            recipe.name
        )
    } else {
        format!(
            "{hits} of {} nodes are up to date; `iota run --recipe {}` makes the rest",
            steps.len(),
            recipe.name
        )
    };
    say!("{next}");
    Ok(Exit::Success)
}

pub(super) fn overview(args: &Args) -> anyhow::Result<Exit> {
    let recipe = std::env::var("IOTA_RECIPE").unwrap_or_else(|_| "mini".into());
    let recipe = RecipeArgs {
        recipe,
        overrides: Vec::new(),
    };
    let exit = status(
        args,
        &StatusArgs {
            recipe,
            json: false,
        },
    )?;
    say!("`iota --help` lists the commands");
    Ok(exit)
}

fn line(step: &Step<'_>, store: &store::Store) -> anyhow::Result<String> {
    let name = &step.node.name;
    let word = step.state.word();
    let detail = match &step.state {
        State::Hit(trace) => {
            let bytes = trace.outputs.values().map(|output| output.bytes).sum();
            let mut text = format!(
                "{}, took {}",
                human::bytes(bytes),
                human::seconds(trace.wall_s)
            );
            if !step.code_changed.is_empty() {
                let files = step.code_changed.join(", ");
                text = format!(
                    "{text}; code changed since: {files} (raise VERSION, or `iota accept {name}`)"
                );
            }
            text
        }
        State::Resume(_, place) => place.clone(),
        State::Run(_) => {
            let last = store.traces(step.node.stage.name)?.into_iter().next();
            last.map_or_else(String::new, |trace| {
                format!("the last one took {}", human::seconds(trace.wall_s))
            })
        }
        State::Maybe => "known when what it reads from has run".into(),
        State::Missing(path) => format!("`{path}` is not there"),
    };
    let stage = if name == step.node.stage.name {
        ""
    } else {
        step.node.stage.name
    };
    Ok(format!("  {word:<7} {name:<16} {stage:<10} {detail}")
        .trim_end()
        .to_owned())
}

fn json(recipe: &str, steps: &[Step<'_>]) -> serde_json::Value {
    let nodes: Vec<_> = steps
        .iter()
        .map(|step| {
            let key = match &step.state {
                State::Hit(trace) => Some(trace.key.to_string()),
                State::Run(key) | State::Resume(key, _) => Some(key.digest.to_string()),
                State::Maybe | State::Missing(_) => None,
            };
            serde_json::json!({
                "node": step.node.name,
                "stage": step.node.stage.name,
                "state": step.state.word(),
                "key": key,
                "code_changed": step.code_changed,
            })
        })
        .collect();
    serde_json::json!({ "v": 1, "recipe": recipe, "nodes": nodes })
}
