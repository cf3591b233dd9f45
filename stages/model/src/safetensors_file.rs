//! Named f32 tensors in a `.safetensors` file, byte for byte the same every time.
//!
//! Used for model weights and for optimiser state. Written: names in order, f32, metadata
//! exactly `{"format":"pt"}` (transformers refuses files without it). Read: f32, f16 and
//! bf16, converted to f32. The file is mapped, not loaded.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, safetensors::MmapedSafetensors};
use serde_json::{Map, Value, json};

use crate::parameters::{Parameters, Tensor};

/// Adds every tensor of a file to `parameters`.
///
/// # Errors
/// The file cannot be read, is not a safetensors file, or holds an integer tensor or a name
/// that is there already.
pub fn read_into(parameters: &mut Parameters, path: &Path) -> Result<()> {
    // For an error that names the file: candle's own does not always.
    fs_err::File::open(path)?;
    #[allow(unsafe_code)]
    // SAFETY: artifacts are immutable once published; a file cut short while mapped would be
    // changed by another program, which no reader can guard against.
    let file = unsafe { MmapedSafetensors::new(path) }
        .with_context(|| format!("{} is not a complete safetensors file", path.display()))?;
    for (name, _) in file.tensors() {
        let tensor = file
            .load(&name, &Device::Cpu)
            .with_context(|| format!("{}: tensor {name}", path.display()))?;
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            bail!(
                "{}: tensor {name} is {:?}; f32, f16 and bf16 can be read",
                path.display(),
                tensor.dtype()
            );
        }
        let shape = tensor.dims().to_vec();
        let data = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let tensor = Tensor { shape, data };
        if parameters.tensors.insert(name.clone(), tensor).is_some() {
            bail!(
                "{}: tensor {name} was already read from another shard",
                path.display()
            );
        }
    }
    Ok(())
}

/// The tensors of one file.
///
/// # Errors
/// As [`read_into`].
pub fn read(path: &Path) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    read_into(&mut parameters, path)?;
    Ok(parameters)
}

/// Writes all tensors into one file.
///
/// # Errors
/// The file cannot be written.
pub fn write(parameters: &Parameters, path: &Path) -> Result<()> {
    // The safetensors crate keeps metadata in a hash map; the header is written here so that
    // its order is ours.
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut offset = 0_usize;
    for (name, tensor) in &parameters.tensors {
        let end = offset + tensor.data.len() * 4;
        let entry: Value =
            json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]});
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut text = serde_json::to_vec(&Value::Object(header))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?);
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;
    let mut bytes = Vec::new();
    for tensor in parameters.tensors.values() {
        for chunk in tensor.data.chunks(1 << 16) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&bytes)?;
        }
    }
    file.flush()?;
    Ok(())
}
