//! Every kernel on the emulated device.

#![allow(clippy::unwrap_used)]

use gpu::ops::matmul::{Matrix, matmul};
use gpu::ops::{elementwise, swiglu};
use gpu::{Device, bf16};

#[test]
fn smoke() {
    let device = Device::emulated();
    let a: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let a = device.upload(&a).unwrap();
    let mut out = device.zeros::<f32>(4).unwrap();
    let m = Matrix::new(a.view(), 2, 3);
    matmul(out.view_mut(), 2, false, 1.0, m, m.transposed()).unwrap();
    assert_eq!(out.download().unwrap(), [5.0, 14.0, 14.0, 50.0]);
    let mut b = device.zeros::<bf16>(13).unwrap();
    elementwise::fill(b.slice_mut(1..12), 2.0).unwrap();
    elementwise::scale(b.view_mut(), 2.0).unwrap();
    let mut c = device.zeros::<f32>(13).unwrap();
    elementwise::convert(c.view_mut(), b.view()).unwrap();
    let c = c.download().unwrap();
    assert_eq!((c[0], c[1], c[11], c[12]), (0.0, 4.0, 4.0, 0.0));
    let mut y = device.zeros::<f32>(9).unwrap();
    let gate_up = device.upload(&[1.0_f32; 18]).unwrap();
    swiglu::forward(y.view_mut(), gate_up.view(), 3).unwrap();
    assert!((y.download().unwrap()[8] - 0.731_058_6).abs() < 1e-6);
}
