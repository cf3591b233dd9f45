//! A model folder in Hugging Face's layout: read with every tensor checked, written as f32.
//!
//! Read: `config.json`; `model.safetensors`, or the shards that `model.safetensors.index.json`
//! names; `tokenizer.json`. Written: one `model.safetensors` with the same bytes for the same
//! weights, `config.json`, and the tokenizer and generation files carried along unchanged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::config::{Architecture, Config};
use crate::parameters::{Parameters, Tensor, fill_normal, shapes};
use crate::safetensors_file;
use crate::tokenizer::Tokenizer;

/// Files copied from a loaded folder to a written one when they exist.
const CARRIED: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// A configuration with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The shape.
    pub config: Config,
    /// The weights, exactly the names of [`shapes`].
    pub parameters: Parameters,
}

impl Checkpoint {
    /// Reads `config.json` and the weights of a folder.
    ///
    /// # Errors
    /// A file is missing or damaged; the architecture is unknown; a tensor is missing, has
    /// another shape than the configuration says, or is not known to it.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = load_config(folder)?;
        let mut parameters = Parameters::default();
        for file in weight_files(folder)? {
            safetensors_file::read_into(&mut parameters, &file)?;
        }
        if config.tied {
            // Some writers store the head although it is the embedding.
            parameters.tensors.remove("lm_head.weight");
        }
        // Old Llama checkpoints carry the rotary frequencies, which the configuration gives.
        parameters
            .tensors
            .retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
        let expected = shapes(&config);
        for (name, shape) in &expected {
            let Some(tensor) = parameters.tensors.get(name) else {
                bail!(
                    "{}: tensor {name} of shape {shape:?} is missing from the weights",
                    folder.display()
                );
            };
            ensure!(
                &tensor.shape == shape,
                "{}: tensor {name} has shape {:?}, config.json asks for {shape:?}",
                folder.display(),
                tensor.shape
            );
        }
        if let Some(name) = parameters
            .tensors
            .keys()
            .find(|name| !expected.contains_key(*name))
        {
            bail!(
                "{}: tensor {name} has no place in a {}",
                folder.display(),
                config.architecture.name()
            );
        }
        Ok(Self { config, parameters })
    }

    /// Turns a language model into a reward model: the head goes, a score head comes, drawn with
    /// standard deviation `1 / √(hidden + 1)`.
    ///
    /// # Errors
    /// The model is not a Llama language model.
    pub fn into_score(mut self, seed: u64) -> Result<Self> {
        ensure!(
            self.config.architecture == Architecture::Llama,
            "a reward model is made from a LlamaForCausalLM, not from a {}",
            self.config.architecture.name()
        );
        self.config.architecture = Architecture::LlamaScore;
        self.parameters.tensors.remove("lm_head.weight");
        let width = self.config.hidden_size;
        let mut score = Tensor::zeros(&[1, width]);
        fill_normal(
            &mut score.data,
            1.0 / (width as f64 + 1.0).sqrt(),
            seed,
            "score.weight",
        );
        self.parameters
            .tensors
            .insert("score.weight".to_owned(), score);
        Ok(self)
    }

    /// Writes the folder (made if needed): weights and configuration, and the tokenizer and
    /// generation files of `carried_from`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn save(&self, folder: &Path, carried_from: Option<&Path>) -> Result<()> {
        fs_err::create_dir_all(folder)?;
        fs_err::write(folder.join("config.json"), self.config.to_json())?;
        safetensors_file::write(&self.parameters, &folder.join("model.safetensors"))?;
        if let Some(source) = carried_from {
            for name in CARRIED {
                if source.join(name).exists() {
                    // Read and written, not copied: permissions of a read-only store must not come along.
                    fs_err::write(folder.join(name), fs_err::read(source.join(name))?)?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the `config.json` of a folder.
///
/// # Errors
/// The file is missing, or as [`Config::from_json`].
pub fn load_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    Config::from_json(&fs_err::read_to_string(&path)?)
        .with_context(|| format!("reading {}", path.display()))
}

/// Reads the `tokenizer.json` of a folder and checks it against the configuration.
///
/// # Errors
/// The file is missing or damaged, or has token ids the embedding has no row for.
pub fn load_tokenizer(folder: &Path, config: &Config) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
    ensure!(
        tokenizer.id_bound() <= config.vocab_size,
        "{}: the tokenizer is not the model's: its ids go up to {}, the embedding has {} rows",
        folder.display(),
        tokenizer.id_bound() - 1,
        config.vocab_size
    );
    Ok(tokenizer)
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    ensure!(
        index.exists(),
        "{} holds neither model.safetensors nor model.safetensors.index.json; other weight formats are not read",
        folder.display()
    );
    let value: Value = serde_json::from_str(&fs_err::read_to_string(&index)?)
        .with_context(|| format!("{} is not JSON", index.display()))?;
    let map = value["weight_map"]
        .as_object()
        .with_context(|| format!("{} has no weight_map", index.display()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let name = file.as_str().unwrap_or_default();
        ensure!(
            !name.is_empty() && !name.contains(['/', '\\']),
            "{}: {tensor} is said to be in {file}, which is not a file name",
            index.display()
        );
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
