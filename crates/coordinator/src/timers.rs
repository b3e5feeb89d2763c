//! The deadlines of a shard's groups, in order.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The join phase of a group ends, whoever is there.
    Join(Arc<str>),
    /// Who has not synchronised by now is out.
    Sync(Arc<str>),
    /// A member of a group has not been heard of.
    Session(Arc<str>, Arc<str>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(BTreeSet<(i64, Timer)>);

impl Timers {
    pub fn arm(&mut self, deadline_ms: i64, timer: Timer) {
        self.0.insert((deadline_ms, timer));
    }

    pub fn disarm(&mut self, deadline_ms: i64, timer: Timer) {
        self.0.remove(&(deadline_ms, timer));
    }

    pub fn next_deadline(&self) -> Option<i64> {
        self.0.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// Takes one timer that is due, with the deadline it was armed for.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<(i64, Timer)> {
        if self.next_deadline()? > now_ms {
            return None;
        }
        self.0.pop_first()
    }
}
