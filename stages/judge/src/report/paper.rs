//! The rows of the paper's Table 1 that are shown beside our own.
//!
//! Figures as published, never computed here. All of them are on the 165 problems of the
//! CodeContests test split with 1,000 samples a problem.

use serde::Serialize;

/// A published row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaperRow {
    /// The model.
    pub name: &'static str,
    /// Problems solved, of 165.
    pub solved: u32,
    /// Percentage of samples that compile, where published.
    pub compile_percent: Option<f64>,
    /// Where the figure comes from and what it means.
    pub note: &'static str,
}

/// The published rows.
pub const ROWS: [PaperRow; 4] = [
    PaperRow {
        name: "AlphaCode 9B",
        solved: 24,
        compile_percent: None,
        note: "agrees with 10@1k = 14.3 % of 165 (AlphaCode, Table 5)",
    },
    PaperRow {
        name: "AlphaCode 1B",
        solved: 20,
        compile_percent: None,
        note: "agrees with 10@1k = 12.4 % of 165, which AlphaCode gives for the validation split",
    },
    PaperRow {
        name: "IotaCode before PPO",
        solved: 21,
        compile_percent: Some(78.7),
        note: "solved by any of 1,000 samples or by 10@1k: the paper does not say",
    },
    PaperRow {
        name: "IotaCode with PPO",
        solved: 25,
        compile_percent: Some(40.3),
        note: "as above",
    },
];
