//! The engine: a stage is a pure function from (settings, input artifacts, seed) to output
//! artifacts, and the engine never runs the same one twice.
//!
//! The story of a run: [`recipe`] reads a TOML file into a graph of nodes, each a stage with
//! settings and bound inputs. For each node in topological order, [`key`] makes the key of
//! what is asked from the settings, the *content* of the inputs and the stage's version;
//! [`plan`] looks the key up in the store. A hit costs a few system calls. A miss is run by
//! [`run`]: the stage gets a [`Ctx`], writes files, and the engine hashes, publishes and
//! commits them. Because keys hold content and not history, a stage that is re-run and
//! produces the same bytes stops the change right there.
//!
//! It knows nothing about models, tables or contests, and prints nothing: what the outside
//! may want to know goes through [`event`].

mod binding;
mod context;
mod error;
pub mod event;
mod fingerprint;
pub mod key;
mod output;
pub mod plan;
pub mod recipe;
mod registry;
pub mod rng;
pub mod run;
mod stage;
mod value;
pub mod why;

pub use binding::{Binding, BoundInput};
pub use context::{Ctx, Progress, Shards};
pub use error::{Error, Interrupted, RecipeError};
pub use fingerprint::Fingerprint;
pub use recipe::{Node, Recipe};
pub use registry::{Definition, Registry, define};
pub use stage::{Arity, Input, Invalid, Kind, NoHow, Output, Stage};
pub use store::Checkpoint;
