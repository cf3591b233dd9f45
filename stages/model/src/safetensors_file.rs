//! Named f32 tensors in a `.safetensors` file, byte for byte the same every time.
//!
//! Used for model weights, adapters and optimiser state. Written: names in order, f32 unless
//! asked for less, metadata exactly `{"format":"pt"}` (transformers refuses files without it).
//! Read: f32, f16 and bf16, converted to f32. The file is mapped, not loaded.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, ensure};
use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::arrays::Arrays;
use crate::parameters::{Parameters, Tensor};

/// The tensors of one file.
///
/// # Errors
/// The file cannot be read, is not a safetensors file, or holds a tensor of integers.
pub fn read(path: &Path) -> Result<Parameters> {
    let arrays = Arrays::open(path)?;
    let mut parameters = Parameters::default();
    for name in arrays.names() {
        let tensor = arrays.floats(&name)?;
        parameters.tensors.insert(name, tensor);
    }
    Ok(parameters)
}

/// Number format of written values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtype {
    /// 32 bits, as everything is computed.
    #[default]
    F32,
    /// The upper half of an f32, rounded to nearest even.
    Bf16,
    /// IEEE half precision, rounded to nearest even; at most 65504.
    F16,
}

impl Dtype {
    /// Its name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Appends the bytes of values; false if a finite value became infinite.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) -> bool {
        let fits = |value: f32, rounded: f32| rounded.is_finite() || !value.is_finite();
        let mut all = true;
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|&value| {
                let rounded = bf16::from_f32(value);
                all &= fits(value, rounded.to_f32());
                rounded.to_le_bytes()
            })),
            Self::F16 => bytes.extend(values.iter().flat_map(|&value| {
                let rounded = f16::from_f32(value);
                all &= fits(value, rounded.to_f32());
                rounded.to_le_bytes()
            })),
        }
        all
    }
}

/// Writes all tensors into one file, in f32.
///
/// # Errors
/// The file cannot be written.
pub fn write(parameters: &Parameters, path: &Path) -> Result<()> {
    write_as(parameters.tensors.iter(), Dtype::F32, path)
}

/// Writes tensors, given in order of their names, into one file.
///
/// # Errors
/// The file cannot be written, or a value is too large for the format.
pub fn write_as<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a Tensor)> + Clone,
    dtype: Dtype,
    path: &Path,
) -> Result<()> {
    // The safetensors crate keeps metadata in a hash map; the header is written here so that
    // its order is ours.
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut offset = 0_usize;
    for (name, tensor) in tensors.clone() {
        let end = offset + tensor.data.len() * dtype.bytes();
        let entry: Value = json!({
            "dtype": dtype.header(), "shape": tensor.shape, "data_offsets": [offset, end],
        });
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut text = serde_json::to_vec(&Value::Object(header))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?);
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        for chunk in tensor.data.chunks(1 << 16) {
            bytes.clear();
            ensure!(
                dtype.encode(chunk, &mut bytes),
                "{}: tensor {name} has a value too large for {}; write it as bfloat16 or float32",
                path.display(),
                dtype.name()
            );
            file.write_all(&bytes)?;
        }
    }
    file.flush()?;
    Ok(())
}
