//! The code of the real device, over a driver and a cuBLAS that the emulation stands in for.
//!
//! Where a real driver is installed, this has nothing to say: `iota doctor --gpu-selftest` does.

#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // opens libraries

use gpu::ops::elementwise;
use gpu::{Device, Error, Unavailable};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Opens the stand-ins, so that they are found under NVIDIA's names; says whether they may be.
fn stand_in() -> bool {
    // SAFETY: a driver's initialiser asks for nothing.
    if unsafe { Library::new("libcuda.so") }.is_ok() {
        return false;
    }
    let without = Device::cuda(0);
    if !matches!(without, Err(Unavailable::NoDriver)) {
        return false;
    }
    for name in ["libcuda.so.1", "libcublasLt.so.13", "libcublas.so.13"] {
        let path = format!("{}/{name}", gpu::DRIVER_OF_THE_TESTS);
        // SAFETY: the stand-ins' initialisers register kernels.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        std::mem::forget(library.unwrap());
    }
    true
}

#[test]
fn the_code_of_the_real_device_runs() {
    if !stand_in() {
        return;
    }
    let Err(Unavailable::NoDevice {
        ordinal: 3,
        count: 1,
    }) = Device::cuda(3)
    else {
        panic!("there is one device");
    };
    let device = match Device::cuda(0) {
        Ok(device) => device,
        // Built without nvcc, and no NVRTC here.
        Err(Unavailable::Kernels(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let about = device.describe();
    assert_eq!(about.name, "a GPU of the tests");
    assert_eq!(about.compute_capability, "9.0");
    assert_eq!(about.driver_cuda, "13.0");
    assert_eq!(about.libraries.len(), 3);

    let outcomes = gpu::small_self_test(&device).unwrap();
    assert!(outcomes.len() > 100);
    for outcome in &outcomes {
        assert!(outcome.passed(), "{outcome:?}");
    }

    let before = device.memory().unwrap();
    match device.empty::<u8>(before.free + 1) {
        Err(Error::OutOfMemory { wanted, free, .. }) => {
            assert_eq!((wanted, free), (before.free + 1, before.free));
        }
        _ => panic!("it was given"),
    }
    let x = device.upload(&[1.0_f32, 2.0, 3.0]).unwrap();
    let mut y = device.zeros::<f32>(3).unwrap();
    let graph = device
        .record(|| elementwise::add_scaled(y.view_mut(), 2.0, x.view()))
        .unwrap();
    assert_eq!(y.download().unwrap(), [0.0; 3]);
    graph.launch().unwrap();
    graph.launch().unwrap();
    assert_eq!(y.download().unwrap(), [4.0, 8.0, 12.0]);
    // From another thread.
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(x.download().unwrap(), [1.0, 2.0, 3.0]));
    });
}
