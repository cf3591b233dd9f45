//! Reading the reference numbers under `tests/fixtures` (its README says what made them).
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use model::checkpoint::Checkpoint;
use model::lora::{self, Adapter};
use model::optimizer::gradient_norm;
use model::parameters::{Parameters, Tensor};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A fixture of this crate.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(relative)
}

/// A fixture that the model's tests have too.
pub fn model_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/fixtures")
        .join(relative)
}

pub fn json(relative: &str) -> Value {
    serde_json::from_slice(&fs_err::read(path(relative)).unwrap()).unwrap()
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|v| v.as_u64().unwrap() as u32).collect()
}

/// The small Llama.
pub fn base() -> Checkpoint {
    Checkpoint::load(&model_path("models/llama_ds")).unwrap()
}

/// ... with the adapter.
pub fn adapted() -> (Checkpoint, Adapter) {
    let mut checkpoint = base();
    let folder = model_path("lora/all_linear");
    let adapter = lora::read(
        &folder,
        "default",
        &checkpoint.config,
        &mut checkpoint.parameters,
    )
    .unwrap();
    (checkpoint, adapter)
}

/// The f32 tensors of a fixture.
pub fn floats(relative: &str) -> Parameters {
    let bytes = fs_err::read(path(relative)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().filter_map(|(name, view)| {
        (view.dtype() == safetensors::Dtype::F32).then(|| {
            let values = view.data().as_chunks().0.iter();
            let tensor = Tensor {
                shape: view.shape().to_vec(),
                data: values.map(|b| f32::from_le_bytes(*b)).collect(),
            };
            (name, tensor)
        })
    });
    tensors.collect()
}

#[track_caller]
pub fn close(what: &str, found: f64, wanted: f64) {
    assert!(
        (found - wanted).abs() <= 1e-5 + 1e-5 * wanted.abs(),
        "{what}: {found} against {wanted}"
    );
}

#[track_caller]
pub fn close_norm(found: &Parameters, wanted: &Value) {
    let (found, wanted) = (gradient_norm(found), number(wanted));
    assert!((found / wanted - 1.0).abs() < 1e-4, "{found} {wanted}");
}

/// Each value within 1e-6 and a thousandth of the largest.
#[track_caller]
pub fn close_tensor(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let largest = wanted.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= 1e-6 + 1e-3 * largest, "{what}: {a} {b}");
    }
}
