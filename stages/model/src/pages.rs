//! Large buffers in huge pages.
//!
//! The passes walk through buffers of many megabytes by rows that lie pages apart; in pages of
//! 4 KiB nearly every row is a miss of the address cache as well. Asked for by the workspace and
//! by laid-out operands; where the system has no huge pages, or gives them by itself, nothing
//! changes.

/// From so many bytes on: two huge pages of x86-64.
#[cfg(target_os = "linux")]
const LARGE_BYTES: usize = 4 << 20;

/// `Vec::resize`, with room in huge pages where it grows.
pub(crate) fn resize<T: Clone>(buffer: &mut Vec<T>, length: usize, value: T) {
    if buffer.capacity() < length {
        buffer.reserve_exact(length - buffer.len());
        #[cfg(target_os = "linux")]
        advise(buffer);
    }
    buffer.resize(length, value);
}

/// Tells the kernel before the room is touched.
#[cfg(target_os = "linux")]
fn advise<T>(buffer: &mut Vec<T>) {
    const PAGE_BYTES: usize = 4096;
    let bytes = buffer.capacity() * size_of::<T>();
    if bytes < LARGE_BYTES {
        return;
    }
    let start = buffer.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(PAGE_BYTES);
    let length = (bytes - skip) / PAGE_BYTES * PAGE_BYTES;
    #[allow(unsafe_code)]
    // SAFETY: whole pages inside the allocation; the advice changes no byte. Its failure leaves
    // pages as they are.
    unsafe {
        libc::madvise(start.add(skip).cast(), length, libc::MADV_HUGEPAGE);
    }
}
