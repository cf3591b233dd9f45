//! The kinds of values that device memory holds.
//!
//! [`Element`] is anything that is copied as bytes; [`Float`] is what kernels compute with, and
//! knows the suffix of the kernels made for it.

use half::bf16;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::bf16 {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for i32 {}
    impl Sealed for u64 {}
}

/// A value that is copied to and from the device bit by bit; every pattern of bits is one.
pub trait Element: Copy + Default + Send + Sync + sealed::Sealed + 'static {}

impl Element for f32 {}
impl Element for f64 {}
impl Element for bf16 {}
impl Element for u8 {}
impl Element for u32 {}
impl Element for i32 {}
impl Element for u64 {}

/// What activations, weights and logits are made of.
pub trait Float: Element {
    /// What the names of its kernels end with.
    const SUFFIX: &'static str;
    /// For messages and tables.
    const NAME: &'static str = Self::SUFFIX;

    /// As f32, exactly.
    fn widen(self) -> f32;

    /// The nearest value, ties to even.
    fn narrow(value: f32) -> Self;
}

impl Float for f32 {
    const SUFFIX: &'static str = "f32";

    fn widen(self) -> f32 {
        self
    }

    fn narrow(value: f32) -> Self {
        value
    }
}

impl Float for bf16 {
    const SUFFIX: &'static str = "bf16";

    fn widen(self) -> f32 {
        self.to_f32()
    }

    fn narrow(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// The bytes of values.
pub(crate) fn bytes_of<T: Element>(values: &[T]) -> &[u8] {
    #[allow(unsafe_code)]
    // SAFETY: an `Element` (the trait is sealed) has no padding, and a byte no alignment.
    unsafe {
        std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values))
    }
}

/// The bytes of values, to write to.
pub(crate) fn bytes_of_mut<T: Element>(values: &mut [T]) -> &mut [u8] {
    #[allow(unsafe_code)]
    // SAFETY: as above, and every pattern of bits is a value of an `Element`.
    unsafe {
        std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values))
    }
}
