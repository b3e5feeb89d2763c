//! The pool of what busy connections use, and the budget of memory for requests in flight.

use super::buffers::{CHUNK, Chunk, Pool};
use super::connection::Work;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Enough for the connections that two reactors have in hand, and some that wait inside a request.
const KEPT: usize = 32;
/// The budget where `queued.max.request.bytes` sets none.
const BUDGET: u64 = 256 << 20;

/// Hands out [`Work`]s and larger chunks.
///
/// Frames that fit into one [`CHUNK`] are not counted: a connection reads and handles them at once. What larger ones
/// need comes out of a budget; when it is used up, connections stop reading until others are done.
pub struct Works {
    idle: Mutex<Vec<Work>>,
    chunks: Pool,
    budget: Arc<Semaphore>,
}

/// A chunk larger than [`CHUNK`], with its share of the budget.
pub type Large = (Chunk, OwnedSemaphorePermit);

impl Works {
    /// `budget` is `queued.max.request.bytes`; it must let the largest request in.
    pub fn new(budget: Option<u64>, largest_request: usize) -> Works {
        let bytes = budget.unwrap_or(BUDGET).max(2 * largest_request.next_power_of_two() as u64);
        let budget = Arc::new(Semaphore::new((bytes / CHUNK as u64) as usize));
        Works { idle: Mutex::default(), chunks: Pool::default(), budget }
    }

    /// A [`Work`] whose chunk has `size` bytes.
    pub async fn take(&self, size: usize) -> io::Result<Work> {
        if size > CHUNK {
            let mut work = Work::new(self.chunks.take(CHUNK)?);
            let small = work.enlarge(self.large(size).await?);
            self.chunks.put(small);
            return Ok(work);
        }
        if let Some(work) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(work);
        }
        Ok(Work::new(self.chunks.take(CHUNK)?))
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

    /// A chunk of at least `size` bytes, for a frame that outgrew its buffer; waits for the budget.
    pub async fn large(&self, size: usize) -> io::Result<Large> {
        let share = u32::try_from(size.next_power_of_two() / CHUNK).unwrap_or(u32::MAX);
        let permit = self.budget.clone().acquire_many_owned(share).await.map_err(io::Error::other)?;
        Ok((self.chunks.take(size)?, permit))
    }

    /// A chunk of [`CHUNK`] bytes, for a moment.
    pub fn small(&self) -> io::Result<Chunk> {
        self.chunks.take(CHUNK)
    }

    pub fn put_chunk(&self, chunk: Chunk) {
        self.chunks.put(chunk);
    }
}
