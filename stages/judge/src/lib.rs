//! Evaluation (paper, section 4): sample programs from a model, judge them, report.
//!
//! Five stages: `sample` writes programs, `judge` finds out what they do, `report` turns
//! verdicts into the paper's table; `verify` judges the data's own solutions, so that what is
//! trained on is known to be what it claims; `attempts` makes solutions of judged samples.
//! `score` and `clusters` hold the estimators, `compare` decides whether an output is right,
//! `grade` lets a training stage ask. Programs run in the crate `sandbox` and nowhere else.

pub mod attempts;
mod behaviour;
pub mod cases;
pub mod checker;
pub mod clusters;
pub mod compare;
pub mod grade;
mod journal;
pub mod judge;
pub mod kattis;
mod order;
pub mod package;
mod program_file;
pub mod report;
pub mod rules;
pub mod sample;
pub mod score;
mod session;
mod suite;
mod tally;
mod trial;
pub mod verify;
