//! Training stages: one algorithm per file, all on one loop (paper, sections 3 and 4).
//!
//! `init` makes or imports a model folder, `adapt` continues it on plain text, `sft` teaches it
//! to answer. An algorithm is an [`training_loop::Objective`]: rows of data in, loss and
//! gradients out. Schedules, accumulation, clipping, checkpoints, resume and metrics are the
//! loop's. Every result is the same bytes for any thread count and after any interruption.

pub mod adapt;
pub mod best;
pub mod data_parallel;
pub mod dpo;
pub mod examples;
pub mod init;
pub mod memory;
pub mod metrics;
pub mod next_token;
pub mod numerics;
pub mod orpo;
pub mod packing;
pub mod pairs;
pub mod plan;
pub mod ppo;
pub mod reward;
pub mod settings;
pub mod sft;
pub mod tensorboard;
pub mod trainer;
pub mod training_loop;
pub mod tuning;
