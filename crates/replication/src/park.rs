//! A request that waits: parked in every partition it depends on, released by what it waits for.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a waiting request still needs (bytes of a long-poll Fetch, partitions of a Produce), shared between the request
/// and the partitions it is parked in.
///
/// A partition credits what it has; the request is released when nothing is needed any more, or when something
/// happened that it must see at once (leadership moved, the log went offline).
#[derive(Debug)]
pub struct Park {
    needed: AtomicI64,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Park {
    /// A request that needs `needed` units (at least 1).
    pub fn new(needed: i64) -> Arc<Park> {
        Arc::new(Park { needed: AtomicI64::new(needed.max(1)), over: AtomicBool::new(false), waker: Mutex::new(None) })
    }

    /// The request needs `units` more.
    pub fn expect(&self, units: i64) {
        self.needed.fetch_add(units, Ordering::AcqRel);
    }

    /// Counts `units` as arrived; the last one needed releases the request.
    pub fn credit(&self, units: i64) {
        if self.needed.fetch_sub(units, Ordering::AcqRel) <= units {
            self.wake();
        }
    }

    /// Releases the request whatever it still needs.
    pub fn release(&self) {
        self.needed.store(0, Ordering::Release);
        self.wake();
    }

    /// The request is answered: partitions forget it when they next look.
    pub fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the request was answered or released, so that nobody needs to hold it any longer.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.is_released()
    }

    /// Whether nothing is needed any more.
    pub fn is_released(&self) -> bool {
        self.needed.load(Ordering::Acquire) <= 0
    }

    /// Completes when the request is released.
    pub fn released(self: &Arc<Park>) -> Released {
        Released(self.clone())
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// See [`Park::released`].
#[derive(Debug)]
pub struct Released(Arc<Park>);

impl Future for Released {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.is_released() {
            return Poll::Ready(());
        }
        // The waker is in place before the second look, so a release in between is not missed.
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if self.0.is_released() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The requests parked at one place. Costs nothing while empty; entries of answered requests are dropped as it grows.
#[derive(Debug, Default)]
pub struct Lot {
    parked: Vec<Arc<Park>>,
}

impl Lot {
    pub fn park(&mut self, request: Arc<Park>) {
        if self.parked.len() == self.parked.capacity() {
            self.parked.retain(|p| !p.is_over());
        }
        self.parked.push(request);
    }

    /// Credits every parked request; released ones leave.
    pub fn credit(&mut self, units: i64) {
        if self.parked.is_empty() {
            return;
        }
        self.parked.retain(|p| {
            if p.is_over() {
                return false;
            }
            p.credit(units);
            !p.is_released()
        });
    }

    /// Releases all, for instance because the partition has no leader here any more.
    pub fn release_all(&mut self) {
        for request in self.parked.drain(..) {
            request.release();
        }
    }

    pub fn len(&self) -> usize {
        self.parked.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(future: &mut Released, count: &Arc<Count>) -> Poll<()> {
        let waker = Waker::from(count.clone());
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn is_released_by_the_credit_that_completes_it() {
        let (park, count) = (Park::new(10), Arc::new(Count(AtomicUsize::new(0))));
        let mut released = park.released();
        assert!(poll(&mut released, &count).is_pending());
        park.credit(9);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        park.credit(1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(poll(&mut released, &count).is_ready());
    }

    #[test]
    fn a_credit_before_the_first_poll_is_seen() {
        let (park, count) = (Park::new(1), Arc::new(Count(AtomicUsize::new(0))));
        park.credit(5);
        assert!(poll(&mut park.released(), &count).is_ready());
    }

    #[test]
    fn a_lot_forgets_answered_requests_without_traffic() {
        let mut lot = Lot::default();
        for _ in 0..10_000 {
            let park = Park::new(1);
            lot.park(park.clone());
            park.finish();
        }
        assert!(lot.len() < 10, "{} left", lot.len());
    }

    #[test]
    fn release_all_wakes_everybody() {
        let (mut lot, park) = (Lot::default(), Park::new(i64::MAX));
        lot.park(park.clone());
        lot.release_all();
        assert!(park.is_released() && lot.is_empty());
    }
}
