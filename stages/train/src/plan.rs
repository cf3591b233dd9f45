//! Which rows each update sees: a function of (seed, epoch), so that resuming needs no state.
//!
//! Used by `training_loop`. An epoch shuffles the items with its own random stream, the
//! objective groups them into rows, and every `window` rows are one update. The last window of
//! an epoch may be smaller: no row is lost and none is seen twice.

use crate::settings::Optimisation;
use crate::training_loop::Objective;
use engine::rng::{rng, shuffle};
use std::collections::BTreeSet;

/// The rows of one update.
pub type Window = Vec<Vec<u32>>;

/// The windows of one epoch, in order.
pub fn epoch_windows(
    objective: &impl Objective,
    settings: &Optimisation,
    seed: u64,
    epoch: u64,
) -> Vec<Window> {
    let mut items: Vec<u32> = (0..objective.items() as u32).collect();
    shuffle(&mut rng(seed, "train.order", epoch), &mut items);
    let rows = objective.rows(items);
    rows.chunks(settings.window())
        .map(<[Vec<u32>]>::to_vec)
        .collect()
}

/// Updates and tokens of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length {
    /// Updates.
    pub steps: u64,
    /// Tokens that pass through the network, without validation.
    pub tokens: u64,
    /// Tokens of the largest micro-batch.
    pub largest_batch: u64,
}

/// Walks over all windows of a run; `visit` gets the update's number and may end the walk with
/// an error.
///
/// # Errors
/// Those of `visit`.
pub fn walk<O: Objective, E>(
    objective: &mut O,
    settings: &Optimisation,
    seed: u64,
    mut visit: impl FnMut(&mut O, u64, &Window) -> Result<(), E>,
) -> Result<(), E> {
    let limit = if settings.max_steps > 0 {
        settings.max_steps
    } else {
        u64::MAX
    };
    let epochs = if settings.max_steps > 0 {
        u64::MAX
    } else {
        settings.epochs
    };
    let mut step = 0;
    for epoch in 0..epochs {
        for window in epoch_windows(objective, settings, seed, epoch) {
            if step == limit {
                return Ok(());
            }
            visit(objective, step, &window)?;
            step += 1;
        }
        if step == limit || step == 0 {
            break;
        }
    }
    Ok(())
}

/// The items that a run meets, in their own order.
pub fn met(objective: &mut impl Objective, settings: &Optimisation, seed: u64) -> Vec<u32> {
    let mut met = BTreeSet::new();
    let Ok(()) = walk(objective, settings, seed, |_, _, window| {
        met.extend(window.iter().flatten());
        Ok::<(), std::convert::Infallible>(())
    });
    met.into_iter().collect()
}

/// How long a run is.
pub fn length(objective: &mut impl Objective, settings: &Optimisation, seed: u64) -> Length {
    let mut length = Length::default();
    let Ok(()) = walk(objective, settings, seed, |objective, _, window| {
        length.steps += 1;
        for rows in window.chunks(settings.batch_size as usize) {
            let tokens = rows.iter().map(|row| objective.tokens(row)).sum::<u64>();
            length.tokens += tokens;
            length.largest_batch = length.largest_batch.max(tokens);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    length
}
