//! Distances and nearest neighbours against RapidFuzz 3.14.6 (fixtures of its results).
#![allow(clippy::unwrap_used)]

use corpus::levenshtein::{Symbols, Unit, distance, nearest};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn pairs() {
    let fixture = fixture("levenshtein_pairs");
    let pairs = fixture["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 300);
    for pair in pairs {
        let (a, b) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        assert_eq!(distance(a, b, Unit::Chars), number(&pair[2]), "{a:?} {b:?}");
        assert_eq!(distance(b, a, Unit::Bytes), number(&pair[3]), "{a:?} {b:?}");
    }
}

#[test]
fn nearest_wrong_solution() {
    let fixture = fixture("levenshtein_nearest");
    let mut queries = 0;
    for group in fixture["groups"].as_array().unwrap() {
        for (unit, suffix) in [(Unit::Chars, ""), (Unit::Bytes, "_bytes")] {
            let texts = |key: &str| -> Vec<Symbols> {
                let texts = group[key].as_array().unwrap();
                texts
                    .iter()
                    .map(|text| Symbols::new(text.as_str().unwrap(), unit))
                    .collect()
            };
            let (correct, incorrect) = (texts("correct"), texts("incorrect"));
            for (number_of, query) in correct.iter().enumerate() {
                let wanted = (
                    number(&group[format!("nearest_index{suffix}")][number_of]),
                    number(&group[format!("nearest_distance{suffix}")][number_of]),
                );
                assert_eq!(nearest(query, &incorrect), Some(wanted));
                queries += 1;
            }
        }
    }
    assert_eq!(queries, 6 * 50 * 2);
}
