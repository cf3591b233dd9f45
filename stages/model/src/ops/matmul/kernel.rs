//! The innermost loops of a matrix product: one tile of the result, in registers.
//!
//! Called by `matmul` on operands that `pack` laid out. A tile is `rows x cols` values; at every
//! step of the depth, `cols` words of the right operand are loaded, `rows` words of the left one
//! are spread, and products are added. A word is 32 bits: one f32, or a pair of bfloat16 that
//! neighbour each other along the depth, for processors that multiply pairs (AVX-512 BF16). The
//! loop is written once, over [`Lanes`]; kinds of lanes differ in an instruction each. Each value
//! of the result is one chain of additions in order of the depth, whatever the tile.

#![allow(unsafe_code)] // addresses and instructions are all there is here
#![allow(clippy::inline_always)] // or the loop is compiled without its instructions

use crate::precision::Precision;

/// What a word of an operand holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An f32.
    Single,
    /// An f32 that was rounded to bfloat16.
    Rounded,
    /// Two bfloat16, the earlier one in the low half.
    Pair,
}

impl Form {
    /// Words that `inner` values along the depth take.
    pub(super) fn depth(self, inner: usize) -> usize {
        match self {
            Self::Single | Self::Rounded => inner,
            Self::Pair => inner.div_ceil(2),
        }
    }
}

/// The left operand of a tile: word (row, step) lies at `row * row_stride + step * step_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) words: *const u32,
    pub(super) row_stride: usize,
    pub(super) step_stride: usize,
}

/// Where a tile goes: row-major f32, `stride` values from row to row.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) values: *mut f32,
    pub(super) stride: usize,
    /// Whether to add to what is there.
    pub(super) accumulate: bool,
    /// Factor of the product.
    pub(super) scale: f32,
}

/// Computes a tile from `depth` words a row and a column; the right operand is `[depth, cols]`.
type Tile = unsafe fn(depth: usize, left: Left, right: *const u32, out: Out);

/// One way to compute tiles.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    #[cfg_attr(not(test), allow(dead_code))]
    pub(super) name: &'static str,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) form: Form,
    /// The processor must have what [`Kernel::available`] asked for, and every word and value of
    /// the tile must lie within its allocation.
    pub(super) tile: Tile,
    available: fn() -> bool,
}

impl Kernel {
    /// The fastest kernel of this processor.
    pub(super) fn of(precision: Precision) -> Self {
        let all: &[Self] = match precision {
            Precision::F32 => &SINGLE,
            Precision::Bf16 => &HALF,
        };
        *all.iter()
            .find(|kernel| (kernel.available)())
            .expect("the portable kernel is always available")
    }

    /// Those that can run here, the portable ones among them.
    #[cfg(test)]
    pub(super) fn all_available() -> Vec<Self> {
        let all = SINGLE.iter().chain(&HALF).chain([&PAIRS]);
        all.copied().filter(|kernel| (kernel.available)()).collect()
    }
}

/// Several sums side by side, and how words are multiplied into them.
trait Lanes {
    type Words: Copy;
    type Sums: Copy;
    /// Sums side by side.
    const COUNT: usize;

    fn zero() -> Self::Sums;
    unsafe fn load(words: *const u32) -> Self::Words;
    unsafe fn spread(word: *const u32) -> Self::Words;
    fn add_products(sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// `out = scale sums`, or `out += scale sums`.
    unsafe fn store(sums: Self::Sums, out: *mut f32, scale: f32, accumulate: bool);
}

/// One tile. Inlined into functions compiled for the instructions of its lanes.
#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    depth: usize,
    left: Left,
    right: *const u32,
    out: Out,
) {
    let cols = VECTORS * L::COUNT;
    // SAFETY: the caller's: all addresses below are words or values of the tile.
    unsafe {
        if out.accumulate {
            // The result comes from far away; by the end of the loop it is here.
            for row in 0..ROWS {
                prefetch(out.values.add(row * out.stride));
                prefetch(out.values.add(row * out.stride + cols - 1));
            }
        }
        // Strides that the compiler knows are worth a loop of their own.
        let sums = if left.row_stride == 1 && left.step_stride == ROWS {
            let left = Left {
                row_stride: 1,
                step_stride: ROWS,
                ..left
            };
            sums::<L, ROWS, VECTORS>(depth, left, right)
        } else if left.step_stride == 1 {
            let left = Left {
                step_stride: 1,
                ..left
            };
            sums::<L, ROWS, VECTORS>(depth, left, right)
        } else {
            sums::<L, ROWS, VECTORS>(depth, left, right)
        };
        for (row, sums) in sums.into_iter().enumerate() {
            for (index, sums) in sums.into_iter().enumerate() {
                let at = out.values.add(row * out.stride + index * L::COUNT);
                L::store(sums, at, out.scale, out.accumulate);
            }
        }
    }
}

/// The one loop: the sums of a tile.
#[inline(always)]
unsafe fn sums<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    depth: usize,
    left: Left,
    right: *const u32,
) -> [[L::Sums; VECTORS]; ROWS] {
    let cols = VECTORS * L::COUNT;
    let mut sums = [[L::zero(); VECTORS]; ROWS];
    let (mut a, mut b) = (left.words, right);
    // SAFETY: the caller's.
    unsafe {
        macro_rules! step {
            ($index:expr) => {{
                let b = b.add($index * cols);
                let a = a.add($index * left.step_stride);
                let mut loaded = [L::load(b); VECTORS];
                for (index, words) in loaded.iter_mut().enumerate().skip(1) {
                    *words = L::load(b.add(index * L::COUNT));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let word = L::spread(a.add(row * left.row_stride));
                    for (sum, words) in sums.iter_mut().zip(loaded) {
                        *sum = L::add_products(*sum, word, words);
                    }
                }
            }};
        }
        for _ in 0..depth / 4 {
            step!(0);
            step!(1);
            step!(2);
            step!(3);
            a = a.add(4 * left.step_stride);
            b = b.add(4 * cols);
        }
        for _ in 0..depth % 4 {
            step!(0);
            a = a.add(left.step_stride);
            b = b.add(cols);
        }
    }
    sums
}

/// Asks for a line of memory that will be read soon.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which does nothing where an address leads nowhere; every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}

/// Plain code: 8 sums, multiplied by `MULTIPLY`.
struct Portable<M>(std::marker::PhantomData<M>);

/// How plain code multiplies two words and adds.
trait Multiply {
    fn add_product(sum: f32, a: u32, b: u32) -> f32;
}

struct Singles;

impl Multiply for Singles {
    #[inline(always)]
    fn add_product(sum: f32, a: u32, b: u32) -> f32 {
        sum + f32::from_bits(a) * f32::from_bits(b)
    }
}

/// What `vdpbf16ps` does to one word: the later product first, then the earlier one, each fused
/// with its addition.
#[cfg(test)]
struct PairDot;

#[cfg(test)]
impl Multiply for PairDot {
    #[inline(always)]
    fn add_product(sum: f32, a: u32, b: u32) -> f32 {
        let late = |word: u32| f32::from_bits(word & 0xffff_0000);
        let early = |word: u32| f32::from_bits(word << 16);
        early(a).mul_add(early(b), late(a).mul_add(late(b), sum))
    }
}

impl<M: Multiply> Lanes for Portable<M> {
    type Words = [u32; 8];
    type Sums = [f32; 8];
    const COUNT: usize = 8;

    #[inline(always)]
    fn zero() -> [f32; 8] {
        [0.0; 8]
    }

    #[inline(always)]
    unsafe fn load(words: *const u32) -> [u32; 8] {
        // SAFETY: the caller's.
        unsafe { words.cast::<[u32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn spread(word: *const u32) -> [u32; 8] {
        // SAFETY: the caller's.
        [unsafe { word.read() }; 8]
    }

    #[inline(always)]
    fn add_products(sums: [f32; 8], a: [u32; 8], b: [u32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| M::add_product(sums[i], a[i], b[i]))
    }

    #[inline(always)]
    unsafe fn store(sums: [f32; 8], out: *mut f32, scale: f32, accumulate: bool) {
        // SAFETY: the caller's.
        let out = unsafe { &mut *out.cast::<[f32; 8]>() };
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = if accumulate {
                *out + scale * sum
            } else {
                scale * sum
            };
        }
    }
}

unsafe fn portable<M: Multiply>(depth: usize, left: Left, right: *const u32, out: Out) {
    // SAFETY: the caller's.
    unsafe { tile::<Portable<M>, 4, 1>(depth, left, right, out) }
}

const PORTABLE: Kernel = Kernel {
    name: "portable",
    rows: 4,
    cols: 8,
    form: Form::Single,
    tile: portable::<Singles>,
    available: || true,
};

/// The pair-dot instruction in plain code, to hold others against; nothing chooses it.
#[cfg(test)]
const PAIRS: Kernel = Kernel {
    name: "portable pairs",
    form: Form::Pair,
    tile: portable::<PairDot>,
    ..PORTABLE
};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64::{AVX2, AVX512, AVX512_BF16};

#[cfg(target_arch = "x86_64")]
const SINGLE: [Kernel; 3] = [AVX512, AVX2, PORTABLE];
#[cfg(target_arch = "x86_64")]
const HALF: [Kernel; 4] = [
    AVX512_BF16,
    AVX512.rounded("AVX-512, rounded"),
    AVX2.rounded("AVX2, rounded"),
    PORTABLE.rounded("portable, rounded"),
];
#[cfg(not(target_arch = "x86_64"))]
const SINGLE: [Kernel; 1] = [PORTABLE];
#[cfg(not(target_arch = "x86_64"))]
const HALF: [Kernel; 1] = [PORTABLE.rounded("portable, rounded")];

impl Kernel {
    /// The same tiles of operands that were rounded to bfloat16.
    const fn rounded(self, name: &'static str) -> Self {
        Self {
            name,
            form: Form::Rounded,
            ..self
        }
    }
}
