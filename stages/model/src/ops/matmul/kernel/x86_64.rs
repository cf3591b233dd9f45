//! The kernels for x86-64: AVX2, AVX-512, and AVX-512 with products of pairs of bfloat16.
//!
//! Chosen by `kernel`. They differ in registers and in one instruction: `vfmadd231ps` of 8 or 16
//! values, or `vdpbf16ps` of 16 pairs. The tests of `matmul` run each where the processor
//! has it.

use super::{Form, Kernel, Lanes, Left, Out, tile};
use std::arch::x86_64 as intel;

/// Lanes and a kernel of `$rows` x 2 registers for one set of instructions.
macro_rules! kernel {
    ($lanes:ident, $kernel:ident, $function:ident, $name:literal, $features:literal,
     $available:expr, $rows:literal, $count:literal, $form:expr, $words:ty, $sums:ty,
     zero $zero:ident, load $load:expr, spread $spread:expr, add $add:expr,
     set1 $set1:ident, get $get:ident, put $put:ident, mul $mul:ident, plus $plus:ident) => {
        struct $lanes;

        // SAFETY of all: only called from the function below, compiled for these features.
        impl Lanes for $lanes {
            type Words = $words;
            type Sums = $sums;
            const COUNT: usize = $count;

            #[inline(always)]
            fn zero() -> $sums {
                unsafe { intel::$zero() }
            }

            #[inline(always)]
            unsafe fn load(words: *const u32) -> $words {
                unsafe { $load(words) }
            }

            #[inline(always)]
            unsafe fn spread(word: *const u32) -> $words {
                unsafe { $spread(word) }
            }

            #[inline(always)]
            fn add_products(sums: $sums, a: $words, b: $words) -> $sums {
                unsafe { $add(sums, a, b) }
            }

            #[inline(always)]
            unsafe fn store(sums: $sums, out: *mut f32, scale: f32, accumulate: bool) {
                unsafe {
                    let mut sums = intel::$mul(sums, intel::$set1(scale));
                    if accumulate {
                        sums = intel::$plus(intel::$get(out), sums);
                    }
                    intel::$put(out, sums);
                }
            }
        }

        #[target_feature(enable = $features)]
        unsafe fn $function(depth: usize, left: Left, right: *const u32, out: Out) {
            // SAFETY: the caller's.
            unsafe { tile::<$lanes, $rows, 2>(depth, left, right, out) }
        }

        pub(super) const $kernel: Kernel = Kernel {
            name: $name,
            rows: $rows,
            cols: 2 * $count,
            form: $form,
            tile: $function,
            available: $available,
        };
    };
}

kernel!(
    Avx2, AVX2, avx2_tile, "AVX2", "avx2,fma",
    || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    6, 8, Form::Single, intel::__m256, intel::__m256,
    zero _mm256_setzero_ps,
    load |words: *const u32| intel::_mm256_loadu_ps(words.cast()),
    spread |word: *const u32| intel::_mm256_broadcast_ss(&*word.cast()),
    add |sums, a, b| intel::_mm256_fmadd_ps(a, b, sums),
    set1 _mm256_set1_ps, get _mm256_loadu_ps, put _mm256_storeu_ps, mul _mm256_mul_ps, plus _mm256_add_ps
);
kernel!(
    Avx512, AVX512, avx512_tile, "AVX-512", "avx512f",
    || is_x86_feature_detected!("avx512f"),
    12, 16, Form::Single, intel::__m512, intel::__m512,
    zero _mm512_setzero_ps,
    load |words: *const u32| intel::_mm512_loadu_ps(words.cast()),
    spread |word: *const u32| intel::_mm512_set1_ps(*word.cast()),
    add |sums, a, b| intel::_mm512_fmadd_ps(a, b, sums),
    set1 _mm512_set1_ps, get _mm512_loadu_ps, put _mm512_storeu_ps, mul _mm512_mul_ps, plus _mm512_add_ps
);
kernel!(
    Avx512Bf16, AVX512_BF16, avx512_bf16_tile, "AVX-512 BF16", "avx512f,avx512bf16",
    || is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16"),
    12, 16, Form::Pair, intel::__m512i, intel::__m512,
    zero _mm512_setzero_ps,
    load |words: *const u32| intel::_mm512_loadu_si512(words.cast()),
    spread |word: *const u32| intel::_mm512_set1_epi32(word.cast::<i32>().read()),
    add |sums, a: intel::__m512i, b: intel::__m512i| {
        let pairs = |words| std::mem::transmute::<intel::__m512i, intel::__m512bh>(words);
        intel::_mm512_dpbf16_ps(sums, pairs(a), pairs(b))
    },
    set1 _mm512_set1_ps, get _mm512_loadu_ps, put _mm512_storeu_ps, mul _mm512_mul_ps, plus _mm512_add_ps
);
