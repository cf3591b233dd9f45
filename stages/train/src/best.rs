//! Which weights a run ends with: the last, or those of the lowest validation loss.
//!
//! Used by `training_loop` at every validation round. The best weights so far are kept in memory
//! and go into checkpoints, so that a resumed run chooses as an unbroken one does. The untrained
//! model takes no part.

use crate::trainer::Trainer;
use anyhow::{Context as _, Result};
use model::parameters::Parameters;
use model::safetensors_file;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which weights are the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those after the last update.
    #[default]
    Last,
    /// Those of the validation round with the lowest loss, the earliest of equals.
    Best,
}

/// A round that was the best when it came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Updates done.
    pub updates: u64,
    /// Its validation loss.
    pub loss: f64,
}

/// The best weights so far.
pub struct Best {
    keep: Keep,
    found: Option<(Round, Parameters)>,
}

const WEIGHTS: &str = "best.safetensors";
const ROUND: &str = "best.json";

impl Best {
    /// Nothing yet; with [`Keep::Last`] it stays so.
    pub fn new(keep: Keep) -> Self {
        Self { keep, found: None }
    }

    /// Takes the weights of a round if none was as good.
    ///
    /// # Errors
    /// The device that they lie on failed.
    pub fn offer(&mut self, round: Round, trainer: &Trainer) -> Result<()> {
        let better = self
            .found
            .as_ref()
            .is_none_or(|(best, _)| round.loss < best.loss);
        if self.keep == Keep::Best && round.updates > 0 && round.loss.is_finite() && better {
            self.found = Some((round, trainer.trained()?));
        }
        Ok(())
    }

    /// Puts the best weights in place of the last; says which, if these are others.
    ///
    /// # Errors
    /// The device that they lie on failed.
    pub fn finish(self, parameters: &mut Parameters) -> Result<Option<Round>> {
        let Some((round, weights)) = self.found else {
            return Ok(None);
        };
        parameters.replace(weights)?;
        Ok(Some(round))
    }

    /// Writes into a checkpoint.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        if let Some((round, weights)) = &self.found {
            safetensors_file::write(weights, &dir.join(WEIGHTS))?;
            fs_err::write(dir.join(ROUND), serde_json::to_vec(round)?)?;
        }
        Ok(())
    }

    /// Takes back what [`Best::save`] wrote.
    ///
    /// # Errors
    /// A file is damaged.
    pub fn restore(&mut self, dir: &Path) -> Result<()> {
        let path = dir.join(ROUND);
        if self.keep == Keep::Best && path.exists() {
            let round = serde_json::from_slice(&fs_err::read(&path)?)
                .with_context(|| format!("{} is damaged", path.display()))?;
            self.found = Some((round, safetensors_file::read(&dir.join(WEIGHTS))?));
        }
        Ok(())
    }
}
