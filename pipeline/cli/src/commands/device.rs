//! `--device`: which nodes of a recipe it concerns, and whether it is there at all.
//!
//! A stage that can compute on a GPU has a setting `device` among those that are not part of its
//! key; a recipe may set it for a node, and `--device` fills in the others. What is asked for by
//! name is opened before anything runs: hours later is too late to say that there is no driver.

use engine::Recipe;
use model::device::Choice;
use train::data_parallel::ranks::{Means, Ranks};

/// The setting.
const SETTING: &str = "device";
/// How processes that train together add their gradients.
const DATA_PARALLEL: &str = "data_parallel";

/// Has every node that can train together with other processes do so by `means`; returns the device
/// of this one: if `choice` leaves it open, the GPU of its number on this host.
///
/// # Errors
/// The environment does not say which of the processes this is.
pub(super) fn together(
    recipe: &mut Recipe,
    means: Means,
    choice: Choice,
) -> anyhow::Result<Choice> {
    let ranks = Ranks::from_environment()?;
    for node in &mut recipe.nodes {
        if let Some(setting) = node.how.get_mut(DATA_PARALLEL)
            && setting.is_null()
        {
            *setting = serde_json::to_value(means)?;
        }
    }
    Ok(match (means, choice) {
        (Means::Nccl, Choice::Auto) => Choice::Cuda(ranks.local),
        (_, choice) => choice,
    })
}

/// Whether a node trains together with other processes.
pub(super) fn is_together(recipe: &Recipe) -> bool {
    let mut settings = recipe.nodes.iter().map(|node| node.how.get(DATA_PARALLEL));
    settings.any(|setting| setting.is_some_and(|setting| !setting.is_null()))
}

/// Has every node that says nothing itself compute where `choice` says.
///
/// # Errors
/// A GPU is asked for by name, here or in the recipe, for a node that `targets` need, and there is
/// none.
pub(super) fn set(recipe: &mut Recipe, targets: &[String], choice: Choice) -> anyhow::Result<()> {
    for node in &mut recipe.nodes {
        if let Some(device) = node.how.get_mut(SETTING)
            && device.is_null()
        {
            *device = serde_json::to_value(choice)?;
        }
    }
    for node in recipe.needed(targets)? {
        let Some(device) = node.how.get(SETTING) else {
            continue;
        };
        let choice = serde_json::from_value::<Choice>(device.clone())?;
        // `auto` is looked at by the first stage that trains: most runs have nothing to train.
        if choice != Choice::Auto {
            choice.open()?;
        }
    }
    Ok(())
}
