//! Adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! Keys are `base_model.model.<module>.lora_A.weight`, without the adapter's name; modules
//! trained in full (`score`, the embedding, the head) and PEFT's copy of an adapted head
//! (`….base_layer.weight`) stand beside them. A setting that would change the arithmetic and
//! is not implemented here is an error, never ignored; so is a file that does not hold exactly
//! what its configuration says. Written bytes depend on the adapter alone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    Adapter, EMBEDDING, HEAD, LoraConfig, Targets, full_weights, is_suffix, linears, module_of,
};
use crate::config::Config;
use crate::parameters::{Parameters, Tensor, shapes};
use crate::safetensors_file;

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
const PREFIX: &str = "base_model.model.";

/// Settings that must be absent, null, false or empty.
const UNKNOWN: [&str; 17] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "lora_bias",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
];

/// Adds the adapter of a PEFT folder, under `name`, to `parameters`, which hold the base.
///
/// # Errors
/// A file is missing or damaged; a setting is not implemented; a tensor is missing, has another
/// shape than the base asks for, holds a value that is not finite, or has no place.
pub fn read(
    folder: &Path,
    name: &str,
    base: &Config,
    parameters: &mut Parameters,
) -> Result<Adapter> {
    let path = folder.join(CONFIG);
    let text = fs_err::read_to_string(&path)?;
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not complete JSON", path.display()))?;
    let path = folder.join(TENSORS);
    let mut tensors = BTreeMap::new();
    for (key, tensor) in safetensors_file::read(&path)?.tensors {
        let module = key.strip_prefix(PREFIX).with_context(|| {
            format!(
                "{}: tensor {key} does not start with {PREFIX}",
                path.display()
            )
        })?;
        // Some releases keep the wrapper's name in the key.
        let module = module.replace(".modules_to_save.", ".");
        tensors.insert(module, tensor);
    }
    let adapted: Vec<String> = tensors
        .keys()
        .filter_map(|key| key.strip_suffix(".lora_A.weight").map(str::to_owned))
        .collect();
    let config = parse(&value, adapted)
        .and_then(|config| config.check(base).map(|()| config))
        .with_context(|| format!("the adapter {} cannot be used", folder.display()))?;
    let mut adapter = Adapter::empty(name, config, parameters)?;
    let take = |tensors: &mut BTreeMap<String, Tensor>, key: &str, wanted: &[usize]| {
        let tensor = tensors.remove(key).with_context(|| {
            format!(
                "{}: tensor {PREFIX}{key} of shape {wanted:?} is missing, which {CONFIG} asks for",
                path.display()
            )
        })?;
        ensure!(
            tensor.shape == wanted,
            "{}: tensor {PREFIX}{key} has shape {:?}, {wanted:?} fits the base: this is an adapter \
             for another model",
            path.display(),
            tensor.shape
        );
        anyhow::Ok(tensor)
    };
    let mut read = BTreeMap::new();
    let rank = adapter.config.rank;
    for (module, [outputs, inputs]) in linears(base) {
        if adapter.config.targets.matches(&module) {
            let a = take(
                &mut tensors,
                &format!("{module}.lora_A.weight"),
                &[rank, inputs],
            )?;
            let b = take(
                &mut tensors,
                &format!("{module}.lora_B.weight"),
                &[outputs, rank],
            )?;
            let factors = adapter.add_factors(&module);
            read.extend([(factors.a, a), (factors.b, b)]);
        }
    }
    let saved = adapter.config.modules_to_save.clone();
    let of_base = shapes(base);
    for weight in full_weights(base) {
        if saved.iter().any(|s| is_suffix(s, module_of(weight))) {
            let tensor = take(&mut tensors, weight, &of_base[weight])?;
            read.insert(adapter.add_replaced(weight), tensor);
        }
    }
    // PEFT adds a copy of the base's head when the head is adapted.
    for (module, shape) in linears(base) {
        let key = format!("{module}.base_layer.weight");
        if tensors.contains_key(&key) && adapter.config.targets.matches(&module) {
            let copy = take(&mut tensors, &key, &shape)?;
            let stored = if format!("{module}.weight") == HEAD && base.tied {
                EMBEDDING.to_owned()
            } else {
                format!("{module}.weight")
            };
            ensure!(
                is_copy(&copy.data, parameters.data(&stored)),
                "{}: tensor {PREFIX}{key} differs from the base's {stored}: this is an adapter for \
                 another model",
                path.display()
            );
        }
    }
    if let Some(key) = tensors.keys().next() {
        bail!(
            "{}: tensor {PREFIX}{key} has no place in an adapter of this base with target_modules \
             {} and modules_to_save {}",
            path.display(),
            value["target_modules"],
            value["modules_to_save"]
        );
    }
    for (name, tensor) in &read {
        ensure!(
            tensor.data.iter().all(|value| value.is_finite()),
            "{}: tensor {name} holds a value that is not finite: the adapter is damaged",
            path.display()
        );
    }
    parameters.tensors.extend(read);
    Ok(adapter)
}

/// Whether one is the other, rounded to bf16 at worst.
fn is_copy(copy: &[f32], original: &[f32]) -> bool {
    copy.iter()
        .zip(original)
        .all(|(copy, original)| (copy - original).abs() <= original.abs() / 128.0)
}

/// The configuration of `adapter_config.json`; `adapted` are the modules that the tensors name,
/// which stand for a regular expression.
fn parse(value: &Value, adapted: Vec<String>) -> Result<LoraConfig> {
    ensure!(
        value["peft_type"] == "LORA",
        "{CONFIG}: peft_type is {}; only \"LORA\" is implemented",
        value["peft_type"]
    );
    for key in UNKNOWN {
        let empty = match &value[key] {
            Value::Null | Value::Bool(false) => true,
            Value::Object(object) => object.is_empty(),
            Value::Array(array) => array.is_empty(),
            _ => false,
        };
        ensure!(
            empty,
            "{CONFIG}: {key} is {}, which is not implemented",
            value[key]
        );
    }
    let bias = value["bias"].as_str().unwrap_or("none");
    ensure!(
        bias == "none",
        "{CONFIG}: bias is {bias:?}; only \"none\" is implemented"
    );
    // These change the base as well, which is not here to be changed.
    if let Some(init) = value["init_lora_weights"].as_str() {
        ensure!(
            ["gaussian", "orthogonal", "eva"].contains(&init),
            "{CONFIG}: init_lora_weights is {init:?}, whose adapters need a changed base; convert it \
             to a plain LoRA with PEFT first"
        );
    }
    let list = |key: &str| -> Result<Option<Vec<String>>> {
        match &value[key] {
            Value::Null => Ok(None),
            Value::Array(_) => serde_json::from_value(value[key].clone())
                .map(Some)
                .with_context(|| format!("{CONFIG}: {key} is not a list of names")),
            other => bail!("{CONFIG}: {key} is {other}, not a list of names"),
        }
    };
    let targets = match &value["target_modules"] {
        Value::String(all) if all == "all-linear" => Targets::AllLinear { head: false },
        // A regular expression: what it matched has tensors.
        Value::String(_) => Targets::Suffixes(adapted),
        _ => Targets::Suffixes(list("target_modules")?.unwrap_or_default()),
    };
    let number = |key: &str| {
        value[key]
            .as_f64()
            .with_context(|| format!("{CONFIG}: {key} is {}, not a number", value[key]))
    };
    let rank = value["r"]
        .as_u64()
        .with_context(|| format!("{CONFIG}: r is {}, not a whole number", value["r"]))?;
    Ok(LoraConfig {
        rank: rank as usize,
        alpha: number("lora_alpha")?,
        rslora: value["use_rslora"] == true,
        dropout: value["lora_dropout"].as_f64().unwrap_or(0.0),
        targets,
        modules_to_save: list("modules_to_save")?.unwrap_or_default(),
    })
}

/// Writes a PEFT folder (made if needed). `base_model` is what the folder says of its base:
/// a repository's name or a path that its readers know; `None` leaves it open.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    adapter: &Adapter,
    base: &Config,
    base_model: Option<&str>,
    parameters: &Parameters,
    folder: &Path,
) -> Result<()> {
    let config = &adapter.config;
    let mut targets = match &config.targets {
        Targets::Suffixes(suffixes) => suffixes.clone(),
        // Not the word "all-linear", which has meant different things in different releases.
        all @ Targets::AllLinear { .. } => linears(base)
            .keys()
            .filter(|module| all.matches(module))
            .map(|module| module.rsplit('.').next().unwrap_or(module).to_owned())
            .collect(),
    };
    targets.sort();
    targets.dedup();
    let saved = (!config.modules_to_save.is_empty()).then_some(&config.modules_to_save);
    let alpha = if config.alpha.fract() == 0.0 {
        json!(config.alpha as i64)
    } else {
        json!(config.alpha)
    };
    let value = json!({
        "peft_type": "LORA",
        "task_type": if base.architecture.has_head() { "CAUSAL_LM" } else { "SEQ_CLS" },
        "base_model_name_or_path": base_model,
        "revision": null,
        "inference_mode": true,
        "r": config.rank,
        "lora_alpha": alpha,
        "use_rslora": config.rslora,
        "lora_dropout": config.dropout,
        "target_modules": targets,
        "modules_to_save": saved,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "use_dora": false,
    });
    let mut text = serde_json::to_string_pretty(&value)?;
    text.push('\n');
    let mut out = Parameters::default();
    let mut put = |name: &str, own: &str| {
        let tensor = parameters.tensors[own].clone();
        out.tensors.insert(format!("{PREFIX}{name}"), tensor);
    };
    for (weight, factors) in &adapter.factors {
        let module = module_of(weight);
        put(&format!("{module}.lora_A.weight"), &factors.a);
        put(&format!("{module}.lora_B.weight"), &factors.b);
    }
    for (weight, own) in &adapter.replaced {
        put(weight, own);
    }
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join(CONFIG), text)?;
    safetensors_file::write(&out, &folder.join(TENSORS))
}
