//! `iota run`: make what is missing.

use super::{all_stages, load, open};
use crate::{
    args::{Args, RunArgs},
    exit::Exit,
    render::{human, progress},
};
use engine::{Recipe, Registry, event::Silent, event::Sink, run};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};
use store::Store;
use train::data_parallel::ranks::Ranks;

/// Set by the first signal; a second SIGINT ends the process at once.
static CANCEL: AtomicBool = AtomicBool::new(false);
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn run(args: &Args, run_args: &RunArgs) -> anyhow::Result<Exit> {
    let clock = Instant::now();
    let registry = all_stages();
    let mut recipe = load(&run_args.recipe, &registry)?;
    let mut device = args.device;
    if let Some(means) = run_args.data_parallel {
        device = super::device::together(&mut recipe, means, device)?;
    }
    super::device::set(&mut recipe, &run_args.nodes, device)?;
    let store = open(args)?;
    let summary = execute(run_args, &recipe, &store, &registry)?;
    if !run_args.quiet && !run_args.json {
        let took = human::seconds(clock.elapsed().as_secs_f64());
        if summary.ran == 0 {
            let names = if run_args.nodes.is_empty() {
                recipe.name.clone()
            } else {
                run_args.nodes.join(", ")
            };
            anstream::eprintln!(
                "{names}: nothing to do, all {} stages are up to date ({took})",
                summary.hits
            );
        } else {
            anstream::eprintln!(
                "{}: {} stages run, {} up to date, in {took}; see {}/refs/{}",
                recipe.name,
                summary.ran,
                summary.hits,
                args.artifacts.display(),
                recipe.name
            );
        }
    }
    Ok(Exit::Success)
}

/// Runs a recipe, telling of it as the arguments ask.
pub(super) fn execute(
    run_args: &RunArgs,
    recipe: &Recipe,
    store: &Store,
    registry: &Registry,
) -> anyhow::Result<run::Summary> {
    for name in run_args.force.iter().chain(&run_args.nodes) {
        recipe.node(name)?;
    }
    listen()?;
    let follows = super::device::is_together(recipe) && Ranks::from_environment()?.rank > 0;
    let terminal;
    let sink: &dyn Sink = if run_args.json {
        &progress::Json
    } else if run_args.quiet || follows {
        &Silent
    } else {
        terminal = progress::Terminal::new();
        &terminal
    };
    let options = run::Options {
        force: run_args.force.iter().cloned().collect(),
        strict: run_args.strict,
        keep_going: run_args.keep_going,
        follows,
        sink,
        cancel: &CANCEL,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(run::run(
        recipe,
        &run_args.nodes,
        store,
        registry,
        &options,
    )?)
}

fn listen() -> anyhow::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    static LISTENING: OnceLock<()> = OnceLock::new();
    if LISTENING.set(()).is_err() {
        return Ok(());
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            CANCEL.store(true, Ordering::SeqCst);
            if SIGNALS.fetch_add(1, Ordering::SeqCst) == 0 {
                anstream::eprintln!("iota: stopping at the next checkpoint; again to stop at once");
            } else if signal == SIGINT {
                signal_hook::low_level::exit(130);
            }
        }
    });
    Ok(())
}
