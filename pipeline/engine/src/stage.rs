//! What a stage is: a name, a version, named inputs and outputs, settings, and a function.
//!
//! Implemented by every stage under `stages/`, made anonymous by `registry::define`. The two
//! kinds of settings are two types: `What` changes the result and is part of the key, `How`
//! (threads, cadence, budgets) does not and is not.

use crate::Ctx;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A stage: a pure function from settings, input artifacts and a seed to output artifacts.
pub trait Stage: 'static {
    /// Its name: recipe section, `make` target, folder under `artifacts/refs`.
    const NAME: &'static str;
    /// Part of the key. Raise it when the same settings and inputs give another result;
    /// the comment above it lists what each number changed.
    const VERSION: u32;
    /// One sentence for listings.
    const ABOUT: &'static str;
    /// What it reads.
    const INPUTS: &'static [Input];
    /// What it writes.
    const OUTPUTS: &'static [Output];
    /// Files or folders (below `stages/`) whose text decides the result. Their fingerprint
    /// is recorded with the result, so that a forgotten version bump is seen.
    const SOURCES: &'static [&'static str];
    /// Whether the recipe's seed is part of the key.
    const SEEDED: bool = true;
    /// Whether several processes may run it together, see [`Ctx::follows`].
    const JOINS: bool = false;
    /// Settings that change the result.
    type What: Serialize + DeserializeOwned;
    /// Settings that do not.
    type How: Serialize + DeserializeOwned;

    /// Checks the ranges of settings.
    fn check(_what: &Self::What) -> Result<(), Invalid> {
        Ok(())
    }

    /// Does the work.
    fn run(what: &Self::What, how: &Self::How, ctx: &Ctx) -> anyhow::Result<()>;
}

/// For stages without `How`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoHow {}

/// A setting that is out of range.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// The field, `a.b` for nested ones.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Invalid {
    /// `field` must be something it is not.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    /// Fails unless `holds`.
    pub fn unless(
        holds: bool,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self::new(field, message))
        }
    }
}

/// What an artifact is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Parquet file.
    Table,
    /// A directory.
    Tree,
    /// A JSON file.
    Json,
    /// A text file.
    Text,
    /// A page for a browser (HTML), whole in one file.
    Page,
    /// Inputs only: a file of any format.
    Any,
}

impl Kind {
    /// The extension a file of this kind gets in `refs/`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Table => "parquet",
            Self::Json => "json",
            Self::Text => "md",
            Self::Page => "html",
            Self::Tree | Self::Any => "",
        }
    }
}

/// How many artifacts an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    One,
    /// None or one.
    Optional,
    /// One or more, in the recipe's order.
    Many,
    /// None or more, in the recipe's order.
    Any,
}

/// A named input.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// How many.
    pub arity: Arity,
}

impl Input {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            arity: Arity::One,
        }
    }
    /// A Parquet file.
    pub const fn table(name: &'static str) -> Self {
        Self::new(name, Kind::Table)
    }
    /// A directory.
    pub const fn tree(name: &'static str) -> Self {
        Self::new(name, Kind::Tree)
    }
    /// A JSON file.
    pub const fn json(name: &'static str) -> Self {
        Self::new(name, Kind::Json)
    }
    /// A file of any format.
    pub const fn any(name: &'static str) -> Self {
        Self::new(name, Kind::Any)
    }
    /// May be left unbound.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.arity = Arity::Optional;
        self
    }
    /// Takes one or more.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.arity = Arity::Many;
        self
    }
    /// Takes none or more.
    #[must_use]
    pub const fn any_number(mut self) -> Self {
        self.arity = Arity::Any;
        self
    }
}

/// A named output.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

impl Output {
    /// A Parquet file.
    pub const fn table(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Table,
        }
    }
    /// A directory.
    pub const fn tree(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Tree,
        }
    }
    /// A JSON file.
    pub const fn json(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Json,
        }
    }
    /// A text file (Markdown).
    pub const fn text(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Text,
        }
    }
    /// A page for a browser.
    pub const fn page(name: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Page,
        }
    }
    /// The file name under which a run writes it.
    pub(crate) fn file_name(&self) -> String {
        match self.kind.extension() {
            "" => self.name.to_owned(),
            extension => format!("{}.{extension}", self.name),
        }
    }
}
