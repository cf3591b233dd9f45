//! A model folder in Hugging Face's layout: read with every tensor checked, computed in f32.
//!
//! Read: `config.json`; `model.safetensors`, or the shards that `model.safetensors.index.json`
//! names; `tokenizer.json`. Written: the same, with the same bytes for the same weights, in one
//! file of f32 unless asked otherwise, and the tokenizer and generation files carried along
//! unchanged. An error names the file, the tensor, what was found and what was wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::config::{Architecture, Config};
use crate::parameters::{Parameters, Tensor, fill_normal, shapes};
use crate::safetensors_file::{self, Dtype};
use crate::tokenizer::Tokenizer;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

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

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Number format.
    pub dtype: Dtype,
    /// Most bytes of values in one file; more go into numbered files with an index. A single
    /// tensor may exceed it.
    pub max_shard_bytes: u64,
}

impl Default for Layout {
    /// One file in f32.
    fn default() -> Self {
        Self {
            dtype: Dtype::F32,
            max_shard_bytes: u64::MAX,
        }
    }
}

impl Checkpoint {
    /// Reads `config.json` and the weights of a folder.
    ///
    /// # Errors
    /// A file is missing or damaged; the architecture is unknown; a tensor is missing, has
    /// another shape than the configuration says, holds a value that is not finite, or is not
    /// known to it.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = load_config(folder)?;
        let (files, index) = weight_files(folder)?;
        let expected = shapes(&config);
        let mut parameters = Parameters::default();
        for file in files {
            for (name, tensor) in safetensors_file::read(&file)?.tensors {
                // Some writers store the head although it is the embedding; old Llama checkpoints
                // carry the rotary frequencies, which the configuration gives.
                if (config.tied && name == "lm_head.weight")
                    || name.ends_with("rotary_emb.inv_freq")
                {
                    continue;
                }
                check(&name, &tensor, expected.get(&name), &config)
                    .with_context(|| file.display().to_string())?;
                let known = parameters.tensors.insert(name.clone(), tensor);
                ensure!(
                    known.is_none(),
                    "{}: tensor {name} was already read from another shard",
                    file.display()
                );
            }
        }
        for (name, shape) in expected {
            ensure!(
                parameters.tensors.contains_key(&name),
                "{}: tensor {name} of shape {shape:?}, which config.json asks for, is missing{}",
                folder.display(),
                index
                    .get(&name)
                    .map(|file| format!(" from {file}, where the index has it"))
                    .unwrap_or_default()
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
        self.save_as(folder, carried_from, Layout::default())
    }

    /// As [`Checkpoint::save`], in another number format or in several files.
    ///
    /// # Errors
    /// A file cannot be read or written, or a value is too large for the format.
    pub fn save_as(
        &self,
        folder: &Path,
        carried_from: Option<&Path>,
        layout: Layout,
    ) -> Result<()> {
        fs_err::create_dir_all(folder)?;
        fs_err::write(
            folder.join("config.json"),
            self.config.to_json(layout.dtype),
        )?;
        self.save_weights(folder, layout)?;
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

    fn save_weights(&self, folder: &Path, layout: Layout) -> Result<()> {
        let shards = self.shards(layout);
        // What another layout left there would be read in place of this one.
        for stale in [SINGLE, INDEX] {
            if folder.join(stale).exists() {
                fs_err::remove_file(folder.join(stale))?;
            }
        }
        if let [all] = shards.as_slice() {
            return safetensors_file::write_as(
                all.iter().copied(),
                layout.dtype,
                &folder.join(SINGLE),
            );
        }
        let mut map = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            let file = format!("model-{:05}-of-{:05}.safetensors", index + 1, shards.len());
            safetensors_file::write_as(shard.iter().copied(), layout.dtype, &folder.join(&file))?;
            map.extend(shard.iter().map(|(name, _)| (*name, file.clone())));
        }
        let total_size = self.parameters.count() * layout.dtype.bytes();
        let index = json!({"metadata": {"total_size": total_size}, "weight_map": map});
        let text = serde_json::to_string_pretty(&index)?;
        fs_err::write(folder.join(INDEX), format!("{text}\n"))?;
        Ok(())
    }

    /// Tensors in order, cut so that no file but one of a single tensor is too large.
    fn shards(&self, layout: Layout) -> Vec<Vec<(&String, &Tensor)>> {
        let mut shards = vec![Vec::new()];
        let mut bytes = 0;
        for (name, tensor) in &self.parameters.tensors {
            let size = (tensor.data.len() * layout.dtype.bytes()) as u64;
            if bytes > 0 && bytes + size > layout.max_shard_bytes {
                shards.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            shards.last_mut().expect("never empty").push((name, tensor));
        }
        shards
    }
}

/// Checks a tensor against the shape that the configuration gives it.
pub(crate) fn check(
    name: &str,
    tensor: &Tensor,
    shape: Option<&Vec<usize>>,
    config: &Config,
) -> Result<()> {
    let Some(shape) = shape else {
        bail!(
            "tensor {name} {:?} has no place in a {} of {} layers with {} head",
            tensor.shape,
            config.architecture.name(),
            config.layers,
            if config.tied { "a tied" } else { "its own" }
        );
    };
    ensure!(
        &tensor.shape == shape,
        "tensor {name} has shape {:?}, the configuration asks for {shape:?}",
        tensor.shape
    );
    let bad = tensor
        .data
        .iter()
        .filter(|value| !value.is_finite())
        .count();
    ensure!(
        bad == 0,
        "tensor {name} is not finite in {bad} of {} values: the checkpoint is damaged, or its \
         training diverged",
        tensor.data.len()
    );
    Ok(())
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

/// A name for the model in a folder that says what it is: `iota-` and 16 digits of a hash over its
/// configuration, tokenizer and weights.
///
/// # Errors
/// A file cannot be read.
pub fn content_name(folder: &Path) -> Result<String> {
    let mut files = BTreeSet::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") || ["config.json", "tokenizer.json"].contains(&&*name) {
            files.insert(name);
        }
    }
    let mut all = blake3::Hasher::new_derive_key("iota model name v1");
    for name in files {
        let mut file = blake3::Hasher::new();
        file.update_mmap_rayon(folder.join(&name))
            .with_context(|| format!("reading {}", folder.join(&name).display()))?;
        all.update(name.as_bytes());
        all.update(&[0]);
        all.update(file.finalize().as_bytes());
    }
    Ok(format!("iota-{}", &all.finalize().to_hex()[..16]))
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

/// The files that hold the weights, and what the index, if there is one, says is where.
fn weight_files(folder: &Path) -> Result<(Vec<PathBuf>, BTreeMap<String, String>)> {
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok((vec![single], BTreeMap::new()));
    }
    let index = folder.join(INDEX);
    ensure!(
        index.exists(),
        "{} holds neither {SINGLE} nor {INDEX}; other weight formats are not read",
        folder.display()
    );
    let value: Value = serde_json::from_str(&fs_err::read_to_string(&index)?)
        .with_context(|| format!("{} is not complete JSON", index.display()))?;
    let entries = value["weight_map"]
        .as_object()
        .with_context(|| format!("{} has no weight_map", index.display()))?;
    let mut map = BTreeMap::new();
    for (tensor, file) in entries {
        let name = file.as_str().unwrap_or_default();
        ensure!(
            !name.is_empty() && !name.contains(['/', '\\']),
            "{}: {tensor} is said to be in {file}, which is not a file name",
            index.display()
        );
        ensure!(
            folder.join(name).exists(),
            "{}: {tensor} is said to be in {name}, which is not there: the download is incomplete",
            index.display()
        );
        map.insert(tensor.clone(), name.to_owned());
    }
    let names: BTreeSet<&String> = map.values().collect();
    Ok((names.into_iter().map(|n| folder.join(n)).collect(), map))
}
