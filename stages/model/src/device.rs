//! Which processor computes: the CPU, or an accelerator that a user asked for and that is there.
//!
//! The seam is where weights lie: [`Parameters::to_device`](crate::parameters::Parameters) moves
//! them, and passes, optimiser and sampling follow. [`Choice`] is what `--device` says, [`Device`]
//! a handle; built without the features `cuda` and `emulation` there is no such thing, and
//! everything below `#[cfg(feature = "device")]` is gone. Calls that cannot return an error unwind
//! with a [`Failure`] when a device fails (out of memory, a launch that failed); [`catching`] turns
//! it into an error at the border of a stage, where the last checkpoint is still sound.

#[cfg(feature = "device")]
mod self_test;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

#[cfg(feature = "device")]
pub use gpu::{Device, nccl};

/// Where the libraries are that tests put in the place of NVIDIA's.
#[cfg(all(feature = "cuda", feature = "emulation"))]
#[doc(hidden)]
pub use gpu::DRIVER_OF_THE_TESTS;

/// A handle to a device; without the features there is none.
#[cfg(not(feature = "device"))]
#[derive(Clone, Debug)]
pub enum Device {}

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Choice {
    /// A GPU if there is one, else the CPU.
    Auto,
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU of this number, or an error.
    Cuda(usize),
    /// The kernels of the GPU, run on the CPU, very slowly; for tests.
    #[cfg(feature = "emulation")]
    Emulated,
}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Cpu => out.write_str("cpu"),
            Self::Cuda(index) => write!(out, "cuda:{index}"),
            #[cfg(feature = "emulation")]
            Self::Emulated => out.write_str("emulated"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(0)),
            #[cfg(feature = "emulation")]
            "emulated" => return Ok(Self::Emulated),
            _ => {}
        }
        text.strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .map(Self::Cuda)
            .ok_or_else(|| format!("`{text}` is no device: say auto, cpu, cuda or cuda:N"))
    }
}

impl TryFrom<String> for Choice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Choice> for String {
    fn from(choice: Choice) -> Self {
        choice.to_string()
    }
}

/// What a choice came to.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The device; `None` is the CPU.
    pub device: Option<Device>,
    /// Why it is the CPU although a GPU would have been welcome; one line.
    pub note: Option<String>,
}

impl Choice {
    /// Opens the device, once per process.
    ///
    /// # Errors
    /// A GPU was asked for, and there is none or this program cannot use it; one line says why.
    pub fn open(self) -> Result<Opened> {
        match self {
            Self::Cpu => Ok(Opened::default()),
            #[cfg(not(feature = "cuda"))]
            Self::Auto => Ok(Opened::default()),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => anyhow::bail!(
                "--device {self}: this program was built without CUDA; build it with `make gpu` \
                 (cargo build --release --features cuda), or say --device cpu"
            ),
            #[cfg(feature = "cuda")]
            Self::Auto => Ok(match opened::get(self) {
                Ok(device) => Opened {
                    device: Some(device),
                    note: None,
                },
                Err(error) => Opened {
                    device: None,
                    note: Some(format!("computing on the CPU: {error}")),
                },
            }),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                use anyhow::Context as _;
                let device = opened::get(self).with_context(|| {
                    format!("--device {self} cannot be used; `iota doctor` says what is there")
                })?;
                Ok(Opened {
                    device: Some(device),
                    note: None,
                })
            }
            #[cfg(feature = "emulation")]
            Self::Emulated => Ok(Opened {
                device: Some(opened::get(self)?),
                note: None,
            }),
        }
    }
}

/// Devices of this process: opening one makes a context and loads kernels.
#[cfg(feature = "device")]
mod opened {
    use super::{Choice, Device};
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    static OPENED: Mutex<BTreeMap<Choice, Device>> = Mutex::new(BTreeMap::new());

    pub(super) fn get(choice: Choice) -> anyhow::Result<Device> {
        let mut opened = OPENED.lock().expect("no thread panics while opening");
        // `auto` and the first GPU are one.
        let choice = match choice {
            Choice::Auto => Choice::Cuda(0),
            other => other,
        };
        if let Some(device) = opened.get(&choice) {
            return Ok(device.clone());
        }
        let device = match choice {
            Choice::Cuda(index) => Device::cuda(index)?,
            #[cfg(feature = "emulation")]
            Choice::Emulated => Device::emulated(),
            Choice::Auto | Choice::Cpu => unreachable!("no device of their own"),
        };
        opened.insert(choice, device.clone());
        Ok(device)
    }
}

/// A device failed inside a call that returns no error; the payload of the unwinding.
#[derive(Debug)]
pub struct Failure(pub anyhow::Error);

/// What a device call gave; unwinds with [`Failure`] if it failed.
#[cfg_attr(not(feature = "device"), allow(dead_code))]
pub(crate) fn demand<T>(result: Result<T>) -> T {
    // Not a panic: there is no bug to report, and no hook is to print.
    result.unwrap_or_else(|error| resume_unwind(Box::new(Failure(error))))
}

/// Runs `work` and returns a failed device as an error.
///
/// # Errors
/// Those of `work`, and those of a device.
pub fn catching<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<Failure>() {
            Ok(failure) => Err(failure.0),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// Whether an error is a device's: out of memory, a launch that failed.
#[cfg_attr(not(feature = "device"), allow(unused_variables))]
pub fn is_failure(error: &anyhow::Error) -> bool {
    #[cfg(feature = "device")]
    return error.chain().any(<dyn std::error::Error>::is::<gpu::Error>);
    #[cfg(not(feature = "device"))]
    false
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Free now.
    pub free_bytes: u64,
    /// In all.
    pub total_bytes: u64,
    /// Taken by this process, and by others if there are any; memory once taken is kept for later
    /// buffers, so that this is also the most that was taken at a time.
    pub peak_bytes: u64,
}

/// What a device is called, with its kind.
pub fn name(device: &Device) -> String {
    #[cfg(not(feature = "device"))]
    match *device {}
    #[cfg(feature = "device")]
    {
        let found = device.describe();
        let version = match found.driver.as_str() {
            "" => String::new(),
            driver => format!(", driver {driver}"),
        };
        let capability = match found.compute_capability.as_str() {
            "" => String::new(),
            capability => format!(", compute {capability}"),
        };
        format!("{}{capability}{version}", found.name)
    }
}

/// How much memory a device has.
///
/// # Errors
/// The device failed.
pub fn memory(device: &Device) -> Result<Memory> {
    #[cfg(not(feature = "device"))]
    match *device {}
    #[cfg(feature = "device")]
    {
        let memory = device.memory()?;
        Ok(Memory {
            free_bytes: memory.free as u64,
            total_bytes: memory.total as u64,
            peak_bytes: (memory.total - memory.free) as u64,
        })
    }
}

/// Libraries of a device and where each was found.
pub fn libraries(device: &Device) -> Vec<(String, String)> {
    #[cfg(not(feature = "device"))]
    match *device {}
    #[cfg(feature = "device")]
    device.describe().libraries
}

/// NCCL's version and where it was found; nothing if this program has no part for it.
pub fn nccl_library() -> Option<Result<(String, String)>> {
    #[cfg(feature = "nccl")]
    return Some(nccl::library().map_err(Into::into));
    #[cfg(not(feature = "nccl"))]
    None
}

/// How often something was called on a device and how long all calls took.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// A kernel, or a product with its sizes.
    pub name: String,
    /// Calls.
    pub calls: u64,
    /// Seconds of all.
    pub wall_s: f64,
    /// Floating-point operations of all, of products.
    pub flops: f64,
}

/// Times of the calls on a device.
#[derive(Clone, Debug)]
pub struct Times(#[cfg(feature = "device")] gpu::Times);

impl Times {
    /// Those of all calls so far, the longest first.
    pub fn so_far(&self) -> Vec<Spent> {
        #[cfg(not(feature = "device"))]
        return Vec::new();
        #[cfg(feature = "device")]
        {
            let spent = self.0.so_far().into_iter();
            let mut all: Vec<Spent> = spent
                .map(|(name, spent)| Spent {
                    name,
                    calls: spent.calls,
                    wall_s: spent.wall_s,
                    flops: spent.flops,
                })
                .collect();
            all.sort_by(|a, b| b.wall_s.total_cmp(&a.wall_s));
            all
        }
    }

    /// Forgets all.
    pub fn forget(&self) {
        #[cfg(feature = "device")]
        self.0.forget();
    }
}

/// The same device, if there is one, which waits after every call and writes down how long it took.
pub fn timed(device: Option<Device>) -> (Option<Device>, Option<Times>) {
    #[cfg(not(feature = "device"))]
    return (device, None);
    #[cfg(feature = "device")]
    device
        .map(|device| device.timed())
        .map(|(device, times)| (device, Times(times)))
        .unzip()
}

/// One comparison of a self-test.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was compared.
    pub name: String,
    /// The largest difference that was found.
    pub difference: f64,
    /// The largest that is allowed.
    pub tolerance: f64,
}

impl Outcome {
    /// Whether the difference is small enough; no number never is.
    pub fn passes(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// Holds every operation of a device against its formula.
///
/// # Errors
/// The device failed.
pub fn test_operations(device: &Device) -> Result<Vec<Outcome>> {
    #[cfg(not(feature = "device"))]
    match *device {}
    #[cfg(feature = "device")]
    {
        let outcomes = gpu::self_test(device)?.into_iter();
        Ok(outcomes
            .map(|found| Outcome {
                name: format!("{} {}, {}", found.operation, found.element, found.case),
                difference: found.difference,
                tolerance: found.tolerance,
            })
            .collect())
    }
}

/// Holds passes, optimiser, adapters and heads on a device against those on the CPU.
///
/// # Errors
/// The device failed.
pub fn test_network(device: &Device) -> Result<Vec<Outcome>> {
    #[cfg(not(feature = "device"))]
    match *device {}
    #[cfg(feature = "device")]
    self_test::run(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_written() {
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(
                text.parse::<Choice>().map(|c| c.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            let error = text.parse::<Choice>().expect_err(text);
            assert!(error.contains("auto, cpu, cuda"), "{error}");
        }
    }

    #[test]
    fn a_failed_device_is_an_error_and_a_bug_stays_a_panic() {
        let failed = || -> Result<()> { demand(Err(anyhow::anyhow!("out of memory"))) };
        let error = catching(failed).expect_err("it failed");
        assert_eq!(error.to_string(), "out of memory");
        assert_eq!(catching(|| Ok(3)).expect("it did not"), 3);
        let bug = catch_unwind(|| catching(|| -> Result<()> { panic!("a bug") }));
        assert!(bug.is_err());
    }
}
