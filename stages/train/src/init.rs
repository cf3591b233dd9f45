//! Stage `init`: the model folder that training starts from, drawn afresh or imported.
//!
//! Reads a tokenizer folder and draws weights of the asked shape, or reads a Hugging Face
//! checkpoint or a GGUF file and checks every tensor of it. Writes a folder that transformers
//! loads: configuration, weights in f32, tokenizer and generation settings. Settings that would
//! do nothing are an error: an imported model has its own shape.
//!
//! | in | out |
//! |---|---|
//! | `tokenizer` tree; or `checkpoint` tree (with its own or another `tokenizer`); or `gguf` file and `tokenizer` | `model` tree |

use anyhow::{Context as _, Result, bail, ensure};
use engine::{Ctx, Input, Invalid, NoHow, Output, Stage};
use model::checkpoint::{Checkpoint, load_tokenizer};
use model::config::{Architecture, Config, RopeScaling};
use model::gguf;
use model::parameters::Parameters;
use model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// Settings of `init`: the shape of a model from scratch; all absent for an import.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// Width of the residual stream; 256 if absent.
    pub hidden_size: Option<u64>,
    /// Number of blocks; 4 if absent.
    pub layers: Option<u64>,
    /// Query heads; `hidden_size` / 64 if absent.
    pub heads: Option<u64>,
    /// Key and value heads; as many as `heads` if absent.
    pub kv_heads: Option<u64>,
    /// Width of the gated MLP; 8/3 of `hidden_size`, rounded up to a multiple of 32, if absent.
    pub intermediate_size: Option<u64>,
    /// Longest sequence in tokens; 1024 if absent.
    pub context: Option<u64>,
    /// Base of the rotary frequencies; 10000 if absent.
    pub rope_theta: Option<f64>,
    /// Whether the output head is the embedding; true if absent.
    pub tie_embeddings: Option<bool>,
    /// Standard deviation of the drawn weights; 0.02 if absent.
    pub initializer_range: Option<f64>,
    /// Rows of the embedding; as many as the tokenizer has ids if absent. More give a small
    /// tokenizer the weights of a large one.
    pub vocab_size: Option<u64>,
}

impl What {
    fn is_empty(&self) -> bool {
        let value = serde_json::to_value(self).expect("settings are plain data");
        value
            .as_object()
            .is_some_and(|fields| fields.values().all(Value::is_null))
    }

    /// The configuration of a fresh model, without its special tokens.
    fn config(&self, vocab_size: usize) -> Config {
        let size =
            |value: Option<u64>, default: usize| value.map_or(default, |value| value as usize);
        let hidden_size = size(self.hidden_size, 256);
        let heads = size(self.heads, (hidden_size / 64).max(1));
        Config {
            architecture: Architecture::Llama,
            vocab_size: size(self.vocab_size, vocab_size),
            hidden_size,
            intermediate_size: size(
                self.intermediate_size,
                (hidden_size * 8).div_ceil(3).next_multiple_of(32),
            ),
            layers: size(self.layers, 4),
            heads,
            kv_heads: size(self.kv_heads, heads),
            head_dim: hidden_size / heads.max(1),
            rms_norm_eps: 1e-5,
            rope_theta: self.rope_theta.unwrap_or(10_000.0),
            rope_scaling: RopeScaling::None,
            max_positions: size(self.context, 1024),
            tied: self.tie_embeddings.unwrap_or(true),
            initializer_range: self.initializer_range.unwrap_or(0.02),
            bos_token: None,
            eos_tokens: Vec::new(),
            pad_token: None,
        }
    }
}

/// Stage `init`.
pub struct Init;

impl Stage for Init {
    const NAME: &'static str = "init";
    /// 1: first version.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Makes a model folder: fresh weights, or an imported checkpoint";
    const INPUTS: &'static [Input] = &[
        Input::tree("tokenizer").optional(),
        Input::tree("checkpoint").optional(),
        Input::any("gguf").optional(),
    ];
    const OUTPUTS: &'static [Output] = &[Output::tree("model")];
    const SOURCES: &'static [&'static str] = &[
        "train/src/init.rs",
        "model/src/arrays.rs",
        "model/src/checkpoint.rs",
        "model/src/config.rs",
        "model/src/gguf.rs",
        "model/src/parameters.rs",
        "model/src/safetensors_file.rs",
    ];
    type What = What;
    type How = NoHow;

    fn check(what: &What) -> Result<(), Invalid> {
        let config = what.config(1);
        for (value, field) in [
            (config.hidden_size, "hidden_size"),
            (config.layers, "layers"),
            (config.heads, "heads"),
            (config.kv_heads, "kv_heads"),
            (config.intermediate_size, "intermediate_size"),
            (config.max_positions, "context"),
        ] {
            Invalid::unless(value > 0, field, "must be at least 1")?;
        }
        let heads = config.heads;
        Invalid::unless(
            config.hidden_size.is_multiple_of(2 * heads),
            "heads",
            format!(
                "must divide hidden_size {} into even widths",
                config.hidden_size
            ),
        )?;
        Invalid::unless(
            heads.is_multiple_of(config.kv_heads),
            "kv_heads",
            format!("must divide the {heads} heads"),
        )?;
        Invalid::unless(config.rope_theta > 1.0, "rope_theta", "must be above 1")?;
        Invalid::unless(
            config.initializer_range > 0.0 && config.initializer_range.is_finite(),
            "initializer_range",
            "must be above 0, or every weight is the same",
        )
    }

    fn run(what: &What, _how: &NoHow, ctx: &Ctx) -> Result<()> {
        let tokenizer = ctx.input_optional("tokenizer");
        let (folder, file) = (ctx.input_optional("checkpoint"), ctx.input_optional("gguf"));
        let out = ctx.output("model");
        if let Some(port) = folder.map(|_| "checkpoint").or(file.map(|_| "gguf")) {
            ensure!(
                what.is_empty(),
                "the model of {} has its own shape: remove the shape settings, or the input \
                 `{port}` to draw a fresh model",
                ctx.label(port)
            );
        }
        let checkpoint = match (folder, file, tokenizer) {
            (Some(_), Some(_), _) => {
                bail!("`checkpoint` and `gguf` are both bound: a model comes from one of them")
            }
            (Some(folder), None, tokenizer) => {
                let checkpoint = Checkpoint::load(folder)?;
                checkpoint.save(&out, Some(folder))?;
                import(checkpoint, tokenizer, &out)
                    .with_context(|| format!("importing {}", folder.display()))?
            }
            (None, Some(file), Some(tokenizer)) => {
                let checkpoint = gguf::load(file)?;
                checkpoint.save(&out, Some(tokenizer))?;
                import(checkpoint, None, &out)
                    .with_context(|| format!("importing {}", file.display()))?
            }
            (None, Some(_), None) => bail!(
                "`gguf` is bound without `tokenizer`: bind a folder with the model's tokenizer.json"
            ),
            (None, None, Some(tokenizer)) => scratch(what, tokenizer, ctx)?,
            (None, None, None) => bail!(
                "no input is bound: bind `tokenizer` for a fresh model, or `checkpoint` to import \
                 a folder, or `gguf` to import a file"
            ),
        };
        ctx.metric("parameters", checkpoint.parameters.count() as f64);
        Ok(())
    }
}

fn scratch(what: &What, tokenizer: &Path, ctx: &Ctx) -> Result<Checkpoint> {
    let loaded = Tokenizer::load(&tokenizer.join("tokenizer.json"))?;
    let special = SpecialTokens::read(tokenizer, &loaded)?;
    let mut config = what.config(loaded.id_bound());
    ensure!(
        config.vocab_size >= loaded.id_bound(),
        "vocab_size is {}, and {} has ids up to {}: give the embedding at least as many rows",
        config.vocab_size,
        ctx.label("tokenizer"),
        loaded.id_bound() - 1
    );
    config.bos_token = special.bos;
    config.pad_token = special.pad;
    config.eos_tokens = vec![special.eos.with_context(|| {
        format!(
            "{}: the tokenizer names no end-of-sequence token; add `eos_token` to its \
             tokenizer_config.json",
            ctx.label("tokenizer")
        )
    })?];
    config.validate()?;
    let parameters = Parameters::init(&config, ctx.seed());
    let checkpoint = Checkpoint { config, parameters };
    let folder = ctx.output("model");
    checkpoint.save(&folder, Some(tokenizer))?;
    complete(&folder, &checkpoint.config, &loaded)?;
    Ok(checkpoint)
}

/// Completes an imported folder: with `tokenizer` in place of its own if there is one, and with
/// the files that the source did not have.
///
/// # Errors
/// The model has no end-of-sequence token, or the tokenizer is not its own.
fn import(checkpoint: Checkpoint, tokenizer: Option<&Path>, out: &Path) -> Result<Checkpoint> {
    ensure!(
        !checkpoint.config.eos_tokens.is_empty(),
        "the model has no eos_token_id: it could never learn to stop"
    );
    if let Some(tokenizer) = tokenizer {
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            if tokenizer.join(name).exists() {
                fs_err::write(out.join(name), fs_err::read(tokenizer.join(name))?)?;
            }
        }
    }
    let loaded = load_tokenizer(out, &checkpoint.config)?;
    complete(out, &checkpoint.config, &loaded)?;
    Ok(checkpoint)
}

/// Ids of the special tokens that a tokenizer folder names.
#[derive(Debug, Default, PartialEq, Eq)]
struct SpecialTokens {
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
}

impl SpecialTokens {
    /// From `tokenizer_config.json` if there is one, else by the names `<bos>`, `<eos>`, `<pad>`.
    fn read(folder: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        if !path.exists() {
            let id = |token: &str| tokenizer.token_id(token);
            return Ok(Self {
                bos: id("<bos>"),
                eos: id("<eos>"),
                pad: id("<pad>"),
            });
        }
        let value: Value = serde_json::from_str(&fs_err::read_to_string(&path)?)
            .with_context(|| format!("{} is not JSON", path.display()))?;
        let id = |key: &str| -> Result<Option<u32>> {
            // A string, or an object that describes the token.
            let token = value[key]
                .as_str()
                .or_else(|| value[key]["content"].as_str());
            token
                .map(|token| {
                    tokenizer.token_id(token).with_context(|| {
                        format!(
                            "{}: {key} {token:?} is not in tokenizer.json",
                            path.display()
                        )
                    })
                })
                .transpose()
        };
        Ok(Self {
            bos: id("bos_token")?,
            eos: id("eos_token")?,
            pad: id("pad_token")?,
        })
    }
}

/// Adds the files that transformers wants and the source did not have.
fn complete(folder: &Path, config: &Config, tokenizer: &Tokenizer) -> Result<()> {
    let write = |name: &str, value: Value| -> Result<()> {
        let path = folder.join(name);
        if !path.exists() {
            fs_err::write(path, format!("{}\n", serde_json::to_string_pretty(&value)?))?;
        }
        Ok(())
    };
    let text = |id: Option<u32>| id.map(|id| tokenizer.decode(&[id], false)).transpose();
    write(
        "tokenizer_config.json",
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": text(config.bos_token)?,
            "eos_token": text(config.eos_tokens.first().copied())?,
            "pad_token": text(config.pad_token)?,
            "clean_up_tokenization_spaces": false,
            "model_max_length": config.max_positions,
        }),
    )?;
    write(
        "generation_config.json",
        json!({
            "bos_token_id": config.bos_token,
            "eos_token_id": config.eos_tokens,
            "pad_token_id": config.pad_token,
        }),
    )
}
