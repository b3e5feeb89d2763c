//! Counters that threads do not share.
//!
//! An addition that other processors have to hear of costs as much as a small lookup. So every thread that serves
//! clients has a copy of the counters to itself, and only who reads them adds up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Threads with a copy of their own; later ones share one, behind a lock.
const OWN: usize = 64;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, whichever thread it is.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Adds where nobody else does: an addition that comes between would be lost.
    pub fn add_alone(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A copy of `T` for each thread.
pub struct PerThread<T> {
    own: Box<[OnceLock<Box<T>>]>,
    shared: Mutex<OnceLock<Box<T>>>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T> PerThread<T> {
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> PerThread<T> {
        PerThread { own: (0..OWN).map(|_| OnceLock::new()).collect(), shared: Mutex::default(), make: Box::new(make) }
    }

    /// Has `f` count on this thread's copy, where it is alone.
    pub fn with(&self, f: impl FnOnce(&T)) {
        let make = || Box::new((self.make)());
        match self.own.get(this_thread()) {
            Some(own) => f(own.get_or_init(make)),
            None => f(self.shared.lock().unwrap_or_else(PoisonError::into_inner).get_or_init(make)),
        }
    }

    /// A counter's sum over all threads.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.own.iter().filter_map(OnceLock::get).chain(shared.get());
        all.fold(0, |sum, copy| sum.wrapping_add(counter(copy).get()))
    }
}

/// This thread's number; no other thread ever gets it.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        mine.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_addition_is_lost_with_more_threads_than_copies() {
        let counters = PerThread::new(Counter::default);
        std::thread::scope(|scope| {
            for _ in 0..OWN + 6 {
                scope.spawn(|| (0..1000).for_each(|_| counters.with(|c| c.add_alone(2))));
            }
        });
        assert_eq!(counters.sum(|c| c), 2000 * (OWN as u64 + 6));
    }
}
