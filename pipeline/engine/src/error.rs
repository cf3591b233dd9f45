//! What can go wrong in the engine, in the form callers branch on.

use std::{ops::Range, path::PathBuf};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe says something that cannot be.
    #[error(transparent)]
    Recipe(#[from] Box<RecipeError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file that a node reads is not there.
    #[error("`{node}` reads `{pattern}`, which is not there\n  help: {help}")]
    MissingData {
        /// The node.
        node: String,
        /// The path or pattern in the recipe.
        pattern: String,
        /// The way out.
        help: String,
    },
    /// A file changed while a stage read it.
    #[error(
        "`{path}` changed while `{node}` was reading it; nothing was recorded\n  help: run again when it is complete"
    )]
    InputChanged {
        /// The node.
        node: String,
        /// The file.
        path: PathBuf,
    },
    /// A stage failed.
    #[error("`{node}` failed")]
    Stage {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
    /// A stage panicked: a bug of ours.
    #[error(
        "`{node}` panicked: {message}\n  help: this is a bug; the log is `{log}`. What was checkpointed is kept, so a rerun continues from there"
    )]
    Panic {
        /// The node.
        node: String,
        /// What the panic said.
        message: String,
        /// The log file.
        log: PathBuf,
    },
    /// A stage ended without writing what it declares, or wrote something unreadable.
    #[error("`{node}` ended, but its output `{output}` {problem}; nothing was recorded")]
    BadOutput {
        /// The node.
        node: String,
        /// The output.
        output: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The user asked to stop; what was done is checkpointed.
    #[error("interrupted; what is done is kept, the same command goes on from there")]
    Interrupted,
    /// Nodes failed, and the run went on with the others as asked.
    #[error("{} failed: {}", if .0.len() == 1 { "a node" } else { "some nodes" }, .0.join(", "))]
    Failed(Vec<String>),
    /// Something that is asked for by name is not there.
    #[error("there is no {what} `{name}`{}", did_you_mean(.suggestion.as_deref()))]
    Unknown {
        /// Node, ref, recipe …
        what: &'static str,
        /// The name.
        name: String,
        /// The nearest one there is.
        suggestion: Option<String>,
    },
}

/// The stage was asked to stop and has saved what it had; passed up with `?`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A mistake in a recipe, with the place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RecipeError {
    /// The recipe's file name, or `--set`.
    pub file: String,
    /// Its whole text.
    pub text: String,
    /// The bytes to underline.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// A word under the underlined bytes.
    pub label: String,
    /// The way out.
    pub help: Option<String>,
}

impl RecipeError {
    /// The line the mistake is in, counted from 1.
    pub fn line(&self) -> usize {
        let end = self.span.start.min(self.text.len());
        self.text[..end].matches('\n').count() + 1
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("\n  help: did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The candidate nearest to `name`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + name.len().max(candidate.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
