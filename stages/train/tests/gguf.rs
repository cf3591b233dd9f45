//! Stage `init` on a GGUF file that the test writes byte by byte.
#![allow(clippy::unwrap_used)]

mod tiny;

use model::checkpoint::{Checkpoint, load_tokenizer};
use model::tokenizer::Tokenizer;
use tiny::World;

enum Value<'a> {
    Text(&'a str),
    Whole(u32),
    Real(f32),
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A GGUF file, version 3, of f32 tensors (sizes innermost first, as the format has them).
fn gguf(metadata: &[(&str, Value)], tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut bytes, key);
        match value {
            Value::Whole(number) => {
                bytes.extend(4_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::Real(number) => {
                bytes.extend(6_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::Text(value) => {
                bytes.extend(8_u32.to_le_bytes());
                text(&mut bytes, value);
            }
        }
    }
    let mut data: Vec<u8> = Vec::new();
    for (name, sizes, values) in tensors {
        text(&mut bytes, name);
        bytes.extend((sizes.len() as u32).to_le_bytes());
        for size in *sizes {
            bytes.extend((*size as u64).to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        assert_eq!(values.len(), sizes.iter().product::<usize>());
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        data.resize(data.len().next_multiple_of(32), 0);
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(data);
    bytes
}

#[test]
fn a_gguf_file_and_a_tokenizer_make_a_model_folder() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(directory.path(), 4);
    let tokenizer = Tokenizer::load(&world.root.join("tokenizer/tokenizer.json")).unwrap();
    let vocab = tokenizer.id_bound();
    let eos = tokenizer.token_id("<eos>").unwrap();
    let wave = |length: usize, step: f32| -> Vec<f32> {
        (0..length).map(|i| (i as f32 * step).sin()).collect()
    };
    let metadata = [
        ("general.architecture", Value::Text("llama")),
        ("llama.block_count", Value::Whole(1)),
        ("llama.embedding_length", Value::Whole(8)),
        ("llama.feed_forward_length", Value::Whole(12)),
        ("llama.context_length", Value::Whole(64)),
        ("llama.attention.head_count", Value::Whole(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Real(1e-5)),
        ("tokenizer.ggml.eos_token_id", Value::Whole(eos)),
    ];
    let tensors: [(&str, &[usize], Vec<f32>); 11] = [
        ("token_embd.weight", &[8, vocab], wave(8 * vocab, 0.1)),
        ("output_norm.weight", &[8], wave(8, 0.2)),
        ("blk.0.attn_norm.weight", &[8], wave(8, 0.3)),
        ("blk.0.ffn_norm.weight", &[8], wave(8, 0.4)),
        ("blk.0.attn_q.weight", &[8, 8], wave(64, 0.5)),
        ("blk.0.attn_k.weight", &[8, 8], wave(64, 0.6)),
        ("blk.0.attn_v.weight", &[8, 8], wave(64, 0.7)),
        ("blk.0.attn_output.weight", &[8, 8], wave(64, 0.8)),
        ("blk.0.ffn_gate.weight", &[8, 12], wave(96, 0.9)),
        ("blk.0.ffn_up.weight", &[8, 12], wave(96, 1.0)),
        ("blk.0.ffn_down.weight", &[12, 8], wave(96, 1.1)),
    ];
    fs_err::write(world.root.join("a.gguf"), gguf(&metadata, &tensors)).unwrap();
    let recipe = format!(
        "[init]\ninputs = {{ gguf = {}, tokenizer = {} }}\n",
        world.file("a.gguf"),
        world.file("tokenizer")
    );
    world.run("a", &recipe).unwrap();
    let folder = world.output("a", "init", "model");
    let Checkpoint { config, parameters } = Checkpoint::load(&folder).unwrap();
    assert_eq!((config.layers, config.heads, config.kv_heads), (1, 2, 2));
    assert!(config.tied);
    assert_eq!(config.eos_tokens, [eos]);
    load_tokenizer(&folder, &config).unwrap();
    for file in ["tokenizer_config.json", "generation_config.json"] {
        assert!(folder.join(file).exists(), "{file}");
    }
    let of = |name: &str| parameters.data(&format!("model.layers.0.{name}.weight"));
    assert_eq!(
        parameters.data("model.embed_tokens.weight"),
        wave(8 * vocab, 0.1)
    );
    assert_eq!(of("mlp.down_proj"), wave(96, 1.1));
    assert_eq!(of("self_attn.v_proj"), wave(64, 0.7));
    // Rows 0 1 2 3 of a stored head are rows 0 2 1 3 of ours: pairs of halves, interleaved.
    let stored = wave(64, 0.5);
    for (ours, theirs) in [0, 2, 1, 3, 4, 6, 5, 7].into_iter().enumerate() {
        let row = |row: usize| row * 8..row * 8 + 8;
        assert_eq!(of("self_attn.q_proj")[row(ours)], stored[row(theirs)]);
    }

    let shaped = recipe.replace("}\n", "}\nlayers = 2\n");
    let error = world.run("b", &shaped).unwrap_err();
    assert!(tiny::chain(&error).contains("the input `gguf` to draw a fresh model"));
    let both = recipe.replace(
        "gguf =",
        &format!("checkpoint = {}, gguf =", world.file("tokenizer")),
    );
    let error = world.run("c", &both).unwrap_err();
    assert!(tiny::chain(&error).contains("comes from one of them"));
}
