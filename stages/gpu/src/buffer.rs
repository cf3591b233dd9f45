//! Device memory: owned ([`Buffer`]) and lent ([`Slice`], [`SliceMut`]).
//!
//! As `Vec` and slices, but the values cannot be looked at: they are uploaded and downloaded.
//! Ranges are checked here, so that an operation needs to check lengths alone. Memory goes back
//! when a buffer is dropped, in the order of the stream: kernels that still read it come first.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use crate::device::Device;
use crate::driver::Argument;
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::Result;

/// Values in device memory.
pub struct Buffer<T: Element> {
    device: Device,
    address: u64,
    length: usize,
    kind: PhantomData<T>,
}

/// Some values of a buffer, to read.
pub struct Slice<'a, T: Element> {
    pub(crate) device: &'a Device,
    address: u64,
    length: usize,
    kind: PhantomData<&'a T>,
}

/// Some values of a buffer, to write.
pub struct SliceMut<'a, T: Element> {
    pub(crate) device: &'a Device,
    address: u64,
    length: usize,
    kind: PhantomData<&'a mut T>,
}

impl<T: Element> Buffer<T> {
    pub(crate) fn new(device: &Device, length: usize) -> Result<Self> {
        let address = match length {
            0 => 0,
            _ => device.driver.allocate(length * size_of::<T>())?,
        };
        Ok(Self {
            device: device.clone(),
            address,
            length,
            kind: PhantomData,
        })
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.length * size_of::<T>()
    }

    /// All values, to read.
    pub fn view(&self) -> Slice<'_, T> {
        Slice {
            device: &self.device,
            address: self.address,
            length: self.length,
            kind: PhantomData,
        }
    }

    /// All values, to write.
    pub fn view_mut(&mut self) -> SliceMut<'_, T> {
        SliceMut {
            device: &self.device,
            address: self.address,
            length: self.length,
            kind: PhantomData,
        }
    }

    /// Values of a range, to read.
    ///
    /// # Panics
    /// The range goes beyond the end.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Slice<'_, T> {
        self.view().slice(range)
    }

    /// Values of a range, to write.
    ///
    /// # Panics
    /// The range goes beyond the end.
    pub fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> SliceMut<'_, T> {
        self.view_mut().slice(range)
    }

    /// The values, on the host; waits for all calls so far.
    ///
    /// # Errors
    /// One of the calls failed.
    pub fn download(&self) -> Result<Vec<T>> {
        self.view().download()
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.address != 0 {
            self.device.driver.free(self.address);
        }
    }
}

fn range_of(range: impl RangeBounds<usize>, length: usize) -> (usize, usize) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => length,
    };
    assert!(
        start <= end && end <= length,
        "range {start}..{end} of a buffer of {length} values"
    );
    (start, end)
}

#[allow(clippy::expl_impl_clone_on_copy)] // derived, it would want `T: Clone`
impl<T: Element> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element> Copy for Slice<'_, T> {}

impl<'a, T: Element> Slice<'a, T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where it lives.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Values of a range.
    ///
    /// # Panics
    /// The range goes beyond the end.
    pub fn slice(self, range: impl RangeBounds<usize>) -> Self {
        let (start, end) = range_of(range, self.length);
        Self {
            address: self.address + (start * size_of::<T>()) as u64,
            length: end - start,
            ..self
        }
    }

    /// The values, on the host; waits for all calls so far.
    ///
    /// # Errors
    /// One of the calls failed.
    pub fn download(self) -> Result<Vec<T>> {
        let mut values = vec![T::default(); self.length];
        if !values.is_empty() {
            let bytes = bytes_of_mut(&mut values);
            self.device.driver.download(bytes, self.address)?;
        }
        Ok(values)
    }

    pub(crate) fn address(self) -> u64 {
        self.address
    }
}

impl<'a, T: Element> SliceMut<'a, T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where it lives.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The same values, lent on for a shorter time.
    pub fn reborrow(&mut self) -> SliceMut<'_, T> {
        SliceMut {
            device: self.device,
            address: self.address,
            length: self.length,
            kind: PhantomData,
        }
    }

    /// The same values, to read.
    pub fn as_slice(&self) -> Slice<'_, T> {
        Slice {
            device: self.device,
            address: self.address,
            length: self.length,
            kind: PhantomData,
        }
    }

    /// Values of a range.
    ///
    /// # Panics
    /// The range goes beyond the end.
    pub fn slice(self, range: impl RangeBounds<usize>) -> Self {
        let (start, end) = range_of(range, self.length);
        Self {
            address: self.address + (start * size_of::<T>()) as u64,
            length: end - start,
            ..self
        }
    }

    /// The values before and from `middle`.
    ///
    /// # Panics
    /// `middle` is beyond the end.
    pub fn split_at(self, middle: usize) -> (Self, Self) {
        let rest = Self {
            device: self.device,
            address: self.address + (middle * size_of::<T>()) as u64,
            length: self.length.checked_sub(middle).expect("middle is inside"),
            kind: PhantomData,
        };
        (self.slice(..middle), rest)
    }

    /// Writes zeros.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn zero(&mut self) -> Result<()> {
        match self.length {
            0 => Ok(()),
            length => self
                .device
                .driver
                .zero(self.address, length * size_of::<T>()),
        }
    }

    /// Writes values of the host, which may be changed when this returns.
    ///
    /// # Errors
    /// The driver refuses.
    ///
    /// # Panics
    /// There are not as many values.
    pub fn upload(&mut self, values: &[T]) -> Result<()> {
        assert_eq!(values.len(), self.length, "values for a buffer");
        match self.length {
            0 => Ok(()),
            _ => self.device.driver.upload(self.address, bytes_of(values)),
        }
    }

    /// Copies values of the device.
    ///
    /// # Errors
    /// The driver refuses.
    ///
    /// # Panics
    /// There are not as many values, or they live on another device.
    pub fn copy_from(&mut self, from: Slice<T>) -> Result<()> {
        assert_eq!(from.length, self.length, "values for a buffer");
        assert!(from.device.is(self.device), "buffers of two devices");
        let bytes = self.length * size_of::<T>();
        match bytes {
            0 => Ok(()),
            _ => self.device.driver.copy(self.address, from.address, bytes),
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl<T: Element> From<Slice<'_, T>> for Argument {
    fn from(slice: Slice<'_, T>) -> Self {
        slice.address.into()
    }
}

impl<T: Element> From<&SliceMut<'_, T>> for Argument {
    fn from(slice: &SliceMut<'_, T>) -> Self {
        slice.address.into()
    }
}

impl<T: Element> From<Option<Slice<'_, T>>> for Argument {
    /// No address for nothing: kernels test for it.
    fn from(slice: Option<Slice<'_, T>>) -> Self {
        slice.map_or(0, |slice| slice.address).into()
    }
}

impl<T: Element> From<&Option<SliceMut<'_, T>>> for Argument {
    fn from(slice: &Option<SliceMut<'_, T>>) -> Self {
        slice.as_ref().map_or(0, |slice| slice.address).into()
    }
}
