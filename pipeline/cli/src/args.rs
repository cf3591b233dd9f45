//! The command line, as clap derives it. Nothing is decided here.

use crate::commands::{debug::DebugArgs, export::ExportArgs, fetch::FetchArgs, serve::ServeArgs};
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::path::PathBuf;

/// From contest data and a small code model to the paper's table, stage by stage.
#[derive(Debug, Parser)]
#[command(
    name = "iota",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    /// Where artifacts are kept.
    #[arg(
        long,
        global = true,
        default_value = "artifacts",
        env = "IOTA_ARTIFACTS"
    )]
    pub(crate) artifacts: PathBuf,
    /// What to do; without it, the state of things.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A recipe with overrides.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RecipeArgs {
    /// A recipe that comes with the program, or a path to a TOML file.
    #[arg(long, short, default_value = "mini", env = "IOTA_RECIPE")]
    pub(crate) recipe: String,
    /// Override one setting; may be given several times.
    #[arg(long = "set", value_name = "NODE.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make what is missing, up to the given nodes (all, if none are named).
    Run(RunArgs),
    /// What a run would do, by the very look-up that it makes.
    Plan(PlanArgs),
    /// Why a node has to run.
    Why(WhyArgs),
    /// The nodes of a recipe and what the store has of them.
    Status(StatusArgs),
    /// The recipe's graph.
    Graph(GraphArgs),
    /// What a node made: files, numbers, rows, where it came from.
    Show(ShowArgs),
    /// Query tables with SQL: `iota sql "select * from mix limit 5"`.
    Sql(SqlArgs),
    /// Everything that has a name in the store.
    Ls(LsArgs),
    /// Two artifacts' settings, inputs and numbers side by side.
    Diff(DiffArgs),
    /// What nothing needs any more; dry unless --delete.
    Gc(GcArgs),
    /// Re-hash the store.
    Verify(VerifyArgs),
    /// Accept results made by older source text as they are.
    Accept(NodeArgs),
    /// Keep what a recipe's nodes are now, whatever gc is asked.
    Pin(PinArgs),
    /// List, print or check recipes.
    Recipe(RecipeCommandArgs),
    /// What this machine offers, and what is missing.
    Doctor(DoctorArgs),
    /// Fetch a model or a data set from the Hugging Face hub into a folder.
    Fetch(FetchArgs),
    /// Write a model folder for others: number format, shards, an adapter put in.
    Export(ExportArgs),
    /// Serve a model over OpenAI's HTTP protocol.
    Serve(ServeArgs),
    /// What a model computes, for comparison with other implementations.
    Debug(DebugArgs),
}

/// Example: `iota run sft --recipe mini --set sft.learning_rate=2e-4`
#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// Nodes to make, with all they need.
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Run this node even if the store has it.
    #[arg(long, value_name = "NODE")]
    pub(crate) force: Vec<String>,
    /// Results made by other source text count as missing.
    #[arg(long)]
    pub(crate) strict: bool,
    /// After a failure go on with nodes that do not depend on it.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Events as JSON lines on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but errors.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    /// Nodes to plan for.
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Exit with 3 if there is work to do.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WhyArgs {
    /// The node.
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum GraphFormat {
    Text,
    Dot,
    Mermaid,
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// How to draw it.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: GraphFormat,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    /// NODE, RECIPE/NODE or RECIPE/NODE/OUTPUT.
    pub(crate) reference: String,
    /// Whose node, if the reference does not say.
    #[arg(long, short, default_value = "mini", env = "IOTA_RECIPE")]
    pub(crate) recipe: String,
    /// How many rows of a table.
    #[arg(long, default_value_t = 5)]
    pub(crate) rows: usize,
    /// Everything it was made from, too.
    #[arg(long)]
    pub(crate) lineage: bool,
    /// The trace as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SqlArgs {
    /// The query; a table is a node (`mix`) or one output of it (`mix_samples`).
    pub(crate) query: String,
    /// Whose nodes.
    #[arg(long, short, default_value = "mini", env = "IOTA_RECIPE")]
    pub(crate) recipe: String,
    /// How many rows at most.
    #[arg(long, default_value_t = 20)]
    pub(crate) rows: usize,
    /// Rows as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Only this recipe.
    #[arg(long, short)]
    pub(crate) recipe: Option<String>,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DiffArgs {
    /// NODE or RECIPE/NODE.
    pub(crate) old: String,
    /// NODE or RECIPE/NODE.
    pub(crate) new: String,
    /// Whose nodes, where a reference does not say.
    #[arg(long, short, default_value = "mini", env = "IOTA_RECIPE")]
    pub(crate) recipe: String,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct GcArgs {
    /// Really delete.
    #[arg(long)]
    pub(crate) delete: bool,
    /// How many of each recipe's last runs stay whole.
    #[arg(long, default_value_t = 3)]
    pub(crate) keep_runs: usize,
    /// What is younger than this many hours stays.
    #[arg(long, default_value_t = 48.0, value_name = "HOURS")]
    pub(crate) grace: f64,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// Remove what is corrupt, so that the next run makes it again.
    #[arg(long)]
    pub(crate) repair: bool,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NodeArgs {
    /// The node.
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PinArgs {
    /// The pin's name.
    pub(crate) name: String,
    /// The recipe whose links are pinned.
    #[arg(long, short, default_value = "mini", env = "IOTA_RECIPE")]
    pub(crate) recipe: String,
    /// Remove the pin instead.
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RecipeCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: RecipeAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecipeAction {
    /// The recipes that come with the program.
    List,
    /// Check a recipe: names, types, ranges, bindings.
    Check(RecipeArgs),
    /// A recipe with all defaults filled in.
    Show(RecipeArgs),
    /// The text of a recipe that comes with the program, to start your own from.
    Print {
        /// Its name.
        name: String,
    },
    /// The stages there are: inputs, outputs, settings.
    Stages,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
