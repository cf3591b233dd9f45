//! Running programs as a part of their reward (CodeRL's and PPOCoder's signal, beside the
//! paper's score).
//!
//! This crate knows no judge: whoever registers the stage hands one in as the type parameter of
//! `Ppo`. Only problems of split `train` are ever asked, so hidden tests of the test split
//! cannot become a reward. Used by `ppo::run` and `ppo::credit`.

use super::rollout::Rollout;
use anyhow::Result;
use engine::{Ctx, Invalid};
use serde::{Deserialize, Serialize};

/// What a reward is the weighted sum of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// Weight of the reward model's score, normalised and clipped.
    pub reward_model: f64,
    /// Earned by a program that compiles.
    pub compiles: f64,
    /// Earned in proportion to the public tests that pass.
    pub public_tests: f64,
    /// Earned by a program that passes all tests, hidden ones too.
    pub all_tests: f64,
}

impl Default for Parts {
    /// The paper's: the reward model alone.
    fn default() -> Self {
        Self {
            reward_model: 1.0,
            compiles: 0.0,
            public_tests: 0.0,
            all_tests: 0.0,
        }
    }
}

impl Parts {
    /// Whether programs have to be run.
    pub fn executes(&self) -> bool {
        [self.compiles, self.public_tests, self.all_tests]
            .iter()
            .any(|&weight| weight != 0.0)
    }

    /// The reward of a program with a score as it is learnt from.
    pub fn total(&self, score: f64, row: &Rollout) -> f64 {
        self.reward_model * score
            + self.compiles * row.compiles.unwrap_or(0.0)
            + self.public_tests * row.public_tests.unwrap_or(0.0)
            + self.all_tests * row.all_tests.unwrap_or(0.0)
    }

    /// Checks the ranges; field names begin with `parts.`.
    ///
    /// # Errors
    /// A weight is not a number, or all are 0.
    pub fn check(&self) -> Result<(), Invalid> {
        let weights = [
            (self.reward_model, "parts.reward_model"),
            (self.compiles, "parts.compiles"),
            (self.public_tests, "parts.public_tests"),
            (self.all_tests, "parts.all_tests"),
        ];
        for (weight, field) in weights {
            Invalid::unless(weight.is_finite(), field, "must be a number")?;
        }
        Invalid::unless(
            weights.iter().any(|&(weight, _)| weight != 0.0),
            "parts",
            "must have a weight other than 0, or nothing is learnt",
        )
    }
}

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The problem it is to solve.
    pub problem_id: &'a str,
    /// Its language, as tables name it.
    pub language: &'a str,
    /// Its text.
    pub source: &'a str,
}

/// What came of a program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ran {
    /// Whether it compiles.
    pub compiles: bool,
    /// Share of the public tests it passes.
    pub public_tests: f64,
    /// Whether it passes all tests.
    pub all_tests: bool,
}

/// Something that runs programs.
pub trait Execution: Sized + 'static {
    /// Prepares to run programs for the problems bound to input `problems`.
    ///
    /// # Errors
    /// The problems cannot be read or programs cannot be run on this machine.
    fn open(ctx: &Ctx) -> Result<Self>;

    /// Runs programs; one answer each, in order.
    ///
    /// # Errors
    /// The judge itself failed, or the user asked to stop.
    fn run(&self, programs: &[Program<'_>], ctx: &Ctx) -> Result<Vec<Ran>>;
}
