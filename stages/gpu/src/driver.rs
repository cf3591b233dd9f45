//! What a device must be able to do; `Device` and `Buffer` are built on it.
//!
//! Two implementations: `cuda` (feature `cuda`) and `emulated` (feature `emulation`). Addresses
//! are plain numbers; nothing here knows of element types but products. All calls are in order
//! of one stream; only `download` and `synchronise` wait.

// Without a device nobody reads what is asked of one.
#![cfg_attr(not(any(feature = "cuda", feature = "emulation")), allow(dead_code))]

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(feature = "emulation")]
pub(crate) mod emulated;
#[cfg(all(feature = "cuda", feature = "emulation"))]
pub(crate) mod stand_in;
pub(crate) mod timed;

use crate::device::{Description, Memory};
use crate::error::{Result, Unavailable};

/// One argument of a kernel: its bits and how many bytes of them count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument {
    pub(crate) bits: u64,
    #[cfg_attr(not(feature = "emulation"), allow(dead_code))] // CUDA trusts the caller
    pub(crate) bytes: u32,
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self {
            bits: u64::from(value),
            bytes: 4,
        }
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        (value as u32).into()
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        value.to_bits().into()
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self {
            bits: value,
            bytes: 8,
        }
    }
}

/// Sizes of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(crate) shared: u32,
}

impl Grid {
    /// A row of blocks.
    pub(crate) fn new(blocks: usize, threads: u32) -> Self {
        Self::of([blocks, 1, 1], threads)
    }

    pub(crate) fn of(blocks: [usize; 3], threads: u32) -> Self {
        Self {
            blocks: blocks
                .map(|size| u32::try_from(size).expect("a grid has less than 2^31 blocks")),
            threads,
            shared: 0,
        }
    }

    pub(crate) fn shared(self, bytes: usize) -> Self {
        Self {
            shared: bytes as u32,
            ..self
        }
    }
}

/// A kind of number in a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    F32,
    Bf16,
}

/// A matrix of a column-major product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) address: u64,
    /// Elements between columns.
    pub(crate) leading: usize,
    pub(crate) transposed: bool,
}

/// `C = alpha op(A) op(B) + beta C`, column-major, as `cublasGemmEx`; sums in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) c: Matrix,
    pub(crate) inputs: Number,
    pub(crate) output: Number,
}

/// Something recorded that can be run again.
pub(crate) trait Recording: Send + Sync {
    fn launch(&self) -> Result<()>;
}

/// Values that go to another process or come from one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) rank: usize,
    pub(crate) address: u64,
    /// Values of f32.
    pub(crate) count: usize,
}

/// A group of processes that exchange values of their devices, in the order of each one's stream.
pub(crate) trait Exchange: Send + Sync {
    /// Sends and receives, all at once; the others' calls must fit.
    fn run(&self, sends: &[Transfer], receives: &[Transfer]) -> Result<()>;

    /// Whether all calls so far are done; does not wait.
    fn is_done(&self) -> Result<bool>;

    /// Ends calls that wait for somebody who has gone; nothing can be exchanged afterwards.
    fn abort(&self);
}

/// A device.
pub(crate) trait Driver: Send + Sync {
    fn description(&self) -> Description;

    fn memory(&self) -> Result<Memory>;

    /// The address of so many bytes, at least 256-aligned; `bytes` is not 0.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// Gives memory back once all calls so far are done.
    fn free(&self, address: u64);

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()>;

    /// Waits for all calls so far.
    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()>;

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()>;

    fn zero(&self, to: u64, bytes: usize) -> Result<()>;

    fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()>;

    fn product(&self, product: &Product) -> Result<()>;

    fn synchronise(&self) -> Result<()>;

    /// From here on calls are recorded, not run.
    fn begin_recording(&self) -> Result<()>;

    fn end_recording(&self) -> Result<Box<dyn Recording>>;

    /// Joins the group of processes that `id` names.
    fn join(
        &self,
        _id: &[u8; 128],
        _rank: usize,
        _size: usize,
    ) -> Result<Box<dyn Exchange>, Unavailable> {
        Err(Unavailable::NotBuiltForNccl)
    }
}
