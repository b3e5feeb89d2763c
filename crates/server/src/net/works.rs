//! The pool of what busy connections use.

use super::buffers::{CHUNK, Chunk, Pool};
use super::connection::Work;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Enough for the connections that two reactors have in hand, and some that wait inside a request.
const KEPT: usize = 32;

/// Hands out [`Work`]s and chunks.
#[derive(Default)]
pub struct Works {
    idle: Mutex<Vec<Work>>,
    chunks: Pool,
}

impl Works {
    /// A [`Work`] whose chunk has `size` bytes.
    pub fn take(&self, size: usize) -> io::Result<Work> {
        if size == CHUNK
            && let Some(work) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
        {
            return Ok(work);
        }
        Ok(Work::new(self.chunks.take(size)?))
    }

    pub fn put(&self, mut work: Work) {
        work.reset();
        if work.size() == CHUNK {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                return idle.push(work);
            }
        }
        self.chunks.put(work.into_chunk());
    }

    /// A chunk of at least `size` bytes, for a frame that outgrew its buffer.
    pub fn chunk(&self, size: usize) -> io::Result<Chunk> {
        self.chunks.take(size)
    }

    pub fn put_chunk(&self, chunk: Chunk) {
        self.chunks.put(chunk);
    }
}
