//! The tests' libcuda and cuBLAS (`emulation/driver.cpp`) in the place of NVIDIA's.

#![allow(unsafe_code)] // opens libraries

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// The folder where they lie under NVIDIA's names.
#[doc(hidden)]
pub const DRIVER_OF_THE_TESTS: &str = env!("DRIVER_OF_THE_TESTS");

/// Opens them, so that they are found under NVIDIA's names; says whether they may be: a real driver
/// is not replaced.
#[doc(hidden)]
pub fn stand_in_for_the_driver() -> bool {
    // SAFETY: a driver's initialiser asks for nothing.
    if unsafe { Library::new("libcuda.so") }.is_ok() {
        return false;
    }
    if super::cuda::is_there() {
        return false;
    }
    for name in ["libcuda.so.1", "libcublasLt.so.13", "libcublas.so.13"] {
        let path = format!("{DRIVER_OF_THE_TESTS}/{name}");
        // SAFETY: the stand-ins' initialisers register kernels.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        std::mem::forget(library.expect("build.rs made it"));
    }
    true
}
