//! A model, and perhaps an adapter on it, for `iota debug` and `iota export`.

use anyhow::{Context as _, Result};
use clap::Args;
use model::{
    checkpoint::Checkpoint,
    gguf,
    lora::{self, Adapter},
    network::Network,
    parameters::Parameters,
    weights::Weights,
};
use std::path::PathBuf;

/// Where the weights are.
#[derive(Debug, Args)]
pub(in crate::commands) struct ModelArgs {
    /// A Hugging Face folder (config.json and safetensors), or a GGUF file.
    #[arg(long, value_name = "DIR")]
    pub(in crate::commands) model: PathBuf,
    /// A PEFT folder (adapter_config.json and adapter_model.safetensors) whose adapter is on.
    #[arg(long, value_name = "DIR")]
    pub(in crate::commands) adapter: Option<PathBuf>,
}

/// What they hold.
pub(in crate::commands) struct Loaded {
    pub(in crate::commands) network: Network,
    pub(in crate::commands) parameters: Parameters,
    pub(in crate::commands) adapter: Option<Adapter>,
}

impl ModelArgs {
    /// Reads and checks everything.
    pub(in crate::commands) fn load(&self) -> Result<Loaded> {
        let is_gguf = self.model.extension().is_some_and(|e| e == "gguf");
        let checkpoint = if is_gguf {
            gguf::load(&self.model)
        } else {
            Checkpoint::load(&self.model)
        };
        let Checkpoint {
            config,
            mut parameters,
        } = checkpoint.context("the model cannot be read")?;
        let adapter = self
            .adapter
            .as_ref()
            .map(|folder| lora::read(folder, "default", &config, &mut parameters))
            .transpose()
            .context("the adapter cannot be read")?;
        Ok(Loaded {
            network: Network::new(config),
            parameters,
            adapter,
        })
    }
}

impl Loaded {
    /// The weights, with the adapter on if there is one.
    pub(in crate::commands) fn weights(&self) -> Weights<'_> {
        Weights {
            adapter: self.adapter.as_ref(),
            ..(&self.parameters).into()
        }
    }
}
