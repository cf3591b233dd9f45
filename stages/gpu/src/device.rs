//! A device: where buffers live and operations run.
//!
//! Made once and cloned freely; all clones share one stream, so calls run in the order in which
//! they are made, from whatever thread. Sizes are checked by the operations; a call that the
//! driver refuses is an [`Error`], which may concern an earlier kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::driver::timed::{Timed, Times};
use crate::driver::{Argument, Driver, Grid, Product, Recording};
use crate::element::{Element, Float};
use crate::error::{Result, Unavailable};

/// A GPU, or the emulation of one. Clones share memory and stream.
#[derive(Clone)]
pub struct Device {
    pub(crate) driver: Arc<dyn Driver>,
}

/// What matrix products multiply; they add in f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats, without TensorFloat-32.
    F32,
    /// bfloat16.
    Bf16,
}

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Not taken by anybody.
    pub free: usize,
    /// All.
    pub total: usize,
}

/// What a user wants to know of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// As the driver calls it.
    pub name: String,
    /// Its number.
    pub ordinal: usize,
    /// Newest CUDA that the driver knows, such as "13.0".
    pub driver_cuda: String,
    /// Version of the kernel driver, such as "580.159.03"; empty if it does not say.
    pub driver: String,
    /// Such as "9.0".
    pub compute_capability: String,
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// When asked.
    pub memory: Memory,
    /// Where the kernels come from.
    pub kernels: String,
    /// Libraries and where each was found.
    pub libraries: Vec<(String, String)>,
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = self.describe();
        write!(formatter, "Device({})", description.name)
    }
}

impl Device {
    /// The GPU of the given number, with all libraries and kernels loaded.
    ///
    /// # Errors
    /// Says in one line what is missing.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Self, Unavailable> {
        let driver = crate::driver::cuda::Cuda::new(ordinal)?;
        Ok(Self {
            driver: Arc::new(driver),
        })
    }

    /// The GPU of the given number: none, since the program was built without the feature `cuda`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(_ordinal: usize) -> Result<Self, Unavailable> {
        Err(Unavailable::NotBuilt)
    }

    /// A device that runs the kernels on the CPU, one thread after another, and checks them:
    /// writes outside buffers, missed barriers and reads of memory never written show. For tests.
    #[cfg(feature = "emulation")]
    pub fn emulated() -> Self {
        Self {
            driver: Arc::new(crate::driver::emulated::Emulated::default()),
        }
    }

    /// The same device, which waits after every call and says how long each took. Buffers of one
    /// are not for the other.
    #[must_use]
    pub fn timed(&self) -> (Self, Times) {
        let times = Times::default();
        let timed = Timed::new(Arc::clone(&self.driver), times.clone());
        let driver = Arc::new(timed);
        (Self { driver }, times)
    }

    /// What it is.
    pub fn describe(&self) -> Description {
        self.driver.description()
    }

    /// Free and total memory.
    ///
    /// # Errors
    /// The driver refuses to say.
    pub fn memory(&self) -> Result<Memory> {
        self.driver.memory()
    }

    /// Waits until all calls so far are done.
    ///
    /// # Errors
    /// One of them failed.
    pub fn synchronise(&self) -> Result<()> {
        self.driver.synchronise()
    }

    /// Memory for `length` values, with whatever is there.
    ///
    /// # Errors
    /// There is not so much.
    pub fn empty<T: Element>(&self, length: usize) -> Result<Buffer<T>> {
        Buffer::new(self, length)
    }

    /// `length` zeros.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn zeros<T: Element>(&self, length: usize) -> Result<Buffer<T>> {
        let mut buffer = self.empty(length)?;
        buffer.view_mut().zero()?;
        Ok(buffer)
    }

    /// A copy of values of the host.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.empty(values.len())?;
        buffer.view_mut().upload(values)?;
        Ok(buffer)
    }

    /// Records the calls that `work` makes, without running them. They must not make or drop
    /// buffers, upload or download; buffers that they use must outlive the graph.
    ///
    /// # Errors
    /// `work` failed, or did what cannot be recorded.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        self.driver.begin_recording()?;
        let outcome = work();
        let recording = self.driver.end_recording();
        outcome?;
        Ok(Graph {
            recording: recording?,
        })
    }

    pub(crate) fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        self.driver.launch(kernel, grid, arguments)
    }

    /// Launches the kernel made for `T`.
    pub(crate) fn launch_for<T: Float>(
        &self,
        kernel: &str,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<()> {
        self.launch(&format!("{kernel}_{}", T::SUFFIX), grid, arguments)
    }

    pub(crate) fn product(&self, product: &Product) -> Result<()> {
        self.driver.product(product)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.driver, &other.driver)
    }
}

/// Recorded calls, to be run again and again with the contents that buffers have then.
pub struct Graph {
    recording: Box<dyn Recording>,
}

impl Graph {
    /// Runs the calls.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn launch(&self) -> Result<()> {
        self.recording.launch()
    }
}

/// Recorded calls by whatever decides their sizes.
///
/// What runs for the first time runs as it is: kernels are loaded by their first launch, which must
/// not be inside a recording.
pub struct Graphs<K> {
    by_size: BTreeMap<K, Option<Graph>>,
}

impl<K> Default for Graphs<K> {
    fn default() -> Self {
        Self {
            by_size: BTreeMap::new(),
        }
    }
}

impl<K: Ord> Graphs<K> {
    /// Makes the calls of `work`, or those that it made when it was recorded for the same `size`:
    /// they must be the same, on buffers that are still there ([`Device::record`]).
    ///
    /// # Errors
    /// A call fails, or cannot be recorded.
    pub fn run(
        &mut self,
        size: K,
        device: &Device,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match self.by_size.get_mut(&size) {
            Some(Some(graph)) => graph.launch(),
            Some(none) => none.insert(device.record(work)?).launch(),
            None => {
                work()?;
                self.by_size.insert(size, None);
                Ok(())
            }
        }
    }

    /// Forgets all recordings: before a buffer goes that they use.
    pub fn clear(&mut self) {
        self.by_size.clear();
    }
}
