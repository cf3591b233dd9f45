//! The code of the real device, over a driver and a cuBLAS that the emulation stands in for.
//!
//! Where a real driver is installed, this has nothing to say: `iota doctor --gpu-selftest` does.

#![allow(clippy::unwrap_used)]

use gpu::ops::{elementwise, swiglu};
use gpu::{Device, Error, Graphs, Unavailable};

#[test]
fn the_code_of_the_real_device_runs() {
    let without = Device::cuda(0);
    if !gpu::stand_in_for_the_driver() {
        return;
    }
    assert!(matches!(without, Err(Unavailable::NoDriver)));
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

    // A kernel's first launch may load it, which cannot be recorded.
    let gate_up = device.upload(&[1.0_f32; 6]).unwrap();
    let mut y = device.zeros::<f32>(3).unwrap();
    let cold = device.record(|| swiglu::forward(y.view_mut(), gate_up.view(), 3));
    assert!(cold.is_err());
    let mut graphs = Graphs::default();
    for _ in 0..3 {
        y.view_mut().zero().unwrap();
        let work = || swiglu::forward(y.view_mut(), gate_up.view(), 3);
        graphs.run(3, &device, work).unwrap();
        assert!(
            y.download()
                .unwrap()
                .iter()
                .all(|y| (y - 0.731).abs() < 1e-3)
        );
    }

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
