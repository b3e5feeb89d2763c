//! Which batches belong to aborted transactions, and which markers are still needed, as the batches come by in order.

use crate::txn_index::AbortedTxn;
use std::collections::{HashMap, HashSet};
use wire::records::Batch;

/// See the module.
pub(super) struct Transactions {
    /// By first offset; those before `next` have been met.
    aborted: Vec<AbortedTxn>,
    next: usize,
    /// By producer, with whether a batch of it was seen.
    open_aborted: HashMap<i64, (AbortedTxn, bool)>,
    open_committed: HashSet<i64>,
}

/// What is to become of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Batches of its transaction are in the log: it stays, with its entry in the transaction index, if it has one.
    Needed(Option<AbortedTxn>),
    /// Nothing of its transaction is left: it may go once everybody has had the time to read it.
    Spent,
}

impl Transactions {
    /// `aborted` may be in any order.
    pub fn new(mut aborted: Vec<AbortedTxn>) -> Transactions {
        aborted.sort_unstable_by_key(|txn| (txn.first_offset, txn.last_offset));
        Transactions { aborted, next: 0, open_aborted: HashMap::new(), open_committed: HashSet::new() }
    }

    fn meet(&mut self, offset: i64) {
        while let Some(txn) = self.aborted.get(self.next).filter(|txn| txn.first_offset <= offset) {
            self.open_aborted.entry(txn.producer_id).or_insert((*txn, false));
            self.next += 1;
        }
    }

    /// Whether a data batch was aborted.
    pub fn is_aborted(&mut self, batch: &Batch<'_>) -> bool {
        self.meet(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        match self.open_aborted.get_mut(&batch.producer_id()) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.open_committed.insert(batch.producer_id());
                false
            }
        }
    }

    /// What is to become of a control batch.
    pub fn fate(&mut self, batch: &Batch<'_>) -> Fate {
        self.meet(batch.last_offset());
        if batch.is_empty() {
            return Fate::Spent;
        }
        let producer = batch.producer_id();
        match crate::log::is_commit(batch) {
            Some(true) if self.open_committed.remove(&producer) => Fate::Needed(None),
            Some(true) => Fate::Spent,
            Some(false) => match self.open_aborted.remove(&producer) {
                Some((txn, true)) => Fate::Needed(Some(txn)),
                _ => Fate::Spent,
            },
            // Control records of another kind are not ours to judge.
            None => Fate::Needed(None),
        }
    }
}
