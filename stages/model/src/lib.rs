//! The network: a Llama-shaped language model on the CPU in f32, trained and sampled by hand-written passes.
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod network;
pub mod ops;
pub mod optimizer;
pub mod parameters;
pub mod safetensors_file;
pub mod tokenizer;
