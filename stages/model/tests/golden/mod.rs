//! Reading the reference numbers under `tests/fixtures` (its README says what made them).
//!
//! Shared by the tests; each uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use model::batch::{Batch, IGNORE};
use model::checkpoint::Checkpoint;
use model::network::Network;
use safetensors::SafeTensors;
use serde_json::Value;

/// The path of a fixture.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(relative)
}

/// A JSON fixture.
pub(crate) fn json(relative: &str) -> Value {
    serde_json::from_str(&fs_err::read_to_string(path(relative)).unwrap()).unwrap()
}

/// A model with its weights.
pub(crate) fn load(name: &str) -> (Network, model::parameters::Parameters) {
    let checkpoint = Checkpoint::load(&path(&format!("models/{name}"))).unwrap();
    (Network::new(checkpoint.config), checkpoint.parameters)
}

/// The tensors of a safetensors fixture, integers and floats.
pub(crate) struct Arrays(Vec<u8>);

impl Arrays {
    pub(crate) fn open(relative: &str) -> Self {
        Self(fs_err::read(path(relative)).unwrap())
    }

    fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = SafeTensors::deserialize(&self.0)
            .unwrap()
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// Rows of an i64 matrix.
    pub(crate) fn integers(&self, name: &str) -> Vec<Vec<i64>> {
        let (shape, bytes) = self.bytes(name);
        let all: Vec<i64> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b))
            .collect();
        all.chunks(*shape.last().unwrap())
            .map(<[i64]>::to_vec)
            .collect()
    }

    /// An f32 array, flat.
    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name)
            .1
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    }
}

/// Packs the rows of a padded batch, leaving the padding out; the second value gives, for each
/// packed token, its (row, column).
pub(crate) fn pack(
    ids: &[Vec<i64>],
    mask: Option<&[Vec<i64>]>,
    labels: Option<&[Vec<i64>]>,
) -> (Batch, Vec<(usize, usize)>) {
    let mut batch = Batch::new();
    let mut places = Vec::new();
    for (row, ids) in ids.iter().enumerate() {
        let real: Vec<usize> = (0..ids.len())
            .filter(|&column| mask.is_none_or(|m| m[row][column] == 1))
            .collect();
        let picked: Vec<u32> = real.iter().map(|&column| ids[column] as u32).collect();
        let picked_labels: Vec<i32> = real
            .iter()
            .map(|&column| labels.map_or(ids[column], |l| l[row][column]) as i32)
            .collect();
        assert!(labels.is_none() || picked_labels.iter().any(|&l| l == IGNORE || l >= 0));
        batch.push(&picked, &picked_labels).unwrap();
        places.extend(real.into_iter().map(|column| (row, column)));
    }
    (batch, places)
}

/// Asserts that two arrays agree within an absolute and a relative tolerance.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], absolute: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    assert!(!found.is_empty(), "{what}: empty");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= absolute,
            "{what}[{index}]: found {a}, expected {b}"
        );
    }
}
