//! A device that waits after every call and writes down how long it took: where the time goes.
//!
//! Made by `Device::timed` for `iota debug bench-step --per-op`. Waiting costs a few microseconds a
//! call, so that the sum is more than an untimed step takes; shares are what it is for. What is
//! recorded into a graph is not timed call by call: the graph is one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Argument, Driver, Exchange, Grid, Product, Recording};
use crate::device::{Description, Memory};
use crate::error::{Result, Unavailable};

/// How often something was called and how long all calls took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Calls.
    pub calls: u64,
    /// Seconds of all.
    pub wall_s: f64,
    /// Floating-point operations of all, of products.
    pub flops: f64,
}

/// What was called on a timed device, by name: kernels, and products by their sizes.
#[derive(Clone, Debug, Default)]
pub struct Times {
    spent: Arc<Mutex<BTreeMap<String, Spent>>>,
}

impl Times {
    /// All so far.
    ///
    /// # Panics
    /// Never: nobody panics while writing.
    pub fn so_far(&self) -> BTreeMap<String, Spent> {
        self.spent.lock().expect("no panic inside").clone()
    }

    /// Forgets all.
    ///
    /// # Panics
    /// Never: nobody panics while writing.
    pub fn forget(&self) {
        self.spent.lock().expect("no panic inside").clear();
    }

    fn add(&self, name: &str, wall: Duration, flops: f64) {
        let mut spent = self.spent.lock().expect("no panic inside");
        let entry = spent.entry(name.to_owned()).or_default();
        entry.calls += 1;
        entry.wall_s += wall.as_secs_f64();
        entry.flops += flops;
    }
}

/// A driver and the times of its calls.
pub(crate) struct Timed {
    driver: Arc<dyn Driver>,
    times: Times,
    recording: AtomicBool,
}

impl Timed {
    pub(crate) fn new(driver: Arc<dyn Driver>, times: Times) -> Self {
        Self {
            driver,
            times,
            recording: AtomicBool::new(false),
        }
    }

    fn call(
        &self,
        name: impl Fn() -> String,
        flops: f64,
        work: impl Fn() -> Result<()>,
    ) -> Result<()> {
        if self.recording.load(Ordering::Relaxed) {
            return work();
        }
        let clock = Instant::now();
        work()?;
        self.driver.synchronise()?;
        self.times.add(&name(), clock.elapsed(), flops);
        Ok(())
    }
}

impl Driver for Timed {
    fn description(&self) -> Description {
        self.driver.description()
    }

    fn memory(&self) -> Result<Memory> {
        self.driver.memory()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.driver.allocate(bytes)
    }

    fn free(&self, address: u64) {
        self.driver.free(address);
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        let work = || self.driver.upload(to, bytes);
        self.call(|| "upload".to_owned(), 0.0, work)
    }

    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        let clock = Instant::now();
        self.driver.download(bytes, from)?;
        self.times.add("download", clock.elapsed(), 0.0);
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let work = || self.driver.copy(to, from, bytes);
        self.call(|| "copy".to_owned(), 0.0, work)
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        let work = || self.driver.zero(to, bytes);
        self.call(|| "zero".to_owned(), 0.0, work)
    }

    fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument]) -> Result<()> {
        let work = || self.driver.launch(kernel, grid, arguments);
        self.call(|| kernel.to_owned(), 0.0, work)
    }

    fn product(&self, product: &Product) -> Result<()> {
        let Product { m, n, k, .. } = *product;
        let name = || format!("product {m} x {n} x {k} {:?}", product.inputs);
        let work = || self.driver.product(product);
        self.call(name, 2.0 * m as f64 * n as f64 * k as f64, work)
    }

    fn synchronise(&self) -> Result<()> {
        self.driver.synchronise()
    }

    fn begin_recording(&self) -> Result<()> {
        self.recording.store(true, Ordering::Relaxed);
        self.driver.begin_recording()
    }

    fn end_recording(&self) -> Result<Box<dyn Recording>> {
        self.recording.store(false, Ordering::Relaxed);
        Ok(Box::new(TimedRecording {
            recording: self.driver.end_recording()?,
            driver: Arc::clone(&self.driver),
            times: self.times.clone(),
        }))
    }

    fn join(
        &self,
        id: &[u8; 128],
        rank: usize,
        size: usize,
    ) -> Result<Box<dyn Exchange>, Unavailable> {
        self.driver.join(id, rank, size)
    }
}

struct TimedRecording {
    recording: Box<dyn Recording>,
    driver: Arc<dyn Driver>,
    times: Times,
}

impl Recording for TimedRecording {
    fn launch(&self) -> Result<()> {
        let clock = Instant::now();
        self.recording.launch()?;
        self.driver.synchronise()?;
        self.times.add("graph", clock.elapsed(), 0.0);
        Ok(())
    }
}
