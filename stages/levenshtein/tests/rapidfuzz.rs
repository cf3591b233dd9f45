//! Distances and nearest neighbours against RapidFuzz 3.14.6 (fixtures of its results).
#![allow(clippy::unwrap_used)]

use levenshtein::{Candidates, Instructions, Match, Symbols, Unit, distance};
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
    let fixture = fixture("pairs");
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
    let fixture = fixture("nearest");
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
            let candidates = Candidates::new(&incorrect);
            for kind in Instructions::ALL
                .into_iter()
                .filter(|kind| kind.available())
            {
                let mut search = candidates.search_with(kind);
                for (number_of, query) in correct.iter().enumerate() {
                    let of = |key: &str| number(&group[format!("{key}{suffix}")][number_of]) as u32;
                    let wanted = Match {
                        index: of("nearest_index"),
                        distance: of("nearest_distance"),
                    };
                    assert_eq!(search.nearest(query), Some(wanted), "{kind:?}");
                    queries += usize::from(kind == Instructions::Portable);
                }
            }
        }
    }
    assert_eq!(queries, 6 * 50 * 2);
}
