//! Tokenizers against transformers, and the trainer of new ones.
#![allow(clippy::unwrap_used)]

mod golden;

use golden::{json, path};
use model::tokenizer::{SpecialTokens, Tokenizer, train_byte_level_bpe};

#[test]
fn ids_and_texts_match_transformers() {
    for name in ["llama_ds", "llama_gqa", "qwen2"] {
        let tokenizer = Tokenizer::load(&path(&format!("models/{name}/tokenizer.json"))).unwrap();
        let fixture = json(&format!("tokenizer/{name}.json"));
        let rows = fixture["rows"].as_array().unwrap();
        assert!(rows.len() > 20);
        for row in rows {
            let ids: Vec<u32> = serde_json::from_value(row["ids_no_special"].clone()).unwrap();
            assert_eq!(
                tokenizer.encode(row["text"].as_str().unwrap()).unwrap(),
                ids,
                "{name}: {}",
                row["text"]
            );
            let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
            assert_eq!(
                tokenizer.decode(&ids, false).unwrap(),
                row["decoded"].as_str().unwrap()
            );
            assert_eq!(
                tokenizer.decode(&ids, true).unwrap(),
                row["decoded_skip_special"].as_str().unwrap()
            );
        }
    }
}

fn texts() -> Vec<String> {
    (0..200)
        .map(|i| {
            format!(
                "for (int i = 0; i < n{i}; ++i) {{\n    sum += a[i] * {};\n}}\n",
                i * 7
            )
        })
        .collect()
}

#[test]
fn a_trained_tokenizer_is_reproducible_and_loses_nothing() {
    let special = SpecialTokens::default();
    let bytes = train_byte_level_bpe(texts().into_iter(), 320, &special).unwrap();
    assert_eq!(
        bytes,
        train_byte_level_bpe(texts().into_iter(), 320, &special).unwrap()
    );
    let tokenizer = Tokenizer::from_bytes(&bytes).unwrap();
    assert!(
        tokenizer.id_bound() > 259 && tokenizer.id_bound() <= 320,
        "{}",
        tokenizer.id_bound()
    );
    assert_eq!(
        ["<pad>", "<bos>", "<eos>"].map(|token| tokenizer.token_id(token)),
        [Some(0), Some(1), Some(2)]
    );
    for text in [
        "",
        " ",
        "int main() {\r\n\treturn 0;\n}",
        "日本語 😀 \u{0} ñ e\u{301}",
        "1234567",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
    assert_eq!(tokenizer.encode("1234567").unwrap().len(), 7);
    let line = &texts()[0];
    assert!(tokenizer.encode(line).unwrap().len() * 3 < line.len() * 2);
    // The spelling of a special token is that token, unless text is ordinary.
    assert_eq!(tokenizer.encode("<eos>").unwrap(), [2]);
    let ordinary = tokenizer.encode_ordinary("<eos>").unwrap();
    assert!(!ordinary.contains(&2));
    assert_eq!(tokenizer.decode(&ordinary, false).unwrap(), "<eos>");
}

#[test]
fn a_vocabulary_without_room_for_bytes_is_refused() {
    let error =
        train_byte_level_bpe(texts().into_iter(), 258, &SpecialTokens::default()).unwrap_err();
    assert!(error.to_string().contains("at least 259"));
}
