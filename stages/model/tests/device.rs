//! The network on an emulated device: the kernels of a GPU, run on the CPU.
#![allow(clippy::unwrap_used)]

use model::device::{Device, test_network};

#[test]
fn the_device_computes_what_the_cpu_computes() {
    let outcomes = test_network(&Device::emulated()).unwrap();
    let mut failed = 0;
    for outcome in &outcomes {
        println!(
            "{:<60} {:>10.3e} {:>10.3e}",
            outcome.name, outcome.difference, outcome.tolerance
        );
        failed += usize::from(!outcome.passes());
    }
    assert!(
        failed == 0,
        "{failed} of {} comparisons failed",
        outcomes.len()
    );
}
