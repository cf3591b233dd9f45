//! `iota seeds`: one recipe under several seeds, and its rows compared over all of them.
//!
//! Runs the recipe as `iota run` does, seed after seed, so what is there is not made again; then
//! hands the reports to `judge::report::seeds`, whose tables it prints.

use super::{all_stages, load, open, run, say};
use crate::{
    args::{Args, RunArgs, SeedsArgs},
    exit::Exit,
};
use anyhow::{Context as _, ensure};
use judge::report::seeds;

pub(super) fn seeds(args: &Args, seeds_args: &SeedsArgs) -> anyhow::Result<Exit> {
    let registry = all_stages();
    let store = open(args)?;
    let mut reports = Vec::new();
    for &seed in &seeds_args.seeds {
        let mut recipe_args = seeds_args.recipe.clone();
        recipe_args.overrides.push(format!("seed={seed}"));
        let mut recipe = load(&recipe_args, &registry)?;
        recipe.name = format!("{}-seed-{seed}", recipe.name);
        let mut nodes = recipe
            .nodes
            .iter()
            .filter(|node| node.stage.name == "report");
        let node = nodes.next().map(|node| node.name.clone());
        let node = node.context("the recipe has no stage `report`, so nothing to compare")?;
        ensure!(
            nodes.next().is_none(),
            "the recipe has several stages `report`: name a recipe with one"
        );
        super::device::set(&mut recipe, std::slice::from_ref(&node), args.device)?;
        let run_args = RunArgs {
            nodes: vec![node.clone()],
            recipe: recipe_args,
            force: Vec::new(),
            strict: false,
            keep_going: false,
            data_parallel: None,
            json: false,
            quiet: seeds_args.json,
        };
        let summary = run::execute(&run_args, &recipe, &store, &registry)?;
        let address = summary.traces[&node].outputs["report"].address;
        let path = store.checkout(address)?;
        let report = serde_json::from_slice(&fs_err::read(&path)?)
            .with_context(|| format!("{} is not a report", path.display()))?;
        reports.push((seed, report));
    }
    let pooled = seeds::pool(&reports, seeds_args.resamples)?;
    if seeds_args.json {
        say!("{}", serde_json::json!({"v": 1, "pooled": pooled}));
    } else {
        say!("{}", seeds::markdown(&pooled).trim_end());
    }
    Ok(Exit::Success)
}
