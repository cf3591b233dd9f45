//! The network: a Llama-shaped language model, trained and sampled on the CPU.
//!
//! A library without stages that depends on no other crate of this workspace, or on `gpu` alone.
//! Forward and backward are written by hand, block by block, over reused buffers (`network`,
//! `ops`); decoding has its own layout of the weights (`generate`). Every result is the same bytes
//! for any thread count. Weights are f32; training may multiply in bfloat16 (`precision`), and with
//! feature `cuda` on a GPU (`device`). Deliberately absent: an autograd tape, weights of other
//! dtypes in memory beside working copies.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use model::{batch::Batch, checkpoint::{Checkpoint, load_tokenizer}, generate::{Decoder, Limits, Request, Settings}};
//! use model::{lora::{self, Adapter, LoraConfig}, weights::Weights};
//! use model::{network::{Network, Workspace}, optimizer::{self, AdamW, AdamWConfig}};
//!
//! let folder = std::path::Path::new("a-hugging-face-folder");
//! let Checkpoint { config, mut parameters } = Checkpoint::load(folder)?; // or Parameters::init(&config, seed)
//! let tokenizer = load_tokenizer(folder, &config)?;
//! let network = Network::new(config.clone());
//!
//! // One update on one accumulation window (here a single packed batch).
//! let mut gradients = parameters.zeros_like();           // leave names out to freeze them
//! let mut optimizer = AdamW::new(AdamWConfig::default(), &gradients);
//! let mut workspace = Workspace::new();
//! let mut batch = Batch::new();
//! batch.push_completion(&tokenizer.encode("2 + 2 =")?, &tokenizer.encode(" 4")?)?;
//! let tokens = batch.target_count();                      // of all batches of the window
//! let nll = network.train_nll(&parameters, &mut gradients, &batch, 1.0 / tokens as f64, &mut workspace)?;
//! let clip = optimizer::clip_coefficient(optimizer::gradient_norm(&gradients), 1.0);
//! let rate = optimizer::cosine_learning_rate(1e-4, optimizer.steps(), 10, 100);
//! optimizer.update(&mut parameters, &gradients, rate, clip);
//! gradients.zero();
//!
//! // Any other loss: log-probabilities out, their derivatives in.
//! network.forward(&parameters, &batch, &mut workspace)?;
//! let log_probs = network.log_probs(&parameters, &batch, 1.0, &mut workspace); // [tokens], 0 outside the loss
//! let d_log_probs = vec![-1.0; log_probs.len()];          // dL/d log_probs, from any source
//! network.backward_log_probs(&parameters, &mut gradients, &batch, &d_log_probs, None, 1.0, &mut workspace);
//!
//! // A frozen base with a trained adapter: only its tensors have gradients and moments.
//! let adapter = Adapter::attach("policy", LoraConfig::default(), &config, &mut parameters, 0)?;
//! let mut gradients = adapter.gradients(&parameters);
//! let on = Weights::adapted(&parameters, &adapter);       // `&parameters` alone is "off"
//! network.train_nll(on, &mut gradients, &batch, 1.0 / tokens as f64, &mut workspace)?;
//! lora::write(&adapter, &config, None, &parameters, std::path::Path::new("adapter"))?;
//!
//! // Sampling.
//! let decoder = Decoder::new(&network, &parameters);
//! let request = Request { key: "problem-7".into(), prompt: tokenizer.encode("2 + 2 =")?, samples: 100, ..Request::default() };
//! let settings = Settings::new(64, &config.eos_tokens, 0);
//! let samples = decoder.generate(&[request], &settings, Limits::default(), &|_| std::ops::ControlFlow::Continue(()))?;
//! println!("{} nats per token, {}", nll.sum / nll.tokens as f64, tokenizer.decode(&samples[0].tokens, true)?);
//! Checkpoint { config, parameters }.save(std::path::Path::new("out"), Some(folder))?;
//! # Ok(()) }
//! ```

pub mod arrays;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod generate;
pub mod gguf;
pub mod lora;
pub mod network;
pub mod ops;
pub mod optimizer;
mod pages;
pub mod parameters;
pub mod precision;
pub mod safetensors_file;
pub mod tokenizer;
pub mod weights;
