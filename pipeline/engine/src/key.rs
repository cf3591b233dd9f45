//! The key of a stage's run: everything that decides its result, and nothing else.
//!
//! Made from a node and the addresses of its inputs; hashed by the store. Paths, hosts,
//! times, threads and upstream *keys* are absent on purpose: equal content means equal key.

use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write};
use store::{Address, Digest};

use crate::Node;

/// The layout of key documents.
const LAYOUT: u64 = 1;

/// A key and the document it is the hash of.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The hash of the canonical document.
    pub digest: Digest,
    /// `{v, stage, version, what, inputs, seed}`.
    pub document: Value,
}

/// The key of a node whose inputs have these addresses.
pub fn key(node: &Node, inputs: &BTreeMap<&'static str, Vec<Address>>) -> Key {
    let inputs: serde_json::Map<String, Value> = inputs
        .iter()
        .map(|(port, addresses)| {
            let list = addresses
                .iter()
                .map(|address| Value::from(address.to_string()))
                .collect();
            ((*port).to_owned(), Value::Array(list))
        })
        .collect();
    let document = serde_json::json!({
        "v": LAYOUT,
        "stage": node.stage.name,
        "version": node.stage.version,
        "what": node.what,
        "inputs": inputs,
        "seed": node.seed,
    });
    Key {
        digest: store::key_digest(canonical(&document).as_bytes()),
        document,
    }
}

/// JSON with sorted keys, no blanks, and floats in their shortest form: one text a value.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            // serde_json's map may or may not be sorted: that is a feature of the build.
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use serde_json::json;

    #[test]
    fn canonical_text_is_sorted_and_tight() {
        let value = json!({"b": [1, 2.5, 1e-6], "a": {"z": null, "y": "q\"\n"}});
        assert_eq!(
            canonical(&value),
            r#"{"a":{"y":"q\"\n","z":null},"b":[1,2.5,1e-6]}"#
        );
    }

    #[test]
    fn whole_floats_stay_floats() {
        assert_eq!(canonical(&json!(1.0)), "1.0");
        assert_eq!(canonical(&json!(1)), "1");
    }
}
