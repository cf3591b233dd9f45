//! The stages, in pipeline order: the table of contents of the program. Start here.
//!
//! A stage is added by one line here and named in a recipe by its `NAME`. What each reads
//! and writes stands at the top of its file.

use crate::execution::Judge;
use engine::{Registry, define, recipe::Library};

/// The recipes that come with the program.
pub(crate) const RECIPES: Library = &[
    ("tiny", include_str!("../recipes/tiny.toml")),
    ("mini", include_str!("../recipes/mini.toml")),
    (
        "iotacode-1.3b",
        include_str!("../recipes/iotacode-1.3b.toml"),
    ),
    (
        "iotacode-1.3b-ablations",
        include_str!("../recipes/iotacode-1.3b-ablations.toml"),
    ),
    (
        "iotacode-1.3b-random",
        include_str!("../recipes/iotacode-1.3b-random.toml"),
    ),
];

const CODE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/code.rs"));

/// All stages.
pub(crate) fn registry() -> Registry {
    Registry::new(
        vec![
            // Data: problems and solutions.
            define::<contest::Contest>(),
            define::<corpus::ingest::Ingest>(),
            define::<corpus::dump::Dump>(),
            define::<corpus::decontaminate::Decontaminate>(),
            define::<judge::verify::Verify>(),
            // Text: what models are trained on.
            define::<corpus::tokenizer::Tokenizer>(),
            define::<corpus::mix::Mix>(),
            define::<corpus::triplets::Triplets>(),
            define::<corpus::split::Split>(),
            // Models.
            define::<train::init::Init>(),
            define::<train::adapt::Adapt>(),
            define::<train::sft::Sft>(),
            define::<train::reward::Reward>(),
            define::<train::dpo::Dpo>(),
            define::<train::orpo::Orpo>(),
            define::<train::ppo::Ppo<Judge>>(),
            // Evaluation.
            define::<judge::sample::Sample>(),
            define::<judge::judge::Judge>(),
            define::<judge::attempts::Attempts>(),
            define::<judge::report::Report>(),
        ],
        CODE,
    )
}
