//! GGUF files that the test writes itself, from the fixture models.
#![allow(clippy::unwrap_used)]

mod golden;

use std::collections::BTreeMap;
use std::io::Write as _;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use golden::{assert_close, path};
use model::batch::Batch;
use model::checkpoint::Checkpoint;
use model::config::{Architecture, RopeScaling};
use model::gguf;
use model::network::{Network, Workspace};

type Metadata = BTreeMap<String, Value>;
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What llama.cpp's converter makes of a checkpoint.
fn converted(checkpoint: &Checkpoint) -> (Metadata, Tensors) {
    let config = &checkpoint.config;
    let arch = match config.architecture {
        Architecture::Qwen2 => "qwen2",
        _ => "llama",
    };
    let u32 = |value: usize| Value::U32(value as u32);
    let mut metadata: Metadata = [
        ("block_count", u32(config.layers)),
        ("embedding_length", u32(config.hidden_size)),
        ("feed_forward_length", u32(config.intermediate_size)),
        ("context_length", u32(config.max_positions)),
        ("attention.head_count", u32(config.heads)),
        ("attention.head_count_kv", u32(config.kv_heads)),
        (
            "attention.layer_norm_rms_epsilon",
            Value::F32(config.rms_norm_eps as f32),
        ),
        ("rope.freq_base", Value::F32(config.rope_theta as f32)),
        ("rope.dimension_count", u32(config.head_dim)),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{arch}.{key}"), value))
    .collect();
    metadata.insert("general.architecture".into(), Value::String(arch.into()));
    if let RopeScaling::Linear { factor } = config.rope_scaling {
        metadata.insert(
            format!("{arch}.rope.scaling.type"),
            Value::String("linear".into()),
        );
        metadata.insert(
            format!("{arch}.rope.scaling.factor"),
            Value::F32(factor as f32),
        );
    }
    for (key, id) in [
        ("bos", config.bos_token),
        ("eos", config.eos_tokens.first().copied()),
        ("padding", config.pad_token),
    ] {
        if let Some(id) = id {
            metadata.insert(format!("tokenizer.ggml.{key}_token_id"), Value::U32(id));
        }
    }
    let mut tensors = Tensors::new();
    for (name, tensor) in &checkpoint.parameters.tensors {
        let parts: Vec<&str> = name.split('.').collect();
        let stored = match parts.as_slice() {
            ["model", "embed_tokens", ..] => "token_embd.weight".to_owned(),
            ["model", "norm", ..] => "output_norm.weight".to_owned(),
            ["lm_head", ..] => "output.weight".to_owned(),
            ["model", "layers", layer, .., module, kind] => {
                let module = match *module {
                    "input_layernorm" => "attn_norm",
                    "post_attention_layernorm" => "ffn_norm",
                    "q_proj" => "attn_q",
                    "k_proj" => "attn_k",
                    "v_proj" => "attn_v",
                    "o_proj" => "attn_output",
                    "gate_proj" => "ffn_gate",
                    "up_proj" => "ffn_up",
                    "down_proj" => "ffn_down",
                    other => panic!("{other}"),
                };
                format!("blk.{layer}.{module}.{kind}")
            }
            _ => panic!("{name}"),
        };
        let mut data = tensor.data.clone();
        let heads = match stored.rsplit('.').nth(1) {
            Some("attn_q") => config.heads,
            _ => config.kv_heads,
        };
        if arch == "llama" && (stored.contains("attn_q") || stored.contains("attn_k.")) {
            // The converter's `permute`: [heads, 2, D / 2, width] to [heads, D / 2, 2, width].
            let rows = tensor.shape[0] / heads;
            let width = data.len() / tensor.shape[0];
            for row in 0..tensor.shape[0] {
                let (head, within) = (row / rows, row % rows);
                let from = head * rows + within % 2 * (rows / 2) + within / 2;
                data[row * width..][..width].copy_from_slice(&tensor.data[from * width..][..width]);
            }
        }
        tensors.insert(stored, (tensor.shape.clone(), data));
    }
    if let RopeScaling::Llama3 { factor, .. } = config.rope_scaling {
        // As the converter computes them.
        let factors = (0..config.head_dim / 2).map(|i| {
            let exponent = 2.0 * i as f64 / config.head_dim as f64;
            let wavelength = std::f64::consts::TAU * config.rope_theta.powf(exponent);
            if wavelength < 8192.0 / 4.0 {
                1.0
            } else if wavelength > 8192.0 {
                factor as f32
            } else {
                let smooth = (8192.0 / wavelength - 1.0) / 3.0;
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            }
        });
        tensors.insert(
            "rope_freqs.weight".into(),
            (vec![config.head_dim / 2], factors.collect()),
        );
    }
    (metadata, tensors)
}

fn write(metadata: &Metadata, tensors: &Tensors, dtype: GgmlDType) -> tempfile::NamedTempFile {
    let tensors: Vec<(String, QTensor)> = tensors
        .iter()
        .map(|(name, (shape, data))| {
            let tensor = Tensor::from_slice(data, shape.as_slice(), &Device::Cpu).unwrap();
            let quantised = shape.len() == 2 && shape[1].is_multiple_of(dtype.block_size());
            let dtype = if quantised { dtype } else { GgmlDType::F32 };
            (name.clone(), QTensor::quantize(&tensor, dtype).unwrap())
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes.get_ref()).unwrap();
    file
}

fn fixture(name: &str) -> Checkpoint {
    let mut checkpoint = Checkpoint::load(&path(&format!("models/{name}"))).unwrap();
    // GGUF has no place for it; a fresh model's default is filled in.
    checkpoint.config.initializer_range = 0.02;
    checkpoint
}

#[test]
fn an_unquantised_file_is_the_checkpoint_again() {
    for name in ["llama_ds", "qwen2"] {
        let checkpoint = fixture(name);
        let (metadata, tensors) = converted(&checkpoint);
        let file = write(&metadata, &tensors, GgmlDType::F32);
        assert_eq!(gguf::load(file.path()).unwrap(), checkpoint, "{name}");
    }
}

#[test]
fn llama3_factors_become_its_parameters() {
    let mut checkpoint = fixture("llama_gqa");
    checkpoint.config.rope_theta = 500_000.0;
    checkpoint.config.rope_scaling = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192.0,
    };
    let (metadata, mut tensors) = converted(&checkpoint);
    let file = write(&metadata, &tensors, GgmlDType::F32);
    assert_eq!(gguf::load(file.path()).unwrap(), checkpoint);
    tensors.get_mut("rope_freqs.weight").unwrap().1[1] *= 1.5;
    let file = write(&metadata, &tensors, GgmlDType::F32);
    let error = format!("{:#}", gguf::load(file.path()).unwrap_err());
    assert!(error.contains("rope_freqs.weight"), "{error}");
}

#[test]
fn a_quantised_file_predicts_nearly_the_same() {
    let checkpoint = fixture("llama_ds");
    let (metadata, tensors) = converted(&checkpoint);
    let mut batch = Batch::new();
    let ids: Vec<u32> = (0..40).map(|i| (i * i + 3) % 470).collect();
    batch.push_completion(&ids[..1], &ids[1..]).unwrap();
    let log_probs = |checkpoint: Checkpoint| {
        let network = Network::new(checkpoint.config);
        let mut workspace = Workspace::new();
        network
            .forward(&checkpoint.parameters, &batch, &mut workspace)
            .unwrap();
        network.log_probs(&checkpoint.parameters, &batch, 1.0, &mut workspace)
    };
    let exact = log_probs(checkpoint);
    for (dtype, tolerance) in [(GgmlDType::F16, 0.02), (GgmlDType::Q8_0, 0.3)] {
        let file = write(&metadata, &tensors, dtype);
        let found = log_probs(gguf::load(file.path()).unwrap());
        assert_close("log p", &found, &exact, tolerance);
        assert_ne!(found, exact, "nothing was rounded");
    }
}

#[test]
fn files_that_cannot_be_imported_say_why() {
    let checkpoint = fixture("llama_ds");
    let (metadata, tensors) = converted(&checkpoint);
    let refused = |change: &dyn Fn(&mut Metadata, &mut Tensors)| {
        let (mut metadata, mut tensors) = (metadata.clone(), tensors.clone());
        change(&mut metadata, &mut tensors);
        let file = write(&metadata, &tensors, GgmlDType::F32);
        let error = format!("{:#}", gguf::load(file.path()).unwrap_err());
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
        error
    };
    let text = |text: &str| Value::String(text.into());
    let set = |key: &'static str, value: Value| {
        refused(&|m, _| drop(m.insert(key.into(), value.clone())))
    };
    for (error, words) in [
        (
            set("general.architecture", text("mamba")),
            ["mamba", "llama and qwen2"],
        ),
        (
            set("llama.rope.scaling.type", text("yarn")),
            ["yarn", "linear"],
        ),
        (
            set("llama.expert_count", Value::U32(8)),
            ["8 experts", "not implemented"],
        ),
        (
            set("llama.rope.dimension_count", Value::U32(8)),
            ["dimension_count", "8 of the 16"],
        ),
        (
            set("llama.block_count", Value::U32(3)),
            ["blk.2.", "missing"],
        ),
        (
            set("llama.block_count", Value::U32(1)),
            ["blk.1.", "no place"],
        ),
        (
            set("llama.feed_forward_length", Value::U32(99)),
            ["[64, 176]", "[64, 99]"],
        ),
        (
            refused(&|m, _| drop(m.remove("llama.embedding_length"))),
            ["metadata", "llama.embedding_length"],
        ),
        (
            refused(&|_, t| drop(t.remove("blk.1.ffn_up.weight"))),
            ["blk.1.ffn_up.weight", "missing"],
        ),
        (
            refused(&|_, t| t.get_mut("output_norm.weight").unwrap().1[0] = f32::NAN),
            ["output_norm.weight", "not finite in 1 of 64"],
        ),
    ] {
        for word in words {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    }
    let file = write(&metadata, &tensors, GgmlDType::F32);
    let bytes = fs_err::read(file.path()).unwrap();
    for (length, word) in [
        (bytes.len() - 100, "incomplete"),
        (300, "not a complete GGUF"),
    ] {
        fs_err::write(file.path(), &bytes[..length]).unwrap();
        let error = format!("{:#}", gguf::load(file.path()).unwrap_err());
        assert!(error.contains(word), "{error}");
    }
    fs_err::write(file.path(), b"PK\x03\x04 not a model").unwrap();
    let error = format!("{:#}", gguf::load(file.path()).unwrap_err());
    assert!(error.contains("not a complete GGUF"), "{error}");
}
