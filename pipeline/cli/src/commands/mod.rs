//! One file per command; each reads its arguments, asks the engine, prints.

mod accept;
pub(crate) mod debug;
mod device;
mod diff;
mod doctor;
pub(crate) mod export;
pub(crate) mod fetch;
mod gc;
mod graph;
mod inspect;
mod judge;
mod judge_suite;
mod list;
mod plan;
mod recipe;
mod run;
mod seeds;
pub(crate) mod serve;
mod show;
mod verify;
mod why;

use crate::{
    args::{Args, Command, RecipeArgs},
    exit::Exit,
    registry::{RECIPES, registry},
};
use engine::{Recipe, Registry};
use store::Store;

/// Does what the command line asks.
pub(crate) fn dispatch(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        None => plan::overview(args),
        Some(Command::Run(run)) => run::run(args, run),
        Some(Command::Seeds(seeds)) => seeds::seeds(args, seeds),
        Some(Command::Plan(plan)) => plan::plan(args, plan),
        Some(Command::Why(why)) => why::why(args, why),
        Some(Command::Status(status)) => plan::status(args, status),
        Some(Command::Graph(graph)) => graph::graph(args, graph),
        Some(Command::Show(show)) => show::show(args, show),
        Some(Command::Sql(sql)) => inspect::sql(args, sql),
        Some(Command::Ls(ls)) => list::list(args, ls),
        Some(Command::Diff(diff)) => diff::diff(args, diff),
        Some(Command::Gc(gc)) => gc::gc(args, gc),
        Some(Command::Verify(verify)) => verify::verify(args, verify),
        Some(Command::Accept(node)) => accept::accept(args, node),
        Some(Command::Pin(pin)) => accept::pin(args, pin),
        Some(Command::Recipe(recipe)) => recipe::recipe(&recipe.action),
        Some(Command::Doctor(doctor)) => doctor::doctor(args, doctor),
        Some(Command::Judge(args)) => judge::judge(args),
        Some(Command::JudgeSuite(args)) => judge_suite::judge_suite(args),
        Some(Command::Fetch(fetch)) => fetch::fetch(fetch),
        Some(Command::Export(export)) => export::export(export),
        Some(Command::Serve(serve)) => serve::serve(serve),
        Some(Command::Debug(debug)) => debug::debug(args, debug),
    }
}

/// Prints a line to stdout; a reader that went away ends the program quietly.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        let mut out = anstream::stdout().lock();
        if writeln!(out, $($part)*).is_err() {
            return Ok($crate::exit::Exit::Success);
        }
    }};
}
pub(crate) use say;

pub(crate) fn load(args: &RecipeArgs, registry: &Registry) -> anyhow::Result<Recipe> {
    Ok(engine::recipe::load(
        &args.recipe,
        &args.overrides,
        registry,
        RECIPES,
    )?)
}

pub(crate) fn open(args: &Args) -> anyhow::Result<Store> {
    Ok(Store::open(&args.artifacts)?)
}

pub(crate) fn all_stages() -> Registry {
    registry()
}

/// The (recipe, node, output) that a reference names. `a/b` is recipe a, node b; a single
/// word is a node of `default`.
pub(crate) fn reference(text: &str, default: &str) -> (String, String, Option<String>) {
    let parts: Vec<&str> = text.trim_matches('/').split('/').collect();
    match parts[..] {
        [node] => (default.to_owned(), node.to_owned(), None),
        [recipe, node] => (recipe.to_owned(), node.to_owned(), None),
        [recipe, node, ..] => {
            let output = parts[2].split('.').next().unwrap_or_default();
            (recipe.to_owned(), node.to_owned(), Some(output.to_owned()))
        }
        [] => (String::new(), String::new(), None),
    }
}

/// The trace a reference's links point at.
pub(crate) fn linked(store: &Store, recipe: &str, node: &str) -> anyhow::Result<store::Trace> {
    if let Some(trace) = store.linked_trace(recipe, node)? {
        return Ok(trace);
    }
    let known: Vec<String> = store
        .linked()?
        .into_iter()
        .map(|(recipe, node)| format!("{recipe}/{node}"))
        .collect();
    let help = if known.is_empty() {
        "nothing has been made yet: `iota run`".to_owned()
    } else {
        format!(
            "`iota ls` lists what there is; nearest: {}",
            nearest(&format!("{recipe}/{node}"), &known)
        )
    };
    anyhow::bail!("nothing is linked as `{recipe}/{node}`\n  help: {help}")
}

fn nearest(name: &str, known: &[String]) -> String {
    known
        .iter()
        .min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate))
        .map(|name| format!("`{name}`"))
        .unwrap_or_default()
}
