//! What can go wrong: no device at all, or a call on one.

/// The result of a call on a device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call on a device failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is not enough memory.
    #[error(
        "the GPU has no {wanted} bytes left (free: {free} of {total} bytes): use fewer tokens per \
         batch, recompute activations, or a smaller model"
    )]
    OutOfMemory {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes free on the device.
        free: usize,
        /// Bytes of the device.
        total: usize,
    },
    /// A kernel could not be launched, or broke a rule that the emulation checks.
    #[error("kernel {kernel}: {message}")]
    Kernel {
        /// Its name.
        kernel: String,
        /// What happened.
        message: String,
    },
    /// A matrix product was refused.
    #[error("matrix product {shape}: {message}")]
    Product {
        /// Its sizes and kinds.
        shape: String,
        /// What cuBLAS says.
        message: String,
    },
    /// Any other call of the driver; an earlier kernel's fault surfaces here too.
    #[error("the GPU driver refused {call}: {message}")]
    Driver {
        /// Which call.
        call: &'static str,
        /// What the driver says.
        message: String,
    },
}

/// Why there is no device to run on; one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The program has no CUDA part.
    #[error(
        "this program was built without the feature cuda (cargo build --release --features cuda)"
    )]
    NotBuilt,
    /// The program has no NCCL part.
    #[error(
        "this program was built without the feature nccl (cargo build --release --features nccl), \
         or the device is none of CUDA's"
    )]
    NotBuiltForNccl,
    /// There is no driver.
    #[error("no NVIDIA driver here: libcuda.so.1 was not found")]
    NoDriver,
    /// The driver finds no such device.
    #[error("the NVIDIA driver has no GPU number {ordinal}: it has {count}")]
    NoDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The device is too old for the kernels.
    #[error("GPU {ordinal} ({name}) has compute capability {found}: 8.0 or newer is needed")]
    TooOld {
        /// Its number.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Such as "7.5".
        found: String,
    },
    /// The driver does not know a CUDA as new as the kernels.
    #[error(
        "the NVIDIA driver knows CUDA {driver}, the program's kernels need {needed}, and they could \
         not be compiled here instead ({reason}): update the driver, or install CUDA's NVRTC"
    )]
    DriverTooOld {
        /// Newest CUDA that the driver knows.
        driver: String,
        /// CUDA that the kernels were compiled with.
        needed: String,
        /// Why NVRTC did not help.
        reason: String,
    },
    /// A library of CUDA is missing.
    #[error(
        "{library} was not found (looked in the loader's path{looked}): put its folder in \
         LD_LIBRARY_PATH, or set CUDA_HOME"
    )]
    MissingLibrary {
        /// Its file name.
        library: String,
        /// Other folders that were looked in, each after a comma.
        looked: String,
    },
    /// The kernels cannot be compiled or loaded.
    #[error("the program's GPU kernels cannot be loaded: {0}")]
    Kernels(String),
    /// A call on the way failed.
    #[error("the GPU cannot be used: {0}")]
    Failed(String),
}
