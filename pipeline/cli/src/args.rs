//! The command line, as clap derives it. Nothing is decided here.

use crate::commands::{debug::DebugArgs, export::ExportArgs, fetch::FetchArgs, serve::ServeArgs};
use clap::{Args as ClapArgs, Parser, Subcommand};
use model::device::Choice;
use std::path::PathBuf;
use train::data_parallel::ranks::Means;

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
    /// What trains and samples: auto (a GPU if there is one), cpu, cuda or cuda:N.
    #[arg(
        long,
        global = true,
        default_value = "auto",
        env = "IOTA_DEVICE",
        value_name = "DEVICE"
    )]
    pub(crate) device: Choice,
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
    /// Run a recipe under several seeds and compare its rows over all of them.
    Seeds(SeedsArgs),
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
    /// Judge a program on a problem, or all submissions of a Kattis problem package.
    Judge(JudgeArgs),
    /// Run cases for the judge itself: what is allowed, and what must not happen.
    JudgeSuite(JudgeSuiteArgs),
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
    /// Train together with the other processes that were started with this very command, RANK and
    /// WORLD_SIZE apart: nccl (a GPU each) or tcp.
    #[arg(long, alias = "dp", value_name = "MEANS", value_parser = means)]
    pub(crate) data_parallel: Option<Means>,
    /// Events as JSON lines on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but errors.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

fn means(text: &str) -> Result<Means, String> {
    match text {
        "nccl" => Ok(Means::Nccl),
        "tcp" => Ok(Means::Tcp),
        _ => Err("there are nccl and tcp".to_owned()),
    }
}

/// Each seed draws problems, weights and programs anew. Results lie under RECIPE-seed-N in the
/// artifacts' refs. Example: `iota seeds --seeds 17,18,19 --recipe mini`
#[derive(Debug, ClapArgs)]
pub(crate) struct SeedsArgs {
    /// The seeds, as in 17,18,19.
    #[arg(long, value_delimiter = ',', required = true, num_args = 1)]
    pub(crate) seeds: Vec<u64>,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Draws of the bootstrap and of the randomisation test.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) resamples: u64,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Hold the GPU's operations and the network on it against the CPU; what `--device` names, or
    /// the first.
    #[arg(long)]
    pub(crate) gpu_selftest: bool,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How programs are run.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct SandboxArgs {
    /// Programs run side by side; 0 for one per processor.
    #[arg(long, default_value_t = 0)]
    pub(crate) workers: usize,
    /// The Python 3 interpreter.
    #[arg(long, value_name = "FILE")]
    pub(crate) python3: Option<PathBuf>,
    /// Run programs even where they cannot be isolated; for those you would run yourself.
    #[arg(long)]
    pub(crate) r#unsafe: bool,
}

/// Examples: `iota judge sum.cpp --problem sum/`, `iota judge sum/` (a problem package)
#[derive(Debug, ClapArgs)]
pub(crate) struct JudgeArgs {
    /// Programs, or one problem package, whose submissions are then judged.
    pub(crate) programs: Vec<PathBuf>,
    /// A problem package, a folder of *.in and *.ans, or FILE.parquet#PROBLEM_ID.
    #[arg(long, short)]
    pub(crate) problem: Option<String>,
    /// CPU seconds of a test; by default the problem's.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<f64>,
    /// Memory of a test; by default the problem's.
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_limit: Option<u64>,
    /// strict, code_contests or lenient; by default as the problem says.
    #[arg(long, value_name = "MODE")]
    pub(crate) compare: Option<String>,
    /// A checker: a source, or a folder with one, that ends with 42 or 43.
    #[arg(long, value_name = "PATH")]
    pub(crate) checker: Option<PathBuf>,
    /// cpp, cpp20, c, python3, pypy3, java or rust; by default guessed by the suffix.
    #[arg(long)]
    pub(crate) language: Option<String>,
    /// Go on after a failed test.
    #[arg(long)]
    pub(crate) all_tests: bool,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// A JSON object a program.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct JudgeSuiteArgs {
    /// Files with a JSON object a line.
    #[arg(required = true)]
    pub(crate) cases: Vec<PathBuf>,
    /// How often all of them are run.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: u32,
    /// Only this case; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// Say also what is as it should be.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// A JSON object a case.
    #[arg(long)]
    pub(crate) json: bool,
}
