//! Numbers of any kind in a `.safetensors` file, asked for by name.
//!
//! For files that are no weights: token ids, masks and targets handed to the commands under
//! `iota debug`, and the reference numbers of tests. The file is mapped, not loaded.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, safetensors::MmapedSafetensors};

use crate::parameters::Tensor;

/// An opened file.
pub struct Arrays {
    path: PathBuf,
    file: MmapedSafetensors,
}

/// An array of whole numbers, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integers {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values; as many as the product of `shape`.
    pub data: Vec<i64>,
}

impl Arrays {
    /// Opens a file.
    ///
    /// # Errors
    /// The file cannot be read or is not a complete safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        // For an error that names the file: candle's own does not always.
        fs_err::File::open(path)?;
        #[allow(unsafe_code)]
        // SAFETY: artifacts are immutable once published; a file cut short while mapped would be
        // changed by another program, which no reader can guard against.
        let file = unsafe { MmapedSafetensors::new(path) }
            .with_context(|| format!("{} is not a complete safetensors file", path.display()))?;
        let path = path.to_path_buf();
        Ok(Self { path, file })
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.file.tensors().into_iter().map(|(n, _)| n).collect();
        names.sort();
        names
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        self.file.get(name).is_ok()
    }

    fn load(&self, name: &str) -> Result<candle_core::Tensor> {
        ensure!(
            self.has(name),
            "{}: there is no tensor {name}, only {}",
            self.path.display(),
            self.names().join(", ")
        );
        self.file
            .load(name, &Device::Cpu)
            .with_context(|| format!("{}: tensor {name}", self.path.display()))
    }

    /// An array of integers of any width.
    ///
    /// # Errors
    /// It is missing or is not one of integers.
    pub fn integers(&self, name: &str) -> Result<Integers> {
        let tensor = self.load(name)?;
        if tensor.dtype().is_float() {
            bail!(
                "{}: tensor {name} is {:?}; integers are wanted",
                self.path.display(),
                tensor.dtype()
            );
        }
        Ok(Integers {
            shape: tensor.dims().to_vec(),
            data: tensor.to_dtype(DType::I64)?.flatten_all()?.to_vec1()?,
        })
    }

    /// An array of floats of any width, as f32.
    ///
    /// # Errors
    /// It is missing or is not one of floats.
    pub fn floats(&self, name: &str) -> Result<Tensor> {
        let tensor = self.load(name)?;
        if !tensor.dtype().is_float() {
            bail!(
                "{}: tensor {name} is {:?}; f32, f16 and bf16 can be read",
                self.path.display(),
                tensor.dtype()
            );
        }
        Ok(Tensor {
            shape: tensor.dims().to_vec(),
            data: tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?,
        })
    }
}
