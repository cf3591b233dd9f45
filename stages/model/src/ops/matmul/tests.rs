//! Every kernel against exact sums; rows, threads and laid-out operands to the bit.

use std::ops::Range;

use super::*;
use half::bf16;

fn noise(length: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 + 1;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The product in f64 of operands in the kernel's form, and the sum of magnitudes.
fn exact(a: View, b: View, form: Form) -> (Vec<f64>, Vec<f64>) {
    let value = |x: f32| match form {
        Form::Single => f64::from(x),
        Form::Rounded | Form::Pair => f64::from(bf16::from_f32(x).to_f32()),
    };
    let each = |row: usize, col: usize| {
        (0..a.cols).map(move |i| value(a.at(row, i)) * value(b.at(i, col)))
    };
    let places = || (0..a.rows).flat_map(|row| (0..b.cols).map(move |col| (row, col)));
    (
        places().map(|(r, c)| each(r, c).sum()).collect(),
        places()
            .map(|(r, c)| each(r, c).map(f64::abs).sum())
            .collect(),
    )
}

/// Every kernel that this processor can run, `vdpbf16ps` among them where it is; says which.
#[test]
#[allow(clippy::print_stdout)] // a kernel that was not run was not tested
fn every_kernel_gives_the_exact_product() {
    let sizes = [
        (1, 1, 1),
        (6, 16, 8),
        (13, 33, 7),
        (97, 40, 300),
        (24, 200, 515),
        (100, 130, 63),
    ];
    for kernel in Kernel::all_available() {
        println!("{}", kernel.name);
        for (index, (m, n, k)) in sizes.into_iter().enumerate() {
            for layout in 0..4 {
                let (a, b) = (noise(m * k, index), noise(k * n, index + 9));
                let a = if layout & 1 == 0 {
                    View::new(&a, m, k)
                } else {
                    View::new(&a, k, m).transposed()
                };
                let b = if layout & 2 == 0 {
                    View::new(&b, k, n)
                } else {
                    View::new(&b, n, k).transposed()
                };
                let (expected, magnitudes) = exact(a, b, kernel.form);
                let start = noise(m * n, 77);
                let mut out = start.clone();
                multiply(&mut out, true, 0.5, a, b, kernel, Threads::All);
                let mut alone = vec![f32::NAN; m * n];
                multiply(&mut alone, false, 1.0, a, b, kernel, Threads::One);
                for i in 0..m * n {
                    let bound = 1e-6 * (1.0 + magnitudes[i]);
                    let sum = f64::from(start[i]) + 0.5 * expected[i];
                    assert!(
                        (f64::from(out[i]) - sum).abs() < bound
                            && (f64::from(alone[i]) - expected[i]).abs() < bound,
                        "{}: {m}x{n}x{k}, layout {layout}, value {i}: {} for {sum}, {} for {}",
                        kernel.name,
                        out[i],
                        alone[i],
                        expected[i]
                    );
                }
            }
        }
    }
}

/// A row is the same to the bit whatever other rows, threads and tasks there are.
#[test]
fn a_row_does_not_depend_on_others() {
    let (m, n, k) = (331, 70, 600);
    let (a, b) = (noise(m * k, 1), noise(k * n, 2));
    for precision in [Precision::F32, Precision::Bf16] {
        let product = |rows: Range<usize>, threads: usize| {
            let mut out = vec![0.0; rows.len() * n];
            let a = View::new(&a[rows.start * k..], rows.len(), k);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            let b = View::new(&b, k, n);
            pool.install(|| matmul(&mut out, false, 0.3, a, b, precision, Threads::All));
            out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let all = product(0..m, 1);
        assert_eq!(all, product(0..m, 3));
        for row in [0, 5, 95, 330] {
            assert_eq!(all[row * n..][..n], product(row..row + 1, 2));
        }
    }
}

#[test]
fn a_packed_operand_gives_products_with_its_first_rows_and_columns() {
    let (m, n, k) = (50, 90, 64);
    let (a, b) = (noise(m * k, 3), noise(k * n, 4));
    for precision in [Precision::F32, Precision::Bf16] {
        let mut packed = Packed::default();
        packed.fill(View::new(&b, k, n), precision);
        for (inner, cols) in [(k, n), (17, 33), (1, 1)] {
            let stride = cols + 3;
            let mut out = vec![7.0; m * stride];
            let a = View::strided(&a, m, inner, k);
            packed.product(&mut out, stride, cols, false, 1.0, a);
            let mut expected = vec![0.0; m * cols];
            let b = View::strided(&b, inner, cols, n);
            matmul(&mut expected, false, 1.0, a, b, precision, Threads::One);
            for (row, expected) in out.chunks(stride).zip(expected.chunks(cols)) {
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&row[..cols]), bits(expected));
                assert_eq!(bits(&row[cols..]), bits(&[7.0; 3]));
            }
        }
    }
}
