//! The network's operations on a GPU: device, memory, kernels.
//!
//! Called by `model`'s device network and by `iota doctor`. A [`Device`] runs kernels of
//! `kernels/*.cu` and matrix products of cuBLAS in one stream; operations are in [`ops`], one a
//! file, over [`Buffer`]s and views of them. Feature `cuda` gives the real device, loaded at run
//! time; feature `emulation` one that runs the same kernel text on the CPU, for tests; without
//! either, [`Device::cuda`] says why there is none. Nothing here waits for the device but
//! downloads, [`Device::synchronise`] and the end of a capture. Deliberately absent: autograd,
//! shapes beyond what an operation needs, several streams.

mod buffer;
mod device;
mod driver;
mod element;
mod error;
pub mod nccl;
pub mod ops;
mod self_test;

pub use buffer::{Buffer, Slice, SliceMut};
pub use device::{Description, Device, Graph, Graphs, Memory, Precision};
pub use driver::timed::{Spent, Times};
pub use element::{Element, Float};
pub use error::{Error, Result, Unavailable};
pub use half::bf16;
pub use self_test::{Outcome, self_test, small_self_test};

#[cfg(all(feature = "cuda", feature = "emulation"))]
pub use driver::stand_in::{DRIVER_OF_THE_TESTS, stand_in_for_the_driver};
