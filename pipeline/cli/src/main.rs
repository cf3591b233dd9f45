//! `iota`: from programming-contest data and a small code model to the table of the paper.
//!
//! Parses, sets up, dispatches, and turns outcomes into exit codes. The only crate that
//! prints. Start reading at `registry.rs` (the stages), then `engine::run`.

mod args;
mod commands;
mod execution;
mod exit;
mod registry;
mod render;

use clap::Parser;

fn main() -> std::process::ExitCode {
    // A re-executed copy of this program that is to be a sandbox worker goes no further.
    sandbox::launcher_main_if_requested();
    let args = args::Args::parse();
    let outcome = commands::dispatch(&args);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => render::error::print(&error).into(),
    }
}
