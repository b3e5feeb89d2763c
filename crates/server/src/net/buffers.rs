//! Page-aligned buffers for socket reads, pooled by size.
//!
//! Aligned, because the kernel's copies into a buffer that is 16 bytes off a page cost up to twice the CPU. Pooled,
//! so that a connection owns one only while bytes of a frame are in it: ten thousand idle connections own none.
#![allow(unsafe_code)] // anonymous mappings: pages cost nothing until they are written, and come aligned

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, PoisonError};

/// What a connection starts with, and what one read can bring.
pub const CHUNK: usize = 256 << 10;
/// Buffers above this are not kept.
const LARGEST_POOLED: usize = 4 << 20;
/// Bytes kept in each size class.
const KEPT_BYTES: usize = 8 << 20;

/// A page-aligned buffer of fixed size.
pub struct Chunk {
    at: NonNull<u8>,
    size: usize,
}

// SAFETY: a Chunk owns its memory alone, like a Box<[u8]>.
unsafe impl Send for Chunk {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// `size` is rounded up to a power of two of at least one [`CHUNK`]. Fails when the system has no memory left.
    pub fn new(size: usize) -> io::Result<Chunk> {
        let size = size.next_power_of_two().max(CHUNK);
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let at = unsafe {
            mmap_anonymous(std::ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Chunk { at, size })
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `size` bytes at `at` are mapped, zeroed by the kernel and owned by self.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.size) }
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref; &mut self makes the access exclusive.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.size) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size, and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.at.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Keeps a bounded number of chunks of each size for the next reader.
#[derive(Default)]
pub struct Pool {
    classes: [Mutex<Vec<Chunk>>; 5],
}

impl Pool {
    fn class(size: usize) -> usize {
        (size / CHUNK).trailing_zeros() as usize
    }

    /// A chunk of at least `size` bytes. Its content is whatever an earlier reader left.
    pub fn take(&self, size: usize) -> io::Result<Chunk> {
        let size = size.next_power_of_two().max(CHUNK);
        if size <= LARGEST_POOLED
            && let Some(chunk) = self.classes[Pool::class(size)].lock().unwrap_or_else(PoisonError::into_inner).pop()
        {
            return Ok(chunk);
        }
        Chunk::new(size)
    }

    pub fn put(&self, chunk: Chunk) {
        if chunk.len() <= LARGEST_POOLED {
            let mut class = self.classes[Pool::class(chunk.len())].lock().unwrap_or_else(PoisonError::into_inner);
            if class.len() * chunk.len() < KEPT_BYTES {
                class.push(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_aligned_and_sized_for_what_was_asked() {
        for ask in [1, CHUNK, CHUNK + 1, 5 << 20] {
            let chunk = Chunk::new(ask).unwrap();
            assert!(chunk.len() >= ask && (chunk.as_ptr() as usize).is_multiple_of(4096));
        }
    }

    #[test]
    fn the_pool_hands_out_what_it_was_given_and_keeps_a_bounded_number() {
        let pool = Pool::default();
        let mut chunk = pool.take(10).unwrap();
        chunk[0] = 42;
        pool.put(chunk);
        assert_eq!(pool.take(100).unwrap()[0], 42);
        for size in [CHUNK, LARGEST_POOLED, 2 * LARGEST_POOLED] {
            (0..100).map(|_| Chunk::new(size).unwrap()).collect::<Vec<_>>().into_iter().for_each(|c| pool.put(c));
        }
        let kept: usize =
            pool.classes.iter().flat_map(|c| c.lock().unwrap().iter().map(|c| c.len()).collect::<Vec<_>>()).sum();
        assert!(kept <= 5 * KEPT_BYTES, "{kept} bytes kept");
    }
}
