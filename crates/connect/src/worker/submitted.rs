//! Which records of a source are on their way, and how far its offsets may go: never beyond a record that is not
//! acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_api::{Error, SourceMap};
use tokio::sync::Notify;

type Positions = Vec<(Arc<SourceMap>, SourceMap)>;

/// The records that one poll gave.
pub struct Batch {
    left: AtomicUsize,
    /// How far each part of the source is read when all of them are acknowledged.
    positions: Positions,
    owner: Arc<Submitted>,
}

impl Batch {
    /// So many of its records are acknowledged, or left out.
    pub fn done(&self, count: usize) {
        if count > 0 && self.left.fetch_sub(count, AcqRel) == count {
            self.owner.moved.notify_one();
        }
    }

    /// A record was not written, and the task cannot go on.
    pub fn fail(&self, error: Error) {
        self.owner.state().failure.get_or_insert(error);
        self.owner.moved.notify_one();
    }
}

#[derive(Default)]
struct State {
    /// In the order of the polls.
    batches: VecDeque<Arc<Batch>>,
    /// What may be written, and is not yet.
    ready: Positions,
    failure: Option<Error>,
}

/// What a task has handed to its producer.
#[derive(Default)]
pub struct Submitted {
    state: Mutex<State>,
    moved: Notify,
}

impl Submitted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch that goes out now; later positions of the same part count.
    pub fn begin(self: &Arc<Submitted>, count: usize, positions: Positions) -> Arc<Batch> {
        let batch = Arc::new(Batch { left: AtomicUsize::new(count), positions, owner: self.clone() });
        self.state().batches.push_back(batch.clone());
        batch
    }

    /// What the task fails with, if anything.
    pub fn failure(&self) -> Option<Error> {
        self.state().failure.clone()
    }

    /// The offsets that may be written now; they are given once.
    pub fn take_ready(&self) -> Positions {
        let mut state = self.state();
        while state.batches.front().is_some_and(|b| b.left.load(Acquire) == 0) {
            if let Some(batch) = state.batches.pop_front() {
                for (partition, offset) in &batch.positions {
                    note(&mut state.ready, partition, offset.clone());
                }
            }
        }
        std::mem::take(&mut state.ready)
    }

    /// Offsets that could not be written are for the next time, unless there are later ones by then.
    pub fn give_back(&self, positions: Positions) {
        let mut state = self.state();
        let later = std::mem::replace(&mut state.ready, positions);
        for (partition, offset) in later {
            note(&mut state.ready, &partition, offset);
        }
    }

    /// Waits until everything is acknowledged, or the task failed.
    pub async fn settled(&self) {
        loop {
            let moved = self.moved.notified();
            {
                let state = self.state();
                if state.failure.is_some() || state.batches.iter().all(|b| b.left.load(Acquire) == 0) {
                    return;
                }
            }
            moved.await;
        }
    }
}

/// Sets a part's position.
fn note(positions: &mut Positions, partition: &Arc<SourceMap>, offset: SourceMap) {
    match positions.iter_mut().find(|(p, _)| Arc::ptr_eq(p, partition) || p == partition) {
        Some((_, old)) => *old = offset,
        None => positions.push((partition.clone(), offset)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_wait_for_everything_before_them() {
        let submitted = Arc::new(Submitted::default());
        let part = Arc::new(SourceMap::of("f", "a"));
        let at = |n: i64| vec![(part.clone(), SourceMap::of("p", n))];
        let first = submitted.begin(2, at(1));
        let second = submitted.begin(1, at(2));
        second.done(1);
        assert_eq!(submitted.take_ready(), []);
        first.done(1);
        assert_eq!(submitted.take_ready(), []);
        first.done(1);
        assert_eq!(submitted.take_ready(), at(2));
        assert_eq!(submitted.take_ready(), []);
        submitted.give_back(at(2));
        submitted.begin(0, at(3));
        assert_eq!(submitted.take_ready(), at(3));
    }
}
