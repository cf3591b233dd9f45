//! The stages a program knows, made anonymous so that recipes can name them.
//!
//! Filled by the binary in pipeline order; read by `recipe` (names, settings) and `run`.

use crate::{
    Ctx, Input, Invalid, Output, Stage,
    fingerprint::{Fingerprint, fingerprint},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why settings could not be read.
#[derive(Debug)]
pub(crate) struct BadSettings {
    /// Where, `a.b`; empty for the section as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// A stage without its types.
#[derive(Clone, Copy)]
pub struct Definition {
    /// `Stage::NAME`.
    pub name: &'static str,
    /// `Stage::VERSION`.
    pub version: u32,
    /// `Stage::ABOUT`.
    pub about: &'static str,
    /// `Stage::INPUTS`.
    pub inputs: &'static [Input],
    /// `Stage::OUTPUTS`.
    pub outputs: &'static [Output],
    /// `Stage::SOURCES`.
    pub sources: &'static [&'static str],
    /// `Stage::SEEDED`.
    pub seeded: bool,
    /// `Stage::JOINS`.
    pub joins: bool,
    pub(crate) resolve_what: fn(Value) -> Result<Value, BadSettings>,
    pub(crate) resolve_how: fn(Value) -> Result<Value, BadSettings>,
    pub(crate) run: fn(Value, Value, &Ctx) -> anyhow::Result<()>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} v{}", self.name, self.version)
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, BadSettings> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        BadSettings {
            path: if path == "." { String::new() } else { path },
            message: error.into_inner().to_string(),
        }
    })
}

fn resolve_what<S: Stage>(value: Value) -> Result<Value, BadSettings> {
    let what: S::What = parse(value)?;
    S::check(&what).map_err(|Invalid { field, message }| BadSettings {
        path: field,
        message,
    })?;
    Ok(serde_json::to_value(what).expect("settings are plain data"))
}

fn resolve_how<S: Stage>(value: Value) -> Result<Value, BadSettings> {
    let how: S::How = parse(value)?;
    Ok(serde_json::to_value(how).expect("settings are plain data"))
}

// The stage gets its settings back from the very JSON that the key was made of: what is not
// in the key cannot reach it.
fn run<S: Stage>(what: Value, how: Value, ctx: &Ctx) -> anyhow::Result<()> {
    S::run(
        &serde_json::from_value(what)?,
        &serde_json::from_value(how)?,
        ctx,
    )
}

/// A stage's definition.
pub fn define<S: Stage>() -> Definition {
    Definition {
        name: S::NAME,
        version: S::VERSION,
        about: S::ABOUT,
        inputs: S::INPUTS,
        outputs: S::OUTPUTS,
        sources: S::SOURCES,
        seeded: S::SEEDED,
        joins: S::JOINS,
        resolve_what: resolve_what::<S>,
        resolve_how: resolve_how::<S>,
        run: run::<S>,
    }
}

/// All stages a program knows, in pipeline order.
#[derive(Clone, Debug)]
pub struct Registry {
    stages: Vec<Definition>,
    code: &'static [(&'static str, &'static str)],
}

impl Registry {
    /// A registry of these stages; `code` maps source paths to the hashes of their text.
    pub fn new(stages: Vec<Definition>, code: &'static [(&'static str, &'static str)]) -> Self {
        Self { stages, code }
    }

    /// The stages in pipeline order.
    pub fn stages(&self) -> &[Definition] {
        &self.stages
    }

    /// The stage of a name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The fingerprints of a stage's sources.
    pub fn fingerprint(&self, stage: &Definition) -> Fingerprint {
        fingerprint(stage.sources, self.code)
    }
}
