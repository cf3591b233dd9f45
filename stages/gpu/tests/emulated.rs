//! Every kernel on the emulated device, and what that device checks.

#![allow(clippy::unwrap_used)]

use gpu::ops::elementwise;
use gpu::{Device, Error, Graphs, Outcome};

#[test]
fn every_operation_agrees_with_its_reference() {
    let outcomes = gpu::small_self_test(&Device::emulated()).unwrap();
    let line = |outcome: &Outcome| {
        format!(
            "{} {} {}: {:.1e} of {:.1e}",
            outcome.operation, outcome.element, outcome.case, outcome.difference, outcome.tolerance,
        )
    };
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .map(line)
        .collect();
    assert!(outcomes.len() > 100);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn recorded_calls_run_when_launched_with_the_contents_of_then() {
    let device = Device::emulated();
    let mut x = device.upload(&[1.0_f32, 2.0, 3.0]).unwrap();
    let mut y = device.zeros::<f32>(3).unwrap();
    let graph = device
        .record(|| elementwise::add_scaled(y.view_mut(), 2.0, x.view()))
        .unwrap();
    assert_eq!(y.download().unwrap(), [0.0; 3]);
    graph.launch().unwrap();
    assert_eq!(y.download().unwrap(), [2.0, 4.0, 6.0]);
    x.view_mut().upload(&[1.0, 1.0, 1.0]).unwrap();
    graph.launch().unwrap();
    assert_eq!(y.download().unwrap(), [4.0, 6.0, 8.0]);
}

#[test]
fn graphs_are_recorded_once_for_each_size_and_not_before_the_second_run() {
    let device = Device::emulated();
    let x = device.upload(&[1.0_f32, 2.0, 3.0]).unwrap();
    let mut y = device.zeros::<f32>(3).unwrap();
    let (mut graphs, mut asked) = (Graphs::default(), 0);
    for length in [3, 2, 3, 3, 2, 3] {
        let work = || {
            asked += 1;
            elementwise::add_scaled(y.slice_mut(..length), 1.0, x.slice(..length))
        };
        graphs.run(length, &device, work).unwrap();
    }
    assert_eq!(y.download().unwrap(), [6.0, 12.0, 12.0]);
    // Each size once as it is and once to be recorded.
    assert_eq!(asked, 4);
}

#[test]
fn making_a_buffer_while_recording_is_an_error() {
    let device = Device::emulated();
    let outcome = device.record(|| device.zeros::<f32>(1).map(|_| ()));
    assert!(matches!(outcome, Err(Error::Driver { .. })));
    assert!(device.zeros::<f32>(1).is_ok());
}

#[test]
fn too_much_memory_is_an_error_of_its_own() {
    let device = Device::emulated();
    let before = device.memory().unwrap();
    let wanted = before.free + 1;
    match device.empty::<u8>(wanted) {
        Err(Error::OutOfMemory {
            wanted: said, free, ..
        }) => assert_eq!((said, free), (wanted, before.free)),
        _ => panic!("it was given"),
    }
    let half = device.empty::<u8>(1000).unwrap();
    assert_eq!(device.memory().unwrap().free, before.free - 1000);
    drop(half);
    assert_eq!(device.memory().unwrap(), before);
}
